package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
)

// tells reports whether s has one of the spellings of key, or the word secret.
func tells(s string) bool {
	s = strings.ToLower(s)
	plain, _ := url.QueryUnescape(s)
	twice, _ := url.QueryUnescape(plain)
	return strings.Contains(s+plain+twice, "secret")
}

// slow is a timeout that repeats the URL, and wraps nothing.
type slow struct{ url *url.URL }

func (e slow) Error() string { return "too slow: " + e.url.RequestURI() }
func (slow) Timeout() bool   { return true }

// quiet does not tell, unlike what it wraps.
type quiet struct{ error }

func (quiet) Error() string   { return "no answer" }
func (e quiet) Unwrap() error { return e.error }

func TestErrorsOfBase(t *testing.T) {
	const shown = `Post "https://api.example.com/v1/items?b=2&a=1&key=[redacted]": `
	errOther := errors.New("other")
	urlError := func(req *http.Request, err error) error {
		return &url.Error{Op: "Post", URL: req.URL.String(), Err: err}
	}
	tests := []struct {
		name    string
		err     func(req *http.Request) error
		want    string
		is      []error
		timeout bool
	}{
		{"silent", func(*http.Request) error { return errOther }, "other", []error{errOther}, false},
		{"silent all through", func(*http.Request) error { return quiet{errors.Join(errOther, os.ErrDeadlineExceeded)} }, "no answer", []error{errOther, os.ErrDeadlineExceeded}, false},
		{"url.Error", func(req *http.Request) error { return urlError(req, context.DeadlineExceeded) }, shown + "context deadline exceeded", []error{context.DeadlineExceeded}, true},
		{"url.Error, cancelled", func(req *http.Request) error { return urlError(req, context.Canceled) }, shown + "context canceled", []error{context.Canceled}, false},
		{"below another", func(req *http.Request) error { return fmt.Errorf("try 1: %w", urlError(req, errOther)) }, "try 1: " + shown + "other", []error{errOther}, false},
		{"below a silent one", func(req *http.Request) error { return quiet{urlError(req, errOther)} }, "no answer", []error{errOther}, false},
		{"above a chain", func(req *http.Request) error {
			return urlError(req, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded})
		}, shown + "dial: i/o timeout", []error{os.ErrDeadlineExceeded}, true},
		{"one of several", func(req *http.Request) error {
			return errors.Join(errOther, urlError(req, context.DeadlineExceeded))
		}, "other\n" + shown + "context deadline exceeded", []error{errOther, context.DeadlineExceeded}, true},
		{"one of several, silently", func(req *http.Request) error {
			return quiet{fmt.Errorf("%w and %w", errOther, urlError(req, context.Canceled))}
		}, "no answer", []error{errOther, context.Canceled}, false},
		{"wrapping nothing", func(req *http.Request) error { return slow{req.URL} }, "too slow: /v1/items?b=2&a=1&key=[redacted]", nil, true},
		{"wrapping nil", func(req *http.Request) error { return quiet{error: nil} }, "no answer", nil, false},
		{"the key itself", func(req *http.Request) error { return errors.New("bad key " + req.URL.Query().Get("key")) }, "bad key [redacted]", nil, false},
		{"the key in a path", func(*http.Request) error { return errors.New("no /" + url.PathEscape(key)) }, "no /[redacted]", nil, false},
		{"the URL as a parameter", func(req *http.Request) error {
			return errors.New("refused: /log?url=" + url.QueryEscape(req.URL.RawQuery))
		}, "refused: /log?url=b%3D2%26a%3D1%26key%3D[redacted]", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var base error
			rt := &apikey.Transport{Key: key, In: apikey.Query, Name: "key", Base: transport.Func(func(req *http.Request) (*http.Response, error) {
				base = tt.err(req)
				return nil, base
			})}
			resp, err := rt.RoundTrip(newRequest(t, apiURL))
			if resp != nil || err == nil || err.Error() != tt.want {
				t.Fatalf("got %v and error\n     %v\nwant %s", resp, err, tt.want)
			}
			for _, target := range tt.is {
				if !errors.Is(err, target) {
					t.Errorf("it is no longer %v", target)
				}
			}
			if e := (&url.Error{Err: err}); e.Timeout() != tt.timeout {
				t.Errorf("to url.Error it is a timeout: %t", e.Timeout())
			}
			if strings.HasPrefix(tt.name, "silent") && err != base { //nolint:errorlint // the very same
				t.Errorf("got %#v, want the Base's own", err)
			}
			walk(err, func(err error) {
				if tells(fmt.Sprintf("%v %+v %#v", err, err, err)) {
					t.Errorf("%T tells the key: %#v", err, err)
				}
			})
			// What http.Client makes of it.
			_, err = (&http.Client{Transport: rt}).Get(apiURL)
			if tells(err.Error()) {
				t.Errorf("the client's error tells the key: %v", err)
			}
		})
	}
}

// walk calls f for each error in err's tree.
func walk(err error, f func(error)) {
	f(err)
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if err := err.Unwrap(); err != nil {
			walk(err, f)
		}
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			walk(err, f)
		}
	}
}

// In a header or a cookie no Base has a reason to repeat the key, and its error
// is its own.
func TestErrorsOfBaseElsewhere(t *testing.T) {
	errBase := errors.New("connection lost")
	for _, p := range places {
		rt := &apikey.Transport{Key: "secret", In: p.in, Name: p.as, Base: transport.Func(func(*http.Request) (*http.Response, error) {
			return nil, errBase
		})}
		if _, err := rt.RoundTrip(newRequest(t, apiURL)); err != errBase { //nolint:errorlint // the very same
			t.Errorf("%s: got %v", p.name, err)
		}
	}
}
