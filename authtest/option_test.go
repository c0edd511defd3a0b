package authtest_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

type source func(context.Context) (*oauth2.Token, error)

func (s source) Token(ctx context.Context) (*oauth2.Token, error) { return s(ctx) }

// An option makes the difference between what a clause finds without and with
// it.
func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name          string
		wrap          func(http.RoundTripper) http.RoundTripper
		always        []authtest.Option
		option        authtest.Option
		clause        authtest.Clause
		without, with authtest.Verdict
		detail        string // with the option
	}{
		{
			name: "Secret, which has to be sent", wrap: func(base http.RoundTripper) http.RoundTripper { return base },
			option: authtest.Secret("secret-1"), clause: authtest.Redirects,
			without: authtest.NotApplicable, with: authtest.Fail,
		},
		{
			name: "Skip", wrap: func(base http.RoundTripper) http.RoundTripper { return nil },
			option: authtest.Skip(authtest.AnyStatus, "I say so"), clause: authtest.AnyStatus,
			without: authtest.Fail, with: authtest.NotApplicable, detail: "I say so",
		},
		{
			name: "Challenge", wrap: func(base http.RoundTripper) http.RoundTripper {
				return &digest.Transport{Username: "alice", Password: "secret-1", Base: base}
			},
			option: authtest.Challenge(`Digest realm="x", nonce="abc", qop="auth", algorithm=SHA-256`), clause: authtest.NewRequestPerAttempt,
			without: authtest.NotApplicable, with: authtest.Pass,
		},
		{
			name: "Rejection", wrap: func(base http.RoundTripper) http.RoundTripper {
				return &transport.Refresh{Source: &rotating{}, Base: base, Rejected: func(r *http.Response) bool {
					return r.StatusCode == 419 && r.Header.Get("X-Expired") == "1"
				}}
			},
			option: authtest.Rejection(419, http.Header{"X-Expired": {"1"}}), clause: authtest.NewRequestPerAttempt,
			without: authtest.NotApplicable, with: authtest.Pass,
		},
		{
			name: "Failing", wrap: func(base http.RoundTripper) http.RoundTripper { return sound(base) },
			option: authtest.Failing(func(base http.RoundTripper) http.RoundTripper {
				return &transport.Bearer{Base: base, Source: source(func(context.Context) (*oauth2.Token, error) {
					return nil, errors.New("there is no secret-1")
				})}
			}), clause: authtest.SecretInErrors, always: []authtest.Option{authtest.Secret("secret-1")},
			without: authtest.Pass, with: authtest.Fail,
		},
		{
			name: "Origin", wrap: func(base http.RoundTripper) http.RoundTripper {
				return &transport.Refresh{Source: &rotating{}, Base: base, Audience: &transport.Audience{Origins: []string{"https://notes.example:8443"}}}
			},
			option: authtest.Origin("https://notes.example:8443"), clause: authtest.Redirects,
			always:  []authtest.Option{authtest.Secret("secret-1", "secret-2")},
			without: authtest.Fail, with: authtest.Pass,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			find := func(opts ...authtest.Option) authtest.Result {
				for _, r := range authtest.Check(tt.wrap, append(opts, tt.always...)...) {
					if r.Clause == tt.clause {
						return r
					}
				}
				t.Fatalf("%q is not in the results", tt.clause)
				panic("unreachable")
			}
			if r := find(); r.Verdict != tt.without {
				t.Errorf("without: verdict %v: %s", r.Verdict, r.Detail)
			}
			if r := find(tt.option); r.Verdict != tt.with || !strings.Contains(r.Detail, tt.detail) || strings.Contains(r.Detail, "secret-1") {
				t.Errorf("with: verdict %v: %s", r.Verdict, r.Detail)
			}
		})
	}
}

// The kit waits for a decorator that hangs as long as it was told, in each
// clause, and goes on.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		hangs := func(base http.RoundTripper) http.RoundTripper {
			return stepped{func(http.RoundTripper, *http.Request) (*http.Response, error) { <-hung; return nil, errors.New("late") }, base}
		}
		start := time.Now()
		results := authtest.Check(hangs, authtest.Patience(time.Minute), authtest.Secret("x"),
			authtest.Skip(authtest.NilBase, "it opens a socket, which is not of the bubble"))
		failed := 0
		for _, r := range results {
			if r.Verdict == authtest.Fail {
				failed++
			}
		}
		d := time.Since(start)
		if failed < 25 || d < time.Duration(failed)*time.Minute || d > 3*time.Duration(len(results))*time.Minute {
			t.Errorf("%d clauses failed in %v", failed, d)
		}
		close(hung)
	})
}

// Nothing that a decorator returns, or a panic in it, ends more than a clause.
func TestMonsters(t *testing.T) {
	for name, do := range map[string]step{
		"neither response nor error": func(http.RoundTripper, *http.Request) (*http.Response, error) { return nil, nil },
		"an empty response":          func(http.RoundTripper, *http.Request) (*http.Response, error) { return &http.Response{}, nil },
		"a panic":                    func(http.RoundTripper, *http.Request) (*http.Response, error) { panic("monster") },
		"a nil panic":                func(http.RoundTripper, *http.Request) (*http.Response, error) { panic(nil) },
		"the end of the goroutine":   func(http.RoundTripper, *http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"no decorator":               nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wrap := func(base http.RoundTripper) http.RoundTripper { return stepped{do, base} }
				if do == nil {
					wrap = func(http.RoundTripper) http.RoundTripper { return nil }
				}
				for _, challenge := range []string{"", `Digest realm="x", nonce="y"`} {
					got, details := failed(authtest.Check(wrap, authtest.Challenge(challenge), authtest.Secret("x"),
						authtest.Skip(authtest.NilBase, "it opens a socket, which is not of the bubble")))
					if len(got) < 20 {
						t.Errorf("%d clauses failed:\n%s", len(got), details)
					}
					if do == nil && !strings.Contains(details, "wrap returned nil") {
						t.Errorf("nothing says that there is no decorator:\n%s", details)
					}
				}
				time.Sleep(time.Minute) // http.Client's own timer, where its RoundTripper never came back
			})
		})
	}
}

func TestMisuse(t *testing.T) {
	for name, tt := range map[string]struct {
		call func()
		want string
	}{
		"a clause that is none": {func() { authtest.Skip("x", "y") }, `authtest: Skip: there is no clause "x"`},
		"no reason":             {func() { authtest.Skip(authtest.Upgrade, "") }, "authtest: Skip: the reason is missing"},
		"http":                  {func() { authtest.Origin("http://x.example") }, "authtest: Origin: not an https URL without a path"},
		"a path":                {func() { authtest.Origin("https://x.example/") }, "authtest: Origin: not an https URL without a path"},
		"no URL":                {func() { authtest.Origin("https://%") }, "authtest: Origin: not an https URL without a path"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != tt.want {
					t.Errorf("panic: %v", got)
				}
			}()
			tt.call()
		})
	}
}
