package main

import (
	"context"
	"runtime"

	"github.com/authtrip/authtrip/bench/internal/rows"
)

// An idle row is what an identity costs that has a token and that nobody asks.
type idle struct {
	bytes      float64
	goroutines int
}

const identities = 10_000

func idling(p rows.Row) idle {
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]rows.Do, identities)
	base := rows.Nothing()
	for n := range all {
		all[n] = p.Make(base, &rows.Issuer{})
		if !attempt(all[n], context.Background()) {
			panic(p.Name + ": the first request has failed")
		}
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	r := idle{float64(after.HeapAlloc-before.HeapAlloc) / identities, runtime.NumGoroutine() - goroutines}
	runtime.KeepAlive(all)
	return r
}
