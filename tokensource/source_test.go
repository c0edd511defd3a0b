package tokensource_test

import (
	"context"
	"errors"
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
