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

// A revoker is an authorization server that revokes.
type revoker struct {
	err   error
	takes time.Duration

	mu  sync.Mutex
	got []string // refresh tokens
}

func (r *revoker) revoke(ctx context.Context, token *oauth2.Token) error {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, token.RefreshToken)
	return r.err
}

// The newest token of all processes is revoked, and a tombstone is left.
func TestSignOut(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, store *lockedStore, a, b *process) // before a signs out
		want []string                                              // revoked, in order
		err  string
	}{
		{"at rest", func(*testing.T, *lockedStore, *process, *process) {}, []string{"of 0"}, ""},
		{"after a renewal elsewhere", func(t *testing.T, _ *lockedStore, _, b *process) { b.renew(t) }, []string{"of b-1"}, ""},
		{"during a renewal elsewhere", func(t *testing.T, _ *lockedStore, _, b *process) {
			b.takes = time.Second
			go b.renew(t)
			synctest.Wait()
		}, []string{"of b-1"}, ""},
		{"during a renewal here", func(t *testing.T, _ *lockedStore, a, _ *process) {
			a.takes = time.Second
			go a.renew(t)
			synctest.Wait()
		}, []string{"of a-1", "of 0"}, ""},
		{"during a renewal here without a lock", func(t *testing.T, store *lockedStore, a, _ *process) {
			a.Store = store.fakeStore
			a.takes = time.Second
			go a.renew(t)
			synctest.Wait()
		}, []string{"of 0", "of a-1"}, ""},
		{"what another program has left", func(_ *testing.T, store *lockedStore, _, _ *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
		}, []string{"of theirs"}, ""},
		{"with a store that is behind", func(t *testing.T, store *lockedStore, a, _ *process) {
			store.saveErr = errDown
			a.renew(t)
			store.saveErr = nil
		}, []string{"of a-1"}, ""},
		{"signed out already", func(t *testing.T, _ *lockedStore, a, _ *process) {
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, nil, ""},
		{"without the lock", func(_ *testing.T, store *lockedStore, _, _ *process) { store.held <- struct{}{} }, []string{"of 0"}, "without the lock"},
		{"with a lock that fails", func(_ *testing.T, store *lockedStore, _, _ *process) { store.lockErr = errDown }, []string{"of 0"}, "without the lock"},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			store := newLockedStore(nil)
			a, b := newProcess("a", store), newProcess("b", store)
			a.signIn(t, "0")
			if _, err := b.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			tc.do(t, store, a, b)
			var server revoker
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			out := make(chan error, 1)
			go func() { out <- a.SignOut(ctx, server.revoke) }()
			synctest.Wait()
			if _, err := a.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) {
				t.Errorf("while it signs out: %v, want ErrNoToken", err)
			}
			switch err := <-out; {
			case tc.err == "" && err != nil, tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)), err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("SignOut = %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, server.got); diff != "" {
				t.Errorf("revoked (-want +got):\n%s", diff)
			}
			if r := store.record(); r.Change != tokensource.ChangeSignOut || r.Token != nil {
				t.Errorf("the store has %v", r)
			}
			if store.lockErr == nil && tc.err != "" {
				<-store.held
			}
			store.lockErr = nil
			if got := b.renew(t); got != "error: tokensource: no token" {
				t.Errorf("the other process renews: %s", got)
			}
		})
	}
}

// A sign-out is one whatever revoke and the Store do.
func TestSignOutFails(t *testing.T) {
	for name, tc := range map[string]struct {
		revoke func(context.Context, *oauth2.Token) error
		fail   func(*lockedStore)
		want   string
		saved  bool
	}{
		"revoke fails":          {failingRevoke(errDown), nil, "not revoked", true},
		"revoke panics":         {func(context.Context, *oauth2.Token) error { panic("s3cret") }, nil, "not revoked", true},
		"revoke hangs":          {func(ctx context.Context, _ *oauth2.Token) error { <-ctx.Done(); return ctx.Err() }, nil, "not revoked", true},
		"revoke hangs for good": {func(context.Context, *oauth2.Token) error { time.Sleep(time.Hour); return nil }, nil, "not revoked", true},
		"the save fails":        {failingRevoke(nil), func(s *lockedStore) { s.clearErr = errDown }, "saving", false},
		"the load fails":        {failingRevoke(nil), func(s *lockedStore) { s.loadErr = errDown }, "down", false},
		"both fail":             {failingRevoke(errDown), func(s *lockedStore) { s.clearErr = errDown }, "not revoked", false},
	} {
		bubble(t, name, func(t *testing.T) {
			store := newLockedStore(nil)
			p := newProcess("a", store)
			p.signIn(t, "0")
			if tc.fail != nil {
				tc.fail(store)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := p.SignOut(ctx, tc.revoke)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("SignOut = %v, want one line with %q", err, tc.want)
			}
			if d := time.Since(start); d > 45*time.Second { // Timeout, and a while
				t.Errorf("it took %v", d)
			}
			if _, err := p.Token(t.Context()); !errors.Is(err, tokensource.ErrNoToken) || !errors.Is(p.Err(), tokensource.ErrNoToken) {
				t.Errorf("Token = %v, Err = %v", err, p.Err())
			}
			synctest.Wait()
			store.loadErr, store.clearErr = nil, nil
			if saved := store.record().Change == tokensource.ChangeSignOut; saved != tc.saved {
				t.Errorf("saved: %v, want %v", saved, tc.saved)
			}
			time.Sleep(2 * time.Hour)
			_, _ = p.Token(t.Context())
			synctest.Wait()
			if got := store.record().Change; got != tokensource.ChangeSignOut {
				t.Errorf("later the store has %q", got)
			}
		})
	}
}

func failingRevoke(err error) func(context.Context, *oauth2.Token) error {
	return func(context.Context, *oauth2.Token) error { return err }
}

// A sign-in during a sign-out counts: it came later.
func TestSignInDuringASignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		p := newProcess("a", store)
		p.signIn(t, "0")
		server := revoker{takes: time.Second}
		done := make(chan error)
		go func() { done <- p.SignOut(t.Context(), server.revoke) }()
		synctest.Wait()
		p.signIn(t, "again")
		if err := <-done; err != nil {
			t.Errorf("SignOut = %v", err)
		}
		if got := access(p.Token(t.Context())); got != "again" || store.holds() != "again" {
			t.Errorf("Token = %s, the store holds %q", got, store.holds())
		}
		if diff := cmp.Diff([]string{"of 0"}, server.got); diff != "" {
			t.Errorf("revoked (-want +got):\n%s", diff)
		}
	})
}

// Who is signed out stays so, even with a Grant that needs no current token.
func TestSignedOutStaysSignedOut(t *testing.T) {
	for _, store := range []tokensource.Store{nil, &fakeStore{}, newLockedStore(nil)} {
		g := &fakeGrant{}
		s := &tokensource.Session{Grant: g.grant, Store: store}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "0"})
		if err := s.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := s.Token(t.Context())
			_, err2 := s.Renew(t.Context(), first)
			if !errors.Is(err, tokensource.ErrNoToken) || !errors.Is(err2, tokensource.ErrNoToken) {
				t.Errorf("Token: %v, Renew: %v; want ErrNoToken", err, err2)
			}
		}
		if token, good := s.Current(); token != nil || good {
			t.Errorf("Current = %v, %v", token, good)
		}
		if n := g.calls(); n != 0 {
			t.Errorf("%d exchanges", n)
		}
	}
}

// SignOut revokes the newest token, and leaves word for other processes.
func ExampleSession_SignOut() {
	store := &shared{lock: make(chan struct{}, 1)}
	ctx := context.Background()
	here, elsewhere := &tokensource.Session{Store: store}, &tokensource.Session{Store: store}
	if err := here.Set(ctx, &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1"}); err != nil {
		fmt.Println(err)
		return
	}
	err := here.SignOut(ctx, func(_ context.Context, token *oauth2.Token) error {
		fmt.Println("revoke", token.RefreshToken) // a request to the revocation endpoint
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = elsewhere.Token(ctx)
	fmt.Println(errors.Is(err, tokensource.ErrNoToken))
	// Output:
	// revoke refresh-1
	// true
}

// What a renewal brings is revoked, also if another sign-out revokes nothing.
func TestSignOutTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server revoker
		g := &fakeGrant{takes: time.Second}
		s := &tokensource.Session{Grant: g.grant}
		token := signedIn(t, s, expiring("0", time.Hour))
		var all sync.WaitGroup
		all.Go(func() { _, _ = s.Renew(t.Context(), token) })
		synctest.Wait()
		for _, revoke := range []func(context.Context, *oauth2.Token) error{server.revoke, nil} {
			all.Go(func() {
				if err := s.SignOut(t.Context(), revoke); err != nil {
					t.Errorf("SignOut = %v", err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if diff := cmp.Diff([]string{"refresh-0", "refresh-1"}, server.got); diff != "" {
			t.Errorf("revoked (-want +got):\n%s", diff)
		}
	})
}

// A revoke that returns a nil pointer as its error ends no process.
func TestRevokeReturnsNilPointer(t *testing.T) {
	for name, err := range map[string]error{"answer": (*oauth2.RetrieveError)(nil), "URL": (*url.Error)(nil)} {
		t.Run(name, func(t *testing.T) {
			s := tokensource.NewSession(nil, expiring("0", time.Hour))
			if err := s.SignOut(t.Context(), failingRevoke(err)); err == nil || !errors.Is(s.Err(), tokensource.ErrNoToken) {
				t.Errorf("SignOut = %v, and then Err = %v", err, s.Err())
			}
		})
	}
}
