package main

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/bench/internal/rows"
)

const (
	rate         = 10_000 // requests a second
	senders      = 50
	tokenLife    = 200 * time.Millisecond
	exchangeTime = 50 * time.Millisecond
	early        = tokenLife / 2
	// A request that took this long has waited for an exchange. What a busy machine
	// does to a request takes less.
	waited = exchangeTime / 2
)

// A rollover is what requests see while tokens expire every 200 ms and an exchange
// takes 50 ms.
type rollover struct {
	requests, waited, failed, exchanges int
	p50, p99, p999, longest             time.Duration
	// peaks are the longest latency of each 5 ms.
	peaks []time.Duration
}

const peak = 5 * time.Millisecond

func roll(p rows.Row, d time.Duration) rollover {
	i := &rows.Issuer{Lifetime: tokenLife, Takes: exchangeTime, Early: early}
	send := p.Make(rows.Func(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}), i)
	attempt(send, context.Background())

	type one struct{ at, took time.Duration }
	all := make([][]one, senders)
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	const every = time.Second * senders / rate
	for s := range senders {
		wg.Go(func() {
			for due := every * time.Duration(s) / senders; due < d; due += every {
				time.Sleep(due - time.Since(start))
				req := rows.Template(6)
				before := time.Now()
				if resp, err := send(req); err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				all[s] = append(all[s], one{before.Sub(start), time.Since(before)})
				// Who has waited does not catch up: that is another load.
				if late := time.Since(start) - due; late > every {
					due += late.Truncate(every)
				}
			}
		})
	}
	wg.Wait()
	r := rollover{failed: int(failed.Load()), exchanges: i.Count(), peaks: make([]time.Duration, d/peak)}
	var took []time.Duration
	for _, requests := range all {
		for _, q := range requests {
			took = append(took, q.took)
			if q.took >= waited {
				r.waited++
			}
			// Who waits does so from its beginning on.
			for n := q.at / peak; n <= (q.at+q.took)/peak && int(n) < len(r.peaks); n++ {
				r.peaks[n] = max(r.peaks[n], q.took)
			}
		}
	}
	slices.Sort(took)
	r.requests = len(took)
	at := func(f float64) time.Duration { return took[min(len(took)-1, int(f*float64(len(took))))] }
	r.p50, r.p99, r.p999, r.longest = at(0.5), at(0.99), at(0.999), took[len(took)-1]
	return r
}
