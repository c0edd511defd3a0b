package authtest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/memnet"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// A Server is an OAuth 2.0 authorization server and an API that trusts it, in
// memory. It has one client and one user.
//
// The authorization server is at /token, /revoke and /introspect. It grants
// client_credentials and refresh_token (RFC 6749 sections 4.4 and 6), and
// [Server.SignIn] stands for the rest of them. Refreshing rotates: a refresh
// token that is used again ends the grant, if [Policy] does not say otherwise.
//
// The API is at the paths below, and at all that begin with them. Each reads
// the request's body, up to 16 MiB, and if the credential is right answers 200
// with that body, else 401 with a challenge:
//
//   - /bearer wants an access token (RFC 6750).
//   - /basic wants Username and Password (RFC 7617), and so does
//   - /digest (RFC 7616: SHA-256 or MD5, qop auth).
//   - /apikey wants APIKey in the field X-Api-Key, the query parameter api_key
//     or the cookie api_key.
//   - /session wants the cookie session, which a POST of username and password
//     to /login sets, and for unsafe methods the cookie XSRF-TOKEN's value in
//     the field X-Xsrf-Token; if that alone is wrong, the status is 403. A POST to /logout
//     ends the session.
//   - /open wants nothing.
//
// All methods are safe for concurrent use by multiple goroutines. A Server is
// printed without its secrets.
type Server struct {
	// URL is where the server is, without a path.
	URL string
	// ClientID and ClientSecret are those of the one client.
	ClientID, ClientSecret string
	// Username and Password are those of the one user.
	Username, Password string
	// APIKey is what /apikey wants.
	APIKey string

	issuer   *issuer
	sessions sessions
	nonces   nonces
	faults   faults
	log      transcript

	endpoints *http.ServeMux
	transport *http.Transport
	server    *http.Server
	end       context.CancelFunc // of everything that hangs
	running   sync.WaitGroup     // Serve and the handlers
	mu        sync.Mutex
	closed    bool // no handler begins any more; guarded by mu
}

// A ServerOption tells [NewServer] how to listen.
type ServerOption func(*listening)

type listening struct{ memory, secure bool }

// InMemory has the server listen inside the process, without a socket: for
// the bubbles of testing/synctest, where a server has to be started inside.
// Only [Server.Client] reaches it, by any host's name.
func InMemory() ServerOption { return func(l *listening) { l.memory = true } }

// TLS has the server speak https, and HTTP/2, with a certificate that
// [Server.Client] trusts.
func TLS() ServerOption { return func(l *listening) { l.secure = true } }

// NewServer starts a server on loopback, over plain http without options. It
// stops with the test. In a program or an Example, tb is nil, and the caller
// closes the server; if it cannot listen, NewServer panics then.
func NewServer(tb testing.TB, opts ...ServerOption) *Server {
	fail := func(err error) { panic("authtest: NewServer: " + err.Error()) }
	if tb != nil {
		tb.Helper()
		fail = func(err error) { tb.Helper(); tb.Fatal("authtest: NewServer:", err) }
	}
	var how listening
	for _, o := range opts {
		o(&how)
	}
	s := &Server{
		ClientID: "authtest", ClientSecret: "client-" + rand.Text(),
		Username: "alice", Password: "password-" + rand.Text(), APIKey: "key-" + rand.Text(),
		transport: &http.Transport{ForceAttemptHTTP2: true},
	}
	s.issuer = newIssuer()
	if err := s.listen(how); err != nil {
		fail(err)
	}
	if tb != nil {
		tb.Cleanup(s.Close)
	}
	return s
}

func (s *Server) listen(how listening) error {
	var (
		l    net.Listener
		host = "authtest.localhost"
		err  error
	)
	if how.memory {
		inside := memnet.Listen()
		s.transport.DialContext = inside.DialContext
		l = inside
	} else {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		host = l.Addr().String()
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.endpoints = s.newEndpoints()
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	s.URL = "http://" + host
	serve := s.server.Serve
	if how.secure {
		ca, err := memnet.NewAuthority()
		if err != nil {
			return err
		}
		s.URL = "https://" + host
		s.server.TLSConfig = &tls.Config{GetCertificate: ca.Certificate}
		s.transport.TLSClientConfig = &tls.Config{RootCAs: ca.Pool()}
		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}
	s.running.Go(func() { _ = serve(l) })
	return nil
}

// Close stops the server: what hangs, is held or is delayed ends without an
// answer, and connections are closed. It returns when no handler runs any more.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	_ = s.server.Close()
	s.transport.CloseIdleConnections()
	s.running.Wait()
}

// Client returns a client that reaches the server and trusts its certificate.
// It sends no credentials; decorate it.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// Context returns a copy of ctx by which the grants of x/oauth2 and of package
// tokensource use [Server.Client]. A Session's grant has the values of its callers'
// contexts, so it is enough to send requests with this one. Over plain http on
// loopback it is not needed.
func (s *Server) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, s.Client())
}

// TokenURL is the token endpoint's (RFC 6749 section 3.2).
func (s *Server) TokenURL() string { return s.URL + "/token" }

// RevocationURL is the revocation endpoint's (RFC 7009).
func (s *Server) RevocationURL() string { return s.URL + "/revoke" }

// IntrospectionURL is the introspection endpoint's (RFC 7662).
func (s *Server) IntrospectionURL() string { return s.URL + "/introspect" }

// Config returns the client's configuration for what a user has granted.
func (s *Server) Config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: s.ClientID, ClientSecret: s.ClientSecret,
		Endpoint: oauth2.Endpoint{TokenURL: s.TokenURL(), AuthStyle: oauth2.AuthStyleInHeader},
	}
}

// ClientCredentials returns the client's configuration for acting on its own
// behalf.
func (s *Server) ClientCredentials() *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID: s.ClientID, ClientSecret: s.ClientSecret,
		TokenURL: s.TokenURL(), AuthStyle: oauth2.AuthStyleInHeader,
	}
}

// SignIn returns the first tokens of a new grant, as if the user had signed in.
func (s *Server) SignIn() *oauth2.Token {
	access, refresh := s.issuer.signIn(s.Username)
	t := &oauth2.Token{AccessToken: access.value, TokenType: "Bearer", RefreshToken: refresh.value, Expiry: access.expires}
	if !access.expires.IsZero() {
		t.ExpiresIn = int64(time.Until(access.expires) / time.Second)
	}
	return t
}

// Revoke ends an access or a refresh token, given by its value, from now on.
// Others of its grant live on.
func (s *Server) Revoke(token string) { s.issuer.revoke(token, false) }

// RevokeGrant ends all tokens of the grant that the token belongs to.
func (s *Server) RevokeGrant(token string) { s.issuer.revoke(token, true) }

// SetPolicy sets what holds for tokens that are issued, and for refresh tokens
// that are presented, from now on.
func (s *Server) SetPolicy(p Policy) { s.issuer.setPolicy(p) }

// Policy returns the policy in force.
func (s *Server) Policy() Policy { return s.issuer.getPolicy() }

// enter counts a handler, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// serve has every request noted, and faults do their work.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	w, e := s.log.begin(w, r)
	form := readForm(r)
	names := s.credentials(r, form)
	s.log.note(e, func(rec *Record) { rec.Credentials, rec.Grant = names, known(form.Get("grant_type")) })
	s.faults.around(r.URL.Path, s.endpoints).ServeHTTP(w, r)
}

// String names the server by its URL.
func (s *Server) String() string { return "authtest.Server(" + s.URL + ")" }

// Format prints String, whatever the verb.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns String.
func (s *Server) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
