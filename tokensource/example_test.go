package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// authorizationServer returns a client that answers each request with the next
// of answers, in the place of a server.
func authorizationServer(answers ...string) *http.Client {
	return &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		if err := req.ParseForm(); err != nil {
			return nil, err
		}
		fmt.Printf("server: got %s(%s)\n", req.PostForm.Get("grant_type"), req.PostForm.Get("refresh_token"))
		status, answer := http.StatusOK, answers[0]
		if answers = answers[1:]; strings.Contains(answer, `"error"`) {
			status = http.StatusBadRequest
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: req}, nil
	})}
}

// A Session with a Grant of one's own, here for an API that hands out session
// keys. Its token is exchanged when it is needed, and again once rejected.
func ExampleSession() {
	n := 0
	session := &tokensource.Session{
		Grant: func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
			n++ // POST /login ...
			return &oauth2.Token{AccessToken: fmt.Sprintf("key-%d", n)}, nil
		},
	}
	ctx := context.Background()
	token, err := session.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	token, err = session.Renew(ctx, token) // after a 401; transport.Refresh does this
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output:
	// key-1
	// key-2
}

// When the authorization server refuses the refresh token for good, only
// signing in again helps. Nothing is asked of the server until then.
func ExampleSession_signInAgain() {
	client := authorizationServer(`{"error": "invalid_grant"}`)
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	session := &tokensource.Session{Grant: tokensource.RefreshToken(&oauth2.Config{
		ClientID: "my-app",
		Endpoint: oauth2.Endpoint{TokenURL: "https://as.example/token"},
	})}
	if err := session.Set(ctx, &oauth2.Token{RefreshToken: "revoked"}); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		if _, err := session.Token(ctx); errors.Is(err, tokensource.ErrReauthRequired) {
			fmt.Println("please sign in")
		}
	}
	if err := session.Set(ctx, &oauth2.Token{AccessToken: "fresh"}); err != nil {
		fmt.Println(err)
		return
	}
	token, err := session.Token(ctx)
	fmt.Println(token.AccessToken, err)
	// Output:
	// server: got refresh_token(revoked)
	// please sign in
	// please sign in
	// fresh <nil>
}

// The refresh token that the server rotates is the one presented next.
func ExampleRefreshToken() {
	client := authorizationServer(
		`{"access_token": "access-1", "refresh_token": "refresh-2", "expires_in": 3600}`,
		`{"access_token": "access-2", "refresh_token": "refresh-3", "expires_in": 3600}`,
	)
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	session := &tokensource.Session{Grant: tokensource.RefreshToken(&oauth2.Config{
		ClientID:     "my-app",
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		Endpoint:     oauth2.Endpoint{TokenURL: "https://as.example/token"},
	})}
	// As stored from an earlier sign-in; usually the token of Config.Exchange.
	if err := session.Set(ctx, &oauth2.Token{RefreshToken: "refresh-1"}); err != nil {
		fmt.Println(err)
		return
	}
	token, err := session.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	if token, err = session.Renew(ctx, token); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output:
	// server: got refresh_token(refresh-1)
	// access-1
	// server: got refresh_token(refresh-2)
	// access-2
}

func ExampleClientCredentials() {
	client := authorizationServer(`{"access_token": "access-1", "expires_in": 3600}`)
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	session := &tokensource.Session{Grant: tokensource.ClientCredentials(&clientcredentials.Config{
		ClientID:     "my-service",
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     "https://as.example/token",
		Scopes:       []string{"read"},
	})}
	for range 2 { // one exchange serves both
		token, err := session.Token(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.AccessToken)
	}
	// Output:
	// server: got client_credentials()
	// access-1
	// access-1
}

// Whatever x/oauth2 has a TokenSource for can be a Session's Grant.
func ExampleGrantFrom() {
	session := &tokensource.Session{Grant: tokensource.GrantFrom(func(ctx context.Context) oauth2.TokenSource {
		// jwt.Config.TokenSource(ctx), google.FindDefaultCredentials, ...
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "from-x-oauth2"})
	})}
	token, err := session.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: from-x-oauth2
}

// A Grant tells what cannot succeed any more from what may later.
func ExampleGrant() {
	var accountClosed bool
	var grant tokensource.Grant = func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
		if accountClosed {
			return nil, fmt.Errorf("%w: the account is closed", tokensource.ErrReauthRequired)
		}
		return nil, errors.New("the login server is down")
	}
	ctx := context.Background()
	for _, accountClosed = range []bool{false, true} {
		session := &tokensource.Session{Grant: grant}
		_, err := session.Token(ctx)
		fmt.Println(err)
	}
	// Output:
	// tokensource: renewal failed: the login server is down
	// tokensource: sign in again: the account is closed
}

// A source made for x/oauth2 knows nothing of contexts. Behind FromOAuth2 it
// holds nobody longer than they want to wait.
func ExampleFromOAuth2() {
	hung := make(chan struct{})
	defer close(hung)
	source := tokensource.FromOAuth2(oauth2Func(func() (*oauth2.Token, error) {
		<-hung
		return nil, errors.New("too late")
	}))
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := source.Token(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// Code written for x/oauth2 can use a Session too.
func ExampleToOAuth2() {
	session := &tokensource.Session{}
	ctx := context.Background()
	if err := session.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	var src oauth2.TokenSource = tokensource.ToOAuth2(ctx, session)
	token, err := src.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}

func ExampleStatic() {
	source := tokensource.Static("personal-access-token")
	token, err := source.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: personal-access-token
}

// A token read anew for every request, as from a file that something else
// keeps up to date.
func ExampleFunc() {
	readFile := func() ([]byte, error) { return []byte("mounted-token\n"), nil }
	source := tokensource.SourceFunc(func(context.Context) (*oauth2.Token, error) {
		b, err := readFile()
		if err != nil {
			return nil, err
		}
		return &oauth2.Token{AccessToken: strings.TrimSpace(string(b))}, nil
	})
	token, err := source.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: mounted-token
}

// No token is not an error for those to whom signing in is optional.
func ExampleSource() {
	greet := func(source tokensource.Source) {
		token, err := source.Token(context.Background())
		switch {
		case errors.Is(err, tokensource.ErrNoToken):
			fmt.Println("anonymous")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println("signed in,", token.Type())
		}
	}
	greet(tokensource.Static(""))
	greet(tokensource.Static("access-1"))
	// Output:
	// anonymous
	// signed in, Bearer
}

// A late rejection of a token that has been replaced costs no exchange.
func ExampleRenewer() {
	n := 0
	var renewer tokensource.Renewer = &tokensource.Session{
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			n++
			return &oauth2.Token{AccessToken: fmt.Sprintf("access-%d", n)}, nil
		},
	}
	ctx := context.Background()
	first, err := renewer.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 { // three requests were sent with it, and all got a 401
		token, err := renewer.Renew(ctx, first)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.AccessToken)
	}
	// Output:
	// access-2
	// access-2
	// access-2
}

// A RetryError says when it may go better.
func ExampleRetryError() {
	session := &tokensource.Session{
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, &tokensource.RetryError{At: time.Now().Add(10 * time.Minute), Err: errors.New("maintenance")}
		},
	}
	_, err := session.Token(context.Background())
	if retry, ok := errors.AsType[*tokensource.RetryError](err); ok {
		fmt.Println("try again in", time.Until(retry.At).Round(time.Minute))
	}
	// Output: try again in 10m0s
}

// An Event logs itself, without a secret.
func ExampleEvent() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" {
				return slog.Attr{} // to have the same output each time
			}
			return a
		},
	}))
	session := &tokensource.Session{
		OnEvent: func(ctx context.Context, e tokensource.Event) {
			logger.InfoContext(ctx, "token", "event", e)
		},
	}
	ctx := context.Background()
	if err := session.Set(ctx, &oauth2.Token{AccessToken: "secret"}); err != nil {
		fmt.Println(err)
		return
	}
	if err := session.Clear(ctx); err != nil {
		fmt.Println(err)
		return
	}
	// Output:
	// level=INFO msg=token event.kind=set event.generation=1
	// level=INFO msg=token event.kind=cleared event.generation=1
}

func ExampleEventKind() {
	session := &tokensource.Session{
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, tokensource.ErrReauthRequired
		},
		OnEvent: func(_ context.Context, e tokensource.Event) {
			switch e.Kind {
			case tokensource.EventReauthRequired:
				fmt.Println("show the sign-in page")
			case tokensource.EventRenewalFailed, tokensource.EventSaveFailed:
				fmt.Println("count it:", e.Err)
			}
		},
	}
	_, err := session.Token(context.Background())
	fmt.Println(err)
	// Output:
	// show the sign-in page
	// tokensource: sign in again
}
