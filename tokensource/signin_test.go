package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A person is somebody who signs in, and takes a while. It counts how often it was asked.
type person struct {
	takes time.Duration
	err   error
	asked atomic.Int32
}

func (p *person) obtain(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
	n := p.asked.Add(1)
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.err != nil {
		return nil, p.err
	}
	return &oauth2.Token{AccessToken: fmt.Sprint("signed in ", n), RefreshToken: fmt.Sprint("r", n)}, nil
}

// Of many callers in many processes one asks the person, and all of them are signed in.
func TestSignInOnce(t *testing.T) {
	for name, newStore := range map[string]func() func() tokensource.Store{
		"shared with a lock": func() func() tokensource.Store {
			store := newLockedStore(nil)
			return func() tokensource.Store { return store }
		},
		"sealed": func() func() tokensource.Store {
			store := newLockedStore(nil)
			return func() tokensource.Store { return tokensource.Sealed(&rawLocked{store}, "name", key1) }
		},
	} {
		for _, before := range []string{"nothing", "a sign-out", "an end", "another program's"} {
			bubble(t, name+" after "+before, func(t *testing.T) {
				store := newStore()
				alice := &person{takes: 5 * time.Minute}
				first := &tokensource.Session{Store: store()}
				switch before {
				case "a sign-out":
					_ = first.Set(t.Context(), expiring("old", time.Hour))
					_ = first.Clear(t.Context())
				case "an end":
					first.Grant = failingGrant(tokensource.ErrReauthRequired)
					token := signedIn(t, first, expiring("old", time.Hour))
					_, _ = first.Renew(t.Context(), token)
				case "another program's":
					if err := store().Save(t.Context(), foreign(&oauth2.Token{AccessToken: "old", Expiry: time.Now().Add(-time.Hour)})); err != nil {
						t.Fatal(err)
					}
				}
				sessions := []*tokensource.Session{first}
				for range 3 {
					s := &tokensource.Session{Store: store()}
					if before == "an end" { // which each process finds out by itself
						s.Grant = failingGrant(tokensource.ErrReauthRequired)
						token, _ := s.Token(t.Context())
						_, _ = s.Renew(t.Context(), token)
					}
					sessions = append(sessions, s)
				}
				var all sync.WaitGroup
				for _, s := range sessions {
					for range 3 {
						all.Go(func() {
							if err := s.SignIn(t.Context(), alice.obtain); err != nil {
								t.Errorf("SignIn = %v", err)
							}
							if got := access(s.Token(t.Context())); got != "signed in 1" {
								t.Errorf("Token = %s", got)
							}
						})
					}
				}
				start := time.Now()
				all.Wait()
				if d := time.Since(start); d > 5*time.Minute+3*time.Second {
					t.Errorf("it took %v", d)
				}
				if n := alice.asked.Load(); n != 1 {
					t.Errorf("the person was asked %d times", n)
				}
				// Who is signed in need not be asked.
				if err := sessions[0].SignIn(t.Context(), alice.obtain); err != nil || alice.asked.Load() != 1 {
					t.Errorf("SignIn = %v, asked %d times", err, alice.asked.Load())
				}
			})
		}
	}
}

// rawLocked saves what fakeStore would not read.
type rawLocked struct{ *lockedStore }

func (r *rawLocked) Save(_ context.Context, text []byte) error { r.set(text); return nil }

// A process that dies while it signs in holds up the others for no longer than its lease.
func TestSignInAfterADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		dead := &dying{lockedStore: store}
		ctx, cancel := context.WithCancel(t.Context())
		never := &person{takes: 1000 * time.Hour}
		go func() { _ = (&tokensource.Session{Store: dead}).SignIn(ctx, never.obtain) }()
		time.Sleep(time.Minute) // its lease was extended
		dead.died.Store(true)
		alice := &person{takes: time.Minute}
		start := time.Now()
		s := &tokensource.Session{Store: store}
		if err := s.SignIn(t.Context(), alice.obtain); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < time.Minute+15*time.Second || d > time.Minute+35*time.Second {
			t.Errorf("it took %v, want a minute and what was left of 30 seconds", d)
		}
		cancel()
		synctest.Wait()
		if got := store.holds(); got != "signed in 1" {
			t.Errorf("the store holds %q", got)
		}
	})
}

// A dying store is one whose process has died: what it does comes to nothing.
type dying struct {
	*lockedStore
	died atomic.Bool
}

func (d *dying) Save(ctx context.Context, text []byte) error {
	if d.died.Load() {
		return errDown
	}
	return d.lockedStore.Save(ctx, text)
}

// A sign-in that fails or is given up leaves nothing behind: the next one begins at once.
func TestSignInFails(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context, cancel context.CancelFunc, s *tokensource.Session, p *person) error{
		"obtain fails": func(ctx context.Context, _ context.CancelFunc, s *tokensource.Session, p *person) error {
			p.err = errDown
			return s.SignIn(ctx, p.obtain)
		},
		"obtain panics": func(ctx context.Context, _ context.CancelFunc, s *tokensource.Session, p *person) error {
			return s.SignIn(ctx, func(context.Context, *oauth2.Token) (*oauth2.Token, error) { panic("s3cret") })
		},
		"obtain has no token": func(ctx context.Context, _ context.CancelFunc, s *tokensource.Session, p *person) error {
			return s.SignIn(ctx, func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return nil, nil })
		},
		"the only caller leaves": func(ctx context.Context, cancel context.CancelFunc, s *tokensource.Session, p *person) error {
			time.AfterFunc(20*time.Second, cancel)
			p.takes = time.Hour
			return s.SignIn(ctx, p.obtain)
		},
		"the only caller had left": func(ctx context.Context, cancel context.CancelFunc, s *tokensource.Session, p *person) error {
			cancel()
			return s.SignIn(ctx, p.obtain)
		},
		"obtain is nil": func(ctx context.Context, _ context.CancelFunc, s *tokensource.Session, _ *person) error {
			return s.SignIn(ctx, nil)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			store := newLockedStore(nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := leave(ctx, cancel, &tokensource.Session{Store: store}, &person{}); err == nil {
				t.Error("SignIn = nil, want an error")
			}
			synctest.Wait()
			alice := &person{takes: time.Minute}
			start := time.Now()
			if err := (&tokensource.Session{Store: store}).SignIn(t.Context(), alice.obtain); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != time.Minute {
				t.Errorf("the next sign-in took %v, want a minute", d)
			}
		})
	}
}

// The caller that came first may leave. The others go on waiting for the same sign-in.
func TestSignInLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alice := &person{takes: time.Minute}
		s := &tokensource.Session{}
		first, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := s.SignIn(first, alice.obtain); !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				if err := s.SignIn(t.Context(), alice.obtain); err != nil {
					t.Errorf("another: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if n := alice.asked.Load(); n != 1 {
			t.Errorf("the person was asked %d times", n)
		}
	})
}

// Somebody who signs in elsewhere by Set ends the sign-in here.
func TestSignInElsewhereEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		alice := &person{takes: time.Hour}
		var all sync.WaitGroup
		start := time.Now()
		all.Go(func() {
			if err := (&tokensource.Session{Store: store}).SignIn(t.Context(), alice.obtain); err != nil {
				t.Errorf("SignIn = %v", err)
			}
		})
		time.Sleep(time.Minute)
		if err := (&tokensource.Session{Store: store}).Set(t.Context(), &oauth2.Token{AccessToken: "elsewhere"}); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if d := time.Since(start); d > time.Minute+11*time.Second || store.holds() != "elsewhere" {
			t.Errorf("after %v the store holds %q", d, store.holds())
		}
	})
}

// The Store is tried before anybody is asked for anything.
func TestSignInTriesTheStore(t *testing.T) {
	for name, fail := range map[string]func(*lockedStore){
		"load": func(s *lockedStore) { s.loadErr = errDown },
		"lock": func(s *lockedStore) { s.lockErr = errDown },
		"save": func(s *lockedStore) { s.saveErr = errDown },
	} {
		t.Run(name, func(t *testing.T) {
			store := newLockedStore(nil)
			fail(store)
			alice := &person{}
			if err := (&tokensource.Session{Store: store}).SignIn(t.Context(), alice.obtain); !errors.Is(err, errDown) || alice.asked.Load() != 0 {
				t.Errorf("SignIn = %v, and the person was asked %d times", err, alice.asked.Load())
			}
		})
	}
}

// Without a lock there is one sign-in for each process, and without a Store too.
func TestSignInWithoutALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		alice := &person{takes: time.Minute}
		var all sync.WaitGroup
		for _, s := range []*tokensource.Session{{Store: store}, {}} {
			for range 3 {
				all.Go(func() {
					if err := s.SignIn(t.Context(), alice.obtain); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if n := alice.asked.Load(); n != 2 {
			t.Errorf("the person was asked %d times, want once for each process", n)
		}
		later := &tokensource.Session{Store: store}
		if err := later.SignIn(t.Context(), alice.obtain); err != nil || alice.asked.Load() != 2 {
			t.Errorf("SignIn of who is signed in: %v", err)
		}
	})
}

// Several users sign in once each.
func TestSessionsSignInAndOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := &tokensource.Sessions{New: func(string) *tokensource.Session { return new(tokensource.Session) }}
		people := map[string]*person{"alice": {}, "bob": {}}
		for name, p := range people {
			for range 2 {
				if err := sessions.SignIn(t.Context(), name, p.obtain); err != nil {
					t.Fatal(err)
				}
			}
			if n := p.asked.Load(); n != 1 {
				t.Errorf("%s was asked %d times", name, n)
			}
		}
		var revoked []string
		err := sessions.SignOut(t.Context(), "alice", func(_ context.Context, token *oauth2.Token) error {
			revoked = append(revoked, token.RefreshToken)
			return nil
		})
		if err != nil || len(revoked) != 1 {
			t.Errorf("SignOut = %v, revoked %q", err, revoked)
		}
		if _, err := sessions.Token(t.Context(), "alice"); !errors.Is(err, tokensource.ErrNoToken) {
			t.Errorf("alice: %v, want ErrNoToken", err)
		}
		if got := access(sessions.Token(t.Context(), "bob")); got != "signed in 1" {
			t.Errorf("bob: %s", got)
		}
	})
}

// A command signs in once, whichever of its processes comes first.
func ExampleSession_SignIn() {
	session := &tokensource.Session{Store: &shared{lock: make(chan struct{}, 1)}}
	askTheUser := func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		fmt.Println("please sign in")
		return &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1"}, nil
	}
	ctx := context.Background()
	for range 2 {
		if err := session.SignIn(ctx, askTheUser); err != nil {
			fmt.Println(err)
			return
		}
	}
	token, good := session.Current()
	fmt.Println(token.AccessToken, good)
	// Output:
	// please sign in
	// access-1 true
}

// leased is a record in which another process has a lease until a time.
func leased(until string) []byte {
	return []byte(`{"access_token":"","authtrip":{"version":1,"of":"6e340b9cffb37a98","lease":{"owner":"other","until":"` + until + `"}}}`)
}

// What counts of a lease is when it was last extended, by one's own clock. The time in it is
// that of a clock that may be wrong.
func TestSignInDespiteALease(t *testing.T) {
	for name, tc := range map[string]struct {
		until string
		takes time.Duration
	}{
		"in the far future":    {"8999-01-01T00:00:00Z", leaseTime},
		"beyond all times":     {"9999-12-31T23:59:59Z", leaseTime},
		"of a clock ahead":     {"2000-01-01T01:00:00Z", leaseTime},
		"of a clock behind":    {"1999-12-31T23:59:00Z", leaseTime},
		"that ended long ago":  {"1999-12-31T23:00:00Z", 0},
		"that makes no sense":  {"tomorrow", 0},
		"that has no such day": {"2000-02-31T00:00:00Z", 0},
	} {
		bubble(t, name, func(t *testing.T) { // it begins at the year 2000
			store := newLockedStore(nil)
			store.set(leased(tc.until))
			start := time.Now()
			err := (&tokensource.Session{Store: store}).SignIn(t.Context(), new(person).obtain)
			if took := time.Since(start); err != nil || took != tc.takes {
				t.Errorf("SignIn = %v after %v, want %v", err, took, tc.takes)
			}
		})
	}
}

const leaseTime = 30 * time.Second

// An obtain that calls SignIn gets an error, and does not wait for itself.
func TestSignInWithinItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(tokensource.Session)
		var later context.Context
		err := s.SignIn(t.Context(), func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
			later = context.WithoutCancel(ctx)
			return nil, s.SignIn(later, new(person).obtain)
		})
		if err == nil {
			t.Error("SignIn = nil, want an error")
		}
		if err := s.SignIn(later, new(person).obtain); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// A sign-in that all have left and that does not end undoes nothing that comes later.
func TestSignInGivenUp(t *testing.T) {
	for name, next := range map[string]func(ctx context.Context, s *tokensource.Session) error{
		"":            func(ctx context.Context, s *tokensource.Session) error { return s.SignOut(ctx, nil) },
		"signed in 1": func(ctx context.Context, s *tokensource.Session) error { return s.SignIn(ctx, new(person).obtain) },
		"set":         func(ctx context.Context, s *tokensource.Session) error { return s.Set(ctx, expiring("set", time.Hour)) },
	} {
		bubble(t, name, func(t *testing.T) {
			store := newLockedStore(nil)
			s := &tokensource.Session{Store: store}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			goOn := make(chan struct{})
			err := s.SignIn(ctx, func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
				<-goOn
				return &oauth2.Token{AccessToken: "given up"}, nil
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("SignIn = %v", err)
			}
			synctest.Wait()
			if err := next(t.Context(), s); err != nil {
				t.Error(err)
			}
			close(goOn)
			synctest.Wait()
			if got := store.holds(); got != name {
				t.Errorf("the store holds %q, want %q", got, name)
			}
		})
	}
}
