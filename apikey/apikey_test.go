package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

func TestHeader(t *testing.T) {
	tests := []struct {
		name      string
		transport *apikey.Transport
		header    http.Header
		want      http.Header
	}{
		{"default", &apikey.Transport{Key: "k"}, nil, http.Header{"X-Api-Key": {"k"}}},
		{"name", &apikey.Transport{Key: "k", Name: "x-goog-api-key"}, nil, http.Header{"X-Goog-Api-Key": {"k"}}},
		{"name with all there is", &apikey.Transport{Key: "k", Name: "!#$%&'*+-.^_`|~0aZ"}, nil, http.Header{"!#$%&'*+-.^_`|~0az": {"k"}}},
		{"scheme", &apikey.Transport{Key: "k", Name: "Authorization", Prefix: "ApiKey"}, nil, http.Header{"Authorization": {"ApiKey k"}}},
		{"scheme with a space", &apikey.Transport{Key: "k", Name: "authorization", Prefix: "Token "}, nil, http.Header{"Authorization": {"Token k"}}},
		{"parameter", &apikey.Transport{Key: "k", Name: "Authorization", Prefix: "key="}, nil, http.Header{"Authorization": {"key=k"}}},
		{"quoted parameter", &apikey.Transport{Key: `k"`, Name: "Authorization", Prefix: `Token token="`}, nil, http.Header{"Authorization": {`Token token="k"`}}},
		{"scheme and colon", &apikey.Transport{Key: "k", Prefix: "Key:"}, nil, http.Header{"X-Api-Key": {"Key:k"}}},
		{"key with spaces", &apikey.Transport{Key: "a b", Prefix: "x"}, nil, http.Header{"X-Api-Key": {"x a b"}}},
		{"key beyond ASCII", &apikey.Transport{Key: "ключ\xff"}, nil, http.Header{"X-Api-Key": {"ключ\xff"}}},
		{"others", &apikey.Transport{Key: "k"}, http.Header{"Cookie": {"a=1"}, "x-api-keys": {"b"}}, http.Header{"Cookie": {"a=1"}, "x-api-keys": {"b"}, "X-Api-Key": {"k"}}},
		{"empty one of the name", &apikey.Transport{Key: "k"}, http.Header{"X-Api-Key": nil, "x-api-key": {""}}, http.Header{"X-Api-Key": {"k"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{}
			req := newRequest(t, apiURL)
			req.Header = tt.header
			sent, err := s.roundTrip(t, tt.transport.Wrap(s), req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, sent.Header); diff != "" || sent.URL.String() != apiURL {
				t.Errorf("sent to %s, header (-want +got):\n%s", sent.URL, diff)
			}
		})
	}
}

func TestNotConfigured(t *testing.T) {
	const (
		header  = "apikey: Name is no header field's name"
		control = "apikey: Prefix has a control character"
		query   = "apikey: a key in the query needs a Name"
		cookie  = "apikey: a key in a cookie needs a Name, which must be a token"
		prefix  = "apikey: Prefix is for a key in a header"
	)
	tests := []struct {
		transport *apikey.Transport
		want      string
	}{
		{&apikey.Transport{Name: "X Key"}, header},
		{&apikey.Transport{Name: "X-Key:"}, header},
		{&apikey.Transport{Name: "X-Key\r\nSecret"}, header},
		{&apikey.Transport{Name: "ключ"}, header},
		{&apikey.Transport{Name: "Host"}, "apikey: the field Host is not sent from a header"},
		{&apikey.Transport{Name: "content-length"}, "apikey: the field Content-Length is not sent from a header"},
		{&apikey.Transport{Name: "transfer-encoding"}, "apikey: the field Transfer-Encoding is not sent from a header"},
		{&apikey.Transport{Name: "TRAILER"}, "apikey: the field Trailer is not sent from a header"},
		{&apikey.Transport{Name: "cookie"}, "apikey: a key in the field Cookie is one with In: Cookie"},
		{&apikey.Transport{Prefix: "secret\n"}, control},
		{&apikey.Transport{Prefix: "\x00"}, control},
		{&apikey.Transport{In: apikey.Query}, query},
		{&apikey.Transport{In: apikey.Query, Name: "key", Prefix: "secret"}, prefix},
		{&apikey.Transport{In: apikey.Cookie}, cookie},
		{&apikey.Transport{In: apikey.Cookie, Name: "a=b"}, cookie},
		{&apikey.Transport{In: apikey.Cookie, Name: "a;"}, cookie},
		{&apikey.Transport{In: apikey.Cookie, Name: "sid", Prefix: "secret"}, prefix},
		{&apikey.Transport{In: apikey.Cookie + 1}, "apikey: In is 3, which is no Location"},
		{&apikey.Transport{In: -1, Name: "key", Prefix: "secret"}, "apikey: In is -1, which is no Location"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			s := &server{}
			tt.transport.Source = fixed("", errors.New("asked"))
			rt := tt.transport.Wrap(s)
			for range 2 {
				if _, err := s.roundTrip(t, rt, newRequest(t, apiURL)); err == nil || err.Error() != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			}
			// Where there is nothing to do, it does not matter.
			req := newRequest(t, apiURL)
			if _, err := s.roundTrip(t, rt, req.WithContext(transport.WithoutCredentials(req.Context()))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusedKeys(t *testing.T) {
	const (
		control = "apikey: the key has a control character"
		cookie  = "apikey: the key has a character that a cookie cannot hold"
	)
	// RFC 6265 section 4.1.1.
	octet := func(c int) bool {
		return c == 0x21 || 0x23 <= c && c <= 0x2b || 0x2d <= c && c <= 0x3a || 0x3c <= c && c <= 0x5b || 0x5d <= c && c <= 0x7e
	}
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			for c := -1; c <= 0xff; c++ {
				k, want := "", "apikey: the key is empty"
				if c >= 0 {
					k, want = "sec"+string([]byte{byte(c)})+"ret", ""
					switch {
					case c < 0x20 || c == 0x7f:
						want = control
					case p.in == apikey.Cookie && !octet(c):
						want = cookie
					}
				}
				s := &server{}
				for by, rt := range map[string]*apikey.Transport{
					"Key":    {Key: k, In: p.in, Name: p.as, Base: s},
					"Source": {Key: "not this", Source: fixed(k, nil), In: p.in, Name: p.as, Base: s},
				} {
					if _, err := s.roundTrip(t, rt, newRequest(t, apiURL)); err == nil != (want == "") || err != nil && err.Error() != want {
						t.Errorf("%q by %s: got %v, want %s", k, by, err, want)
					}
				}
			}
		})
	}
}

// Whatever the last request had, each has what the Source says now.
func TestKeyOfEachRequest(t *testing.T) {
	errVault := errors.New("vault is sealed")
	type step struct {
		key string
		err error
	}
	steps := []step{{"a", nil}, {"b", nil}, {"b", errVault}, {"b", nil}, {"b\n", nil}, {"a", nil}, {"", nil}, {"a", nil}}
	type at struct{}
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			s := &server{}
			rt := &apikey.Transport{In: p.in, Name: p.as, Base: s, Source: func(ctx context.Context) (string, error) {
				step := ctx.Value(at{}).(step)
				return step.key, step.err
			}}
			for i, step := range steps {
				req := newRequest(t, apiURL)
				sent, err := s.roundTrip(t, rt, req.WithContext(context.WithValue(req.Context(), at{}, step)))
				if step.err != nil || step.key != "a" && step.key != "b" {
					if err == nil || step.err != nil && err != step.err { //nolint:errorlint // the very same
						t.Errorf("step %d: got %v, want %v", i, err, step.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				p.add(req, p.as, step.key)
				if diff := cmp.Diff(wire(req), wire(sent)); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestSourcePanics(t *testing.T) {
	for v, suffix := range map[any]string{
		"secret":         " with a value of type string",
		io.EOF:           " with a value of type *errors.errorString",
		[1]string{"key"}: " with a value of type [1]string",
	} {
		s := &server{}
		rt := &apikey.Transport{Key: "secret", Source: func(context.Context) (string, error) { panic(v) }, Base: s}
		_, err := s.roundTrip(t, rt, newRequest(t, apiURL))
		if err == nil || !strings.HasPrefix(err.Error(), "apikey: Source panicked at apikey_test.go:") || !strings.HasSuffix(err.Error(), suffix) {
			t.Errorf("got %v, want it to end with%s", err, suffix)
		}
	}
}

func TestWaitingForSource(t *testing.T) {
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
				client := &http.Client{Transport: &apikey.Transport{Base: s, Source: func(ctx context.Context) (string, error) {
					<-ctx.Done()
					return "", ctx.Err()
				}}}
				body := &counted{Reader: strings.NewReader("payload")}
				req := tt.end(client, newRequest(t, apiURL))
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
	to := func(url string) func(*http.Request) {
		return func(req *http.Request) { req.URL, _ = req.URL.Parse(url) }
	}
	origins := &transport.Audience{Origins: []string{"https://api.example.com", "https://*.example.net"}}
	tests := []struct {
		name     string
		audience *transport.Audience
		change   func(*http.Request)
		want     bool
		insecure bool
	}{
		{"https", nil, to("https://anything.example.org/"), true, false},
		{"http", nil, to("http://api.example.com/"), false, true},
		{"http to loopback", nil, to("http://[::1]:8080/"), true, false},
		{"http, allowed", &transport.Audience{AllowHTTP: true}, to("http://api.example.com/"), true, false},
		{"listed", origins, to("https://api.example.com/"), true, false},
		{"listed by wildcard", origins, to("https://api.example.net/"), true, false},
		{"other subdomain", origins, to("https://www.example.com/"), false, false},
		{"other port", origins, to("https://api.example.com:8443/"), false, false},
		{"other scheme", origins, to("http://api.example.com/"), false, false},
		{"redirected from elsewhere", nil, func(req *http.Request) { redirected(req, "https://www.example.com/") }, false, false},
		{"redirected within", nil, func(req *http.Request) { redirected(req, "/") }, true, false},
		{"redirected from nobody knows where", nil, func(req *http.Request) { req.Response = &http.Response{} }, false, false},
	}
	for _, p := range places {
		for _, tt := range tests {
			t.Run(p.name+", "+tt.name, func(t *testing.T) {
				s := &server{}
				asked := 0
				rt := &apikey.Transport{In: p.in, Name: p.as, Audience: tt.audience, Base: s, Source: func(context.Context) (string, error) {
					asked++
					return "secret", nil
				}}
				req := newRequest(t, apiURL)
				tt.change(req)
				sent, err := s.roundTrip(t, rt, req)
				if errors.Is(err, transport.ErrInsecureOrigin) != tt.insecure || !tt.insecure && err != nil {
					t.Fatalf("error is %v", err)
				}
				if tt.want != (asked == 1) || !tt.want && asked != 0 {
					t.Errorf("the Source was asked %d times", asked)
				}
				if tt.insecure {
					return
				}
				if tt.want {
					p.add(req, p.as, "secret")
				}
				if diff := cmp.Diff(wire(req), wire(sent)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("invalid", func(t *testing.T) {
		s := &server{}
		rt := &apikey.Transport{Key: "secret", Base: s, Audience: &transport.Audience{Origins: []string{"secret"}}}
		if _, err := s.roundTrip(t, rt, newRequest(t, apiURL)); err == nil || errors.Is(err, transport.ErrInsecureOrigin) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPassingThrough(t *testing.T) {
	for _, p := range places {
		for name, change := range map[string]func(*http.Request){
			"own key": func(req *http.Request) { p.add(req, p.as, "mine") },
			"own key on the first hop": func(req *http.Request) {
				redirected(req, "/")
				p.add(req.Response.Request, p.as, "mine")
			},
			"WithoutCredentials": func(req *http.Request) {
				*req = *req.WithContext(transport.WithoutCredentials(req.Context()))
			},
		} {
			t.Run(p.name+", "+name, func(t *testing.T) {
				// With nothing to send, plain http is of no concern.
				for _, scheme := range []string{"https", "http"} {
					s := &server{}
					req := newRequest(t, scheme+"://api.example.com/?b=2&a=1")
					change(req)
					sent, err := s.roundTrip(t, &apikey.Transport{In: p.in, Name: p.as, Source: fixed("", errors.New("asked")), Base: s}, req)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(wire(req), wire(sent)); diff != "" {
						t.Errorf("over %s (-own +sent):\n%s", scheme, diff)
					}
				}
			})
		}
	}
	t.Run("own field in odd spelling", func(t *testing.T) {
		s := &server{}
		req := newRequest(t, apiURL)
		req.Header["x-aPI-key"] = []string{"", "mine"}
		sent, err := s.roundTrip(t, &apikey.Transport{Key: "secret", Base: s}, req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(req.Header, sent.Header); diff != "" {
			t.Errorf("(-own +sent):\n%s", diff)
		}
	})
}

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (c *idleCloser) CloseIdleConnections() { c.closed++ }

func TestWrap(t *testing.T) {
	rt := &apikey.Transport{
		Key: "secret", Source: fixed("", nil), In: apikey.Query, Name: "key", Prefix: "Token",
		Audience: &transport.Audience{}, Base: &server{},
	}
	base := &idleCloser{}
	wrapped, ok := rt.Wrap(base).(*apikey.Transport)
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
	if (&apikey.Transport{}).Unwrap() != http.DefaultTransport {
		t.Error("without Base it is not http.DefaultTransport")
	}
}
