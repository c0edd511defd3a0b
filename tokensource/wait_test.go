package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestWait(t *testing.T) {
	t.Run("nothing to wait for", func(t *testing.T) {
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant}
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if g.calls() != 0 {
			t.Error("Wait makes an exchange")
		}
	})
	bubble(t, "a renewal that nobody waits for", func(t *testing.T) {
		store := &fakeStore{onSave: func(context.Context, *oauth2.Token) { time.Sleep(time.Second) }}
		g := &fakeGrant{takes: time.Second, lifetime: time.Hour}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		signedIn(t, s, expiring("access-0", time.Hour))
		time.Sleep(59 * time.Minute)
		if got := access(s.Token(t.Context())); got != "access-0" {
			t.Fatalf("Token = %s, which is good", got)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second/2 {
			t.Errorf("Wait = %v after %v, want the end of its context", err, time.Since(start))
		}
		if err := s.Wait(t.Context()); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("Wait = %v after %v, want the end of the renewal, its Save included", err, time.Since(start))
		}
		if got := store.holds(); got != "access-1" {
			t.Errorf("the Store holds %q", got)
		}
	})
	bubble(t, "a Store that is behind", func(t *testing.T) {
		var ev events
		store := &fakeStore{}
		s := &tokensource.Session{Store: store, OnEvent: ev.on}
		store.saveErr = errDown
		if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"}); !errors.Is(err, errDown) {
			t.Fatalf("Set = %v", err)
		}
		if err := s.Wait(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Wait = %v, want the Store's error", err)
		}
		store.saveErr = nil
		// Whoever comes for a token meanwhile is not given Wait's result for one.
		store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(time.Second) }
		go func() {
			time.Sleep(time.Second / 2)
			if got := access(s.Renew(t.Context(), nil)); got != "access-0" {
				t.Errorf("Renew = %s", got)
			}
		}()
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("Wait = %v", err)
		}
		if got := store.holds(); got != "access-0" {
			t.Errorf("the Store holds %q", got)
		}
		want := []tokensource.EventKind{tokensource.EventSet, tokensource.EventSaveFailed, tokensource.EventSaveFailed, tokensource.EventSaved}
		if diff := cmp.Diff(want, ev.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		synctest.Wait()
	})
	bubble(t, "a lock that cannot be had", func(t *testing.T) {
		store := newLockedStore(nil)
		store.lockErr = errDown
		s := &tokensource.Session{Store: store}
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"})
		if err := s.Wait(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Wait = %v, want the lock's error", err)
		}
	})
	bubble(t, "a token Set meanwhile", func(t *testing.T) {
		store := &fakeStore{saveErr: errDown}
		s := &tokensource.Session{Store: store}
		_ = s.Set(t.Context(), &oauth2.Token{AccessToken: "access-0"})
		store.saveErr = nil
		set := make(chan error, 1)
		store.onLoad = func(context.Context) {
			store.onLoad = nil
			go func() { set <- s.Set(t.Context(), &oauth2.Token{AccessToken: "access-1"}) }()
			synctest.Wait() // it waits for the Store
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("Wait = %v", err)
		}
		if err := <-set; err != nil {
			t.Errorf("Set = %v", err)
		}
		if got := store.holds(); got != "access-1" {
			t.Errorf("the Store holds %q", got)
		}
	})
	t.Run("in a Grant", func(t *testing.T) {
		var s *tokensource.Session
		s = &tokensource.Session{Grant: func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			return nil, s.Wait(ctx)
		}}
		if _, err := s.Token(t.Context()); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error at once", err)
		}
	})
}

// A Store that goes back to what this process had before, as Redis does when the
// replica that takes over lacks the last write, is not news: that refresh token is
// spent.
func TestStoreGoesBack(t *testing.T) {
	store := newLockedStore(nil)
	g := &fakeGrant{}
	s := &tokensource.Session{Grant: g.grant, Store: store}
	before := &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"}
	second, err := s.Renew(t.Context(), signedIn(t, s, before))
	if err != nil {
		t.Fatal(err)
	}
	store.set(store.tried[0])
	g.answer = failing(errDown)
	if _, err := s.Renew(t.Context(), second); !errors.Is(err, errDown) {
		t.Errorf("Renew = %v", err)
	}
	if diff := cmp.Diff([]string{"refresh-0", "refresh-1"}, g.seen); diff != "" {
		t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := store.holds(); got != "access-1" {
		t.Errorf("the Store holds %q, want what it has lost", got)
	}
}

// A process is killed when the server has answered and nothing is saved yet. The next
// has the refresh token of before, and presents it once: a server with a grace
// period answers, one without has ended the grant.
func TestKilledBeforeSave(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Minute} {
		bubble(t, fmt.Sprint("grace ", grace), func(t *testing.T) {
			server := authtest.NewServer(t, authtest.InMemory())
			server.SetPolicy(authtest.Policy{Grace: grace})
			ctx := server.Context(t.Context())
			store := newLockedStore(nil)
			newSession := func() *tokensource.Session {
				return &tokensource.Session{Grant: tokensource.RefreshToken(server.Config()), Store: store}
			}
			old := signedIn(t, newSession(), server.SignIn())
			if _, err := tokensource.RefreshToken(server.Config())(ctx, old); err != nil { // and no more of it is seen
				t.Fatal(err)
			}
			next := newSession()
			first, err := next.Token(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_, err := next.Renew(ctx, first)
				if grace > 0 && err != nil || grace == 0 && !errors.Is(err, tokensource.ErrReauthRequired) {
					t.Errorf("Renew: %v", err)
				}
			}
			type counts struct{ Granted, Reused int }
			want := counts{Granted: 2}
			if grace == 0 {
				want = counts{Granted: 1, Reused: 1}
			}
			stats := server.Stats()
			if diff := cmp.Diff(want, counts{stats.Granted, stats.Reused}); diff != "" {
				t.Errorf("the server's counts (-want +got):\n%s", diff)
			}
		})
	}
}
