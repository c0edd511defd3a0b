package authtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// A body counts how often it is closed.
type body struct {
	io.Reader
	mu     sync.Mutex
	closes int           // guarded by mu
	closed chan struct{} // at the first Close
}

func newBody(r io.Reader) *body { return &body{Reader: r, closed: make(chan struct{})} }

var errClosed = errors.New("authtest: the body has been closed")

func (b *body) Read(to []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, errClosed
	default:
		return b.Reader.Read(to)
	}
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closes++; b.closes == 1 {
		close(b.closed)
	}
	return nil
}

func (b *body) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closes
}

// bodies are all those of one request.
type bodies struct {
	content string
	first   *body
	mu      sync.Mutex
	more    []*body // from GetBody; guarded by mu
}

func newBodies(content string) *bodies {
	return &bodies{content: content, first: newBody(strings.NewReader(content))}
}

// again is the request's GetBody.
func (b *bodies) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := newBody(strings.NewReader(b.content))
	b.more = append(b.more, next)
	return next, nil
}

func (b *bodies) all() []*body {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*body{b.first}, b.more...)
}

// closedOnce checks that, which may come true after RoundTrip has returned.
func (p *probe) closedOnce(when string, all ...*body) {
	for i, b := range all {
		what := "the request's Body"
		if i > 0 {
			what = fmt.Sprintf("body %d of GetBody", i)
		}
		if !p.within(b.closed, 1) {
			p.errorf("%s: %s was not closed", when, what)
		} else if n := b.count(); n > 1 {
			p.errorf("%s: %s was closed %d times", when, what, n)
		}
	}
}

// An attempt is what a recorder was sent.
type attempt struct {
	*http.Request
	sent    string // the body
	readErr error  // of reading it
	noBody  bool   // Body was http.NoBody or nil
}

// A recorder is the base of a decorator. It reads the request and closes its
// body, as an http.Transport does, before answer answers the nth, from 0.
type recorder struct {
	answer func(n int, req *http.Request) (*http.Response, error)

	mu       sync.Mutex
	attempts []*attempt // guarded by mu
	idle     int        // calls of CloseIdleConnections; guarded by mu
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	a := &attempt{Request: req, noBody: req.Body == nil || req.Body == http.NoBody}
	if req.Body != nil {
		var sent []byte
		sent, a.readErr = io.ReadAll(req.Body)
		a.sent = string(sent)
		req.Body.Close()
	}
	r.mu.Lock()
	n := len(r.attempts)
	r.attempts = append(r.attempts, a)
	r.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return r.answer(n, req)
}

func (r *recorder) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle++
}

func (r *recorder) list() []*attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*attempt(nil), r.attempts...)
}

// A base is a function as a RoundTripper.
type base func(*http.Request) (*http.Response, error)

func (b base) RoundTrip(req *http.Request) (*http.Response, error) { return b(req) }

// accept answers every request with status 200.
func accept(_ int, req *http.Request) (*http.Response, error) {
	return respond(req, http.StatusOK, "accepted"), nil
}

// rejectFirst rejects the first request and accepts what follows.
func (p *probe) rejectFirst(n int, req *http.Request) (*http.Response, error) {
	if n == 0 {
		return p.reject(req, strings.NewReader("rejected")), nil
	}
	return accept(n, req)
}

func (p *probe) reject(req *http.Request, body io.Reader) *http.Response {
	resp := respond(req, p.rejection.status, "")
	resp.Header = p.rejection.header.Clone()
	resp.ContentLength = -1
	resp.Body = newBody(body)
	return resp
}

// respond makes a response like those of an http.Transport.
func respond(req *http.Request, status int, content string) *http.Response {
	return &http.Response{
		Status: fmt.Sprint(status, " ", http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: newBody(strings.NewReader(content)), ContentLength: int64(len(content)),
		Request: req,
	}
}

// introduction is the path of the request by which a decorator gets to know
// the Challenge.
const introduction = "/authtest-introduction"

// redirected begins the path of what http.Client follows a redirect to. Nobody
// asks for credentials there.
const redirected = "/authtest-redirected/"

// demanding is a server that asks for credentials in front of base.
type demanding struct {
	base      http.RoundTripper
	challenge string
}

func (d *demanding) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.Header.Get("Authorization") == "" && !strings.HasPrefix(req.URL.Path, redirected):
		if req.Body != nil {
			req.Body.Close()
		}
		resp := respond(req, http.StatusUnauthorized, "")
		resp.Header.Set("WWW-Authenticate", d.challenge)
		return resp, nil
	case req.URL.Path == introduction:
		return respond(req, http.StatusOK, ""), nil
	}
	return d.base.RoundTrip(req)
}

func (d *demanding) CloseIdleConnections() {
	if c, ok := d.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
