package jitter_test

import (
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/jitter"
)

func TestN(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 1000 {
		d := jitter.N(3)
		if d < 0 || d >= 3 {
			t.Fatalf("N(3) = %d", d)
		}
		seen[d] = true
	}
	if len(seen) != 3 {
		t.Errorf("N(3) has been %v", seen)
	}
}

func TestReplace(t *testing.T) {
	restore := jitter.Replace(func(n int64) int64 { return n - 1 })
	for range 10 {
		if d := jitter.N(time.Hour); d != time.Hour-1 {
			t.Errorf("N = %v", d)
		}
	}
	restore()
	for range 10 {
		if jitter.N(time.Hour) != time.Hour-1 {
			return
		}
	}
	t.Error("the replacement is still in use")
}
