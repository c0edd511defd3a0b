package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// bubble is a subtest under fake time, which also fails if the test leaves a
// goroutine behind.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// A journal is the order in which things happened.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(entry string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.entries...)
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
}

// A fakeGrant counts its calls and answers the nth with access token
// "access-n" and refresh token "refresh-n".
type fakeGrant struct {
	journal  *journal
	takes    time.Duration // unless the context ends before
	lifetime time.Duration // of the tokens; zero: not stated
	// answer, if not nil, is the outcome of the nth call, from 1; neither
	// token nor error stands for the default.
	answer func(ctx context.Context, n int, current *oauth2.Token) (*oauth2.Token, error)

	mu    sync.Mutex
	times []time.Time // of the calls
	seen  []string    // the refresh tokens that they presented
}

func (g *fakeGrant) grant(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
	g.journal.add("grant")
	g.mu.Lock()
	start := time.Now()
	g.times = append(g.times, start)
	refresh := ""
	if current != nil {
		refresh = current.RefreshToken
	}
	g.seen = append(g.seen, refresh)
	n := len(g.times)
	g.mu.Unlock()
	if g.takes > 0 {
		select {
		case <-time.After(g.takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if g.answer != nil {
		if token, err := g.answer(ctx, n, current); token != nil || err != nil {
			return token, err
		}
	}
	token := &oauth2.Token{AccessToken: fmt.Sprintf("access-%d", n), RefreshToken: fmt.Sprintf("refresh-%d", n)}
	if g.lifetime > 0 {
		token.Expiry = start.Add(g.lifetime)
	}
	return token, nil
}

func (g *fakeGrant) calls() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.times)
}

// failing is an answer of a fakeGrant.
func failing(err error) func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
	return func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) { return nil, err }
}

// failingGrant is a Grant that always fails.
func failingGrant(err error) tokensource.Grant {
	return func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return nil, err }
}

var errDown = errors.New("the server is down")

// A fakeStore is a Store in memory. Each error, if not nil, is what the method
// returns instead of doing its work; each hook runs first. The journal has "Clear" for
// a record that says "signed out".
type fakeStore struct {
	journal                    *journal
	loadErr, saveErr, clearErr error
	onLoad                     func(context.Context)
	onSave                     func(context.Context, *oauth2.Token)
	onClear                    func(context.Context)

	mu    sync.Mutex
	text  []byte
	tried [][]byte // what Save was called with
}

func (s *fakeStore) Load(ctx context.Context) ([]byte, error) {
	s.journal.add("Load")
	if s.onLoad != nil {
		s.onLoad(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loadErr != nil {
		return nil, s.loadErr
	}
	return s.text, nil
}

func (s *fakeStore) Save(ctx context.Context, text []byte) error {
	r, err := tokensource.ParseRecord(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.tried = append(s.tried, text)
	s.mu.Unlock()
	fails := &s.saveErr
	if r.Change == tokensource.ChangeSignOut {
		s.journal.add("Clear")
		if fails = &s.clearErr; s.onClear != nil {
			s.onClear(ctx)
		}
	} else if r.Token == nil {
		s.journal.add("Save a lease")
	} else {
		s.journal.add("Save " + r.Token.AccessToken)
		if s.onSave != nil {
			s.onSave(ctx, r.Token)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if *fails != nil {
		return *fails
	}
	s.text = text
	return nil
}

// put is what another process does that signs in, or for nil out.
func (s *fakeStore) put(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := &fakeStore{text: s.text}
	other := &tokensource.Session{Store: there}
	var err error
	if token != nil {
		err = other.Set(context.Background(), token)
	} else {
		err = other.Clear(context.Background())
	}
	if err != nil {
		panic(err)
	}
	s.text = there.text
}

// set has the store hold text.
func (s *fakeStore) set(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// foreign is what another program leaves, which uses x/oauth2 alone.
func foreign(token *oauth2.Token) []byte {
	text, err := json.Marshal(token)
	if err != nil {
		panic(err)
	}
	return text
}

// record is what is stored.
func (s *fakeStore) record() *tokensource.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := tokensource.ParseRecord(s.text)
	if err != nil {
		panic(err)
	}
	return r
}

// holds is the access token stored.
func (s *fakeStore) holds() string {
	if r := s.record(); r.Token != nil {
		return r.Token.AccessToken
	}
	return ""
}

// stored returns the token that a Store has, nil if there is none.
func stored(ctx context.Context, s tokensource.Store) (*oauth2.Token, error) {
	text, err := s.Load(ctx)
	if err != nil {
		return nil, err
	}
	r, err := tokensource.ParseRecord(text)
	if err != nil {
		return nil, err
	}
	return r.Token, nil
}

// A lockedStore is a fakeStore that is a Locker too.
type lockedStore struct {
	*fakeStore
	held     chan struct{} // has room for one
	lockErr  error
	onUnlock func()
}

func newLockedStore(j *journal) *lockedStore {
	return &lockedStore{fakeStore: &fakeStore{journal: j}, held: make(chan struct{}, 1)}
}

func (s *lockedStore) Lock(ctx context.Context) (func(), error) {
	s.journal.add("Lock")
	if s.lockErr != nil {
		return nil, s.lockErr
	}
	select {
	case s.held <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return func() {
		s.journal.add("unlock")
		<-s.held
		if s.onUnlock != nil {
			s.onUnlock()
		}
	}, nil
}

// An events is an OnEvent that remembers.
type events struct {
	mu  sync.Mutex
	all []tokensource.Event
}

func (e *events) on(_ context.Context, event tokensource.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) list() []tokensource.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]tokensource.Event(nil), e.all...)
}

func (e *events) kinds() []tokensource.EventKind {
	var kinds []tokensource.EventKind
	for _, event := range e.list() {
		kinds = append(kinds, event.Kind)
	}
	return kinds
}

func (e *events) count(kind tokensource.EventKind) (n int) {
	for _, k := range e.kinds() {
		if k == kind {
			n++
		}
	}
	return n
}

// roundTripper is a RoundTripper from a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A tokenRequest is what a token endpoint got.
type tokenRequest struct {
	Method, URL, ContentType, Accept, Authorization string
	Form                                            url.Values
}

// A tokenEndpoint is the RoundTripper of an authorization server.
type tokenEndpoint struct {
	answer func(*http.Request) (*http.Response, error)

	mu       sync.Mutex
	requests []tokenRequest
}

func (e *tokenEndpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.requests = append(e.requests, tokenRequest{
		Method: req.Method, URL: req.URL.String(), Form: form,
		ContentType: req.Header.Get("Content-Type"), Accept: req.Header.Get("Accept"), Authorization: req.Header.Get("Authorization"),
	})
	e.mu.Unlock()
	return e.answer(req)
}

func (e *tokenEndpoint) got() []tokenRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]tokenRequest(nil), e.requests...)
}

// context returns a context whose client talks to e.
func (e *tokenEndpoint) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: e})
}

// respond returns an answer with header fields given as name, value, ...
func respond(status int, contentType, body string, fields ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		header := http.Header{"Content-Type": {contentType}}
		for i := 0; i < len(fields); i += 2 {
			header.Add(fields[i], fields[i+1])
		}
		return &http.Response{
			Status:     fmt.Sprintf("%d %s", status, http.StatusText(status)),
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
		}, nil
	}
}

// respondJSON is respond with status 200.
func respondJSON(body string) func(*http.Request) (*http.Response, error) {
	return respond(http.StatusOK, "application/json", body)
}

// answerFrom replays a token endpoint's answers in order, the last one for ever.
func answerFrom(answers ...func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	var mu sync.Mutex
	n := 0
	return func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		answer := answers[min(n, len(answers)-1)]
		n++
		mu.Unlock()
		return answer(req)
	}
}

const tokenURL = "https://as.example/token"

// refreshConfig is a client with a secret.
func refreshConfig() *oauth2.Config {
	return &oauth2.Config{ClientID: "client", ClientSecret: "client-secret", Endpoint: oauth2.Endpoint{TokenURL: tokenURL}}
}

// expiring returns a token that expires after lifetime, with refresh token "refresh-0".
func expiring(access string, lifetime time.Duration) *oauth2.Token {
	return &oauth2.Token{AccessToken: access, RefreshToken: "refresh-0", Expiry: time.Now().Add(lifetime)}
}

// signedIn sets token and returns it as the Session hands it out.
func signedIn(t *testing.T, s *tokensource.Session, token *oauth2.Token) *oauth2.Token {
	t.Helper()
	if err := s.Set(t.Context(), token); err != nil {
		t.Fatalf("Set: %v", err)
	}
	current, err := s.Token(t.Context())
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return current
}

// access is what Token gives: an access token, or an error's text.
func access(token *oauth2.Token, err error) string {
	switch {
	case err != nil && token != nil:
		return "both " + token.AccessToken + " and " + err.Error()
	case err != nil:
		return "error: " + err.Error()
	case token == nil:
		return "neither token nor error"
	}
	return token.AccessToken
}

// retryIn fails the test unless err is a RetryError that has min <= At-now <= max.
func retryIn(t *testing.T, err error, lo, hi time.Duration) time.Duration {
	t.Helper()
	retry, ok := errors.AsType[*tokensource.RetryError](err)
	if !ok {
		t.Fatalf("error is %v, want a RetryError", err)
	}
	in := time.Until(retry.At)
	if in < lo || in > hi {
		t.Errorf("to be retried in %v, want %v to %v", in, lo, hi)
	}
	return in
}
