package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var _ tokensource.Renewer = (*tokensource.Session)(nil)

func TestTokenIsOneObjectUntilReplaced(t *testing.T) {
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant}
	set := &oauth2.Token{AccessToken: "access-0"}
	first := signedIn(t, s, set)
	set.AccessToken = "changed by the caller"
	for range 3 {
		token, err := s.Token(t.Context())
		if err != nil || token != first {
			t.Fatalf("Token = %s, want the same object each time", access(token, err))
		}
	}
	if first.AccessToken != "access-0" {
		t.Errorf("token is %q: Set did not copy it", first.AccessToken)
	}
	if n := g.calls(); n != 0 {
		t.Errorf("%d exchanges for a token that is good", n)
	}
}

func TestTokenWithoutExpiryIsUsedUntilRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		time.Sleep(20 * 365 * 24 * time.Hour)
		if token, err := s.Token(t.Context()); token != first {
			t.Errorf("Token = %s, want access-0", access(token, err))
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges before the token was rejected", n)
		}
		if got := access(s.Renew(t.Context(), first)); got != "access-1" {
			t.Errorf("Renew = %s, want access-1", got)
		}
	})
}

func TestNobodySignedIn(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respondJSON(`{}`)}
	var ev events
	s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig()), OnEvent: ev.on}
	ctx := endpoint.context(t.Context())
	for range 2 {
		if token, err := s.Token(ctx); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
			t.Errorf("Token = %s, want ErrNoToken", access(token, err))
		}
		if token, err := s.Renew(ctx, nil); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
			t.Errorf("Renew(nil) = %s, want ErrNoToken", access(token, err))
		}
	}
	if n := len(endpoint.got()); n != 0 {
		t.Errorf("%d requests to the token endpoint", n)
	}
	if n := len(ev.list()); n != 0 {
		t.Errorf("events %v for nothing", ev.kinds())
	}
	// The error is not one to wait for, as that of a failure.
	signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
}

func TestSessionWithoutGrant(t *testing.T) {
	var s tokensource.Session
	if token, err := s.Token(t.Context()); token != nil || err == nil {
		t.Errorf("Token = %s, want an error", access(token, err))
	}
	first := signedIn(t, &s, &oauth2.Token{AccessToken: "access-0"})
	if token, err := s.Renew(t.Context(), first); token != nil || err == nil {
		t.Errorf("Renew = %s, want an error", access(token, err))
	}
	if got := access(s.Token(t.Context())); got != "access-0" {
		t.Errorf("Token = %s, want access-0", got)
	}
}

func TestRefreshTokenAloneIsExchangedOnFirstUse(t *testing.T) {
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant}
	if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	if n := g.calls(); n != 0 {
		t.Fatalf("%d exchanges before first use", n)
	}
	for range 2 {
		if got := access(s.Token(t.Context())); got != "access-1" {
			t.Errorf("Token = %s, want access-1", got)
		}
	}
	if diff := cmp.Diff([]string{"refresh-0"}, g.seen); diff != "" {
		t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
	}
}

func TestSetRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		token *oauth2.Token
	}{
		{"nil", nil},
		{"empty", &oauth2.Token{}},
		{"neither access nor refresh token", &oauth2.Token{TokenType: "Bearer", Expiry: time.Now()}},
		{"CR LF in access token", &oauth2.Token{AccessToken: "hunter2\r\nX: y"}},
		{"NUL in access token", &oauth2.Token{AccessToken: "hunter2\x00"}},
		{"DEL in access token", &oauth2.Token{AccessToken: "hunter2\x7f"}},
		{"LF in refresh token", &oauth2.Token{AccessToken: "ok", RefreshToken: "hunter2\n"}},
		{"CR LF in token type", &oauth2.Token{AccessToken: "ok", TokenType: "hunter2\r\nX: y"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ev events
			s := &tokensource.Session{OnEvent: ev.on, Store: &fakeStore{saveErr: errDown, text: tokensource.NewRecord(&oauth2.Token{AccessToken: "stored"})}}
			first, err := s.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = s.Set(t.Context(), tc.token)
			if err == nil || errors.Is(err, errDown) {
				t.Fatalf("Set = %v, want a refusal before anything is saved", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error repeats the token: %v", err)
			}
			if token, err := s.Token(t.Context()); token != first {
				t.Errorf("Token = %s, want the token as before", access(token, err))
			}
			if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventAdopted}, ev.kinds()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetReplaces(t *testing.T) {
	s := &tokensource.Session{Grant: failingGrant(errDown)}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "access", RefreshToken: "refresh-0"})
	second := signedIn(t, s, &oauth2.Token{AccessToken: "access", RefreshToken: "refresh-0"})
	if first == second {
		t.Error("Set of an equal token is not a new generation")
	}
	// The old generation is history, even though the strings are the same.
	if token, err := s.Renew(t.Context(), first); token != second {
		t.Errorf("Renew(first) = %s, want the second", access(token, err))
	}
}

func TestClear(t *testing.T) {
	var ev events
	store := &fakeStore{}
	s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig()), Store: store, OnEvent: ev.on}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
	for range 2 { // the second has nothing to clear, which is no error
		if err := s.Clear(t.Context()); err != nil {
			t.Fatalf("Clear: %v", err)
		}
	}
	if token, err := s.Token(t.Context()); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
		t.Errorf("Token = %s, want ErrNoToken", access(token, err))
	}
	if token, err := s.Renew(t.Context(), first); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
		t.Errorf("Renew = %s, want ErrNoToken", access(token, err))
	}
	if got := store.holds(); got != "" {
		t.Errorf("store holds %q", got)
	}
	want := []tokensource.EventKind{tokensource.EventSet, tokensource.EventCleared, tokensource.EventCleared}
	if diff := cmp.Diff(want, ev.kinds()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A renewal that was under way at Set or Clear is void: those who wait for it
// are answered from the new state at once, and what it brings late is neither
// published nor saved.
func TestSetAndClearEndTheRenewalUnderWay(t *testing.T) {
	for _, tc := range []struct {
		name    string
		replace func(context.Context, *tokensource.Session) error
		want    string
		stored  string
	}{
		{"Set", func(ctx context.Context, s *tokensource.Session) error {
			return s.Set(ctx, &oauth2.Token{AccessToken: "signed in anew", RefreshToken: "other"})
		}, "signed in anew", "signed in anew"},
		{"Clear", func(ctx context.Context, s *tokensource.Session) error { return s.Clear(ctx) }, "error: " + tokensource.ErrNoToken.Error(), ""},
	} {
		for _, outcome := range []string{"a token", "a failure", "a refusal"} {
			bubble(t, tc.name+", late "+outcome, func(t *testing.T) {
				store := &fakeStore{journal: &journal{}}
				var ev events
				called := 0
				s := &tokensource.Session{Store: store, OnEvent: ev.on, Grant: func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
					if called++; current == nil {
						return nil, tokensource.ErrNoToken
					}
					<-ctx.Done() // the exchange itself has been made by then
					switch outcome {
					case "a failure":
						return nil, ctx.Err()
					case "a refusal":
						return nil, &oauth2.RetrieveError{ErrorCode: "invalid_grant"}
					}
					return &oauth2.Token{AccessToken: "late", RefreshToken: "late"}, nil
				}}
				first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						start := time.Now()
						if got := access(s.Renew(t.Context(), first)); got != tc.want {
							t.Errorf("a waiter got %s, want %s", got, tc.want)
						}
						if d := time.Since(start); d != time.Second {
							t.Errorf("a waiter waited %v, want to be released after 1s", d)
						}
					})
				}
				time.Sleep(time.Second)
				store.journal.reset()
				if err := tc.replace(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				wg.Wait()
				time.Sleep(time.Hour)
				if got := access(s.Token(t.Context())); got != tc.want {
					t.Errorf("Token = %s, want %s", got, tc.want)
				}
				if got := store.holds(); got != tc.stored {
					t.Errorf("store holds %q, want %q", got, tc.stored)
				}
				for _, kind := range []tokensource.EventKind{tokensource.EventRenewed, tokensource.EventRenewalFailed, tokensource.EventReauthRequired} {
					if ev.count(kind) != 0 {
						t.Errorf("events %v tell of the void renewal", ev.kinds())
					}
				}
			})
		}
	}
}

// Set while the renewal is saving must not end up with one token in the Store
// and another one here.
func TestSetDuringSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		store.onSave = func(_ context.Context, token *oauth2.Token) {
			if token.AccessToken == "access-1" {
				time.Sleep(5 * time.Second)
			}
		}
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		go s.Renew(t.Context(), first)
		time.Sleep(time.Second)
		if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "set"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := access(s.Token(t.Context())); got != "set" || store.holds() != "set" {
			t.Errorf("Token = %s, store holds %q, want what was set last in both", got, store.holds())
		}
	})
}

// A renewal of the token that Set brought is not the one that Set ends, even
// if the Store takes long to let go of its lock.
func TestSetDoesNotEndTheNextRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		store.onUnlock = func() { time.Sleep(time.Second) } // as to remove a lock file
		g := &fakeGrant{takes: 5 * time.Second}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		go s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"})
		time.Sleep(100 * time.Millisecond)
		if got := access(s.Token(t.Context())); got != "access-1" {
			t.Errorf("Token = %s, want access-1", got)
		}
		synctest.Wait()
		time.Sleep(time.Second)
	})
}

func TestSetWaitsForTheStoreNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		store.onSave = func(_ context.Context, token *oauth2.Token) { time.Sleep(10 * time.Second) }
		s := &tokensource.Session{Store: store}
		go s.Set(t.Context(), &oauth2.Token{AccessToken: "slow"})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Set(ctx, &oauth2.Token{AccessToken: "impatient"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set = %v, want context.DeadlineExceeded", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("Set took %v, want 1s", d)
		}
		time.Sleep(10 * time.Second)
	})
}

// A sign-out must not fail by chance because the request that asked for it is
// gone: with nothing to wait for, the end of ctx changes nothing.
func TestSetAndClearWithEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		s := &tokensource.Session{Grant: failingGrant(tokensource.ErrNoToken)}
		if err := s.Set(ctx, &oauth2.Token{AccessToken: "access-0"}); err != nil {
			t.Fatalf("Set: %v", err)
		}
		if err := s.Clear(ctx); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		if token, _ := s.Token(t.Context()); token != nil {
			t.Fatal("the token is still there")
		}
	}
}

func TestEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant}
		if _, err := s.Token(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Token without a token = %v, want context.Canceled", err)
		}
		synctest.Wait()
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		if token, err := s.Token(ctx); token != first {
			t.Errorf("Token = %s, want the good one, which there is no waiting for", access(token, err))
		}
		if _, err := s.Renew(ctx, first); !errors.Is(err, context.Canceled) {
			t.Errorf("Renew = %v, want context.Canceled", err)
		}
		synctest.Wait()
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges for callers that had left", n)
		}
	})
}

func TestSkew(t *testing.T) {
	for _, tc := range []struct {
		name           string
		skew, lifetime time.Duration
		want           time.Duration // how long the token is handed out
	}{
		{"default", 0, time.Hour, time.Hour - 10*time.Second},
		{"none", -1, time.Hour, time.Hour},
		{"a minute", time.Minute, time.Hour, 59 * time.Minute},
		{"more than a twentieth", time.Hour, time.Hour, 57 * time.Minute},
		{"default, short life", 0, 100 * time.Second, 95 * time.Second},
		{"default, shortest life", 0, 200 * time.Millisecond, 190 * time.Millisecond},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			g := &fakeGrant{}
			s := &tokensource.Session{Skew: tc.skew, Grant: g.grant}
			signedIn(t, s, expiring("access-0", tc.lifetime))
			time.Sleep(tc.want - 1)
			start := time.Now()
			if got := access(s.Token(t.Context())); got != "access-0" {
				t.Errorf("Token = %s before the end of the token's life, want access-0", got)
			}
			synctest.Wait()

			// The other session is not asked before, so that nothing is renewed ahead.
			other := &tokensource.Session{Skew: tc.skew, Grant: g.grant}
			if err := other.Set(t.Context(), expiring("access-0", tc.lifetime)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(tc.want)
			if got := access(other.Token(t.Context())); got != "access-2" {
				t.Errorf("Token = %s at the end of the token's life, want access-2", got)
			}
			if d := time.Since(start); d != tc.want {
				t.Errorf("the test took %v", d)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	for _, tc := range []struct {
		name   string
		expiry func(now time.Time) time.Time
		after  time.Duration
		want   string
	}{
		{"long past", func(time.Time) time.Time { return time.Unix(0, 0) }, 0, "access-1"},
		{"before every int64 of nanoseconds", func(time.Time) time.Time { return time.Unix(-1<<40, 0) }, 0, "access-1"},
		{"now", func(now time.Time) time.Time { return now }, 0, "access-1"},
		{"year 9999", func(time.Time) time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }, 30 * 365 * 24 * time.Hour, "access-0"},
		{"another zone", func(now time.Time) time.Time { return now.Add(time.Hour).In(time.FixedZone("", 14*3600)) }, 59*time.Minute + 51*time.Second, "access-1"},
		{"with a monotonic reading", func(now time.Time) time.Time { return now.Add(time.Hour) }, 54 * time.Minute, "access-0"},
		{"without one", func(now time.Time) time.Time { return now.Add(time.Hour).Round(0) }, 54 * time.Minute, "access-0"},
		{"with one, over", func(now time.Time) time.Time { return now.Add(time.Hour) }, 59*time.Minute + 51*time.Second, "access-1"},
		{"without one, over", func(now time.Time) time.Time { return now.Add(time.Hour).Round(0) }, 59*time.Minute + 51*time.Second, "access-1"},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			g := &fakeGrant{}
			s := &tokensource.Session{Grant: g.grant}
			if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0", RefreshToken: "r", Expiry: tc.expiry(time.Now())}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(tc.after)
			if got := access(s.Token(t.Context())); got != tc.want {
				t.Errorf("Token = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestGeneration(t *testing.T) {
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant}
	got := map[string]uint64{"nil, at first": s.Generation(nil)}
	var tokens []*oauth2.Token
	tokens = append(tokens, signedIn(t, s, &oauth2.Token{AccessToken: "access-0"}))
	for range 2 {
		token, err := s.Renew(t.Context(), tokens[len(tokens)-1])
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	for i, token := range tokens {
		got[fmt.Sprintf("token %d of 3", i+1)] = s.Generation(token)
	}
	got["a stranger"] = s.Generation(&oauth2.Token{AccessToken: tokens[2].AccessToken})
	got["nil"] = s.Generation(nil)
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	got["nil, cleared"] = s.Generation(nil)
	got["token 3, cleared"] = s.Generation(tokens[2])
	got["after another sign-in"] = s.Generation(signedIn(t, s, &oauth2.Token{AccessToken: "again"}))
	want := map[string]uint64{
		"nil, at first": 0, "token 1 of 3": 0, "token 2 of 3": 2, "token 3 of 3": 3, "a stranger": 0,
		"nil": 0, "nil, cleared": 0, "token 3, cleared": 3, "after another sign-in": 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("generations (-want +got):\n%s", diff)
	}
}

func TestTokenAllocatesNothing(t *testing.T) {
	s := &tokensource.Session{Grant: failingGrant(errDown)}
	ctx := t.Context()
	first := signedIn(t, s, expiring("access-0", time.Hour))
	if n := testing.AllocsPerRun(100, func() {
		if token, _ := s.Token(ctx); token != first {
			t.Fatal("not the token")
		}
	}); n != 0 {
		t.Errorf("Token of a good token: %v allocations", n)
	}
	old := first
	first = signedIn(t, s, expiring("access-1", time.Hour))
	if n := testing.AllocsPerRun(100, func() {
		if token, _ := s.Renew(ctx, old); token != first {
			t.Fatal("not the token")
		}
	}); n != 0 {
		t.Errorf("Renew of a token that was replaced before: %v allocations", n)
	}
}

// A sign-in in OnEvent comes in time for those whose renewal has just failed.
func TestSetInOnEventServesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokensource.Session{Grant: failingGrant(&oauth2.RetrieveError{ErrorCode: "invalid_grant"})}
		s.OnEvent = func(ctx context.Context, e tokensource.Event) {
			if e.Kind == tokensource.EventReauthRequired {
				if err := s.Set(ctx, &oauth2.Token{AccessToken: "signed-in"}); err != nil {
					t.Error(err)
				}
			}
		}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		if got := access(s.Renew(t.Context(), first)); got != "signed-in" {
			t.Errorf("Renew = %s, want signed-in", got)
		}
	})
}

// url.Error asks its cause, and no further, whether it was a timeout.
func TestWaitingIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokensource.Session{Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		canceled, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		for _, tc := range []struct {
			name string
			ctx  context.Context
			want bool
		}{{"deadline", deadline, true}, {"canceled", canceled, false}} {
			_, err := s.Token(tc.ctx)
			if got := (&url.Error{Err: err}).Timeout(); got != tc.want || !errors.Is(err, tc.ctx.Err()) {
				t.Errorf("%s: Timeout() = %t for %v, want %t", tc.name, got, err, tc.want)
			}
		}
		time.Sleep(time.Minute) // the renewal ends by its own Timeout
	})
}

// What outlives a renewal with its context is not taken for a part of it.
func TestContextOfAnEndedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept context.Context
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, OnEvent: func(ctx context.Context, _ tokensource.Event) { kept = ctx }}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		second, err := s.Renew(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if got := access(s.Renew(kept, second)); got != "access-2" {
			t.Errorf("Renew = %s, want access-2", got)
		}
	})
}

// A Token that joined a renewal which only saves does not get what has expired.
func TestNoExpiredTokenFromASave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{saveErr: errDown}
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store, Skew: -1}
		_ = s.Set(t.Context(), expiring("access-0", 10*time.Second))
		time.Sleep(4 * time.Second)
		store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(8 * time.Second) }
		if got := access(s.Token(t.Context())); got != "access-0" { // has the saving begun
			t.Fatalf("Token = %s", got)
		}
		time.Sleep(7 * time.Second)
		if got := access(s.Token(t.Context())); got != "access-1" {
			t.Errorf("Token = %s, want access-1", got)
		}
	})
}

// Who waits for a renewal waits for OnEvent too, and a sign-out or a new sign-in
// may come then: what the renewal has brought is of the past.
func TestSetAndClearDuringOnEvent(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(context.Context, *tokensource.Session) error
		want   string
	}{
		{"Clear", func(ctx context.Context, s *tokensource.Session) error { return s.Clear(ctx) }, "error: " + tokensource.ErrNoToken.Error()},
		{"Set", func(ctx context.Context, s *tokensource.Session) error {
			return s.Set(ctx, &oauth2.Token{AccessToken: "set"})
		}, "set"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGrant{answer: func(_ context.Context, _ int, current *oauth2.Token) (*oauth2.Token, error) {
					if current == nil {
						return nil, tokensource.ErrNoToken
					}
					return nil, nil // the default
				}}
				slow := make(chan struct{})
				s := &tokensource.Session{Grant: g.grant, OnEvent: func(_ context.Context, e tokensource.Event) {
					if e.Kind == tokensource.EventRenewed {
						<-slow
					}
				}}
				first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
				var all sync.WaitGroup
				ask := func(call func() (*oauth2.Token, error)) {
					all.Go(func() {
						if got := access(call()); got != tc.want {
							t.Errorf("got %s, want %s", got, tc.want)
						}
					})
				}
				ask(func() (*oauth2.Token, error) { return s.Renew(t.Context(), first) })
				synctest.Wait()
				if err := tc.change(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				ask(func() (*oauth2.Token, error) { return s.Token(t.Context()) })
				ask(func() (*oauth2.Token, error) { return s.Renew(t.Context(), first) })
				synctest.Wait()
				close(slow)
				all.Wait()
			})
		})
	}
}

// Who asks often is spared the look at the clock, not what it tells: the token is
// renewed ahead of its expiry, replaced by Set and gone after Clear, at once.
func TestTokenOftenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{lifetime: time.Hour}
		s := &tokensource.Session{Grant: g.grant}
		signedIn(t, s, expiring("access-0", time.Minute))
		often := func(want string) {
			t.Helper()
			for range 10 {
				if got := access(s.Token(t.Context())); got != want {
					t.Fatalf("after %d exchanges: %s, want %s", g.calls(), got, want)
				}
			}
		}
		for range 200 { // 20 seconds
			often("access-0")
			time.Sleep(100 * time.Millisecond)
		}
		if n := g.calls(); n != 0 {
			t.Fatalf("%d exchanges", n)
		}
		time.Sleep(15 * time.Second)
		if got := access(s.Token(t.Context())); got != "access-0" {
			t.Errorf("Token = %s, want access-0", got)
		}
		synctest.Wait()
		often("access-1")
		if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "set"}); err != nil {
			t.Fatal(err)
		}
		often("set")
		g.answer = failing(tokensource.ErrNoToken)
		if err := s.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) {
			t.Errorf("Token = %v, want ErrNoToken", err)
		}
	})
}

// Whatever the rhythm, no token is handed out that has expired.
func TestTokenOftenAskedExpires(t *testing.T) {
	for _, every := range []time.Duration{0, 100 * time.Microsecond, time.Millisecond, 7 * time.Millisecond, 99 * time.Millisecond} {
		bubble(t, every.String(), func(t *testing.T) {
			s := &tokensource.Session{Grant: failingGrant(errDown)}
			token := expiring("access-0", time.Second)
			signedIn(t, s, token)
			for n := 0; ; n++ {
				got, err := s.Token(t.Context())
				if err != nil {
					break
				}
				if got.AccessToken != "access-0" || !time.Now().Before(token.Expiry) {
					t.Fatalf("%s at %v after its expiry", got.AccessToken, time.Since(token.Expiry))
				}
				if n%20 == 0 || every > 0 {
					time.Sleep(max(every, 50*time.Microsecond))
				}
			}
			if d := time.Until(token.Expiry); d < 0 || d > 60*time.Millisecond {
				t.Errorf("it ended %v before its expiry", d)
			}
		})
	}
}

// JSON would change what is not UTF-8, and the Store's record would be another's.
func TestTokenIsNotUTF8(t *testing.T) {
	for _, token := range []*oauth2.Token{{AccessToken: "access\xff"}, {AccessToken: "access", RefreshToken: "r\xc3"}} {
		s := &tokensource.Session{Store: &fakeStore{}}
		if err := s.Set(t.Context(), token); err == nil || strings.Contains(err.Error(), token.AccessToken) {
			t.Errorf("Set = %v, want an error without the token", err)
		}
	}
}
