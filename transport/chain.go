package transport

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
)

// A Middleware decorates a RoundTripper. The Wrap method of every decorator in
// this module is one.
type Middleware func(base http.RoundTripper) http.RoundTripper

// Chain returns the Middleware that applies mw from the outside in:
//
//	Chain(A, B)(base) == A(B(base))
//
// so that A is the first to see a request and the last to see its response.
// Chain skips nil; with nothing left it returns base as it is. Decorators of this
// module that are next to each other make one copy of the request for all of them.
func Chain(mw ...Middleware) Middleware {
	mw = slices.Clone(mw)
	return func(base http.RoundTripper) http.RoundTripper {
		for _, m := range slices.Backward(mw) {
			if m != nil {
				base = m(base)
			}
		}
		return base
	}
}

// Client returns a copy of c, or a new client if c is nil, whose Transport is
// c's decorated by Chain(mw...). c itself is left as it is.
func Client(c *http.Client, mw ...Middleware) *http.Client {
	var decorated http.Client
	if c != nil {
		decorated = *c
	}
	if decorated.Transport == nil {
		// A Middleware may count on a base.
		decorated.Transport = defaultTransport{}
	}
	decorated.Transport = Chain(mw...)(decorated.Transport)
	return &decorated
}

// defaultTransport is http.DefaultTransport, whichever that is at the time of
// the call.
type defaultTransport struct{}

func (defaultTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return hop.Base(nil).RoundTrip(req)
}

func (defaultTransport) CloseIdleConnections() { hop.CloseIdle(nil) }

// Func is a RoundTripper made of a function. The function must keep the
// contract of [http.RoundTripper]. A nil Func returns an error.
type Func func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f Func) RoundTrip(req *http.Request) (*http.Response, error) {
	if f == nil {
		hop.CloseBody(req)
		return nil, errors.New("transport: Func is nil")
	}
	return f(req)
}

// WithoutCredentials returns a context for requests that every decorator of
// this module passes through as they are, for instance to an endpoint of the
// API that must be called signed out.
func WithoutCredentials(ctx context.Context) context.Context {
	return marks.WithoutCredentials(ctx)
}
