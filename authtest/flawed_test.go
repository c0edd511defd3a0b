package authtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// A flaw is a decorator that breaks one clause and no other.
type flaw struct {
	clause authtest.Clause
	about  string
	wrap   func(base http.RoundTripper) http.RoundTripper
}

// sound is a decorator that keeps every clause.
func sound(base http.RoundTripper) http.RoundTripper {
	return &transport.Refresh{Source: &rotating{}, Base: base}
}

// A rotating Renewer replaces the token that was rejected.
type rotating struct {
	mu    sync.Mutex
	n     int
	token *oauth2.Token
}

func (r *rotating) Token(context.Context) (*oauth2.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token == nil {
		r.n++
		r.token = &oauth2.Token{AccessToken: fmt.Sprint("secret-", r.n)}
	}
	return r.token, nil
}

func (r *rotating) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	r.mu.Lock()
	if r.token == rejected {
		r.token = nil
	}
	r.mu.Unlock()
	return r.Token(ctx)
}

// A step handles a request on its way to next.
type step func(next http.RoundTripper, req *http.Request) (*http.Response, error)

// A stepped is a RoundTripper that does it.
type stepped struct {
	do   step
	next http.RoundTripper
}

func (s stepped) RoundTrip(req *http.Request) (*http.Response, error) { return s.do(s.next, req) }

func (s stepped) CloseIdleConnections() {
	if c, ok := s.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// outside has the sound decorator do its work after do.
func outside(do step) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper { return stepped{do, sound(base)} }
}

// inside has do between the sound decorator and its base.
func inside(do step) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		if base == nil {
			base = http.DefaultTransport
		}
		return sound(stepped{do, base})
	}
}

// changed sends a copy of req.
func changed(next http.RoundTripper, req *http.Request, change func(*http.Request)) (*http.Response, error) {
	r := *req
	r.Header = maps.Clone(req.Header)
	change(&r)
	resp, err := next.RoundTrip(&r)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// A reading body knows whether it has been read to its end.
type reading struct {
	io.ReadCloser
	ended atomic.Bool
}

func (r *reading) Read(to []byte) (int, error) {
	n, err := r.ReadCloser.Read(to)
	if err == io.EOF {
		r.ended.Store(true)
	}
	return n, err
}

// watched sends req with a body that is watched.
func watched(next http.RoundTripper, req *http.Request) (*reading, *http.Response, error) {
	body := &reading{}
	resp, err := changed(next, req, func(r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			body.ReadCloser = r.Body
			r.Body = body
		}
	})
	return body, resp, err
}

type (
	onlyRead  struct{ io.ReadCloser }
	noClose   struct{ io.Reader }
	noValues  struct{ context.Context }
	talkative struct{ stepped }
	noIdle    struct{ rt http.RoundTripper }
)

func (noClose) Close() error         { return nil }
func (noValues) Value(any) any       { return nil }
func (talkative) String() string     { return "sending secret-1" }
func (t talkative) GoString() string { return t.String() }

func (n noIdle) RoundTrip(req *http.Request) (*http.Response, error) {
	return n.rt.RoundTrip(req)
}

// flaws has one for each clause, at least.
var flaws = []flaw{
	{authtest.RequestUnmodified, "sets a field in place", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Header != nil {
			req.Header.Set("X-Trace", "1")
		}
		return next.RoundTrip(req)
	})},
	{authtest.RequestUnmodified, "appends to values that it shares", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) {
			if v := r.Header["Accept"]; len(v) == 1 {
				r.Header["X-Also"] = append(v, "text/html")
			}
		})
	})},
	{authtest.RequestUnmodified, "writes the query through the URL's pointer", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		req.URL.RawQuery += "&trace=1"
		return next.RoundTrip(req)
	})},
	{authtest.NilHeader, "sets a field of a nil map", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) { r.Header["X-Trace"] = []string{"1"} })
	})},
	{authtest.RequestForwarded, "sorts the query", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) {
			u := *r.URL
			u.RawQuery = u.Query().Encode()
			r.URL = &u
		})
	})},
	{authtest.RequestForwarded, "wraps NoBody", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) {
			if r.Body == http.NoBody {
				r.Body = io.NopCloser(r.Body)
			}
		})
	})},
	{authtest.BodyClosedOnSuccess, "closes again what has been sent", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		body, resp, err := watched(next, req)
		if err == nil && body.ended.Load() {
			body.Close()
		}
		return resp, err
	})},
	{authtest.BodyClosedOnBaseError, "closes again after an error", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil && req.Body != nil {
			req.Body.Close()
		}
		return resp, err
	})},
	{authtest.BodyClosedOnOwnError, "returns early", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.URL.Scheme == "http" && req.URL.Hostname() != "127.0.0.1" {
			return nil, errors.New("http is not supported")
		}
		return next.RoundTrip(req)
	})},
	{authtest.BodyClosedOnEarlyResponse, "closes what is being read", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		body, resp, err := watched(next, req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized && body.ReadCloser != nil && !body.ended.Load() {
			body.Close()
		}
		return resp, err
	})},
	{authtest.NewRequestPerAttempt, "sends the first request again", func(base http.RoundTripper) http.RoundTripper {
		var rejected *http.Request // this is for one request at a time
		return inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			if rejected != nil {
				*rejected = *req
				req = rejected
				rejected = nil
			}
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusUnauthorized && req.URL.Path == "/items" {
				rejected = req
			}
			return resp, err
		})(base)
	}},
	{authtest.BodyComplete, "sends what is left of the first body", func(base http.RoundTripper) http.RoundTripper {
		var again bool
		return inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			if again && req.Header.Get("Expect") == "" && req.ContentLength > 0 {
				req.Body.Close()
				return changed(next, req, func(r *http.Request) { r.Body = noClose{strings.NewReader("")} })
			}
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusUnauthorized && req.URL.Path == "/items" {
				again = true
			}
			return resp, err
		})(base)
	}},
	{authtest.DiscardedResponse, "hides the Close of a rejection", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			resp.Body = noClose{resp.Body}
		}
		return resp, err
	})},
	{authtest.EndlessRejection, "reads all of a rejection", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			all, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			resp.Body = io.NopCloser(bytes.NewReader(all))
		}
		return resp, err
	})},
	{authtest.ResponseXorError, "returns both", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil && strings.Contains(err.Error(), "no such host") {
			resp = &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}
		}
		return resp, err
	})},
	{authtest.AnyStatus, "makes an error of a status", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
			resp.Body.Close()
			return nil, errors.New("service unavailable")
		}
		return resp, err
	})},
	{authtest.AnyStatus, "returns a 403 drained", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusForbidden {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		return resp, err
	})},
	{authtest.ResponseRequest, "leaves its copy in the response", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			r := *req
			resp.Request = &r
		}
		return resp, err
	})},
	{authtest.Upgrade, "wraps the body", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			resp.Body = onlyRead{resp.Body}
		}
		return resp, err
	})},
	{authtest.Trailers, "copies the request's", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) { r.Trailer = r.Trailer.Clone() })
	})},
	{authtest.Trailers, "copies the response's", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			resp.Trailer = resp.Trailer.Clone()
		}
		return resp, err
	})},
	{authtest.StreamedResponse, "fills a buffer first", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.ContentLength < 0 && req.Method == http.MethodGet {
			ahead := make([]byte, 64<<10)
			n, _ := io.ReadFull(resp.Body, ahead)
			resp.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(ahead[:n]), resp.Body), resp.Body}
		}
		return resp, err
	})},
	{authtest.StreamedRequest, "reads the body into memory", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.ContentLength >= 0 || req.Body == nil {
			return next.RoundTrip(req)
		}
		all, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		return changed(next, req, func(r *http.Request) { r.Body = io.NopCloser(bytes.NewReader(all)) })
	})},
	{authtest.HTTP2, "sets a field that is HTTP/1.1's own", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Header == nil || req.Header.Get("Upgrade") != "" {
			return next.RoundTrip(req)
		}
		return changed(next, req, func(r *http.Request) { r.Header.Set("Connection", "TE") })
	})},
	{authtest.ExpectContinue, "forgets the expectation", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) { r.Header.Del("Expect") })
	})},
	{authtest.ContextBefore, "does not mind", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Context().Err() == nil {
			return next.RoundTrip(req)
		}
		return changed(next, req, func(r *http.Request) { *r = *r.WithContext(context.WithoutCancel(r.Context())) })
	})},
	{authtest.ContextDuring, "hides the cause", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		begun := req.Context().Err() == nil
		resp, err := next.RoundTrip(req)
		if err != nil && begun && req.Context().Err() != nil {
			return nil, errors.New("the request has failed")
		}
		return resp, err
	})},
	{authtest.ContextAfter, "ends the context as it returns", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodGet {
			return next.RoundTrip(req)
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		return changed(next, req, func(r *http.Request) { *r = *r.WithContext(ctx) })
	})},
	{authtest.ContextAfter, "stops minding the context as it returns", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Context().Err() != nil {
			return next.RoundTrip(req)
		}
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(req.Context()))
		defer context.AfterFunc(req.Context(), func() { cancel(req.Context().Err()) })()
		resp, err := changed(next, req, func(r *http.Request) { *r = *r.WithContext(ctx) })
		if err != nil && req.Context().Err() != nil {
			err = req.Context().Err()
		}
		return resp, err
	})},
	{authtest.ContextValues, "has a context of its own", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) { *r = *r.WithContext(noValues{r.Context()}) })
	})},
	{authtest.ClientTimeout, "forgets the channel", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return changed(next, req, func(r *http.Request) { r.Cancel = nil }) //lint:ignore SA1019 http.Client sets it
	})},
	{authtest.CloseIdleConnections, "has no such method", func(base http.RoundTripper) http.RoundTripper { return noIdle{sound(base)} }},
	{authtest.NilBase, "has no default", func(base http.RoundTripper) http.RoundTripper {
		if base == nil {
			return sound(transport.Func(func(req *http.Request) (*http.Response, error) { return base.RoundTrip(req) }))
		}
		return sound(base)
	}},
	{authtest.ConcurrentUse, "has room for 30", func(base http.RoundTripper) http.RoundTripper {
		room := make(chan struct{}, 30)
		return outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			select {
			case room <- struct{}{}:
				defer func() { <-room }()
				return next.RoundTrip(req)
			default:
				req.Body.Close()
				return nil, errors.New("busy")
			}
		})(base)
	}},
	{authtest.PanicInBase, "keeps its lock", func(base http.RoundTripper) http.RoundTripper {
		lock := make(chan struct{}, 1)
		return outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			select {
			case lock <- struct{}{}:
			case <-req.Context().Done():
				req.Body.Close()
				return nil, req.Context().Err()
			}
			resp, err := next.RoundTrip(req)
			<-lock
			return resp, err
		})(base)
	}},
	{authtest.Redirects, "attaches to every hop", inside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Response == nil {
			return next.RoundTrip(req)
		}
		return changed(next, req, func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret-1") })
	})},
	{authtest.PlainHTTP, "attaches to every scheme", func(base http.RoundTripper) http.RoundTripper {
		return outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			if req.URL.Scheme == "https" || req.Response != nil || req.URL.Hostname() == "127.0.0.1" {
				return next.RoundTrip(req)
			}
			return changed(base, req, func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret-1") })
		})(base)
	}},
	{authtest.SecretInErrors, "says what it sent", outside(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil {
			err = fmt.Errorf("with secret-1: %w", err)
		}
		return resp, err
	})},
	{authtest.SecretInPrinting, "has a talkative String", func(base http.RoundTripper) http.RoundTripper {
		return talkative{stepped{http.RoundTripper.RoundTrip, sound(base)}}
	}},
}
