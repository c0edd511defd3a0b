package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

var (
	anyHTTP  = &transport.Audience{AllowHTTP: true}
	byDigest = transport.Choice{Scheme: "Digest", Middleware: (&digest.Transport{Username: "user", Password: "secret", Audience: anyHTTP}).Wrap}
	byBasic  = transport.Choice{Scheme: "Basic", Middleware: (&basic.Transport{Username: "user", Password: "secret", Audience: anyHTTP}).Wrap}
	byBearer = transport.Choice{Scheme: "Bearer", Middleware: (&transport.Bearer{Source: tokensource.Static("secret")}).Wrap}
)

const (
	asksDigest  = `Digest realm="r", nonce="n", qop="auth"`
	asksUnknown = `Digest realm="r", nonce="n", qop="auth", algorithm=ROT13`
	asksBasic   = `Basic realm="r"`
)

func choose(base http.RoundTripper, choices ...transport.Choice) *transport.Choose {
	return &transport.Choose{Choices: choices, Base: base}
}

// asking answers 401 with the challenges, each a field of its own.
func asking(challenges ...string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		resp := response(req, http.StatusUnauthorized, newBody("who are you?"))
		resp.Header["Www-Authenticate"] = challenges
		return resp, nil
	}
}

// refusal is asking with that very body, of that length as far as the client is
// told.
func refusal(body io.ReadCloser, length int, challenges ...string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		resp := response(req, http.StatusUnauthorized, body)
		resp.Header["Www-Authenticate"], resp.ContentLength = challenges, int64(length)
		return resp, nil
	}
}

// told returns the lengths that a client may be told of a body of size bytes.
func told(size int) []int { return []int{-1, size} }

// taking is asking to all but credentials of a scheme, to which it answers 200.
func taking(scheme string, challenges ...string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		if schemeOf(req.Header.Get("Authorization")) == scheme {
			return response(req, http.StatusOK, newBody("welcome")), nil
		}
		return asking(challenges...)(req)
	}
}

func schemeOf(credentials string) string {
	scheme, _, _ := strings.Cut(credentials, " ")
	return scheme
}

// schemes returns those of the attempts, "" for none.
func (s *script) schemes() []string {
	var schemes []string
	for _, auth := range s.auths() {
		schemes = append(schemes, schemeOf(auth))
	}
	return schemes
}

func (s *script) want(t testing.TB, schemes ...string) {
	t.Helper()
	if diff := cmp.Diff(schemes, s.schemes()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	both := []transport.Choice{byDigest, byBasic}
	tests := []struct {
		name    string
		choices []transport.Choice
		base    transport.Func
		want    []string // the schemes of the attempts that two requests take
	}{
		{"nothing asked", both, answer(http.StatusOK, "welcome"), []string{"", ""}},
		{"one choice", both[1:], taking("Basic", asksBasic), []string{"", "Basic", "Basic"}},
		{"a challenge is not asked for twice", both[:1], taking("Digest", asksDigest), []string{"", "Digest", "Digest"}},
		{"the order of choices decides", both, taking("Digest", asksBasic, asksDigest), []string{"", "Digest", "Digest"}},
		{"not that of challenges", []transport.Choice{byBasic, byDigest}, taking("Basic", asksDigest, asksBasic), []string{"", "Basic", "Basic"}},
		{"in one field", both, taking("Digest", asksBasic+", "+asksDigest), []string{"", "Digest", "Digest"}},
		{"among others", both, taking("Basic", "Negotiate", `Bearer realm="r", `+asksBasic), []string{"", "Basic", "Basic"}},
		{"letter case of a challenge", both, taking("Basic", `bASIC realm="r"`), []string{"", "Basic", "Basic"}},
		{"letter case of a choice", []transport.Choice{{"bASIC", byBasic.Middleware}}, taking("Basic", asksBasic), []string{"", "Basic", "Basic"}},
		{"without a realm", both, taking("Basic", "Basic"), []string{"", "Basic", "Basic"}},
		{"the stronger cannot answer", both, taking("Basic", asksUnknown, asksBasic), []string{"", "Basic", "Basic"}},
		{
			"of two for one scheme the second can answer",
			[]transport.Choice{{"Basic", byDigest.Middleware}, byBasic},
			taking("Basic", asksBasic),
			[]string{"", "Basic", "Basic"},
		},
		{"third of three", []transport.Choice{byDigest, byBearer, byBasic}, taking("Basic", asksUnknown, asksBasic), []string{"", "Basic", "Basic"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newScript(tt.base)
			rt := choose(base, tt.choices...)
			for range 2 {
				req, b := replayable(t, "a body")
				if status, body := do(t, rt, req); status != http.StatusOK || body != "welcome" {
					t.Errorf("got %d %q", status, body)
				}
				b.wantEachClosedOnce(t)
			}
			base.want(t, tt.want...)
			for i, a := range base.sent() {
				if a.Sent != "a body" || a.Err != nil {
					t.Errorf("attempt %d had body %q, %v", i+1, a.Sent, a.Err)
				}
			}
		})
	}
}

// A 401 that no choice can answer is returned as it came, however long.
func TestChooseNoneCanAnswer(t *testing.T) {
	foreign := func(t *testing.T) *http.Request { return chain(t, "https://evil.com/", apiURL) }
	home := func(t *testing.T) *http.Request { return get(t) }
	tests := []struct {
		name       string
		request    func(*testing.T) *http.Request
		challenges []string
	}{
		{"none offered", home, []string{`Bearer realm="r"`, "Negotiate abc="}},
		{"no challenge", home, nil},
		{"challenges that make no sense", home, []string{`Digest realm="r`, `Basic realm="r", realm="r"`, "=,="}},
		{"unknown algorithm", home, []string{asksUnknown}},
		{"withheld", foreign, []string{asksDigest, asksBasic}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			choices := []transport.Choice{byDigest, byDigest, byBasic}
			for _, size := range []int{0, 10, kept, kept + 1, kept + 100} {
				for _, length := range told(size) {
					refused := newBody(text(size))
					base := newScript(refusal(refused, length, tt.challenges...))
					rt := choose(base, choices...)
					req := tt.request(t)
					resp, err := rt.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					if resp.StatusCode != http.StatusUnauthorized || resp.Request != req {
						t.Errorf("got status %d for %p, want the 401 for %p", resp.StatusCode, resp.Request, req)
					}
					if diff := cmp.Diff(tt.challenges, resp.Header["Www-Authenticate"]); diff != "" {
						t.Errorf("WWW-Authenticate (-want +got):\n%s", diff)
					}
					if got := slurp(t, resp); got != text(size) {
						t.Errorf("got a body of %d bytes, want the %d of the 401", len(got), size)
					}
					refused.wantClosedOnce(t, "the 401's body")
					base.want(t, "")
				}
			}
		})
	}
}

func TestChooseRemembersSpaces(t *testing.T) {
	base := newScript(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.URL.Path, "/old/") {
			return taking("Basic", `Basic realm="old"`)(req)
		}
		return taking("Digest", `Digest realm="new", nonce="n", qop="auth"`)(req)
	})
	rt := choose(base, byDigest, byBasic)
	want := func(what string, schemes []string, urls ...string) {
		t.Helper()
		before := len(base.sent())
		for _, u := range urls {
			if status, _ := do(t, rt, newRequest(t, http.MethodGet, u, nil)); status != http.StatusOK {
				t.Errorf("%s: %s got %d", what, u, status)
			}
		}
		if diff := cmp.Diff(schemes, base.schemes()[before:]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("first contact", []string{"", "Digest"}, "https://a.example.com/new/1")
	want("elsewhere on the origin", []string{"Digest"}, "https://a.example.com/third/1?q")
	want("another realm", []string{"Digest", "Basic"}, "https://a.example.com/old/1")
	do(t, rt, newRequest(t, http.MethodGet, "https://a.example.com/new/1", nil)) // may have to ask
	want("both known", []string{"Basic", "Digest", "Basic", "Digest"},
		"https://A.example.com./old/2", "https://a.example.com:443/new/2", "https://a.example.com/old/3/4", "https://a.example.com/new/3/4")
	want("another port", []string{"", "Basic"}, "https://a.example.com:8443/old/1")
	want("another host", []string{"", "Digest"}, "https://b.example.com/new/1")
	want("another scheme", []string{"", "Digest"}, "http://a.example.com/new/1")
	want("no path", []string{"", "Digest", "Digest"}, "https://c.example.com", "https://c.example.com/x/y")
}

// Over plain http anybody may have written the challenge.
func TestChooseNeverBasicOverPlainHTTP(t *testing.T) {
	tests := []struct {
		url        string
		choices    []transport.Choice
		challenges []string
		want       []string
	}{
		{"http://api.example.com/", []transport.Choice{byBasic}, []string{asksBasic}, []string{""}},
		{"http://api.example.com/", []transport.Choice{{"BASIC", byBasic.Middleware}}, []string{"basic"}, []string{""}},
		{"http://api.example.com/", []transport.Choice{byDigest, byBasic}, []string{asksUnknown, asksBasic}, []string{""}},
		{"http://api.example.com/", []transport.Choice{byBasic, byDigest}, []string{asksBasic, asksDigest}, []string{"", "Digest"}},
		{"http://localhost.evil.com/", []transport.Choice{byBasic}, []string{asksBasic}, []string{""}},
		{"http://localhost:8080/", []transport.Choice{byBasic}, []string{asksBasic}, []string{"", "Basic"}},
		{"http://127.0.0.1/", []transport.Choice{byBasic}, []string{asksBasic}, []string{"", "Basic"}},
		{"http://[::1]/", []transport.Choice{byBasic}, []string{asksBasic}, []string{"", "Basic"}},
		{"https://api.example.com/", []transport.Choice{byBasic}, []string{asksBasic}, []string{"", "Basic"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.url, tt.challenges), func(t *testing.T) {
			base := newScript(asking(tt.challenges...))
			if status, body := do(t, choose(base, tt.choices...), newRequest(t, http.MethodGet, tt.url, nil)); status != 401 || body != "who are you?" {
				t.Errorf("got %d %q", status, body)
			}
			base.want(t, tt.want...)

			// Nor by the body that cannot be sent again, and what is learned from it.
			base = newScript(asking(tt.challenges...))
			rt := choose(base, tt.choices...)
			for range 2 {
				req := newRequest(t, http.MethodPost, tt.url, newBody("stream"))
				do(t, rt, req)
			}
			if len(tt.want) == 1 && slices.Contains(base.schemes(), "Basic") {
				t.Errorf("a stream went out with Basic: %q", base.schemes())
			}
		})
	}
}

func TestChooseServerChangesScheme(t *testing.T) {
	now := "Basic"
	asks := map[string]string{"Basic": asksBasic, "Digest": asksDigest, "Bearer": "Bearer", "none": "Negotiate"}
	base := newScript(func(req *http.Request) (*http.Response, error) { return taking(now, asks[now])(req) })
	rt := choose(base, byDigest, byBearer, byBasic)
	for _, now = range []string{"Basic", "Digest", "Bearer", "Basic"} {
		for range 2 {
			req, b := replayable(t, "a body")
			if status, _ := do(t, rt, req); status != http.StatusOK {
				t.Errorf("%s: got %d", now, status)
			}
			b.wantEachClosedOnce(t)
		}
	}
	base.want(t, "", "Basic", "Basic", "Basic", "Digest", "Digest", "Digest", "Bearer", "Bearer", "Bearer", "Basic", "Basic")
	now = "none"
	req, b := replayable(t, "a body")
	if status, body := do(t, rt, req); status != http.StatusUnauthorized || body != "who are you?" {
		t.Errorf("got %d %q, want the 401", status, body)
	}
	b.wantEachClosedOnce(t)
	if n := len(base.sent()); n != 13 {
		t.Errorf("%d attempts for the last request, want one", n-12)
	}
}

// Who is refused is not asked for other credentials in the same breath, and the
// refusal is what is returned.
func TestChooseWrongPassword(t *testing.T) {
	for _, challenges := range [][]string{{asksBasic}, {asksDigest}, {asksDigest, asksBasic}} {
		t.Run(fmt.Sprint(challenges), func(t *testing.T) {
			var bodies []*counted
			base := newScript(func(req *http.Request) (*http.Response, error) {
				bodies = append(bodies, newBody(fmt.Sprint("refusal ", len(bodies)+1)))
				return refusal(bodies[len(bodies)-1], 9, challenges...)(req)
			})
			rt := choose(base, byDigest, byBasic)
			for i := range 5 {
				req, b := replayable(t, "a body")
				before := len(bodies)
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				n := len(bodies) - before
				if i == 0 && n != 2 || n > 2 {
					t.Errorf("request %d took %d attempts", i+1, n)
				}
				if got := slurp(t, resp); got != fmt.Sprint("refusal ", len(bodies)) {
					t.Errorf("request %d got %q, want the last of %d", i+1, got, len(bodies))
				}
				b.wantEachClosedOnce(t)
			}
			for _, b := range bodies {
				b.wantClosedOnce(t, "a 401's body")
			}
			if got := base.schemes(); len(challenges) > 1 && slices.Contains(got, "Basic") {
				t.Errorf("attempts %q: what was refused as a digest was sent in clear", got)
			}
		})
	}
}

func TestChooseStreamingBody(t *testing.T) {
	for scheme, asks := range map[string]string{"Basic": asksBasic, "Digest": asksDigest} {
		t.Run(scheme, func(t *testing.T) {
			for _, length := range []int{-1, 12} {
				refused := newBody("who are you?")
				base := newScript(refusal(refused, length, asks), taking(scheme, asks))
				rt := choose(base, byDigest, byBasic)
				req, body := stream(t, "stream")
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != http.StatusUnauthorized || resp.Request != req || resp.Header.Get("WWW-Authenticate") != asks ||
					resp.Body != io.ReadCloser(refused) || refused.closed.Load() != 0 {
					t.Errorf("got %+v, want the 401 untouched", resp)
				}
				body.wantClosedOnce(t, "the request's body")

				for range 2 {
					req, body = stream(t, "stream")
					if status, _ := do(t, rt, req); status != http.StatusOK {
						t.Errorf("the next request got %d", status)
					}
					body.wantClosedOnce(t, "the next request's body")
				}
				base.want(t, "", scheme, scheme)
			}
		})
	}
}

// The server changes its mind about a stream that went by a choice.
func TestChooseStreamingBodyServerChangesScheme(t *testing.T) {
	now := "Basic"
	base := newScript(func(req *http.Request) (*http.Response, error) {
		return taking(now, map[string]string{"Basic": asksBasic, "Digest": asksDigest}[now])(req)
	})
	rt := choose(base, byDigest, byBasic)
	do(t, rt, get(t))
	for _, now = range []string{"Digest", "Basic"} {
		for _, want := range []int{http.StatusUnauthorized, http.StatusOK} {
			req, body := stream(t, "stream")
			if got, _ := do(t, rt, req); got != want {
				t.Errorf("%s: got %d, want %d", now, got, want)
			}
			body.wantClosedOnce(t, "the request's body")
		}
	}
	base.want(t, "", "Basic", "Basic", "Digest", "Digest", "Basic")
}

func TestChooseGetBodyFails(t *testing.T) {
	refused := text(100_000) // more than is kept
	base := newScript(func(req *http.Request) (*http.Response, error) {
		return refusal(newBody(refused), -1, asksDigest, asksBasic)(req)
	})
	for name, succeed := range map[string]int{"at once": 0, "to the decorator": 1} {
		req, b := replayable(t, "a body")
		good := req.GetBody
		req.GetBody = func() (io.ReadCloser, error) {
			if len(b.again) == succeed {
				return nil, errors.New("file is gone")
			}
			return good()
		}
		// A Digest that cannot have the body does not answer, which leaves Basic.
		rt := choose(base, byDigest)
		if status, body := do(t, rt, req); status != http.StatusUnauthorized || body != refused {
			t.Errorf("%s: got %d with %d bytes, want the 401 intact", name, status, len(body))
		}
		b.wantEachClosedOnce(t)
	}
	base.want(t, "", "")
}

// Nor is anything learned by that.
func TestChooseGetBodyFailsOnce(t *testing.T) {
	base := newScript(taking("Basic", asksUnknown, asksBasic))
	rt := choose(base, byDigest, byBasic)
	req, _ := replayable(t, "a body")
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("file is gone") }
	do(t, rt, req)
	if status, _ := do(t, rt, get(t)); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	base.want(t, "", "", "Basic")
}

// A short 401 gives its connection back before the decorator begins, and a long
// one when that has taken a while.
func TestChooseSetsThe401Aside(t *testing.T) {
	for size, want := range map[int]time.Duration{0: 0, 10: 0, kept: 0, kept + 1: patience, 1 << 20: patience} {
		synctest.Test(t, func(t *testing.T) {
			refused := newBody(text(size))
			closed := func() bool { return refused.closed.Load() > 0 }
			ask := func(context.Context) (string, string, error) {
				time.Sleep(want)
				synctest.Wait()
				if !closed() {
					t.Errorf("a body of %d bytes is still open after %v", size, want)
				}
				return "user", "secret", nil
			}
			byAsking := transport.Choice{Scheme: "Digest", Middleware: (&digest.Transport{Credentials: ask}).Wrap}
			rt := choose(newScript(refusal(refused, size, asksDigest), answer(http.StatusOK, "")), byAsking)
			if status, _ := do(t, rt, get(t)); status != http.StatusOK {
				t.Errorf("got %d", status)
			}
			refused.wantClosedOnce(t, "the 401's body")
		})
	}
}

// No attempt has a body where the request has none, and each has its context.
func TestChooseNoBodyAndContext(t *testing.T) {
	type key struct{}
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		req := newRequest(t, http.MethodPost, apiURL, nil)
		req = req.WithContext(context.WithValue(t.Context(), key{}, "value"))
		req.Body, req.GetBody = body, func() (io.ReadCloser, error) { return newBody("not NoBody"), nil }
		base := newScript(taking("Digest", asksDigest))
		do(t, choose(base, byDigest), req)
		for i, a := range base.sent() {
			if a.Body != body || a.Context().Value(key{}) != "value" {
				t.Errorf("attempt %d has body %v and value %v", i+1, a.Body, a.Context().Value(key{}))
			}
		}
		base.want(t, "", "Digest")
	}
}

// What a foreign server asks for is not answered: its 401 is what the caller
// gets.
func TestChooseRedirects(t *testing.T) {
	tests := []struct {
		name string
		hops []string
		want []string // credentials of the attempts
	}{
		{"home", []string{"https://api.example.com/0", "https://api.example.com/1"}, []string{"", "mine", "mine"}},
		{"foreign", []string{"https://api.example.com/0", "https://evil.com/1"}, []string{"", "mine", ""}},
		{"subdomain", []string{"https://example.com/0", "https://evil.example.com/1"}, []string{"", "mine", ""}},
		{"https to http", []string{"https://localhost/0", "http://localhost/1"}, []string{"", "mine", ""}},
		{"there and back", []string{"https://api.example.com/0", "https://evil.com/1", "https://api.example.com/2"}, []string{"", "mine", "", ""}},
		{"userinfo of the server's", []string{"https://api.example.com/0", "https://u:p@evil.com/1"}, []string{"", "mine", "Basic dTpw"}},
		{"and on", []string{"https://api.example.com/0", "https://u:p@evil.com/1", "https://evil.com/2"}, []string{"", "mine", "Basic dTpw", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newScript(func(req *http.Request) (*http.Response, error) {
				i := slices.IndexFunc(tt.hops, func(hop string) bool { return strings.HasSuffix(hop, req.URL.Path) })
				if i+1 == len(tt.hops) || i == 0 && req.Header.Get("Authorization") == "" {
					return asking(asksBasic)(req)
				}
				resp, err := answer(http.StatusTemporaryRedirect, "")(req)
				resp.Header.Set("Location", tt.hops[i+1])
				return resp, err
			})
			mine := &basic.Transport{Username: "user", Password: "secret"}
			client := &http.Client{Transport: choose(base, transport.Choice{Scheme: "Basic", Middleware: mine.Wrap})}
			resp, err := client.Get(tt.hops[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := slurp(t, resp); resp.StatusCode != http.StatusUnauthorized || got != "who are you?" {
				t.Errorf("got %d %q, want the last hop's 401", resp.StatusCode, got)
			}
			got := base.auths()
			for i := range got {
				got[i] = strings.Replace(got[i], "Basic dXNlcjpzZWNyZXQ=", "mine", 1)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("credentials (-want +got):\n%s", diff)
			}
		})
	}
}

// An error of the decorator is the outcome.
func TestChooseDecoratorFails(t *testing.T) {
	for name, mw := range map[string]transport.Middleware{
		"before": func(http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				req.Body.Close()
				return nil, errSource
			})
		},
		"after the 401": func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return nil, errSource
			})
		},
		"with the 401": func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				resp, _ := base.RoundTrip(req)
				return resp, errSource
			})
		},
		"Credentials": (&basic.Transport{Credentials: func(context.Context) (string, string, error) { return "secret", "secret", errSource }}).Wrap,
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 10, kept, kept + 1, kept + 100} {
				for _, length := range told(size) {
					refused := newBody(text(size))
					base := newScript(refusal(refused, length, asksBasic, asksDigest))
					req, b := replayable(t, "a body")
					resp, err := choose(base, transport.Choice{Scheme: "Basic", Middleware: mw}, byDigest).RoundTrip(req)
					if resp != nil || !errors.Is(err, errSource) || strings.Contains(err.Error(), "secret") {
						t.Errorf("got %v, %v, want the decorator's error alone", resp, err)
					}
					refused.wantClosedOnce(t, "the 401's body")
					b.wantEachClosedOnce(t)
					base.want(t, "")
				}
			}
		})
	}
}

func TestChooseMisconfigured(t *testing.T) {
	tests := []struct {
		name    string
		choices []transport.Choice
		url     string
		want    string
	}{
		{"no choices", nil, apiURL, "no Choices"},
		{"no scheme", []transport.Choice{byDigest, {"", byBasic.Middleware}}, apiURL, "Choices[1]"},
		{"no middleware", []transport.Choice{{"Digest", nil}, byBasic}, apiURL, "Choices[0]"},
		{
			"middleware that makes nothing",
			[]transport.Choice{byDigest, {"Basic", func(http.RoundTripper) http.RoundTripper { return nil }}},
			apiURL, "Choices[1]",
		},
		{"no host", []transport.Choice{byBasic}, "https:///secret", "host"},
		{"neither", nil, "https:///secret", "Choices"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newScript(answer(http.StatusOK, ""))
			rt := choose(base, tt.choices...)
			for range 2 {
				body := newBody("stream")
				resp, err := rt.RoundTrip(newRequest(t, http.MethodPost, tt.url, body))
				if resp != nil || err == nil || !strings.HasPrefix(err.Error(), "transport: ") ||
					!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, %v, want an error about %q", resp, err, tt.want)
				}
				body.wantClosedOnce(t, "the request's body")
			}
			base.want(t)
		})
	}
	if _, err := choose(nil, byBasic).RoundTrip(&http.Request{}); err == nil {
		t.Error("no error without a URL")
	}
}

// A Middleware panics once; from then on there is a clear error.
func TestChooseMiddlewarePanics(t *testing.T) {
	base := newScript()
	rt := choose(base, transport.Choice{Scheme: "Basic", Middleware: func(http.RoundTripper) http.RoundTripper { panic("secret") }})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = rt.RoundTrip(get(t))
	}()
	if _, err := rt.RoundTrip(get(t)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("after the panic: %v", err)
	}
}

// A challenge that comes with another status asks for nothing.
func TestChooseOtherStatuses(t *testing.T) {
	for _, status := range []int{200, 302, 403, 404, 407, 500} {
		for name, learned := range map[string]bool{"first contact": false, "by a choice": true} {
			body := newBody("an answer")
			other := func(req *http.Request) (*http.Response, error) {
				resp := response(req, status, body)
				resp.Header["Www-Authenticate"] = []string{asksBasic, asksDigest}
				return resp, nil
			}
			base := newScript(asking(asksBasic), answer(http.StatusOK, ""), other)
			rt := choose(base, byDigest, byBasic)
			if learned {
				do(t, rt, get(t))
			} else {
				base.answers = base.answers[2:]
			}
			before := len(base.sent())
			resp, err := rt.RoundTrip(get(t))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != status || resp.Body != io.ReadCloser(body) || len(base.sent()) != before+1 {
				t.Errorf("%s: got %d after %d attempts, want the %d untouched", name, resp.StatusCode, len(base.sent())-before, status)
			}
		}
	}
}

// By the caller's wish no decorator sees the request or what becomes of it.
func TestChoosePassesThrough(t *testing.T) {
	for name, change := range map[string]func(*http.Request) *http.Request{
		"own Authorization": func(req *http.Request) *http.Request { req.SetBasicAuth("own", "own"); return req },
		"without credentials": func(req *http.Request) *http.Request {
			return req.WithContext(transport.WithoutCredentials(req.Context()))
		},
	} {
		refused := newBody("who are you?")
		base := newScript(refusal(refused, 12, asksBasic))
		rt := choose(base, transport.Choice{Scheme: "Basic", Middleware: func(http.RoundTripper) http.RoundTripper {
			return transport.Func(func(*http.Request) (*http.Response, error) { return nil, errors.New("it was asked") })
		}})
		req := change(get(t))
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if resp.Body != io.ReadCloser(refused) || len(base.sent()) != 1 || base.sent()[0].Request != req {
			t.Errorf("%s: got %+v, want the 401 untouched", name, resp)
		}
	}
}

// An attempt that gets no answer is the end of it.
func TestChooseBaseFails(t *testing.T) {
	for _, n := range []int{1, 2} {
		refused := newBody("who are you?")
		base := newScript([]transport.Func{refusal(refused, -1, asksBasic, asksDigest), fail(errBase)}[2-n:]...)
		req, b := replayable(t, "a body")
		if resp, err := choose(base, byBasic, byDigest).RoundTrip(req); resp != nil || !errors.Is(err, errBase) {
			t.Errorf("got %v, %v", resp, err)
		}
		b.wantEachClosedOnce(t)
		if len(base.sent()) != n {
			t.Errorf("%d attempts, want %d", len(base.sent()), n)
		}
		if n == 2 {
			refused.wantClosedOnce(t, "the 401's body")
		}
	}
}

// However long the 401's body is, the second attempt goes out soon, and not
// beside it.
func TestChooseBodyWithoutEnd(t *testing.T) {
	tests := []struct {
		name   string
		every  time.Duration // between two bytes
		length int
		want   time.Duration // until the second attempt is answered
	}{
		{"endless", 0, -1, 0},
		{"endless, though told short", 0, 100, 0},
		{"dripping", 10 * time.Millisecond, -1, patience},
		{"dripping, told short", 10 * time.Millisecond, 1000, patience},
		{"dripping, told long", 10 * time.Millisecond, 1 << 20, patience},
		{"silent", time.Hour, -1, patience},
	}
	for _, asks := range []string{asksBasic, asksDigest} {
		for _, tt := range tests {
			t.Run(schemeOf(asks)+" "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					refused := newDrip(tt.every)
					second := func(req *http.Request) (*http.Response, error) {
						refused.wantClosedOnce(t, "before the second attempt, the 401's body")
						return answer(http.StatusOK, "")(req)
					}
					start := time.Now()
					if status, _ := do(t, choose(newScript(refusal(refused, tt.length, asks), second), byDigest, byBasic), get(t)); status != http.StatusOK {
						t.Errorf("got %d", status)
					}
					if took := time.Since(start); took != tt.want {
						t.Errorf("took %v, want %v", took, tt.want)
					}
					time.Sleep(10 * patience)
					refused.wantClosedOnce(t, "in the end, the 401's body")
				})
			})
		}
	}
}

// With one connection in all, the 401's body must make way.
func TestChooseOneConnection(t *testing.T) {
	for _, asks := range []string{asksBasic, asksDigest} {
		for _, size := range []int{0, 100, 1 << 20} {
			t.Run(fmt.Sprint(schemeOf(asks), size), func(t *testing.T) {
				var requests atomic.Int32
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					if schemeOf(r.Header.Get("Authorization")) != schemeOf(asks) {
						w.Header().Set("WWW-Authenticate", asks)
						w.WriteHeader(http.StatusUnauthorized)
						io.WriteString(w, text(size))
						return
					}
					io.Copy(w, r.Body)
				}))
				t.Cleanup(server.Close)
				plain := server.Client()
				plain.Transport.(*http.Transport).MaxConnsPerHost = 1
				client := transport.Client(plain, choose(nil, byDigest, byBasic).Wrap)
				for range 2 {
					resp := send(t, client, newRequest(t, http.MethodPost, server.URL, strings.NewReader("a body")))
					if got := slurp(t, resp); got != "a body" {
						t.Errorf("got %d %q", resp.StatusCode, got)
					}
				}
				if n := requests.Load(); n != 3 {
					t.Errorf("%d requests, want 3", n)
				}
			})
		}
	}
}

// A choice may be a Choose: each has its own memory, and the inner one meets the
// outer one's 401.
func TestChooseNested(t *testing.T) {
	for scheme, base := range map[string]*script{
		"Digest": newScript(taking("Digest", asksDigest, asksBasic)),
		"Basic":  newScript(taking("Basic", asksUnknown, asksBasic)),
	} {
		inner := choose(nil, byDigest, byBearer)
		rt := choose(base, transport.Choice{Scheme: "Digest", Middleware: inner.Wrap}, transport.Choice{Scheme: "Basic", Middleware: choose(nil, byBasic).Wrap})
		for range 2 {
			req, b := replayable(t, "a body")
			if status, _ := do(t, rt, req); status != http.StatusOK {
				t.Errorf("%s: got %d", scheme, status)
			}
			b.wantEachClosedOnce(t)
		}
		base.want(t, "", scheme, scheme)
	}
	// A stream teaches both.
	base := newScript(taking("Digest", asksDigest))
	rt := choose(base, transport.Choice{Scheme: "Digest", Middleware: choose(nil, byDigest).Wrap})
	for _, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		req, body := stream(t, "stream")
		if got, _ := do(t, rt, req); got != want {
			t.Errorf("a stream got %d, want %d", got, want)
		}
		body.wantClosedOnce(t, "the stream")
	}
	base.want(t, "", "Digest")
}

func TestChooseInAChain(t *testing.T) {
	key := &apikey.Transport{Key: "key"}
	basics := choose(nil, byBasic).Wrap
	signedOut := (&transport.Refresh{Source: broken(nil, tokensource.ErrNoToken), Optional: true}).Wrap
	tests := []struct {
		name string
		mw   func(refresh transport.Middleware) transport.Middleware
		base transport.Func
		want []string // Authorization of the attempts that two requests take
	}{
		{
			"Refresh outside: its token is the caller's own",
			func(refresh transport.Middleware) transport.Middleware { return transport.Chain(refresh, basics) },
			taking("Basic", asksBasic),
			[]string{"Bearer old", "Bearer new", "Bearer new"},
		},
		{
			"Refresh outside, without a token",
			func(transport.Middleware) transport.Middleware { return transport.Chain(signedOut, basics) },
			taking("Basic", asksBasic),
			[]string{"", "Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpzZWNyZXQ="},
		},
		{
			"Refresh inside",
			func(refresh transport.Middleware) transport.Middleware { return transport.Chain(basics, refresh) },
			taking("Basic", asksBasic),
			[]string{"Bearer old", "Bearer new", "Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpzZWNyZXQ="},
		},
		{
			"Refresh as a choice",
			func(refresh transport.Middleware) transport.Middleware {
				return choose(nil, transport.Choice{Scheme: "Bearer", Middleware: refresh}, byBasic).Wrap
			},
			accept("new"),
			[]string{"", "Bearer old", "Bearer new", "Bearer new"},
		},
		{
			"Refresh as a choice, without a token",
			func(transport.Middleware) transport.Middleware {
				return choose(nil, transport.Choice{Scheme: "Bearer", Middleware: signedOut}, byBasic).Wrap
			},
			taking("Basic", "Bearer", asksBasic),
			[]string{"", "Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpzZWNyZXQ="},
		},
	}
	for _, tt := range tests {
		for name, around := range map[string]func(transport.Middleware) transport.Middleware{
			"alone":      func(mw transport.Middleware) transport.Middleware { return mw },
			"key before": func(mw transport.Middleware) transport.Middleware { return transport.Chain(key.Wrap, mw) },
			"key after":  func(mw transport.Middleware) transport.Middleware { return transport.Chain(mw, key.Wrap) },
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				base := newScript(tt.base)
				rt := around(tt.mw((&transport.Refresh{Source: tokens("old", "new")}).Wrap))(base)
				for range 2 {
					req, b := replayable(t, "a body")
					do(t, rt, req)
					b.wantEachClosedOnce(t)
				}
				if diff := cmp.Diff(tt.want, base.auths()); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
				for i, a := range base.sent() {
					if name != "alone" && a.Header.Get("X-API-Key") != "key" {
						t.Errorf("attempt %d lacks the key", i+1)
					}
				}
			})
		}
	}
}

// A choice that is no Authorization field answers as well: what it sends is not
// what was rejected.
func TestChooseOtherCarriers(t *testing.T) {
	tests := []struct {
		name   string
		choice *apikey.Transport
		has    func(*http.Request) bool
	}{
		{"field", &apikey.Transport{Key: "secret"}, func(req *http.Request) bool { return req.Header.Get("X-API-Key") == "secret" }},
		{"query", &apikey.Transport{Key: "secret", In: apikey.Query, Name: "key"}, func(req *http.Request) bool { return req.URL.Query().Get("key") == "secret" }},
		{"cookie", &apikey.Transport{Key: "secret", In: apikey.Cookie, Name: "key"}, func(req *http.Request) bool { c, err := req.Cookie("key"); return err == nil && c.Value == "secret" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []bool
			rt := choose(transport.Func(func(req *http.Request) (*http.Response, error) {
				got = append(got, tt.has(req))
				if tt.has(req) {
					return answer(http.StatusOK, "")(req)
				}
				return asking(`ApiKey realm="r"`)(req)
			}), transport.Choice{Scheme: "ApiKey", Middleware: tt.choice.Wrap})
			for range 2 {
				do(t, rt, get(t))
			}
			if diff := cmp.Diff([]bool{false, true, true}, got); diff != "" {
				t.Errorf("attempts with the key (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseConcurrentFirstContacts(t *testing.T) {
	const callers = 200
	for scheme, asks := range map[string]string{"Basic": asksBasic, "Digest": asksDigest} {
		t.Run(scheme, func(t *testing.T) {
			base := newScript(taking(scheme, asks))
			rt := choose(base, byDigest, byBasic)
			wave := func() int {
				before := len(base.sent())
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						want := fmt.Sprint("body ", i)
						req, b := replayable(t, want)
						req.URL.Path = fmt.Sprintf("/%d/%d", i%10, i)
						if status, _ := do(t, rt, req); status != http.StatusOK {
							t.Errorf("caller %d got %d", i, status)
						}
						b.wantEachClosedOnce(t)
					})
				}
				wg.Wait()
				return len(base.sent()) - before
			}
			if n := wave(); n > 2*callers {
				t.Errorf("%d attempts, want two for each caller at most", n)
			}
			// How many may share a nonce is for Digest to say.
			if n := wave(); scheme == "Basic" && n != callers {
				t.Errorf("then %d attempts, want one for each caller", n)
			}
			sent := map[string]int{}
			for _, a := range base.sent() {
				sent[a.URL.Path+" "+a.Sent]++
			}
			for i := range callers {
				if what := fmt.Sprintf("/%d/%d body %d", i%10, i, i); sent[what] < 2 {
					t.Errorf("%q was sent %d times", what, sent[what])
				}
			}
		})
	}
}

// What the decorators see for their base is Base.
func TestChooseBaseOfChoices(t *testing.T) {
	var seen http.RoundTripper
	choice := transport.Choice{Scheme: "Basic", Middleware: func(base http.RoundTripper) http.RoundTripper {
		seen = base
		return byBasic.Middleware(base)
	}}
	base := &idleCloser{RoundTripper: newScript(taking("Basic", asksBasic))}
	do(t, choose(base, choice), get(t))
	if got := seen.(interface{ Unwrap() http.RoundTripper }).Unwrap(); got != http.RoundTripper(base) {
		t.Errorf("it unwraps to %v, want Base", got)
	}
	seen.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("Base was told %d times to close, want once", base.closed)
	}
	base = &idleCloser{RoundTripper: newScript(taking("Basic", asksBasic))}
	setDefault(t, base)
	rt := choose(nil, choice)
	for range 2 {
		if status, _ := do(t, rt, get(t)); status != http.StatusOK {
			t.Errorf("by http.DefaultTransport got %d", status)
		}
	}
	if got := seen.(interface{ Unwrap() http.RoundTripper }).Unwrap(); got != http.RoundTripper(base) {
		t.Errorf("it unwraps to %v, want http.DefaultTransport", got)
	}
}

// Each of the copies that Wrap makes learns for itself, and so makes its own
// decorators.
func TestChooseWrap(t *testing.T) {
	a, b := newScript(taking("Basic", asksBasic)), newScript(taking("Digest", asksDigest))
	wrap := choose(nil, byDigest, byBasic).Wrap
	first, second := wrap(a), wrap(b)
	for range 2 {
		do(t, first, get(t))
		do(t, second, get(t))
	}
	a.want(t, "", "Basic", "Basic")
	b.want(t, "", "Digest", "Digest")
}

// A 401 that offers the choice again is the choice's own affair.
func TestChooseKeepsItsChoice(t *testing.T) {
	base := newScript(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/forbidden" {
			return asking(asksBasic)(req)
		}
		return taking("Basic", asksBasic)(req)
	})
	rt := choose(base, byDigest, byBasic)
	do(t, rt, get(t))
	if status, _ := do(t, rt, newRequest(t, http.MethodGet, "https://api.example.com/forbidden", nil)); status != http.StatusUnauthorized {
		t.Errorf("got %d", status)
	}
	req, _ := stream(t, "stream")
	if status, _ := do(t, rt, req); status != http.StatusOK {
		t.Errorf("a stream got %d", status)
	}
	base.want(t, "", "Basic", "Basic", "Basic")
}

// Streams fare no worse than without a Choose when a nonce has become stale.
func TestChooseStaleNonceOfAStream(t *testing.T) {
	for range 3 {
		var nonce, uses int
		base := newScript(func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.Header.Get("Authorization"), fmt.Sprintf(`nonce="n%d"`, nonce)) && uses < 2 {
				uses++
				return answer(http.StatusOK, "")(req)
			}
			nonce, uses = nonce+1, 0
			return asking(fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth", stale=true`, nonce))(req)
		})
		rt := choose(base, byDigest)
		var got []int
		for range 9 {
			req, _ := stream(t, "stream")
			status, _ := do(t, rt, req)
			got = append(got, status)
		}
		if diff := cmp.Diff([]int{401, 200, 200, 401, 200, 200, 401, 200, 200}, got); diff != "" {
			t.Errorf("streams (-want +got):\n%s", diff)
		}
	}
}

// What a stream has taught is not believed if the choice cannot answer.
func TestChooseStreamLearnsNothingWrong(t *testing.T) {
	for n := range 4 {
		base := newScript(taking("Basic", asksUnknown, asksBasic))
		rt := choose(base, byDigest, byBasic)
		for range n {
			req, _ := stream(t, "stream")
			do(t, rt, req)
		}
		if status, _ := do(t, rt, get(t)); status != http.StatusOK {
			t.Errorf("after %d streams a request got %d", n, status)
		}
	}
	// Nor does a stream itself try a weaker scheme.
	base := newScript(taking("Basic", asksUnknown, asksBasic))
	rt := choose(base, byDigest, byBasic)
	var got []int
	for _, request := range []func() *http.Request{
		func() *http.Request { req, _ := stream(t, "stream"); return req },
		func() *http.Request { req, _ := stream(t, "stream"); return req },
		func() *http.Request { req, _ := stream(t, "stream"); return req },
		func() *http.Request { return get(t) },
		func() *http.Request { req, _ := stream(t, "stream"); return req },
	} {
		status, _ := do(t, rt, request())
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{401, 401, 401, 200, 200}, got); diff != "" {
		t.Errorf("three streams, a request, a stream (-want +got):\n%s", diff)
	}
}

// What was not sent is not renewed.
func TestChooseStreamByRefresh(t *testing.T) {
	for _, buffer := range []int64{0, 100} {
		base := newScript(func(req *http.Request) (*http.Response, error) { return accept("old")(req) })
		source := tokens("old", "new")
		rt := choose(base, transport.Choice{Scheme: "Bearer", Middleware: (&transport.Refresh{Source: source, ReplayBuffer: buffer}).Wrap})
		req, body := stream(t, "stream")
		if status, got := do(t, rt, req); status != http.StatusUnauthorized || got != "who are you?" {
			t.Errorf("got %d %q, want the 401 intact", status, got)
		}
		body.wantClosedOnce(t, "the stream")
		req, _ = stream(t, "stream")
		if status, _ := do(t, rt, req); status != http.StatusOK {
			t.Errorf("the next stream got %d", status)
		}
		if n := source.renewed.Load(); n != 0 {
			t.Errorf("%d renewals of a token that is good", n)
		}
	}
}

// Whatever a decorator does about a stream, the 401 is what the caller gets.
func TestChooseStreamIntactWhateverTheDecoratorDoes(t *testing.T) {
	for name, mw := range map[string]transport.Middleware{
		"reads the body": func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				defer req.Body.Close()
				if _, err := io.ReadAll(req.Body); err != nil {
					return nil, err
				}
				return base.RoundTrip(req)
			})
		},
		"sends it twice": func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				if err == nil && resp.StatusCode == http.StatusUnauthorized {
					resp.Body.Close()
					return base.RoundTrip(req)
				}
				return resp, err
			})
		},
	} {
		refused := newBody("who are you?")
		base := newScript(reply(http.StatusUnauthorized, refused))
		req, body := stream(t, "stream")
		resp, err := choose(base, transport.Choice{Scheme: "Bearer", Middleware: mw}).RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := slurp(t, resp); resp.StatusCode != http.StatusUnauthorized || name == "reads the body" && got != "who are you?" {
			t.Errorf("%s: got %d %q, want the 401", name, resp.StatusCode, got)
		}
		body.wantClosedOnce(t, name+": the stream")
	}
}

// A 401 that nobody answers goes through as it is, and as it drips.
func TestChooseDrippingBodyIsPassedOn(t *testing.T) {
	for name, request := range map[string]func(*testing.T) *http.Request{
		"withheld":          func(t *testing.T) *http.Request { return chain(t, "https://evil.com/", apiURL) },
		"a stream":          func(t *testing.T) *http.Request { req, _ := stream(t, "stream"); return req },
		"unknown algorithm": func(t *testing.T) *http.Request { return get(t) },
	} {
		synctest.Test(t, func(t *testing.T) {
			refused := newDrip(time.Second)
			challenge := asksBasic
			if name == "unknown algorithm" {
				challenge = asksUnknown
			}
			rt := choose(newScript(func(req *http.Request) (*http.Response, error) {
				resp := response(req, http.StatusUnauthorized, refused)
				resp.Header["Www-Authenticate"] = []string{challenge}
				return resp, nil
			}), byDigest, byBasic)
			start := time.Now()
			resp, err := rt.RoundTrip(request(t))
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: took %v", name, took)
			}
			if got, err := io.ReadAll(io.LimitReader(resp.Body, 10)); len(got) != 10 {
				t.Errorf("%s: got %q, %v, want what drips", name, got, err)
			}
			resp.Body.Close()
			refused.wantClosedOnce(t, name+": the 401's body")
		})
	}
}

// A decorator's own request, on the way to answering another, is not taken for
// that.
func TestChooseRequestsWithin(t *testing.T) {
	for name, request := range map[string]func(*testing.T) *http.Request{
		"plain":  func(t *testing.T) *http.Request { return get(t) },
		"stream": func(t *testing.T) *http.Request { req, _ := stream(t, "stream"); return req },
	} {
		base := newScript(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "vault.example.com" {
				return taking("Basic", asksBasic)(req)
			}
			return taking("Digest", asksDigest)(req)
		})
		var rt *transport.Choose
		asked := 0
		ask := func(ctx context.Context) (string, string, error) {
			if asked++; asked > 2 {
				return "", "", errors.New("asked without end")
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://vault.example.com/", nil)
			if err != nil {
				return "", "", err
			}
			if status, body := do(t, rt, req); status != http.StatusOK || body != "welcome" {
				t.Errorf("%s: the vault said %d %q", name, status, body)
			}
			return "user", "secret", nil
		}
		rt = choose(base, transport.Choice{Scheme: "Digest", Middleware: (&digest.Transport{Credentials: ask}).Wrap}, byBasic)
		do(t, rt, newRequest(t, http.MethodGet, "https://vault.example.com/", nil))
		do(t, rt, request(t))
		if status, _ := do(t, rt, request(t)); status != http.StatusOK {
			t.Errorf("%s: got %d", name, status)
		}
	}
}

// What is answered without credentials does not prove a choice.
func TestChooseUnprovenByAPublicPage(t *testing.T) {
	for _, status := range []int{200, 302, 403, 404} {
		base := newScript(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/public" {
				return answer(status, "")(req)
			}
			return taking("Basic", asksUnknown, asksBasic)(req)
		})
		rt := choose(base, byDigest, byBasic)
		req, _ := stream(t, "stream")
		do(t, rt, req)
		do(t, rt, newRequest(t, http.MethodGet, "https://api.example.com/public", nil))
		if got, _ := do(t, rt, get(t)); got != http.StatusOK {
			t.Errorf("after a %d: got %d", status, got)
		}
	}
}

// What was learned from a stream is no reason to try a weaker scheme when the
// stronger one is refused.
func TestChooseStreamIsNoDowngrade(t *testing.T) {
	n := 0
	stale := func(req *http.Request) (*http.Response, error) {
		n++
		return asking(fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth", stale=true`, n), asksBasic)(req)
	}
	for name, base := range map[string]*script{"stale nonces": newScript(stale), "wrong password": newScript(asking(asksDigest, asksBasic))} {
		rt := choose(base, byDigest, byBasic)
		for range 4 {
			req, _ := stream(t, "stream")
			do(t, rt, req)
		}
		do(t, rt, get(t))
		if got := base.schemes(); slices.Contains(got, "Basic") || !slices.Contains(got, "Digest") {
			t.Errorf("%s: attempts %q", name, got)
		}
	}
}

// The decorator may need the 401's connection before it has an answer.
func TestChooseOneConnectionForThePasswordToo(t *testing.T) {
	for _, size := range []int{0, 100, 3000, 1 << 20} { // from 2 KiB on in chunks
		mux := http.NewServeMux()
		mux.HandleFunc("/password", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })
		mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
			if schemeOf(r.Header.Get("Authorization")) != "Digest" {
				w.Header().Set("WWW-Authenticate", asksDigest)
				w.WriteHeader(http.StatusUnauthorized)
				io.WriteString(w, text(size))
			}
		})
		server := httptest.NewServer(mux)
		plain := server.Client()
		plain.Transport.(*http.Transport).MaxConnsPerHost = 1
		client := transport.Client(plain, choose(nil, transport.Choice{Scheme: "Digest", Middleware: (&digest.Transport{
			Credentials: func(ctx context.Context) (string, string, error) {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/password", nil)
				if err != nil {
					return "", "", err
				}
				resp, err := plain.Do(req)
				if err != nil {
					return "", "", err
				}
				return "user", slurp(t, resp), nil
			},
		}).Wrap}).Wrap)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		resp, err := client.Do(newRequest(t, http.MethodGet, server.URL+"/api", nil).WithContext(ctx))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("size %d: got %v, %v", size, resp, err)
		}
		cancel()
		server.Close()
	}
}

// A decorator that panics leaves no connection behind.
func TestChooseDecoratorPanics(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			refused := newBody(text(size))
			rt := choose(newScript(reply(http.StatusUnauthorized, refused)), transport.Choice{
				Scheme: "Bearer",
				Middleware: func(http.RoundTripper) http.RoundTripper {
					return transport.Func(func(*http.Request) (*http.Response, error) { panic("x") })
				},
			})
			func() {
				defer func() {
					if v := recover(); v != "x" {
						t.Errorf("recovered %v", v)
					}
				}()
				_, _ = rt.RoundTrip(get(t))
			}()
			time.Sleep(patience)
			synctest.Wait()
			refused.wantClosedOnce(t, "the 401's body")
		})
	}
}

func TestChooseIsNotPrinted(t *testing.T) {
	rt := choose(newScript(taking("Digest", asksDigest)), byDigest, byBasic, byBearer)
	wantNoSecret(t, "Choose, new", rt)
	do(t, rt, get(t))
	rt.Base = nil
	wantNoSecret(t, "Choose", rt)
}
