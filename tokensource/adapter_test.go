package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// oauth2Func is an oauth2.TokenSource from a function.
type oauth2Func func() (*oauth2.Token, error)

func (f oauth2Func) Token() (*oauth2.Token, error) { return f() }

func TestFromOAuth2(t *testing.T) {
	for _, tc := range []struct {
		name string
		src  oauth2.TokenSource
		want string // prefix
	}{
		{"a token", oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "access-0"}), "access-0"},
		{"an error", oauth2Func(func() (*oauth2.Token, error) { return nil, errDown }), "error: the server is down"},
		{"nil", nil, "error: tokensource: source is nil"},
		{"a nil function", oauth2Func(nil), "error: tokensource: oauth2.TokenSource panicked"},
		{"a panic", oauth2Func(func() (*oauth2.Token, error) { panic("hunter2") }), "error: tokensource: oauth2.TokenSource panicked at adapter_test.go:"},
		{"Goexit", oauth2Func(func() (*oauth2.Token, error) { runtime.Goexit(); return nil, nil }), "error: tokensource: oauth2.TokenSource ended its goroutine"},
		{"neither token nor error", oauth2Func(func() (*oauth2.Token, error) { return nil, nil }), "error: "},
		{"a token without an access token", oauth2Func(func() (*oauth2.Token, error) { return &oauth2.Token{}, nil }), "error: "},
		{"a refusal", oauth2Func(func() (*oauth2.Token, error) { return nil, refused("invalid_grant") }), `error: oauth2: "invalid_grant"`},
		{"a refusal in HTML", oauth2Func(func() (*oauth2.Token, error) {
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 503, Status: "503 hunter2"}, Body: []byte("hunter2")}
		}), "error: oauth2: cannot fetch token: 503 Service Unavailable\nResponse: "},
		{"a refusal without a response", oauth2Func(func() (*oauth2.Token, error) { return nil, &oauth2.RetrieveError{Body: []byte("hunter2")} }), "error: oauth2: cannot fetch token: no response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := tokensource.FromOAuth2(tc.src)
			for range 2 {
				got := access(src.Token(t.Context()))
				if !strings.HasPrefix(got, tc.want) {
					t.Errorf("Token = %s, want %s", got, tc.want)
				}
				if strings.Contains(got, "hunter2") {
					t.Errorf("error repeats a secret: %s", got)
				}
			}
		})
	}
}

// x/oauth2's sources know no context; a caller leaves all the same, and those
// who stay share the one call.
func TestFromOAuth2BlockedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		src := tokensource.FromOAuth2(oauth2Func(func() (*oauth2.Token, error) {
			calls++
			time.Sleep(time.Minute)
			return &oauth2.Token{AccessToken: "access-1"}, nil
		}))
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				patience := time.Duration(i+1) * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				start := time.Now()
				token, err := src.Token(ctx)
				d := time.Since(start)
				switch {
				case patience < time.Minute:
					if d != patience || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Token = %s after %v, want context.DeadlineExceeded after %v", access(token, err), d, patience)
					}
				case patience > time.Minute:
					if d != time.Minute || token == nil || token.AccessToken != "access-1" {
						t.Errorf("Token = %s after %v, want access-1 after 1m", access(token, err), d)
					}
				}
			})
		}
		wg.Wait()
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
		// Nothing is kept: freshness is the source's business.
		if got := access(src.Token(t.Context())); got != "access-1" || calls != 2 {
			t.Errorf("Token = %s after %d calls, want another call", got, calls)
		}
	})
}

func TestToOAuth2(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	src := tokensource.ToOAuth2(ctx, tokensource.SourceFunc(func(ctx context.Context) (*oauth2.Token, error) {
		if ctx.Value(key{}) != "value" {
			t.Error("not the context given")
		}
		return &oauth2.Token{AccessToken: "access-0"}, nil
	}))
	if got := access(src.Token()); got != "access-0" {
		t.Errorf("Token = %s", got)
	}
	if token, err := tokensource.ToOAuth2(ctx, nil).Token(); token != nil || err == nil {
		t.Errorf("of nil, Token = %s, want an error", access(token, err))
	}
	if token, err := tokensource.ToOAuth2(ctx, &tokensource.Session{Grant: failingGrant(tokensource.ErrNoToken)}).Token(); !errors.Is(err, tokensource.ErrNoToken) {
		t.Errorf("Token = %s, want ErrNoToken", access(token, err))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tokensource.ToOAuth2(ended, &tokensource.Session{}).Token(); !errors.Is(err, context.Canceled) {
		t.Errorf("Token = %v, want context.Canceled", err)
	}
}

// A Session follows every change behind an oauth2.Transport.
func TestToOAuth2FollowsTheSession(t *testing.T) {
	s := &tokensource.Session{Grant: (&fakeGrant{}).grant}
	src := tokensource.ToOAuth2(t.Context(), s)
	signedIn(t, s, &oauth2.Token{AccessToken: "one"})
	one := access(src.Token())
	signedIn(t, s, &oauth2.Token{AccessToken: "two"})
	if two := access(src.Token()); one != "one" || two != "two" {
		t.Errorf("tokens are %s and %s", one, two)
	}
}
