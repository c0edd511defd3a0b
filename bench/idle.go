package main

import (
	"context"
	"runtime"
)

// An idle row is what an identity costs that has a token and that nobody asks.
type idle struct {
	bytes      float64
	goroutines int
}

const identities = 10_000

func idling(p peer) idle {
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]do, identities)
	base := newNothing()
	for n := range all {
		all[n] = p.make(base, &issuer{})
		if !attempt(all[n], context.Background()) {
			panic(p.name + ": the first request has failed")
		}
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	r := idle{float64(after.HeapAlloc-before.HeapAlloc) / identities, runtime.NumGoroutine() - goroutines}
	runtime.KeepAlive(all)
	return r
}
