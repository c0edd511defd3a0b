package authtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Fault is what is wrong with an endpoint: a handler around it, which may
// answer instead, or do what it likes before and after. One that does not
// answer panics with [http.ErrAbortHandler], which closes the connection, or
// over HTTP/2 the stream.
type Fault func(next http.Handler) http.Handler

// faults are those in force.
type faults struct {
	mu   sync.Mutex
	list []*injected // guarded by mu
}

type injected struct {
	path  string
	fault Fault
}

// Inject puts a fault in force, for requests to path and everything below it
// that arrive from now on. The path "/" stands for all. Of several faults, the last
// one sees a request first. It is in force until remove is called.
func (s *Server) Inject(path string, f Fault) (remove func()) {
	in := &injected{strings.TrimSuffix(path, "/"), f}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, in)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.list = slices.DeleteFunc(slices.Clone(s.faults.list), func(other *injected) bool { return other == in })
	}
}

// around returns h with the faults of path around it.
func (f *faults) around(path string, h http.Handler) http.Handler {
	f.mu.Lock()
	list := f.list
	f.mu.Unlock()
	for _, in := range list {
		if path == in.path || strings.HasPrefix(path, in.path+"/") {
			h = in.fault(h)
		}
	}
	return h
}

// Times lets f act on the first n requests, and the others through.
func Times(n int, f Fault) Fault {
	var seen atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1) <= int64(n) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Latency delays requests before the endpoint sees them.
func Latency(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrive(r, maxKept)
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// Hang never answers. It holds on until the client goes, or the server is
// closed.
func Hang() Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			arrive(r, maxKept)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
	}
}

// Answer answers instead of the endpoint, after it has read the body. A
// Retry-After is part of header, and so is a challenge.
func Answer(status int, header http.Header, body string) Fault {
	header = header.Clone()
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for name, values := range header {
				w.Header()[name] = slices.Clone(values)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// RedirectTo answers with a redirect to any URL, which is sent as it is given.
func RedirectTo(status int, url string) Fault {
	return Answer(status, http.Header{"Location": {url}}, "")
}

// Huge answers 200 with a JSON object of n bytes.
func Huge(n int64) Fault {
	const before, after = `{"access_token":"`, `"}`
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			padding := max(n-int64(len(before)+len(after)), 0)
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader(before), io.LimitReader(letters{}, padding), strings.NewReader(after)))
		})
	}
}

// letters are without end.
type letters struct{}

func (letters) Read(to []byte) (int, error) {
	for i := range to {
		to[i] = 'x'
	}
	return len(to), nil
}

// DropAfter lets the endpoint do its work, which may be to spend a refresh
// token, but closes the connection after n bytes of the answer: its head counts
// over HTTP/1.1, and of HTTP/2 only the body. With n 0 nothing arrives.
func DropAfter(n int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := &kept{header: make(http.Header), status: http.StatusOK}
			next.ServeHTTP(a, r)
			if r.ProtoMajor == 1 {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					if answer := a.bytes(); n > 0 {
						_, _ = conn.Write(answer[:min(n, len(answer))])
					}
					conn.Close()
					return
				}
			} else if n > 0 {
				maps.Copy(w.Header(), a.header)
				w.Header().Set("Content-Length", fmt.Sprint(a.body.Len()))
				w.WriteHeader(a.status)
				_, _ = w.Write(a.body.Bytes()[:min(n, a.body.Len())])
				_ = http.NewResponseController(w).Flush()
			}
			panic(http.ErrAbortHandler)
		})
	}
}

// A kept answer is not sent.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *kept) Header() http.Header         { return a.header }
func (a *kept) WriteHeader(status int)      { a.status = status }
func (a *kept) Write(b []byte) (int, error) { return a.body.Write(b) }

// bytes returns the answer as HTTP/1.1 has it.
func (a *kept) bytes() []byte {
	var b bytes.Buffer
	resp := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
	}
	_ = resp.Write(&b)
	return b.Bytes()
}

// CloseConnection closes the connection after each answer.
func CloseConnection() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			next.ServeHTTP(w, r)
		})
	}
}

// A Gate holds requests; see [Server.Hold].
type Gate struct {
	mu      sync.Mutex
	waiting int           // guarded by mu
	changed chan struct{} // closed when waiting changes; guarded by mu
	open    chan struct{} // closed by Release
	release func()
}

// Hold has requests to path, and to everything below it, wait before the
// endpoint sees them, until the gate is released or the server is closed.
func (s *Server) Hold(path string) *Gate {
	g := &Gate{changed: make(chan struct{}), open: make(chan struct{})}
	remove := s.Inject(path, g.hold)
	g.release = sync.OnceFunc(func() {
		remove()
		close(g.open)
	})
	return g
}

func (g *Gate) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrive(r, maxKept)
		g.add(1)
		defer func() { g.add(-1) }()
		select {
		case <-g.open:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	})
}

func (g *Gate) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting += n
	close(g.changed)
	g.changed = make(chan struct{})
}

// Waiting returns how many requests are held.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// Wait returns when n requests are held, or with the error of ctx.
func (g *Gate) Wait(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		enough, changed := g.waiting >= n, g.changed
		g.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("authtest: waiting for %d requests at a gate: %w", n, ctx.Err())
		}
	}
}

// Release lets through what is held, and what comes. It may be called more than
// once.
func (g *Gate) Release() { g.release() }
