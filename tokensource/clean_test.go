package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// Errors of others that hold a token endpoint's answer, or a URL, are shown
// without, and still are what they were to whoever handles them.
func TestErrorsAreCleaned(t *testing.T) {
	const secret = "hunter2"
	retrieve := func() error {
		return &oauth2.RetrieveError{
			Response:  &http.Response{StatusCode: 400, Status: "400 " + secret, Header: http.Header{"Set-Cookie": {secret}, "Retry-After": {"120"}}},
			Body:      []byte(secret),
			ErrorCode: "custom",
		}
	}
	network := func() error {
		return &url.Error{Op: "Post", URL: "https://as.example/token?key=" + secret, Err: fmt.Errorf("dial: %w", context.DeadlineExceeded)}
	}
	for _, tc := range []struct {
		name string
		err  error
		is   []error
		code string // of the RetrieveError within
	}{
		{"answer", retrieve(), nil, "custom"},
		{"answer, wrapped", fmt.Errorf("mine: %w", retrieve()), nil, "custom"},
		{"answer, with a sentinel", fmt.Errorf("%w: %w", tokensource.ErrReauthRequired, retrieve()), []error{tokensource.ErrReauthRequired}, "custom"},
		{"answer, joined", errors.Join(errDown, retrieve()), []error{errDown}, "custom"},
		{"answer, to be tried again", &tokensource.RetryError{At: time.Now(), Err: retrieve()}, nil, "custom"},
		{"URL", network(), []error{context.DeadlineExceeded}, ""},
		{"URL, wrapped", fmt.Errorf("mine: %w", network()), []error{context.DeadlineExceeded}, ""},
		{"URL, to be tried again", &tokensource.RetryError{At: time.Now(), Err: network()}, []error{context.DeadlineExceeded}, ""},
		{"both", errors.Join(network(), retrieve()), []error{context.DeadlineExceeded}, "custom"},
		{"neither", errDown, []error{errDown}, ""},
	} {
		sources := map[string]func() error{
			"FromOAuth2": func() error {
				_, err := tokensource.FromOAuth2(oauth2Func(func() (*oauth2.Token, error) { return nil, tc.err })).Token(t.Context())
				return err
			},
			"GrantFrom": func() error {
				_, err := tokensource.GrantFrom(func(context.Context) oauth2.TokenSource {
					return oauth2Func(func() (*oauth2.Token, error) { return nil, tc.err })
				})(t.Context(), nil)
				return err
			},
			"Grant": func() error {
				_, err := (&tokensource.Session{Grant: failingGrant(tc.err)}).Token(t.Context())
				return err
			},
			"event": func() error {
				var ev events
				_, _ = (&tokensource.Session{Grant: failingGrant(tc.err), OnEvent: ev.on}).Token(t.Context())
				return ev.list()[0].Err
			},
		}
		for name, call := range sources {
			t.Run(tc.name+", "+name, func(t *testing.T) {
				err := call()
				within := []any{err}
				re, _ := errors.AsType[*oauth2.RetrieveError](err)
				if code := ""; re != nil {
					code = re.ErrorCode
					within = append(within, re, re.Response)
					if code != tc.code || re.Response.StatusCode != 400 || re.Response.Header.Get("Retry-After") != "120" {
						t.Errorf("RetrieveError has code %q, status %d, header %v", re.ErrorCode, re.Response.StatusCode, re.Response.Header)
					}
				} else if tc.code != "" {
					t.Errorf("no RetrieveError within %v", err)
				}
				if retry, ok := errors.AsType[*tokensource.RetryError](err); ok {
					within = append(within, retry, retry.Err)
				}
				if ue, ok := errors.AsType[*url.Error](err); ok {
					within = append(within, ue)
				}
				if ne, ok := errors.AsType[net.Error](err); ok {
					within = append(within, ne)
				}
				if we, ok := errors.AsType[interface {
					error
					Unwrap() error
				}](err); ok {
					within = append(within, we)
				}
				for _, v := range within {
					for _, text := range printed(v) {
						if strings.Contains(text, secret) {
							t.Fatalf("%T is printed as %s", v, text)
						}
					}
				}
				for _, target := range tc.is {
					if !errors.Is(err, target) {
						t.Errorf("error is not %v", target)
					}
				}
			})
		}
	}
}
