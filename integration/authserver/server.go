// Package authserver runs real OAuth 2.0 authorization servers inside a test,
// on loopback, each with an API beside it that trusts its tokens.
package authserver

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// The one client and the one user every server knows.
const (
	clientID     = "integration"
	clientSecret = "integration-secret"
	username     = "alice"
	password     = "wonderland"
)

// Server is an authorization server and an API that trusts it. It is safe for
// concurrent use and stops with the test that started it.
//
// Refreshing rotates: it replaces the refresh token and ends the access token
// issued with it. A refresh token used a second time, however soon, is
// answered invalid_grant.
type Server struct {
	Name         string // the implementation: "fosite" or "go-oauth2"
	TokenURL     string // the token endpoint: client_credentials, password, refresh_token
	APIURL       string // the protected API, which echoes bodies
	ClientID     string
	ClientSecret string
	Username     string
	Password     string

	// RevokesOnReuse tells whether using a refresh token twice also revokes
	// the tokens that followed from its first use.
	RevokesOnReuse bool

	backend backend
	fault   atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]

	// grants serializes what changes grants. Neither implementation looks up
	// and rotates a refresh token in one step over its storage in memory, so
	// that of two uses at once both could be granted.
	grants sync.Mutex

	statsMu sync.Mutex
	stats   Stats
}

// Stats counts what a Server has answered so far.
type Stats struct {
	TokenRequests    map[string]int // by grant_type, including those left to a fault
	Refreshes        int            // granted
	RefusedRefreshes map[string]int // by error code
	Exchanges        []Exchange     // those granted and those refused, one after the other
	Accepted         int            // API requests answered 200
	Unauthorized     int            // API requests answered 401
}

// An Exchange is one use of a refresh token.
type Exchange struct {
	By      string // what the client says it is, as User-Agent
	At      time.Time
	Granted bool
}

// A backend is an authorization server without its surroundings. Only valid
// and revokeAccess are called concurrently with the other methods.
type backend interface {
	token(w http.ResponseWriter, r *http.Request)
	valid(ctx context.Context, accessToken string) bool
	revokeAccess(ctx context.Context, accessToken string) error
	revokeGrant(ctx context.Context, refreshToken string) error
}

func start(tb testing.TB, name string, b backend) *Server {
	s := &Server{
		Name:         name,
		ClientID:     clientID,
		ClientSecret: clientSecret,
		Username:     username,
		Password:     password,
		backend:      b,
		stats: Stats{
			TokenRequests:    make(map[string]int),
			RefusedRefreshes: make(map[string]int),
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", s.serveToken)
	mux.HandleFunc("/api/echo", s.serveAPI)
	// Not an httptest.Server: as one closes, it closes the idle connections of
	// http.DefaultTransport too, on which other tests may be about to send.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	tb.Cleanup(func() { _ = srv.Close() }) // lets go of faults that still hang
	url := "http://" + l.Addr().String()
	s.TokenURL = url + "/token"
	s.APIURL = url + "/api/echo"
	return s
}

// Config returns the client's configuration for the grants of a user.
func (s *Server) Config() *oauth2.Config {
	return &oauth2.Config{
		ClientID:     s.ClientID,
		ClientSecret: s.ClientSecret,
		Endpoint:     oauth2.Endpoint{TokenURL: s.TokenURL, AuthStyle: oauth2.AuthStyleInHeader},
	}
}

// ClientCredentials returns the client's configuration for acting on its own
// behalf.
func (s *Server) ClientCredentials() *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID:     s.ClientID,
		ClientSecret: s.ClientSecret,
		TokenURL:     s.TokenURL,
		AuthStyle:    oauth2.AuthStyleInHeader,
	}
}

// Login begins a grant: it exchanges the user's password for the first access
// token and refresh token.
func (s *Server) Login(ctx context.Context) (*oauth2.Token, error) {
	return s.Config().PasswordCredentialsToken(ctx, s.Username, s.Password)
}

// RevokeAccess makes the API refuse accessToken from now on. The grant lives:
// its refresh token still works.
func (s *Server) RevokeAccess(tb testing.TB, accessToken string) {
	tb.Helper()
	if err := s.backend.revokeAccess(tb.Context(), accessToken); err != nil {
		tb.Errorf("%s: revoking an access token: %v", s.Name, err)
	}
}

// RevokeGrant revokes every token of the grant that tok belongs to, be tok the
// latest of them or refreshed since. From now on its refresh token is answered
// invalid_grant.
func (s *Server) RevokeGrant(tb testing.TB, tok *oauth2.Token) {
	tb.Helper()
	if tok.RefreshToken == "" {
		tb.Errorf("%s: revoking a grant: the token has no refresh token to tell it by", s.Name)
		return
	}
	s.grants.Lock()
	defer s.grants.Unlock()
	if err := s.backend.revokeGrant(tb.Context(), tok.RefreshToken); err != nil {
		tb.Errorf("%s: revoking a grant: %v", s.Name, err)
	}
}

// Fault lets h see each token request before the authorization server does,
// with its form parsed, and answer it instead by returning true. To hang, h
// waits for the request's context, which ends with the client's connection or
// with the test. A nil h removes the fault.
func (s *Server) Fault(h func(w http.ResponseWriter, r *http.Request) bool) {
	if h == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&h)
}

// Stats returns the counts so far. An answer a client has seen is counted.
func (s *Server) Stats() Stats {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	st := s.stats
	st.TokenRequests = maps.Clone(st.TokenRequests)
	st.RefusedRefreshes = maps.Clone(st.RefusedRefreshes)
	st.Exchanges = slices.Clone(st.Exchanges)
	return st
}

func (s *Server) count(add func(*Stats)) {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	add(&s.stats)
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	// Parsing reads the body to its end, before which net/http would not
	// cancel the context of a request whose client hangs up on a fault.
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	grantType := r.PostForm.Get("grant_type")
	s.count(func(st *Stats) { st.TokenRequests[grantType]++ })

	if h := s.fault.Load(); h != nil && (*h)(w, r) {
		return
	}
	answer := s.answer(r)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// answer records the backend's answer, so that no slow client holds the lock.
func (s *Server) answer(r *http.Request) *httptest.ResponseRecorder {
	s.grants.Lock()
	defer s.grants.Unlock()
	rec := httptest.NewRecorder()
	s.backend.token(rec, r)
	if r.PostForm.Get("grant_type") == "refresh_token" {
		s.countRefresh(r.UserAgent(), rec)
	}
	return rec
}

func (s *Server) countRefresh(by string, answer *httptest.ResponseRecorder) {
	var refusal struct {
		Code string `json:"error"`
	}
	if answer.Code != http.StatusOK {
		_ = json.Unmarshal(answer.Body.Bytes(), &refusal) // counted under "" if it is none
	}
	s.count(func(st *Stats) {
		st.Exchanges = append(st.Exchanges, Exchange{by, time.Now(), answer.Code == http.StatusOK})
		if answer.Code == http.StatusOK {
			st.Refreshes++
		} else {
			st.RefusedRefreshes[refusal.Code]++
		}
	})
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	tried := strings.EqualFold(scheme, "Bearer") && token != ""
	if !tried || !s.backend.valid(r.Context(), token) {
		challenge := "Bearer" // RFC 6750, 3.1: no error code where no token was tried
		if tried {
			challenge = `Bearer error="invalid_token"`
		}
		s.count(func(st *Stats) { st.Unauthorized++ })
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	// Answering while the body still arrives would cut a long one short.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.count(func(st *Stats) { st.Accepted++ })
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Method", r.Method)
	_, _ = w.Write(body)
}
