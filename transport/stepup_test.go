package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/oauth2"
)

const needsWrite = `Bearer error="insufficient_scope", scope="write"`

// demanding answers status with the challenges to the token "old", and 200 to
// others.
func demanding(status int, challenges ...string) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") != "Bearer old" {
			return response(req, http.StatusOK, newBody("welcome")), nil
		}
		resp := response(req, status, newBody("not enough"))
		resp.Header["Www-Authenticate"] = challenges
		return resp, nil
	}
}

// forbidding answers 403 to any token, with that very body, and wants more scope.
func forbidding(body io.ReadCloser) transport.Func {
	return func(req *http.Request) (*http.Response, error) {
		resp := response(req, http.StatusForbidden, body)
		resp.Header["Www-Authenticate"] = []string{needsWrite}
		return resp, nil
	}
}

// A hook is an OnStepUp that counts its calls.
type hook struct {
	f func(context.Context, transport.StepUp) (*oauth2.Token, error)

	mu    sync.Mutex
	calls []transport.StepUp
}

func (h *hook) OnStepUp(ctx context.Context, s transport.StepUp) (*oauth2.Token, error) {
	h.mu.Lock()
	h.calls = append(h.calls, s)
	h.mu.Unlock()
	return h.f(ctx, s)
}

func (h *hook) want(t testing.TB, n int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != n {
		t.Errorf("OnStepUp was called %d times, want %d", len(h.calls), n)
	}
}

// stepped returns a hook that takes a while and has a new token each time.
func stepped(took time.Duration) *hook {
	var n atomic.Int32
	return &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) {
		time.Sleep(took)
		return &oauth2.Token{AccessToken: fmt.Sprint("stepped", n.Add(1))}, nil
	}}
}

func unable(err error) *hook {
	return &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) { return nil, err }}
}

func TestStepUpDemand(t *testing.T) {
	tests := []struct {
		name       string
		scope      any // of the token
		challenges []string
		want       transport.StepUp
	}{
		{
			"a scope", nil,
			[]string{needsWrite},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"write"}},
		},
		{
			"what the token has comes first, nothing twice", "read profile read",
			[]string{`Bearer scope="write read  admin write", error="insufficient_scope", realm="r"`},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"read", "profile", "write", "admin"}},
		},
		{
			"no scope", "read",
			[]string{`Bearer error=insufficient_scope`},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"read"}},
		},
		{
			"with a quoted-pair", "read",
			[]string{`Bearer error="in\sufficient_scope"`},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"read"}},
		},
		{
			"a scope of the token that is no text",
			[]string{"read"},
			[]string{needsWrite},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"write"}},
		},
		{
			"authentication", "openid",
			[]string{`Bearer error="insufficient_user_authentication", acr_values="urn:2fa  silver", max_age="300"`},
			transport.StepUp{
				Error: "insufficient_user_authentication", Scopes: []string{"openid"},
				ACRValues: []string{"urn:2fa", "silver"}, MaxAge: 5 * time.Minute, HasMaxAge: true,
			},
		},
		{
			"of any age", nil,
			[]string{`Bearer error="insufficient_user_authentication"`},
			transport.StepUp{Error: "insufficient_user_authentication"},
		},
		{
			"now", nil,
			[]string{`Bearer error="insufficient_user_authentication", max_age=0`},
			transport.StepUp{Error: "insufficient_user_authentication", HasMaxAge: true},
		},
		{
			"in 68 years", nil,
			[]string{`Bearer error="insufficient_user_authentication", max_age="2147483647"`},
			transport.StepUp{Error: "insufficient_user_authentication", MaxAge: 2147483647 * time.Second, HasMaxAge: true},
		},
		{
			"spelling of names", nil,
			[]string{`bEARER eRRor="insufficient_scope", SCOPE="write", Acr_Values="silver", MAX_age="1"`},
			transport.StepUp{
				Error: "insufficient_scope", Scopes: []string{"write"}, ACRValues: []string{"silver"},
				MaxAge: time.Second, HasMaxAge: true,
			},
		},
		{
			"the first of several", nil,
			[]string{`Basic realm="r", DPoP error="insufficient_scope", scope="no", Bearer error="invalid_token", scope="no"`, needsWrite, `Bearer error="insufficient_scope", scope="third"`},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"write"}},
		},
		{
			"beside nonsense", nil,
			[]string{`Bearer error="insufficient_scope`, `=,, "`, needsWrite},
			transport.StepUp{Error: "insufficient_scope", Scopes: []string{"write"}},
		},
	}
	for _, age := range []string{`"soon"`, `""`, `"-1"`, `"+1"`, `"1.5"`, `"1e3"`, `" 1"`, `"1 2"`, "2147483648", "99999999999999999999", "0x10", "1_000"} {
		tests = append(tests, struct {
			name       string
			scope      any
			challenges []string
			want       transport.StepUp
		}{
			"max_age " + age, nil,
			[]string{`Bearer error="insufficient_user_authentication", max_age=` + age},
			transport.StepUp{Error: "insufficient_user_authentication"},
		})
	}
	for _, tt := range tests {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				source := tokens("old", "new")
				if tt.scope != nil {
					token, err := source.Token(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					*token = *token.WithExtra(map[string]any{"scope": tt.scope})
				}
				base := newScript(demanding(status, tt.challenges...))
				h := stepped(0)
				req, b := replayable(t, "a body")
				got, body := do(t, &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: base}, req)
				if got != http.StatusOK || body != "welcome" {
					t.Errorf("got %d %q", got, body)
				}
				if diff := cmp.Diff([]transport.StepUp{tt.want}, h.calls, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("demands (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"Bearer old", "Bearer stepped1"}, base.auths()); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
				for i, a := range base.sent() {
					if a.Sent != "a body" {
						t.Errorf("attempt %d had body %q", i+1, a.Sent)
					}
				}
				b.wantEachClosedOnce(t)
				if n := source.renewed.Load(); n != 0 {
					t.Errorf("%d renewals, want none", n)
				}
			})
		}
	}
}

// What is no demand is a rejection like any other, or none.
func TestStepUpIgnores(t *testing.T) {
	for _, challenge := range []string{
		`Bearer error="invalid_token", scope="write"`, `Bearer scope="write"`, `Bearer realm="insufficient_scope"`, `Bearer`,
		`DPoP error="insufficient_scope", scope="write"`, `Basic error="insufficient_scope"`, `Bearer error="INSUFFICIENT_SCOPE"`,
		`Bearer error="insufficient_scope", error="invalid_token"`, `Bearer error="insufficient_scope`,
	} {
		for status, renewals := range map[int]int32{401: 1, 403: 0} {
			source := tokens("old", "new")
			h := stepped(0)
			do(t, &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: newScript(demanding(status, challenge))}, get(t))
			if n := source.renewed.Load(); n != renewals {
				t.Errorf("%d %s: %d renewals, want %d", status, challenge, n, renewals)
			}
			h.want(t, 0)
		}
	}
	// A response that is no error demands nothing.
	for _, status := range []int{101, 200, 204, 301, 302, 399} {
		refused := newBody("fine")
		h := stepped(0)
		base := newScript(func(req *http.Request) (*http.Response, error) {
			resp := response(req, status, refused)
			resp.Header["Www-Authenticate"] = []string{needsWrite}
			return resp, nil
		})
		resp, err := (&transport.Refresh{Source: tokens("old", "new"), OnStepUp: h.OnStepUp, Base: base}).RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || resp.Body != io.ReadCloser(refused) {
			t.Errorf("%d: got %d and body %v, want the response untouched", status, resp.StatusCode, resp.Body)
		}
		h.want(t, 0)
	}
}

// A new token of the same kind would not go any further.
func TestStepUpStartsNoRenewal(t *testing.T) {
	for _, challenge := range []string{needsWrite, `Bearer error="insufficient_user_authentication"`} {
		for _, status := range []int{401, 403} {
			for name, rejected := range map[string]func(*http.Response) bool{
				"by default":  nil,
				"always":      func(*http.Response) bool { return true },
				"never":       func(*http.Response) bool { return false },
				"by the body": transport.RejectedIf(func(body []byte) bool { return len(body) > 0 }, 401, 403),
			} {
				t.Run(fmt.Sprintf("%s %d %s", challenge, status, name), func(t *testing.T) {
					refused := newBody(text(100_000))
					base := newScript(func(req *http.Request) (*http.Response, error) {
						resp := response(req, status, refused)
						resp.Header["Www-Authenticate"] = []string{challenge}
						return resp, nil
					})
					source := tokens("old", "new")
					rt := &transport.Refresh{Source: source, Rejected: rejected, Base: base}
					resp, err := rt.RoundTrip(get(t))
					if err != nil {
						t.Fatal(err)
					}
					if got := slurp(t, resp); resp.StatusCode != status || got != text(100_000) {
						t.Errorf("got %d with %d bytes, want the response as it came", resp.StatusCode, len(got))
					}
					refused.wantClosedOnce(t, "its body")
					// Nor with the next request, if this one could not be sent again.
					req, _ := stream(t, "stream")
					resp, err = rt.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					if _, err := rt.RoundTrip(get(t)); err != nil {
						t.Fatal(err)
					}
					if n := source.renewed.Load(); n != 0 || len(base.sent()) != 3 {
						t.Errorf("%d renewals, %d attempts at three requests", n, len(base.sent()))
					}
				})
			}
		}
	}
}

// The outcome of the second attempt is final.
func TestStepUpIsFinal(t *testing.T) {
	for name, second := range map[string]transport.Func{
		"the same demand": forbidding(newBody("still no")),
		"a rejection":     answer(http.StatusUnauthorized, "still no"),
	} {
		t.Run(name, func(t *testing.T) {
			base := newScript(demanding(http.StatusForbidden, needsWrite), second, answer(http.StatusOK, "a third attempt"))
			h := stepped(0)
			source := tokens("old", "new")
			if _, body := do(t, &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: base}, get(t)); body != "still no" {
				t.Errorf("got %q", body)
			}
			h.want(t, 1)
			if n := len(base.sent()); n != 2 || source.renewed.Load() != 0 {
				t.Errorf("%d attempts and %d renewals, want 2 and 0", n, source.renewed.Load())
			}
		})
	}
}

// A token that the hook hands to the Source is there for later requests.
func TestStepUpBySession(t *testing.T) {
	s := session(t, nil)
	base := newScript(demanding(http.StatusForbidden, needsWrite))
	h := &hook{f: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) {
		if err := s.Set(ctx, &oauth2.Token{AccessToken: "stepped"}); err != nil {
			return nil, err
		}
		return s.Token(ctx)
	}}
	rt := &transport.Refresh{Source: s, OnStepUp: h.OnStepUp, Base: base}
	for range 2 {
		do(t, rt, get(t))
	}
	if diff := cmp.Diff([]string{"Bearer old", "Bearer stepped", "Bearer stepped"}, base.auths()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	h.want(t, 1)
}

// Requests that meet the same demand with the same token share one call, those
// that are late included.
func TestStepUpStorm(t *testing.T) {
	const callers = 100
	tests := []struct {
		name    string
		demand  func(n int) string
		answers func(n int) time.Duration // how long the nth 403 takes; the hook takes 50 ms
		calls   int
	}{
		{"together", func(int) string { return needsWrite }, func(int) time.Duration { return 0 }, 1},
		{"straggling in", func(int) string { return needsWrite }, func(n int) time.Duration { return time.Duration(n) * time.Millisecond }, 1},
		{
			"three demands",
			func(n int) string { return fmt.Sprintf(`Bearer error="insufficient_scope", scope="%d"`, n%3) },
			func(int) time.Duration { return 0 },
			3,
		},
		{
			"one scope, two ages",
			func(n int) string {
				return fmt.Sprintf(`Bearer error="insufficient_scope", scope="w", max_age="%d"`, n%2)
			},
			func(int) time.Duration { return 0 },
			2,
		},
		{
			"two kinds",
			func(n int) string {
				return "Bearer error=" + []string{"insufficient_scope", "insufficient_user_authentication"}[n%2]
			},
			func(int) time.Duration { return 0 },
			2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := stepped(50 * time.Millisecond)
				rt := &transport.Refresh{
					Source: tokens("old", "new"), OnStepUp: h.OnStepUp, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
						n := int(req.ContentLength)
						if req.Header.Get("Authorization") == "Bearer old" {
							time.Sleep(tt.answers(n))
						}
						return demanding(http.StatusForbidden, tt.demand(n))(req)
					}),
				}
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						req := get(t)
						req.ContentLength = int64(i) // for a number
						if status, _ := do(t, rt, req); status != http.StatusOK {
							t.Errorf("caller %d got %d", i, status)
						}
					})
				}
				wg.Wait()
				h.want(t, tt.calls)
			})
		})
	}
}

// So do those that come when the call has just ended.
func TestStepUpJustMet(t *testing.T) {
	for range 500 {
		h := stepped(0)
		rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: demanding(http.StatusForbidden, needsWrite)}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { do(t, rt, get(t)) })
		}
		wg.Wait()
		h.want(t, 1)
	}
}

// A demand that another token does not meet is another demand.
func TestStepUpForAnotherToken(t *testing.T) {
	for _, next := range []string{"new", "old"} { // a generation of its own, though its text be the same
		source := tokens("old", next)
		base := newScript(func(req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(req.Header.Get("Authorization"), "Bearer stepped") {
				return answer(http.StatusOK, "")(req)
			}
			return forbidding(newBody("not enough"))(req)
		})
		h := stepped(0)
		rt := &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: base}
		do(t, rt, get(t))
		old, _ := source.Token(t.Context())
		if _, err := source.Renew(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		do(t, rt, get(t))
		if diff := cmp.Diff([]string{"Bearer old", "Bearer stepped1", "Bearer " + next, "Bearer stepped2"}, base.auths()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	}
}

func TestStepUpFails(t *testing.T) {
	tests := []struct {
		name string
		f    func(context.Context, transport.StepUp) (*oauth2.Token, error)
		is   error // nil: any
		says string
	}{
		{"error", unable(errSource).f, errSource, errSource.Error()},
		{"sign in again", unable(fmt.Errorf("no: %w", tokensource.ErrReauthRequired)).f, tokensource.ErrReauthRequired, "no"},
		{"with a token", func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: "secret"}, errSource
		}, errSource, ""},
		{"panic", func(context.Context, transport.StepUp) (*oauth2.Token, error) { panic("secret") }, nil, "OnStepUp panicked at stepup_test.go:"},
		{"runtime error", func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			var token *oauth2.Token
			return &oauth2.Token{AccessToken: token.AccessToken}, nil
		}, nil, "OnStepUp panicked"},
		{"Goexit", func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			runtime.Goexit()
			return nil, nil
		}, nil, "OnStepUp"},
		{"neither token nor error", unable(nil).f, nil, "OnStepUp returned neither"},
		{"empty token", func(context.Context, transport.StepUp) (*oauth2.Token, error) { return &oauth2.Token{}, nil }, nil, "OnStepUp returned an empty token"},
		{"token with a control", func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: "secret\n"}, nil
		}, nil, "OnStepUp returned a token with a control"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused := newBody("not enough")
			base := newScript(func(req *http.Request) (*http.Response, error) {
				resp := response(req, http.StatusForbidden, refused)
				resp.Header["Www-Authenticate"] = []string{needsWrite, `Basic realm="r"`}
				return resp, nil
			})
			h := &hook{f: tt.f}
			req, b := replayable(t, "a body")
			resp, err := (&transport.Refresh{Source: tokens("old", "new"), OnStepUp: h.OnStepUp, Base: base}).RoundTrip(req)
			got, ok := errors.AsType[*transport.RenewalError](err)
			if resp != nil || !ok {
				t.Fatalf("got %v, %v, want a RenewalError alone", resp, err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want one that is %v and says %q", err, tt.is, tt.says)
			}
			if diff := cmp.Diff([]string{needsWrite, `Basic realm="r"`}, got.Challenges); diff != "" || got.StatusCode != http.StatusForbidden {
				t.Errorf("status %d, Challenges (-want +got):\n%s", got.StatusCode, diff)
			}
			wantNoSecret(t, "RenewalError", err)
			if n := len(base.sent()); n != 1 {
				t.Errorf("%d attempts, want one", n)
			}
			refused.wantClosedOnce(t, "the 403's body")
			b.wantEachClosedOnce(t)
		})
	}
}

func TestStepUpNothingToBeHad(t *testing.T) {
	source := tokens("old", "new")
	for name, h := range map[string]*hook{
		"ErrUnchanged":   unable(fmt.Errorf("the user declined: %w", tokensource.ErrUnchanged)),
		"the same token": {f: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) { return source.Token(ctx) }},
	} {
		t.Run(name, func(t *testing.T) {
			for i, size := range sizes {
				refused := newBody(text(size))
				base := newScript(forbidding(refused))
				req, b := replayable(t, "a body")
				resp, err := (&transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: base}).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != http.StatusForbidden || resp.Request != req || resp.Header.Get("WWW-Authenticate") != needsWrite {
					t.Errorf("got %+v, want the 403 as it came", resp)
				}
				if got := slurp(t, resp); got != text(size) {
					t.Errorf("its body has %d bytes, want %d", len(got), size)
				}
				refused.wantClosedOnce(t, "the 403's body")
				b.wantEachClosedOnce(t)
				if len(base.sent()) != 1 || len(b.again) != 0 {
					t.Errorf("%d attempts, %d calls of GetBody, want 1 and 0", len(base.sent()), len(b.again))
				}
				h.want(t, i+1) // it is asked anew by each request
			}
		})
	}
}

// A hook may take its time over a human being; nobody has to wait for it.
func TestStepUpCallersLeave(t *testing.T) {
	for name, leave := range map[string]func(*http.Request, time.Duration) (*http.Request, error){
		"deadline": func(req *http.Request, after time.Duration) (*http.Request, error) {
			ctx, cancel := context.WithTimeout(req.Context(), after)
			context.AfterFunc(ctx, cancel)
			return req.WithContext(ctx), context.DeadlineExceeded
		},
		"cancel": func(req *http.Request, after time.Duration) (*http.Request, error) {
			ctx, cancel := context.WithCancel(req.Context())
			time.AfterFunc(after, cancel)
			return req.WithContext(ctx), context.Canceled
		},
		"Request.Cancel": func(req *http.Request, after time.Duration) (*http.Request, error) {
			c := make(chan struct{})
			time.AfterFunc(after, func() { close(c) })
			return setCancel(req, c), context.Canceled
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				h := &hook{f: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) {
					<-done
					return &oauth2.Token{AccessToken: "stepped"}, ctx.Err()
				}}
				rt := &transport.Refresh{Source: tokens("old", "new"), OnStepUp: h.OnStepUp, Base: newScript(demanding(http.StatusForbidden, needsWrite))}
				var wg sync.WaitGroup
				for i := range 50 { // the first of which is the leader
					wg.Go(func() {
						after := time.Duration(i+1) * time.Second
						req, want := leave(get(t), after)
						start := time.Now()
						_, err := rt.RoundTrip(req)
						if _, ok := errors.AsType[*transport.RenewalError](err); !ok || !errors.Is(err, want) || time.Since(start) != after {
							t.Errorf("came back after %v with %v, want %v after %v", time.Since(start), err, want, after)
						}
					})
					synctest.Wait()
				}
				wg.Go(func() { // who stays gets the token
					if status, _ := do(t, rt, get(t)); status != http.StatusOK {
						t.Errorf("got %d", status)
					}
				})
				time.Sleep(time.Hour)
				close(done)
				wg.Wait()
				h.want(t, 1)
			})
		})
	}
}

func TestStepUpClientTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		h := &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) { <-done; return nil, errSource }}
		client := &http.Client{Timeout: time.Minute, Transport: &transport.Refresh{
			Source: tokens("old"), OnStepUp: h.OnStepUp, Base: newScript(demanding(http.StatusForbidden, needsWrite)),
		}}
		start := time.Now()
		_, err := client.Get(apiURL)
		e, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err)
		if !ok || !e.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v, want a timeout after a minute", err, time.Since(start))
		}
		close(done)
	})
}

// The hook's context has the request's values and is not bound to its end.
func TestStepUpContext(t *testing.T) {
	type key struct{}
	h := &hook{f: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) {
		if _, ok := ctx.Deadline(); ok || ctx.Done() != nil || ctx.Value(key{}) != "value" {
			t.Errorf("the context ends, or has lost its value %v", ctx.Value(key{}))
		}
		return nil, tokensource.ErrUnchanged
	}}
	rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: newScript(demanding(http.StatusForbidden, needsWrite))}
	for _, cancel := range []chan struct{}{nil, make(chan struct{})} {
		ctx, end := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
		do(t, rt, setCancel(get(t).WithContext(ctx), cancel))
		end()
	}
	h.want(t, 2)
}

// A hook whose own request goes through the decorated client is told so. What
// it does once it has returned, and without credentials, is its own business.
func TestStepUpReentry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var client *http.Client
		var kept context.Context
		ask := func(ctx context.Context, url string) error {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, newBody("secret"))
			resp, err := client.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		h := &hook{f: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) {
			kept = ctx
			for _, url := range []string{apiURL, "https://login.example.com/authorize"} {
				if err := ask(ctx, url); err == nil || !strings.Contains(err.Error(), "decorated") {
					t.Errorf("%s: got %v, want an error that says what is wrong", url, err)
				}
			}
			if err := ask(transport.WithoutCredentials(ctx), apiURL); err != nil {
				t.Errorf("without credentials: %v", err)
			}
			return nil, tokensource.ErrUnchanged
		}}
		base := newScript(demanding(http.StatusForbidden, needsWrite))
		client = &http.Client{Transport: &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: base}}
		if err := ask(t.Context(), apiURL); err != nil { // a stream is no reason to ask
			t.Error(err)
		}
		h.want(t, 0)
		do(t, client.Transport, get(t))
		if err := ask(kept, apiURL); err != nil {
			t.Errorf("after the hook: %v", err)
		}
		h.want(t, 1)
		if diff := cmp.Diff([]string{"Bearer old", "Bearer old", "", "Bearer old"}, base.auths()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

// A demand is not held against the token: the next request goes out with it.
func TestStepUpStreamingBody(t *testing.T) {
	refused := newBody("not enough")
	base := newScript(forbidding(refused), answer(http.StatusOK, ""))
	source := tokens("old", "new")
	h := stepped(0)
	rt := &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, Base: base}
	req, body := stream(t, "stream")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusForbidden || resp.Body != io.ReadCloser(refused) || refused.closed.Load() != 0 {
		t.Errorf("got %d and body %v, want the 403 untouched", resp.StatusCode, resp.Body)
	}
	body.wantClosedOnce(t, "the request's body")
	do(t, rt, get(t))
	h.want(t, 0)
	if diff := cmp.Diff([]string{"Bearer old", "Bearer old"}, base.auths()); diff != "" || source.renewed.Load() != 0 {
		t.Errorf("%d renewals; attempts (-want +got):\n%s", source.renewed.Load(), diff)
	}
	// With a ReplayBuffer it can be sent again.
	base = newScript(demanding(http.StatusForbidden, needsWrite))
	req, body = stream(t, "stream")
	if status, _ := do(t, &transport.Refresh{Source: source, OnStepUp: h.OnStepUp, ReplayBuffer: 10, Base: base}, req); status != http.StatusOK {
		t.Errorf("from the buffer: got %d", status)
	}
	body.wantClosedOnce(t, "the request's body")
}

func TestStepUpEvents(t *testing.T) {
	const took = 50 * time.Millisecond
	ask := transport.Event{Kind: transport.EventStepUp, StatusCode: 403, Generation: 1}
	get := func(t *testing.T) *http.Request { return get(t) }
	tests := []struct {
		name    string
		err     error
		base    []transport.Func
		request func(*testing.T) *http.Request
		want    []transport.Event
	}{
		{
			"met", nil,
			[]transport.Func{forbidding(newBody("")), answer(201, "")},
			get,
			[]transport.Event{ask, {Kind: transport.EventReplayed, StatusCode: 201, Generation: 2, Duration: took}},
		},
		{
			"met, and not enough", nil,
			[]transport.Func{forbidding(newBody(""))},
			get,
			[]transport.Event{ask, {Kind: transport.EventReplayed, StatusCode: 403, Generation: 2, Duration: took}},
		},
		{
			"met, no answer", nil,
			[]transport.Func{forbidding(newBody("")), fail(errBase)},
			get,
			[]transport.Event{ask, {Kind: transport.EventReplayed, Generation: 2, Duration: took, Err: errBase}},
		},
		{
			"nothing to be had", tokensource.ErrUnchanged,
			[]transport.Func{forbidding(newBody(""))},
			get,
			[]transport.Event{ask, {Kind: transport.EventUnchanged, StatusCode: 403, Generation: 1, Duration: took}},
		},
		{
			"failed", errSource,
			[]transport.Func{forbidding(newBody(""))},
			get,
			[]transport.Event{ask, {Kind: transport.EventRenewalFailed, StatusCode: 403, Generation: 1, Duration: took, Err: errSource}},
		},
		{
			"GetBody failed", nil,
			[]transport.Func{forbidding(newBody(""))},
			func(t *testing.T) *http.Request {
				req, _ := replayable(t, "a body")
				req.GetBody = func() (io.ReadCloser, error) { return nil, errBase }
				return req
			},
			[]transport.Event{ask, {Kind: transport.EventNotReplayable, StatusCode: 403, Generation: 1, Duration: took, Err: errBase}},
		},
		{
			"not replayable", nil,
			[]transport.Func{forbidding(newBody(""))},
			func(t *testing.T) *http.Request { req, _ := stream(t, "stream"); return req },
			[]transport.Event{{Kind: transport.EventNotReplayable, StatusCode: 403, Generation: 1}},
		},
		{
			"withheld", nil,
			[]transport.Func{forbidding(newBody(""))},
			func(t *testing.T) *http.Request { return chain(t, "https://evil.com/", apiURL) },
			[]transport.Event{{Kind: transport.EventWithheld}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := session(t, nil)
				var got []transport.Event
				rt := &transport.Refresh{
					Source: s, Base: newScript(tt.base...),
					OnStepUp: func(ctx context.Context, _ transport.StepUp) (*oauth2.Token, error) {
						time.Sleep(took)
						if tt.err != nil {
							return nil, tt.err
						}
						if err := s.Set(ctx, &oauth2.Token{AccessToken: "stepped"}); err != nil {
							t.Error(err)
						}
						return s.Token(ctx)
					},
					OnEvent: func(_ context.Context, e transport.Event) { got = append(got, e) },
				}
				if resp, err := rt.RoundTrip(tt.request(t)); err == nil {
					slurp(t, resp)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateErrors()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				for _, e := range got {
					wantNoSecret(t, "Event", e)
				}
			})
		})
	}
}

// A token that is of no use, or no more, is not held on to.
func TestStepUpIsAskedAgain(t *testing.T) {
	for name, first := range map[string]*oauth2.Token{
		"empty": {}, "control": {AccessToken: "secret\n"}, "expired": {AccessToken: "stepped", Expiry: time.Now().Add(-time.Hour)}, "revoked": {AccessToken: "revoked"},
	} {
		n := 0
		h := &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			if n++; n == 1 {
				return first, nil
			}
			return &oauth2.Token{AccessToken: "good"}, nil
		}}
		base := newScript(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") == "Bearer old" {
				return forbidding(newBody(""))(req)
			}
			return accept("good")(req)
		})
		rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: base}
		_, _ = rt.RoundTrip(get(t))
		if resp, err := rt.RoundTrip(get(t)); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: then got %v, %v", name, resp, err)
		}
	}
}

// A token that has expired is not sent to find that out.
func TestStepUpExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: "stepped", Expiry: time.Now().Add(time.Hour)}, nil
		}}
		rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: demanding(http.StatusForbidden, needsWrite)}
		for _, calls := range []int{1, 1, 2} {
			do(t, rt, get(t))
			h.want(t, calls)
			time.Sleep(40 * time.Minute)
		}
	})
}

// What is remembered is bounded, and what came last stays.
func TestStepUpManyDemands(t *testing.T) {
	const remembered = 16
	h := stepped(0)
	rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
		return demanding(http.StatusForbidden, `Bearer error="insufficient_scope", scope="`+req.URL.Path+`"`)(req)
	})}
	ask := func(n int) {
		t.Helper()
		do(t, rt, newRequest(t, http.MethodGet, fmt.Sprint("https://api.example.com/", n), nil))
	}
	for n := range 3 * remembered {
		ask(n)
	}
	for n := 2 * remembered; n < 3*remembered; n++ {
		ask(n)
	}
	h.want(t, 3*remembered)
	ask(2*remembered - 1)
	h.want(t, 3*remembered+1)
}

func TestStepUpTwoDemandsByTurns(t *testing.T) {
	base := transport.Func(func(req *http.Request) (*http.Response, error) {
		return demanding(http.StatusForbidden, `Bearer error="insufficient_scope", scope="`+req.URL.Path+`"`)(req)
	})
	h := stepped(0)
	rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: base}
	for range 5 {
		for _, u := range []string{"https://api.example.com/a", "https://api.example.com/b"} {
			do(t, rt, newRequest(t, http.MethodGet, u, nil))
		}
	}
	h.want(t, 2)
}

func TestStepUpRepeatsNoToken(t *testing.T) {
	h := unable(tokensource.ErrUnchanged)
	rt := &transport.Refresh{Source: tokens("old"), OnStepUp: h.OnStepUp, Base: newScript(demanding(http.StatusForbidden, `Bearer error="insufficient_scope", scope="old x:old", acr_values="old"`))}
	do(t, rt, get(t))
	if printed := fmt.Sprint(h.calls); strings.Contains(printed, "old") {
		t.Errorf("the token is in %s", printed)
	}
}

func TestStepUpIgnoresProxies(t *testing.T) {
	h := stepped(0)
	base := newScript(func(req *http.Request) (*http.Response, error) {
		resp := response(req, http.StatusProxyAuthRequired, newBody(""))
		resp.Header["Proxy-Authenticate"], resp.Header["Www-Authenticate"] = []string{needsWrite}, []string{"Basic"}
		return resp, nil
	})
	do(t, &transport.Refresh{Source: tokens("old", "new"), OnStepUp: h.OnStepUp, Base: base}, get(t))
	h.want(t, 0)
}

func TestStepUpPrintsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{f: func(context.Context, transport.StepUp) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: "secret-stepped"}, nil
		}}
		rt := &transport.Refresh{Source: tokens("secret"), OnStepUp: h.OnStepUp, Base: newScript(forbidding(newBody("")), answer(http.StatusOK, ""))}
		do(t, rt, get(t))
		synctest.Wait() // fmt looks at whatever it finds, without locks
		rt.Base = nil
		wantNoSecret(t, "Refresh", rt) // which keeps the step
		wantNoSecret(t, "StepUp", h.calls)
	})
}
