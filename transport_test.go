package authtrip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// respond makes a response as a server would have.
func respond(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Status:     fmt.Sprint(status, " ", http.StatusText(status)),
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        make(http.Header),
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       req,
	}
}

// A client that keeps its token valid: the API has revoked the first token,
// the session renews it, and the request is sent again with its body.
func Example() {
	api := transport.Func(func(req *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(req.Body)
		req.Body.Close()
		fmt.Printf("%s %s: %q\n", req.Method, req.Header.Get("Authorization"), body)
		if req.Header.Get("Authorization") != "Bearer second" {
			return respond(req, http.StatusUnauthorized, ""), nil
		}
		return respond(req, http.StatusOK, "done"), nil
	})
	// In a program the grant is tokensource.RefreshToken(config).
	session := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "second"}, nil
	}}
	if err := session.Set(context.Background(), &oauth2.Token{AccessToken: "first", RefreshToken: "r"}); err != nil {
		fmt.Println(err)
		return
	}
	client := transport.Client(&http.Client{Transport: api}, (&transport.Refresh{Source: session}).Wrap)

	resp, err := client.Post("https://api.example.com/things", "text/plain", strings.NewReader("a thing"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s: %s\n", resp.Status, answer)
	// Output:
	// POST Bearer first: "a thing"
	// POST Bearer second: "a thing"
	// 200 OK: done
}

// The authorization server has refused for good.
func Example_signInAgain() {
	api := transport.Func(func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusUnauthorized, ""), nil
	})
	session := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return nil, &oauth2.RetrieveError{ErrorCode: "invalid_grant"}
	}}
	if err := session.Set(context.Background(), &oauth2.Token{AccessToken: "first", RefreshToken: "r"}); err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: &transport.Refresh{Source: session, Base: api}}

	_, err := client.Get("https://api.example.com/things")
	fmt.Println("sign in again:", errors.Is(err, tokensource.ErrReauthRequired))
	// Output:
	// sign in again: true
}

// A row of the contract table is one decorator.
var decorators = []struct {
	name string
	// attach does to a request what the decorator does on its copy.
	attach func(*http.Request)
	// credential is what is secret of that, as it is sent.
	credential string
	wrap       func(base http.RoundTripper) http.RoundTripper
	// failing is the same with a source that has no credential to give.
	failing func(base http.RoundTripper) http.RoundTripper
	// proxy says that it is for proxies: what is sent to them goes through one
	// http.Transport, over plain http as well, and whatever origin a hop is for.
	proxy bool
}{
	{
		name:       "basic.Transport",
		attach:     inHeader("Authorization", "Basic dXNlcjpzZWNyZXQ="),
		credential: "dXNlcjpzZWNyZXQ=",
		wrap:       (&basic.Transport{Username: "user", Password: "secret"}).Wrap,
		failing:    (&basic.Transport{}).Wrap,
	},
	{
		name:       "digest.Transport",
		attach:     inHeader("Authorization", answer),
		credential: answer,
		wrap:       experienced((&digest.Transport{Username: "user", Password: "secret"}).Wrap),
		failing:    experienced((&digest.Transport{}).Wrap),
	},
	{
		name:    "digest.Proxy",
		attach:  func(*http.Request) {}, // but to the CONNECT
		wrap:    func(base http.RoundTripper) http.RoundTripper { return viaProxy(base, "user") },
		failing: func(base http.RoundTripper) http.RoundTripper { return viaProxy(base, "") },
		proxy:   true,
	},
	{
		name:       "Choose",
		attach:     inHeader("Authorization", answer),
		credential: answer,
		wrap:       experienced(choose(&digest.Transport{Username: "user", Password: "secret"})),
		failing:    experienced(choose(&digest.Transport{})),
	},
	{
		name:       "apikey.Transport in the header",
		attach:     inHeader("X-Api-Key", "secret-key"),
		credential: "secret-key",
		wrap:       (&apikey.Transport{Key: "secret-key"}).Wrap,
		failing:    (&apikey.Transport{Source: new(apikey.Key).Get}).Wrap,
	},
	{
		name:       "apikey.Transport in the query",
		attach:     func(req *http.Request) { req.URL.RawQuery += "&key=secret-key" },
		credential: "secret-key",
		wrap:       (&apikey.Transport{Key: "secret-key", In: apikey.Query, Name: "key"}).Wrap,
		failing:    (&apikey.Transport{Source: new(apikey.Key).Get, In: apikey.Query, Name: "key"}).Wrap,
	},
	{
		name:       "apikey.Transport in a cookie",
		attach:     inHeader("Cookie", "key=secret-key"),
		credential: "secret-key",
		wrap:       (&apikey.Transport{Key: "secret-key", In: apikey.Cookie, Name: "key"}).Wrap,
		failing:    (&apikey.Transport{Source: new(apikey.Key).Get, In: apikey.Cookie, Name: "key"}).Wrap,
	},
	{
		name:       "Bearer",
		attach:     inHeader("Authorization", "Bearer secret"),
		credential: "Bearer secret",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return &transport.Bearer{Source: tokensource.Static("secret"), Base: base}
		},
		failing: func(base http.RoundTripper) http.RoundTripper {
			return &transport.Bearer{Source: tokensource.Static(""), Base: base}
		},
	},
	{
		name:       "Refresh",
		attach:     inHeader("Authorization", "Bearer secret"),
		credential: "Bearer secret",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return &transport.Refresh{Source: unchanging{tokensource.Static("secret")}, Base: base}
		},
		failing: func(base http.RoundTripper) http.RoundTripper {
			return &transport.Refresh{Source: unchanging{tokensource.Static("")}, Base: base}
		},
	},
	{
		name:       "Chain",
		attach:     inHeader("Authorization", "Bearer secret"),
		credential: "Bearer secret",
		wrap: transport.Chain(
			(&transport.Refresh{Source: unchanging{tokensource.Static("secret")}}).Wrap,
			(&transport.Bearer{Source: tokensource.Static("other")}).Wrap,
		),
		failing: transport.Chain(
			(&transport.Refresh{Source: unchanging{tokensource.Static("")}}).Wrap,
			(&transport.Bearer{Source: tokensource.Static("other")}).Wrap,
		),
	},
}

// challenged is a server in front of base that asks for Digest, except on
// redirects. Every answer to that goes on to base as the same field.
type challenged struct{ base http.RoundTripper }

const answer = "Digest secret"

func (c challenged) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case strings.HasPrefix(req.Header.Get("Authorization"), "Digest "):
		r := *req
		r.Header = req.Header.Clone()
		r.Header.Set("Authorization", answer)
		req = &r
	case req.Response == nil:
		if req.Body != nil {
			req.Body.Close()
		}
		resp := respond(req, http.StatusUnauthorized, "")
		resp.Header.Set("WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth"`)
		return resp, nil
	}
	if req.URL.Path == "/learning" {
		return respond(req, http.StatusOK, ""), nil
	}
	return c.Unwrap().RoundTrip(req)
}

func (c challenged) Unwrap() http.RoundTripper {
	if c.base == nil {
		return http.DefaultTransport
	}
	return c.base
}

func (c challenged) CloseIdleConnections() {
	c.base.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// experienced wraps a challenged base by wrap, and has the result know already
// what is asked for: a body that cannot be sent again cannot wait for that.
func experienced(wrap transport.Middleware) transport.Middleware {
	return func(base http.RoundTripper) http.RoundTripper {
		rt := wrap(challenged{base})
		if req, err := http.NewRequest(http.MethodGet, "https://api.example.com/learning", nil); err == nil {
			_, _ = rt.RoundTrip(req)
		}
		return rt
	}
}

// A proxied base goes through a proxy, as its http.Transport says.
type proxied struct{ http.RoundTripper }

func (p proxied) Unwrap() http.RoundTripper {
	return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example.com"})}
}

func (p proxied) CloseIdleConnections() {
	p.RoundTripper.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

func viaProxy(base http.RoundTripper, username string) http.RoundTripper {
	p := &digest.Proxy{Username: username}
	if base == nil {
		return p
	}
	return p.Wrap(proxied{base})
}

func choose(d *digest.Transport) transport.Middleware {
	return (&transport.Choose{Choices: []transport.Choice{{Scheme: "Digest", Middleware: d.Wrap}}}).Wrap
}

// inHeader attaches a header field.
func inHeader(name, value string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set(name, value) }
}

// unchanging is a Renewer that has nothing newer.
type unchanging struct{ tokensource.Source }

func (unchanging) Renew(context.Context, *oauth2.Token) (*oauth2.Token, error) {
	return nil, tokensource.ErrUnchanged
}

// countedBody counts how often it is closed.
type countedBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *countedBody) Close() error { b.closed.Add(1); return nil }

// sender reads and closes the request's body, as a Transport does, and answers
// with status.
func sender(status int, body string, sent *[]*http.Request) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			io.Copy(io.Discard, req.Body)
			req.Body.Close()
		}
		*sent = append(*sent, req)
		return respond(req, status, body), nil
	}
}

// newRequest returns a request with something in every field that a decorator
// might touch.
func newRequest(t *testing.T) (*http.Request, *countedBody) {
	t.Helper()
	body := &countedBody{Reader: strings.NewReader("payload")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/a?b=c&d", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Many"] = []string{"one", "two"}
	req.Header["x-odd"] = []string{"spelling"}
	req.ContentLength = int64(len("payload"))
	req.Trailer = http.Header{"X-Sum": nil}
	return req, body
}

// redirects are chains of hops, with the hops that the credential goes to.
var redirects = []struct {
	name string
	hops []string
	want []bool
}{
	{"within the origin", []string{"https://api.example.com/0", "/1", "https://API.example.com.:443/2"}, []bool{true, true, true}},
	{"to another host", []string{"https://api.example.com/0", "https://example.net/1", "https://example.net/2"}, []bool{true, false, false}},
	{"to another port", []string{"https://api.example.com/0", "https://api.example.com:8443/1"}, []bool{true, false}},
	{"to a subdomain", []string{"https://example.com/0", "https://api.example.com/1"}, []bool{true, false}},
	{"to plain http", []string{"https://api.example.com/0", "http://api.example.com/1"}, []bool{true, false}},
	{"there and back", []string{"https://api.example.com/0", "https://example.net/1", "https://api.example.com/2", "/3"}, []bool{true, false, false, false}},
}

func TestContract(t *testing.T) {
	for _, d := range decorators {
		t.Run(d.name, func(t *testing.T) {
			t.Run("request unmodified", func(t *testing.T) {
				var sent []*http.Request
				req, body := newRequest(t)
				header, url, trailer := req.Header.Clone(), *req.URL, req.Trailer.Clone()
				if _, err := d.wrap(sender(200, "", &sent)).RoundTrip(req); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(header, req.Header); diff != "" {
					t.Errorf("Header (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(trailer, req.Trailer); diff != "" {
					t.Errorf("Trailer (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(url, *req.URL); diff != "" {
					t.Errorf("URL (-want +got):\n%s", diff)
				}
				if req.Body != body || req.ContentLength != 7 || req.GetBody != nil {
					t.Error("Body, ContentLength or GetBody replaced")
				}
				if len(sent) != 1 || sent[0] == req {
					t.Fatalf("%d requests sent, or the caller's own", len(sent))
				}
				want := req.Clone(t.Context())
				d.attach(want)
				if diff := cmp.Diff(want.Header, sent[0].Header); diff != "" {
					t.Errorf("Header sent (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(want.URL, sent[0].URL); diff != "" {
					t.Errorf("URL sent (-want +got):\n%s", diff)
				}
			})
			t.Run("body closed once", func(t *testing.T) {
				var sent []*http.Request
				broken := transport.Func(func(req *http.Request) (*http.Response, error) {
					req.Body.Close()
					return nil, errors.New("no connection")
				})
				for name, rt := range map[string]http.RoundTripper{
					"success":      d.wrap(sender(200, "", &sent)),
					"rejection":    d.wrap(sender(401, "", &sent)),
					"base error":   d.wrap(broken),
					"source error": d.failing(sender(200, "", &sent)),
				} {
					req, body := newRequest(t)
					resp, err := rt.RoundTrip(req)
					if (resp == nil) == (err == nil) {
						t.Errorf("%s: response %v and error %v", name, resp, err)
					}
					if n := body.closed.Load(); n != 1 {
						t.Errorf("%s: body closed %d times", name, n)
					}
				}
			})
			t.Run("response untouched", func(t *testing.T) {
				for _, status := range []int{200, 302, 401, 403, 500} {
					var inner *http.Response
					rt := d.wrap(transport.Func(func(req *http.Request) (*http.Response, error) {
						inner = respond(req, status, "answer")
						inner.Header.Set("WWW-Authenticate", "Unknown")
						return inner, nil
					}))
					req, _ := newRequest(t)
					resp, err := rt.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					if resp != inner || resp.StatusCode != status || string(body) != "answer" || err != nil {
						t.Errorf("status %d: got %d %q, %v", status, resp.StatusCode, body, err)
					}
					if resp.Request != req {
						t.Errorf("status %d: resp.Request is not the caller's", status)
					}
				}
			})
			t.Run("default base", func(t *testing.T) {
				var sent []*http.Request
				rt := d.wrap(nil)
				saved := http.DefaultTransport
				http.DefaultTransport = proxied{sender(200, "", &sent)}
				defer func() { http.DefaultTransport = saved }()
				req, _ := newRequest(t)
				if _, err := rt.RoundTrip(req); err != nil || len(sent) != 1 {
					t.Errorf("%d requests through http.DefaultTransport, error %v", len(sent), err)
				}
			})
			t.Run("idle connections", func(t *testing.T) {
				base := &idleCloser{}
				rt, ok := d.wrap(base).(interface{ CloseIdleConnections() })
				if !ok {
					t.Fatal("no CloseIdleConnections")
				}
				rt.CloseIdleConnections()
				if base.closed != 1 {
					t.Errorf("forwarded %d times", base.closed)
				}
			})
			t.Run("unwraps", func(t *testing.T) {
				if d.proxy {
					t.Skip("to the http.Transport")
				}
				base := &idleCloser{}
				var rt http.RoundTripper = d.wrap(base)
				for range 10 {
					u, ok := rt.(interface{ Unwrap() http.RoundTripper })
					if !ok {
						break
					}
					rt = u.Unwrap()
				}
				if rt != base {
					t.Errorf("Unwrap ends at %T", rt)
				}
			})
			t.Run("concurrent use", func(t *testing.T) {
				rt := d.wrap(transport.Func(func(req *http.Request) (*http.Response, error) {
					body, err := io.ReadAll(req.Body)
					req.Body.Close()
					return respond(req, 200, string(body)), err
				}))
				var wg sync.WaitGroup
				for i := range 50 {
					wg.Go(func() {
						want := fmt.Appendf(nil, "message %d", i)
						req, _ := http.NewRequest(http.MethodPost, "https://api.example.com/", bytes.NewReader(want))
						resp, err := rt.RoundTrip(req)
						if err != nil {
							t.Error(err)
							return
						}
						got, _ := io.ReadAll(resp.Body)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("(-want +got):\n%s", diff)
						}
					})
				}
				wg.Wait()
			})
			for _, r := range redirects {
				t.Run("redirected "+r.name, func(t *testing.T) {
					if d.proxy {
						t.Skip("every hop is the proxy's")
					}
					var sent []*http.Request
					shown := &bytes.Buffer{} // what the caller gets to see
					show := func(req *http.Request) { fmt.Fprintln(shown, req.URL, req.Header) }
					client := &http.Client{
						Transport: d.wrap(transport.Func(func(req *http.Request) (*http.Response, error) {
							sent = append(sent, req)
							resp := respond(req, http.StatusOK, "")
							if n := len(sent); n < len(r.hops) {
								resp.StatusCode = http.StatusFound
								// As careless servers do, with the query that they were sent.
								resp.Header.Set("Location", r.hops[n]+"?"+req.URL.RawQuery)
							}
							return resp, nil
						})),
						CheckRedirect: func(req *http.Request, via []*http.Request) error { show(req); return nil },
					}
					resp, err := client.Get(r.hops[0] + "?b=c&d")
					if err != nil {
						t.Fatal(err)
					}
					var got []bool
					for _, req := range sent {
						got = append(got, strings.Contains(fmt.Sprint(req.URL, req.Header), d.credential))
						if strings.Contains(req.Referer(), d.credential) {
							t.Errorf("Referer is %s", req.Referer())
						}
					}
					if diff := cmp.Diff(r.want, got); diff != "" {
						t.Errorf("hops with the credential (-want +got):\n%s", diff)
					}
					for show(resp.Request); resp.Request.Response != nil; show(resp.Request) {
						resp = resp.Request.Response
						fmt.Fprintln(shown, resp.Header)
					}
					if strings.Contains(shown.String(), d.credential) {
						t.Errorf("the caller sees the credential:\n%s", shown)
					}
				})
			}
			t.Run("no secret in errors", func(t *testing.T) {
				if d.proxy {
					t.Skip("plain http is what it is for")
				}
				req, _ := newRequest(t)
				req.URL.Scheme = "http"
				_, err := d.wrap(nil).RoundTrip(req)
				if !errors.Is(err, transport.ErrInsecureOrigin) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (c *idleCloser) CloseIdleConnections() { c.closed++ }
