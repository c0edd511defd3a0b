package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// api stands for the network in these examples. It accepts the tokens "good" and
// "renewed", and says what it has seen.
var api = transport.Func(func(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req}
	auth := req.Header.Get("Authorization")
	switch auth {
	case "", "Bearer good", "Bearer renewed", "Basic cm9vdDpodW50ZXIy":
	default:
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	if req.URL.Path == "/away" {
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", "https://elsewhere.example.net/")
	}
	fmt.Printf("%s %s %q: %d\n", req.Method, req.URL, auth, resp.StatusCode)
	resp.Body = io.NopCloser(strings.NewReader(""))
	return resp, nil
})

func ExampleChain() {
	say := func(name string) transport.Middleware {
		return func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				fmt.Println(name, "sees the request")
				resp, err := base.RoundTrip(req)
				fmt.Println(name, "sees the response")
				return resp, err
			})
		}
	}
	chain := transport.Chain(say("A"), say("B"))
	client := &http.Client{Transport: chain(api)} // say("A")(say("B")(api))
	client.Get("https://api.example.com/")
	// Output:
	// A sees the request
	// B sees the request
	// GET https://api.example.com/ "": 200
	// B sees the response
	// A sees the response
}

// A Middleware of one's own. It must not modify the request that it is given, so
// it sends a copy.
func ExampleMiddleware() {
	var userAgent transport.Middleware = func(base http.RoundTripper) http.RoundTripper {
		return transport.Func(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.Header.Set("User-Agent", "example/1.0")
			return base.RoundTrip(req)
		})
	}
	base := transport.Func(func(req *http.Request) (*http.Response, error) {
		fmt.Println(req.Header)
		return api(req)
	})
	bearer := &transport.Bearer{Source: tokensource.Static("good")}
	client := transport.Client(&http.Client{Transport: base}, userAgent, bearer.Wrap)
	client.Get("https://api.example.com/")
	// Output:
	// map[Authorization:[Bearer good] User-Agent:[example/1.0]]
	// GET https://api.example.com/ "Bearer good": 200
}

// A Func in place of the network, for a test.
func ExampleFunc() {
	offline := transport.Func(func(req *http.Request) (*http.Response, error) {
		return nil, errors.New("no network")
	})
	client := &http.Client{Transport: offline}
	_, err := client.Get("https://api.example.com/")
	fmt.Println(err)
	// Output:
	// Get "https://api.example.com/": no network
}

// The client that one has, its timeout and cookie jar included, with a token.
func ExampleClient() {
	plain := &http.Client{Transport: api}
	bearer := &transport.Bearer{Source: tokensource.Static("good")}
	client := transport.Client(plain, bearer.Wrap)
	client.Get("https://api.example.com/")
	plain.Get("https://api.example.com/") // is left as it was
	// Output:
	// GET https://api.example.com/ "Bearer good": 200
	// GET https://api.example.com/ "": 200
}

func ExampleBearer() {
	client := &http.Client{Transport: &transport.Bearer{
		Source: tokensource.Static("good"),
		Base:   api,
	}}
	client.Get("https://api.example.com/")

	// The caller's own credential wins.
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	req.SetBasicAuth("root", "hunter2")
	client.Do(req)

	// Where a redirect leads elsewhere, the token stays behind.
	client.Get("https://api.example.com/away")
	// Output:
	// GET https://api.example.com/ "Bearer good": 200
	// GET https://api.example.com/ "Basic cm9vdDpodW50ZXIy": 200
	// GET https://api.example.com/away "Bearer good": 302
	// GET https://elsewhere.example.net/ "": 200
}

func ExampleRefresh() {
	ctx := context.Background()
	session := &tokensource.Session{
		// tokensource.RefreshToken is the Grant for an authorization server.
		Grant: func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
			fmt.Println("renewing with", current.RefreshToken)
			return &oauth2.Token{AccessToken: "renewed", RefreshToken: "r2"}, nil
		},
	}
	// The token that signing in has brought, and that was revoked since.
	session.Set(ctx, &oauth2.Token{AccessToken: "revoked", RefreshToken: "r1"})

	client := &http.Client{Transport: &transport.Refresh{Source: session, Base: api}}
	resp, err := client.Post("https://api.example.com/items", "text/plain", strings.NewReader("an item"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output:
	// POST https://api.example.com/items "Bearer revoked": 401
	// renewing with r1
	// POST https://api.example.com/items "Bearer renewed": 200
	// 200
}

// The API wants more than the token's scope, and gets a token that has it.
func ExampleRefresh_stepUp() {
	session := &tokensource.Session{}
	session.Set(context.Background(), &oauth2.Token{AccessToken: "read-only"})
	orders := transport.Func(func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: req}
		if req.Header.Get("Authorization") != "Bearer may write" {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="orders:write"`)
		}
		return resp, nil
	})
	client := &http.Client{Transport: &transport.Refresh{
		Source: session,
		OnStepUp: func(ctx context.Context, s transport.StepUp) (*oauth2.Token, error) {
			// Here the user is sent to the authorization server, to consent.
			fmt.Println(s.Error, s.Scopes)
			if err := session.Set(ctx, &oauth2.Token{AccessToken: "may write"}); err != nil {
				return nil, err
			}
			return session.Token(ctx) // for later requests as well
		},
		Base: orders,
	}}
	for range 2 {
		resp, err := client.Post("https://api.example.com/orders", "text/plain", strings.NewReader("an order"))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// insufficient_scope [orders:write]
	// 201
	// 201
}

// A server that says 200 and puts the error into the body.
func ExampleRejectedIf() {
	talkative := transport.Func(func(req *http.Request) (*http.Response, error) {
		body := `{"error": "token_expired"}`
		if req.Header.Get("Authorization") == "Bearer renewed" {
			body = `{"items": []}`
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	})
	session := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "renewed"}, nil
	}}
	session.Set(context.Background(), &oauth2.Token{AccessToken: "expired"})
	client := &http.Client{Transport: &transport.Refresh{
		Source: session,
		Rejected: transport.RejectedIf(func(body []byte) bool {
			return bytes.Contains(body, []byte(`"token_expired"`))
		}, http.StatusOK),
		Base: talkative,
	}}
	resp, err := client.Get("https://api.example.com/items")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	io.Copy(os.Stdout, resp.Body)
	// Output:
	// {"items": []}
}

// Whichever the server offers. The first request asks, and the next one goes by
// what was chosen at once.
func ExampleChoose() {
	old := transport.Func(func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
		scheme, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		if scheme != "Digest" {
			resp.StatusCode = http.StatusUnauthorized
			resp.Header.Add("WWW-Authenticate", `Basic realm="files"`)
			resp.Header.Add("WWW-Authenticate", `Digest realm="files", qop="auth", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv"`)
		}
		fmt.Printf("%s %q: %d\n", req.URL, scheme, resp.StatusCode)
		return resp, nil
	})
	client := &http.Client{Transport: &transport.Choose{
		Choices: []transport.Choice{
			{Scheme: "Digest", Middleware: (&digest.Transport{Username: "root", Password: "hunter2"}).Wrap},
			{Scheme: "Basic", Middleware: (&basic.Transport{Username: "root", Password: "hunter2"}).Wrap},
		},
		Base: old,
	}}
	client.Get("https://files.example.com/a")
	client.Get("https://files.example.com/b")
	// Output:
	// https://files.example.com/a "": 401
	// https://files.example.com/a "Digest": 200
	// https://files.example.com/b "Digest": 200
}

// A client for one API, whatever URLs it is given.
func ExampleAudience() {
	client := &http.Client{Transport: &transport.Bearer{
		Source:   tokensource.Static("good"),
		Audience: &transport.Audience{Origins: []string{"https://api.example.com", "https://*.cdn.example.com"}},
		Base:     api,
	}}
	client.Get("https://api.example.com/")
	client.Get("https://eu.cdn.example.com/")
	client.Get("https://elsewhere.example.net/")
	// Output:
	// GET https://api.example.com/ "Bearer good": 200
	// GET https://eu.cdn.example.com/ "Bearer good": 200
	// GET https://elsewhere.example.net/ "": 200
}

// Without AllowHTTP a token does not go over plain http, but to loopback.
func ExampleAudience_plainHTTP() {
	client := &http.Client{Transport: &transport.Bearer{Source: tokensource.Static("good"), Base: api}}
	client.Get("http://localhost:8080/")
	_, err := client.Get("http://api.example.com/")
	fmt.Println(errors.Is(err, transport.ErrInsecureOrigin))
	// Output:
	// GET http://localhost:8080/ "Bearer good": 200
	// true
}

func ExampleWithoutCredentials() {
	client := &http.Client{Transport: &transport.Bearer{Source: tokensource.Static("good"), Base: api}}
	ctx := transport.WithoutCredentials(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/public", nil)
	client.Do(req)
	// Output:
	// GET https://api.example.com/public "": 200
}

func ExampleRenewalError() {
	session := &tokensource.Session{
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant"}
		},
	}
	session.Set(context.Background(), &oauth2.Token{AccessToken: "revoked", RefreshToken: "revoked, too"})
	client := &http.Client{Transport: &transport.Refresh{Source: session, Base: api}}

	_, err := client.Get("https://api.example.com/")
	if renewal, ok := errors.AsType[*transport.RenewalError](err); ok {
		fmt.Println(renewal.StatusCode, renewal.Challenges)
	}
	if errors.Is(err, tokensource.ErrReauthRequired) {
		fmt.Println("please sign in again")
	}
	// Output:
	// GET https://api.example.com/ "Bearer revoked": 401
	// 401 [Bearer error="invalid_token"]
	// please sign in again
}

func ExampleEvent() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" {
				return slog.Attr{} // different each time
			}
			return a
		},
	}))
	session := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "renewed"}, nil
	}}
	session.Set(context.Background(), &oauth2.Token{AccessToken: "revoked"})
	client := &http.Client{Transport: &transport.Refresh{
		Source: session,
		OnEvent: func(ctx context.Context, e transport.Event) {
			logger.InfoContext(ctx, "token", "event", e)
		},
		Base: api,
	}}
	client.Get("https://api.example.com/")
	// Output:
	// GET https://api.example.com/ "Bearer revoked": 401
	// level=INFO msg=token event.kind=rejected event.status=401 event.generation=1
	// GET https://api.example.com/ "Bearer renewed": 200
	// level=INFO msg=token event.kind=replayed event.status=200 event.generation=2
}

// Counting events, as for metrics.
func ExampleEventKind() {
	count := map[transport.EventKind]int{}
	client := &http.Client{Transport: &transport.Refresh{
		Source:   &tokensource.Session{},
		Audience: &transport.Audience{Origins: []string{"https://api.example.com"}},
		OnEvent:  func(_ context.Context, e transport.Event) { count[e.Kind]++ },
		Base:     api,
	}}
	client.Get("https://elsewhere.example.net/")
	client.Get("https://elsewhere.example.net/")
	fmt.Println(count[transport.EventWithheld], "requests went without a token")
	// Output:
	// GET https://elsewhere.example.net/ "": 200
	// GET https://elsewhere.example.net/ "": 200
	// 2 requests went without a token
}
