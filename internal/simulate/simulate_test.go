package simulate_test

import (
	"flag"
	"fmt"
	"runtime/debug"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/simulate"
	"github.com/google/go-cmp/cmp"
)

var (
	schedules = flag.Uint64("schedules", 100, "how many schedules to run")
	first     = flag.Uint64("first", 1, "the seed of the first one")
	all       = flag.Bool("all", false, "go on after one that fails")
	seed      = flag.Uint64("seed", 0, "run this one alone, and print its trace")
)

func TestSchedules(t *testing.T) {
	if *seed != 0 {
		r := simulate.Run(t, *seed, true)
		for _, line := range r.Trace {
			fmt.Fprintln(t.Output(), line)
		}
		if r.Broken != nil {
			t.Error(r)
		}
		return
	}
	var (
		total simulate.Result
		in    = total.Counts // schedules in which a kind occurs
		start = time.Now()
	)
	for s := *first; s < *first+*schedules; s++ {
		r := simulate.Run(t, s, false)
		if r.Broken != nil {
			t.Errorf("%v\nrun it again with: go test ./internal/simulate -run Schedules -seed %d -v", r, s)
			if !*all {
				t.FailNow()
			}
		}
		for k, n := range r.Counts {
			total.Counts[k] += n
			in[k] += min(n, 1)
		}
		total.Calls += r.Calls
		total.Granted += r.Granted
		total.Time += r.Time
	}
	fmt.Fprintf(t.Output(), "%d schedules, %d requests, %d tokens, %.0f simulated seconds in %.1f s\n",
		*schedules, total.Calls, total.Granted, total.Time.Seconds(), time.Since(start).Seconds())
	for k, n := range total.Counts {
		share := float64(in[k]) / float64(*schedules)
		fmt.Fprintf(t.Output(), "%8d in %5.1f %% %v\n", n, 100*share, simulate.Kind(k))
		if share < .01 && *schedules >= 1000 && !t.Failed() {
			t.Errorf("%v occurs in %.2f %% of schedules, want 1 %% at least", simulate.Kind(k), 100*share)
		}
	}
}

// The same seed gives the same run.
func TestSameSeed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for s := range uint64(20) {
		want := simulate.Run(t, 1000+s, true)
		got := simulate.Run(t, 1000+s, true)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d (-first +second):\n%s", 1000+s, diff)
		}
	}
}
