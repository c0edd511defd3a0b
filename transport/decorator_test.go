package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var (
	errSource = errors.New("source is out of order")
	errBase   = errors.New("connection lost")
)

// early are the ways not to send a request at all.
var early = []struct {
	name   string
	change func(p *parts, req *http.Request)
	is     error // nil: any
}{
	{"no source", func(p *parts, _ *http.Request) { p.source = nil }, nil},
	{"source fails", func(p *parts, _ *http.Request) { p.source = broken(nil, errSource) }, errSource},
	{"source fails with a token", func(p *parts, _ *http.Request) {
		p.source = broken(&oauth2.Token{AccessToken: "secret"}, errSource)
	}, errSource},
	{"no token", func(p *parts, _ *http.Request) { p.source = broken(nil, tokensource.ErrNoToken) }, tokensource.ErrNoToken},
	{"source panics", func(p *parts, _ *http.Request) {
		p.source = &renewer{token: func(context.Context) (*oauth2.Token, error) { panic("secret") }}
	}, nil},
	{"neither token nor error", func(p *parts, _ *http.Request) { p.source = broken(nil, nil) }, nil},
	{"empty token", func(p *parts, _ *http.Request) { p.source = tokens("") }, nil},
	{"CR in token", func(p *parts, _ *http.Request) { p.source = tokens("secret\rX: y") }, nil},
	{"LF in token", func(p *parts, _ *http.Request) { p.source = tokens("secret\nX: y") }, nil},
	{"NUL in token", func(p *parts, _ *http.Request) { p.source = tokens("secret\x00") }, nil},
	{"DEL in token", func(p *parts, _ *http.Request) { p.source = tokens("secret\x7f") }, nil},
	{"bad token type", func(p *parts, _ *http.Request) {
		p.source = broken(&oauth2.Token{AccessToken: "secret", TokenType: "secret\r\nX: y"}, nil)
	}, nil},
	{"token type of two words", func(p *parts, _ *http.Request) {
		p.source = broken(&oauth2.Token{AccessToken: "secret", TokenType: "secret type"}, nil)
	}, nil},
	{"invalid audience", func(p *parts, _ *http.Request) { p.audience = &transport.Audience{Origins: []string{"ftp://secret@x"}} }, nil},
	{"plain http", func(_ *parts, req *http.Request) { req.URL.Scheme = "http" }, transport.ErrInsecureOrigin},
	{"another scheme", func(_ *parts, req *http.Request) { req.URL.Scheme = "ftp" }, transport.ErrInsecureOrigin},
	{"no scheme", func(_ *parts, req *http.Request) { req.URL.Scheme = "" }, transport.ErrInsecureOrigin},
	{"no URL", func(_ *parts, req *http.Request) { req.URL = nil }, nil},
	{"no host", func(_ *parts, req *http.Request) { req.URL.Host = "" }, nil},
	{"host that is no name", func(_ *parts, req *http.Request) { req.URL.Host = "\u00a0secret" }, nil},
	{"context done", func(p *parts, req *http.Request) {
		ctx, cancel := context.WithCancel(req.Context())
		*req = *req.WithContext(ctx)
		p.source = &renewer{token: func(ctx context.Context) (*oauth2.Token, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	}, context.Canceled},
}

func TestEarlyErrors(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, tt := range early {
			t.Run(tt.name, func(t *testing.T) {
				req, body := stream(t, "body")
				base := newScript(answer(http.StatusOK, ""))
				p := parts{source: tokens("old"), base: base}
				tt.change(&p, req)
				resp, err := make(p).RoundTrip(req)
				if resp != nil || err == nil {
					t.Fatalf("got %v, %v, want an error alone", resp, err)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error is %v, want %v", err, tt.is)
				}
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "secret") {
					t.Errorf("error repeats a secret: %v", err)
				}
				if n := len(base.sent()); n != 0 {
					t.Errorf("%d requests were sent, want none", n)
				}
				body.wantClosedOnce(t, "the request's body")
			})
		}
	})
}

// passing are the ways of a request that goes out as it is.
var passing = []struct {
	name   string
	change func(p *parts, req *http.Request)
}{
	{"no token, optional", func(p *parts, _ *http.Request) {
		p.source, p.optional = broken(nil, fmt.Errorf("nobody: %w", tokensource.ErrNoToken)), true
	}},
	{"own Authorization", func(_ *parts, req *http.Request) { req.SetBasicAuth("user", "password") }},
	{"own Authorization in odd spelling", func(_ *parts, req *http.Request) { req.Header["aUTHORIZATION"] = []string{"Own"} }},
	{"own Authorization on the second line", func(_ *parts, req *http.Request) { req.Header["Authorization"] = []string{"", "Own"} }},
	{"own Authorization over plain http", func(_ *parts, req *http.Request) {
		req.SetBasicAuth("user", "password")
		req.URL.Scheme = "http"
	}},
	{"without credentials", func(_ *parts, req *http.Request) {
		*req = *req.WithContext(transport.WithoutCredentials(req.Context()))
	}},
	{"without credentials, further down", func(_ *parts, req *http.Request) {
		type key struct{}
		ctx := transport.WithoutCredentials(context.WithValue(req.Context(), key{}, 1))
		*req = *req.WithContext(context.WithValue(ctx, key{}, 2))
	}},
	{"outside the audience", func(p *parts, _ *http.Request) {
		p.audience = &transport.Audience{Origins: []string{"https://other.example.com"}}
	}},
	{"outside the audience over plain http", func(p *parts, req *http.Request) {
		p.audience = &transport.Audience{Origins: []string{"https://other.example.com"}}
		req.URL.Scheme = "http"
	}},
	{"redirected from elsewhere", func(_ *parts, req *http.Request) {
		req.Response = &http.Response{Request: &http.Request{URL: &url.URL{Scheme: "https", Host: "other.example.com"}}}
	}},
	{"redirected from nobody knows where", func(_ *parts, req *http.Request) { req.Response = &http.Response{} }},
}

func TestPassingThrough(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, tt := range passing {
			t.Run(tt.name, func(t *testing.T) {
				req, body := stream(t, "body")
				refused := newBody("401 of another kind")
				base := newScript(reply(http.StatusUnauthorized, refused))
				p := parts{source: tokens("secret"), base: base}
				tt.change(&p, req)
				own := authorization(req.Header)
				resp, err := make(p).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != http.StatusUnauthorized || resp.Body != io.ReadCloser(refused) {
					t.Errorf("got status %d and body %v, want the 401 untouched", resp.StatusCode, resp.Body)
				}
				if got := slurp(t, resp); got != "401 of another kind" {
					t.Errorf("body is %q", got)
				}
				sent := base.sent()
				if len(sent) != 1 {
					t.Fatalf("%d requests were sent, want one", len(sent))
				}
				if diff := cmp.Diff(own, sent[0].Auth); diff != "" {
					t.Errorf("Authorization (-own +sent):\n%s", diff)
				}
				if n := p.source.(*renewer).renewed.Load(); n != 0 {
					t.Errorf("%d renewals, want none", n)
				}
				body.wantClosedOnce(t, "the request's body")
			})
		}
	})
}

func TestOptionalIsForAbsenceOnly(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		base := newScript(answer(http.StatusOK, ""))
		for _, err := range []error{errSource, tokensource.ErrReauthRequired, context.Canceled} {
			_, got := make(parts{source: broken(nil, err), optional: true, base: base}).RoundTrip(get(t))
			if !errors.Is(got, err) {
				t.Errorf("got %v, want %v", got, err)
			}
		}
		if n := len(base.sent()); n != 0 {
			t.Errorf("%d requests went out without a token", n)
		}
	})
}

func TestAuthorization(t *testing.T) {
	tests := []struct {
		name   string
		token  oauth2.Token
		header http.Header
		want   []string
	}{
		{"bearer", oauth2.Token{AccessToken: "abc"}, nil, []string{"Bearer abc"}},
		{"spelling of the type", oauth2.Token{AccessToken: "abc", TokenType: "bearer"}, nil, []string{"Bearer abc"}},
		{"another type", oauth2.Token{AccessToken: "abc", TokenType: "DPoP"}, nil, []string{"DPoP abc"}},
		{"empty field", oauth2.Token{AccessToken: "abc"}, http.Header{"Authorization": {""}}, []string{"Bearer abc"}},
		{"field without values", oauth2.Token{AccessToken: "abc"}, http.Header{"Authorization": nil}, []string{"Bearer abc"}},
		{
			"empty fields in odd spellings",
			oauth2.Token{AccessToken: "abc"},
			http.Header{"authorization": {""}, "AUTHORIZATION": {"", ""}},
			[]string{"Bearer abc"},
		},
	}
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				req := get(t)
				req.Header = tt.header
				base := newScript(answer(http.StatusOK, ""))
				do(t, make(parts{source: broken(&tt.token, nil), base: base}), req)
				if diff := cmp.Diff(tt.want, base.sent()[0].Auth); diff != "" {
					t.Errorf("Authorization (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func TestTokenIsReadForEveryRequest(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		var current oauth2.Token
		base := newScript(answer(http.StatusOK, ""))
		d := make(parts{source: broken(&current, nil), base: base})
		for _, token := range []oauth2.Token{
			{AccessToken: "a"},
			{AccessToken: "b"},
			{AccessToken: "b", TokenType: "DPoP"}, // as text the same token, but not on the wire
			{AccessToken: "b"},
			{AccessToken: "a"},
		} {
			current = token
			do(t, d, get(t))
		}
		if diff := cmp.Diff([]string{"Bearer a", "Bearer b", "DPoP b", "Bearer b", "Bearer a"}, base.auths()); diff != "" {
			t.Errorf("Authorization (-want +got):\n%s", diff)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		type key struct{}
		// Each request brings its own token, and must leave with it.
		source := &renewer{token: func(ctx context.Context) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: ctx.Value(key{}).(string)}, nil
		}}
		d := make(parts{source: source, audience: &transport.Audience{Origins: []string{"https://*.example.com"}}, base: transport.Func(
			func(req *http.Request) (*http.Response, error) {
				if want, got := "Bearer "+req.Context().Value(key{}).(string), req.Header.Get("Authorization"); got != want {
					t.Errorf("sent %q, want %q", got, want)
				}
				return response(req, http.StatusOK, http.NoBody), nil
			})})
		var wg sync.WaitGroup
		shared := get(t)
		for i := range 50 {
			wg.Go(func() {
				for range 20 {
					req := shared.WithContext(context.WithValue(t.Context(), key{}, fmt.Sprint("token", i)))
					if _, err := d.RoundTrip(req); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestResponseIsNotTouched(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, status := range []int{101, 200, 204, 302, 403, 404, 500} {
			body := newBody("body")
			var sent *http.Response
			d := make(parts{source: tokens("old"), base: transport.Func(func(req *http.Request) (*http.Response, error) {
				sent = response(req, status, body)
				sent.Uncompressed, sent.TLS, sent.Trailer = true, &tls.ConnectionState{}, http.Header{"X-Sum": nil}
				sent.TransferEncoding, sent.ContentLength, sent.Close = []string{"chunked"}, 4, true
				return sent, nil
			})})
			req := get(t)
			got, err := d.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			want := *sent
			want.Request = req
			if got != sent || !reflect.DeepEqual(*got, want) {
				t.Errorf("status %d: got %+v, want %+v", status, got, want)
			}
			if got.Body != io.ReadCloser(body) || body.closed.Load() != 0 {
				t.Errorf("status %d: the body was wrapped or closed", status)
			}
		}
	})
}

// ways are those of a request that is sent: with a token and without.
var ways = []struct {
	name   string
	change func(*http.Request)
}{
	{"attached", func(*http.Request) {}},
	{"passed through", func(req *http.Request) { req.SetBasicAuth("user", "password") }},
}

func TestEitherResponseOrError(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, way := range ways {
			t.Run(way.name, func(t *testing.T) {
				body := newBody("")
				bases := map[string]transport.Func{
					"neither": func(*http.Request) (*http.Response, error) { return nil, nil },
					"both": func(req *http.Request) (*http.Response, error) {
						return response(req, http.StatusOK, body), errBase
					},
					"both, no body": func(req *http.Request) (*http.Response, error) {
						return response(req, http.StatusOK, nil), errBase
					},
				}
				for name, base := range bases {
					t.Run(name, func(t *testing.T) {
						req := get(t)
						way.change(req)
						resp, err := make(parts{source: tokens("old"), base: base}).RoundTrip(req)
						if resp != nil || err == nil {
							t.Errorf("got %v, %v, want an error alone", resp, err)
						}
						if name != "neither" && !errors.Is(err, errBase) {
							t.Errorf("got %v, want the base's own error", err)
						}
					})
				}
				body.wantClosedOnce(t, "the body of the response given up")
			})
		}
	})
}

func TestErrorOfBaseIsReturnedAsItIs(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		_, err := make(parts{source: tokens("old"), base: newScript(fail(errBase))}).RoundTrip(get(t))
		if err != errBase { //nolint:errorlint // the very same
			t.Errorf("got %v", err)
		}
	})
}

func TestResponseNamesTheCallersRequest(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, way := range ways {
			t.Run(way.name, func(t *testing.T) {
				req := get(t)
				way.change(req)
				// An inner layer may name its own copy, which holds its secrets, or nobody.
				for _, named := range []*http.Request{nil, req.Clone(t.Context())} {
					d := make(parts{source: tokens("old"), base: transport.Func(func(*http.Request) (*http.Response, error) {
						return response(named, http.StatusOK, http.NoBody), nil
					})})
					resp, err := d.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					if resp.Request != req {
						t.Errorf("response is to %p, want the caller's request", resp.Request)
					}
				}
			})
		}
	})
}

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (c *idleCloser) CloseIdleConnections() { c.closed++ }

func TestNilBaseIsLookedUpWhenCalled(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		d := make(parts{source: tokens("old")})
		req := get(t)
		req.SetBasicAuth("user", "password")
		for range 2 {
			base := newScript(answer(http.StatusOK, ""))
			setDefault(t, base)
			do(t, d, get(t))
			do(t, d, req) // not to be credentialed
			if n := len(base.sent()); n != 2 {
				t.Errorf("http.DefaultTransport of now got %d requests, want 2", n)
			}
		}
	})
}

// TestWrapKeepsEveryField covers fields that are not invented yet, too.
func TestWrapKeepsEveryField(t *testing.T) {
	audience := &transport.Audience{}
	full := []decorator{
		&transport.Bearer{Source: tokens("old"), Optional: true, Audience: audience, Base: newScript()},
		&transport.Refresh{
			Source: tokens("old"), Optional: true, Rejected: func(*http.Response) bool { return false }, ReplayBuffer: 1,
			OnStepUp: func(context.Context, transport.StepUp) (*oauth2.Token, error) { return nil, nil },
			OnEvent:  func(context.Context, transport.Event) {}, Audience: audience, Base: newScript(),
		},
		choose(newScript(), byBasic),
	}
	for _, d := range full {
		base := newScript()
		wrapped := d.Wrap(base)
		if wrapped == http.RoundTripper(d) {
			t.Fatalf("%T: Wrap returned its receiver", d)
		}
		if d.Unwrap() == http.RoundTripper(base) {
			t.Errorf("%T: Wrap changed its receiver", d)
		}
		before, after := reflect.ValueOf(d).Elem(), reflect.ValueOf(wrapped).Elem()
		for i := range before.NumField() {
			f := before.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			want, got := before.Field(i), after.Field(i)
			switch {
			case want.IsZero():
				t.Errorf("%T: %s is not set by this test", d, f.Name)
			case f.Name == "Base":
				if got.Interface() != http.RoundTripper(base) {
					t.Errorf("%T: Base is not Wrap's argument", d)
				}
			case want.Kind() == reflect.Func, want.Kind() == reflect.Slice:
				if got.Pointer() != want.Pointer() {
					t.Errorf("%T: %s was lost", d, f.Name)
				}
			case got.Interface() != want.Interface():
				t.Errorf("%T: %s was lost", d, f.Name)
			}
		}
	}
}

func TestWrapIsAMiddleware(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		base := newScript(answer(http.StatusOK, ""))
		client := transport.Client(&http.Client{Transport: base}, make(parts{source: tokens("old")}).Wrap)
		resp, err := client.Get(apiURL)
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, resp)
		if diff := cmp.Diff([]string{"Bearer old"}, base.auths()); diff != "" {
			t.Errorf("Authorization (-want +got):\n%s", diff)
		}
	})
}

// Of two decorators the outer one's token is the inner one's caller's own.
func TestOutermostWins(t *testing.T) {
	base := newScript(answer(http.StatusOK, ""))
	outer := &transport.Bearer{Source: tokensource.Static("outer")}
	inner := &transport.Refresh{Source: tokens("inner")}
	do(t, transport.Chain(outer.Wrap, inner.Wrap)(base), get(t))
	if diff := cmp.Diff([]string{"Bearer outer"}, base.auths()); diff != "" {
		t.Errorf("Authorization (-want +got):\n%s", diff)
	}
}

// A Grant whose own request goes through the decorator that waits for it is told
// so: it would wait for itself, or show the old token to the token endpoint.
func TestReentry(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		synctest.Test(t, func(t *testing.T) {
			var d decorator
			var met error
			tokenEndpoint := &http.Client{Transport: transport.Func(func(req *http.Request) (*http.Response, error) {
				return d.RoundTrip(req)
			})}
			s := &tokensource.Session{Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.example.com/token", newBody("secret"))
				_, met = tokenEndpoint.Do(req)
				return nil, met
			}}
			base := newScript(accept("new"))
			d = make(parts{source: s, base: base})
			_, err := d.RoundTrip(get(t))
			if err == nil || met == nil || !strings.Contains(err.Error(), "decorated") {
				t.Errorf("without a token: got %v, want an error that says what is wrong", err)
			}
			// With a token that is still good there would be no waiting.
			if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "old"}); err != nil {
				t.Fatal(err)
			}
			old, err := s.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			met = nil
			if _, err := s.Renew(t.Context(), old); err == nil || met == nil {
				t.Errorf("with a token: got %v, and %v for the Grant's request, want errors", err, met)
			}
			if n := len(base.sent()); n != 0 {
				t.Errorf("%d requests were sent, want none", n)
			}
		})
	})
}
