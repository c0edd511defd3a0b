package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestOrderOfStoreCalls(t *testing.T) {
	type call func(t *testing.T, s *tokensource.Session, store *fakeStore, first *oauth2.Token)
	renew := func(t *testing.T, s *tokensource.Session, _ *fakeStore, first *oauth2.Token) {
		_, _ = s.Renew(t.Context(), first)
	}
	for _, tc := range []struct {
		name  string
		call  call
		grant error
		want  []string // without Lock and unlock
	}{
		{"Set", func(t *testing.T, s *tokensource.Session, _ *fakeStore, _ *oauth2.Token) {
			signedIn(t, s, &oauth2.Token{AccessToken: "set"})
		}, nil, []string{"Load", "Save set"}},
		{"Clear", func(t *testing.T, s *tokensource.Session, _ *fakeStore, _ *oauth2.Token) { _ = s.Clear(t.Context()) }, nil, []string{"Load", "Clear"}},
		{"Token", func(t *testing.T, s *tokensource.Session, _ *fakeStore, _ *oauth2.Token) { _, _ = s.Token(t.Context()) }, nil, nil},
		{"Renew", renew, nil, []string{"Load", "grant", "Load", "Save access-1"}},
		{"Renew that fails", renew, errDown, []string{"Load", "grant"}},
		{"Renew that is refused", renew, tokensource.ErrReauthRequired, []string{"Load", "grant", "Load"}},
		{"Renew that adopts", func(t *testing.T, s *tokensource.Session, store *fakeStore, first *oauth2.Token) {
			store.put(&oauth2.Token{AccessToken: "adopted"})
			renew(t, s, store, first)
		}, nil, []string{"Load"}},
	} {
		for _, locker := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Locker %v", tc.name, locker), func(t *testing.T) {
				j := &journal{}
				g := &fakeGrant{journal: j}
				if tc.grant != nil {
					g.answer = failing(tc.grant)
				}
				locked := newLockedStore(j)
				s := &tokensource.Session{Grant: g.grant, Store: locked.fakeStore}
				want := tc.want
				if locker {
					s.Store = locked
					switch {
					case want == nil || tc.name == "Renew that adopts": // no need for the lock
					case tc.name != "Set" && tc.name != "Clear":
						want = append(append([]string{"Load", "Lock"}, want...), "unlock")
					default:
						want = append(append([]string{"Lock"}, want...), "unlock")
					}
				}
				first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
				j.reset()
				tc.call(t, s, locked.fakeStore, first)
				if diff := cmp.Diff(want, j.list()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// If the process ends between the exchange and the Save, the server's rotation
// must not have been seen by anybody.
func TestSavedBeforePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		saving := false
		store.onSave = func(_ context.Context, saved *oauth2.Token) {
			saving = true
			time.Sleep(time.Second)
			if token, err := s.Token(t.Context()); token != first {
				t.Errorf("Token = %s during Save, want the old one", access(token, err))
			}
			if saved.AccessToken != "access-1" || saved.RefreshToken != "refresh-1" {
				t.Errorf("saved %q with %q", saved.AccessToken, saved.RefreshToken)
			}
			saving = false
		}
		start := time.Now()
		token, err := s.Renew(t.Context(), first)
		if got := access(token, err); got != "access-1" || saving || time.Since(start) != time.Second {
			t.Errorf("Renew = %s after %v, want access-1 after Save", got, time.Since(start))
		}
	})
}

// Neither the leader's end nor that of the renewal's Timeout loses what was obtained.
func TestSaveIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, Timeout: 5 * time.Second, Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			<-ctx.Done() // the answer comes in the last moment
			return &oauth2.Token{AccessToken: "access-1"}, nil
		}}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		store.onSave = func(ctx context.Context, _ *oauth2.Token) {
			time.Sleep(4 * time.Second)
			deadline, _ := ctx.Deadline()
			if ctx.Err() != nil || time.Until(deadline) != time.Second || ctx.Value(key{}) != "value" {
				t.Errorf("after 4 s of Save its context has %v left, error %v, value %v", time.Until(deadline), ctx.Err(), ctx.Value(key{}))
			}
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		if _, err := s.Renew(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %v", err)
		}
		time.Sleep(time.Minute)
		if got := access(s.Token(t.Context())); got != "access-1" || store.holds() != "access-1" {
			t.Errorf("Token = %s, store holds %q, want access-1", got, store.holds())
		}
	})
}

func TestFailedSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		j := &journal{}
		store := &fakeStore{journal: j}
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		store.saveErr = errDown
		token, err := s.Renew(t.Context(), first)
		if got := access(token, err); got != "access-1" {
			t.Fatalf("Renew = %s, want access-1", got)
		}
		j.reset()
		ask := func() {
			t.Helper()
			start := time.Now()
			if got, err := s.Token(t.Context()); got != token || time.Since(start) != 0 {
				t.Errorf("Token = %s after %v, want access-1 at once", access(got, err), time.Since(start))
			}
			synctest.Wait()
		}
		ask()
		if calls := j.list(); len(calls) != 0 {
			t.Errorf("tried again at once: %v", calls)
		}
		for range 36_000 { // an hour
			time.Sleep(100 * time.Millisecond)
			ask()
		}
		// Seven times to get to a minute, then once or twice in each.
		calls := j.list()
		if n := len(calls); n < 2*60 || n > 2*130 || slices.Contains(calls, "grant") {
			t.Errorf("tried %d times in an hour to load and save: %v", n, calls)
		}
		store.saveErr = nil
		for range 3 {
			time.Sleep(time.Hour)
			j.reset()
			ask()
		}
		if calls := j.list(); len(calls) != 0 {
			t.Errorf("saved again: %v", calls)
		}
		if got := store.holds(); got != "access-1" {
			t.Errorf("store holds %q", got)
		}
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		events := ev.list()
		kinds := []tokensource.EventKind{events[0].Kind, events[1].Kind, events[len(events)-1].Kind}
		if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventSet, tokensource.EventRenewed, tokensource.EventSaved}, kinds); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for _, e := range events[2 : len(events)-1] {
			if e.Kind != tokensource.EventSaveFailed || e.Generation != 2 || !errors.Is(e.Err, errDown) || e.RetryIn <= 0 || e.RetryIn > time.Minute {
				t.Errorf("event %+v", e)
			}
		}
	})
}

func TestSetAndClearWhenTheStoreFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(*lockedStore, error)
	}{
		{"Save and Clear", func(s *lockedStore, err error) { s.saveErr, s.clearErr = err, err }},
		{"Lock", func(s *lockedStore, err error) { s.lockErr = err }},
	} {
		bubble(t, "Set, "+tc.name, func(t *testing.T) {
			store := newLockedStore(nil)
			var ev events
			s := &tokensource.Session{Store: store, OnEvent: ev.on, Grant: failingGrant(errDown)}
			tc.fail(store, errDown)
			if err := s.Set(t.Context(), expiring("access-0", time.Hour)); !errors.Is(err, errDown) {
				t.Errorf("Set = %v, want the Store's error", err)
			}
			if got := access(s.Token(t.Context())); got != "access-0" {
				t.Fatalf("Token = %s: the token is to be in use all the same", got)
			}
			tc.fail(store, nil)
			time.Sleep(time.Second)
			_, _ = s.Token(t.Context())
			synctest.Wait()
			if got := store.holds(); got != "access-0" {
				t.Errorf("store holds %q a second later, want access-0", got)
			}
			want := []tokensource.EventKind{tokensource.EventSet, tokensource.EventSaveFailed, tokensource.EventSaved}
			if diff := cmp.Diff(want, ev.kinds()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
		bubble(t, "Clear, "+tc.name, func(t *testing.T) {
			store := newLockedStore(nil)
			s := &tokensource.Session{Store: store, Grant: tokensource.RefreshToken(refreshConfig())}
			signedIn(t, s, expiring("access-0", time.Hour))
			tc.fail(store, errDown)
			if err := s.Clear(t.Context()); !errors.Is(err, errDown) {
				t.Errorf("Clear = %v, want the Store's error", err)
			}
			for range 3 {
				if token, _ := s.Token(t.Context()); token != nil {
					t.Fatalf("Token = %s after Clear", token.AccessToken)
				}
				time.Sleep(time.Minute)
			}
			synctest.Wait()
			tc.fail(store, nil)
			if token, err := s.Token(t.Context()); token != nil || !errors.Is(err, tokensource.ErrNoToken) {
				t.Errorf("Token = %s, want ErrNoToken", access(token, err))
			}
			synctest.Wait()
			if got := store.record().Change; got != tokensource.ChangeSignOut {
				t.Errorf("the last change in the store is %q, want a sign-out", got)
			}
		})
	}
}

// That the Store cannot be written is no reason to renew a token that is good.
func TestSaveIsTriedAgainWithoutExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		store.saveErr = errDown
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"})
		time.Sleep(time.Second)
		store.saveErr, store.lockErr = nil, errDown // worse
		for range 100 {
			if got := access(s.Token(t.Context())); got != "access-0" {
				t.Fatalf("Token = %s, want access-0", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait() // a save in the background reads what is about to change
		store.lockErr = nil
		for range 100 {
			if got := access(s.Token(t.Context())); got != "access-0" {
				t.Fatalf("Token = %s, want access-0", got)
			}
			time.Sleep(time.Second)
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
		if got := store.holds(); got != "access-0" {
			t.Errorf("store holds %q", got)
		}
	})
}

// A server has rejected the token while it was being saved at last: whoever
// joins that gets a new token, and not the same again.
func TestRenewJoinsASave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{saveErr: errDown}
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"})
		store.saveErr = nil
		store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(time.Second) }
		time.Sleep(time.Second)
		first, err := s.Token(t.Context())
		if got := access(first, err); got != "access-0" {
			t.Fatalf("Token = %s, want access-0", got)
		}
		synctest.Wait()
		if got := access(s.Renew(t.Context(), first)); got != "access-1" {
			t.Errorf("Renew = %s, want access-1", got)
		}
	})
}

// A token that is not stored is lost with the process: that the authorization
// server is down as well is no reason to leave it so.
func TestSaveIsTriedAgainDuringABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{saveErr: errDown}
		s := &tokensource.Session{Store: store, Grant: failingGrant(&tokensource.RetryError{At: time.Now().Add(time.Hour), Err: errDown})}
		_ = s.Set(t.Context(), expiring("access-0", 3*time.Hour))
		first, _ := s.Token(t.Context())
		_, err := s.Renew(t.Context(), first)
		retryIn(t, err, time.Hour, time.Hour)
		store.saveErr = nil
		for range 20 {
			time.Sleep(time.Second)
			if token, err := s.Token(t.Context()); token != first {
				t.Fatalf("Token = %s, want access-0", access(token, err))
			}
		}
		if got := store.holds(); got != "access-0" {
			t.Errorf("store holds %q after 20 s, want access-0", got)
		}
	})
}

// Set ends a renewal that hangs with the Store's lock, before it waits for the lock.
func TestSetWhileARenewalHoldsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		g := &fakeGrant{takes: time.Hour}
		s := &tokensource.Session{Store: store, Grant: g.grant, Timeout: time.Hour}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := access(s.Renew(t.Context(), first)); got != "set" {
				t.Errorf("Renew = %s, want set", got)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Set(ctx, &oauth2.Token{AccessToken: "set"}); err != nil {
			t.Errorf("Set = %v", err)
		}
		wg.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("all that took %v, want no time", d)
		}
		time.Sleep(time.Second)
		if got := access(s.Token(t.Context())); got != "set" {
			t.Errorf("Token = %s, want set", got)
		}
		synctest.Wait()
		if got := store.holds(); got != "set" {
			t.Errorf("store holds %q, want set", got)
		}
	})
}

// A save that was due when Set came does not put the old token into its place.
func TestSetWhileASaveIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		s := &tokensource.Session{Store: store, Grant: (&fakeGrant{}).grant}
		store.saveErr = errDown
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"})
		store.saveErr = nil
		time.Sleep(time.Second)
		store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(time.Second) }
		go s.Set(t.Context(), &oauth2.Token{AccessToken: "set"})
		synctest.Wait()
		if got := access(s.Token(t.Context())); got != "set" {
			t.Errorf("Token = %s, want set", got)
		}
		time.Sleep(5 * time.Second)
		if got := access(s.Token(t.Context())); got != "set" || store.holds() != "set" {
			t.Errorf("Token = %s, store holds %q, want set in both", got, store.holds())
		}
	})
}

// A Store that is behind holds what has been replaced: nothing to adopt.
func TestStoreThatIsBehindIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		store.saveErr = errDown
		for range 3 {
			var err error
			if token, err = s.Renew(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"refresh-0", "refresh-1", "refresh-2"}, g.seen); diff != "" {
			t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
		}
	})
}

func TestTokenFromTheStore(t *testing.T) {
	for _, tc := range []struct {
		name      string
		stored    func() *oauth2.Token
		want      string
		presented []string // refresh tokens
	}{
		{"good", func() *oauth2.Token { return expiring("stored", time.Hour) }, "stored", nil},
		{"without expiry", func() *oauth2.Token { return &oauth2.Token{AccessToken: "stored"} }, "stored", nil},
		{"expired", func() *oauth2.Token { return expiring("stored", -time.Hour) }, "access-1", []string{"refresh-0"}},
		{"refresh token alone", func() *oauth2.Token { return &oauth2.Token{RefreshToken: "refresh-0"} }, "access-1", []string{"refresh-0"}},
		{"none", func() *oauth2.Token { return nil }, "access-1", []string{""}},
		{"empty", func() *oauth2.Token { return &oauth2.Token{} }, "access-1", []string{""}},
		{
			"with a control character", func() *oauth2.Token { return &oauth2.Token{AccessToken: "a\nb", RefreshToken: "refresh-0"} },
			"access-1",
			[]string{""}, // which needs no current token
		},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			g := &fakeGrant{}
			store := &fakeStore{}
			store.set(foreign(tc.stored()))
			s := &tokensource.Session{Store: store, Grant: g.grant}
			token, err := s.Token(t.Context())
			if got := access(token, err); !strings.HasPrefix(got, tc.want) {
				t.Errorf("Token = %s, want %s", got, tc.want)
			}
			if token != nil && token == store.record().Token {
				t.Error("the Store's own object is handed out")
			}
			if again, _ := s.Token(t.Context()); token != again {
				t.Error("the token is not kept")
			}
			if diff := cmp.Diff(tc.presented, g.seen); diff != "" {
				t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoreSaysErrNoToken(t *testing.T) {
	s := &tokensource.Session{Store: &fakeStore{loadErr: fmt.Errorf("file: %w", tokensource.ErrNoToken)}, Grant: (&fakeGrant{}).grant}
	if got := access(s.Token(t.Context())); got != "access-1" {
		t.Errorf("Token = %s, want access-1", got)
	}
}

// What another process has stored since is taken up instead of an exchange, if
// it is any use.
func TestAdopt(t *testing.T) {
	for _, tc := range []struct {
		name      string
		stored    func() *oauth2.Token
		want      string
		presented []string
		kinds     []tokensource.EventKind // after EventSet
	}{
		{"newer", func() *oauth2.Token { return expiring("newer", time.Hour) }, "newer", nil, []tokensource.EventKind{tokensource.EventAdopted}},
		{"the same", func() *oauth2.Token { return expiring("access-0", time.Hour) }, "access-1", []string{"refresh-0"}, []tokensource.EventKind{tokensource.EventRenewed}},
		{"expired since", func() *oauth2.Token {
			return &oauth2.Token{AccessToken: "newer", RefreshToken: "rotated", Expiry: time.Now().Add(-time.Minute)}
		}, "access-1", []string{"rotated"}, []tokensource.EventKind{tokensource.EventAdopted, tokensource.EventRenewed}},
		{"the rejected access token with another refresh token", func() *oauth2.Token {
			return &oauth2.Token{AccessToken: "access-0", RefreshToken: "rotated"}
		}, "access-1", []string{"rotated"}, []tokensource.EventKind{tokensource.EventAdopted, tokensource.EventRenewed}},
		{"a refresh token alone", func() *oauth2.Token { return &oauth2.Token{RefreshToken: "rotated"} }, "access-1", []string{"rotated"}, []tokensource.EventKind{tokensource.EventAdopted, tokensource.EventRenewed}},
		{"none", func() *oauth2.Token { return nil }, "access-1", []string{"refresh-0"}, []tokensource.EventKind{tokensource.EventRenewed, tokensource.EventSaved}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			var ev events
			g := &fakeGrant{}
			store := &fakeStore{}
			s := &tokensource.Session{Store: store, Grant: g.grant, OnEvent: ev.on}
			first := signedIn(t, s, expiring("access-0", time.Hour))
			store.set(foreign(tc.stored()))
			token, err := s.Renew(t.Context(), first)
			if got := access(token, err); got != tc.want {
				t.Errorf("Renew = %s, want %s", got, tc.want)
			}
			if current, _ := s.Token(t.Context()); current != token {
				t.Error("what Renew returned is not current")
			}
			if diff := cmp.Diff(tc.presented, g.seen); diff != "" {
				t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]tokensource.EventKind{tokensource.EventSet}, tc.kinds...), ev.kinds()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// The Store is asked ahead of expiry too, by one caller, and nobody waits for it.
func TestAdoptAheadOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{}
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		signedIn(t, s, expiring("access-0", time.Hour))
		store.put(expiring("newer", 2*time.Hour))
		store.onLoad = func(context.Context) { time.Sleep(time.Second) }
		time.Sleep(56 * time.Minute)
		if got := access(s.Token(t.Context())); got != "access-0" {
			t.Errorf("Token = %s, want access-0", got)
		}
		time.Sleep(2 * time.Second)
		if got := access(s.Token(t.Context())); got != "newer" {
			t.Errorf("Token = %s, want newer", got)
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
	})
}

// Refresh tokens must not be spent on a guess: what the Store holds may be newer.
func TestLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		g := &fakeGrant{}
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, Grant: g.grant, OnEvent: ev.on}
		first := signedIn(t, s, expiring("access-0", time.Hour))
		store.loadErr = errDown
		_, err := s.Renew(t.Context(), first)
		wait := retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
		if !errors.Is(err, errDown) {
			t.Errorf("Renew = %v, want the Store's error", err)
		}
		if token, err := s.Token(t.Context()); token != first {
			t.Errorf("Token = %s, want access-0", access(token, err))
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
		if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventSet, tokensource.EventRenewalFailed}, ev.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		store.loadErr = nil
		time.Sleep(wait)
		if got := access(s.Renew(t.Context(), first)); got != "access-1" {
			t.Errorf("Renew = %s, want access-1", got)
		}
	})
}

func TestSetDuringLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		loaded := &oauth2.Token{AccessToken: "of another identity"}
		store.onLoad = func(context.Context) { time.Sleep(5 * time.Second); store.put(loaded) }
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := access(s.Renew(t.Context(), first)); got != "set" {
				t.Errorf("Renew = %s, want what was set meanwhile", got)
			}
		})
		time.Sleep(time.Second)
		if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "set"}); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := access(s.Token(t.Context())); got != "set" || g.calls() != 0 {
			t.Errorf("Token = %s after %d exchanges, want set after none", got, g.calls())
		}
	})
}

func TestLockFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(&journal{})
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant}
		first := signedIn(t, s, expiring("access-0", time.Hour))
		store.lockErr = errDown
		store.journal.reset()
		_, err := s.Renew(t.Context(), first)
		wait := retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
		if !errors.Is(err, errDown) {
			t.Errorf("Renew = %v, want the Locker's error", err)
		}
		if token, err := s.Token(t.Context()); token != first {
			t.Errorf("Token = %s, want access-0", access(token, err))
		}
		if diff := cmp.Diff([]string{"Load", "Lock"}, store.journal.list()); diff != "" {
			t.Errorf("calls without the lock (-want +got):\n%s", diff)
		}
		store.lockErr = nil
		time.Sleep(wait)
		if got := access(s.Renew(t.Context(), first)); got != "access-1" {
			t.Errorf("Renew = %s, want access-1", got)
		}
	})
}

func TestLockHeldByAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant, Timeout: 3 * time.Second}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		store.held <- struct{}{}
		start := time.Now()
		_, err := s.Renew(t.Context(), first)
		retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
		if d := time.Since(start); d != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %v after %v, want context.DeadlineExceeded after 3s", err, d)
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges without the lock", n)
		}
	})
}

// Of many processes one renews, and the others take up what it stored.
func TestManyProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGrant{takes: time.Second, lifetime: time.Hour}
		shared := newLockedStore(nil)
		const processes = 10
		var sessions []*tokensource.Session
		var firsts []*oauth2.Token
		for i := range processes {
			s := &tokensource.Session{Grant: g.grant, Store: shared}
			if i == 0 {
				if err := s.Set(t.Context(), expiring("access-0", time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			first, err := s.Token(t.Context())
			if got := access(first, err); got != "access-0" {
				t.Fatalf("Token = %s in process %d, want access-0", got, i)
			}
			sessions, firsts = append(sessions, s), append(firsts, first)
		}
		var wg sync.WaitGroup
		for i, s := range sessions {
			for range 10 {
				wg.Go(func() {
					if got := access(s.Renew(t.Context(), firsts[i])); got != "access-1" {
						t.Errorf("Renew = %s in process %d, want access-1", got, i)
					}
				})
			}
		}
		wg.Wait()
		if diff := cmp.Diff([]string{"refresh-0"}, g.seen); diff != "" {
			t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
		}
	})
}

// Another process may have rotated the refresh token just before ours was
// refused: the Store is read once more before the user has to sign in.
func TestRefusedButRotatedElsewhere(t *testing.T) {
	for _, tc := range []struct {
		name      string
		rotated   func(n int) *oauth2.Token // what is stored during the nth exchange
		want      string
		presented []string
	}{
		{"with a good access token", func(int) *oauth2.Token {
			return &oauth2.Token{AccessToken: "rotated", RefreshToken: "rotated"}
		}, "rotated", []string{"refresh-0"}},
		{"with an expired access token", func(int) *oauth2.Token {
			return &oauth2.Token{AccessToken: "rotated", RefreshToken: "good", Expiry: time.Now()}
		}, "access-2", []string{"refresh-0", "good"}},
		{
			"and refused as well", func(int) *oauth2.Token { return &oauth2.Token{AccessToken: "access-0", RefreshToken: "bad"} },
			"error: " + tokensource.ErrReauthRequired.Error() + `: oauth2: "invalid_grant"`,
			[]string{"refresh-0", "bad"},
		},
		{"again and again", func(n int) *oauth2.Token {
			return &oauth2.Token{AccessToken: "access-0", RefreshToken: fmt.Sprintf("bad-%d", n)}
		}, "error: " + tokensource.ErrReauthRequired.Error() + `: oauth2: "invalid_grant"`, []string{"refresh-0", "bad-1", "bad-2"}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			var ev events
			store := &fakeStore{}
			g := &fakeGrant{answer: func(_ context.Context, n int, current *oauth2.Token) (*oauth2.Token, error) {
				if current.RefreshToken == "good" {
					return nil, nil
				}
				store.put(tc.rotated(n))
				return nil, refused("invalid_grant")
			}}
			s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
			token, err := s.Renew(t.Context(), first)
			if got := access(token, err); got != tc.want {
				t.Errorf("Renew = %s, want %s", got, tc.want)
			}
			if got := access(s.Token(t.Context())); got != tc.want {
				t.Errorf("Token = %s, want %s", got, tc.want)
			}
			if diff := cmp.Diff(tc.presented, g.seen); diff != "" {
				t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
			}
			wantEvents := 0
			if errors.Is(err, tokensource.ErrReauthRequired) {
				wantEvents = 1
			}
			if n := ev.count(tokensource.EventReauthRequired); n != wantEvents {
				t.Errorf("%d events of a refusal, want %d", n, wantEvents)
			}
		})
	}
}

// A refresh token known to be dead is not sent again, even if the Store fails
// just when it is to be read once more.
func TestRefusedAndStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := &fakeGrant{answer: func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
			store.loadErr = errDown
			return nil, refused("invalid_grant")
		}}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		if token, err := s.Renew(t.Context(), first); token != nil || err == nil {
			t.Errorf("Renew = %s, want an error", access(token, err))
		}
		time.Sleep(time.Hour)
		store.loadErr = nil
		if _, err := s.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrReauthRequired) {
			t.Errorf("Renew = %v, want ErrReauthRequired", err)
		}
		if diff := cmp.Diff([]string{"refresh-0"}, g.seen); diff != "" {
			t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
		}
	})
}

// A Store that hangs is bounded by Timeout when it honours its context.
func TestStoreHangs(t *testing.T) {
	hang := func(ctx context.Context) { <-ctx.Done() }
	for _, tc := range []struct {
		name string
		set  func(*fakeStore)
		call func(context.Context, *tokensource.Session, *oauth2.Token) error
	}{
		{
			"Save in Set", func(s *fakeStore) { s.onSave = func(ctx context.Context, _ *oauth2.Token) { hang(ctx) } },
			func(ctx context.Context, s *tokensource.Session, _ *oauth2.Token) error {
				return s.Set(ctx, &oauth2.Token{AccessToken: "access-1"})
			},
		},
		{
			"Save in Renew", func(s *fakeStore) { s.onSave = func(ctx context.Context, _ *oauth2.Token) { hang(ctx) } },
			func(ctx context.Context, s *tokensource.Session, first *oauth2.Token) error {
				_, err := s.Renew(ctx, first)
				return err
			},
		},
		{
			"Load", func(s *fakeStore) { s.onLoad, s.loadErr = hang, context.DeadlineExceeded },
			func(ctx context.Context, s *tokensource.Session, first *oauth2.Token) error {
				_, err := s.Renew(ctx, first)
				return err
			},
		},
		{
			"Clear", func(s *fakeStore) { s.onClear = hang },
			func(ctx context.Context, s *tokensource.Session, _ *oauth2.Token) error { return s.Clear(ctx) },
		},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			store := &fakeStore{}
			s := &tokensource.Session{Grant: (&fakeGrant{}).grant, Store: store, Timeout: 4 * time.Second}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
			tc.set(store)
			start := time.Now()
			_ = tc.call(t.Context(), s, first)
			if d := time.Since(start); d != 4*time.Second {
				t.Errorf("it took %v, want 4s", d)
			}
		})
	}
}

// A sign-out does not wait for a Store beyond its context, and is one.
func TestClearDuringASlowSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, tokensource.ErrNoToken
		}}
		signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
		store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(20 * time.Second) }
		go func() { _ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-1"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Clear(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Clear = %v after %v, want its deadline", err, time.Since(start))
		}
		time.Sleep(time.Minute)
		for range 2 {
			if token, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) {
				t.Errorf("Token = %s after Clear", access(token, err))
			}
			time.Sleep(time.Minute)
		}
		if got := store.holds(); got != "" {
			t.Errorf("store holds %q", got)
		}
	})
}

// What uses no Locker is called by one goroutine at a time nevertheless.
func TestStoreIsCalledOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, calls atomic.Int32
		use := func() {
			if busy.Add(1) > 1 {
				t.Error("two calls at a time")
			}
			calls.Add(1)
			time.Sleep(time.Millisecond)
			busy.Add(-1)
		}
		store := &fakeStore{
			onLoad: func(context.Context) { use() }, onClear: func(context.Context) { use() },
			onSave: func(context.Context, *oauth2.Token) { use() },
		}
		g := &fakeGrant{}
		s := &tokensource.Session{Store: store, Grant: g.grant, MaxForced: -1}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 100 {
				_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "set", RefreshToken: "r"})
			}
		})
		for range 2 {
			wg.Go(func() {
				for range 100 {
					if token, err := s.Token(t.Context()); err == nil {
						_, _ = s.Renew(t.Context(), token)
					}
				}
			})
		}
		wg.Wait()
		if calls.Load() < 200 {
			t.Errorf("only %d calls", calls.Load())
		}
	})
}

// Requests that cannot be served at present do not each cost the Store a call.
func TestStoreIsNotAskedForEveryRequest(t *testing.T) {
	for _, tc := range []struct {
		name  string
		setup func(t *testing.T, s *tokensource.Session, store *fakeStore) (ask func() error)
		want  error
	}{
		{"signed out", func(t *testing.T, s *tokensource.Session, _ *fakeStore) func() error {
			s.Grant = failingGrant(tokensource.ErrNoToken)
			return func() error { _, err := s.Token(t.Context()); return err }
		}, tokensource.ErrNoToken},
		{"signed out, but not in the Store", func(t *testing.T, s *tokensource.Session, store *fakeStore) func() error {
			s.Grant = failingGrant(tokensource.ErrNoToken)
			signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
			store.clearErr = errDown
			_ = s.Clear(t.Context())
			return func() error { _, err := s.Token(t.Context()); return err }
		}, tokensource.ErrNoToken},
		{"limited", func(t *testing.T, s *tokensource.Session, _ *fakeStore) func() error {
			token := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "r"})
			for range 5 {
				token, _ = s.Renew(t.Context(), token)
			}
			return func() error { _, err := s.Renew(t.Context(), token); return err }
		}, tokensource.ErrRenewalLimit},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			j := &journal{}
			store := &fakeStore{journal: j}
			g := &fakeGrant{}
			s := &tokensource.Session{Store: store, Grant: g.grant}
			ask := tc.setup(t, s, store)
			j.reset()
			for range 1000 { // ten seconds
				if err := ask(); !errors.Is(err, tc.want) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := len(j.list()); n > 20 {
				t.Errorf("%d calls in ten seconds", n)
			}
		})
	}
}

// What another process signs in is found within a second or so.
func TestSignInElsewhereIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, Grant: failingGrant(tokensource.ErrNoToken)}
		if _, err := s.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) {
			t.Fatalf("got %v", err)
		}
		store.put(&oauth2.Token{AccessToken: "elsewhere"})
		time.Sleep(time.Second)
		if got := access(s.Token(t.Context())); got != "elsewhere" {
			t.Errorf("Token = %s", got)
		}
	})
}

// A renewal that is saved brings the Store up to date as well, and says so.
func TestRenewalSavesWhatWasUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		store := &fakeStore{saveErr: errDown}
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		store.saveErr = nil
		token, err := s.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := access(s.Renew(t.Context(), token)); got != "access-1" {
			t.Errorf("Renew = %s", got)
		}
		want := []tokensource.EventKind{tokensource.EventSet, tokensource.EventSaveFailed, tokensource.EventRenewed, tokensource.EventSaved}
		if diff := cmp.Diff(want, ev.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// Whoever has to sign in does so once, in any process. The others look for it while
// they are asked, from time to time.
func TestSignInElsewhereAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := new(journal)
		store := newLockedStore(j)
		g := &fakeGrant{journal: j, answer: failing(tokensource.ErrReauthRequired)}
		var ev events
		s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		if _, err := s.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrReauthRequired) {
			t.Fatalf("Renew = %v", err)
		}
		ask := func(want string) {
			t.Helper()
			token, err := s.Token(t.Context())
			if want == "" && !errors.Is(err, tokensource.ErrReauthRequired) || want != "" && access(token, err) != want {
				t.Errorf("Token = %s, want %s", access(token, err), want)
			}
			synctest.Wait()
		}
		j.reset()
		for range 1000 { // 10 seconds
			time.Sleep(10 * time.Millisecond)
			ask("")
			_, _ = s.Renew(t.Context(), first)
		}
		want := []string{"Load", "Load", "Load", "Load"}
		if diff := cmp.Diff(want, j.list()[:4]); diff != "" || len(j.list()) > 6 {
			t.Errorf("calls in 10 seconds: %v", j.list())
		}
		// What has the dead refresh token is no sign-in.
		store.set(foreign(&oauth2.Token{AccessToken: "another", RefreshToken: "refresh-0"}))
		time.Sleep(time.Hour)
		ask("")
		ask("")
		store.loadErr = errDown
		store.put(&oauth2.Token{AccessToken: "signed in", RefreshToken: "refresh-1"})
		time.Sleep(time.Hour)
		ask("")
		ask("")
		store.loadErr = nil
		time.Sleep(time.Hour)
		ask("") // which finds it
		ask("signed in")
		if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventSet, tokensource.EventReauthRequired, tokensource.EventAdopted}, ev.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n := g.calls(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

// While the server is not to be asked, another process may have asked it: who needs
// a token has the Store looked at.
func TestStoreIsLookedAtDuringABackoff(t *testing.T) {
	// failed returns a Session whose renewal ahead of expiry has failed, for an hour.
	failed := func(t *testing.T, store tokensource.Store, j *journal) (*tokensource.Session, *oauth2.Token) {
		t.Helper()
		g := &fakeGrant{journal: j, answer: failing(&tokensource.RetryError{At: time.Now().Add(3 * time.Hour), Err: errDown})}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		first := signedIn(t, s, expiring("access-0", 2*time.Hour))
		time.Sleep(119 * time.Minute)
		if got := access(s.Token(t.Context())); got != "access-0" {
			t.Fatalf("Token = %s, want access-0", got)
		}
		synctest.Wait()
		j.reset()
		return s, first
	}
	elsewhere := func() *oauth2.Token {
		return &oauth2.Token{AccessToken: "elsewhere", RefreshToken: "refresh-1", Expiry: time.Now().Add(time.Hour)}
	}

	bubble(t, "refused", func(t *testing.T) {
		j := &journal{}
		store := newLockedStore(j)
		s, first := failed(t, store, j)
		store.put(elsewhere())
		if got := access(s.Renew(t.Context(), first)); got != "elsewhere" {
			t.Errorf("Renew = %s, want elsewhere", got)
		}
		if diff := cmp.Diff([]string{"Load"}, j.list()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
	bubble(t, "expired", func(t *testing.T) {
		j := &journal{}
		store := &fakeStore{journal: j}
		s, _ := failed(t, store, j)
		time.Sleep(time.Minute)
		store.put(elsewhere())
		if got := access(s.Token(t.Context())); got != "elsewhere" {
			t.Errorf("Token = %s, want elsewhere", got)
		}
	})
	bubble(t, "about to be saved", func(t *testing.T) {
		j := &journal{}
		store := newLockedStore(j)
		s, first := failed(t, store, j)
		unlock, err := store.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			store.put(elsewhere())
			unlock()
		}()
		if got := access(s.Renew(t.Context(), first)); got != "elsewhere" {
			t.Errorf("Renew = %s, want elsewhere", got)
		}
	})
	bubble(t, "what is there has expired too", func(t *testing.T) {
		j := &journal{}
		store := newLockedStore(j)
		s, first := failed(t, store, j)
		old := elsewhere()
		old.Expiry = time.Now().Add(-time.Second)
		store.put(old)
		_, err := s.Renew(t.Context(), first)
		retryIn(t, err, time.Hour, time.Hour) // by the new refresh token
		if n := countOf(j, "grant"); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
	bubble(t, "what is there was refused too", func(t *testing.T) {
		j := &journal{}
		store := newLockedStore(j)
		s, first := failed(t, store, j)
		store.put(&oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-1", Expiry: time.Now().Add(time.Hour)})
		_, err := s.Renew(t.Context(), first)
		retryIn(t, err, 59*time.Minute, time.Hour)
		// That it has another identity by now makes it no better, nor the server
		// quicker.
		again, err := s.Token(t.Context())
		if access(again, err) != "access-0" {
			t.Fatalf("Token = %s, want access-0", access(again, err))
		}
		_, err = s.Renew(t.Context(), again)
		retryIn(t, err, 59*time.Minute, time.Hour)
		if n := countOf(j, "grant"); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
	})
	bubble(t, "OnEvent asks", func(t *testing.T) {
		var asked error
		s := &tokensource.Session{Grant: failingGrant(errDown), Store: &fakeStore{}}
		s.OnEvent = func(ctx context.Context, e tokensource.Event) {
			if e.Kind == tokensource.EventRenewalFailed {
				_, asked = s.Token(ctx)
			}
		}
		if _, err := s.Token(t.Context()); err == nil {
			t.Error("Token = nil")
		}
		retryIn(t, asked, 0, time.Second)
	})
	bubble(t, "the clock is set back", func(t *testing.T) {
		g := &fakeGrant{answer: failing(errDown)}
		s := &tokensource.Session{Grant: g.grant, Store: &fakeStore{}}
		for range 2 { // the second looks into the Store
			if _, err := s.Token(t.Context()); !errors.Is(err, errDown) {
				t.Fatalf("Token = %v", err)
			}
		}
		s.SetClockBack(3 * time.Hour)
		g.answer = nil
		token, err := s.Token(t.Context())
		if err != nil {
			t.Fatalf("Token = %v", err)
		}
		g.answer = failing(errDown)
		for range 2 {
			if _, err := s.Renew(t.Context(), token); !errors.Is(err, errDown) {
				t.Fatalf("Renew = %v", err)
			}
		}
		s.SetClockBack(3 * time.Hour)
		g.answer = nil
		if _, err := s.Renew(t.Context(), token); err != nil {
			t.Errorf("Renew = %v", err)
		}
	})
	for _, tc := range []struct {
		name    string
		set     func(*lockedStore)
		slowest time.Duration
		fewest  int // Loads and Locks in ten seconds
		atMost  int
	}{
		{"nothing new", func(*lockedStore) {}, 0, 100, 120},
		{"Load fails", func(s *lockedStore) { s.loadErr = errDown }, 0, 30, 45},
		{"Load hangs", func(s *lockedStore) {
			s.loadErr = errDown
			s.onLoad = func(ctx context.Context) { <-ctx.Done() }
		}, 2 * time.Second, 3, 4},
		{"the lock is not to be had", func(s *lockedStore) { s.held <- struct{}{} }, 2 * time.Second, 6, 9},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			j := &journal{}
			store := newLockedStore(j)
			s, first := failed(t, store, j)
			tc.set(store)
			var slow time.Duration
			for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
				before := time.Now()
				_, err := s.Renew(t.Context(), first)
				retryIn(t, err, 59*time.Minute, time.Hour)
				slow = max(slow, time.Since(before))
			}
			if slow != tc.slowest {
				t.Errorf("a Renew took %v, want %v at most", slow, tc.slowest)
			}
			if n := countOf(j, "Load") + countOf(j, "Lock"); n < tc.fewest || n > tc.atMost {
				t.Errorf("the store was asked %d times, want %d to %d", n, tc.fewest, tc.atMost)
			}
			if n := countOf(j, "grant"); n != 0 {
				t.Errorf("%d exchanges, want none", n)
			}
		})
	}
}

func countOf(j *journal, entry string) (n int) {
	for _, e := range j.list() {
		if e == entry {
			n++
		}
	}
	return n
}

// OnEvent may use the Store, as for another sign-in: nobody holds its lock meanwhile.
func TestOnEventUsesTheStore(t *testing.T) {
	for name, use := range map[string]func(ctx context.Context, s *tokensource.Session) error{
		"Set": func(ctx context.Context, s *tokensource.Session) error {
			return s.Set(ctx, expiring("again", time.Hour))
		},
		"SignOut": func(ctx context.Context, s *tokensource.Session) error { return s.SignOut(ctx, nil) },
		"Clear":   func(ctx context.Context, s *tokensource.Session) error { return s.Clear(ctx) },
		"Renew": func(ctx context.Context, s *tokensource.Session) error {
			token, _ := s.Current()
			_, err := s.Renew(ctx, token)
			return err
		},
	} {
		bubble(t, name, func(t *testing.T) {
			used := false
			s := &tokensource.Session{Store: newLockedStore(nil), Grant: (&fakeGrant{}).grant}
			s.OnEvent = func(ctx context.Context, _ tokensource.Event) {
				if used {
					return
				}
				used = true
				start := time.Now()
				if err := use(ctx, s); err != nil || time.Since(start) > 0 {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			}
			if err := s.Set(t.Context(), expiring("first", time.Hour)); err != nil || !used {
				t.Errorf("Set = %v, OnEvent was called: %v", err, used)
			}
		})
	}
}

// A sign-in by Set is no failure of what it ends.
func TestSetEndsWhatWaits(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, s *tokensource.Session) error{
		"Reload": func(ctx context.Context, s *tokensource.Session) error { return s.Reload(ctx) },
		"SignIn": func(ctx context.Context, s *tokensource.Session) error {
			return s.SignIn(ctx, func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
				return nil, errors.New("somebody was asked")
			})
		},
	} {
		bubble(t, name, func(t *testing.T) {
			store := newLockedStore(nil)
			store.onLoad = func(ctx context.Context) {
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
				if ctx.Err() != nil {
					store.mu.Lock()
					defer store.mu.Unlock()
					store.loadErr = ctx.Err()
				}
			}
			s := &tokensource.Session{Store: store}
			done := make(chan error)
			go func() { done <- wait(t.Context(), s) }()
			time.Sleep(time.Second / 2)
			set := make(chan error)
			go func() { set <- s.Set(t.Context(), expiring("set", time.Hour)) }()
			synctest.Wait()
			store.mu.Lock()
			store.loadErr = nil
			store.mu.Unlock()
			if err := <-done; err != nil {
				t.Errorf("%s = %v", name, err)
			}
			if err := <-set; err != nil || store.holds() != "set" {
				t.Errorf("Set = %v, the store holds %q", err, store.holds())
			}
		})
	}
}

// A tellingStore says ErrChanged until it is loaded, while another has the lock.
type tellingStore struct {
	*lockedStore
	loaded string
	locks  int
}

func (s *tellingStore) Load(ctx context.Context) ([]byte, error) {
	text, err := s.lockedStore.Load(ctx)
	s.loaded = string(text)
	return text, err
}

func (s *tellingStore) Lock(ctx context.Context) (func(), error) {
	if s.locks++; s.locks > 1000 {
		return nil, errors.New("it is not loaded")
	}
	if len(s.held) > 0 && string(s.text) != s.loaded {
		return nil, fmt.Errorf("lock: %w", tokensource.ErrChanged)
	}
	return s.lockedStore.Lock(ctx)
}

// Whoever needs the lock loads the Store when it has changed, and then waits.
func TestChangedWhileLocked(t *testing.T) {
	for name, use := range map[string]func(ctx context.Context, s *tokensource.Session) error{
		"Set": func(ctx context.Context, s *tokensource.Session) error {
			return s.Set(ctx, expiring("again", time.Hour))
		},
		"SignOut": func(ctx context.Context, s *tokensource.Session) error { return s.SignOut(ctx, nil) },
	} {
		bubble(t, name, func(t *testing.T) {
			store := &tellingStore{lockedStore: newLockedStore(nil)}
			s := &tokensource.Session{Store: store}
			signedIn(t, s, expiring("here", time.Hour))
			unlock, err := store.lockedStore.Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			store.put(expiring("elsewhere", time.Hour))
			time.AfterFunc(10*time.Second, unlock)
			start := time.Now()
			if err := use(t.Context(), s); err != nil || time.Since(start) != 10*time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	}
}
