package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestOneRenewalForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{takes: 100 * time.Millisecond}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		const callers = 1000
		var wg sync.WaitGroup
		got := make([]*oauth2.Token, callers)
		for i := range callers {
			wg.Go(func() {
				if i%2 == 1 { // a straggler, whose 401 comes late: up to 200 ms after the renewal
					time.Sleep(time.Duration(i) * 300 * time.Millisecond / callers)
				}
				start := time.Now()
				token, err := s.Renew(t.Context(), first)
				if err != nil {
					t.Error(err)
				}
				if i%2 == 1 && start.After(g.times[0].Add(g.takes)) && time.Since(start) != 0 {
					t.Errorf("a straggler waited %v", time.Since(start))
				}
				got[i] = token
			})
		}
		wg.Wait()
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		current, err := s.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range got {
			if token != current {
				t.Fatalf("caller %d got %s, want the very object that is current", i, access(token, nil))
			}
		}
	})
}

func TestCallersShareFailure(t *testing.T) {
	for _, cause := range []error{errDown, tokensource.ErrReauthRequired} {
		bubble(t, cause.Error(), func(t *testing.T) {
			g := &fakeGrant{takes: time.Second, answer: failing(cause)}
			s := &tokensource.Session{Grant: g.grant}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			const callers = 100
			errs := make(chan error, callers)
			for range callers {
				go func() {
					_, err := s.Renew(t.Context(), first)
					errs <- err
				}()
			}
			want := <-errs
			if !errors.Is(want, cause) {
				t.Errorf("error is %v, want %v", want, cause)
			}
			for range callers - 1 {
				if err := <-errs; err != want {
					t.Fatalf("one got %v, another %v", want, err)
				}
			}
			if n := g.calls(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
		})
	}
}

// hookedContext calls hook when it is first asked for anything: between a
// caller's look at the Session's state and its joining a renewal.
type hookedContext struct {
	context.Context
	once sync.Once
	hook func()
}

func (c *hookedContext) Err() error {
	c.once.Do(c.hook)
	return c.Context.Err()
}

func (c *hookedContext) Value(key any) any {
	c.once.Do(c.hook)
	return c.Context.Value(key)
}

// A caller may see the state before a renewal and start one of its own after
// it; only another look within the flight can tell that nothing is left to do.
func TestRenewalIsCheckedAgainInTheFlight(t *testing.T) {
	for _, tc := range []struct {
		name  string
		grant *fakeGrant
		want  string
	}{
		{"renewed meanwhile", &fakeGrant{}, "access-1"},
		{"failed meanwhile", &fakeGrant{answer: failing(errDown)}, "error: tokensource: renewal failed: " + errDown.Error()},
		{"refused meanwhile", &fakeGrant{answer: failing(tokensource.ErrReauthRequired)}, "error: " + tokensource.ErrReauthRequired.Error()},
	} {
		for _, call := range []string{"Renew", "Token"} {
			bubble(t, tc.name+", "+call, func(t *testing.T) {
				g := &fakeGrant{answer: tc.grant.answer}
				s := &tokensource.Session{Grant: g.grant}
				var rejected *oauth2.Token
				if call == "Renew" {
					rejected = signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
				} else if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
					t.Fatal(err)
				}
				renew := func(ctx context.Context) string {
					if rejected != nil {
						return access(s.Renew(ctx, rejected))
					}
					return access(s.Token(ctx))
				}
				meanwhile := ""
				ctx := &hookedContext{Context: t.Context(), hook: func() { meanwhile = renew(t.Context()) }}
				if got := renew(ctx); got != tc.want || meanwhile != tc.want {
					t.Errorf("%s = %s, and meanwhile %s, want %s", call, got, meanwhile, tc.want)
				}
				if n := g.calls(); n != 1 {
					t.Errorf("%d exchanges, want 1", n)
				}
			})
		}
	}
}

func TestLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{takes: 10 * time.Second}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		leader, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Renew(leader, first); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v, want context.Canceled", err)
			}
		})
		synctest.Wait() // the renewal is the leader's
		for range 10 {
			wg.Go(func() {
				if got := access(s.Renew(t.Context(), first)); got != "access-1" {
					t.Errorf("a follower got %s, want access-1", got)
				}
			})
		}
		time.Sleep(time.Second)
		leave()
		wg.Wait()
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

func TestCallersLeaveAtTheirOwnDeadline(t *testing.T) {
	for _, obedient := range []bool{true, false} {
		bubble(t, fmt.Sprintf("Grant obeys its context %v", obedient), func(t *testing.T) {
			release := make(chan struct{})
			g := &fakeGrant{answer: func(ctx context.Context, _ int, _ *oauth2.Token) (*oauth2.Token, error) {
				if !obedient {
					<-release
					return nil, nil
				}
				select {
				case <-release:
					return nil, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}}
			s := &tokensource.Session{Grant: g.grant, Timeout: time.Hour}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					patience := time.Duration(i+1) * 10 * time.Millisecond
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					start := time.Now()
					_, err := s.Renew(ctx, first)
					if _, retry := errors.AsType[*tokensource.RetryError](err); retry || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("error is %v, want the caller's own context.DeadlineExceeded", err)
					}
					if d := time.Since(start); d != patience {
						t.Errorf("returned after %v, want %v", d, patience)
					}
				})
			}
			wg.Wait()
			close(release)
			synctest.Wait()
			if got := access(s.Token(t.Context())); got != "access-1" {
				t.Errorf("Token = %s, want what the abandoned renewal brought", got)
			}
			if n := g.calls(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
		})
	}
}

func TestGrantContext(t *testing.T) {
	for _, tc := range []struct{ timeout, want time.Duration }{{0, 30 * time.Second}, {-1, 30 * time.Second}, {2 * time.Second, 2 * time.Second}} {
		bubble(t, fmt.Sprintf("Timeout %v", tc.timeout), func(t *testing.T) {
			type key struct{}
			s := &tokensource.Session{Timeout: tc.timeout, Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
				if got := ctx.Value(key{}); got != "value" {
					t.Errorf("the caller's value is %v in the Grant", got)
				}
				deadline, _ := ctx.Deadline()
				if got := time.Until(deadline); got != tc.want {
					t.Errorf("the Grant's time is %v, want %v", got, tc.want)
				}
				<-ctx.Done()
				return nil, fmt.Errorf("hung: %w", ctx.Err())
			}}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
			defer cancel()
			start := time.Now()
			_, err := s.Renew(ctx, first)
			if d := time.Since(start); d != tc.want {
				t.Errorf("the renewal ended after %v, want %v", d, tc.want)
			}
			retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want context.DeadlineExceeded in it", err)
			}
		})
	}
}

// What panics, or ends its goroutine, fails one renewal and no more. The panic's
// value may be a credential.
func TestPanics(t *testing.T) {
	const secret = "hunter2"
	type step struct {
		name string
		set  func(s *tokensource.Session, store *lockedStore, boom func())
		want string // of the renewal that meets it
	}
	failed := "error: tokensource: renewal failed: "
	for _, tc := range []step{
		{"Grant", func(s *tokensource.Session, _ *lockedStore, boom func()) {
			grant := s.Grant
			s.Grant = func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
				boom()
				return grant(ctx, current)
			}
		}, failed},
		{"Store.Load", func(_ *tokensource.Session, store *lockedStore, boom func()) {
			store.onLoad = func(context.Context) { boom() }
		}, failed},
		{"Store.Save", func(_ *tokensource.Session, store *lockedStore, boom func()) {
			store.onSave = func(context.Context, *oauth2.Token) { boom() }
		}, "access-1"},
		{"Store.Lock", func(s *tokensource.Session, store *lockedStore, boom func()) {
			s.Store = &panickyLock{store, boom}
		}, failed},
		{"unlock", func(_ *tokensource.Session, store *lockedStore, boom func()) {
			store.onUnlock = boom
		}, "access-1"},
		{"OnEvent", func(s *tokensource.Session, _ *lockedStore, boom func()) {
			on := s.OnEvent
			s.OnEvent = func(ctx context.Context, e tokensource.Event) { on(ctx, e); boom() }
		}, "access-1"},
	} {
		for _, how := range []struct {
			name string
			do   func()
		}{
			{"panic", func() { panic(secret) }},
			{"panic with an error", func() { panic(errors.New(secret)) }},
			{"runtime panic", func() { _ = secret[len(secret):][0] }},
			{"Goexit", runtime.Goexit},
		} {
			bubble(t, tc.name+", "+how.name, func(t *testing.T) {
				var ev events
				store := newLockedStore(nil)
				g := &fakeGrant{}
				s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
				armed := false
				tc.set(s, store, func() {
					if armed {
						armed = false
						how.do()
					}
				})
				first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
				armed = true
				token, err := s.Renew(t.Context(), first)
				if got := access(token, err); !strings.HasPrefix(got, tc.want) {
					t.Errorf("Renew = %s, want %s", got, tc.want)
				}
				for _, e := range ev.list() {
					if e.Err != nil && strings.Contains(e.Err.Error(), secret) {
						t.Errorf("the event repeats the panic's value: %v", e.Err)
					}
				}
				if err != nil {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error repeats the panic's value: %v", err)
					}
					if !strings.Contains(err.Error(), tc.name) {
						t.Errorf("the error does not say that it was the %s: %v", tc.name, err)
					}
					token = first
				}
				time.Sleep(time.Second)
				if got := access(s.Renew(t.Context(), token)); !strings.HasPrefix(got, "access-") {
					t.Errorf("the next Renew = %s, want a token", got)
				}
				if armed {
					t.Error("nothing has panicked")
				}
			})
		}
	}
}

type panickyLock struct {
	*lockedStore
	boom func()
}

func (s *panickyLock) Lock(ctx context.Context) (func(), error) {
	s.boom()
	return s.lockedStore.Lock(ctx)
}

func TestPanicInSetAndClear(t *testing.T) {
	boom := func(context.Context) { panic("hunter2") }
	store := &fakeStore{onClear: boom}
	s := &tokensource.Session{Store: store, Grant: failingGrant(tokensource.ErrNoToken)}
	signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
	err := s.Clear(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Clear = %v, want an error without the panic's value", err)
	}
	if token, _ := s.Token(t.Context()); token != nil {
		t.Error("the token is still there")
	}
	store.onClear = nil
	store.onSave = func(ctx context.Context, _ *oauth2.Token) { boom(ctx) }
	err = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-1"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Set = %v, want an error without the panic's value", err)
	}
	if got := access(s.Token(t.Context())); got != "access-1" {
		t.Errorf("Token = %s, want access-1", got)
	}
}

// Servers exist that answer a refresh with the same access token.
func TestSameAccessTokenIsANewGeneration(t *testing.T) {
	g := &fakeGrant{answer: func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "the same"}, nil
	}}
	s := &tokensource.Session{Grant: g.grant}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "the same"})
	second, err := s.Renew(t.Context(), first)
	if err != nil || second == first {
		t.Fatalf("Renew = %s, want another object", access(second, err))
	}
	if token, _ := s.Renew(t.Context(), first); token != second {
		t.Error("a late rejection of the first is not answered by the second")
	}
	if n := g.calls(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	if third, _ := s.Renew(t.Context(), second); third == second || g.calls() != 2 {
		t.Error("the second cannot be renewed")
	}
}

// A Grant that gives out one object for ever must not defeat the identity of
// generations, nor change a token behind the Session's back.
func TestGrantKeepsNoHoldOfItsTokens(t *testing.T) {
	kept := &oauth2.Token{AccessToken: "access-1"}
	g := &fakeGrant{answer: func(_ context.Context, _ int, current *oauth2.Token) (*oauth2.Token, error) {
		current.AccessToken, current.RefreshToken = "overwritten", "overwritten"
		return kept, nil
	}}
	s := &tokensource.Session{Grant: g.grant}
	first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
	second, err := s.Renew(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if first.AccessToken != "access-0" {
		t.Error("the Grant was given the current token itself")
	}
	if third, err := s.Renew(t.Context(), second); err != nil || third == second {
		t.Errorf("Renew = %s, want another object", access(third, err))
	}
	kept.AccessToken = "changed later"
	if got := access(s.Token(t.Context())); got != "access-1" {
		t.Errorf("Token = %s, want access-1", got)
	}
}

func TestRenewOnlyTheCurrentToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant}
		set := &oauth2.Token{AccessToken: "access-0"}
		first := signedIn(t, s, set)
		for _, tc := range []struct {
			name     string
			rejected *oauth2.Token
		}{
			{"nil", nil},
			{"a stranger", &oauth2.Token{AccessToken: "stranger"}},
			{"an equal token of another identity", &oauth2.Token{AccessToken: "access-0"}},
			{"what Set was given", set},
		} {
			if token, err := s.Renew(t.Context(), tc.rejected); token != first {
				t.Errorf("Renew(%s) = %s, want the current token", tc.name, access(token, err))
			}
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
	})
}

// The current token is no answer to a late rejection if it has expired itself.
func TestRenewOfAnOldTokenWhenTheCurrentHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{lifetime: time.Minute}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, expiring("access-0", time.Minute))
		if _, err := s.Renew(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := access(s.Renew(t.Context(), first)); got != "access-2" {
			t.Errorf("Renew = %s, want access-2", got)
		}
	})
}

func TestGrantAnswersWithNoToken(t *testing.T) {
	for _, tc := range []struct {
		name  string
		token *oauth2.Token
	}{
		{"nil, nil", nil},
		{"no access token", &oauth2.Token{RefreshToken: "hunter2"}},
		{"CR LF in access token", &oauth2.Token{AccessToken: "hunter2\r\nX: y"}},
		{"NUL in refresh token", &oauth2.Token{AccessToken: "ok", RefreshToken: "hunter2\x00"}},
		{"token type that is no scheme", &oauth2.Token{AccessToken: "ok", TokenType: "hunter2: x"}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			s := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return tc.token, nil }}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			token, err := s.Renew(t.Context(), first)
			if token != nil {
				t.Errorf("Renew returned a token: %q", token.AccessToken)
			}
			retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error repeats what the Grant returned: %v", err)
			}
			if current, _ := s.Token(t.Context()); current != first {
				t.Error("the token has not been kept")
			}
		})
	}
}

func TestRefreshTokenIsCarriedOver(t *testing.T) {
	g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
		if n == 2 {
			return &oauth2.Token{AccessToken: "access-2", RefreshToken: "rotated"}, nil
		}
		return &oauth2.Token{AccessToken: fmt.Sprintf("access-%d", n)}, nil
	}}
	store := &fakeStore{}
	s := &tokensource.Session{Grant: g.grant, Store: store}
	token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
	var stored []string
	for range 3 {
		var err error
		if token, err = s.Renew(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		stored = append(stored, store.record().Token.RefreshToken)
	}
	if diff := cmp.Diff([]string{"refresh-0", "refresh-0", "rotated"}, g.seen); diff != "" {
		t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"refresh-0", "rotated", "rotated"}, stored); diff != "" {
		t.Errorf("refresh tokens stored (-want +got):\n%s", diff)
	}
}

// ErrUnchanged is an answer, not a failure: nothing is to be waited for.
func TestGrantHasNothingNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		g := &fakeGrant{answer: failing(fmt.Errorf("asked: %w", tokensource.ErrUnchanged))}
		s := &tokensource.Session{Grant: g.grant, OnEvent: ev.on}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		for range 2 {
			_, err := s.Renew(t.Context(), first)
			if _, retry := errors.AsType[*tokensource.RetryError](err); retry || !errors.Is(err, tokensource.ErrUnchanged) {
				t.Errorf("Renew = %v, want ErrUnchanged", err)
			}
			if token, _ := s.Token(t.Context()); token != first {
				t.Error("the token has not been kept")
			}
		}
		if n := g.calls(); n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
		if ev.count(tokensource.EventRenewalFailed) != 0 {
			t.Errorf("events are %v", ev.kinds())
		}
	})
}

// A Grant whose client is the decorated one asks for the token that it is to
// renew. That must be an error, and not a wait for itself.
func TestReentry(t *testing.T) {
	for _, tc := range []struct {
		name string
		call func(context.Context, *tokensource.Session, *oauth2.Token) (*oauth2.Token, error)
	}{
		{"Token", func(ctx context.Context, s *tokensource.Session, _ *oauth2.Token) (*oauth2.Token, error) {
			return s.Token(ctx)
		}},
		{"Renew", func(ctx context.Context, s *tokensource.Session, current *oauth2.Token) (*oauth2.Token, error) {
			return s.Renew(ctx, current)
		}},
		{"Renew(nil)", func(ctx context.Context, s *tokensource.Session, _ *oauth2.Token) (*oauth2.Token, error) {
			return s.Renew(ctx, nil)
		}},
		{"Token, by way of another session", func(ctx context.Context, s *tokensource.Session, _ *oauth2.Token) (*oauth2.Token, error) {
			other := tokensource.Session{Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) { return s.Token(ctx) }}
			return other.Token(ctx)
		}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			s := &tokensource.Session{}
			s.Grant = func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
				return tc.call(ctx, s, current)
			}
			if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			token, err := s.Token(t.Context())
			if token != nil || err == nil || !strings.Contains(err.Error(), "must not be the decorated one") {
				t.Errorf("Token = %s, want an error that says what is wrong", access(token, err))
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// One session may well be what another one's Grant uses.
func TestGrantMayUseAnotherSession(t *testing.T) {
	g := &fakeGrant{}
	inner := &tokensource.Session{Grant: g.grant}
	outer := &tokensource.Session{Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) { return inner.Token(ctx) }}
	if got := access(outer.Token(t.Context())); got != "access-1" {
		t.Errorf("Token = %s, want access-1", got)
	}
}

// A caller that waits for a renewal ahead of time gets a new token like all others.
func TestRenewJoinsARenewalAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{takes: time.Second}
		s := &tokensource.Session{Grant: g.grant}
		first := signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(56 * time.Minute)
		if token, err := s.Token(t.Context()); token != first {
			t.Fatalf("Token = %s, want access-0", access(token, err))
		}
		if got := access(s.Renew(t.Context(), first)); got != "access-1" {
			t.Errorf("Renew = %s, want access-1", got)
		}
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

// Tokens are rejected although they are fresh: an exchange for each request
// would be a storm.
func TestStormGuard(t *testing.T) {
	for _, tc := range []struct{ maxForced, want int }{{0, 5}, {2, 2}} {
		bubble(t, fmt.Sprintf("MaxForced %d", tc.maxForced), func(t *testing.T) {
			var ev events
			g := &fakeGrant{}
			s := &tokensource.Session{Grant: g.grant, MaxForced: tc.maxForced, OnEvent: ev.on}
			token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			for range tc.want {
				var err error
				if token, err = s.Renew(t.Context(), token); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			// The first was made want seconds ago.
			for range 10 {
				_, err := s.Renew(t.Context(), token)
				until := 30*time.Second - time.Duration(tc.want)*time.Second
				retryIn(t, err, until, until)
				if !errors.Is(err, tokensource.ErrRenewalLimit) {
					t.Fatalf("Renew = %v, want ErrRenewalLimit", err)
				}
				if current, err := s.Token(t.Context()); current != token {
					t.Fatalf("Token = %s, want the last one", access(current, err))
				}
			}
			if n := g.calls(); n != tc.want {
				t.Errorf("%d exchanges, want %d", n, tc.want)
			}
			if n := ev.count(tokensource.EventRenewalLimit); n != 1 {
				t.Errorf("%d events of the limit, want 1", n)
			}
			time.Sleep(30*time.Second - time.Duration(tc.want)*time.Second - 1)
			if _, err := s.Renew(t.Context(), token); !errors.Is(err, tokensource.ErrRenewalLimit) {
				t.Errorf("Renew just before At = %v, want ErrRenewalLimit", err)
			}
			// The window moves on by one, not by all.
			time.Sleep(time.Nanosecond)
			token, err := s.Renew(t.Context(), token)
			if err != nil {
				t.Fatalf("Renew at At: %v", err)
			}
			if _, err := s.Renew(t.Context(), token); !errors.Is(err, tokensource.ErrRenewalLimit) {
				t.Errorf("Renew after that = %v, want ErrRenewalLimit", err)
			}
			if n := ev.count(tokensource.EventRenewalLimit); n != 2 {
				t.Errorf("%d events of the limit, want 2", n)
			}
		})
	}
}

func TestStormGuardOff(t *testing.T) {
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant, MaxForced: -1}
	token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
	for range 50 {
		var err error
		if token, err = s.Renew(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
}

// Tokens that expire are no sign of a storm.
func TestStormGuardCountsRejectionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{lifetime: time.Second}
		s := &tokensource.Session{Grant: g.grant}
		var token *oauth2.Token
		for range 20 {
			time.Sleep(time.Second)
			var err error
			if token, err = s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := g.calls(); n != 20 {
			t.Errorf("%d exchanges, want 20", n)
		}
		if got := access(s.Renew(t.Context(), token)); got != "access-21" {
			t.Errorf("Renew = %s, want access-21", got)
		}
	})
}

// A token that has expired has to be replaced, whether or not a server has
// rejected it as well, and who waits for that is not to fail by the guard.
func TestStormGuardLetsExpiredTokensBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{lifetime: 10 * time.Second}
		s := &tokensource.Session{Grant: g.grant}
		token := signedIn(t, s, expiring("access-0", 10*time.Second))
		for range 5 {
			var err error
			if token, err = s.Renew(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Renew(t.Context(), token); !errors.Is(err, tokensource.ErrRenewalLimit) {
			t.Fatalf("Renew = %v, want ErrRenewalLimit", err)
		}
		time.Sleep(10 * time.Second)
		if got := access(s.Renew(t.Context(), token)); got != "access-6" {
			t.Errorf("Renew of an expired token = %s, want access-6", got)
		}
	})
}

// Clocks differ: what was obtained just now is tried, and does not cause an
// exchange for every request.
func TestFreshTokenThatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: fmt.Sprintf("access-%d", n), Expiry: time.Now().Add(-time.Hour)}, nil
		}}
		s := &tokensource.Session{Grant: g.grant}
		const seconds = 10
		for range seconds * 100 {
			if got := access(s.Token(t.Context())); !strings.HasPrefix(got, "access-") {
				t.Fatalf("Token = %s", got)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := g.calls(); n > seconds {
			t.Errorf("%d exchanges in %d s", n, seconds)
		}
	})
}
