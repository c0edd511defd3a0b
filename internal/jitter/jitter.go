// Package jitter draws the random part of waits, by which many clients do not
// all act at one time.
package jitter

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

var draw atomic.Pointer[func(n int64) int64]

// N returns a random duration in [0, n). n must be positive.
func N(n time.Duration) time.Duration {
	if f := draw.Load(); f != nil {
		return time.Duration((*f)(int64(n)))
	}
	return rand.N(n)
}

// Replace has N call f, for simulations that are to be run again the same, until
// restore is called. f may be called from several goroutines at once.
func Replace(f func(n int64) int64) (restore func()) {
	old := draw.Swap(&f)
	return func() { draw.Store(old) }
}
