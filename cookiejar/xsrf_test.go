package cookiejar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	stdlib "net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

func TestXSRFField(t *testing.T) {
	const standard = "X-Xsrf-Token"
	tests := []struct {
		name   string
		xsrf   *cookiejar.XSRF
		method string
		url    string
		header http.Header
		want   http.Header // without Cookie
	}{
		{"POST", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"a=1; XSRF-TOKEN=t; b=2"}}, http.Header{standard: {"t"}}},
		{"DELETE", &cookiejar.XSRF{}, "DELETE", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{standard: {"t"}}},
		{"a method of one's own", &cookiejar.XSRF{}, "MERGE", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{standard: {"t"}}},
		{"GET", &cookiejar.XSRF{}, "GET", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{}},
		{"no method", &cookiejar.XSRF{}, "", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{}},
		{"HEAD", &cookiejar.XSRF{}, "HEAD", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{}},
		{"AllMethods", &cookiejar.XSRF{AllMethods: true}, "GET", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{standard: {"t"}}},
		{"no cookie", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"xsrf-token=t"}}, http.Header{}},
		{"no field", &cookiejar.XSRF{}, "POST", "", nil, http.Header{}},
		{"the first of two", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=1; XSRF-TOKEN=2"}}, http.Header{standard: {"1"}}},
		{"percent-encoding", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=a%2Bb%3D+c"}}, http.Header{standard: {"a+b=+c"}}},
		{"percent-encoding that is none", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=100%"}}, http.Header{standard: {"100%"}}},
		{"Raw", &cookiejar.XSRF{Raw: true}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=a%2Bb"}}, http.Header{standard: {"a%2Bb"}}},
		{"an equals sign in it", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=a=="}}, http.Header{standard: {"a=="}}},
		{"a control character in it", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=a%0d%0aX:y"}}, http.Header{}},
		{"other names", &cookiejar.XSRF{Cookie: "csrf", Header: "x-csrf"}, "POST", "", http.Header{"Cookie": {"csrf=t"}}, http.Header{"X-Csrf": {"t"}}},
		{"the caller's own", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}, "x-xsrf-token": {"own"}}, http.Header{"x-xsrf-token": {"own"}}},
		{
			"names made at run time", &cookiejar.XSRF{Match: func(cookie string) string {
				if id, ok := strings.CutPrefix(cookie, "csrf_"); ok {
					return "X-Csrf-" + id
				}
				return ""
			}}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=no; csrf_7f=t"}}, http.Header{"X-Csrf-7f": {"t"}},
		},
		{"an empty one", &cookiejar.XSRF{}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN="}}, http.Header{}},
		{
			"the caller's own, by a name made at run time", &cookiejar.XSRF{Match: func(string) string { return "X-Own" }}, "POST", "",
			http.Header{"Cookie": {"a=b"}, "X-Own": {"own"}},
			http.Header{"X-Own": {"own"}},
		},
		{"SendOrigin, another spelling", &cookiejar.XSRF{SendOrigin: true}, "POST", "", http.Header{"origin": {"null"}}, http.Header{"origin": {"null"}}},
		{"SendOrigin", &cookiejar.XSRF{SendOrigin: true}, "POST", "https://example.com:8443/x", nil, http.Header{"Origin": {"https://example.com:8443"}}},
		{"SendOrigin, with one", &cookiejar.XSRF{SendOrigin: true}, "POST", "", http.Header{"Origin": {"null"}}, http.Header{"Origin": {"null"}}},
		{"another audience", &cookiejar.XSRF{Audience: &transport.Audience{Origins: []string{"https://api.example.com"}}}, "POST", "", http.Header{"Cookie": {"XSRF-TOKEN=t"}}, http.Header{}},
		{"Django", cookiejar.Django(""), "POST", "", http.Header{"Cookie": {"csrftoken=t"}}, http.Header{"X-Csrftoken": {"t"}, "Origin": {"https://example.com"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := &server{}
			if tt.url == "" {
				tt.url = "https://example.com/"
			}
			req := request(t, tt.method, tt.url)
			req.Method, req.Header = tt.method, tt.header.Clone()
			resp, err := tt.xsrf.Wrap(base).RoundTrip(req)
			if err != nil || resp.Request != req {
				t.Fatalf("got %v, %v", resp, err)
			}
			got := base.sent[0].Header.Clone()
			if got == nil {
				got = http.Header{}
			}
			if diff := cmp.Diff(tt.header.Get("Cookie"), got.Get("Cookie")); diff != "" {
				t.Errorf("Cookie (-want +got):\n%s", diff)
			}
			got.Del("Cookie")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.header, req.Header); diff != "" {
				t.Errorf("the request's own header (-before +after):\n%s", diff)
			}
		})
	}
}

func TestXSRFErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		xsrf *cookiejar.XSRF
		url  string
		want string
	}{
		{"no name", &cookiejar.XSRF{Header: "no name"}, "https://example.com/", "XSRF.Header"},
		{"plain http", &cookiejar.XSRF{}, "http://example.com/", "https only"},
		{"plain http, before Fetch", &cookiejar.XSRF{Fetch: cookiejar.FetchMeta("", "", "")}, "http://example.com/", "https only"},
		{"Fetch fails", &cookiejar.XSRF{Fetch: func(context.Context, *http.Client) (string, string, error) {
			return "", "", errors.New("the page is gone")
		}}, "https://example.com/", "the page is gone"},
		{"Fetch brings nothing", &cookiejar.XSRF{Fetch: func(context.Context, *http.Client) (string, string, error) {
			return "", "", nil
		}}, "https://example.com/", "has brought no token"},
		{"Fetch brings what cannot be sent", &cookiejar.XSRF{Fetch: func(context.Context, *http.Client) (string, string, error) {
			return "", "a\r\nsecret", nil
		}}, "https://example.com/", "cannot be sent"},
		{"Fetch panics", &cookiejar.XSRF{Fetch: func(context.Context, *http.Client) (string, string, error) {
			panic("secret")
		}}, "https://example.com/", "panicked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := &server{}
			body := &closing{Reader: strings.NewReader("body")}
			req := request(t, "POST", tt.url)
			req.Body = body
			resp, err := tt.xsrf.Wrap(base).RoundTrip(req)
			if resp != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v", resp, err)
			}
			if n := body.closed.Load(); n != 1 || len(base.sent) != 0 {
				t.Errorf("the body was closed %d times, %d requests sent", n, len(base.sent))
			}
		})
	}
}

// Each hop has the token that is in its own cookie, and none where the audience ends.
func TestXSRFOnRedirects(t *testing.T) {
	jar := newJar(t, nil)
	jar.Receive(parseURL(t, "https://example.com/"), []string{"XSRF-TOKEN=first"})
	base := &server{answer: func(n int, _ *http.Request) *http.Response {
		switch n {
		case 0:
			return respond(307, "Location", "/second", "Set-Cookie", "XSRF-TOKEN=second; Path=/")
		case 1:
			return respond(307, "Location", "https://example.net/")
		}
		return respond(200)
	}}
	client := transport.Client(&http.Client{Transport: base}, (&cookiejar.Transport{Jar: jar}).Wrap, new(cookiejar.XSRF).Wrap)
	resp, err := client.Post("https://example.com/", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if diff := cmp.Diff([]string{"first", "second", ""}, base.fields("X-Xsrf-Token")); diff != "" {
		t.Errorf("X-Xsrf-Token (-want +got):\n%s", diff)
	}
}

// Field and cookie are of one moment, inside of what has the cookies and outside,
// while the cookie changes.
func TestXSRFFieldIsTheCookies(t *testing.T) {
	for name, chain := range map[string]func(*cookiejar.Jar) transport.Middleware{
		"inside": func(j *cookiejar.Jar) transport.Middleware {
			return transport.Chain((&cookiejar.Transport{Jar: j}).Wrap, new(cookiejar.XSRF).Wrap)
		},
		"outside": func(j *cookiejar.Jar) transport.Middleware {
			return transport.Chain((&cookiejar.XSRF{Jar: j}).Wrap, (&cookiejar.Transport{Jar: j}).Wrap)
		},
		"alone": func(j *cookiejar.Jar) transport.Middleware { return (&cookiejar.XSRF{Jar: j}).Wrap },
	} {
		t.Run(name, func(t *testing.T) {
			jar := newJar(t, nil)
			u := parseURL(t, "https://example.com/")
			jar.Receive(u, []string{"XSRF-TOKEN=0", "sid=1"})
			base := &server{}
			rt := chain(jar)(base)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for i := range 100 {
						jar.Receive(u, []string{fmt.Sprint("XSRF-TOKEN=", i)})
						if _, err := rt.RoundTrip(request(t, "POST", u.String())); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			for _, req := range base.sent {
				pairs := strings.Split(req.Header.Get("Cookie"), "; ")
				slices.Sort(pairs)
				if diff := cmp.Diff([]string{"XSRF-TOKEN=" + req.Header.Get("X-Xsrf-Token"), "sid=1"}, pairs); diff != "" {
					t.Fatalf("Cookie (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// A guarded site wants a token with what is not GET. Its page has it, in which way
// a test says.
type guarded struct {
	page   func(token string) *http.Response
	refuse func(token string) *http.Response
	slow   time.Duration

	mu      sync.Mutex // guards the fields below
	n       int
	pages   int
	refused int
}

func (g *guarded) token() string { return fmt.Sprintf("token-%d", g.n) }

func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent strings.Builder
	if req.Body != nil {
		_, _ = io.Copy(&sent, req.Body)
		req.Body.Close()
	}
	if err := sleep(req.Context(), g.slow); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if req.Method == http.MethodGet {
		g.pages++
		return g.page(g.token()), nil
	}
	if req.Header.Get("X-Token") != g.token() {
		g.refused++
		return g.refuse(g.token()), nil
	}
	resp := respond(200)
	resp.Body = io.NopCloser(strings.NewReader(sent.String()))
	return resp, nil
}

// next makes the token that is good another.
func (g *guarded) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

func html(page string) *http.Response {
	resp := respond(200, "Content-Type", "text/html")
	resp.Body = io.NopCloser(strings.NewReader(page))
	return resp
}

func TestXSRFFetchOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guarded{
			slow:   100 * time.Millisecond,
			page:   func(token string) *http.Response { return html(`<meta name="csrf" content="` + token + `">`) },
			refuse: func(string) *http.Response { return respond(422) },
		}
		rt := (&cookiejar.XSRF{
			Header: "X-Token", Fetch: cookiejar.FetchMeta("https://example.com/page", "csrf", ""),
			Rejected: transport.RejectedIf(nil, 422),
		}).Wrap(g)
		herd(t, rt, 100)
		if g.pages != 1 || g.refused != 0 {
			t.Errorf("%d pages, %d requests refused", g.pages, g.refused)
		}
		g.next()
		herd(t, rt, 100)
		if g.pages != 2 || g.refused != 100 {
			t.Errorf("%d pages, %d requests refused", g.pages, g.refused)
		}
	})
}

// A page may set the cookie, which the request then has, wherever XSRF is.
func TestXSRFFetchOfACookie(t *testing.T) {
	for name, chain := range map[string]func(*cookiejar.Jar, *cookiejar.XSRF) transport.Middleware{
		"inside": func(j *cookiejar.Jar, x *cookiejar.XSRF) transport.Middleware {
			return transport.Chain((&cookiejar.Transport{Jar: j}).Wrap, x.Wrap)
		},
		"outside": func(j *cookiejar.Jar, x *cookiejar.XSRF) transport.Middleware {
			return transport.Chain(x.Wrap, (&cookiejar.Transport{Jar: j}).Wrap)
		},
	} {
		t.Run(name, func(t *testing.T) {
			jar := newJar(t, nil)
			g := &guarded{
				page: func(token string) *http.Response {
					return respond(200, "Set-Cookie", "csrftoken="+token+"; Path=/", "Set-Cookie", "sid=1; Path=/")
				},
				refuse: func(string) *http.Response { return respond(403) },
			}
			base := &server{}
			x := cookiejar.Django("https://example.com/login/")
			x.Header, x.Jar = "X-Token", jar
			rt := chain(jar, x)(transport.Func(func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPost {
					base.mu.Lock()
					base.sent = append(base.sent, req)
					base.mu.Unlock()
				}
				return g.RoundTrip(req)
			}))
			herd(t, rt, 20)
			if g.pages != 1 || g.refused != 0 {
				t.Errorf("%d pages, %d requests refused", g.pages, g.refused)
			}
			for _, got := range base.fields("Cookie") {
				pairs := strings.Split(got, "; ")
				slices.Sort(pairs)
				if diff := cmp.Diff([]string{"csrftoken=token-0", "sid=1"}, pairs); diff != "" {
					t.Fatalf("Cookie (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Some servers give the token with the rejection of a request without it.
func TestXSRFTokenInARejection(t *testing.T) {
	for _, status := range []int{403, 409} {
		synctest.Test(t, func(t *testing.T) {
			g := &guarded{
				slow:   10 * time.Millisecond,
				refuse: func(token string) *http.Response { return respond(status, "X-Token", token) },
			}
			rt := (&cookiejar.XSRF{Header: "X-Token"}).Wrap(g)
			herd(t, rt, 1)
			if g.refused != 1 {
				t.Errorf("%d: %d requests refused", status, g.refused)
			}
			for i := range 3 {
				g.next()
				herd(t, rt, 200)
				if want := 1 + 200*(i+1); g.refused != want {
					t.Errorf("%d: %d requests refused, want %d", status, g.refused, want)
				}
			}
		})
	}
}

func TestXSRFRejections(t *testing.T) {
	fetch := func(context.Context, *http.Client) (string, string, error) { return "X-Other", "fetched", nil }
	for _, tt := range []struct {
		name   string
		xsrf   *cookiejar.XSRF
		status int
		fields []string
		want   []string // X-Xsrf-Token and X-Other of each attempt
	}{
		{"403 without a token", &cookiejar.XSRF{}, 403, nil, []string{"cookie,"}},
		{"403 that wants one", &cookiejar.XSRF{}, 403, []string{"X-Xsrf-Token", "Required"}, []string{"cookie,"}},
		{"403 with one", &cookiejar.XSRF{}, 403, []string{"X-Xsrf-Token", "new"}, []string{"cookie,", "new,"}},
		{"403 with what cannot be sent", &cookiejar.XSRF{}, 403, []string{"X-Xsrf-Token", "a\x00"}, []string{"cookie,", "cookie,"}},
		{"500 with one", &cookiejar.XSRF{}, 500, []string{"X-Xsrf-Token", "new"}, []string{"cookie,"}},
		{"one of its own kind", &cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 500)}, 500, []string{"X-Xsrf-Token", "new"}, []string{"cookie,", "new,"}},
		{"none of its own kind", &cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 500)}, 403, []string{"X-Xsrf-Token", "new"}, []string{"cookie,"}},
		{"the cookie again", &cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 419)}, 419, nil, []string{"cookie,", "cookie,"}},
		{"fetched then", &cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 419), Fetch: fetch}, 419, nil, []string{"cookie,", ",fetched"}},
		{"SAP", &cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 403), Fetch: fetch}, 403, []string{"X-Xsrf-Token", "Required"}, []string{"cookie,", ",fetched"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := &server{answer: func(int, *http.Request) *http.Response { return respond(tt.status, tt.fields...) }}
			req := request(t, "POST", "https://example.com/")
			req.Header.Set("Cookie", "XSRF-TOKEN=cookie")
			resp, err := tt.xsrf.Wrap(base).RoundTrip(req)
			if err != nil || resp.StatusCode != tt.status || resp.Request != req {
				t.Fatalf("got %v, %v", resp, err)
			}
			var got []string
			for _, r := range base.sent {
				got = append(got, r.Header.Get("X-Xsrf-Token")+","+r.Header.Get("X-Other"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A rejection may set the cookie anew, as Laravel's 419 does: then the second attempt
// has that, in both places.
func TestXSRFCookieInARejection(t *testing.T) {
	jar := newJar(t, nil)
	jar.Receive(parseURL(t, "https://example.com/"), []string{"XSRF-TOKEN=old"})
	base := &server{answer: func(n int, _ *http.Request) *http.Response {
		if n == 0 {
			return respond(419, "Set-Cookie", "XSRF-TOKEN=new; Path=/")
		}
		return respond(200)
	}}
	cookies := &cookiejar.Transport{Jar: jar}
	xsrf := &cookiejar.XSRF{Jar: jar, Rejected: transport.RejectedIf(nil, 419)}
	for name, rt := range map[string]http.RoundTripper{
		"outside": xsrf.Wrap(cookies.Wrap(base)),
		"inside":  cookies.Wrap(xsrf.Wrap(base)),
		"alone":   xsrf.Wrap(base),
	} {
		base.sent = nil
		jar.Receive(parseURL(t, "https://example.com/"), []string{"XSRF-TOKEN=old"})
		if status, _, err := post(t.Context(), rt, "body"); status != 200 || err != nil {
			t.Errorf("%s: got status %d, %v", name, status, err)
		}
		if diff := cmp.Diff([]string{"old", "new"}, base.fields("X-Xsrf-Token")); diff != "" {
			t.Errorf("%s: X-Xsrf-Token (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]string{"XSRF-TOKEN=old", "XSRF-TOKEN=new"}, base.fields("Cookie")); diff != "" {
			t.Errorf("%s: Cookie (-want +got):\n%s", name, diff)
		}
	}
}

// Nothing is kept of what is not for us to ask.
func TestXSRFKeepsToItsAudience(t *testing.T) {
	for _, tt := range []struct {
		name     string
		audience *transport.Audience
		clear    bool
		want     string
	}{
		{"its own", nil, false, "a=1"},
		{"its own, cleared meanwhile", nil, true, ""},
		{"another", &transport.Audience{Origins: []string{"https://api.example.com"}}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			jar := newJar(t, nil)
			base := &server{answer: func(int, *http.Request) *http.Response {
				if tt.clear {
					jar.Clear()
				}
				return respond(200, "Set-Cookie", "a=1")
			}}
			rt := (&cookiejar.XSRF{Jar: jar, Audience: tt.audience}).Wrap(base)
			if status, _, err := post(t.Context(), rt, "body"); status != 200 || err != nil {
				t.Fatalf("got status %d, %v", status, err)
			}
			if got := jar.Header(parseURL(t, "https://example.com/")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	std, err := stdlib.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	base := &server{answer: func(int, *http.Request) *http.Response { return respond(200, "Set-Cookie", "XSRF-TOKEN=1") }}
	rt := (&cookiejar.XSRF{Jar: std}).Wrap(base)
	for range 2 {
		if status, _, err := post(t.Context(), rt, "body"); status != 200 || err != nil {
			t.Fatalf("got status %d, %v", status, err)
		}
	}
	if diff := cmp.Diff([]string{"", "1"}, base.fields("X-Xsrf-Token")); diff != "" {
		t.Errorf("X-Xsrf-Token with net/http's jar (-want +got):\n%s", diff)
	}
}

// To look at the cookie again has no limit, and no answer but the server's.
func TestXSRFLooksAgain(t *testing.T) {
	base := &server{answer: func(int, *http.Request) *http.Response { return respond(419) }}
	rt := (&cookiejar.XSRF{Rejected: transport.RejectedIf(nil, 419)}).Wrap(base)
	for range 20 {
		if status, _, err := post(t.Context(), rt, "body"); status != 419 || err != nil {
			t.Fatalf("got status %d, %v", status, err)
		}
	}
	if n := len(base.sent); n != 40 {
		t.Errorf("%d attempts", n)
	}
}

// A server that changes its mind with every answer gets two attempts of each
// request, and what it has said last is what the next one begins with.
func TestXSRFRestlessServer(t *testing.T) {
	var n atomic.Int32
	base := &server{answer: func(int, *http.Request) *http.Response {
		return respond(409, "X-Xsrf-Token", fmt.Sprint("token-", n.Add(1)))
	}}
	rt := new(cookiejar.XSRF).Wrap(base)
	for range 10 {
		if status, _, err := post(t.Context(), rt, "body"); status != 409 || err != nil {
			t.Errorf("got status %d, %v", status, err)
		}
	}
	got := base.fields("X-Xsrf-Token")
	if diff := cmp.Diff([]string{"", "token-1", "token-1", "token-3"}, got[:4]); diff != "" || len(got) != 20 {
		t.Errorf("%d attempts (-want +got):\n%s", len(got), diff)
	}
}

func TestXSRFEvents(t *testing.T) {
	var kinds []transport.EventKind
	rt := (&cookiejar.XSRF{OnEvent: func(_ context.Context, e transport.Event) { kinds = append(kinds, e.Kind) }}).Wrap(
		&server{answer: func(n int, _ *http.Request) *http.Response {
			if n == 0 {
				return respond(403, "X-Xsrf-Token", "new")
			}
			return respond(200)
		}})
	if status, _, err := post(t.Context(), rt, "body"); status != 200 || err != nil {
		t.Errorf("got status %d, %v", status, err)
	}
	if diff := cmp.Diff([]transport.EventKind{transport.EventRejected, transport.EventReplayed}, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestXSRFFetchFailsForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		rt := (&cookiejar.XSRF{Timeout: time.Second, Fetch: func(ctx context.Context, _ *http.Client) (string, string, error) {
			if down {
				<-ctx.Done()
				return "", "", ctx.Err()
			}
			return "", "token", nil
		}}).Wrap(&server{})
		_, _, err := post(t.Context(), rt, "body")
		if _, later := errors.AsType[*tokensource.RetryError](err); !later || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
		down = false
		time.Sleep(time.Minute)
		if status, _, err := post(t.Context(), rt, "body"); status != 200 || err != nil {
			t.Errorf("got status %d, %v", status, err)
		}
	})
}

// What is printed in passing has no cookie and no token in it.
func TestDecoratorsPrintAsTheirNames(t *testing.T) {
	jar := newJar(t, nil)
	jar.Receive(parseURL(t, "https://example.com/"), []string{"XSRF-TOKEN=secret"})
	for want, v := range map[string]any{
		"cookiejar.Transport":      &cookiejar.Transport{Jar: jar},
		"cookiejar.XSRF":           &cookiejar.XSRF{Jar: jar},
		"cookiejar.Login":          &cookiejar.Login{Base: &cookiejar.Transport{Jar: jar}},
		"cookiejar.Jar(1 cookies)": jar,
		"cookiejar.Jar(0 cookies)": new(cookiejar.Jar),
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(format, v); got != want {
				t.Errorf("%s prints %s, want %s", format, got, want)
			}
		}
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "secret") {
			t.Errorf("JSON of %s is %s, %v", want, text, err)
		}
		var lines bytes.Buffer
		slog.New(slog.NewJSONHandler(&lines, nil)).Info("", "v", v)
		slog.New(slog.NewTextHandler(&lines, nil)).Info("", "v", v)
		if strings.Contains(lines.String(), "secret") {
			t.Errorf("slog prints %s", &lines)
		}
	}
}
