package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

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

func TestAudienceComparesOrigins(t *testing.T) {
	tests := []struct {
		name string
		a, b string
		want bool
	}{
		{"path, query and fragment", "https://example.com/a?b#c", "https://example.com/d?e#f", true},
		{"letter case", "https://example.com/", "HTTPS://EXAMPLE.Com/", true},
		{"trailing dot", "https://example.com/", "https://example.com./", true},
		{"trailing dot and port", "https://example.com:443/", "https://example.com./", true},
		{"default port of https", "https://example.com/", "https://example.com:443/", true},
		{"default port of http", "http://example.com/", "http://example.com:80/", true},
		{"empty port", "https://example.com/", "https://example.com:/", true},
		{"other port", "https://example.com/", "https://example.com:8443/", false},
		{"default port of the other scheme", "https://example.com/", "https://example.com:80/", false},
		{"same port, other scheme", "https://example.com:8080/", "http://example.com:8080/", false},
		{"scheme", "https://example.com/", "http://example.com/", false},
		{"userinfo", "https://example.com/", "https://user:password@example.com/", true},
		{"host as userinfo", "https://example.com/", "https://example.com@evil.com/", false},
		{"host and port as userinfo", "https://example.com/", "https://example.com:443@evil.com/", false},
		{"host in the path", "https://example.com/", "https://evil.com/https://example.com/", false},
		{"subdomain", "https://example.com/", "https://api.example.com/", false},
		{"parent domain", "https://api.example.com/", "https://example.com/", false},
		{"same ending", "https://example.com/", "https://evilexample.com/", false},
		{"same beginning", "https://example.com/", "https://example.com.evil.com/", false},
		{"underscore", "https://a_b.example.com/", "https://A_B.example.com/", true},
		{"IDN and punycode", "https://bücher.example/", "https://xn--bcher-kva.example/", true},
		{"IDN in capitals", "https://BÜCHER.example/", "https://xn--bcher-kva.example/", true},
		{"IDN, trailing dot", "https://bücher.example./", "https://XN--BCHER-KVA.example/", true},
		{"IDN and ideographic full stop", "https://例え。jp/", "https://xn--r8jz45g.jp./", true},
		{"IDN and its look-alike", "https://аpple.com/", "https://apple.com/", false},
		{"full-width letters", "https://ｅｘａｍｐｌｅ.com/", "https://example.com/", true},
		{"IPv4", "https://192.0.2.1/", "https://192.0.2.1:443/", true},
		{"other IPv4", "https://192.0.2.1/", "https://192.0.2.11/", false},
		{"IPv6 spellings", "https://[2001:db8::1]/", "https://[2001:0DB8:0:0:0:0:0:1]:443/", true},
		{"other IPv6", "https://[2001:db8::1]/", "https://[2001:db8::2]/", false},
		{"IPv6 port", "https://[2001:db8::1]/", "https://[2001:db8::1]:8443/", false},
	}
	// Plain http is another test's business.
	audience := &transport.Audience{AllowHTTP: true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, urls := range [][]string{{tt.a, tt.b}, {tt.b, tt.a}} {
				got, err := audience.Allows(chain(t, urls...))
				if got != tt.want || err != nil {
					t.Errorf("%s then %s: got %v, %v, want %v", urls[0], urls[1], got, err, tt.want)
				}
			}
			if tt.want && strings.HasPrefix(tt.a, "https:") {
				if got, err := (*transport.Audience)(nil).Allows(chain(t, tt.a, tt.b)); !got || err != nil {
					t.Errorf("by nil: got %v, %v", got, err)
				}
			}
		})
	}
}

func TestAudienceOrigins(t *testing.T) {
	wild := []string{"https://*.example.com"}
	tests := []struct {
		name    string
		origins []string
		url     string
		want    bool
	}{
		{"listed", []string{"https://api.example.com"}, "https://api.example.com/", true},
		{"second of two", []string{"https://a.example.com", "https://b.example.com"}, "https://b.example.com/", true},
		{"not listed", []string{"https://a.example.com", "https://b.example.com"}, "https://c.example.com/", false},
		{"with a slash", []string{"https://api.example.com/"}, "https://api.example.com/v1", true},
		{"letter case and dot", []string{"HTTPS://API.Example.Com."}, "https://api.example.com/", true},
		{"default port", []string{"https://api.example.com:443"}, "https://api.example.com/", true},
		{"port", []string{"https://api.example.com:8443"}, "https://api.example.com:8443/", true},
		{"port missing in URL", []string{"https://api.example.com:8443"}, "https://api.example.com/", false},
		{"port missing in origin", []string{"https://api.example.com"}, "https://api.example.com:8443/", false},
		{"IDN", []string{"https://bücher.example"}, "https://xn--bcher-kva.example/", true},
		{"IPv6", []string{"https://[2001:db8:0::1]"}, "https://[2001:DB8::1]/", true},
		{"scheme", []string{"https://api.example.com"}, "http://api.example.com/", false},
		{"subdomain of listed", []string{"https://example.com"}, "https://api.example.com/", false},
		{"wildcard", wild, "https://api.example.com/", true},
		{"wildcard in capitals", []string{"https://*.EXAMPLE.com."}, "https://Api.Example.com./", true},
		{"wildcard, deeper", wild, "https://v1.api.example.com/", true},
		{"wildcard, the domain itself", wild, "https://example.com/", false},
		{"wildcard, same ending", wild, "https://evilexample.com/", false},
		{"wildcard, same beginning", wild, "https://api.example.com.evil.com/", false},
		{"wildcard, port", wild, "https://api.example.com:8443/", false},
		{"wildcard with port", []string{"https://*.example.com:8443"}, "https://api.example.com:8443/", true},
		{"wildcard with port, default port", []string{"https://*.example.com:8443"}, "https://api.example.com/", false},
		{"wildcard, scheme", wild, "http://api.example.com:443/", false},
		{"wildcard, IDN", []string{"https://*.bücher.example"}, "https://a.xn--bcher-kva.example/", true},
		{"wildcard, deeper IDN", wild, "https://bücher.example.com/", true},
		{"wildcard, host as userinfo", wild, "https://api.example.com@evil.com/", false},
		{"no Origins at all", []string{}, "https://anything.example.org/", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			audience := &transport.Audience{Origins: tt.origins}
			got, err := audience.Allows(newRequest(t, http.MethodGet, tt.url, nil))
			if got != tt.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestAudienceIgnoresHostField(t *testing.T) {
	audience := &transport.Audience{Origins: []string{"https://api.example.com"}}
	for u, want := range map[string]bool{"https://api.example.com/": true, "https://evil.com/": false} {
		req := newRequest(t, http.MethodGet, u, nil)
		for _, host := range []string{"api.example.com", "evil.com", ""} {
			req.Host = host
			if got, err := audience.Allows(req); got != want || err != nil {
				t.Errorf("%s with Host %q: got %v, %v, want %v", u, host, got, err, want)
			}
		}
	}
}

func TestAudienceInvalidOrigins(t *testing.T) {
	for _, origin := range []string{
		"", "api.example.com", "api.example.com:443", "//api.example.com", "ftp://api.example.com", "https://", "https://:443",
		"https://api.example.com/v1", "https://api.example.com?q", "https://api.example.com?", "https://api.example.com#f",
		"https://hunter2@api.example.com", "https://user:hunter2@api.example.com", "https://user:hunter2@", "https://user:hunter2@[",
		"https://*", "https://*.", "https://*:443", "https://a.*.com", "https://*.*.com", "https://*a.example.com", "https://a*.example.com",
		"https://example.*", "https://*.192.0.2.1", "https://*.[::1]", "https://*.1", "https://api.example.com:port", "https://[::1",
		"https://\u00a0", "*", "*.example.com", " https://api.example.com", "https://user:hunter2@%zz", "ht\x00tps://hunter2",
	} {
		t.Run(origin, func(t *testing.T) {
			audience := &transport.Audience{Origins: []string{"https://good.example.com", origin}}
			// Even a request that the good one includes: better no request than a
			// guess at what was meant.
			for range 2 {
				ok, err := audience.Allows(newRequest(t, http.MethodGet, "https://good.example.com/", nil))
				if ok || err == nil {
					t.Fatalf("got %v, %v, want an error", ok, err)
				}
				if !strings.Contains(err.Error(), "Origins[1]") {
					t.Errorf("error does not name the index: %v", err)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error repeats the userinfo: %v", err)
				}
			}
		})
	}
}

func TestAudienceLoopback(t *testing.T) {
	tests := []struct {
		host string
		want bool
	}{
		{"127.0.0.1", true},
		{"127.0.0.1:8080", true},
		{"127.9.9.9", true},
		{"127.255.255.255", true},
		{"[::1]", true},
		{"[::1]:8080", true},
		{"[0:0:0:0:0:0:0:1]", true},
		{"localhost", true},
		{"localhost:8080", true},
		{"LOCALHOST.", true},
		{"a.localhost", true},
		{"b.a.LocalHost", true},
		{"127.1", false},
		{"127.0.0.1.evil.com", false},
		{"127.evil.com", false},
		{"127.0.0.256", false},
		{"127.0.0.01", false},
		{"127.0.0.1.1", false},
		{"0x7f.1", false},
		{"0x7f000001", false},
		{"2130706433", false},
		{"0.0.0.0", false},
		{"[::]", false},
		{"[::2]", false},
		{"128.0.0.1", false},
		{"localhost.evil.com", false},
		{"evillocalhost", false},
		{"localhost.localdomain", false},
		{"localhost@evil.com", false},
		{"10.0.0.1", false},
		{"[fe80::1]", false},
		{"example.com", false},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			req := newRequest(t, http.MethodGet, "http://"+tt.host+"/", nil)
			for _, audience := range []*transport.Audience{nil, {}, {Origins: []string{"http://" + strings.TrimPrefix(tt.host, "localhost@")}}} {
				got, err := audience.Allows(req)
				if got != tt.want || errors.Is(err, transport.ErrInsecureOrigin) == tt.want {
					t.Errorf("%+v: got %v, %v, want %v", audience, got, err, tt.want)
				}
			}
			if got, err := (&transport.Audience{AllowHTTP: true}).Allows(req); !got || err != nil {
				t.Errorf("with AllowHTTP: got %v, %v", got, err)
			}
		})
	}
}

// AllowHTTP is about http, and no licence for whatever else.
func TestAudienceOtherSchemes(t *testing.T) {
	for _, scheme := range []string{"ftp", "ws", "file", "httpx", ""} {
		for _, host := range []string{"example.com", "localhost"} {
			req := &http.Request{URL: &url.URL{Scheme: scheme, Host: host}}
			if ok, err := (&transport.Audience{AllowHTTP: true}).Allows(req); ok || !errors.Is(err, transport.ErrInsecureOrigin) {
				t.Errorf("%q://%s: got %v, %v", scheme, host, ok, err)
			}
		}
	}
}

func TestErrInsecureOriginShowsOriginOnly(t *testing.T) {
	for u, want := range map[string]string{
		"http://user:hunter2@example.com/hunter2?key=hunter2": "transport: credentials are sent over https only: to http://example.com",
		"http://[2001:db8::1]:8080/hunter2":                   "transport: credentials are sent over https only: to http://[2001:db8::1]:8080",
	} {
		_, err := (*transport.Audience)(nil).Allows(newRequest(t, http.MethodGet, u, nil))
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAudienceOfBrokenChain(t *testing.T) {
	ring := chain(t, apiURL, apiURL)
	ring.Response.Request.Response = &http.Response{Request: ring}
	self := get(t)
	self.Response = &http.Response{Request: self}
	noURL := chain(t, apiURL, apiURL)
	noURL.Response.Request.URL = nil
	missing := get(t)
	missing.Response = &http.Response{}
	further := chain(t, apiURL, apiURL, apiURL)
	further.Response.Request.Response.Request = nil
	for name, req := range map[string]*http.Request{
		"ring": ring, "ring of one": self, "a hop without URL": noURL, "previous hop unknown": missing, "first hop unknown": further,
	} {
		for _, audience := range []*transport.Audience{nil, {Origins: []string{"https://api.example.com"}}} {
			if ok, err := audience.Allows(req); ok || err != nil {
				t.Errorf("%s: %+v allows it: %v, %v", name, audience, ok, err)
			}
		}
	}
}

// A seen is one request as a server of the world saw it.
type seen struct {
	URL    string
	Token  bool // in Authorization
	Basic  string
	Header http.Header
	Body   string
}

// A world is a TLS server and a plain one that are every host there is. They
// redirect by table.
type world struct {
	*http.Transport
	redirects map[string]string
	code      int // of redirects
	last      int // status of all else

	mu   sync.Mutex
	seen []seen
}

func newWorld(t *testing.T) *world {
	w := &world{code: http.StatusFound, last: http.StatusOK, redirects: map[string]string{}}
	secure, plain := httptest.NewTLSServer(w), httptest.NewServer(w)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	w.Transport = secure.Client().Transport.(*http.Transport).Clone()
	w.Transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		server := secure
		if strings.HasSuffix(addr, ":80") {
			server = plain
		}
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	w.Transport.TLSClientConfig = &tls.Config{RootCAs: w.Transport.TLSClientConfig.RootCAs, ServerName: "example.com"}
	t.Cleanup(w.Transport.CloseIdleConnections)
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	body, _ := io.ReadAll(r.Body)
	s := seen{URL: scheme + "://" + r.Host + r.URL.RequestURI(), Header: r.Header, Body: string(body)}
	auth := r.Header.Get("Authorization")
	if basic, ok := strings.CutPrefix(auth, "Basic "); ok {
		s.Basic = basic
	}
	s.Token = auth == "Bearer secret-token"
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
	if to := w.redirects[s.URL]; to != "" {
		rw.Header().Set("Location", to)
		rw.WriteHeader(w.code)
		return
	}
	rw.WriteHeader(w.last)
	fmt.Fprint(rw, "the end")
}

// follow sends a request for hops[0] by a client that is redirected to each of
// the hops in turn.
func (w *world) follow(t *testing.T, rt http.RoundTripper, hops []string, change func(*http.Request)) *http.Response {
	t.Helper()
	req := newRequest(t, http.MethodPost, hops[0], strings.NewReader("payload"))
	from := req.URL
	for _, hop := range hops[1:] {
		seen := *from
		seen.User = nil
		w.redirects[seen.String()] = hop
		to, err := from.Parse(hop)
		if err != nil {
			t.Fatal(err)
		}
		from = to
	}
	if change != nil {
		change(req)
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := slurp(t, resp); got != "the end" {
		t.Errorf("the last hop's answer is %q", got)
	}
	if len(w.seen) != len(hops) {
		t.Fatalf("%d requests, want one for each of %d hops", len(w.seen), len(hops))
	}
	return resp
}

func (w *world) wantTokenOn(t *testing.T, want []bool) {
	t.Helper()
	var got []bool
	for _, s := range w.seen {
		got = append(got, s.Token)
		if !s.Token && strings.Contains(fmt.Sprint(s), "secret-token") {
			t.Errorf("%s saw the token: %v", s.URL, s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hops with the token (-want +got):\n%s", diff)
	}
}

func TestRedirects(t *testing.T) {
	both := &transport.Audience{Origins: []string{"https://api.example.com", "https://cdn.example.com"}}
	tests := []struct {
		name     string
		audience *transport.Audience
		hops     []string
		want     []bool
	}{
		{"same origin", nil, []string{"https://api.example.com/0", "https://api.example.com/1", "https://API.example.com.:443/2"}, []bool{true, true, true}},
		{"other host", nil, []string{"https://api.example.com/0", "https://evil.com/1", "https://evil.com/2"}, []bool{true, false, false}},
		{"there and back", nil, []string{"https://api.example.com/0", "https://evil.com/1", "https://api.example.com/2", "https://api.example.com/3"}, []bool{true, false, false, false}},
		{"other port", nil, []string{"https://api.example.com/0", "https://api.example.com:8443/1"}, []bool{true, false}},
		{"https to http", nil, []string{"https://api.example.com/0", "http://api.example.com/1"}, []bool{true, false}},
		{"https to http and back", nil, []string{"https://api.example.com/0", "http://api.example.com/1", "https://api.example.com/2"}, []bool{true, false, false}},
		{"https to http, allowed", &transport.Audience{AllowHTTP: true}, []string{"https://api.example.com/0", "http://api.example.com/1"}, []bool{true, false}},
		{"http to https", &transport.Audience{AllowHTTP: true}, []string{"http://api.example.com/0", "https://api.example.com/1"}, []bool{true, false}},
		// net/http leaves Authorization in place for subdomains.
		{"subdomain", nil, []string{"https://example.com/0", "https://api.example.com/1"}, []bool{true, false}},
		{"parent domain", nil, []string{"https://api.example.com/0", "https://example.com/1"}, []bool{true, false}},
		{"userinfo of the server's", nil, []string{"https://api.example.com/0", "https://api.example.com:443@evil.com/1"}, []bool{true, false}},
		{"within Origins", both, []string{"https://api.example.com/0", "https://cdn.example.com/1", "https://api.example.com/2"}, []bool{true, true, true}},
		{"Origins left and back", both, []string{"https://api.example.com/0", "https://evil.com/1", "https://cdn.example.com/2", "https://api.example.com/3"}, []bool{true, false, false, false}},
		{"into Origins from outside", both, []string{"https://www.example.com/0", "https://api.example.com/1"}, []bool{false, false}},
		{"within a wildcard", &transport.Audience{Origins: []string{"https://*.example.com"}}, []string{"https://a.example.com/0", "https://c.b.example.com/1", "https://example.com/2", "https://a.example.com/3"}, []bool{true, true, false, false}},
		{"both schemes listed, http refused", &transport.Audience{Origins: []string{"https://api.example.com", "http://api.example.com"}}, []string{"https://api.example.com/0", "http://api.example.com/1"}, []bool{true, false}},
		{"both schemes listed, http allowed", &transport.Audience{Origins: []string{"https://api.example.com", "http://api.example.com"}, AllowHTTP: true}, []string{"https://api.example.com/0", "http://api.example.com/1", "https://api.example.com/2"}, []bool{true, true, true}},
		{"loopback to elsewhere", nil, []string{"http://localhost/0", "http://api.example.com/1"}, []bool{true, false}},
	}
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorld(t)
				w.follow(t, make(parts{source: tokens("secret-token"), audience: tt.audience, base: w}), tt.hops, nil)
				w.wantTokenOn(t, tt.want)
			})
		}
		// 307 sends the method and the body again.
		t.Run("with a body", func(t *testing.T) {
			w := newWorld(t)
			w.code = http.StatusTemporaryRedirect
			w.follow(t, make(parts{source: tokens("secret-token"), base: w}), []string{"https://api.example.com/0", "https://api.example.com/1", "https://evil.com/2"}, nil)
			w.wantTokenOn(t, []bool{true, true, false})
			for _, s := range w.seen {
				if s.Body != "payload" {
					t.Errorf("%s got body %q", s.URL, s.Body)
				}
			}
		})
	})
}

// A RoundTripper below may send a request of its own making and name that in the
// response. The chain must not end there: evil.com would be taken for its
// beginning.
func TestRedirectsPastAnInnerLayer(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		w := newWorld(t)
		inner := transport.Func(func(req *http.Request) (*http.Response, error) {
			own, err := http.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), req.Body)
			if err != nil {
				return nil, err
			}
			own.Header = req.Header.Clone()
			return w.RoundTrip(own)
		})
		w.follow(t, make(parts{source: tokens("secret-token"), base: inner}),
			[]string{"https://api.example.com/0", "https://evil.com/1", "https://evil.com/2"}, nil)
		w.wantTokenOn(t, []bool{true, false, false})
	})
}

// What a Location has for userinfo is the server's choice.
func TestRedirectToUserinfo(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		w := newWorld(t)
		w.follow(t, make(parts{source: tokens("secret-token"), base: w}),
			[]string{"https://api.example.com/0", "https://user:pw@api.example.com/1", "/2", "https://user:pw@evil.com/3"}, nil)
		w.wantTokenOn(t, []bool{true, true, true, false})
		for _, s := range w.seen[:3] {
			if s.Basic != "" {
				t.Errorf("%s got the userinfo in place of the token", s.URL)
			}
		}
	})
}

func TestCallersOwnAuthorization(t *testing.T) {
	home, there := "https://api.example.com/0", "https://api.example.com/1"
	tests := []struct {
		name   string
		hops   []string
		change func(*http.Request)
		want   []string
	}{
		{
			"SetBasicAuth",
			[]string{home, there},
			func(req *http.Request) { req.SetBasicAuth("user", "pw") },
			[]string{"dXNlcjpwdw==", "dXNlcjpwdw=="},
		},
		{
			// net/http drops it on the way out, which is no reason to send ours.
			"SetBasicAuth, there and back",
			[]string{home, "https://evil.com/", "https://api.example.com/2"},
			func(req *http.Request) { req.SetBasicAuth("user", "pw") },
			[]string{"dXNlcjpwdw==", "", ""},
		},
		{
			"userinfo in the URL",
			[]string{"https://user:pw@api.example.com/0", "/1"},
			nil,
			[]string{"dXNlcjpwdw==", "dXNlcjpwdw=="},
		},
		{
			"userinfo in the URL, dropped by the server",
			[]string{"https://user:pw@api.example.com/0", there},
			nil,
			[]string{"dXNlcjpwdw==", ""},
		},
		{
			"userinfo in the URL, replaced by the server",
			[]string{"https://user:pw@api.example.com/0", "https://other:pw@api.example.com/1"},
			nil,
			[]string{"dXNlcjpwdw==", "b3RoZXI6cHc="},
		},
	}
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorld(t)
				w.last = http.StatusUnauthorized
				source := tokens("secret-token", "secret-token-2")
				resp := w.follow(t, make(parts{source: source, base: w}), tt.hops, tt.change)
				var got []string
				for _, s := range w.seen {
					got = append(got, s.Basic)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("Basic credentials (-want +got):\n%s", diff)
				}
				w.wantTokenOn(t, none(len(tt.hops)))
				if resp.StatusCode != http.StatusUnauthorized || source.renewed.Load() != 0 {
					t.Errorf("status %d, %d renewals, want the 401 and none", resp.StatusCode, source.renewed.Load())
				}
			})
		}
	})
}

// none returns n times false: no hop may see the token.
func none(n int) []bool { return make([]bool, n) }

// On a hop that the caller's CheckRedirect gave an Authorization, that stays.
func TestAuthorizationOfCheckRedirect(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		w := newWorld(t)
		w.redirects["https://api.example.com/0"] = "/1"
		client := &http.Client{
			Transport: make(parts{source: tokens("secret-token"), base: w}),
			CheckRedirect: func(req *http.Request, _ []*http.Request) error {
				req.SetBasicAuth("user", "pw")
				return nil
			},
		}
		resp, err := client.Get("https://api.example.com/0")
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, resp)
		w.wantTokenOn(t, []bool{true, false})
		if w.seen[1].Basic == "" {
			t.Error("the second hop lost its own Authorization")
		}
	})
}

func TestForeign401StartsNoRenewal(t *testing.T) {
	tests := []struct {
		name     string
		audience *transport.Audience
		hops     []string
	}{
		{"by redirect", nil, []string{"https://api.example.com/0", "https://evil.com/1"}},
		{"back home", nil, []string{"https://api.example.com/0", "https://evil.com/1", "https://api.example.com/2"}},
		{"by URL", &transport.Audience{Origins: []string{"https://api.example.com"}}, []string{"https://evil.com/0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.last = http.StatusUnauthorized
			source := tokens("secret-token", "secret-token-2")
			var events []transport.EventKind
			rt := &transport.Refresh{
				Source: source, Audience: tt.audience, Base: w, ReplayBuffer: 1 << 10,
				OnEvent: func(_ context.Context, e transport.Event) { events = append(events, e.Kind) },
			}
			resp := w.follow(t, rt, tt.hops, nil)
			if resp.StatusCode != http.StatusUnauthorized || source.renewed.Load() != 0 {
				t.Errorf("status %d, %d renewals, want the 401 and none", resp.StatusCode, source.renewed.Load())
			}
			if len(events) == 0 {
				t.Error("no event")
			}
			for _, kind := range events {
				if kind != transport.EventWithheld {
					t.Errorf("event %q, want only %q", kind, transport.EventWithheld)
				}
			}
		})
	}
}

// httptest's own client, as users have it: every example.com is the server.
func TestRedirectToSubdomainByHTTPTest(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		var auths []string
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			auths = append(auths, r.Host+" "+r.Header.Get("Authorization"))
			if r.Host == "example.com" {
				http.Redirect(w, r, "https://evil.example.com/", http.StatusFound)
			}
		}))
		defer server.Close()
		client := transport.Client(server.Client(), make(parts{source: tokens("token")}).Wrap)
		resp, err := client.Get("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, resp)
		if diff := cmp.Diff([]string{"example.com Bearer token", "evil.example.com "}, auths); diff != "" {
			t.Errorf("Authorization (-want +got):\n%s", diff)
		}
	})
}

func TestAudienceIsSafeForConcurrentUse(t *testing.T) {
	audience := &transport.Audience{Origins: []string{"https://api.example.com", "https://*.example.org"}}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if ok, err := audience.Allows(get(t)); !ok || err != nil {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
}
