package tokensource_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

func TestStatic(t *testing.T) {
	src := tokensource.Static("access-0")
	token, err := src.Token(t.Context())
	if got := access(token, err); got != "access-0" {
		t.Errorf("Token = %s", got)
	}
	if again, _ := src.Token(t.Context()); again != token {
		t.Error("another object each time")
	}
	if token.Type() != "Bearer" || !token.Expiry.IsZero() {
		t.Errorf("type is %q, expiry %v", token.Type(), token.Expiry)
	}
	if token, err := tokensource.Static("").Token(t.Context()); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
		t.Errorf("of nothing, Token = %s, want ErrNoToken", access(token, err))
	}
}

func TestFunc(t *testing.T) {
	type key struct{}
	n := 0
	f := tokensource.SourceFunc(func(ctx context.Context) (*oauth2.Token, error) {
		if ctx.Value(key{}) != "value" {
			t.Error("not the caller's context")
		}
		n++
		return nil, errDown
	})
	for range 2 {
		if _, err := f.Token(context.WithValue(t.Context(), key{}, "value")); err != errDown {
			t.Errorf("Token = %v", err)
		}
	}
	if n != 2 {
		t.Errorf("%d calls, want one for each request", n)
	}
	if token, err := tokensource.SourceFunc(nil).Token(t.Context()); token != nil || err == nil {
		t.Errorf("of nil, Token = %s, want an error", access(token, err))
	}
}

func TestRetryError(t *testing.T) {
	err := error(&tokensource.RetryError{At: time.Now(), Err: tokensource.ErrRenewalLimit})
	if want := "tokensource: renewal failed: fresh tokens are being rejected"; err.Error() != want {
		t.Errorf("text is %q, want %q", err, want)
	}
	if !errors.Is(err, tokensource.ErrRenewalLimit) {
		t.Error("does not wrap its cause")
	}
}

func TestEnv(t *testing.T) {
	const name = "AUTHTRIP_TEST_TOKEN"
	source := tokensource.Env(name)
	if _, err := source.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) || !strings.Contains(err.Error(), name) {
		t.Errorf("not set: %v, want ErrNoToken that names the variable", err)
	}
	for value, want := range map[string]string{"": "", " \n": "", "one": "one", " two\r\n": "two", "s3\ncret": "", "s3\x7fcret": ""} {
		t.Setenv(name, value)
		token, err := source.Token(t.Context())
		switch {
		case want == "" && (err == nil || strings.Contains(err.Error(), "cret")):
			t.Errorf("%q: %s, want an error without the value", value, access(token, err))
		case want != "" && access(token, err) != want:
			t.Errorf("%q: %s, want %s", value, access(token, err), want)
		}
	}
}

func TestNewSession(t *testing.T) {
	for name, token := range map[string]*oauth2.Token{"nil": nil, "empty": {}} {
		s := tokensource.NewSession((&fakeGrant{}).grant, token)
		if got, good := s.Current(); got != nil || good || s.Err() != nil {
			t.Errorf("%s: Current = %v, %v; Err = %v", name, got, good, s.Err())
		}
		if got := access(s.Token(t.Context())); got != "access-1" {
			t.Errorf("%s: Token = %s", name, got)
		}
	}
	s := tokensource.NewSession((&fakeGrant{}).grant, &oauth2.Token{AccessToken: "0", RefreshToken: "r"})
	if got := access(s.Token(t.Context())); got != "0" {
		t.Errorf("Token = %s", got)
	}
	// What a Store holds counts more, and what it lacks it gets.
	s = tokensource.NewSession((&fakeGrant{}).grant, &oauth2.Token{AccessToken: "0", RefreshToken: "r"})
	s.Store = &fakeStore{text: tokensource.NewRecord(&oauth2.Token{AccessToken: "stored"})}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := access(s.Token(t.Context())); got != "stored" {
		t.Errorf("Token = %s", got)
	}
	empty := &fakeStore{}
	s = tokensource.NewSession((&fakeGrant{}).grant, &oauth2.Token{AccessToken: "0", RefreshToken: "r"})
	s.Store = empty
	if err := errors.Join(s.Reload(t.Context()), s.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := empty.record(); got.Change == "" || got.Token.AccessToken != "0" {
		t.Errorf("saved %v", got)
	}
}
