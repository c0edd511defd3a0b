package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/bench/internal/rows"
)

// An api accepts the tokens from a number on.
type api struct {
	from atomic.Int64
	late time.Duration // if not 0, how much later every other rejection comes
	// If not nil, a rejection waits until a herd of them has come.
	herd     chan struct{}
	rejected atomic.Int64
}

func (a *api) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
	_, number, _ := strings.Cut(req.Header.Get("Authorization"), "token-")
	if n, _ := strconv.ParseInt(number, 10, 64); n >= a.from.Load() {
		return resp, nil
	}
	nth := a.rejected.Add(1)
	if a.herd != nil {
		if nth == herdSize {
			close(a.herd)
		}
		<-a.herd
	}
	if nth%2 == 0 {
		time.Sleep(a.late)
	}
	resp.StatusCode = http.StatusUnauthorized
	resp.Header.Set("WWW-Authenticate",
		`Bearer realm="https://api.example.com/token",service="bench",scope="repository:bench:pull",error="invalid_token"`)
	return resp, nil
}

// A crowd is what became of many requests at once.
type crowd struct {
	exchanges, failed int
	took              time.Duration
}

const herdSize = 1000

// herd has as many callers meet the 401 of one revoked token. With late, half of
// the 401s come when the token has long been renewed.
func herd(p rows.Row, late time.Duration) crowd {
	i := &rows.Issuer{Takes: 20 * time.Millisecond}
	a := &api{}
	send := p.Make(a, i)
	if !attempt(send, context.Background()) {
		panic(p.Name + ": the first request has failed")
	}
	before := i.Count()
	a.from.Store(int64(before) + 1)
	a.late, a.herd = late, make(chan struct{})
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range herdSize {
		wg.Go(func() {
			if !attempt(send, context.Background()) {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	return crowd{i.Count() - before, int(failed.Load()), time.Since(start)}
}

func attempt(send rows.Do, ctx context.Context) bool {
	resp, err := send(rows.Template(6).WithContext(ctx))
	return err == nil && resp.StatusCode == http.StatusOK
}

const waiting = 100

// expired returns what sends by p, whose token has expired.
func expired(p rows.Row) (*rows.Issuer, rows.Do) {
	i := &rows.Issuer{Lifetime: 30 * time.Millisecond}
	a := &api{}
	send := p.Make(a, i)
	if !attempt(send, context.Background()) {
		panic(p.Name + ": the first request has failed")
	}
	time.Sleep(40 * time.Millisecond)
	i.Change(func() { i.Lifetime = time.Hour })
	a.from.Store(int64(i.Count()) + 1)
	return i, send
}

// stall has many callers, each with a deadline of 50 ms, wait for an exchange that
// hangs. It returns how many were back soon after that.
func stall(p rows.Row) (inTime int) {
	i, send := expired(p)
	i.Change(func() { i.Hang = make(chan struct{}) })
	var back atomic.Int64
	var wg sync.WaitGroup
	for range waiting {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			attempt(send, ctx)
			back.Add(1)
		})
	}
	time.Sleep(200 * time.Millisecond)
	inTime = int(back.Load())
	close(i.Hang)
	wg.Wait()
	return inTime
}

// leader has the caller that began the exchange give up, and returns how many of
// the others, who have all the time they want, failed by that, and the exchanges.
func leader(p rows.Row) (failed, exchanges int) {
	i, send := expired(p)
	before := i.Count()
	i.Change(func() { i.Takes = 100 * time.Millisecond })
	ctx, giveUp := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { attempt(send, ctx) })
	for i.Count() == before {
		time.Sleep(time.Millisecond)
	}
	var failures atomic.Int64
	for range waiting {
		wg.Go(func() {
			if !attempt(send, context.Background()) {
				failures.Add(1)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	giveUp()
	wg.Wait()
	return int(failures.Load()), i.Count() - before
}
