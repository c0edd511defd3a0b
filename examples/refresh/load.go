package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A load is a number of goroutines that keep calling one API, and what came of
// their calls.
type load struct {
	client *http.Client
	url    string

	mu    sync.Mutex // guards calls and first
	calls []call
	first error // why the first call was lost
}

type call struct {
	span
	lost bool
}

// run has n goroutines call until ctx ends. A call that has begun is finished.
func (l *load) run(ctx context.Context, n int, every time.Duration) {
	var wg sync.WaitGroup
	for id := range n {
		wg.Go(func() {
			for seq := 0; ; seq++ {
				select {
				case <-ctx.Done():
					return
				case <-time.After(rand.N(2 * every)):
				}
				l.call(fmt.Appendf(nil, "caller %d, message %d", id, seq))
			}
		})
	}
	wg.Wait()
}

// call posts a message and expects it back.
func (l *load) call(message []byte) {
	from := time.Now()
	err := l.post(message)
	c := call{span: span{from, time.Now()}, lost: err != nil}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	if l.first == nil {
		l.first = err
	}
}

func (l *load) post(message []byte) error {
	resp, err := l.client.Post(l.url, "text/plain", bytes.NewReader(message))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	echo, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	case !bytes.Equal(echo, message):
		return fmt.Errorf("sent %q, the server got %q", message, echo)
	}
	return nil
}

// A summary is an account of calls.
type summary struct {
	requests, lost     int
	p50, p99           time.Duration
	rollover, rejected time.Duration // the slowest at an exchange, and at the one after the revocation
}

// summarize accounts for what has been called so far.
func (l *load) summarize(s *server) summary {
	l.mu.Lock()
	calls := slices.Clone(l.calls)
	l.mu.Unlock()
	s.mu.Lock()
	exchanges, revoked := slices.Clone(s.exchanges), s.revoked
	s.mu.Unlock()

	sum := summary{requests: len(calls)}
	if len(calls) == 0 {
		return sum
	}
	took := make([]time.Duration, len(calls))
	for i, c := range calls {
		took[i] = c.to.Sub(c.from)
		if c.lost {
			sum.lost++
		}
		for _, e := range exchanges {
			if c.from.After(e.to) || c.to.Before(e.from) {
				continue
			}
			slowest := &sum.rollover
			if !revoked.IsZero() && !c.to.Before(revoked) && e.from.Sub(revoked).Abs() < 4*s.latency {
				slowest = &sum.rejected
			}
			*slowest = max(*slowest, took[i])
		}
	}
	slices.Sort(took)
	sum.p50, sum.p99 = took[len(took)/2], took[len(took)*99/100]
	return sum
}
