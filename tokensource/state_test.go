package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// Expiry is not waited for: once within the window a caller starts the renewal
// and, as all others, goes on with the token that is still good.
func TestRenewedAheadOfExpiry(t *testing.T) {
	for _, tc := range []struct {
		lifetime, window time.Duration // the window has up to a tenth of jitter
	}{
		{24 * time.Hour, 5 * time.Minute},
		{time.Hour, 5 * time.Minute},
		{10 * time.Minute, 5 * time.Minute},
		{4 * time.Minute, 2 * time.Minute},
		{20 * time.Second, 10 * time.Second},
		{200 * time.Millisecond, 100 * time.Millisecond},
	} {
		bubble(t, tc.lifetime.String(), func(t *testing.T) {
			g := &fakeGrant{lifetime: tc.lifetime, takes: min(tc.window/4, 10*time.Second)}
			s := &tokensource.Session{Grant: g.grant}
			first := signedIn(t, s, expiring("access-0", tc.lifetime))
			ask := func(want string) {
				t.Helper()
				start := time.Now()
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						if got := access(s.Token(t.Context())); got != want {
							t.Errorf("Token = %s, want %s", got, want)
						}
					})
				}
				wg.Wait()
				if d := time.Since(start); d != 0 {
					t.Errorf("callers waited %v", d)
				}
				synctest.Wait()
			}
			time.Sleep(tc.lifetime - tc.window - 1)
			ask("access-0")
			if n := g.calls(); n != 0 {
				t.Fatalf("%d exchanges before the window", n)
			}
			time.Sleep(tc.window/10 + 1)
			for range 3 {
				ask("access-0")
			}
			if n := g.calls(); n != 1 {
				t.Fatalf("%d exchanges within the window, want 1", n)
			}
			time.Sleep(g.takes + 1)
			ask("access-1")
			if token, _ := s.Renew(t.Context(), first); token == first {
				t.Error("Renew returns the old token")
			}
			if n := g.calls(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
		})
	}
}

// Machines that got their tokens together should not renew them together.
func TestWindowHasJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := map[time.Time]bool{}
		const sessions = 20
		grants := make([]*fakeGrant, sessions)
		all := make([]*tokensource.Session, sessions)
		for i := range all {
			grants[i] = &fakeGrant{}
			all[i] = &tokensource.Session{Grant: grants[i].grant}
			signedIn(t, all[i], expiring("access-0", time.Hour))
		}
		for range 3600 {
			for _, s := range all {
				if _, err := s.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		for _, g := range grants {
			if g.calls() != 1 {
				t.Fatalf("%d exchanges, want 1", g.calls())
			}
			starts[g.times[0]] = true
		}
		if len(starts) < 5 {
			t.Errorf("%d sessions renewed at only %d different times", sessions, len(starts))
		}
	})
}

func TestSkewLeavesTheBackgroundSomeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The skew, a twentieth of the lifetime, is as long as the window.
		g := &fakeGrant{takes: 20 * time.Second, lifetime: 100 * time.Minute}
		s := &tokensource.Session{Grant: g.grant, Skew: time.Hour}
		signedIn(t, s, expiring("access-0", 100*time.Minute))
		for g.calls() < 3 {
			start := time.Now()
			if _, err := s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != 0 {
				t.Fatalf("a caller waited %v", d)
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Minute) // the last renewal ends
	})
}

// 10,000 requests per second across expiries every 200 ms with an exchange of
// 50 ms: no request waits, and none gets an expired token.
func TestShortLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = 200 * time.Millisecond
		g := &fakeGrant{takes: 50 * time.Millisecond, lifetime: lifetime}
		s := &tokensource.Session{Grant: g.grant}
		signedIn(t, s, expiring("access-0", lifetime))
		const clients, rounds = 10, 2000 // each client asks every millisecond
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				for range rounds {
					start := time.Now()
					token, err := s.Token(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if d := time.Since(start); d != 0 || !start.Before(token.Expiry) {
						t.Errorf("waited %v for a token that expires in %v", d, time.Until(token.Expiry))
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := g.calls(); n < 10 || n > 20 { // one each 100 to 110 ms
			t.Errorf("%d exchanges in 2 s, want one for each 100 ms or so", n)
		}
		time.Sleep(time.Second) // the last renewal ends
	})
}

func TestNothingRunsUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant}
		signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(24 * time.Hour)
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges although nobody asked", n)
		}
		if got := access(s.Token(t.Context())); got != "access-1" {
			t.Errorf("Token = %s, want access-1", got)
		}
		// The bubble fails if a goroutine is left, timers included.
	})
}

// A renewal that fails ahead of time is tried again, more and more rarely, and
// nobody notices as long as one succeeds before the token expires.
func TestFailureAheadOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 8
		var ev events
		g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			if n <= failures {
				return nil, errDown
			}
			return nil, nil
		}}
		s := &tokensource.Session{Grant: g.grant, OnEvent: ev.on}
		signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(54 * time.Minute)
		const tick = 10 * time.Millisecond
		got := ""
		for range time.Hour / tick {
			start := time.Now()
			if got = access(s.Token(t.Context())); got != "access-0" {
				break
			}
			if d := time.Since(start); d != 0 {
				t.Fatalf("a caller waited %v", d)
			}
			time.Sleep(tick)
		}
		if got != "access-1" && got != fmt.Sprintf("access-%d", failures+1) {
			t.Errorf("Token = %s, want the token of the attempt that succeeded", got)
		}
		for i := range failures {
			wait := g.times[i+1].Sub(g.times[i])
			if longest := min(250*time.Millisecond<<i, time.Minute); wait < longest/2 || wait > longest+tick {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i+2, wait, longest/2, longest)
			}
		}
		if n := ev.count(tokensource.EventRenewalFailed); n != failures {
			t.Errorf("%d events of a failure, want %d", n, failures)
		}
	})
}

// A renewal that a Token call joined, but that came to nothing, must not be the
// last attempt before the expiry.
func TestRenewalAheadIsNotForgotten(t *testing.T) {
	poll := func(t *testing.T, s *tokensource.Session, d time.Duration) {
		t.Helper()
		for range d / (100 * time.Millisecond) {
			start := time.Now()
			token, err := s.Token(t.Context())
			if err != nil || time.Since(start) != 0 {
				t.Fatalf("Token = %s after %v: the token was not renewed ahead of its expiry", access(token, err), time.Since(start))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	bubble(t, "while the Store is behind", func(t *testing.T) {
		g := &fakeGrant{takes: time.Second, lifetime: time.Hour, answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			if n == 1 { // to be tried again later than the Store
				return nil, &tokensource.RetryError{At: time.Now().Add(20 * time.Second), Err: errDown}
			}
			return nil, nil
		}}
		s := &tokensource.Session{Grant: g.grant, Store: &fakeStore{saveErr: errDown}}
		_ = s.Set(t.Context(), expiring("access-0", time.Hour))
		poll(t, s, time.Hour+time.Minute)
		if n := g.calls(); n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
	})
	bubble(t, "while forced renewals come to nothing", func(t *testing.T) {
		g := &fakeGrant{lifetime: time.Hour, takes: time.Second, answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			if n == 1 {
				return nil, tokensource.ErrUnchanged
			}
			return nil, nil
		}}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(55*time.Minute + 30*time.Second)
		go s.Renew(t.Context(), first)
		synctest.Wait()
		if _, err := s.Token(t.Context()); err != nil { // joins the forced renewal
			t.Fatal(err)
		}
		poll(t, s, 10*time.Minute)
		time.Sleep(time.Minute)
	})
	bubble(t, "while OnEvent tells of the one before", func(t *testing.T) {
		g := &fakeGrant{takes: 100 * time.Millisecond, lifetime: 10 * time.Second}
		s := &tokensource.Session{Grant: g.grant, OnEvent: func(_ context.Context, e tokensource.Event) {
			if e.Kind == tokensource.EventRenewed && e.Generation == 2 {
				time.Sleep(6 * time.Second)
			}
		}}
		signedIn(t, s, expiring("access-0", 10*time.Second))
		poll(t, s, time.Minute)
		time.Sleep(time.Minute)
	})
}

// failures that may pass, as a token endpoint can produce them.
type transientFailure struct {
	name   string
	answer func(*http.Request) (*http.Response, error)
	lo, hi time.Duration // when the next attempt is made
}

func transientFailures() []transientFailure {
	const lo, hi = 125 * time.Millisecond, 250 * time.Millisecond
	down := func(retryAfter string) func(*http.Request) (*http.Response, error) {
		return respond(503, "text/html", "<h1>down</h1>", "Retry-After", retryAfter)
	}
	return []transientFailure{
		{"network error", func(*http.Request) (*http.Response, error) { return nil, errDown }, lo, hi},
		{"timeout", func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, lo, hi},
		{"429", respond(429, "application/json", `{}`), lo, hi},
		{"429, Retry-After", respond(429, "application/json", `{}`, "Retry-After", "7"), 7 * time.Second, 7 * time.Second},
		{"500", respond(500, "text/plain", ""), lo, hi},
		{"502", respond(502, "text/html", "<h1>Bad gateway</h1>"), lo, hi},
		{"503", respond(503, "application/json", ""), lo, hi},
		{"503, Retry-After", down("120"), 2 * time.Minute, 2 * time.Minute},
		{"503, Retry-After with spaces", down(" 120 "), 2 * time.Minute, 2 * time.Minute},
		{"503, Retry-After as a date", func(req *http.Request) (*http.Response, error) {
			return down(time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat))(req)
		}, 90 * time.Second, 90 * time.Second},
		{"503, Retry-After as a date of RFC 850", func(req *http.Request) (*http.Response, error) {
			return down(time.Now().Add(90 * time.Second).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT"))(req)
		}, 90 * time.Second, 90 * time.Second},
		{"503, Retry-After of a day", down("86400"), time.Hour, time.Hour},
		{"503, Retry-After beyond all integers", down("99999999999999999999999"), time.Hour, time.Hour},
		{"503, Retry-After that overflows a Duration", down("9223372037"), time.Hour, time.Hour},
		{"503, Retry-After as a date years away", down("Fri, 31 Dec 2100 23:59:59 GMT"), time.Hour, time.Hour},
		{"503, Retry-After as a date past", down("Fri, 31 Dec 1999 23:59:59 GMT"), lo, hi},
		{"503, Retry-After 0", down("0"), lo, hi},
		{"503, Retry-After negative", down("-100"), lo, hi},
		{"503, Retry-After broken", down("soon"), lo, hi},
		{"503, Retry-After, with a body without end", respond(503, "text/html", strings.Repeat("x", 2<<20), "Retry-After", "120"), 2 * time.Minute, 2 * time.Minute},
		{"503 that says invalid_grant", respond(503, "application/json", `{"error":"invalid_grant"}`), lo, hi},
		{"500 that says invalid_client", respond(500, "application/json", `{"error":"invalid_client"}`), lo, hi},
		{"429 that says invalid_grant", respond(429, "application/json", `{"error":"invalid_grant"}`), lo, hi},
		{"400 temporarily_unavailable", respond(400, "application/json", `{"error":"temporarily_unavailable"}`), lo, hi},
		{"400 invalid_request", respond(400, "application/json", `{"error":"invalid_request"}`), lo, hi},
		{"400 that says nothing", respond(400, "text/html", `no`), lo, hi},
		{"200 with HTML", respond(200, "text/html", "<form>"), lo, hi},
		{"200 with nothing", respondJSON(""), lo, hi},
		{"204", respond(204, "", ""), lo, hi},
		{"200 without an access token", respondJSON(`{"token_type":"Bearer"}`), lo, hi},
		{"307", respond(307, "text/html", "", "Location", "https://other.example/token"), lo, hi},
	}
}

func TestTransientFailure(t *testing.T) {
	for _, tc := range transientFailures() {
		bubble(t, tc.name, func(t *testing.T) {
			var ev events
			endpoint := &tokenEndpoint{answer: answerFrom(tc.answer, respondJSON(`{"access_token":"access-1"}`))}
			s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig()), OnEvent: ev.on}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
			ctx := endpoint.context(t.Context())
			_, failure := s.Renew(ctx, first)
			wait := retryIn(t, failure, tc.lo, tc.hi)
			if errors.Is(failure, tokensource.ErrReauthRequired) {
				t.Errorf("error is %v, which is for good", failure)
			}
			// Until then the same answer comes at once, and the token is kept.
			time.Sleep(wait - 1)
			for range 10 {
				if _, err := s.Renew(ctx, first); err != failure {
					t.Fatalf("Renew before At = %v, want the same error", err)
				}
				if token, err := s.Token(ctx); token != first {
					t.Fatalf("Token before At = %s, want access-0", access(token, err))
				}
			}
			if n := len(endpoint.got()); n != 1 {
				t.Errorf("%d requests before At, want 1", n)
			}
			want := []tokensource.Event{{Kind: tokensource.EventRenewalFailed, Generation: 1, RetryIn: wait}}
			got := ev.list()[1:]
			for i := range got {
				if !errors.Is(failure, got[i].Err) {
					t.Errorf("the event's error is %v, want the cause of %v", got[i].Err, failure)
				}
				got[i].Err, got[i].Duration = nil, 0
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			time.Sleep(time.Nanosecond)
			if got := access(s.Renew(ctx, first)); got != "access-1" {
				t.Errorf("Renew at At = %s, want access-1", got)
			}
			for _, r := range endpoint.got() {
				if got := r.Form.Get("refresh_token"); got != "refresh-0" {
					t.Errorf("refresh token presented is %q", got)
				}
			}
		})
	}
}

// A monotonic clock stands still while a laptop sleeps, and takes part in every
// comparison of a time that has a reading of it. (Times in a bubble have none.)
func TestNoMonotonicReading(t *testing.T) {
	token, err := refresh(t.Context(), &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1","expires_in":3600}`)})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]time.Time{"Expiry": token.Expiry}
	failed := &tokensource.Session{Grant: failingGrant(errDown)}
	limited := &tokensource.Session{Grant: (&fakeGrant{}).grant, MaxForced: 1}
	for name, s := range map[string]*tokensource.Session{"At of a failure": failed, "At of the limit": limited} {
		token := signedIn(t, s, token)
		for err = nil; err == nil; {
			token, err = s.Renew(t.Context(), token)
		}
		retry, ok := errors.AsType[*tokensource.RetryError](err)
		if !ok {
			t.Fatalf("%s: Renew = %v, want a RetryError", name, err)
		}
		times[name] = retry.At
	}
	for name, at := range times {
		if strings.Contains(at.String(), "m=") {
			t.Errorf("%s has a monotonic reading: %v", name, at)
		}
	}
}

// With no token to serve meanwhile, the error is what everybody gets.
func TestTransientFailureWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{answer: failing(errDown)}
		s := &tokensource.Session{Grant: g.grant}
		if err := s.Set(t.Context(), expiring("access-0", -time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, failure := s.Token(t.Context())
		wait := retryIn(t, failure, 125*time.Millisecond, 250*time.Millisecond)
		if want := "tokensource: renewal failed: the server is down"; failure.Error() != want {
			t.Errorf("error is %q, want %q", failure, want)
		}
		time.Sleep(wait - 1)
		if _, err := s.Token(t.Context()); err != failure {
			t.Errorf("Token before At = %v, want the same error", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := s.Token(t.Context()); err == failure || g.calls() != 2 {
			t.Errorf("no attempt at At: %v", err)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errDown
		g := &fakeGrant{answer: func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) { return nil, broken }}
		s := &tokensource.Session{Grant: g.grant, MaxForced: -1}
		token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		fail := func(lo, hi time.Duration) time.Duration {
			t.Helper()
			_, err := s.Renew(t.Context(), token)
			wait := retryIn(t, err, lo, hi)
			time.Sleep(wait)
			return wait
		}
		for i := range 100 { // more than bits in an integer
			longest := min(250*time.Millisecond<<min(i, 20), time.Minute)
			fail(longest/2, longest)
		}
		broken = nil
		var err error
		if token, err = s.Renew(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		// Success starts it afresh, and so does Set.
		broken = errDown
		waits := map[time.Duration]bool{}
		waits[fail(125*time.Millisecond, 250*time.Millisecond)] = true
		fail(250*time.Millisecond, 500*time.Millisecond)
		for range 10 {
			token = signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			waits[fail(125*time.Millisecond, 250*time.Millisecond)] = true
		}
		if len(waits) < 5 {
			t.Errorf("the first wait took only %d values: no jitter", len(waits))
		}
	})
}

// Set does not make anybody wait for what an earlier sign-in ran into.
func TestSetEndsABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			if n == 1 {
				return nil, &tokensource.RetryError{At: time.Now().Add(time.Hour), Err: errDown}
			}
			return nil, nil
		}}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		_, err := s.Renew(t.Context(), first)
		retryIn(t, err, time.Hour, time.Hour)
		if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
			t.Fatal(err)
		}
		if got := access(s.Token(t.Context())); got != "access-2" {
			t.Errorf("Token = %s, want access-2", got)
		}
	})
}

// A Grant's own idea of when to try again is honoured as far as a server's is.
func TestGrantReturnsARetryError(t *testing.T) {
	for _, tc := range []struct {
		name   string
		in     time.Duration
		lo, hi time.Duration
	}{
		{"a minute", time.Minute, time.Minute, time.Minute},
		{"a day", 24 * time.Hour, time.Hour, time.Hour},
		{"past", -time.Hour, 125 * time.Millisecond, 250 * time.Millisecond},
	} {
		for _, cause := range []error{errDown, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 500}}} {
			bubble(t, fmt.Sprintf("%s, %T", tc.name, cause), func(t *testing.T) {
				s := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
					return nil, fmt.Errorf("my grant: %w", &tokensource.RetryError{At: time.Now().Add(tc.in), Err: cause})
				}}
				_, err := s.Token(t.Context())
				retryIn(t, err, tc.lo, tc.hi)
			})
		}
	}
}

// refused is what x/oauth2 returns for an OAuth error.
func refused(code string) error {
	return &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400, Status: "400 Bad Request"}, ErrorCode: code, Body: []byte("hunter2")}
}

func TestTerminalFailure(t *testing.T) {
	for _, tc := range []struct {
		name    string
		err     error
		refresh string // the current token's refresh token
		final   bool
	}{
		{"invalid_grant", refused("invalid_grant"), "refresh-0", true},
		{"invalid_grant without refresh token", refused("invalid_grant"), "", true},
		{"invalid_client", refused("invalid_client"), "refresh-0", true},
		{"invalid_client without refresh token", refused("invalid_client"), "", false},
		{"unauthorized_client", refused("unauthorized_client"), "refresh-0", true},
		{"unauthorized_client without refresh token", refused("unauthorized_client"), "", false},
		{"invalid_scope", refused("invalid_scope"), "refresh-0", false},
		{"no code", refused(""), "refresh-0", false},
		{"invalid_grant without a response", &oauth2.RetrieveError{ErrorCode: "invalid_grant"}, "refresh-0", true},
		{"wrapped", fmt.Errorf("my grant: %w", refused("invalid_grant")), "refresh-0", true},
		{"ErrReauthRequired", tokensource.ErrReauthRequired, "refresh-0", true},
		{"ErrReauthRequired, wrapped", fmt.Errorf("my grant: %w", tokensource.ErrReauthRequired), "", true},
		{"ErrReauthRequired with a RetrieveError", fmt.Errorf("%w: %w", tokensource.ErrReauthRequired, refused("consent_required")), "refresh-0", true},
		{"ErrNoToken although there is one", tokensource.ErrNoToken, "refresh-0", false},
		{"another error", errDown, "refresh-0", false},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			var ev events
			g := &fakeGrant{takes: time.Second, answer: failing(tc.err)}
			s := &tokensource.Session{Grant: g.grant, OnEvent: ev.on}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: tc.refresh})
			errs := make(chan error, 100)
			for range cap(errs) {
				go func() {
					_, err := s.Renew(t.Context(), first)
					errs <- err
				}()
			}
			for range cap(errs) {
				err := <-errs
				if got := errors.Is(err, tokensource.ErrReauthRequired); got != tc.final {
					t.Fatalf("Renew = %v, final %v, want final %v", err, got, tc.final)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("error has the answer's body: %v", err)
				}
			}
			if !tc.final {
				if token, _ := s.Token(t.Context()); token != first {
					t.Error("the token has not been kept")
				}
				return
			}
			for range 10 {
				time.Sleep(time.Hour)
				for name, call := range map[string]func() (*oauth2.Token, error){
					"Token":        func() (*oauth2.Token, error) { return s.Token(t.Context()) },
					"Renew":        func() (*oauth2.Token, error) { return s.Renew(t.Context(), first) },
					"Renew(nil)":   func() (*oauth2.Token, error) { return s.Renew(t.Context(), nil) },
					"Renew of old": func() (*oauth2.Token, error) { return s.Renew(t.Context(), &oauth2.Token{AccessToken: "old"}) },
				} {
					start := time.Now()
					if token, err := call(); token != nil || !errors.Is(err, tokensource.ErrReauthRequired) || time.Since(start) != 0 {
						t.Fatalf("%s = %s after %v, want ErrReauthRequired at once", name, access(token, err), time.Since(start))
					}
				}
			}
			if n := g.calls(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
			if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventSet, tokensource.EventReauthRequired}, ev.kinds()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if e := ev.list()[1]; !errors.Is(e.Err, tokensource.ErrReauthRequired) || e.Generation != 1 || e.Duration != time.Second || e.RetryIn != 0 {
				t.Errorf("event is %+v", e)
			}
			g.answer = nil
			// Set ends it, and so does Clear, in its way.
			if got := access(signedIn(t, s, &oauth2.Token{AccessToken: "signed in anew"}), nil); got != "signed in anew" {
				t.Errorf("after Set, Token = %s", got)
			}
		})
	}
}

func TestClearEndsATerminalFailure(t *testing.T) {
	g := &fakeGrant{answer: func(_ context.Context, _ int, current *oauth2.Token) (*oauth2.Token, error) {
		if current == nil {
			return nil, tokensource.ErrNoToken
		}
		return nil, refused("invalid_grant")
	}}
	s := &tokensource.Session{Grant: g.grant}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
	if _, err := s.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrReauthRequired) {
		t.Fatalf("Renew = %v, want ErrReauthRequired", err)
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) || errors.Is(err, tokensource.ErrReauthRequired) {
		t.Errorf("Token = %v, want ErrNoToken", err)
	}
}

// What is known to be dead is not tried again ahead of a token's expiry either,
// and the callers of a token that is still good learn of it at once.
func TestTerminalFailureAheadOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{answer: failing(refused("invalid_grant"))}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(56 * time.Minute)
		if got := access(s.Token(t.Context())); got != "access-0" {
			t.Errorf("Token = %s, want access-0", got)
		}
		synctest.Wait()
		for range 10 {
			if _, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrReauthRequired) {
				t.Errorf("Token = %v, want ErrReauthRequired", err)
			}
			if _, err := s.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrReauthRequired) {
				t.Errorf("Renew = %v, want ErrReauthRequired", err)
			}
			time.Sleep(time.Minute)
		}
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

// An access token without a refresh token is good until it expires: there being
// nothing to renew it with is not the end of it.
func TestAccessTokenAloneLivesUntilExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		endpoint := &tokenEndpoint{answer: respondJSON(`{}`)}
		s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig()), OnEvent: ev.on}
		ctx := endpoint.context(t.Context())
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", Expiry: time.Now().Add(time.Hour)})
		for range 3589 {
			time.Sleep(time.Second)
			if token, err := s.Token(ctx); token != first {
				t.Fatalf("Token = %s, want access-0", access(token, err))
			}
		}
		if n := len(ev.list()); n != 1 {
			t.Errorf("events %v before the token expired", ev.kinds())
		}
		time.Sleep(time.Second)
		for range 2 {
			if _, err := s.Token(ctx); !errors.Is(err, tokensource.ErrReauthRequired) {
				t.Errorf("Token after expiry = %v, want ErrReauthRequired", err)
			}
		}
		if n := ev.count(tokensource.EventReauthRequired); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
		if n := len(endpoint.got()); n != 0 {
			t.Errorf("%d requests without a refresh token", n)
		}
	})
}

func TestAccessTokenAloneRejected(t *testing.T) {
	s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig())}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
	if _, err := s.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrReauthRequired) {
		t.Errorf("Renew = %v, want ErrReauthRequired", err)
	}
	if _, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrReauthRequired) {
		t.Errorf("Token = %v, want ErrReauthRequired", err)
	}
}

// A Grant's ErrNoToken, when there is none, is for whoever asks now, and no
// reason to make those wait who ask after a sign-in.
func TestClientCredentialsNeedNoToken(t *testing.T) {
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant}
	if got := access(s.Token(t.Context())); got != "access-1" {
		t.Errorf("Token = %s, want access-1", got)
	}
	if diff := cmp.Diff([]string{""}, g.seen); diff != "" {
		t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
	}
}
