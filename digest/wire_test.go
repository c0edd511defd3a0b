package digest_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// serve starts a server with g in front of handler. It returns the server, a
// client without a decorator, and one with.
func serve(t *testing.T, g *guard, handler http.HandlerFunc) (server *httptest.Server, plain, client *http.Client) {
	t.Helper()
	server = httptest.NewServer(g.before(handler))
	t.Cleanup(server.Close)
	plain = server.Client()
	return server, plain, transport.Client(plain, (&digest.Transport{Username: username, Password: password}).Wrap)
}

func send(t *testing.T, client *http.Client, req *http.Request) *http.Response {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// The digest-uri is the request-target, whatever that is.
func TestWireTargets(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		g := newGuard(t)
		server := httptest.NewUnstartedServer(g.before(echo))
		server.EnableHTTP2 = http2
		server.StartTLS()
		t.Cleanup(server.Close)
		rt := &digest.Transport{Username: username, Password: password, Base: server.Client().Transport}
		host, _ := strings.CutPrefix(server.URL, "https://")
		sent := []string{"bare"}
		for target, u := range map[string]*url.URL{
			"/":               {},
			"/?":              {ForceQuery: true},
			"/?a=b&c=d":       {RawQuery: "a=b&c=d"},
			`/a?"b"\c`:        {Path: "/a", RawQuery: `"b"\c`},
			"/%22%5C%20%25":   {Path: `/"\ %`},
			"/a%2Fb":          {Path: "/a/b", RawPath: "/a%2Fb"},
			"/%61":            {Path: "/a", RawPath: "/%61"},
			"/%C3%A4?\u00e4":  {Path: "/ä", RawQuery: "ä"},
			"//a/../b":        {Path: "//a/../b"},
			"/a#b":            nil, // see below
			"/a/b;c":          {Opaque: "/a/b;c"},
			"/a%2fb?c":        {Opaque: "/a%2fb", RawQuery: "c"},
			"https://" + host: {Opaque: "//" + host},
		} {
			if u == nil {
				u, target = &url.URL{Path: "/a", Fragment: "b"}, "/a"
			}
			if http2 && strings.HasPrefix(target, "https:") {
				continue // has no such form
			}
			u.Scheme, u.Host = "https", host
			req := newRequest(t, http.MethodGet, server.URL, nil)
			req.URL = u
			want(t, rt, req, http.StatusOK, "")
			sent = append(sent, fmt.Sprintf("n1/%d ok", len(sent)))
		}
		g.wantLog(t, sent...)
	}
}

// OPTIONS * is about no path, but about the server.
func TestWireOptions(t *testing.T) {
	g := newGuard(t)
	server := httptest.NewServer(g.before(echo))
	t.Cleanup(server.Close)
	server.Config.DisableGeneralOptionsHandler = true
	rt := &digest.Transport{Username: username, Password: password, Base: server.Client().Transport}
	for range 2 {
		req := newRequest(t, http.MethodOptions, server.URL, nil)
		req.URL.Path = "*"
		want(t, rt, req, http.StatusOK, "")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok")
}

// Both attempts are traced, and the second takes the connection of the first.
func TestWireTraceAndReuse(t *testing.T) {
	g := newGuard(t)
	server, _, client := serve(t, g, echo)
	var mu sync.Mutex
	var got []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, s)
	}
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { note(fmt.Sprint("connection, reused: ", info.Reused)) },
		WroteHeaderField: func(key string, value []string) {
			if key == "Authorization" {
				note(fmt.Sprint(len(value), " field"))
			}
		},
	}
	req := newRequest(t, http.MethodGet, server.URL, nil)
	send(t, client, req.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
	if diff := cmp.Diff([]string{"connection, reused: false", "connection, reused: true", "1 field"}, got); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	g.wantLog(t, "bare", "n1/1 ok")
}

// With one connection in all, the 401's body stands in the way of the second
// attempt.
func TestWireOneConnection(t *testing.T) {
	for _, size := range []int{0, 100, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := newGuard(t)
			g.refusal = func() io.Reader { return strings.NewReader(strings.Repeat(".", size)) }
			server, plain, client := serve(t, g, echo)
			plain.Transport.(*http.Transport).MaxConnsPerHost = 1
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					resp, err := client.Post(server.URL, "text/plain", strings.NewReader("a body"))
					if err != nil {
						t.Error(err)
						return
					}
					wantResponse(t, resp, http.StatusOK, "a body")
				})
			}
			wg.Wait()
		})
	}
}

// The server refuses while the body is still being sent, and goes.
func TestWireEarlyRefusal(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, read := range map[string]int64{"after the body": 1 << 20, "half-way": 1 << 19, "before the body": 0} {
		for _, qop := range []string{"auth", "auth-int"} {
			t.Run(name+" "+qop, func(t *testing.T) {
				g := newGuard(t)
				g.qop = qop
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "" {
						g.before(echo).ServeHTTP(w, r)
						return
					}
					io.CopyN(io.Discard, r.Body, read)
					header := http.Header{"Connection": {"close"}, "Content-Length": {"2"}}
					g.serve(r.Method, r.RequestURI, r.Header, header, "")
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\n")
					header.Write(conn)
					io.WriteString(conn, "\r\nno")
					// To close with data unread would reset the connection, and the answer
					// might be lost with it.
					conn.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, conn)
					conn.Close()
				}))
				t.Cleanup(server.Close)
				base := server.Client().Transport.(*http.Transport)
				base.MaxConnsPerHost = 1
				rt := &digest.Transport{Username: username, Password: password, Base: base}
				want(t, rt, newRequest(t, http.MethodPost, server.URL, bytes.NewReader(payload)), http.StatusOK, string(payload))
				if len(g.log) != 2 {
					t.Errorf("requests %q", g.log)
				}
			})
		}
	}
}

// A streaming upload is refused once; the next one is answered at once.
func TestWireStreamingUpload(t *testing.T) {
	g := newGuard(t)
	server, _, client := serve(t, g, echo)
	for _, want := range []string{"401 " + refusal, "200 stream"} {
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, "stream")
			w.Close()
		}()
		resp := send(t, client, newRequest(t, http.MethodPost, server.URL, r))
		body, err := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	g.wantLog(t, "bare", "n1/1 ok")
}

func TestWireCrowd(t *testing.T) {
	for name, change := range map[string]func(*guard){
		"shared": func(*guard) {}, "one-time": func(g *guard) { g.uses, g.next = 1, 1 }, "in order": func(g *guard) { g.inOrder = true },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t)
			change(g)
			g.proof = func(right string, _ map[string]string) string { return "rspauth=" + quote(right) }
			server, plain, client := serve(t, g, echo)
			plain.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					body := strings.Repeat(fmt.Sprint(i, " "), 100)
					resp, err := client.Post(server.URL+fmt.Sprint("/", i), "text/plain", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					wantResponse(t, resp, http.StatusOK, body)
				})
			}
			wg.Wait()
			g.wantCounts(t)
			if len(g.log) > 200 {
				t.Errorf("%d attempts for 100 requests", len(g.log))
			}
		})
	}
}
