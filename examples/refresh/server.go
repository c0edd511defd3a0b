package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// A server is an authorization server and the API that trusts it. Refresh
// tokens rotate: one that comes twice was stolen, as far as the server knows,
// and signs the user out.
type server struct {
	url      string
	lifetime time.Duration // of an access token
	latency  time.Duration // of the token endpoint
	http     *http.Server

	rejected atomic.Int64 // API requests answered 401

	mu        sync.Mutex // guards the fields below
	access    map[string]time.Time
	refresh   string
	newest    string
	seen      map[string]bool // access tokens that the API has accepted
	exchanges []span
	pending   int // exchanges under way
	reused    int // refresh tokens that came twice
	revoked   time.Time
}

type span struct{ from, to time.Time }

func newServer(lifetime, latency time.Duration) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		url:      "http://" + l.Addr().String(),
		lifetime: lifetime,
		latency:  latency,
		access:   make(map[string]time.Time),
		seen:     make(map[string]bool),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /api", s.api)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go s.http.Serve(l)
	return s, nil
}

func (s *server) close() { s.http.Close() }

// login stands for whatever made the first token.
func (s *server) login() *oauth2.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue()
}

// issue replaces the refresh token and adds an access token. s.mu is held.
func (s *server) issue() *oauth2.Token {
	s.newest, s.refresh = rand.Text(), rand.Text()
	expiry := time.Now().Add(s.lifetime)
	s.access[s.newest] = expiry
	return &oauth2.Token{AccessToken: s.newest, RefreshToken: s.refresh, Expiry: expiry}
}

// revoke ends the newest access token before its time.
func (s *server) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access, s.newest)
	s.revoked = time.Now()
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	from := time.Now()
	s.mu.Lock()
	s.pending++
	s.mu.Unlock()
	time.Sleep(s.latency)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending--
	w.Header().Set("Content-Type", "application/json")
	if r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != s.refresh {
		s.reused++
		s.refresh = ""
		clear(s.access)
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_grant"}`)
		return
	}
	t := s.issue()
	s.exchanges = append(s.exchanges, span{from, time.Now()})
	json.NewEncoder(w).Encode(map[string]any{
		"access_token":  t.AccessToken,
		"refresh_token": t.RefreshToken,
		"token_type":    "Bearer",
		"expires_in":    int(s.lifetime.Seconds()),
	})
}

// api answers a request with its own body.
func (s *server) api(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	good := time.Now().Before(s.access[token])
	if good {
		s.seen[token] = true
	}
	s.mu.Unlock()
	if !good {
		s.rejected.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "token expired or revoked", http.StatusUnauthorized)
		return
	}
	io.Copy(w, r.Body)
}

// settled reports what has come of the tokens, once no exchange is under way.
func (s *server) settled() (exchanges, ended, reused int) {
	for {
		s.mu.Lock()
		if s.pending == 0 {
			defer s.mu.Unlock()
			// All tokens that were used but the newest have come to an end.
			ended = len(s.seen)
			if s.seen[s.newest] {
				ended--
			}
			return len(s.exchanges), ended, s.reused
		}
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}
