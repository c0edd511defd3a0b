package transport_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// hanging returns a renewer whose Token or Renew waits for its context.
func hanging(what string) *renewer {
	r := tokens("old")
	wait := func(ctx context.Context) (*oauth2.Token, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if what == "Token" {
		r.token = wait
	}
	r.renew = func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) { return wait(ctx) }
	return r
}

func TestClientTimeoutEndsTheWait(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		for _, what := range []string{"Token", "Renew"} {
			synctest.Test(t, func(t *testing.T) {
				d := make(parts{source: hanging(what), base: newScript(accept("new"))})
				client := &http.Client{Transport: d, Timeout: time.Minute}
				start := time.Now()
				resp, err := client.Get(apiURL)
				if _, ok := d.(*transport.Bearer); ok && what == "Renew" {
					if err != nil || resp.StatusCode != http.StatusUnauthorized {
						t.Errorf("got %v, %v", resp, err)
					}
					resp.Body.Close()
					return
				}
				e, ok := errors.AsType[interface {
					error
					Timeout() bool
				}](err)
				if !ok || !e.Timeout() || time.Since(start) != time.Minute {
					t.Errorf("waiting for %s ended with %v after %v, want a timeout after a minute", what, err, time.Since(start))
				}
			})
		}
	})
}

// Request.Cancel is deprecated, but it is what http.Client ends requests by that
// go through a RoundTripper unknown to it.
func TestRequestCancelEndsTheWait(t *testing.T) {
	for _, what := range []string{"Token", "Renew"} {
		for name, after := range map[string]time.Duration{"at once": 0, "later": time.Minute} {
			t.Run(what+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base := newScript(accept("new"))
					rt := &transport.Refresh{Source: hanging(what), Base: base}
					req, b := replayable(t, "a body")
					cancel := make(chan struct{})
					if after == 0 {
						close(cancel)
					} else {
						time.AfterFunc(after, func() { close(cancel) })
					}
					setCancel(req, cancel)
					start := time.Now()
					_, err := rt.RoundTrip(req)
					if !errors.Is(err, context.Canceled) || time.Since(start) != after {
						t.Errorf("got %v after %v, want %v after %v", err, time.Since(start), context.Canceled, after)
					}
					b.wantEachClosedOnce(t)
				})
			})
		}
	}
}

// A request under Request.Cancel still ends with its context.
func TestContextEndsTheWaitBesideRequestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req := get(t).WithContext(ctx)
		setCancel(req, make(chan struct{}))
		start := time.Now()
		_, err := (&transport.Refresh{Source: hanging("Renew"), Base: newScript(accept("new"))}).RoundTrip(req)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// What a Source sees of a request under Request.Cancel is a context like any
// other, during the call and after.
func TestContextOfRequestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late []context.Context
		look := func(ctx context.Context) {
			if err := ctx.Err(); err != nil {
				t.Errorf("the context has ended before its request: %v", err)
			}
			select {
			case <-ctx.Done():
				t.Error("Done is closed before its request has ended")
			default:
			}
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the deadline was lost")
			}
		}
		for name, look := range map[string]func(context.Context){"looked at": look, "only kept": func(context.Context) {}} {
			source := tokens("old", "new")
			token, renew := source.token, source.renew
			source.token = func(ctx context.Context) (*oauth2.Token, error) {
				look(ctx)
				late = append(late, ctx)
				return token(ctx)
			}
			source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
				look(ctx)
				late = append(late, ctx)
				return renew(ctx, rejected)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			for _, rt := range []http.RoundTripper{
				&transport.Bearer{Source: source, Base: newScript(answer(http.StatusOK, ""))},
				&transport.Refresh{Source: source, Base: newScript(accept("new"))},
			} {
				req := get(t).WithContext(ctx)
				setCancel(req, make(chan struct{}))
				do(t, rt, req)
			}
			if len(late) != 3 {
				t.Fatalf("%s: %d contexts, want three", name, len(late))
			}
			// Whoever kept the context does not wait for ever, and nothing is left running.
			for i, ctx := range late {
				select {
				case <-ctx.Done():
				default:
					t.Errorf("%s: context %d outlives its call", name, i)
				}
				if ctx.Err() == nil {
					t.Errorf("%s: Err of context %d is nil", name, i)
				}
			}
			late = nil
		}
	})
}

// Several goroutines may wait on one context.
func TestContextOfRequestCancelIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := tokens("old")
		source.token = func(ctx context.Context) (*oauth2.Token, error) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { <-ctx.Done() })
			}
			wg.Wait()
			return nil, ctx.Err()
		}
		cancel := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(cancel) })
		req := get(t)
		setCancel(req, cancel)
		if _, err := (&transport.Bearer{Source: source, Base: newScript()}).RoundTrip(req); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
