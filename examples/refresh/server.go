package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/authtrip/authtrip/authtest"
)

// A server is an authorization server and the API that trusts it. Refresh
// tokens rotate: one that comes twice was stolen, as far as the server knows,
// and signs the user out.
type server struct {
	*authtest.Server
	latency time.Duration // of the token endpoint

	mu        sync.Mutex // guards the fields below
	seen      map[string]bool
	newest    string // the access token that the API has seen first last
	exchanges []span
	pending   int // exchanges under way
	revoked   time.Time
}

type span struct{ from, to time.Time }

func newServer(lifetime, latency time.Duration) *server {
	s := &server{Server: authtest.NewServer(nil), latency: latency, seen: make(map[string]bool)}
	s.SetPolicy(authtest.Policy{Lifetime: lifetime})
	s.Inject("/token", authtest.Latency(latency))
	s.Inject("/token", s.timed)
	s.Inject("/bearer", s.noted)
	return s
}

// timed notes how long an exchange takes.
func (s *server) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := time.Now()
		s.mu.Lock()
		s.pending++
		s.mu.Unlock()
		next.ServeHTTP(w, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending--
		s.exchanges = append(s.exchanges, span{from, time.Now()})
	})
}

// noted notes which tokens are used.
func (s *server) noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const scheme = "Bearer "
		if v := r.Header.Get("Authorization"); len(v) > len(scheme) {
			s.mu.Lock()
			if token := v[len(scheme):]; !s.seen[token] {
				s.seen[token], s.newest = true, token
			}
			s.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// revoke ends the newest access token before its time.
func (s *server) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Revoke(s.newest)
	s.revoked = time.Now()
}

// settled reports what has come of the tokens, once no exchange is under way.
func (s *server) settled() (exchanges, ended, reused int) {
	for {
		s.mu.Lock()
		if s.pending == 0 {
			defer s.mu.Unlock()
			// All tokens that were used but the newest have come to an end.
			return len(s.exchanges), max(len(s.seen)-1, 0), s.Stats().Reused
		}
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}
