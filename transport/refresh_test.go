package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestRefreshSendsAgain(t *testing.T) {
	refused := newBody("who are you?")
	base := newScript(reply(http.StatusUnauthorized, refused), answer(http.StatusOK, "welcome"))
	source := tokens("old", "new", "newer")
	rt := &transport.Refresh{Source: source, Base: base}
	req, b := replayable(t, "a body")
	status, body := do(t, rt, req)
	if status != http.StatusOK || body != "welcome" {
		t.Errorf("got %d %q", status, body)
	}
	if diff := cmp.Diff([]string{"Bearer old", "Bearer new"}, base.auths()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	for i, a := range base.sent() {
		if a.Sent != "a body" || a.Err != nil {
			t.Errorf("attempt %d had body %q, %v", i+1, a.Sent, a.Err)
		}
	}
	if n := source.renewed.Load(); n != 1 {
		t.Errorf("%d renewals, want one", n)
	}
	if len(b.again) != 1 {
		t.Errorf("GetBody was called %d times, want once", len(b.again))
	}
	b.wantEachClosedOnce(t)
	refused.wantClosedOnce(t, "the first answer's body")
}

func TestRefreshLeavesOtherAnswersAlone(t *testing.T) {
	for _, status := range []int{200, 204, 302, 400, 403, 404, 407, 429, 500, 503} {
		base := newScript(answer(status, ""))
		source := tokens("old", "new")
		req, b := replayable(t, "a body")
		if got, _ := do(t, &transport.Refresh{Source: source, Base: base}, req); got != status {
			t.Errorf("got %d, want %d", got, status)
		}
		if len(base.sent()) != 1 || source.renewed.Load() != 0 || len(b.again) != 0 {
			t.Errorf("%d: %d attempts, %d renewals, %d calls of GetBody, want 1, 0, 0", status, len(base.sent()), source.renewed.Load(), len(b.again))
		}
		b.wantEachClosedOnce(t)
	}
}

// The outcome of the second attempt is final, whatever it is.
func TestRefreshSendsTwiceAtMost(t *testing.T) {
	final := newBody("still no")
	tests := []struct {
		name   string
		second transport.Func
		want   int
		err    error
	}{
		{"401", reply(http.StatusUnauthorized, final), http.StatusUnauthorized, nil},
		{"redirect", answer(http.StatusFound, ""), http.StatusFound, nil},
		{"server error", answer(http.StatusInternalServerError, ""), http.StatusInternalServerError, nil},
		{"no answer", fail(errBase), 0, errBase},
		{"neither answer nor error", func(*http.Request) (*http.Response, error) { return nil, nil }, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name+", no body", func(t *testing.T) {
			base := newScript(answer(http.StatusUnauthorized, ""), tt.second, answer(http.StatusOK, "a third attempt"))
			if _, err := (&transport.Refresh{Source: tokens("old", "new", "newer"), Base: base}).RoundTrip(get(t)); (err == nil) != (tt.want != 0) {
				t.Errorf("got %v", err)
			}
			if n := len(base.sent()); n != 2 {
				t.Errorf("%d attempts, want 2", n)
			}
		})
		t.Run(tt.name, func(t *testing.T) {
			refused := newBody("no")
			base := newScript(reply(http.StatusUnauthorized, refused), tt.second, answer(http.StatusOK, "a third attempt"))
			source := tokens("old", "new", "newer")
			req, b := replayable(t, "a body")
			resp, err := (&transport.Refresh{Source: source, Base: base}).RoundTrip(req)
			switch {
			case (resp == nil) == (err == nil):
				t.Fatalf("got %v, %v", resp, err)
			case tt.want == 0 && !errors.Is(err, tt.err) && tt.err != nil:
				t.Errorf("got error %v, want %v", err, tt.err)
			case tt.want != 0 && (err != nil || resp.StatusCode != tt.want || resp.Request != req):
				t.Errorf("got %v, %v, want status %d", resp, err, tt.want)
			}
			if tt.name == "401" && resp.Body != io.ReadCloser(final) {
				t.Error("the second answer's body was touched")
			}
			if n := len(base.sent()); n != 2 {
				t.Errorf("%d attempts, want 2", n)
			}
			if n := source.renewed.Load(); n != 1 {
				t.Errorf("%d renewals, want one", n)
			}
			refused.wantClosedOnce(t, "the first answer's body")
			b.wantEachClosedOnce(t)
		})
	}
	if final.closed.Load() != 0 {
		t.Error("the 401 that was returned had been closed")
	}
}

func TestRefreshGetBodyFails(t *testing.T) {
	refused := strings.Repeat("n", 100_000) // more than is kept
	base := newScript(answer(http.StatusUnauthorized, refused))
	req, b := replayable(t, "a body")
	req.GetBody = func() (io.ReadCloser, error) {
		b.again = append(b.again, newBody(""))
		b.again[0].Close()
		return nil, errors.New("file is gone")
	}
	status, body := do(t, &transport.Refresh{Source: tokens("old", "new"), Base: base}, req)
	if status != http.StatusUnauthorized || body != refused {
		t.Errorf("got %d with %d bytes, want the 401 intact", status, len(body))
	}
	if n := len(base.sent()); n != 1 || len(b.again) != 1 {
		t.Errorf("%d attempts, %d calls of GetBody, want one of each", n, len(b.again))
	}
	b.wantEachClosedOnce(t)
}

func TestRefreshNothingNewer(t *testing.T) {
	unchanged := refusing(fmt.Errorf("a file: %w", tokensource.ErrUnchanged))
	same := tokens("old")
	same.renew = func(_ context.Context, rejected *oauth2.Token) (*oauth2.Token, error) { return rejected, nil }
	for name, source := range map[string]*renewer{"ErrUnchanged": unchanged, "the same token": same} {
		t.Run(name, func(t *testing.T) {
			base := newScript(answer(http.StatusUnauthorized, "who are you?"))
			rt := &transport.Refresh{Source: source, Base: base}
			req, b := replayable(t, "a body")
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusUnauthorized || resp.Request != req || resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("got %+v, want the 401 as it came", resp)
			}
			if got := slurp(t, resp); got != "who are you?" {
				t.Errorf("its body is %q", got)
			}
			if n := len(base.sent()); n != 1 || len(b.again) != 0 {
				t.Errorf("%d attempts, %d calls of GetBody, want 1 and 0", n, len(b.again))
			}
			b.wantEachClosedOnce(t)
		})
	}
}

// A server may answer a refresh with the access token that it rejected, which is
// good from then on. That is a new generation, not nothing newer.
func TestRefreshSameTextNewToken(t *testing.T) {
	base := newScript(answer(http.StatusUnauthorized, ""), answer(http.StatusOK, ""))
	if status, _ := do(t, &transport.Refresh{Source: tokens("old", "old"), Base: base}, get(t)); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
}

func TestRenewalError(t *testing.T) {
	tests := []struct {
		name    string
		source  *renewer
		is      error // nil: any
		timeout bool
	}{
		{"sign in again", refusing(fmt.Errorf("dead: %w", tokensource.ErrReauthRequired)), tokensource.ErrReauthRequired, false},
		{"try again", refusing(&tokensource.RetryError{Err: errSource}), errSource, false},
		{"deadline", refusing(fmt.Errorf("waiting: %w", context.DeadlineExceeded)), context.DeadlineExceeded, true},
		{"timeout within", refusing(&tokensource.RetryError{Err: context.DeadlineExceeded}), context.DeadlineExceeded, true},
		{"no timeout", refusing(&url.Error{Op: "Post", Err: errSource}), errSource, false},
		{"canceled", refusing(context.Canceled), context.Canceled, false},
		{"signed out", refusing(tokensource.ErrNoToken), tokensource.ErrNoToken, false},
		{"neither token nor error", refusing(nil), nil, false},
		{"empty token", tokens("old", ""), nil, false},
		{"token with a control", tokens("old", "secret\r\nX: y"), nil, false},
	}
	panicking := refusing(nil)
	panicking.renew = func(context.Context, *oauth2.Token) (*oauth2.Token, error) { panic("secret") }
	tests = append(tests, struct {
		name    string
		source  *renewer
		is      error
		timeout bool
	}{"panic", panicking, nil, false})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused := newBody("who are you?")
			var challenged *http.Response
			base := newScript(func(req *http.Request) (*http.Response, error) {
				challenged = response(req, http.StatusUnauthorized, refused)
				challenged.Header.Add("WWW-Authenticate", `Basic realm="x"`)
				return challenged, nil
			})
			req, b := replayable(t, "a body")
			// Optional is for requests that were never refused.
			resp, err := (&transport.Refresh{Source: tt.source, Base: base, Optional: true}).RoundTrip(req)
			if resp != nil || err == nil {
				t.Fatalf("got %v, %v, want an error alone", resp, err)
			}
			got, ok := errors.AsType[*transport.RenewalError](err)
			if !ok {
				t.Fatalf("got %T: %v", err, err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want one that is %v", err, tt.is)
			}
			if got.Timeout() != tt.timeout {
				t.Errorf("Timeout is %v", got.Timeout())
			}
			challenged.Header["Www-Authenticate"][0] = "changed later"
			if diff := cmp.Diff([]string{`Bearer error="invalid_token"`, `Basic realm="x"`}, got.Challenges); diff != "" {
				t.Errorf("Challenges (-want +got):\n%s", diff)
			}
			if got.StatusCode != http.StatusUnauthorized || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), got.Err.Error()) {
				t.Errorf("status %d in %q", got.StatusCode, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, got.Err, got.Err), "secret") {
				t.Errorf("error repeats a secret: %v", err)
			}
			if n := len(base.sent()); n != 1 || len(b.again) != 0 {
				t.Errorf("%d attempts, %d calls of GetBody, want 1 and 0", n, len(b.again))
			}
			b.wantEachClosedOnce(t)
			refused.wantClosedOnce(t, "the 401's body")
		})
	}
}

func TestRenewalErrorIsATimeoutToHTTPClient(t *testing.T) {
	client := &http.Client{Transport: &transport.Refresh{
		Source: refusing(context.DeadlineExceeded), Base: newScript(answer(http.StatusUnauthorized, "")),
	}}
	_, err := client.Get(apiURL)
	if e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); !ok || !e.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
}

func TestRefreshStreamingBody(t *testing.T) {
	refused := newBody("who are you?")
	base := newScript(reply(http.StatusUnauthorized, refused), accept("new"))
	source := tokens("old", "new")
	rt := &transport.Refresh{Source: source, Base: base}
	req, body := stream(t, "stream")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusUnauthorized || resp.Body != io.ReadCloser(refused) || refused.closed.Load() != 0 {
		t.Errorf("got status %d and body %v, want the 401 untouched", resp.StatusCode, resp.Body)
	}
	if n := source.renewed.Load(); n != 0 {
		t.Errorf("%d renewals for a request that cannot be sent again", n)
	}
	body.wantClosedOnce(t, "the request's body")

	req, body = stream(t, "next stream")
	if status, _ := do(t, rt, req); status != http.StatusOK {
		t.Errorf("the next request got %d", status)
	}
	body.wantClosedOnce(t, "the next request's body")
	do(t, rt, get(t))
	if diff := cmp.Diff([]string{"Bearer old", "Bearer new", "Bearer new"}, base.auths()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if n := source.renewed.Load(); n != 1 {
		t.Errorf("%d renewals, want one", n)
	}
}

// What is remembered of the rejection goes with the renewal's failure, and stays
// remembered until a renewal has been answered.
func TestRefreshStreamingBodyRenewalFails(t *testing.T) {
	for name, renew := range map[string]func() (*oauth2.Token, error){
		"error":                   func() (*oauth2.Token, error) { return nil, tokensource.ErrReauthRequired },
		"neither token nor error": func() (*oauth2.Token, error) { return nil, nil },
		"unusable token":          func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: "a\nb"}, nil },
		"panic":                   func() (*oauth2.Token, error) { panic("secret") },
	} {
		t.Run(name, func(t *testing.T) {
			base := newScript(answer(http.StatusForbidden, ""), accept("new"))
			source := tokens("old", "new")
			good := source.renew
			source.renew = func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return renew() }
			rt := &transport.Refresh{
				Source: source, Base: base,
				Rejected: func(resp *http.Response) bool { return resp.StatusCode == http.StatusForbidden },
			}
			req, _ := stream(t, "stream")
			do(t, rt, req)
			for range 2 {
				req, body := stream(t, "next stream")
				_, err := rt.RoundTrip(req)
				got, ok := errors.AsType[*transport.RenewalError](err)
				if !ok || got.StatusCode != http.StatusForbidden {
					t.Fatalf("got %T %v, want a RenewalError with status 403", err, err)
				}
				body.wantClosedOnce(t, "the next request's body")
			}
			if n := len(base.sent()); n != 1 {
				t.Errorf("%d requests were sent, want one", n)
			}
			source.renew = good
			if status, _ := do(t, rt, get(t)); status != http.StatusOK {
				t.Errorf("after a good renewal: %d", status)
			}
		})
	}
}

// A token that cannot be renewed is tried as it is, and no renewal is asked for
// twice on behalf of one rejection.
func TestRefreshStreamingBodyNothingNewer(t *testing.T) {
	base := newScript(answer(http.StatusUnauthorized, ""), answer(http.StatusOK, ""))
	source := tokens("old")
	rt := &transport.Refresh{Source: source, Base: base}
	req, _ := stream(t, "stream")
	do(t, rt, req)
	for range 2 {
		if status, _ := do(t, rt, get(t)); status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	}
	if n := source.renewed.Load(); n != 1 {
		t.Errorf("%d renewals, want one", n)
	}
}

// If the token is another by then, nothing is owed, though its text be the same.
func TestRefreshStreamingBodyRenewedMeanwhile(t *testing.T) {
	for _, next := range []string{"new", "old"} {
		base := newScript(answer(http.StatusUnauthorized, ""), answer(http.StatusOK, ""))
		source := tokens("old", next, "newer")
		rt := &transport.Refresh{Source: source, Base: base}
		req, _ := stream(t, "stream")
		do(t, rt, req)
		old, _ := source.Token(t.Context())
		if _, err := source.Renew(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		do(t, rt, get(t))
		if n := source.renewed.Load(); n != 1 {
			t.Errorf("%d renewals, want none beside the test's own", n-1)
		}
	}
}

// A late rejection of an older token does not make Refresh forget that of a
// newer one.
func TestRefreshStreamingBodyStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := transport.Func(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("X-Slow") != "" {
				time.Sleep(time.Second)
			}
			return accept("third")(req)
		})
		rt := &transport.Refresh{Source: tokens("first", "second", "third"), Base: base}
		var slow sync.WaitGroup
		slow.Go(func() {
			req, _ := stream(t, "a")
			req.Header.Set("X-Slow", "yes")
			do(t, rt, req) // sent with the first token
		})
		synctest.Wait()
		for range 2 {
			req, _ := stream(t, "b") // with the first, then with the second token
			do(t, rt, req)
		}
		slow.Wait()
		req, _ := stream(t, "c")
		if status, _ := do(t, rt, req); status != http.StatusOK {
			t.Errorf("got %d: the rejection of the second token was forgotten", status)
		}
	})
}

func TestRejected(t *testing.T) {
	source := tokens("old", "new")
	base := newScript(answer(http.StatusForbidden, ""), answer(http.StatusUnauthorized, ""))
	var asked []int
	rt := &transport.Refresh{Source: source, Base: base, Rejected: func(resp *http.Response) bool {
		asked = append(asked, resp.StatusCode)
		return resp.StatusCode == http.StatusForbidden
	}}
	// The 403 is renewed for; the 401 to the second attempt is none of Rejected's.
	if status, _ := do(t, rt, get(t)); status != http.StatusUnauthorized || source.renewed.Load() != 1 {
		t.Errorf("got %d after %d renewals", status, source.renewed.Load())
	}
	if status, _ := do(t, rt, get(t)); status != http.StatusUnauthorized || source.renewed.Load() != 1 {
		t.Errorf("got %d after %d renewals, want the 401, which is not what was asked for", status, source.renewed.Load())
	}
	if diff := cmp.Diff([]int{403, 401}, asked); diff != "" {
		t.Errorf("Rejected was asked about (-want +got):\n%s", diff)
	}
	req := get(t)
	req.SetBasicAuth("user", "password")
	do(t, rt, req)
	if len(asked) != 2 {
		t.Error("Rejected was asked about a request that is not ours")
	}
}

func TestRejectedPanics(t *testing.T) {
	body := newBody("")
	source := tokens("old", "new")
	for _, answered := range []io.ReadCloser{body, nil} {
		rt := &transport.Refresh{Source: source, Base: newScript(reply(http.StatusOK, answered)), Rejected: func(*http.Response) bool {
			panic("secret")
		}}
		resp, err := rt.RoundTrip(get(t))
		if resp != nil || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, %v, want an error that does not repeat the panic's value", resp, err)
		}
	}
	body.wantClosedOnce(t, "the response's body")
	if source.renewed.Load() != 0 {
		t.Error("there was a renewal")
	}
}

// Requests that go out together with a token that has been revoked.
func TestRefreshStorm(t *testing.T) {
	const callers = 1000
	tests := []struct {
		name string
		// rejection is how long the nth request's 401 takes; the renewal takes 50 ms.
		rejection func(n int) time.Duration
	}{
		{"together", func(int) time.Duration { return 10 * time.Millisecond }},
		{"at random", func(int) time.Duration { return rand.N(100 * time.Millisecond) }},
		{"straggling in", func(n int) time.Duration { return time.Duration(n) * 250 * time.Microsecond }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var exchanges, attempts, late atomic.Int32
				var renewedAt atomic.Int64
				s := session(t, func(_ context.Context, current *oauth2.Token) (*oauth2.Token, error) {
					time.Sleep(50 * time.Millisecond)
					renewedAt.Store(time.Now().UnixNano())
					return &oauth2.Token{AccessToken: fmt.Sprint("new", exchanges.Add(1))}, nil
				})
				rt := &transport.Refresh{Source: s, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
					attempts.Add(1)
					if req.Header.Get("Authorization") == "Bearer old" {
						n := int(req.ContentLength)
						time.Sleep(tt.rejection(n))
						if at := renewedAt.Load(); at != 0 && time.Now().UnixNano() > at {
							late.Add(1)
						}
					}
					return accept("new1")(req)
				})}
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						req := get(t)
						req.ContentLength = int64(i) // for a number
						resp, err := rt.RoundTrip(req)
						if err != nil || resp.StatusCode != http.StatusOK {
							t.Errorf("caller %d: %v, %v", i, resp, err)
						}
					})
				}
				wg.Wait()
				if n := exchanges.Load(); n != 1 {
					t.Errorf("%d renewals, want one", n)
				}
				if n := attempts.Load(); n != 2*callers {
					t.Errorf("%d attempts, want two for each caller", n)
				}
				if tt.name == "straggling in" && late.Load() < callers/2 {
					t.Errorf("only %d rejections were late", late.Load())
				}
			})
		})
	}
}

// Everyone shares the failure, too: one exchange, and an error for each.
func TestRefreshStormThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exchanges atomic.Int32
		s := session(t, func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			exchanges.Add(1)
			time.Sleep(50 * time.Millisecond)
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant"}
		})
		rt := &transport.Refresh{Source: s, Base: newScript(accept("new"))}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := rt.RoundTrip(get(t))
				got, ok := errors.AsType[*transport.RenewalError](err)
				if !ok || !errors.Is(err, tokensource.ErrReauthRequired) || got.StatusCode != http.StatusUnauthorized {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		// Later requests do not even go out.
		if _, err := rt.RoundTrip(get(t)); !errors.Is(err, tokensource.ErrReauthRequired) {
			t.Errorf("got %v", err)
		}
		if n := exchanges.Load(); n != 1 {
			t.Errorf("%d exchanges, want one", n)
		}
	})
}

func TestRefreshHangingRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session(t, func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		rt := &transport.Refresh{Source: s, Base: newScript(accept("new"))}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				patience := time.Duration(i+1) * 10 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				start := time.Now()
				req, b := replayable(t, "a body")
				_, err := rt.RoundTrip(req.WithContext(ctx))
				if waited := time.Since(start); waited != patience {
					t.Errorf("came back after %v, want its own %v", waited, patience)
				}
				got, ok := errors.AsType[*transport.RenewalError](err)
				if !ok || !errors.Is(err, context.DeadlineExceeded) || !got.Timeout() {
					t.Errorf("got %v", err)
				}
				b.wantEachClosedOnce(t)
			})
		}
		wg.Wait()
		time.Sleep(time.Minute) // the renewal itself ends by its own Timeout
	})
}

func TestRefreshLeaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exchanges atomic.Int32
		s := session(t, func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			exchanges.Add(1)
			select {
			case <-time.After(50 * time.Millisecond):
				return &oauth2.Token{AccessToken: "new"}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		rt := &transport.Refresh{Source: s, Base: newScript(accept("new"))}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := rt.RoundTrip(get(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v", err)
			}
		})
		synctest.Wait() // it has started the renewal
		for range 99 {
			wg.Go(func() {
				if status, _ := do(t, rt, get(t)); status != http.StatusOK {
					t.Errorf("got %d", status)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := exchanges.Load(); n != 1 {
			t.Errorf("%d exchanges, want one", n)
		}
	})
}

// The request's context is what the Source sees, so that its values arrive.
func TestRefreshContextReachesTheSource(t *testing.T) {
	type key struct{}
	var seen []any
	source := tokens("old", "new")
	token, renew := source.token, source.renew
	source.token = func(ctx context.Context) (*oauth2.Token, error) {
		seen = append(seen, ctx.Value(key{}))
		return token(ctx)
	}
	source.renew = func(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
		seen = append(seen, ctx.Value(key{}))
		return renew(ctx, rejected)
	}
	rt := &transport.Refresh{Source: source, Base: newScript(accept("new"))}
	for _, cancel := range []chan struct{}{nil, make(chan struct{})} {
		req := get(t).WithContext(context.WithValue(t.Context(), key{}, "value"))
		setCancel(req, cancel)
		do(t, rt, req)
	}
	if !slices.Equal(seen, []any{"value", "value", "value"}) {
		t.Errorf("Token, Renew, Token saw %v", seen)
	}
}
