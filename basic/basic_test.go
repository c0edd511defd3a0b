package basic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

func TestCredentials(t *testing.T) {
	tests := []struct {
		name               string
		username, password string
		want               string
	}{
		{"RFC 7617 section 2", "Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
		{"RFC 7617 section 2.1", "test", "123£", "Basic dGVzdDoxMjPCow=="},
		{"no user name", "", "secret", "Basic OnNlY3JldA=="},
		{"no password", "secret", "", "Basic c2VjcmV0Og=="},
		{"colons in the password", "user", ":a:b", "Basic dXNlcjo6YTpi"},
		{"space alone", " ", " ", "Basic IDog"},
		{"neither UTF-8 nor control", "\xe9", "\x80\xff", "Basic 6TqA/w=="},
		{"not normalised", "e\u0301", "\u00e9", "Basic ZcyBOsOp"},
	}
	for _, tt := range tests {
		s := &server{}
		for by, rt := range both(s, tt.username, tt.password) {
			t.Run(tt.name+" by "+by, func(t *testing.T) {
				got, err := s.roundTrip(t, rt, newRequest(t))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
					t.Errorf("Authorization (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../shared/corpus/challenges/basic-vectors.json")
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	var corpus struct {
		Count   int
		Vectors []struct{ ID, Username, Password, Header string }
	}
	if err := json.Unmarshal(data, &corpus); err != nil || len(corpus.Vectors) != corpus.Count || corpus.Count == 0 {
		t.Fatalf("%d vectors of %d, %v", len(corpus.Vectors), corpus.Count, err)
	}
	for _, v := range corpus.Vectors {
		s := &server{}
		got, err := s.roundTrip(t, &basic.Transport{Username: v.Username, Password: v.Password, Base: s}, newRequest(t))
		if diff := cmp.Diff([]string{v.Header}, got); diff != "" || err != nil {
			t.Errorf("%s: %v, Authorization (-want +got):\n%s", v.ID, err, diff)
		}
	}
}

func TestRefusedCredentials(t *testing.T) {
	type test struct {
		name               string
		username, password string
		want               string
	}
	tests := []test{
		{"neither", "", "", "basic: neither a user name nor a password"},
		{"colon", "sec:ret", "secret", "basic: the user name has a colon"},
		{"colon at the end", "secret:", "", "basic: the user name has a colon"},
		{"colon alone", ":", "secret", "basic: the user name has a colon"},
	}
	for c := range 0x80 {
		if c < 0x20 || c == 0x7f {
			control := string(rune(c))
			tests = append(
				tests,
				test{fmt.Sprintf("%#x in the user name", c), "sec" + control + "ret", "secret", "basic: the user name has a control character"},
				test{fmt.Sprintf("%#x in the password", c), "secret", "secret" + control, "basic: the password has a control character"},
			)
		}
	}
	for _, tt := range tests {
		s := &server{}
		for by, rt := range both(s, tt.username, tt.password) {
			t.Run(tt.name+" by "+by, func(t *testing.T) {
				for range 2 { // nothing is remembered that would let the second go
					_, err := s.roundTrip(t, rt, newRequest(t))
					if err == nil || err.Error() != tt.want {
						t.Errorf("got %v, want %s", err, tt.want)
					}
				}
			})
		}
	}
}

// Whatever the last request had, each has what Credentials say now.
func TestCredentialsOfEachRequest(t *testing.T) {
	errVault := errors.New("vault is sealed")
	steps := []struct {
		username, password string
		err                error
	}{
		{"a", "1", nil},
		{"a", "2", nil},
		{"b", "2", nil},
		{"b", "2", errVault},
		{"b", "2", nil},
		{"b", "2\n", nil},
		{"a", "1", nil},
	}
	s := &server{}
	type key struct{}
	rt := &basic.Transport{Base: s, Credentials: func(ctx context.Context) (string, string, error) {
		step := steps[ctx.Value(key{}).(int)]
		return step.username, step.password, step.err
	}}
	for i, step := range steps {
		req := newRequest(t)
		got, err := s.roundTrip(t, rt, req.WithContext(context.WithValue(req.Context(), key{}, i)))
		var want []string
		if fail := step.err != nil || strings.HasSuffix(step.password, "\n"); fail != (err != nil) {
			t.Errorf("step %d: error %v", i, err)
		} else if !fail {
			req.SetBasicAuth(step.username, step.password)
			want = fields(req.Header)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("step %d: Authorization (-want +got):\n%s", i, diff)
		}
		if step.err != nil && err != step.err { //nolint:errorlint // the very same
			t.Errorf("step %d: got %v, want %v", i, err, step.err)
		}
	}
}

func TestCredentialsFail(t *testing.T) {
	tests := []struct {
		name        string
		credentials func(context.Context) (string, string, error)
		prefix      string
		suffix      string
	}{
		{"error", fixed("secret", "secret", io.ErrUnexpectedEOF), "unexpected EOF", ""},
		{"panic", func(context.Context) (string, string, error) { panic("secret") }, "basic: Credentials panicked at basic_test.go:", " with a value of type string"},
		{"panic with an error", func(context.Context) (string, string, error) { panic(errors.New("secret")) }, "basic: Credentials panicked at basic_test.go:", " with a value of type *errors.errorString"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{}
			_, err := s.roundTrip(t, &basic.Transport{Username: "user", Password: "secret", Credentials: tt.credentials, Base: s}, newRequest(t))
			if err == nil || !strings.HasPrefix(err.Error(), tt.prefix) || !strings.HasSuffix(err.Error(), tt.suffix) {
				t.Errorf("got %v, want %s ... %s", err, tt.prefix, tt.suffix)
			}
		})
	}
}

func TestWaitingForCredentials(t *testing.T) {
	tests := []struct {
		name string
		end  func(*http.Client, *http.Request) *http.Request // after a minute
		want error
	}{
		{"deadline", func(_ *http.Client, req *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(req.Context(), time.Minute)
			context.AfterFunc(ctx, cancel)
			return req.WithContext(ctx)
		}, context.DeadlineExceeded},
		{"cancellation", func(_ *http.Client, req *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(req.Context())
			time.AfterFunc(time.Minute, cancel)
			return req.WithContext(ctx)
		}, context.Canceled},
		{"Client.Timeout", func(c *http.Client, req *http.Request) *http.Request {
			c.Timeout = time.Minute
			return req
		}, context.DeadlineExceeded},
		{"Request.Cancel", func(_ *http.Client, req *http.Request) *http.Request {
			cancel := make(chan struct{})
			time.AfterFunc(time.Minute, func() { close(cancel) })
			req.Cancel = cancel //lint:ignore SA1019 deprecated, and still in use
			return req
		}, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				client := &http.Client{Transport: &basic.Transport{Base: s, Credentials: func(ctx context.Context) (string, string, error) {
					<-ctx.Done()
					return "", "", ctx.Err()
				}}}
				body := &counted{Reader: strings.NewReader("payload")}
				req := tt.end(client, newRequest(t))
				req.Body = body
				start := time.Now()
				_, err := client.Do(req)
				if !errors.Is(err, tt.want) || time.Since(start) != time.Minute {
					t.Errorf("got %v after %v, want %v after a minute", err, time.Since(start), tt.want)
				}
				if e, ok := err.(*url.Error); !ok || e.Timeout() != (tt.want == context.DeadlineExceeded) {
					t.Errorf("got %v: wrong about being a timeout", err)
				}
				if len(s.sent) != 0 || body.closed.Load() != 1 {
					t.Errorf("%d requests sent, the body closed %d times, want none and once", len(s.sent), body.closed.Load())
				}
			})
		})
	}
}

// redirected makes req a hop of a chain that began at url.
func redirected(req *http.Request, url string) {
	first := req.Clone(req.Context())
	first.URL, _ = req.URL.Parse(url)
	req.Response = &http.Response{Request: first}
}

func TestAudience(t *testing.T) {
	to := func(origin string) func(*http.Request) {
		return func(req *http.Request) { req.URL, _ = req.URL.Parse(origin + "/") }
	}
	origins := &transport.Audience{Origins: []string{"https://api.example.com", "https://*.example.net"}}
	tests := []struct {
		name     string
		audience *transport.Audience
		change   func(*http.Request)
		want     bool
		insecure bool
	}{
		{"https", nil, to("https://anything.example.org"), true, false},
		{"http", nil, to("http://api.example.com"), false, true},
		{"http to loopback", nil, to("http://127.0.0.1:8080"), true, false},
		{"http to localhost", nil, to("http://localhost"), true, false},
		{"http, allowed", &transport.Audience{AllowHTTP: true}, to("http://api.example.com"), true, false},
		{"listed", origins, to("https://api.example.com"), true, false},
		{"listed by wildcard", origins, to("https://api.example.net"), true, false},
		{"other subdomain", origins, to("https://www.example.com"), false, false},
		{"other port", origins, to("https://api.example.com:8443"), false, false},
		{"other scheme", origins, to("http://api.example.com"), false, false},
		{"redirected from elsewhere", nil, func(req *http.Request) { redirected(req, "https://www.example.com/") }, false, false},
		{"redirected within", nil, func(req *http.Request) { redirected(req, "/") }, true, false},
		{"redirected from nobody knows where", nil, func(req *http.Request) { req.Response = &http.Response{} }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{}
			asked := 0
			rt := &basic.Transport{Audience: tt.audience, Base: s, Credentials: func(context.Context) (string, string, error) {
				asked++
				return "user", "secret", nil
			}}
			req := newRequest(t)
			tt.change(req)
			got, err := s.roundTrip(t, rt, req)
			if errors.Is(err, transport.ErrInsecureOrigin) != tt.insecure || !tt.insecure && err != nil {
				t.Errorf("error is %v", err)
			}
			var want []string
			if tt.want {
				want = []string{"Basic dXNlcjpzZWNyZXQ="}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Authorization (-want +got):\n%s", diff)
			}
			if asked != len(want) {
				t.Errorf("Credentials were asked %d times, want %d", asked, len(want))
			}
		})
	}
	t.Run("invalid", func(t *testing.T) {
		s := &server{}
		rt := &basic.Transport{Username: "user", Password: "secret", Base: s, Audience: &transport.Audience{Origins: []string{"secret"}}}
		if _, err := s.roundTrip(t, rt, newRequest(t)); err == nil || errors.Is(err, transport.ErrInsecureOrigin) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPassingThrough(t *testing.T) {
	own := func(h http.Header) func(*http.Request) { return func(req *http.Request) { req.Header = h } }
	tests := []struct {
		name   string
		change func(*http.Request)
		want   []string
	}{
		{"SetBasicAuth", func(req *http.Request) { req.SetBasicAuth("me", "") }, []string{"Basic bWU6"}},
		{"another scheme", own(http.Header{"Authorization": {"Bearer x"}}), []string{"Bearer x"}},
		{"odd spelling", own(http.Header{"aUTHORIZATION": {"x"}}), []string{"x"}},
		{"second value", own(http.Header{"Authorization": {"", "x"}}), []string{"", "x"}},
		{"on the first hop", func(req *http.Request) {
			redirected(req, "/")
			req.Response.Request.SetBasicAuth("me", "")
		}, nil},
		{"WithoutCredentials", func(req *http.Request) {
			*req = *req.WithContext(transport.WithoutCredentials(req.Context()))
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// With nothing to send, plain http is of no concern.
			for _, scheme := range []string{"https", "http"} {
				s := &server{}
				req := newRequest(t)
				tt.change(req)
				req.URL.Scheme = scheme
				got, err := s.roundTrip(t, &basic.Transport{Base: s, Credentials: fixed("", "", errors.New("asked"))}, req)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("over %s: Authorization (-want +got):\n%s", scheme, diff)
				}
			}
		})
	}
	t.Run("empty fields are none", func(t *testing.T) {
		s := &server{}
		req := newRequest(t)
		req.Header = http.Header{"Authorization": nil, "authorization": {""}}
		got, err := s.roundTrip(t, &basic.Transport{Username: "user", Base: s}, req)
		if diff := cmp.Diff([]string{"Basic dXNlcjo="}, got); diff != "" || err != nil {
			t.Errorf("%v, Authorization (-want +got):\n%s", err, diff)
		}
	})
}

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (c *idleCloser) CloseIdleConnections() { c.closed++ }

func TestWrap(t *testing.T) {
	rt := &basic.Transport{
		Username: "user", Password: "secret", Credentials: fixed("", "", nil),
		Audience: &transport.Audience{}, Base: &server{},
	}
	base := &idleCloser{}
	wrapped, ok := rt.Wrap(base).(*basic.Transport)
	if !ok || wrapped == rt || rt.Unwrap() == http.RoundTripper(base) || wrapped.Unwrap() != http.RoundTripper(base) {
		t.Fatalf("%p around %v, from %p around %v", wrapped, wrapped.Unwrap(), rt, rt.Unwrap())
	}
	from, to := reflect.ValueOf(rt).Elem(), reflect.ValueOf(wrapped).Elem()
	for i, f := range reflect.VisibleFields(from.Type()) {
		if f.IsExported() && f.Name != "Base" && (from.Field(i).IsZero() || fmt.Sprint(from.Field(i)) != fmt.Sprint(to.Field(i))) {
			t.Errorf("%s is %v, want %v", f.Name, to.Field(i), from.Field(i))
		}
	}
	if wrapped.CloseIdleConnections(); base.closed != 1 {
		t.Errorf("CloseIdleConnections was forwarded %d times", base.closed)
	}
	if (&basic.Transport{}).Unwrap() != http.DefaultTransport {
		t.Error("without Base it is not http.DefaultTransport")
	}
}
