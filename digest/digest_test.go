package digest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// chain returns the last request of a redirect chain through urls.
func chain(t testing.TB, urls ...string) *http.Request {
	t.Helper()
	var req *http.Request
	for _, u := range urls {
		next := newRequest(t, http.MethodGet, u, nil)
		if req != nil {
			next.Response = &http.Response{Request: req}
		}
		req = next
	}
	return req
}

func TestAudience(t *testing.T) {
	const home = apiURL
	only := &transport.Audience{Origins: []string{"https://api.example.com", "https://*.example.org"}}
	tests := []struct {
		name     string
		audience *transport.Audience
		urls     []string
		withheld bool
		err      error
	}{
		{"first", nil, []string{home}, false, nil},
		{"same origin", nil, []string{home, "https://API.example.com.:443/x"}, false, nil},
		{"other host", nil, []string{home, "https://evil.com/"}, true, nil},
		{"other port", nil, []string{home, "https://api.example.com:8443/"}, true, nil},
		{"other scheme", nil, []string{home, "http://api.example.com/"}, true, nil},
		{"subdomain", nil, []string{home, "https://a.api.example.com/"}, true, nil},
		{"parent domain", nil, []string{home, "https://example.com/"}, true, nil},
		{"there and back", nil, []string{home, "https://evil.com/", home}, true, nil},
		{"from loopback to plain http", nil, []string{"http://127.0.0.1/", "http://example.com/"}, true, nil},
		{"plain http", nil, []string{"http://api.example.com/"}, false, transport.ErrInsecureOrigin},
		{"plain http allowed", &transport.Audience{AllowHTTP: true}, []string{"http://api.example.com/"}, false, nil},
		{"plain http to loopback", nil, []string{"http://localhost:8080/"}, false, nil},
		{"in the audience", only, []string{"https://a.example.org/", home}, false, nil},
		{"outside", only, []string{"https://evil.com/"}, true, nil},
		{"from outside", only, []string{"https://evil.com/", home}, true, nil},
		{"outside and plain", only, []string{"http://evil.com/"}, true, nil},
		{"no origin", &transport.Audience{Origins: []string{"evil"}}, []string{home}, false, errors.New("transport: Audience.Origins[0]: does not begin with https:// or http://")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			rt := g.client()
			rt.Audience = tt.audience
			if resp, err := rt.RoundTrip(get(t)); err == nil { // so that there is something to be sent at once
				resp.Body.Close()
			}
			g.log = nil
			req, b := replayable(t, "a body")
			last := chain(t, tt.urls...)
			req.URL, req.Response = last.URL, last.Response
			resp, err := rt.RoundTrip(req)
			switch {
			case tt.err != nil:
				if resp != nil || err == nil || !errors.Is(err, tt.err) && err.Error() != tt.err.Error() {
					t.Errorf("got %v, %v, want %v", resp, err, tt.err)
				}
				g.wantLog(t)
			case err != nil:
				t.Error(err)
			case tt.withheld:
				wantResponse(t, resp, http.StatusUnauthorized, refusal)
				g.wantLog(t, "bare")
			default:
				wantResponse(t, resp, http.StatusOK, "a body")
			}
			b.wantEachClosedOnce(t)
		})
	}
}

// A redirect of http.Client's: the 401 of another host is the caller's to see, and
// on the way home nothing is given either.
func TestRedirects(t *testing.T) {
	g, evil := newGuard(t), newGuard(t)
	g.salt, evil.salt = "good", "evil"
	base := transport.Func(func(req *http.Request) (*http.Response, error) {
		to := map[string]string{"/away": "https://evil.com/", "/there-and-back": "https://evil.com/back", "/back": "https://api.example.com/", "/within": "/"}[req.URL.Path]
		guard := g
		if req.URL.Host == "evil.com" {
			guard = evil
		}
		if to == "" {
			return guard.RoundTrip(req)
		}
		resp := &http.Response{StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}, Body: http.NoBody}
		return resp, nil
	})
	client := &http.Client{Transport: &digest.Transport{Username: username, Password: password, Base: base}}
	for path, status := range map[string]int{"/away": 401, "/there-and-back": 401, "/within": 200} {
		resp, err := client.Post("https://api.example.com"+path, "text/plain", strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, status)
		}
	}
	for _, a := range append(g.attempts, evil.attempts...) {
		if a.Header.Get("Authorization") != "" && a.URL.Host != "api.example.com" {
			t.Errorf("%s was sent credentials", a.URL)
		}
	}
	evil.wantLog(t, "bare")
}

// Requests that have nothing to do with the Transport go out as they are.
func TestPassesThrough(t *testing.T) {
	header := func(name string) func(*http.Request) *http.Request {
		return func(req *http.Request) *http.Request {
			req.Header[name] = []string{"Own"}
			return req
		}
	}
	tests := map[string]func(*http.Request) *http.Request{
		"own field":              header("Authorization"),
		"own field, lower case":  header("authorization"),
		"own field, upper case":  header("AUTHORIZATION"),
		"own field, second line": func(req *http.Request) *http.Request { req.Header["Authorization"] = []string{"", "Own"}; return req },
		"own field, before a redirect": func(req *http.Request) *http.Request {
			first := get(t)
			first.Header.Set("Authorization", "Own")
			req.Response = &http.Response{Request: first}
			return req
		},
		"WithoutCredentials": func(req *http.Request) *http.Request {
			return req.WithContext(transport.WithoutCredentials(req.Context()))
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			var got []*http.Request
			rt := &digest.Transport{
				Credentials: func(context.Context) (string, string, error) {
					t.Error("asked for credentials")
					return "", "", nil
				},
				Base: transport.Func(func(req *http.Request) (*http.Response, error) {
					got = append(got, req)
					return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Digest realm="r", nonce="n"`}}, Body: newBody(refusal)}, nil
				}),
			}
			req := change(get(t))
			before := req.Header.Clone()
			want(t, rt, req, http.StatusUnauthorized, refusal)
			if len(got) != 1 {
				t.Fatalf("%d attempts, want one", len(got))
			}
			if diff := cmp.Diff(before, got[0].Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// An empty field is none, and does not go out beside ours.
func TestEmptyField(t *testing.T) {
	g := newGuard(t)
	req := get(t)
	req.Header["authorization"], req.Header["Authorization"] = []string{""}, nil
	want(t, g.client(), req, http.StatusOK, "")
	if h := g.attempts[1].Header; len(h) != 1 || len(h["Authorization"]) != 1 {
		t.Errorf("sent with %q", h)
	}
}

func TestCredentials(t *testing.T) {
	g := newGuard(t)
	rt := &digest.Transport{Username: "not this one", Password: "nor this", Base: g}
	rt.Credentials = func(ctx context.Context) (string, string, error) {
		name, _ := ctx.Value(userKey{}).(string)
		return name, g.users[name], nil
	}
	g.users["third"] = g.users["other"]
	for _, name := range []string{username, "other", "third", username} {
		req := get(t)
		want(t, rt, req.WithContext(context.WithValue(req.Context(), userKey{}, name)), http.StatusOK, "")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "n1/3 ok", "n1/4 ok")
	for i, name := range []string{"", username, "other", "third", username} {
		if got := g.attempts[i].Header.Get("Authorization"); !strings.Contains(got, quote(name)) && name != "" {
			t.Errorf("attempt %d of %s: %s", i, name, got)
		}
	}
}

type userKey struct{}

// For whom there are no credentials, nothing is sent.
func TestCredentialsFail(t *testing.T) {
	errNone := errors.New("no credentials")
	give := func(username, password string, err error) func(context.Context) (string, string, error) {
		return func(context.Context) (string, string, error) { return username, password, err }
	}
	type test struct {
		name      string
		transport *digest.Transport
		is        error
		prefix    string // of the text
	}
	tests := []test{
		{"error", &digest.Transport{Credentials: give(username, password, errNone)}, errNone, "no credentials"},
		{"panic", &digest.Transport{Credentials: func(context.Context) (string, string, error) { panic("secret") }}, nil, "digest: Credentials panicked at digest_test.go:"},
		{"nothing", &digest.Transport{}, nil, "digest: neither "},
		{"nothing given", &digest.Transport{Username: username, Credentials: give("", "", nil)}, nil, "digest: neither "},
	}
	for c := range rune(' ') + 1 {
		if c == ' ' {
			c = 0x7f
		}
		tests = append(
			tests,
			test{fmt.Sprintf("user name with %U", c), &digest.Transport{Username: "secret" + string(c)}, nil, "digest: the user name has a control character"},
			test{fmt.Sprintf("password with %U", c), &digest.Transport{Username: "x", Password: string(c) + "secret"}, nil, "digest: the password has a control character"},
		)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			tt.transport.Base = g
			req, b := replayable(t, "a body")
			resp, err := tt.transport.RoundTrip(req)
			if resp != nil || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.HasPrefix(fmt.Sprint(err), tt.prefix) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("got %v, %v", resp, err)
			}
			g.wantLog(t)
			b.wantEachClosedOnce(t)
		})
	}
}

// A Credentials that waits does so no longer than its request.
func TestCredentialsWait(t *testing.T) {
	tests := []struct {
		name string
		send func(t *testing.T, rt http.RoundTripper, req *http.Request) error
		want error
	}{
		{"deadline", func(t *testing.T, rt http.RoundTripper, req *http.Request) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := rt.RoundTrip(req.WithContext(ctx))
			return err
		}, context.DeadlineExceeded},
		{"cancelled", func(t *testing.T, rt http.RoundTripper, req *http.Request) error {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Minute, cancel)
			_, err := rt.RoundTrip(req.WithContext(ctx))
			return err
		}, context.Canceled},
		{"Request.Cancel", func(_ *testing.T, rt http.RoundTripper, req *http.Request) error {
			cancel := make(chan struct{})
			time.AfterFunc(time.Minute, func() { close(cancel) })
			req.Cancel = cancel //lint:ignore SA1019 http.Client sets it
			_, err := rt.RoundTrip(req)
			return err
		}, context.Canceled},
		{"Client.Timeout", func(_ *testing.T, rt http.RoundTripper, req *http.Request) error {
			_, err := (&http.Client{Transport: rt, Timeout: time.Minute}).Do(req)
			return err
		}, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t)
				rt := &digest.Transport{Base: g, Credentials: func(ctx context.Context) (string, string, error) {
					<-ctx.Done()
					return "", "", ctx.Err()
				}}
				req, b := replayable(t, "a body")
				start := time.Now()
				if err := tt.send(t, rt, req); !errors.Is(err, tt.want) || time.Since(start) != time.Minute {
					t.Errorf("got %v after %v, want %v after a minute", err, time.Since(start), tt.want)
				}
				b.wantEachClosedOnce(t)
				g.wantLog(t)
			})
		})
	}
}

// A decorator is what Transport and Proxy are.
type decorator interface {
	http.RoundTripper
	Wrap(base http.RoundTripper) http.RoundTripper
	Unwrap() http.RoundTripper
	CloseIdleConnections()
}

type idle struct {
	http.RoundTripper
	closed int
}

func (i *idle) CloseIdleConnections() { i.closed++ }

func TestWrap(t *testing.T) {
	for name, with := range map[string]func(base http.RoundTripper) decorator{
		"Transport": func(base http.RoundTripper) decorator { return &digest.Transport{Base: base} },
		"Proxy":     func(base http.RoundTripper) decorator { return &digest.Proxy{Base: base} },
	} {
		t.Run(name, func(t *testing.T) {
			base := &idle{RoundTripper: newGuard(t)}
			d := with(base)
			d.CloseIdleConnections()
			wrapped := d.Wrap(base).(decorator)
			wrapped.CloseIdleConnections()
			if d.Unwrap() != base || wrapped.Unwrap() != base || wrapped == d || base.closed != 2 {
				t.Errorf("unwrapped %v, %v; closed %d times, want 2", d.Unwrap(), wrapped.Unwrap(), base.closed)
			}
			with(transport.Func(nil)).CloseIdleConnections() // there are none
			before := http.DefaultTransport
			defer func() { http.DefaultTransport = before }()
			http.DefaultTransport = &idle{}
			if with(nil).Unwrap() != http.DefaultTransport {
				t.Error("without a Base it is not http.DefaultTransport")
			}
		})
	}
}

func TestWrapKeepsTheFields(t *testing.T) {
	g := newGuard(t)
	rt := g.client()
	want(t, rt, get(t), http.StatusOK, "")
	want(t, rt.Wrap(g), get(t), http.StatusOK, "")
	g.wantLog(t, "bare", "n1/1 ok", "bare", "n2/1 ok")
	errAsked := errors.New("asked")
	other := &digest.Transport{
		Credentials: func(context.Context) (string, string, error) { return "", "", errAsked },
		Audience:    &transport.Audience{Origins: []string{"https://api.example.com"}},
	}
	if _, err := other.Wrap(g).RoundTrip(get(t)); !errors.Is(err, errAsked) {
		t.Errorf("got %v, want %v", err, errAsked)
	}
	want(t, other.Wrap(g), newRequest(t, http.MethodGet, "https://example.com", nil), http.StatusUnauthorized, refusal)

	server := httptest.NewServer(echo)
	t.Cleanup(server.Close)
	g = newGuard(t)
	p, base := through(t, newProxy(t, g, nil))
	want(t, p.Wrap(base), post(t, server.URL), http.StatusOK, "a body")
	p.Credentials = other.Credentials
	if _, err := p.Wrap(base).RoundTrip(post(t, server.URL)); !errors.Is(err, errAsked) {
		t.Errorf("got %v, want %v", err, errAsked)
	}
}

// A URL that cannot be sent to is an error.
func TestNoOrigin(t *testing.T) {
	for _, audience := range []*transport.Audience{nil, {Origins: []string{"https://example.com"}}} {
		rt := newGuard(t).client()
		rt.Audience = audience
		req, b := replayable(t, "a body")
		req.URL = nil
		if resp, err := rt.RoundTrip(req); resp != nil || err == nil {
			t.Errorf("got %v, %v", resp, err)
		}
		b.wantEachClosedOnce(t)
	}
}
