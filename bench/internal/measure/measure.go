// Package measure takes the times and counts the allocations of the rows of a table.
package measure

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A Workload is what one row does, n times over, alone or on one of several
// goroutines. Each goroutine has one of its own.
type Workload func(n int)

// A Sample is what one operation of a row costs: the median of the rounds, and the
// median of its ratios to the first row just before.
type Sample struct {
	NS, Ratio     float64
	Allocs, Bytes float64
}

// A Stint is about how long one row runs in one round, and how many rounds there are.
type Stint struct {
	Length time.Duration
	Rounds int
}

// Rows runs the rows in turn, so that neighbours meet the same noise, and before each
// the first again, since a machine that others share is faster now than it was a second
// ago. A stint has to be long enough for dozens of garbage collections, which come
// as they come: to start each with an empty heap would favour those that just
// escape their last one, and so would stints that are always of the same length. Each
// row makes as many workloads as there are workers.
func Rows(s Stint, workers int, rows []func() Workload) []Sample {
	loads := make([][]Workload, len(rows))
	counts := make([]int, len(rows))
	samples := make([]Sample, len(rows))
	for i, row := range rows {
		for range workers {
			loads[i] = append(loads[i], row())
		}
		run(loads[i], 100) // what is built once
		samples[i].Allocs, samples[i].Bytes = allocations(loads[i][0])
		counts[i] = calibrate(loads[i], s.Length)
	}
	turn := func(i int) float64 {
		n := counts[i]*3/4 + rand.N(counts[i]/2+1)
		return float64(run(loads[i], n)) / float64(n*workers)
	}
	times := make([][]float64, len(rows))
	ratios := make([][]float64, len(rows))
	for range s.Rounds {
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
		samples[i].NS, samples[i].Ratio = median(times[i]), median(ratios[i])
	}
	return samples
}

// run has each worker do n operations, and returns how long that took.
func run(workers []Workload, n int) time.Duration {
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
func calibrate(workers []Workload, d time.Duration) int {
	for n := 100; ; n *= 2 {
		if took := run(workers, n); took >= d/4 {
			return max(1, int(float64(n)*float64(d)/float64(took)))
		}
	}
}

// allocations returns how many and how large the allocations of one operation are.
func allocations(w Workload) (number, bytes float64) {
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

// Merge returns the medians of what several processes have measured. Where code and
// data happen to lie in a process can make one row slower than the others there.
func Merge(all [][]Sample) []Sample {
	merged := make([]Sample, len(all[0]))
	for i := range merged {
		of := func(field func(Sample) float64) float64 {
			var values []float64
			for _, samples := range all {
				values = append(values, field(samples[i]))
			}
			return median(values)
		}
		merged[i] = Sample{
			NS:     of(func(s Sample) float64 { return s.NS }),
			Ratio:  of(func(s Sample) float64 { return s.Ratio }),
			Allocs: of(func(s Sample) float64 { return s.Allocs }),
			Bytes:  of(func(s Sample) float64 { return s.Bytes }),
		}
	}
	return merged
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
