package digest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

func TestSpaces(t *testing.T) {
	const asked = "https://api.example.com/v1/items?b=2" // the URL that was challenged
	all := []string{"/v1/items", "/v1/other/one", "/v1", "/v10/", "/", "/v2/x", "/v2x", "/v3/"}
	tests := []struct {
		name, domain string
		want         []string // which of all carry an answer at once
	}{
		{"none", "", all},
		{"empty", `, domain=""`, all},
		{"blank", `, domain="  "`, all},
		{"the space itself", `, domain="/v1"`, []string{"/v1/items", "/v1/other/one", "/v1", "/v10/"}},
		{"elsewhere", `, domain="/v2"`, []string{"/v1/items", "/v1/other/one", "/v2/x", "/v2x"}},
		{"several", `, domain="/v2/  /v3"`, []string{"/v1/items", "/v1/other/one", "/v2/x", "/v3/"}},
		{"all", `, domain="/"`, all},
		{"absolute", `, domain="https://api.example.com/v2/"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"absolute, spelled otherwise", `, domain="HTTPS://API.example.com.:443/v2/"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"absolute without a path", `, domain="https://api.example.com"`, all},
		{"without a scheme", `, domain="//api.example.com/v2/"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"relative", `, domain="../v3"`, []string{"/v1/items", "/v1/other/one", "/v3/"}},
		{"other host", `, domain="https://evil.example.com/"`, []string{"/v1/items", "/v1/other/one"}},
		{"other host without a scheme", `, domain="//evil.example.com/"`, []string{"/v1/items", "/v1/other/one"}},
		{"other port", `, domain="https://api.example.com:8443/"`, []string{"/v1/items", "/v1/other/one"}},
		{"other scheme", `, domain="http://api.example.com/ mailto:a@api.example.com"`, []string{"/v1/items", "/v1/other/one"}},
		{"no URL", `, domain="http://[::1 %zz : /v2/"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"the ninth is too many", `, domain="` + strings.Repeat("/x ", 7) + `/v2/ /"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"long", `, domain="/v2/` + strings.Repeat(" ", 4096-4) + `"`, []string{"/v1/items", "/v1/other/one", "/v2/x"}},
		{"too long", `, domain="/v2/` + strings.Repeat(" ", 4096-3) + `"`, all},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, path := range all {
				g := newGuard(t)
				g.extra = tt.domain
				rt := g.client()
				want(t, rt, newRequest(t, http.MethodGet, asked, nil), http.StatusOK, "")
				g.wantLog(t, "bare", "n1/1 ok")
				want(t, rt, newRequest(t, http.MethodGet, "https://api.example.com"+path, nil), http.StatusOK, "")
				if g.log[0] != "bare" {
					got = append(got, path)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("known to be in the space (-want +got):\n%s", diff)
			}
		})
	}
}

// A domain is the server's say, and not about other servers, though they may be
// in the audience. Nor is what one origin has asked for sent to another.
func TestSpacesAreOfOneOrigin(t *testing.T) {
	for _, other := range []string{"https://api.example.com:8443", "https://www.example.com", "https://example.com", "http://api.example.com"} {
		g := newGuard(t)
		g.extra = `, domain="/ ` + other + `/"`
		rt := g.client()
		rt.Audience = &transport.Audience{Origins: []string{"https://api.example.com", other}, AllowHTTP: true}
		want(t, rt, get(t), http.StatusOK, "")
		want(t, rt, newRequest(t, http.MethodGet, other+"/v1/items", nil), http.StatusOK, "")
		want(t, rt, get(t), http.StatusOK, "")
		g.wantLog(t, "bare", "n1/1 ok", "bare", "n2/1 ok", "n1/2 ok")
	}
}

func TestTwoRealms(t *testing.T) {
	a, b := newGuard(t), newGuard(t)
	a.realm, a.salt, b.realm, b.salt, b.algorithm, b.opaque = "realm a", "a", "realm b", "b", "MD5", ""
	rt := &digest.Transport{Username: username, Password: password, Base: site{"/a/": a, "/b/": b}}
	steps := []struct {
		path string
		a, b []string
	}{
		{"/a/1", []string{"bare", "an1/1 ok"}, nil},
		{"/free", nil, nil},
		{"/a/deep/2", []string{"an1/3 ok"}, nil},       // count 2 went to /free,
		{"/b/1", nil, []string{"foreign", "bn1/1 ok"}}, // and 4 to b, which was not known yet
		{"/b/2", nil, []string{"bn1/2 ok"}},
		{"/a/3", []string{"an1/5 ok"}, nil},
		{"/b/3", nil, []string{"bn1/3 ok"}},
	}
	for _, step := range steps {
		want(t, rt, newRequest(t, http.MethodGet, "https://api.example.com"+step.path, nil), http.StatusOK, "")
		a.wantLog(t, step.a...)
		b.wantLog(t, step.b...)
	}
}

func TestNonces(t *testing.T) {
	const ok, unauthorized = http.StatusOK, http.StatusUnauthorized
	type step struct {
		do     func(*guard, *digest.Transport) // before the request
		status int
		want   []string
	}
	expire := func(g *guard, _ *digest.Transport) { g.expire() }
	wrong := func(g *guard, _ *digest.Transport) { g.users[username] = "changed" }
	right := func(g *guard, _ *digest.Transport) { g.users[username] = password }
	tests := []struct {
		name  string
		guard func(*guard)
		steps []step
	}{
		{"reused", func(*guard) {}, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n1/2 ok"}}, {nil, ok, []string{"n1/3 ok"}},
		}},
		{"reused, RFC 2069", func(g *guard) { g.qop, g.algorithm = "", "" }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n1/2 ok"}}, {expire, ok, []string{"n1/3 stale", "n2/1 ok"}}, {nil, ok, []string{"n2/2 ok"}},
		}},
		{"stale", func(*guard) {}, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {expire, ok, []string{"n1/2 stale", "n2/1 ok"}}, {nil, ok, []string{"n2/2 ok"}},
		}},
		{"stale, which is not said", func(g *guard) { g.notStale = true }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {expire, ok, []string{"n1/2 stale", "n2/1 ok"}}, {nil, ok, []string{"n2/2 ok"}},
		}},
		{"stale, which is not said, after another user", func(g *guard) { g.notStale = true }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, t *digest.Transport) {
				expire(g, t)
				t.Username, t.Password = "other", "another password"
			}, unauthorized, []string{"n1/2 stale"}},
			{nil, ok, []string{"n2/1 ok"}},
		}},
		{"stale, which is not said, after another password", func(g *guard) { g.notStale = true }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, t *digest.Transport) { expire(g, t); t.Password = "typo" }, unauthorized, []string{"n1/2 wrong"}},
			{func(_ *guard, t *digest.Transport) { t.Password = password }, ok, []string{"n2/1 ok"}},
		}},
		{"stale, which is not said, after another user of that password", func(g *guard) { g.notStale, g.users["other"] = true, password }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, t *digest.Transport) { t.Username = "other" }, ok, []string{"n1/2 ok"}},
			{expire, unauthorized, []string{"n1/3 stale"}},
			{nil, ok, []string{"n2/1 ok"}},
		}},
		{"password changed on the server", func(*guard) {}, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{wrong, unauthorized, []string{"n1/2 wrong", "n2/1 wrong"}}, // it was right until now
			{nil, unauthorized, []string{"n3/1 wrong"}},
			{right, ok, []string{"n4/1 ok"}},
		}},
		{"wrong password", wrongAtFirst, []step{
			{nil, unauthorized, []string{"bare", "n1/1 wrong"}}, {nil, unauthorized, []string{"n2/1 wrong"}}, {right, ok, []string{"n3/1 ok"}}, {nil, ok, []string{"n3/2 ok"}},
		}},
		{"stale and wrong password", func(g *guard) { g.hasty = true }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, t *digest.Transport) { expire(g, t); wrong(g, t) }, unauthorized, []string{"n1/2 stale", "n2/1 wrong"}},
			{nil, unauthorized, []string{"n3/1 wrong"}},
			{right, ok, []string{"n4/1 ok"}},
		}},
		{"password changed on both sides", func(*guard) {}, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, t *digest.Transport) { g.users[username], t.Password = "changed", "changed" }, ok, []string{"n1/2 ok"}},
			{func(_ *guard, t *digest.Transport) { t.Username, t.Password = "other", "another password" }, ok, []string{"n1/3 ok"}},
		}},
		{"each nonce stale at its second use", func(g *guard) { g.uses = 1 }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n1/2 stale", "n2/1 ok"}}, {nil, ok, []string{"n2/2 stale", "n3/1 ok"}},
		}},
		{"nextnonce at the third use", func(g *guard) { g.next, g.uses = 3, 3 }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n1/2 ok"}}, {nil, ok, []string{"n1/3 ok"}}, {nil, ok, []string{"n2/1 ok"}}, {nil, ok, []string{"n2/2 ok"}},
		}},
		{"nextnonce, session", func(g *guard) { g.next, g.uses, g.algorithm = 2, 2, "SHA-256-sess" }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n1/2 ok"}}, {nil, ok, []string{"n2/1 ok"}}, {nil, ok, []string{"n2/2 ok"}}, {nil, ok, []string{"n3/1 ok"}},
		}},
		{"nextnonce, all that can be asked", func(g *guard) {
			g.next, g.uses, g.algorithm, g.qop, g.extra = 2, 2, "SHA-512-256-sess", "auth-int", ", userhash=true, charset=UTF-8"
		}, []step{
			{nil, ok, []string{"bare", "n1/1 int ok"}}, {nil, ok, []string{"n1/2 int ok"}}, {nil, ok, []string{"n2/1 int ok"}},
		}},
		{"nextnonce, user name in UTF-8", func(g *guard) { g.next, g.extra, g.users["ä"] = 1, ", charset=UTF-8", "x" }, []step{
			{func(_ *guard, t *digest.Transport) { t.Username, t.Password = "ä", "x" }, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n2/1 ok"}},
		}},
		{"one-time nonces", func(g *guard) { g.next, g.uses = 1, 1 }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{nil, ok, []string{"n2/1 ok"}},
			{nil, ok, []string{"n3/1 ok"}},
			{expire, ok, []string{"n4/1 stale", "n5/1 ok"}},
			{nil, ok, []string{"n6/1 ok"}},
		}},
		{"one-time nonces, session", func(g *guard) { g.next, g.uses, g.algorithm = 1, 1, "MD5-sess" }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {nil, ok, []string{"n2/1 ok"}}, {nil, ok, []string{"n3/1 ok"}},
		}},
		{"one-time nonces no more", func(g *guard) { g.next, g.uses = 1, 1 }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}},
			{func(g *guard, _ *digest.Transport) { g.next, g.uses = 0, 0 }, ok, []string{"n2/1 ok"}},
			{nil, ok, []string{"n2/2 ok"}},
			{nil, ok, []string{"n2/3 ok"}},
		}},
		{"one-time nonces and a wrong password", func(g *guard) { g.next, g.uses = 1, 1 }, []step{
			{nil, ok, []string{"bare", "n1/1 ok"}}, {wrong, unauthorized, []string{"n2/1 wrong", "n3/1 wrong"}}, {nil, unauthorized, []string{"n4/1 wrong"}}, {right, ok, []string{"n5/1 ok"}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			tt.guard(g)
			rt := g.client()
			for _, step := range tt.steps {
				if step.do != nil {
					// Fields are not to be changed after the first RoundTrip, but nothing
					// else is under way.
					step.do(g, rt)
				}
				body := refusal
				if step.status == ok {
					body = "a body"
				}
				req, b := replayable(t, "a body")
				want(t, rt, req, step.status, body)
				g.wantLog(t, step.want...)
				b.wantEachClosedOnce(t)
			}
			g.wantClosed(t)
		})
	}
}

func wrongAtFirst(g *guard) { g.users[username] = "changed" }

// Whatever the server says, there are two attempts at most.
func TestTwoAttempts(t *testing.T) {
	for name, more := range map[string]string{"always stale": ", stale=true", "always another realm": "", "never stale": ", stale=false"} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			rt := &digest.Transport{Username: username, Password: password, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
				attempts++
				resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: newBody(refusal)}
				realm := "r"
				if name == "always another realm" {
					realm = fmt.Sprint(attempts)
				}
				resp.Header.Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="%s", nonce="%d", qop=auth%s`, realm, attempts, more))
				return resp, nil
			})}
			for i, most := range []int{2, 2, 2, 2} {
				attempts = 0
				want(t, rt, get(t), http.StatusUnauthorized, refusal)
				if i > 0 && name == "never stale" {
					most = 1
				}
				if attempts != most {
					t.Errorf("request %d: %d attempts, want %d", i, attempts, most)
				}
			}
		})
	}
}

// A nextnonce that cannot be sent back is none.
func TestNextNonceIsNone(t *testing.T) {
	for name, info := range map[string]string{
		"empty": `nextnonce=""`, "long": `nextnonce="` + strings.Repeat("x", 5000) + `"`, "no value": "nextnonce", "no end": `nextnonce="x`,
		"control character": "nextnonce=\"\x01\"", "twice": "nextnonce=x, nextnonce=x", "of others": "nextnonces=x",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t)
			g.proof = func(string, map[string]string) string { return info }
			rt := g.client()
			want(t, rt, get(t), http.StatusOK, "")
			want(t, rt, get(t), http.StatusOK, "")
			g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok")
		})
	}
}

// The count ends before it would begin again.
func TestNonceCountEnds(t *testing.T) {
	g := newGuard(t)
	rt := g.client()
	want(t, rt, get(t), http.StatusOK, "")
	rt.Use(get(t).URL, 1<<32-2)
	for range 3 {
		want(t, rt, get(t), http.StatusOK, "")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/4294967295 ok", "bare", "n2/1 ok", "n2/2 ok")

	// There may be no other nonce.
	g = newGuard(t)
	g.constant = true
	rt = g.client()
	want(t, rt, get(t), http.StatusOK, "")
	rt.Use(get(t).URL, 1<<32-1)
	for range 2 {
		req, b := replayable(t, "a body")
		want(t, rt, req, http.StatusUnauthorized, refusal)
		b.wantEachClosedOnce(t)
	}
	want(t, rt, get(t), http.StatusUnauthorized, refusal)
	g.wantLog(t, "bare", "n1/1 ok", "bare", "bare", "bare")
	g.wantClosed(t)
}

// crowd sends n requests with bodies at once, numbered, which take up to a
// second each way, and returns the number of attempts for each. All are to
// succeed.
func crowd(t *testing.T, n int, g *guard, rt *digest.Transport) map[string]int {
	t.Helper()
	rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
		time.Sleep(time.Second + rand.N(time.Second))
		resp, err := g.RoundTrip(req)
		time.Sleep(rand.N(time.Second))
		return resp, err
	})
	g.attempts = nil
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			req, b := replayable(t, "a body")
			req.Header.Set("X-Id", fmt.Sprint(i))
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			wantResponse(t, resp, http.StatusOK, "a body")
			b.wantEachClosedOnce(t)
		})
	}
	wg.Wait()
	attempts := map[string]int{}
	for _, a := range g.attempts {
		attempts[a.Header.Get("X-Id")]++
	}
	for id, n := range attempts {
		if n > 2 {
			t.Errorf("request %s was sent %d times", id, n)
		}
	}
	if slices.ContainsFunc(g.log, func(s string) bool { return strings.HasSuffix(s, "wrong") }) {
		t.Errorf("a password was taken for wrong: %q", g.log)
	}
	g.wantClosed(t)
	return attempts
}

func TestCrowd(t *testing.T) {
	tests := []struct {
		name  string
		guard func(*guard)
		once  bool // all but the first requests are answered at their first attempt
	}{
		{"nonces for any use", func(*guard) {}, true},
		{"RFC 2069", func(g *guard) { g.qop = "" }, true},
		{"auth-int, session", func(g *guard) { g.qop, g.algorithm = "auth-int", "SHA-256-sess" }, true},
		{"one nonce for all", func(g *guard) { g.constant = true }, true},
		{"counts in order only", func(g *guard) { g.inOrder = true }, true},
		{"nextnonce at every second use", func(g *guard) { g.next, g.uses = 2, 2 }, true},
		{"nonces for two uses", func(g *guard) { g.uses = 2 }, true},
		{"one-time nonces", func(g *guard) { g.uses, g.next = 1, 1 }, true},
		{"one-time nonces, session", func(g *guard) { g.uses, g.next, g.algorithm = 1, 1, "SHA-256-sess" }, true},
		{"one-time nonces without nextnonce", func(g *guard) { g.uses, g.hasty = 1, true }, false},
		{"one-time nonces that are not said to be stale", func(g *guard) { g.uses, g.notStale = 1, true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t)
				tt.guard(g)
				rt := g.client()
				crowd(t, 200, g, rt)
				for id, n := range crowd(t, 200, g, rt) {
					if tt.once && n != 1 {
						t.Errorf("request %s was sent %d times, want once", id, n)
					}
				}
				g.wantCounts(t)
			})
		})
	}
}

// What is kept of nonces is bounded.
func TestNoncesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t)
		rt := g.client()
		crowd(t, 301, g, rt)
		once := 0
		for _, n := range crowd(t, 301, g, rt) {
			if n == 1 {
				once++
			}
		}
		if once != 256 {
			t.Errorf("%d of 301 requests were answered at once, want 256", once)
		}
	})
}

// during sends a request, and calls f when g has let it through and it is still
// under way.
func during(t *testing.T, g *guard, rt *digest.Transport, f func()) {
	t.Helper()
	type key struct{}
	answer, done := make(chan struct{}), make(chan struct{})
	rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
		resp, err := g.RoundTrip(req)
		if req.Context().Value(key{}) != nil {
			<-answer
		}
		return resp, err
	})
	go func() {
		defer close(done)
		req := get(t)
		want(t, rt, req.WithContext(context.WithValue(req.Context(), key{}, true)), http.StatusOK, "")
	}()
	synctest.Wait()
	f()
	close(answer)
	<-done
	rt.Base = g
}

// Requests that are under way at one time do not share a nonce, unless one of them
// would otherwise be refused for certain.
func TestOneRequestANonce(t *testing.T) {
	tests := []struct {
		name   string
		guard  func(*guard)
		before func(t *testing.T, g *guard, rt *digest.Transport)
		during func(t *testing.T, g *guard, rt *digest.Transport)
		want   []string
	}{
		{"another request", nil, nil, func(t *testing.T, _ *guard, rt *digest.Transport) {
			want(t, rt, get(t), http.StatusOK, "")
			want(t, rt, get(t), http.StatusOK, "")
		}, []string{"n1/2 ok", "bare", "n2/1 ok", "n2/2 ok"}},
		{"one that cannot be sent again", nil, nil, func(t *testing.T, _ *guard, rt *digest.Transport) {
			req, _ := stream(t, "a body")
			want(t, rt, req, http.StatusOK, "a body")
			want(t, rt, get(t), http.StatusOK, "")
		}, []string{"n1/2 ok", "n1/3 ok", "bare", "n2/1 ok"}},
		{"one that cannot be sent again, nor at all", nil, nil, func(t *testing.T, g *guard, rt *digest.Transport) {
			req, _ := stream(t, "a body")
			req.Body = &counted{Reader: iotest.ErrReader(errLost)}
			if resp, err := rt.RoundTrip(req); resp != nil || !errors.Is(err, errLost) {
				t.Errorf("got %v, %v, want %v", resp, err, errLost)
			}
			want(t, rt, get(t), http.StatusOK, "")
		}, []string{"n1/2 ok", "bare", "n2/1 ok"}},
		{"one that has no hash", func(g *guard) { g.qop = "auth-int" }, nil, func(t *testing.T, _ *guard, rt *digest.Transport) {
			req, _ := stream(t, "a body")
			if resp, err := rt.RoundTrip(req); resp != nil || !errors.Is(err, digest.ErrIntegrity) {
				t.Errorf("got %v, %v, want %v", resp, err, digest.ErrIntegrity)
			}
			want(t, rt, get(t), http.StatusOK, "")
		}, []string{"n1/2 int ok", "bare", "n2/1 int ok"}},
		{"after a stale one", nil, func(t *testing.T, g *guard, rt *digest.Transport) {
			g.expire()
			want(t, rt, get(t), http.StatusOK, "")
		}, func(t *testing.T, _ *guard, rt *digest.Transport) {
			want(t, rt, get(t), http.StatusOK, "")
		}, []string{"n1/2 stale", "n2/1 ok", "n2/2 ok", "bare", "n3/1 ok"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t)
				if tt.guard != nil {
					tt.guard(g)
				}
				rt := g.client()
				want(t, rt, get(t), http.StatusOK, "")
				g.log = nil
				if tt.before != nil {
					tt.before(t, g, rt)
				}
				during(t, g, rt, func() { tt.during(t, g, rt) })
				g.wantLog(t, tt.want...)
			})
		})
	}
}

// A nonce that was refused is not for a request either that would be refused
// without.
func TestRefusedNonces(t *testing.T) {
	tests := []struct {
		name   string
		refuse func(t *testing.T, g *guard, rt *digest.Transport)
		want   []string
	}{
		{"without a challenge", func(t *testing.T, g *guard, rt *digest.Transport) {
			g.mute = true
			g.expire()
			want(t, rt, get(t), http.StatusUnauthorized, refusal)
		}, []string{"n1/2 stale", "bare"}},
		{"without a challenge at the second attempt", func(t *testing.T, g *guard, rt *digest.Transport) {
			g.expire()
			rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
				resp, err := g.RoundTrip(req)
				g.mute, g.users[username] = true, "changed"
				return resp, err
			})
			want(t, rt, get(t), http.StatusUnauthorized, refusal)
		}, []string{"n1/2 stale", "n2/1 wrong", "bare"}},
		{"by the client", func(t *testing.T, g *guard, rt *digest.Transport) {
			g.proof = func(string, map[string]string) string { return "rspauth=0" }
			if resp, err := rt.RoundTrip(get(t)); resp != nil || !errors.Is(err, digest.ErrServerAuth) {
				t.Errorf("got %v, %v", resp, err)
			}
		}, []string{"n1/2 ok", "bare"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			rt := g.client()
			want(t, rt, get(t), http.StatusOK, "")
			g.log = nil
			tt.refuse(t, g, rt)
			req, _ := stream(t, "a body")
			want(t, rt, req, http.StatusUnauthorized, refusal)
			g.wantLog(t, tt.want...)
			g.wantClosed(t)
		})
	}
}

// A server may offer one nonce again and again. It has one count all the same,
// for as long as it is remembered.
func TestNonceOfferedAgain(t *testing.T) {
	var offered string
	sent := map[string]int{}
	rt := &digest.Transport{Username: username, Password: password, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
		p := map[string]string{}
		if credentials := req.Header.Get("Authorization"); credentials != "" {
			var err error
			if p, err = params(credentials); err != nil {
				t.Error(err)
			}
			sent[p["nonce"]+" "+p["nc"]]++
		}
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: newBody("")}
		if p["nonce"] != offered {
			resp.StatusCode = http.StatusUnauthorized
			resp.Header.Set("WWW-Authenticate", `Digest realm="r", qop=auth, stale=true, nonce=`+offered)
		}
		return resp, nil
	})}
	for i := range 3000 {
		if offered = fmt.Sprint(i); i%500 == 0 && i <= 1000 {
			offered = "again"
		}
		want(t, rt, get(t), http.StatusOK, "")
	}
	for use, n := range sent {
		if n > 1 {
			t.Errorf("%s was sent %d times", use, n)
		}
	}
	if sent["again 00000006"] != 1 { // it was offered three times, and each time tried for the next request as well
		t.Errorf("the nonce offered again was not used six times: %v", sent)
	}
	offered = "again"
	want(t, rt, get(t), http.StatusOK, "")
	if sent["again 00000001"] != 2 {
		t.Error("a nonce from long ago is still remembered")
	}
}
