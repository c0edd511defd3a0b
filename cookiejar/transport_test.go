package cookiejar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	stdlib "net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// A server is a base, which notes what it was sent.
type server struct {
	answer func(n int, req *http.Request) *http.Response

	mu   sync.Mutex // guards sent
	sent []*http.Request
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, err := io.Copy(io.Discard, req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	n := len(s.sent)
	s.sent = append(s.sent, req)
	s.mu.Unlock()
	if s.answer == nil {
		return respond(200), nil
	}
	return s.answer(n, req), nil
}

// fields returns the values that requests had in a field.
func (s *server) fields(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, req := range s.sent {
		all = append(all, strings.Join(req.Header.Values(name), " | "))
	}
	return all
}

// respond makes a response; fields are name and value in turn.
func respond(status int, fields ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: make(http.Header), Body: http.NoBody}
	for i := 0; i < len(fields); i += 2 {
		resp.Header.Add(fields[i], fields[i+1])
	}
	return resp
}

func request(t testing.TB, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A plainJar has what net/http's has and no more.
type plainJar struct{ http.CookieJar }

// A rawJar has what loses nothing as well.
type rawJar struct{ *cookiejar.Jar }

func TestTransportKeepsCookies(t *testing.T) {
	std, err := stdlib.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, jar := range map[string]http.CookieJar{
		"ours": newJar(t, nil), "raw": rawJar{newJar(t, nil)}, "plain": plainJar{newJar(t, nil)}, "net/http": std,
	} {
		t.Run(name, func(t *testing.T) {
			base := &server{answer: func(n int, req *http.Request) *http.Response {
				switch n {
				case 0:
					return respond(404, "Set-Cookie", "a=1; Path=/", "Set-Cookie", `b="2 3"; Path=/`)
				case 1:
					return respond(500, "Set-Cookie", "a=; Max-Age=0; Path=/")
				}
				return respond(200)
			}}
			rt := &cookiejar.Transport{Jar: jar, Base: base}
			for range 3 {
				resp, err := rt.RoundTrip(request(t, "GET", "https://example.com/x"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			if diff := cmp.Diff([]string{"", `a=1; b="2 3"`, `b="2 3"`}, base.fields("Cookie")); diff != "" {
				t.Errorf("Cookie (-want +got):\n%s", diff)
			}
		})
	}
}

// Bytes that net/http's types do not hold come through where the jar has the means.
func TestTransportLosesNothing(t *testing.T) {
	base := &server{answer: func(int, *http.Request) *http.Response {
		return respond(200, "Set-Cookie", "nameless", "Set-Cookie", "sp ace=a\\b\"\xff")
	}}
	rt := &cookiejar.Transport{Jar: newJar(t, nil), Base: base}
	for range 2 {
		if _, err := rt.RoundTrip(request(t, "GET", "https://example.com/")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"", "nameless; sp ace=a\\b\"\xff"}, base.fields("Cookie")); diff != "" {
		t.Errorf("Cookie (-want +got):\n%s", diff)
	}
}

func TestTransportAudience(t *testing.T) {
	const set = "; Domain=example.com; Path=/"
	tests := []struct {
		name     string
		audience *transport.Audience
		hops     []string
		want     []string // the Cookie field of each hop
		stored   string   // for the last hop
	}{
		{
			"the origin's own", nil,
			[]string{"https://www.example.com/0", "https://www.example.com/1"},
			[]string{"old=1", "old=1; hop0=1"},
			"old=1; hop0=1; hop1=1",
		},
		{
			"another host of the same domain", nil,
			[]string{"https://www.example.com/0", "https://api.example.com/1"},
			[]string{"old=1", ""},
			"old=1; hop0=1",
		},
		{
			"there and back", nil,
			[]string{"https://www.example.com/0", "https://sso.example.com/1", "https://www.example.com/2"},
			[]string{"old=1", "", ""},
			"old=1; hop0=1",
		},
		{
			"signing in through two origins", &transport.Audience{Origins: []string{"https://www.example.com", "https://sso.example.com"}},
			[]string{"https://www.example.com/0", "https://sso.example.com/1", "https://www.example.com/2"},
			[]string{"old=1", "old=1; hop0=1", "old=1; hop0=1; hop1=1"},
			"old=1; hop0=1; hop1=1; hop2=1",
		},
		{
			"another port", nil,
			[]string{"https://www.example.com/0", "https://www.example.com:8443/1"},
			[]string{"old=1", ""},
			"old=1; hop0=1",
		},
		{
			"down to plain http", nil,
			[]string{"https://www.example.com/0", "http://www.example.com/1"},
			[]string{"old=1", ""},
			"old=1; hop0=1",
		},
		{
			"none of the audience", &transport.Audience{Origins: []string{"https://api.example.com"}},
			[]string{"https://www.example.com/0"},
			[]string{""},
			"old=1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			jar := newJar(t, nil)
			jar.Receive(parseURL(t, "https://www.example.com/"), []string{"old=1" + set})
			base := &server{answer: func(n int, _ *http.Request) *http.Response {
				resp := respond(200, "Set-Cookie", fmt.Sprintf("hop%d=1%s", n, set))
				if n+1 < len(tt.hops) {
					resp.StatusCode = 302
					resp.Header.Set("Location", tt.hops[n+1])
				}
				return resp
			}}
			client := &http.Client{Transport: &cookiejar.Transport{Jar: jar, Audience: tt.audience, Base: base}}
			resp, err := client.Do(request(t, "GET", tt.hops[0]))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if diff := cmp.Diff(tt.want, base.fields("Cookie")); diff != "" {
				t.Errorf("Cookie (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stored, jar.Header(parseURL(t, "https://www.example.com/"))); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTransportMerges(t *testing.T) {
	tests := []struct {
		name string
		own  http.Header
		want http.Header
	}{
		{"none of its own", nil, http.Header{"Cookie": {"a=jar; b=jar; nameless"}}},
		{"one of its own", http.Header{"Cookie": {"a=own"}}, http.Header{"Cookie": {"a=own; b=jar; nameless"}}},
		{"two of a name", http.Header{"Cookie": {"a=1;a=2"}}, http.Header{"Cookie": {"a=1; a=2; b=jar; nameless"}}},
		{"all of its own, as they are", http.Header{"Cookie": {"a=1;b=2;  x"}}, http.Header{"Cookie": {"a=1;b=2;  x"}}},
		{"two fields", http.Header{"Cookie": {"c=1", "b=2"}}, http.Header{"Cookie": {"c=1; b=2; a=jar; nameless"}}},
		{"other spellings", http.Header{"cookie": {"b=own"}}, http.Header{"Cookie": {"b=own; a=jar; nameless"}}},
		{"nothing in it", http.Header{"Cookie": {"; ;"}}, http.Header{"Cookie": {"a=jar; b=jar; nameless"}}},
		{"letter case counts", http.Header{"Cookie": {"A=own"}}, http.Header{"Cookie": {"A=own; a=jar; b=jar; nameless"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			jar := newJar(t, nil)
			jar.Receive(parseURL(t, "https://example.com/"), []string{"a=jar", "b=jar", "nameless"})
			base := &server{}
			req := request(t, "GET", "https://example.com/")
			req.Header = tt.own.Clone()
			if _, err := (&cookiejar.Transport{Jar: jar, Base: base}).RoundTrip(req); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, base.sent[0].Header); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.own, req.Header); diff != "" {
				t.Errorf("the request's own header (-before +after):\n%s", diff)
			}
		})
	}
}

// http.Client copies the caller's Cookie field to the next hop, with or without a
// jar of its own, which may be the same one.
func TestTransportRotation(t *testing.T) {
	for _, tt := range []struct {
		name, set string
		want      []string
	}{
		{"nothing set", "other=1", []string{"sid=own; kept=own", "sid=own; kept=own; other=1"}},
		{"rotated", "sid=new", []string{"sid=own; kept=own", "kept=own; sid=new"}},
		{"deleted", "sid=; Max-Age=0", []string{"sid=own; kept=own", "kept=own"}},
	} {
		for _, twice := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Client.Jar %v", tt.name, twice), func(t *testing.T) {
				jar := newJar(t, nil)
				base := &server{answer: func(n int, req *http.Request) *http.Response {
					if n == 0 {
						return respond(302, "Location", "/next", "Set-Cookie", tt.set+"; Path=/")
					}
					return respond(200)
				}}
				client := &http.Client{Transport: &cookiejar.Transport{Jar: jar, Base: base}}
				if twice {
					client.Jar = jar
				}
				req := request(t, "GET", "https://example.com/")
				req.Header.Set("Cookie", "sid=own; kept=own")
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				sorted := func(all []string) []string {
					for i, s := range all {
						pairs := strings.Split(s, "; ")
						slices.Sort(pairs)
						all[i] = strings.Join(pairs, "; ")
					}
					return all
				}
				// Who has put a pair there may decide where.
				if diff := cmp.Diff(sorted(slices.Clone(tt.want)), sorted(base.fields("Cookie"))); diff != "" {
					t.Errorf("Cookie (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// http.Client copies from the first request, however many there were since.
func TestTransportRotationLongAgo(t *testing.T) {
	base := &server{answer: func(n int, _ *http.Request) *http.Response {
		switch n {
		case 0:
			return respond(302, "Location", "/1", "Set-Cookie", "sid=new; Path=/")
		case 1, 2:
			return respond(302, "Location", fmt.Sprint("/", n+1))
		}
		return respond(200)
	}}
	client := &http.Client{Transport: &cookiejar.Transport{Jar: newJar(t, nil), Base: base}}
	req := request(t, "GET", "https://example.com/")
	req.Header.Set("Cookie", "sid=own")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if diff := cmp.Diff([]string{"sid=own", "sid=new", "sid=new", "sid=new"}, base.fields("Cookie")); diff != "" {
		t.Errorf("Cookie (-want +got):\n%s", diff)
	}
}

// A redirect whose only cookie was the stale one leaves none.
func TestTransportLeavesNoCookie(t *testing.T) {
	base := &server{answer: func(n int, req *http.Request) *http.Response {
		if n == 0 {
			return respond(302, "Location", "/next", "Set-Cookie", "sid=; Max-Age=0; Path=/")
		}
		return respond(200)
	}}
	client := &http.Client{Transport: &cookiejar.Transport{Jar: newJar(t, nil), Base: base}}
	req := request(t, "GET", "https://example.com/")
	req.Header.Set("Cookie", "sid=own")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if diff := cmp.Diff([]string{"sid=own", ""}, base.fields("Cookie")); diff != "" {
		t.Errorf("Cookie (-want +got):\n%s", diff)
	}
}

// What a decorator outside swallows has been stored.
func TestTransportStoresOfRejections(t *testing.T) {
	var tokens atomic.Int32
	session := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: fmt.Sprint("token-", tokens.Add(1))}, nil
	}}
	base := &server{answer: func(n int, req *http.Request) *http.Response {
		if n == 0 {
			return respond(401, "Set-Cookie", "seen=1")
		}
		return respond(200)
	}}
	jar := newJar(t, nil)
	rt := transport.Chain((&transport.Refresh{Source: session}).Wrap, (&cookiejar.Transport{Jar: jar}).Wrap)(base)
	resp, err := rt.RoundTrip(request(t, "GET", "https://example.com/"))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if diff := cmp.Diff([]string{"", "seen=1"}, base.fields("Cookie")); diff != "" {
		t.Errorf("Cookie (-want +got):\n%s", diff)
	}
}

func TestTransportInFlight(t *testing.T) {
	const session, lasting = "sid=1; Path=/", "id=1; Path=/; Max-Age=60"
	for _, tt := range []struct {
		name  string
		clear func(*cookiejar.Jar)
		want  string // for www.example.com, then
	}{
		{"nothing cleared", func(*cookiejar.Jar) {}, "sid=1; id=1"},
		{"Clear", (*cookiejar.Jar).Clear, ""},
		{"ClearHost", func(j *cookiejar.Jar) { j.ClearHost("www.example.com") }, ""},
		{"ClearHost of the domain above", func(j *cookiejar.Jar) { j.ClearHost("EXAMPLE.com.") }, ""},
		{"ClearHost of another", func(j *cookiejar.Jar) { j.ClearHost("example.net") }, "sid=1; id=1"},
		{"ClearSession", (*cookiejar.Jar).ClearSession, "id=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			jar := newJar(t, nil)
			base := &server{answer: func(n int, _ *http.Request) *http.Response {
				if n == 0 {
					tt.clear(jar) // while the response is on its way
				}
				return respond(200, "Set-Cookie", session, "Set-Cookie", lasting)
			}}
			rt := &cookiejar.Transport{Jar: jar, Base: base}
			u := "https://www.example.com/"
			if _, err := rt.RoundTrip(request(t, "GET", u)); err != nil {
				t.Fatal(err)
			}
			if got := jar.Header(parseURL(t, u)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			// The next request is of today.
			if _, err := rt.RoundTrip(request(t, "GET", u)); err != nil {
				t.Fatal(err)
			}
			if c, ok := jar.Get(parseURL(t, u), "sid"); !ok || c.Value != "1" {
				t.Error("the next response's cookies are not there")
			}
		})
	}
}

// A closing body knows how often it was closed.
type closing struct {
	io.Reader
	closed atomic.Int32
}

func (c *closing) Close() error { c.closed.Add(1); return nil }

func TestTransportErrors(t *testing.T) {
	jar := newJar(t, nil)
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		rt   http.RoundTripper
		url  string
		want error
	}{
		{"no jar", &cookiejar.Transport{}, "https://example.com/", nil},
		{"plain http", &cookiejar.Transport{Jar: jar, Base: &server{}}, "http://example.com/", transport.ErrInsecureOrigin},
		{"the base fails", &cookiejar.Transport{Jar: jar, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
			req.Body.Close()
			return nil, broken
		})}, "https://example.com/", broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := &closing{Reader: strings.NewReader("body")}
			req := request(t, "POST", tt.url)
			req.Body = body
			resp, err := tt.rt.RoundTrip(req)
			if resp != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v", resp, err)
			}
			if n := body.closed.Load(); n != 1 {
				t.Errorf("the body was closed %d times", n)
			}
		})
	}
}

func TestTransportWithoutCredentials(t *testing.T) {
	jar := newJar(t, nil)
	u := parseURL(t, "https://example.com/")
	jar.Receive(u, []string{"a=1"})
	base := &server{answer: func(int, *http.Request) *http.Response { return respond(200, "Set-Cookie", "b=2") }}
	req := request(t, "GET", "https://example.com/")
	req = req.WithContext(transport.WithoutCredentials(req.Context()))
	resp, err := (&cookiejar.Transport{Jar: jar, Base: base}).RoundTrip(req)
	if err != nil || resp.Request != req || base.sent[0] != req {
		t.Errorf("got %v, %v", resp, err)
	}
	if got := jar.Header(u); got != "a=1" || base.sent[0].Header.Get("Cookie") != "" {
		t.Errorf("the jar has %q, sent was %q", got, base.fields("Cookie"))
	}
}

func TestTransportCopiesNothing(t *testing.T) {
	jar := newJar(t, nil)
	base := &server{}
	rt := &cookiejar.Transport{Jar: jar, Base: base}
	for _, own := range []string{"", "x=1;y=2"} {
		req := request(t, "GET", "https://example.com/")
		if own != "" {
			req.Header.Set("Cookie", own)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil || resp.Request != req || base.sent[len(base.sent)-1] != req {
			t.Errorf("Cookie %q: the request that was sent is another, error %v", own, err)
		}
	}
}

// For a URL without a host a jar has nothing, and no place for anything.
func TestTransportStrangeURLs(t *testing.T) {
	jar := newJar(t, nil)
	rt := &cookiejar.Transport{Jar: jar, Base: &server{answer: func(int, *http.Request) *http.Response {
		return respond(200, "Set-Cookie", "a=1")
	}}}
	for _, u := range []*url.URL{nil, {}, {Scheme: "https"}, {Scheme: "ftp", Host: "example.com"}} {
		if _, err := rt.RoundTrip(&http.Request{Method: "GET", URL: u}); err == nil {
			t.Errorf("%v: no error", u)
		}
	}
	for c := range jar.All() {
		t.Errorf("stored %v", c)
	}
}
