package hop_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/internal/hop"
)

// Whatever headers there were before, on however many goroutines, a name is found in
// any spelling, and not where it is not.
func TestNamesAreRemembered(t *testing.T) {
	names := []string{"Accept", "Cookie", "X-Api-Key", "Authorization", "Authorisation", strings.Repeat("X", 65)}
	for i := range 20 {
		names = append(names, fmt.Sprint("X-", i))
	}
	const seed = 7
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, g))
			for range 5_000 {
				h, has := http.Header{}, map[string]bool{}
				for _, i := range rnd.Perm(len(names))[:rnd.IntN(20)] {
					name := names[i]
					if rnd.IntN(3) == 0 {
						name = strings.ToLower(name)
					}
					h[name], has[names[i]] = []string{"own"}, true
				}
				l := hop.Leg{Request: &http.Request{Header: h}}
				for _, name := range names {
					if got := l.Own(name); got != has[name] {
						t.Errorf("seed %d, %d: %q in %q: %v", seed, g, name, h, got)
					}
				}
			}
		})
	}
	wg.Wait()
}

// Who sends other fields with each request does so without something being remembered
// for each.
func TestNamesAreSeldomLearned(t *testing.T) {
	var some []*http.Request
	for i := range 50 {
		some = append(some, &http.Request{Header: http.Header{"Accept": {"a"}, fmt.Sprint("X-Trace-", i): {"b"}}})
	}
	n := 0
	if got := testing.AllocsPerRun(10_000, func() {
		l := hop.Leg{Request: some[n%len(some)]}
		l.Own(hop.Authorization)
		n++
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

var live, garbage []*[90]*int

// A header whose names are remembered, beside one that is gone through, without
// garbage and with as much as a request makes in a process that has some memory in
// use: an iterator is slower while it is being marked.
func BenchmarkOwn(b *testing.B) {
	remembered := http.Header{"Accept": {""}, "Content-Type": {""}, "User-Agent": {""}, "X-Request-Id": {""}, "X-Trace": {""}, "Accept-Language": {""}}
	long := remembered.Clone()
	delete(long, "X-Trace")
	long[strings.Repeat("X", 65)] = []string{""}
	for _, h := range []struct {
		name   string
		header http.Header
	}{{"remembered", remembered}, {"gone through", long}} {
		for _, collecting := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/collecting=%v", h.name, collecting), func(b *testing.B) {
				if live = nil; collecting {
					for range 32 << 20 / 720 {
						live = append(live, new([90]*int))
					}
				}
				req := &http.Request{Header: h.header}
				for b.Loop() {
					if l := (hop.Leg{Request: req}); l.Own(hop.Authorization) {
						b.Fatal("it has none")
					}
					if collecting {
						garbage = append(garbage[:0:0], new([90]*int))
					}
				}
			})
		}
	}
}
