package main

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A workload is what one row does, n times over, alone or on one of several
// goroutines. Each goroutine has one of its own.
type workload func(n int)

// A sample is what one operation of a row costs: the median of the rounds, and the
// median of its ratios to the first row just before.
type sample struct {
	ns, ratio     float64
	allocs, bytes float64
}

// A stint is how long one row runs in one round, and rounds how often it does.
type stint struct {
	length time.Duration
	rounds int
}

// measure runs the rows in turn, so that neighbours meet the same noise, and before each
// the first again, since a machine that others share is faster now than it was a second
// ago. A stint has to be long enough for dozens of garbage collections, which come
// as they come: to start each with an empty heap would favour those that just
// escape their last one. Each row makes as many workloads as there are workers.
func measure(s stint, workers int, rows []func() workload) []sample {
	loads := make([][]workload, len(rows))
	counts := make([]int, len(rows))
	samples := make([]sample, len(rows))
	for i, row := range rows {
		for range workers {
			loads[i] = append(loads[i], row())
		}
		run(loads[i], 100) // what is built once
		samples[i].allocs, samples[i].bytes = allocations(loads[i][0])
		counts[i] = calibrate(loads[i], s.length)
	}
	turn := func(i int) float64 { return float64(run(loads[i], counts[i])) / float64(counts[i]*workers) }
	times := make([][]float64, len(rows))
	ratios := make([][]float64, len(rows))
	for range s.rounds {
		for i := range rows {
			first := turn(0)
			if i == 0 {
				times[0], ratios[0] = append(times[0], first), append(ratios[0], 1)
				continue
			}
			ns := turn(i)
			times[i], ratios[i] = append(times[i], ns), append(ratios[i], ns/first)
		}
	}
	for i := range rows {
		samples[i].ns, samples[i].ratio = median(times[i]), median(ratios[i])
	}
	return samples
}

// run has each worker do n operations, and returns how long that took.
func run(workers []workload, n int) time.Duration {
	start := time.Now()
	if len(workers) == 1 {
		workers[0](n)
		return time.Since(start)
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { w(n) })
	}
	wg.Wait()
	return time.Since(start)
}

// calibrate returns how many operations take about d.
func calibrate(workers []workload, d time.Duration) int {
	for n := 100; ; n *= 2 {
		if took := run(workers, n); took >= d/4 {
			return max(1, int(float64(n)*float64(d)/float64(took)))
		}
	}
}

// allocations returns how many and how large the allocations of one operation are.
func allocations(w workload) (number, bytes float64) {
	const n = 1000
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w(n)
	runtime.ReadMemStats(&after)
	// Others may allocate now and then: whole operations count.
	return float64((after.Mallocs - before.Mallocs) / n), float64((after.TotalAlloc - before.TotalAlloc) / n)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// A do sends a request, as http.Client.Do and RoundTrip do.
type do func(*http.Request) (*http.Response, error)

// sending is the workload of sending a request like template, again and again, by what
// make makes. It panics at an error: a row that fails measures nothing.
func sending(template *http.Request, make func(base http.RoundTripper) do) func() workload {
	return func() workload {
		send, req := make(newNothing()), template.Clone(template.Context())
		return func(n int) {
			for range n {
				if resp, err := send(req); err != nil || resp.StatusCode != http.StatusOK {
					panic(fmt.Sprint("a row has failed: ", resp, err))
				}
			}
		}
	}
}

// newNothing is a base that does nothing. Its response is its own and used again
// and again, so that it costs nothing either.
func newNothing() http.RoundTripper {
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp.Body, resp.Request = http.NoBody, req
		return resp, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
