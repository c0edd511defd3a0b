package authtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

func (p *probe) contextBefore() {
	ctx, cancel := context.WithCancel(p.ctx)
	rt := p.decorator(&recorder{answer: accept})
	cancel()
	req, _ := p.post()
	_, err := p.roundTrip(rt, req.WithContext(ctx))
	if !errors.Is(err, context.Canceled) {
		p.errorf("RoundTrip returned error %v, and errors.Is(err, context.Canceled) is false", err)
	}
}

// hanging is a base that answers when it is let go, as an http.Transport.
func hanging(entered chan<- struct{}) base {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			req.Body.Close()
		}
		entered <- struct{}{}
		//lint:ignore SA1019 deprecated, and set by http.Client itself
		cancel := req.Cancel
		select {
		case <-req.Context().Done():
			// http.Client has a timer beside the context's, and they race.
			time.Sleep(10 * time.Millisecond)
			return nil, req.Context().Err()
		case <-cancel:
			return nil, errCancel
		}
	}
}

var errCancel = errors.New("net/http: request canceled")

// enter waits until the base has been entered, or else for what came of it.
func (p *probe) enter(entered <-chan struct{}, c chan outcome) {
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case <-entered:
	case o := <-c:
		c <- o
	case <-late.C:
	}
}

func (p *probe) contextDuring() {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	entered := make(chan struct{}, 100)
	req, _ := p.post()
	c := start(p.decorator(hanging(entered)), req.WithContext(ctx))
	p.enter(entered, c)
	cancel()
	if _, err := p.wait(c); !errors.Is(err, context.Canceled) {
		p.errorf("RoundTrip returned error %v, and errors.Is(err, context.Canceled) is false", err)
	}
}

// A leash is a response's body that ends with the request's context.
type leash struct {
	io.Reader
	ctx context.Context
}

func (l leash) Read(to []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	return l.Reader.Read(to)
}

func (p *probe) contextAfter() {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	rt := p.decorator(&recorder{answer: func(_ int, req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength = -1
		resp.Body = newBody(leash{strings.NewReader(strings.Repeat("x", 1<<20)), req.Context()})
		return resp, nil
	}})
	resp := p.must(rt, p.request(http.MethodGet, "/", nil).WithContext(ctx))
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, 1<<19); err != nil {
		p.fatalf("the response's body ends after %d bytes, with the request's context not ended: %v", n, err)
	}
	cancel()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		p.errorf("the response's body gives %d bytes more after the request's context has ended, and no error", n)
	}
}

func (p *probe) clientTimeout() {
	entered := make(chan struct{}, 100)
	req := p.request(http.MethodGet, "/", nil)
	c := start(clientTripper{&http.Client{Transport: p.decorator(hanging(entered)), Timeout: 50 * time.Millisecond}}, req)
	if resp, err := p.wait(c); !timeout(err) {
		if err == nil {
			resp.Body.Close()
		}
		p.errorf("http.Client with a Timeout returned error %v, and that is no timeout", err)
	}
	// Older code sets the channel alone.
	cancel := make(chan struct{})
	req = p.request(http.MethodGet, "/", nil)
	req.Cancel = cancel //lint:ignore SA1019 deprecated, and set by http.Client itself
	entered = make(chan struct{}, 100)
	c = start(p.decorator(hanging(entered)), req)
	p.enter(entered, c)
	close(cancel)
	if _, err := p.wait(c); err == nil {
		p.errorf("RoundTrip returned no error after the request's Cancel channel was closed")
	}
}

// timeout minds that http.Client may not know even then that its time is over.
func timeout(err error) bool {
	e, ok := errors.AsType[*url.Error](err)
	return ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// A clientTripper sends by a client.
type clientTripper struct{ client *http.Client }

func (c clientTripper) RoundTrip(req *http.Request) (*http.Response, error) { return c.client.Do(req) }
