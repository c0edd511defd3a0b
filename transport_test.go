package authtrip_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/cookiejar"
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

// A row of the contract table is one decorator, or a chain of them.
var decorators = []struct {
	name string
	// attach does to a request what the decorator does on its copy; nil if that
	// depends on a challenge.
	attach  func(*http.Request)
	secrets []string
	wrap    func(base http.RoundTripper) http.RoundTripper
	// failing is the same with a source that has no credential to give.
	failing func(base http.RoundTripper) http.RoundTripper
	options []authtest.Option
	// unwraps tells how many times it can be unwrapped down to its base.
	unwraps int
}{
	{
		name:    "basic.Transport",
		attach:  inHeader("Authorization", "Basic dXNlcjpzZWNyZXQ="),
		secrets: []string{"secret", "dXNlcjpzZWNyZXQ="},
		wrap:    (&basic.Transport{Username: "user", Password: "secret"}).Wrap,
		failing: (&basic.Transport{}).Wrap,
		unwraps: 1,
	},
	{
		name:    "digest.Transport",
		secrets: []string{"secret"},
		wrap:    (&digest.Transport{Username: "user", Password: "secret"}).Wrap,
		failing: (&digest.Transport{}).Wrap,
		options: []authtest.Option{authtest.Challenge(digestChallenge)},
		unwraps: 1,
	},
	{
		name:    "digest.Proxy",
		attach:  func(*http.Request) {}, // but to the CONNECT
		wrap:    func(base http.RoundTripper) http.RoundTripper { return viaProxy(base, "user") },
		failing: func(base http.RoundTripper) http.RoundTripper { return viaProxy(base, "") },
	},
	{
		name:    "Choose",
		secrets: []string{"secret"},
		wrap:    choose(&digest.Transport{Username: "user", Password: "secret"}),
		failing: choose(&digest.Transport{}),
		options: []authtest.Option{authtest.Challenge(digestChallenge)},
		unwraps: 1,
	},
	{
		name:    "apikey.Transport in the header",
		attach:  inHeader("X-Api-Key", "secret-key"),
		secrets: []string{"secret-key"},
		wrap:    (&apikey.Transport{Key: "secret-key"}).Wrap,
		failing: (&apikey.Transport{Source: new(apikey.Key).Get}).Wrap,
		unwraps: 1,
	},
	{
		name:    "apikey.Transport in the query",
		attach:  func(req *http.Request) { req.URL.RawQuery += "&key=secret-key" },
		secrets: []string{"secret-key"},
		wrap:    (&apikey.Transport{Key: "secret-key", In: apikey.Query, Name: "key"}).Wrap,
		failing: (&apikey.Transport{Source: new(apikey.Key).Get, In: apikey.Query, Name: "key"}).Wrap,
		unwraps: 1,
	},
	{
		name:    "apikey.Transport in a cookie",
		attach:  inHeader("Cookie", "key=secret-key"),
		secrets: []string{"secret-key"},
		wrap:    (&apikey.Transport{Key: "secret-key", In: apikey.Cookie, Name: "key"}).Wrap,
		failing: (&apikey.Transport{Source: new(apikey.Key).Get, In: apikey.Cookie, Name: "key"}).Wrap,
		unwraps: 1,
	},
	{
		name:    "cookiejar.Transport",
		attach:  inHeader("Cookie", "XSRF-TOKEN=secret"),
		secrets: []string{"secret"},
		wrap:    (&cookiejar.Transport{Jar: everywhere("XSRF-TOKEN=secret")}).Wrap,
		failing: new(cookiejar.Transport).Wrap,
		unwraps: 1,
	},
	{
		name:    "cookiejar.Login",
		attach:  inHeader("Cookie", "XSRF-TOKEN=secret"),
		secrets: []string{"secret"},
		wrap:    transport.Chain(login, (&cookiejar.Transport{Jar: everywhere("XSRF-TOKEN=secret")}).Wrap),
		failing: new(cookiejar.Login).Wrap,
		unwraps: 2,
	},
	{
		name: "cookiejar.XSRF outside of what has the cookies",
		attach: func(req *http.Request) {
			req.Header.Set("Cookie", "XSRF-TOKEN=secret")
			req.Header.Set("X-XSRF-TOKEN", "secret")
		},
		secrets: []string{"secret"},
		wrap:    (&cookiejar.XSRF{Jar: everywhere("XSRF-TOKEN=secret"), AllMethods: true}).Wrap,
		failing: (&cookiejar.XSRF{Header: "no token"}).Wrap,
		unwraps: 1,
	},
	{
		name: "Chain of Login, cookies and XSRF",
		attach: func(req *http.Request) {
			req.Header.Set("Cookie", "XSRF-TOKEN=secret")
			req.Header.Set("X-XSRF-TOKEN", "secret")
		},
		secrets: []string{"secret"},
		wrap: transport.Chain(
			login, (&cookiejar.Transport{Jar: everywhere("XSRF-TOKEN=secret")}).Wrap, (&cookiejar.XSRF{AllMethods: true}).Wrap,
		),
		unwraps: 3,
	},
	{
		name:    "Bearer",
		attach:  inHeader("Authorization", "Bearer secret"),
		secrets: []string{"secret"},
		wrap:    (&transport.Bearer{Source: tokensource.Static("secret")}).Wrap,
		failing: (&transport.Bearer{Source: tokensource.Static("")}).Wrap,
		unwraps: 1,
	},
	{
		name:    "Refresh",
		attach:  inHeader("Authorization", "Bearer secret-1"),
		secrets: []string{"secret-"},
		wrap:    refresh,
		failing: (&transport.Refresh{Source: unchanging{tokensource.Static("")}}).Wrap,
		unwraps: 1,
	},
	{
		name:    "Refresh of a static token",
		attach:  inHeader("Authorization", "Bearer secret"),
		secrets: []string{"secret"},
		wrap:    (&transport.Refresh{Source: unchanging{tokensource.Static("secret")}}).Wrap,
		unwraps: 1,
	},
	{
		name:    "Refresh that buffers",
		attach:  inHeader("Authorization", "Bearer secret-1"),
		secrets: []string{"secret-"},
		wrap: func(base http.RoundTripper) http.RoundTripper {
			rt := refresh(base).(*transport.Refresh)
			rt.ReplayBuffer = 1 << 20
			return rt
		},
		options: []authtest.Option{
			authtest.Skip(authtest.StreamedRequest, "ReplayBuffer says that it is read first"),
			authtest.Skip(authtest.ExpectContinue, "ReplayBuffer says that it is read first"),
		},
		unwraps: 1,
	},
	{
		name:    "Chain of Refresh and Bearer, which the first one leaves nothing to do",
		attach:  inHeader("Authorization", "Bearer secret-1"),
		secrets: []string{"secret-"},
		wrap:    transport.Chain(refresh, (&transport.Bearer{Source: tokensource.Static("other")}).Wrap),
		failing: transport.Chain(
			(&transport.Refresh{Source: unchanging{tokensource.Static("")}}).Wrap,
			(&transport.Bearer{Source: tokensource.Static("other")}).Wrap,
		),
		unwraps: 2,
	},
	{
		name: "Chain of four",
		attach: func(req *http.Request) {
			req.Header.Set("X-Api-Key", "secret-key")
			req.Header.Set("Cookie", "sid=secret-cookie")
			req.Header.Set("Authorization", "Bearer secret-1")
			req.Header.Set("User-Agent", "program/1.0")
		},
		secrets: []string{"secret-"},
		wrap: transport.Chain(
			func(base http.RoundTripper) http.RoundTripper { return userAgent{base} },
			(&apikey.Transport{Key: "secret-key"}).Wrap,
			(&apikey.Transport{Key: "secret-cookie", In: apikey.Cookie, Name: "sid"}).Wrap,
			refresh,
		),
		unwraps: 4,
	},
	{
		name: "Chain of four of ours",
		attach: func(req *http.Request) {
			req.Header.Set("X-Api-Key", "secret-key")
			req.Header.Set("Cookie", "sid=secret-cookie")
			req.Header.Set("X-Second-Key", "secret-second")
			req.Header.Set("Authorization", "Bearer secret-1")
		},
		secrets: []string{"secret-"},
		wrap: transport.Chain(
			(&apikey.Transport{Key: "secret-key"}).Wrap,
			(&apikey.Transport{Key: "secret-cookie", In: apikey.Cookie, Name: "sid"}).Wrap,
			(&apikey.Transport{Key: "secret-second", Name: "X-Second-Key"}).Wrap,
			refresh,
		),
		unwraps: 4,
	},
	{
		name: "Chain of four of ours, with Refresh outside and a query",
		attach: func(req *http.Request) {
			req.URL.RawQuery += "&key=secret-key"
			req.Header.Set("Cookie", "XSRF-TOKEN=secret-cookie")
			req.Header.Set("X-XSRF-TOKEN", "secret-cookie")
			req.Header.Set("Authorization", "Bearer secret-1")
		},
		secrets: []string{"secret-"},
		wrap: transport.Chain(
			refresh,
			(&apikey.Transport{Key: "secret-key", In: apikey.Query, Name: "key"}).Wrap,
			(&cookiejar.Transport{Jar: everywhere("XSRF-TOKEN=secret-cookie")}).Wrap,
			(&cookiejar.XSRF{AllMethods: true}).Wrap,
		),
		unwraps: 4,
	},
	{
		name:    "Chain of Choose and an API key",
		secrets: []string{"secret"},
		wrap: transport.Chain(
			choose(&digest.Transport{Username: "user", Password: "secret"}),
			(&apikey.Transport{Key: "secret-key"}).Wrap,
		),
		options: []authtest.Option{authtest.Challenge(digestChallenge)},
		unwraps: 2,
	},
}

const digestChallenge = `Digest realm="authtest", nonce="n", qop="auth"`

// TestContract checks every decorator by the kit, and by what only we promise.
func TestContract(t *testing.T) {
	for _, d := range decorators {
		t.Run(d.name, func(t *testing.T) {
			options := append([]authtest.Option{authtest.Secret(d.secrets...)}, d.options...)
			if d.failing != nil {
				options = append(options, authtest.Failing(d.failing))
			}
			authtest.TestTransport(t, d.wrap, options...)
			t.Run("attaches its credential and nothing else", func(t *testing.T) {
				if d.attach == nil {
					t.Skip("it depends on the challenge")
				}
				base := &recorder{}
				req, err := http.NewRequest(http.MethodGet, "https://api.example.com/a?b=c&d", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header["x-odd"] = []string{"spelling"}
				if _, err := d.wrap(base).RoundTrip(req); err != nil {
					t.Fatal(err)
				}
				want := req.Clone(t.Context())
				d.attach(want)
				if diff := cmp.Diff(want.Header, base.sent[0].Header); diff != "" {
					t.Errorf("Header sent (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(want.URL, base.sent[0].URL); diff != "" {
					t.Errorf("URL sent (-want +got):\n%s", diff)
				}
			})
			t.Run("base", func(t *testing.T) {
				base := &recorder{}
				rt := d.wrap(base)
				for range d.unwraps {
					rt = rt.(interface{ Unwrap() http.RoundTripper }).Unwrap()
				}
				if d.unwraps > 0 && rt != base {
					t.Errorf("Unwrap ends at %T", rt)
				}
				// The default is that at the time of the call.
				rt = d.wrap(nil)
				saved := http.DefaultTransport
				http.DefaultTransport = proxied{base}
				defer func() { http.DefaultTransport = saved }()
				req, err := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := rt.RoundTrip(req); err != nil || len(base.sent) != 1 {
					t.Errorf("%d requests through http.DefaultTransport, error %v", len(base.sent), err)
				}
			})
			t.Run("redirected", func(t *testing.T) {
				if len(d.secrets) == 0 || d.attach == nil {
					t.Skip("there is nothing to be seen")
				}
				testRedirects(t, d.wrap, d.secrets)
			})
		})
	}
}

// testRedirects follows redirects of a careless server, within the origin and out.
func testRedirects(t *testing.T, wrap transport.Middleware, secrets []string) {
	hops := []string{"https://api.example.com/0", "/1", "https://API.example.com.:443/2", "https://example.net/3"}
	tells := func(text string) bool {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				return true
			}
		}
		return false
	}
	var (
		sent  []bool // whether the credential was
		shown strings.Builder
	)
	show := func(req *http.Request) { fmt.Fprintln(&shown, req.URL, req.Header) }
	client := &http.Client{
		Transport: wrap(transport.Func(func(req *http.Request) (*http.Response, error) {
			sent = append(sent, tells(fmt.Sprint(req.URL, req.Header)))
			if tells(req.Referer()) {
				t.Errorf("Referer is %s", req.Referer())
			}
			resp := respond(req, http.StatusOK, "")
			if n := len(sent); n < len(hops) {
				resp.StatusCode = http.StatusFound
				// It repeats the query that it was sent.
				resp.Header.Set("Location", hops[n]+"?"+req.URL.RawQuery)
			}
			return resp, nil
		})),
		CheckRedirect: func(req *http.Request, via []*http.Request) error { show(req); return nil },
	}
	resp, err := client.Get(hops[0] + "?b=c&d")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true, true, true, false}, sent); diff != "" {
		t.Errorf("hops with the credential (-want +got):\n%s", diff)
	}
	for show(resp.Request); resp.Request.Response != nil; show(resp.Request) {
		resp = resp.Request.Response
		fmt.Fprintln(&shown, resp.Header)
	}
	if tells(shown.String()) {
		t.Errorf("the caller sees the credential:\n%s", &shown)
	}
}

// A recorder is a base that accepts everything.
type recorder struct{ sent []*http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.sent = append(r.sent, req)
	return respond(req, http.StatusOK, ""), nil
}

// refresh wraps base by a Refresh whose source always has a newer token.
func refresh(base http.RoundTripper) http.RoundTripper {
	var n atomic.Int32
	session := &tokensource.Session{MaxForced: -1, Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: fmt.Sprint("secret-", n.Add(1)), RefreshToken: "secret-refresh"}, nil
	}}
	return &transport.Refresh{Source: session, Base: base}
}

// everywhere is a jar that has one Cookie field for every URL: what keeps it to an
// origin is the audience.
type everywhere string

func (everywhere) SetCookies(*url.URL, []*http.Cookie) {}
func (everywhere) Cookies(*url.URL) []*http.Cookie     { panic("Header is what loses nothing") }
func (everywhere) Receive(*url.URL, []string)          {}
func (e everywhere) Header(*url.URL) string            { return string(e) }

// login wraps base by a Login that always succeeds.
func login(base http.RoundTripper) http.RoundTripper {
	return &cookiejar.Login{Login: func(context.Context, *http.Client) error { return nil }, MaxLogins: -1, Base: base}
}

// userAgent is a stranger's decorator.
type userAgent struct{ Base http.RoundTripper }

func (u userAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	r := *req
	r.Header = maps.Clone(req.Header)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("User-Agent", "program/1.0")
	resp, err := u.Unwrap().RoundTrip(&r)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

func (u userAgent) Unwrap() http.RoundTripper {
	if u.Base == nil {
		return http.DefaultTransport
	}
	return u.Base
}

func (u userAgent) CloseIdleConnections() {
	if c, ok := u.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// A proxied base goes through a proxy, as its http.Transport says.
type proxied struct{ http.RoundTripper }

func (p proxied) Unwrap() http.RoundTripper {
	return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example.com"})}
}

func (p proxied) CloseIdleConnections() {
	if c, ok := p.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
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
