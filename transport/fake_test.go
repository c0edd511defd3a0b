package transport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

const apiURL = "https://api.example.com/v1/items?b=2&a=1"

// A counted body knows how often it was closed.
type counted struct {
	io.Reader
	closed atomic.Int32
}

func newBody(s string) *counted { return &counted{Reader: strings.NewReader(s)} }

func (b *counted) Close() error {
	b.closed.Add(1)
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (b *counted) wantClosedOnce(t testing.TB, what string) {
	t.Helper()
	if n := b.closed.Load(); n != 1 {
		t.Errorf("%s was closed %d times, want once", what, n)
	}
}

// newRequest returns a request under the test's context.
func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func get(t testing.TB) *http.Request { return newRequest(t, http.MethodGet, apiURL, nil) }

// setCancel sets the deprecated field that http.Client still sets, beside the
// context, for what goes through a RoundTripper unknown to it.
func setCancel(req *http.Request, cancel <-chan struct{}) *http.Request {
	req.Cancel = cancel //lint:ignore SA1019 see above
	return req
}

// stream returns a request whose body can be had once only.
func stream(t testing.TB, s string) (*http.Request, *counted) {
	body := newBody(s)
	return newRequest(t, http.MethodPost, apiURL, body), body
}

// bodies are those of one request: the first, and what GetBody has given.
type bodies struct {
	first *counted
	again []*counted
}

// replayable returns a request whose body can be had again.
func replayable(t testing.TB, s string) (*http.Request, *bodies) {
	req, first := stream(t, s)
	b := &bodies{first: first}
	req.ContentLength = int64(len(s))
	req.GetBody = func() (io.ReadCloser, error) {
		b.again = append(b.again, newBody(s))
		return b.again[len(b.again)-1], nil
	}
	return req, b
}

func (b *bodies) wantEachClosedOnce(t testing.TB) {
	t.Helper()
	b.first.wantClosedOnce(t, "the request's body")
	for i, again := range b.again {
		again.wantClosedOnce(t, fmt.Sprintf("body %d of GetBody", i))
	}
}

// An attempt is what a script was sent.
type attempt struct {
	*http.Request
	Auth []string // in every spelling of the field
	Sent string   // the body
	Err  error    // of reading it
}

// A script is a Base that answers the nth request with its nth function, and
// with the last for as long as it takes. It keeps what it was sent.
type script struct {
	answers []transport.Func

	mu       sync.Mutex
	attempts []attempt
}

func newScript(answers ...transport.Func) *script { return &script{answers: answers} }

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	a := attempt{Request: req, Auth: authorization(req.Header)}
	if req.Body != nil {
		var sent []byte
		sent, a.Err = io.ReadAll(req.Body)
		a.Sent = string(sent)
		req.Body.Close()
	}
	s.mu.Lock()
	answer := s.answers[min(len(s.attempts), len(s.answers)-1)]
	s.attempts = append(s.attempts, a)
	s.mu.Unlock()
	return answer(req)
}

func (s *script) sent() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// auths returns the Authorization of each attempt, fields joined by a comma.
func (s *script) auths() []string {
	var auths []string
	for _, a := range s.sent() {
		auths = append(auths, strings.Join(a.Auth, ", "))
	}
	return auths
}

func authorization(h http.Header) []string {
	var values []string
	for key, v := range h {
		if strings.EqualFold(key, "Authorization") {
			values = append(values, v...)
		}
	}
	return values
}

// answer returns a response with a new body each time.
func answer(status int, body string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		return response(req, status, newBody(body)), nil
	}
}

// reply returns one response with that very body.
func reply(status int, body io.ReadCloser) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		return response(req, status, body), nil
	}
}

func response(req *http.Request, status int, body io.ReadCloser) *http.Response {
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: body, ContentLength: -1, Request: req,
	}
	if status == http.StatusUnauthorized {
		resp.Header.Add("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	return resp
}

func fail(err error) transport.Func {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// accept answers 200 to one token and 401 to all else.
func accept(token string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") == "Bearer "+token {
			return response(req, http.StatusOK, newBody("welcome")), nil
		}
		return response(req, http.StatusUnauthorized, newBody("who are you?")), nil
	}
}

// A renewer is a Renewer made of functions.
type renewer struct {
	token func(context.Context) (*oauth2.Token, error)
	renew func(context.Context, *oauth2.Token) (*oauth2.Token, error)

	asked, renewed atomic.Int32
}

func (r *renewer) Token(ctx context.Context) (*oauth2.Token, error) {
	r.asked.Add(1)
	return r.token(ctx)
}

func (r *renewer) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	r.renewed.Add(1)
	return r.renew(ctx, rejected)
}

// tokens returns a renewer that goes from each token to the next, and has
// nothing newer than the last.
func tokens(values ...string) *renewer {
	var mu sync.Mutex
	current, next := &oauth2.Token{AccessToken: values[0]}, values[1:]
	return &renewer{
		token: func(context.Context) (*oauth2.Token, error) {
			mu.Lock()
			defer mu.Unlock()
			return current, nil
		},
		renew: func(_ context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case rejected != current:
			case len(next) == 0:
				return nil, tokensource.ErrUnchanged
			default:
				current, next = &oauth2.Token{AccessToken: next[0]}, next[1:]
			}
			return current, nil
		},
	}
}

// broken returns a renewer whose Token and Renew return what is given.
func broken(token *oauth2.Token, err error) *renewer {
	return &renewer{
		token: func(context.Context) (*oauth2.Token, error) { return token, err },
		renew: func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return token, err },
	}
}

// refusing returns a renewer that has one token and cannot renew it.
func refusing(err error) *renewer {
	r := tokens("old")
	r.renew = func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return nil, err }
	return r
}

// session returns a signed-in Session with token "old".
func session(t testing.TB, grant tokensource.Grant) *tokensource.Session {
	t.Helper()
	s := &tokensource.Session{Grant: grant}
	if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "old", RefreshToken: "r1"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends req and returns the status and the body, which it closes.
func do(t testing.TB, rt http.RoundTripper, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, slurp(t, resp)
}

func slurp(t testing.TB, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return string(body)
}

// A decorator is what every decorator of the module is.
type decorator interface {
	http.RoundTripper
	Wrap(base http.RoundTripper) http.RoundTripper
	Unwrap() http.RoundTripper
	CloseIdleConnections()
}

// parts are the fields that Bearer and Refresh have in common.
type parts struct {
	source   tokensource.Renewer
	optional bool
	audience *transport.Audience
	base     http.RoundTripper
}

var decorators = []struct {
	name string
	make func(parts) decorator
}{
	{"Bearer", func(p parts) decorator {
		return &transport.Bearer{Source: p.source, Optional: p.optional, Audience: p.audience, Base: p.base}
	}},
	{"Refresh", func(p parts) decorator {
		return &transport.Refresh{Source: p.source, Optional: p.optional, Audience: p.audience, Base: p.base}
	}},
	{"Choose", settle},
}

// A settled is a Choose between a Refresh and nothing that has made its choice:
// before each request it meets a challenge of the same origin, on the side.
type settled struct {
	*transport.Choose
	parts
}

type asideKey struct{}

func settle(p parts) decorator {
	refresh := transport.Refresh{Source: p.source, Optional: p.optional, Audience: p.audience}
	return settled{parts: p, Choose: &transport.Choose{
		Choices: []transport.Choice{{Scheme: "Bearer", Middleware: func(base http.RoundTripper) http.RoundTripper {
			chosen := refresh.Wrap(base)
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				if req.Context().Value(asideKey{}) != nil {
					return response(req, http.StatusOK, http.NoBody), nil
				}
				return chosen.RoundTrip(req)
			})
		}}},
		Base: transport.Func(func(req *http.Request) (*http.Response, error) {
			if req.Context().Value(asideKey{}) != nil {
				return response(req, http.StatusUnauthorized, http.NoBody), nil
			}
			if p.base == nil {
				return http.DefaultTransport.RoundTrip(req)
			}
			return p.base.RoundTrip(req)
		}),
	}}
}

func (s settled) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL != nil {
		aside := &http.Request{URL: &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host}}
		_, _ = s.Choose.RoundTrip(aside.WithContext(context.WithValue(context.Background(), asideKey{}, true)))
	}
	return s.Choose.RoundTrip(req)
}

func (s settled) Wrap(base http.RoundTripper) http.RoundTripper {
	s.base = base
	return settle(s.parts)
}

// Unwrap and CloseIdleConnections are about the very Base.
func (s settled) Unwrap() http.RoundTripper { return (&transport.Choose{Base: s.base}).Unwrap() }

func (s settled) CloseIdleConnections() { (&transport.Choose{Base: s.base}).CloseIdleConnections() }

// each runs f for every decorator.
func each(t *testing.T, f func(t *testing.T, make func(parts) decorator)) {
	t.Helper()
	for _, d := range decorators {
		t.Run(d.name, func(t *testing.T) { f(t, d.make) })
	}
}
