package authtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"
)

func (p *probe) bodyClosedOnSuccess() {
	for name, answer := range map[string]func(int, *http.Request) (*http.Response, error){
		"accepted": accept, "rejected once": p.rejectFirst,
	} {
		req, b := p.post()
		p.read(p.must(p.wrap(&recorder{answer: answer}), req))
		p.closedOnce(name, b.all()...)
	}
	req, b := p.post()
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("there is no other") }
	_, _ = p.roundTrip(p.wrap(&recorder{answer: p.rejectFirst}), req)
	p.closedOnce("rejected once, and GetBody has failed", b.all()...)
}

var errBase = errors.New("dial tcp: lookup api.example.com: no such host")

func fails(int, *http.Request) (*http.Response, error) { return nil, errBase }

func (p *probe) bodyClosedOnBaseError() {
	req, b := p.post()
	_, _ = p.roundTrip(p.decorator(&recorder{answer: fails}), req)
	p.closedOnce("the base has failed", b.all()...)
}

// A refusal is an error that the decorator returned without sending anything.
type refusal struct {
	when   string
	resp   *http.Response
	err    error
	bodies *bodies
}

// refusals provokes them.
func (p *probe) refusals() []refusal {
	var all []refusal
	try := func(when string, wrap func(http.RoundTripper) http.RoundTripper, change func(*http.Request) *http.Request) {
		base := &recorder{answer: accept}
		req, b := p.post()
		resp, err := p.roundTrip(wrap(base), change(req))
		if err != nil && len(base.list()) == 0 {
			all = append(all, refusal{when, resp, err, b})
		}
	}
	unchanged := func(req *http.Request) *http.Request { return req }
	if p.failing != nil {
		try("Failing", p.failing, unchanged)
	}
	try("over plain http", p.decorator, func(req *http.Request) *http.Request {
		req.URL.Scheme = "http"
		return req
	})
	try("with a context that has ended", p.decorator, func(req *http.Request) *http.Request {
		ctx, cancel := context.WithCancel(p.ctx)
		cancel()
		return req.WithContext(ctx)
	})
	return all
}

func (p *probe) bodyClosedOnOwnError() {
	refusals := p.refusals()
	for _, r := range refusals {
		p.closedOnce(r.when, r.bodies.all()...)
	}
	if len(refusals) == 0 {
		p.skipf("the decorator returned no error of its own; Failing gives it a reason")
	}
}

func (p *probe) bodyClosedOnEarlyResponse() {
	var (
		mu       sync.Mutex
		attempts int
		reading  sync.WaitGroup
	)
	returned := make(chan struct{})
	rt := p.wrap(base(func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		n := attempts
		attempts++
		mu.Unlock()
		body := req.Body
		reading.Go(func() {
			if n == 0 {
				p.within(returned, 1)
			}
			sent, err := io.ReadAll(body)
			body.Close()
			if n == 0 && (err != nil || string(sent) != payload) {
				p.errorf("the base, reading the body after its response, gets %q, error %v", sent, err)
			}
		})
		return p.rejectFirst(n, req)
	}))
	req, b := p.post()
	resp := p.must(rt, req)
	close(returned)
	reading.Wait()
	p.read(resp)
	p.closedOnce("after an early rejection", b.all()...)
}

// rejectedOnce sends a request that is rejected once, and returns the attempts;
// if there is but one, the clause does not apply.
func (p *probe) rejectedOnce() (*http.Request, []*attempt) {
	base := &recorder{answer: p.rejectFirst}
	req, _ := p.post()
	p.read(p.must(p.wrap(base), req))
	attempts := base.list()
	if len(attempts) < 2 {
		p.skipf("the decorator makes no second attempt after status %d", p.rejection.status)
	}
	return req, attempts
}

func (p *probe) newRequestPerAttempt() {
	req, attempts := p.rejectedOnce()
	all := []*http.Request{req}
	for i, a := range attempts {
		for j, earlier := range all {
			if i == 0 {
				break // sent as it is, it is the caller's: see RequestUnmodified
			}
			name := fmt.Sprintf("attempt %d", j)
			if j == 0 {
				name = "the caller's"
			}
			switch {
			case a.Request == earlier:
				p.errorf("attempt %d is the same Request as %s", i+1, name)
			case reflect.ValueOf(a.Header).Pointer() == reflect.ValueOf(earlier.Header).Pointer():
				p.errorf("attempt %d has the same Header as %s", i+1, name)
			}
		}
		all = append(all, a.Request)
	}
}

func (p *probe) bodyComplete() {
	replayable, _ := p.post()
	stream := p.request(http.MethodPost, "/", nil)
	stream.Body, stream.ContentLength = newBody(strings.NewReader(payload)), -1
	again := false
	for name, req := range map[string]*http.Request{"with GetBody": replayable, "without GetBody": stream} {
		base := &recorder{answer: p.rejectFirst}
		p.read(p.must(p.wrap(base), req))
		for i, a := range base.list() {
			again = again || i > 0
			if a.sent != payload || a.readErr != nil {
				p.errorf("%s: attempt %d has the body %q, error %v", name, i+1, a.sent, a.readErr)
			}
		}
	}
	if !again && len(p.broken) == 0 {
		p.skipf("the decorator makes no second attempt after status %d", p.rejection.status)
	}
}

func (p *probe) discardedResponse() {
	rejected := newBody(strings.NewReader("rejected"))
	base := &recorder{answer: func(n int, req *http.Request) (*http.Response, error) {
		resp, err := p.rejectFirst(n, req)
		if n == 0 {
			resp.Body = rejected
		}
		return resp, err
	}}
	req, _ := p.post()
	resp, err := p.roundTrip(p.wrap(base), req)
	if err == nil && len(base.list()) < 2 {
		p.skipf("the decorator makes no second attempt after status %d", p.rejection.status)
	}
	if err == nil {
		p.read(resp)
	}
	if !p.within(rejected.closed, 1) {
		p.errorf("the rejection's Body was not closed")
	}
}

// An endless reader gives a megabyte and then waits for the end of ctx.
type endless struct {
	ctx  context.Context
	left int
	gone <-chan struct{}
}

func (e *endless) Read(to []byte) (int, error) {
	if e.left > 0 {
		n := min(e.left, len(to))
		e.left -= n
		return n, nil
	}
	select {
	case <-e.gone:
		return 0, errClosed
	case <-e.ctx.Done():
		return 0, e.ctx.Err()
	}
}

func (p *probe) endlessRejection() {
	base := &recorder{answer: func(n int, req *http.Request) (*http.Response, error) {
		if n > 0 {
			return accept(n, req)
		}
		e := &endless{ctx: p.ctx, left: 1 << 20}
		resp := p.reject(req, e)
		e.gone = resp.Body.(*body).closed
		return resp, nil
	}}
	req, _ := p.post()
	start := time.Now()
	resp, err := p.roundTrip(p.wrap(base), req)
	if err == nil {
		resp.Body.Close()
	}
	if took := time.Since(start); took > p.patience/2 {
		p.errorf("RoundTrip took %v", took.Round(time.Second))
	}
}
