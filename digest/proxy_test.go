package digest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// newProxy starts a forward proxy with g in front of it, which hands plain http
// to forward, or on if that is nil.
func newProxy(t *testing.T, g *guard, forward http.Handler) *httptest.Server {
	t.Helper()
	g.proxy = true
	direct := &http.Transport{}
	t.Cleanup(direct.CloseIdleConnections)
	if forward == nil {
		forward = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RequestURI = ""
			r.Header.Del("Proxy-Authorization")
			resp, err := direct.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			maps.Copy(w.Header(), resp.Header)
			w.WriteHeader(resp.StatusCode)
			io.Copy(w, resp.Body)
		})
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			connect(t, g, w, r)
		case !r.URL.IsAbs():
			t.Errorf("a proxy was sent the request-target %q", r.RequestURI)
		default:
			g.before(forward).ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func connect(t *testing.T, g *guard, w http.ResponseWriter, r *http.Request) {
	if status := g.serve(r.Method, r.RequestURI, r.Header, w.Header(), ""); status != http.StatusOK {
		w.WriteHeader(status)
		io.Copy(w, g.refused())
		return
	}
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		t.Error(err)
		return
	}
	defer far.Close()
	near, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer near.Close()
	fmt.Fprintf(near, "HTTP/1.1 200 OK\r\nProxy-Authentication-Info: %s\r\n\r\n", w.Header().Get("Proxy-Authentication-Info"))
	go func() {
		io.Copy(far, rw)
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(near, far)
}

// through returns a Proxy with the right password, whose http.Transport goes
// through proxy and trusts servers.
func through(t *testing.T, proxy *httptest.Server, servers ...*httptest.Server) (*digest.Proxy, *http.Transport) {
	t.Helper()
	if proxy.URL == "" {
		proxy.Start()
	}
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &digest.Proxy{Username: username, Password: password}
	base := &http.Transport{
		Proxy:                  http.ProxyURL(u),
		GetProxyConnectHeader:  p.GetProxyConnectHeader,
		OnProxyConnectResponse: p.OnProxyConnectResponse,
		TLSClientConfig:        &tls.Config{},
	}
	for _, server := range servers {
		base.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	t.Cleanup(base.CloseIdleConnections)
	p.Base = base
	return p, base
}

func newTLSServer(t *testing.T, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of tunnels that are given up
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// post returns a request whose body can be had again.
func post(t *testing.T, url string) *http.Request {
	return newRequest(t, http.MethodPost, url, strings.NewReader("a body"))
}

// The digest-uri has absolute-form.
func TestProxyTargets(t *testing.T) {
	var got []string
	g := newGuard(t)
	proxy := newProxy(t, g, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.RequestURI) }))
	p, _ := through(t, proxy)
	tests := []struct {
		url, want string
		change    func(*http.Request)
	}{
		{"http://example.com", "http://example.com/", nil},
		{"http://Example.com:80/a/../b?c#d", "http://Example.com:80/a/../b?c", nil},
		{"http://example.com?", "http://example.com/?", nil},
		{`http://example.com/"\?"\`, `http://example.com/%22%5C?"\`, nil},
		{"http://user:password@example.com/a", "http://example.com/a", nil},
		{"http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4", nil},
		{"http://[::1]:8080/", "http://[::1]:8080/", nil},
		{"http://[fe80::1%25lo]/", "http://[fe80::1]/", nil},
		{"http://[fe80::1%25lo]:8080/", "http://[fe80::1]:8080/", nil},
		{"http://example.com/a", "http://virtual.example.com:81/a", func(req *http.Request) { req.Host = "virtual.example.com:81" }},
		{"http://example.com/a", "http://xn--bcher-kva.example/a", func(req *http.Request) { req.Host = "bücher.example" }},
		{"http://example.com", "http://example.com/a", func(req *http.Request) { req.Host = "" }},
		{"http://example.com", "http://example.com/a%2Fb?c", func(req *http.Request) { req.URL.Opaque, req.URL.RawQuery = "//example.com/a%2Fb", "c" }},
	}
	var want []string
	for _, tt := range tests {
		req := newRequest(t, http.MethodGet, tt.url, nil)
		if tt.change != nil {
			tt.change(req)
		}
		if req.Host == "" {
			req.URL.Path = "/a"
		}
		resp, err := p.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		wantResponse(t, resp, http.StatusOK, "")
		want = append(want, tt.want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request-targets (-want +got):\n%s", diff)
	}
	g.wantCounts(t)
}

func TestProxyPlain(t *testing.T) {
	server := httptest.NewServer(echo)
	t.Cleanup(server.Close)
	g := newGuard(t)
	g.extra = `, domain="/elsewhere"` // has no meaning here (RFC 7616 section 3.3)
	p, _ := through(t, newProxy(t, g, nil))
	for i, want := range [][]string{{"bare", "n1/1 ok"}, {"n1/2 ok"}, {"n1/3 stale", "n2/1 ok"}, {"n2/2 wrong", "n3/1 wrong"}, {"n4/1 wrong"}} {
		status, body := http.StatusOK, "a body"
		switch i {
		case 2:
			g.expire()
		case 3, 4:
			g.users[username] = "changed"
			status, body = http.StatusProxyAuthRequired, refusal
		}
		req := post(t, fmt.Sprintf("%s/%d/", server.URL, i))
		before := req.Header.Clone()
		resp, err := p.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		wantResponse(t, resp, status, body)
		g.wantLog(t, want...)
		if diff := cmp.Diff(before, req.Header); diff != "" || resp.Request != req {
			t.Errorf("the response's request is the caller's: %v; header (-before +after):\n%s", resp.Request == req, diff)
		}
	}
	g.users[username] = password
	g.expire()
	req := newRequest(t, http.MethodPost, server.URL, io.MultiReader(strings.NewReader("a stream")))
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wantResponse(t, resp, http.StatusProxyAuthRequired, refusal)
	req = newRequest(t, http.MethodPost, server.URL, io.MultiReader(strings.NewReader("a stream")))
	if resp, err = p.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	wantResponse(t, resp, http.StatusOK, "a stream")
	g.wantLog(t, "n5/1 stale", "n6/1 ok")
}

func TestProxyProof(t *testing.T) {
	plain, secure := httptest.NewServer(echo), newTLSServer(t, echo)
	t.Cleanup(plain.Close)
	proofs := map[string]func(string, map[string]string) string{
		"right": func(right string, _ map[string]string) string { return "rspauth=" + right },
		"wrong": func(string, map[string]string) string { return "rspauth=0" },
	}
	for name, proof := range proofs {
		for _, url := range []string{plain.URL, secure.URL} {
			t.Run(name+" "+url[:5], func(t *testing.T) {
				g := newGuard(t)
				g.next, g.uses, g.proof = 1, 1, proof
				p, base := through(t, newProxy(t, g, nil), secure)
				base.DisableKeepAlives = true
				for range 2 {
					resp, err := p.RoundTrip(post(t, url))
					switch {
					case name == "wrong":
						if resp != nil || !errors.Is(err, digest.ErrServerAuth) {
							t.Errorf("got %v, %v, want %v", resp, err, digest.ErrServerAuth)
						}
					case err != nil:
						t.Error(err)
					default:
						wantResponse(t, resp, http.StatusOK, "a body")
					}
				}
				log := []string{"bare", "n1/1 ok", "n2/1 ok"}
				if name == "wrong" {
					log = []string{"bare", "n1/1 ok", "bare", "n3/1 ok", "bare"}
					resp, err := p.RoundTrip(newRequest(t, http.MethodPost, url, io.MultiReader(strings.NewReader("a stream"))))
					if (err != nil) != (url == secure.URL) {
						t.Errorf("a request without GetBody: got %v, %v", resp, err)
					}
					if err == nil {
						wantResponse(t, resp, http.StatusProxyAuthRequired, refusal)
					}
				}
				g.wantLog(t, log...)
			})
		}
	}
}

// Who is not answered, though it asks: whatever is not reached through a proxy
// of the http.Transport's, whose URL has no userinfo.
func TestProxyNotAsked(t *testing.T) {
	var got []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+strings.Join(r.Header.Values("Proxy-Authorization"), ", "))
		w.Header().Set("Proxy-Authenticate", `Digest realm="r", nonce="n", qop=auth`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		io.WriteString(w, refusal)
	})
	plain, secure := httptest.NewServer(handler), newTLSServer(t, handler)
	t.Cleanup(plain.Close)
	user, _ := url.Parse(plain.URL)
	user.User = url.UserPassword("u", "p")
	own := func(req *http.Request) *http.Request {
		req.Header["proxy-authorization"] = []string{"Own"}
		return req
	}
	without := func(req *http.Request) *http.Request {
		return req.WithContext(transport.WithoutCredentials(req.Context()))
	}
	tests := []struct {
		name, url string
		change    func(*http.Request) *http.Request
		proxy     func(*http.Request) (*url.URL, error)
		want      string
	}{
		{"no proxy", plain.URL, nil, nil, "GET "},
		{"no proxy, https", secure.URL, nil, nil, "GET "},
		{"no proxy for this one", plain.URL, nil, func(*http.Request) (*url.URL, error) { return nil, nil }, "GET "},
		{"no proxy for this one, https", secure.URL, nil, func(*http.Request) (*url.URL, error) { return nil, nil }, "GET "},
		{"userinfo", "http://example.com/", nil, http.ProxyURL(user), "GET Basic dTpw"},
		{"userinfo, https", "https://example.com/", nil, http.ProxyURL(user), "CONNECT Basic dTpw"},
		{"own field", "http://example.com/", own, http.ProxyURL(&url.URL{Scheme: "http", Host: user.Host}), "GET Own"},
		{"own field, https", "https://example.com/", own, http.ProxyURL(&url.URL{Scheme: "http", Host: user.Host}), "CONNECT "},
		{"WithoutCredentials", "http://example.com/", without, http.ProxyURL(&url.URL{Scheme: "http", Host: user.Host}), "GET "},
		{"WithoutCredentials, https", "https://example.com/", without, http.ProxyURL(&url.URL{Scheme: "http", Host: user.Host}), "CONNECT "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got = nil
			p, base := through(t, plain, secure)
			base.Proxy = tt.proxy
			req := newRequest(t, http.MethodGet, tt.url, nil)
			if tt.change != nil {
				req = tt.change(req)
			}
			resp, err := p.RoundTrip(req)
			if strings.HasPrefix(tt.want, "CONNECT") {
				if resp != nil || fmt.Sprint(err) != "Proxy Authentication Required" {
					t.Errorf("got %v, %v", resp, err)
				}
			} else if err != nil {
				t.Error(err)
			} else {
				wantResponse(t, resp, http.StatusProxyAuthRequired, refusal)
			}
			if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// wrapper is somebody's decorator.
type wrapper struct {
	http.RoundTripper
	inner http.RoundTripper
}

func (w *wrapper) Unwrap() http.RoundTripper { return w.inner }

func TestProxyBase(t *testing.T) {
	server := httptest.NewServer(echo)
	t.Cleanup(server.Close)
	g := newGuard(t)
	p, base := through(t, newProxy(t, g, nil))
	p.Base = &wrapper{base, &wrapper{base, base}}
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	g.wantLog(t, "bare", "n1/1 ok")

	ring := &wrapper{}
	ring.inner = ring
	errNoProxy := errors.New("no proxy")
	for name, tt := range map[string]struct {
		base http.RoundTripper
		want string
	}{
		"not an http.Transport": {transport.Func(nil), "digest: Proxy.Base does not lead to an http.Transport"},
		"nor below":             {&wrapper{base, transport.Func(nil)}, "digest: Proxy.Base does not lead to an http.Transport"},
		"a ring":                {ring, "digest: Proxy.Base does not lead to an http.Transport"},
		"Proxy fails":           {&http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, errNoProxy }}, "no proxy"},
		"a proxy without host":  {&http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http"})}, "digest: the proxy's URL: request URL has no host"},
	} {
		req, b := replayable(t, "a body")
		req.URL.Scheme = "http"
		resp, err := (&digest.Proxy{Username: username, Base: tt.base}).RoundTrip(req)
		if resp != nil || fmt.Sprint(err) != tt.want {
			t.Errorf("%s: got %v, %v, want %s", name, resp, err, tt.want)
		}
		b.wantEachClosedOnce(t)
	}
}

// A proxy for SOCKS is not one of these, and a request without URL none at all.
func TestProxyLeavesOthersToBase(t *testing.T) {
	for u, scheme := range map[*url.URL]string{
		{Scheme: "http", Host: "127.0.0.1:0"}: "socks5", {Scheme: "https", Host: "127.0.0.1:0"}: "socks5", nil: "http",
	} {
		base := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: "127.0.0.1:0"})}
		p := &digest.Proxy{Credentials: func(context.Context) (string, string, error) {
			t.Error("asked for credentials")
			return "", "", nil
		}, Base: base}
		req, b := replayable(t, "a body")
		req.URL = u
		if resp, err := p.RoundTrip(req); resp != nil || err == nil {
			t.Errorf("got %v, %v", resp, err)
		}
		b.wantEachClosedOnce(t)
	}
}

// Credentials are asked for before anything is sent, and for no longer than the
// request lasts.
func TestProxyCredentials(t *testing.T) {
	errNone := errors.New("no credentials")
	server := newTLSServer(t, echo)
	tests := []struct {
		name        string
		credentials func(context.Context) (string, string, error)
		want        string
	}{
		{"none", func(context.Context) (string, string, error) { return "", "", errNone }, "no credentials"},
		{"control character", func(context.Context) (string, string, error) { return username, "\n", nil }, "digest: the password has a control character"},
		{"waits", func(ctx context.Context) (string, string, error) { <-ctx.Done(); return "", "", ctx.Err() }, "context deadline exceeded"},
	}
	for _, tt := range tests {
		for _, url := range []string{"http://example.com/", server.URL} {
			t.Run(tt.name+" "+url[:5], func(t *testing.T) {
				g := newGuard(t)
				p, _ := through(t, newProxy(t, g, nil), server)
				p.Credentials = tt.credentials
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				req, b := replayable(t, "a body")
				req.URL = newRequest(t, http.MethodGet, url, nil).URL
				if resp, err := p.RoundTrip(req.WithContext(ctx)); resp != nil || fmt.Sprint(err) != tt.want {
					t.Errorf("got %v, %v, want %s", resp, err, tt.want)
				}
				b.wantEachClosedOnce(t)
				g.wantLog(t)
			})
		}
	}
}

func TestTunnel(t *testing.T) {
	server := newTLSServer(t, echo)
	for _, tt := range []struct {
		name string
		http int
		tls  bool // to the proxy
		qop  string
	}{
		{"HTTP/1.1", 1, false, "auth"}, {"HTTP/2", 2, false, "auth"}, {"over https", 1, true, "auth"}, {"auth-int", 1, false, "auth-int"}, {"RFC 2069", 1, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			g.qop = tt.qop
			proxy := newProxy(t, g, nil)
			if tt.tls {
				proxy.StartTLS()
			}
			p, base := through(t, proxy, server)
			base.ForceAttemptHTTP2 = tt.http == 2
			what := "ok"
			if tt.qop == "auth-int" {
				what = "int ok"
			}
			for i, log := range [][]string{{"bare", "n1/1 " + what}, nil, {"n1/2 " + what}} {
				if i == 2 {
					p.CloseIdleConnections()
				}
				req := post(t, server.URL)
				resp, err := p.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				wantResponse(t, resp, http.StatusOK, "a body")
				if resp.ProtoMajor != tt.http || resp.Request != req {
					t.Errorf("spoke %s; the response's request is the caller's: %v", resp.Proto, resp.Request == req)
				}
				g.wantLog(t, log...)
			}
		})
	}
}

// What a tunnel costs, one for each request.
func TestTunnelChallenges(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	g.refusal = func() io.Reader { return strings.NewReader(strings.Repeat(".", 1<<20)) }
	p, base := through(t, newProxy(t, g, nil), server)
	base.DisableKeepAlives = true
	client := &http.Client{Transport: p}
	do := func(wantErr error, log ...string) {
		t.Helper()
		resp, err := client.Do(post(t, server.URL))
		if !errors.Is(err, wantErr) {
			t.Errorf("got %v, want %v", err, wantErr)
		}
		if _, ok := errors.AsType[*url.Error](err); err != nil && !ok {
			t.Errorf("got a %T", err)
		}
		if err == nil {
			wantResponse(t, resp, http.StatusOK, "a body")
		}
		g.wantLog(t, log...)
	}
	do(nil, "bare", "n1/1 ok")
	do(nil, "n1/2 ok")
	g.expire()
	do(nil, "n1/3 stale", "n2/1 ok")
	g.users[username] = "changed"
	do(digest.ErrProxyRefused, "n2/2 wrong", "n3/1 wrong") // it was right until now
	do(digest.ErrProxyRefused, "n4/1 wrong")
	g.users[username] = password
	do(nil, "n5/1 ok")
	g.expire()
	g.notStale = true
	do(nil, "n5/2 stale", "n6/1 ok")

	g.expire()
	g.notStale, g.hasty, g.users[username] = false, true, "changed"
	do(digest.ErrProxyRefused, "n6/2 stale", "n7/1 wrong")

	other, _ := through(t, newProxy(t, g, nil), server)
	if resp, err := other.RoundTrip(post(t, server.URL)); resp != nil || !errors.Is(err, digest.ErrProxyRefused) {
		t.Errorf("got %v, %v, want %v", resp, err, digest.ErrProxyRefused)
	}
	g.wantLog(t, "bare", "n9/1 wrong")
}

// A proxy that closes the connection instead of an answer.
func TestTunnelLost(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	proxy := newProxy(t, g, nil)
	handler := proxy.Config.Handler
	var lose atomic.Bool
	proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lose.Load() {
			g.serve(r.Method, r.RequestURI, r.Header, http.Header{}, "")
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	})
	p, base := through(t, proxy, server)
	base.DisableKeepAlives = true
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	lose.Store(true)
	if resp, err := p.RoundTrip(post(t, server.URL)); resp != nil || err == nil || errors.Is(err, digest.ErrProxyRefused) {
		t.Errorf("got %v, %v", resp, err)
	}
	lose.Store(false)
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "n1/3 ok")
}

func TestTunnelNonceCountEnds(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	proxy := newProxy(t, g, nil)
	p, base := through(t, proxy, server)
	base.DisableKeepAlives = true
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	u, _ := url.Parse(proxy.URL)
	p.Use(u, 1<<32-2)
	for range 2 {
		want(t, p, post(t, server.URL), http.StatusOK, "a body")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/4294967295 ok", "bare", "n2/1 ok")
}

// hold has proxy wait with its answer to credentials it has accepted, when hold
// is set, until the answer is released.
func hold(proxy *httptest.Server) (hold *atomic.Bool, held, release chan struct{}) {
	hold, held, release = new(atomic.Bool), make(chan struct{}), make(chan struct{})
	handler := proxy.Config.Handler
	proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hold.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		handler.ServeHTTP(w, r)
	})
	return hold, held, release
}

// Nor do tunnels share a nonce, unless it cannot be helped.
func TestTunnelsDoNotShare(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	proxy := newProxy(t, g, nil)
	waits, held, release := hold(proxy)
	p, base := through(t, proxy, server)
	base.DisableKeepAlives = true
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	waits.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		want(t, p, post(t, server.URL), http.StatusOK, "a body")
	}()
	<-held
	want(t, p, newRequest(t, http.MethodPost, server.URL, io.MultiReader(strings.NewReader("a stream"))), http.StatusOK, "a stream")
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	close(release)
	<-done
	g.wantLog(t, "bare", "n1/1 ok", "n1/3 ok", "bare", "n2/1 ok", "n1/2 ok")
}

// A tunnel that was opened meanwhile is good for both.
func TestTunnelOfAnother(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	p, base := through(t, newProxy(t, g, nil), server)
	req, b := replayable(t, "a body")
	req.URL = post(t, server.URL).URL
	again := req.GetBody
	req.GetBody = func() (io.ReadCloser, error) {
		want(t, p, post(t, server.URL), http.StatusOK, "a body")
		return again()
	}
	want(t, p, req, http.StatusOK, "a body")
	b.wantEachClosedOnce(t)
	g.wantLog(t, "bare", "bare", "n2/1 ok")
	base.DisableKeepAlives = true
	base.CloseIdleConnections()
	want(t, p, post(t, server.URL), http.StatusOK, "a body") // with what was offered to the first
	g.wantLog(t, "n1/1 ok")
}

// A proxy whose realm changes asks anew.
func TestTunnelRealms(t *testing.T) {
	server := newTLSServer(t, echo)
	g := newGuard(t)
	p, base := through(t, newProxy(t, g, nil), server)
	base.DisableKeepAlives = true
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	g.realm, g.nonces = "another", nil
	want(t, p, post(t, server.URL), http.StatusOK, "a body")
	g.wantLog(t, "bare", "n1/1 ok", "foreign", "n2/1 ok")
}

// Two CONNECTs at most, whatever the proxy says.
func TestTunnelAlwaysStale(t *testing.T) {
	server := newTLSServer(t, echo)
	tunnels := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tunnels++
		w.Header().Set("Proxy-Authenticate", fmt.Sprintf(`Digest realm="r", nonce="%d", qop=auth, stale=true`, tunnels))
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	p, _ := through(t, proxy, server)
	for i := range 3 {
		req, b := replayable(t, "a body")
		req.URL = post(t, server.URL).URL
		if resp, err := p.RoundTrip(req); resp != nil || err == nil || errors.Is(err, digest.ErrProxyRefused) {
			t.Errorf("got %v, %v", resp, err)
		}
		b.wantEachClosedOnce(t)
		if tunnels != 2*(i+1) {
			t.Errorf("%d tunnels for %d requests", tunnels, i+1)
		}
	}
}

// A proxy that asks for something else gets nothing, and its answer is
// net/http's to report.
func TestTunnelWithoutDigest(t *testing.T) {
	server := newTLSServer(t, echo)
	for status, want := range map[int]string{http.StatusProxyAuthRequired: "Proxy Authentication Required", http.StatusForbidden: "Forbidden"} {
		tunnels := 0
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tunnels++
			w.Header().Set("Proxy-Authenticate", "Basic realm=r")
			w.WriteHeader(status)
		}))
		t.Cleanup(proxy.Close)
		p, _ := through(t, proxy, server)
		if resp, err := p.RoundTrip(post(t, server.URL)); resp != nil || fmt.Sprint(err) != want || tunnels != 1 {
			t.Errorf("got %v, %v after %d tunnels, want %s after one", resp, err, tunnels, want)
		}
	}
}

func TestTunnelBodies(t *testing.T) {
	server := newTLSServer(t, echo)
	for _, p := range payloads {
		t.Run(p.name, func(t *testing.T) {
			g := newGuard(t)
			rt, _ := through(t, newProxy(t, g, nil), server)
			for i := range 2 {
				req, check := p.make(t)
				req.URL = post(t, server.URL).URL
				resp, err := rt.RoundTrip(req)
				switch {
				case i == 0 && !p.again:
					if resp != nil || err == nil || errors.Is(err, digest.ErrProxyRefused) {
						t.Errorf("got %v, %v", resp, err)
					}
				case err != nil:
					t.Error(err)
				default:
					wantResponse(t, resp, http.StatusOK, p.sent)
				}
				check(t)
			}
			g.wantLog(t, "bare", "n1/1 ok")
		})
	}
}

// In a tunnel it is the server that speaks, and a 407 of its own is nobody's to
// answer.
func TestTunnelInside(t *testing.T) {
	origin, g := newGuard(t), newGuard(t)
	origin.salt = "origin's "
	server := newTLSServer(t, origin.before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the server was sent the proxy's credentials")
		}
		w.Header().Set("Proxy-Authenticate", `Digest realm="r", nonce="n", qop=auth`)
		w.WriteHeader(http.StatusProxyAuthRequired)
	})))
	p, _ := through(t, newProxy(t, g, nil), server)
	rt := &digest.Transport{Username: username, Password: password, Base: p}
	for range 2 {
		want(t, rt, post(t, server.URL), http.StatusProxyAuthRequired, "")
	}
	g.wantLog(t, "bare", "n1/1 ok")
	origin.wantLog(t, "bare", "origin's n1/1 ok", "origin's n1/2 ok")
}

// Server and proxy may both ask, over plain http with the same request.
func TestProxyBeforeServer(t *testing.T) {
	origin, g := newGuard(t), newGuard(t)
	origin.salt = "origin's "
	server := httptest.NewServer(origin.before(echo))
	t.Cleanup(server.Close)
	p, _ := through(t, newProxy(t, g, nil))
	rt := &digest.Transport{Username: username, Password: password, Base: p}
	for range 2 {
		want(t, rt, post(t, server.URL), http.StatusOK, "a body")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "n1/3 ok")
	origin.wantLog(t, "bare", "origin's n1/1 ok", "origin's n1/2 ok")
}

// Each proxy has a space of its own.
func TestTwoProxies(t *testing.T) {
	server := httptest.NewServer(echo)
	t.Cleanup(server.Close)
	a, b := newGuard(t), newGuard(t)
	a.salt, b.salt, b.algorithm = "a", "b", "MD5"
	p, base := through(t, newProxy(t, a, nil))
	second := newProxy(t, b, nil)
	second.Start()
	one := base.Proxy
	base.Proxy = func(req *http.Request) (*url.URL, error) {
		if req.URL.Path == "/b" {
			return url.Parse(second.URL)
		}
		return one(req)
	}
	for _, path := range []string{"/a", "/b", "/a", "/b"} {
		want(t, p, post(t, server.URL+path), http.StatusOK, "a body")
	}
	a.wantLog(t, "bare", "an1/1 ok", "an1/2 ok")
	b.wantLog(t, "bare", "bn1/1 ok", "bn1/2 ok")
}

// A caller that leaves while the proxy thinks leaves at once.
func TestTunnelCancelled(t *testing.T) {
	server := newTLSServer(t, echo)
	asked, over := make(chan struct{}), make(chan struct{})
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	}))
	t.Cleanup(proxy.Close)
	t.Cleanup(func() { close(over) })
	p, _ := through(t, proxy, server)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	req, b := replayable(t, "a body")
	req.URL = post(t, server.URL).URL
	if resp, err := p.RoundTrip(req.WithContext(ctx)); resp != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", resp, err)
	}
	b.wantEachClosedOnce(t)
}

func TestProxyCrowd(t *testing.T) {
	plain, secure := httptest.NewServer(echo), newTLSServer(t, echo)
	t.Cleanup(plain.Close)
	tests := []struct {
		name  string
		url   string
		n     int
		guard func(*guard)
	}{
		{"plain http", plain.URL, 200, func(*guard) {}},
		{"plain http, counts in order only", plain.URL, 200, func(g *guard) { g.inOrder = true }},
		{"plain http, one-time nonces", plain.URL, 200, func(g *guard) { g.uses, g.next = 1, 1 }},
		{"tunnels", secure.URL, 200, func(*guard) {}},
		{"tunnels, counts in order only", secure.URL, 50, func(g *guard) { g.inOrder = true }},
		{"tunnels, one-time nonces", secure.URL, 50, func(g *guard) { g.uses, g.next = 1, 1 }},
		{"tunnels, one-time nonces without nextnonce", secure.URL, 50, func(g *guard) { g.uses = 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t)
			tt.guard(g)
			p, base := through(t, newProxy(t, g, nil), secure)
			base.DisableKeepAlives = tt.url == secure.URL
			base.MaxIdleConnsPerHost = 200
			var wg sync.WaitGroup
			for i := range tt.n {
				wg.Go(func() {
					body := fmt.Sprint("body ", i)
					resp, err := p.RoundTrip(newRequest(t, http.MethodPost, tt.url, strings.NewReader(body)))
					if err != nil {
						t.Error(err)
						return
					}
					wantResponse(t, resp, http.StatusOK, body)
				})
			}
			wg.Wait()
			g.wantCounts(t)
			if len(g.log) > 2*tt.n {
				t.Errorf("%d attempts for %d requests", len(g.log), tt.n)
			}
		})
	}
}

// The hooks do nothing for tunnels that are not opened for a request of the
// Proxy's.
func TestProxyHooks(t *testing.T) {
	p := &digest.Proxy{Username: username, Password: password}
	u := &url.URL{Scheme: "http", Host: "proxy.example.com:3128"}
	resp := &http.Response{StatusCode: http.StatusProxyAuthRequired, Header: http.Header{"Proxy-Authenticate": {`Digest realm="r", nonce="n", qop=auth`}}}
	for range 2 {
		if h, err := p.GetProxyConnectHeader(t.Context(), u, "example.com:443"); h != nil || err != nil {
			t.Errorf("got %v, %v", h, err)
		}
		if err := p.OnProxyConnectResponse(t.Context(), u, &http.Request{}, resp); err != nil {
			t.Errorf("got %v", err)
		}
	}
}
