package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/redistest"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

// watch watches s until the test ends, and returns how often changed was called.
func watch(t *testing.T, s *redisstore.Store, changed func(context.Context) error) *atomic.Int32 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	done := make(chan error)
	go func() {
		done <- s.Watch(ctx, func(ctx context.Context) error {
			defer calls.Add(1)
			return changed(ctx)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v", err)
		}
	})
	return &calls
}

func nothing(context.Context) error { return nil }

// Each save is heard, by whichever process, and nothing else is.
func TestWatch(t *testing.T) {
	s := newStore(t)
	calls := watch(t, another(s), nothing)
	other := watch(t, another(s), nothing)
	until(t, "they listen", func() bool { return calls.Load() == 1 && other.Load() == 1 })
	for i := range int32(3) {
		unlock := lock(t, s)
		if err := s.Save(t.Context(), record(1)); err != nil {
			t.Fatal(err)
		}
		unlock()
		until(t, "they have heard", func() bool { return calls.Load() == i+2 && other.Load() == i+2 })
	}
	lock(t, s)()
	if err := s.Save(signingOut(t), record(1)); err != nil {
		t.Fatal(err)
	}
	until(t, "they have heard", func() bool { return calls.Load() >= 5 && other.Load() >= 5 })
	if n, m := calls.Load(), other.Load(); n != 5 || m != 5 {
		t.Errorf("%d and %d calls, want 5", n, m)
	}
}

// Saves during a call lead to one more call.
func TestWatchCoalesces(t *testing.T) {
	s := newStore(t)
	entered, goOn := make(chan struct{}), make(chan struct{})
	calls := watch(t, another(s), func(context.Context) error {
		entered <- struct{}{}
		<-goOn
		return nil
	})
	<-entered
	for range 10 {
		if err := s.Save(t.Context(), record(1)); err != nil {
			t.Fatal(err)
		}
	}
	goOn <- struct{}{}
	<-entered
	until(t, "the listener has received all", func() bool { return s.Client.Ping(t.Context()).Err() == nil })
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls have ended, want 1", n)
	}
	close(goOn)
	go func() {
		for range entered { // what was still on its way
		}
	}()
	t.Cleanup(func() {
		if n := calls.Load(); n > 4 {
			t.Errorf("%d calls for 10 saves", n)
		}
	})
}

// What was saved while the connection was gone is made up for.
func TestWatchConnectsAgain(t *testing.T) {
	server, client := start(t)
	s := &redisstore.Store{Client: client, Key: "alice"}
	calls := watch(t, another(s), nothing)
	until(t, "it listens", func() bool { return calls.Load() == 1 })
	server.Stop()
	server.Restart()
	until(t, "it listens again", func() bool { return calls.Load() == 2 })
	if err := s.Save(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	until(t, "it has heard", func() bool { return calls.Load() == 3 })
}

// It waits for a server that is not there yet.
func TestWatchWaitsForServer(t *testing.T) {
	server, client := start(t)
	server.Stop()
	calls := watch(t, &redisstore.Store{Client: client, Key: "alice"}, nothing)
	server.Restart()
	until(t, "it listens", func() bool { return calls.Load() == 1 })
}

// A call that fails is made again.
func TestWatchTriesAgain(t *testing.T) {
	failed := false
	calls := watch(t, newStore(t), func(context.Context) error {
		if !failed {
			failed = true
			return errors.New("not now")
		}
		return nil
	})
	until(t, "it was called again", func() bool { return calls.Load() == 2 })
}

func TestWatchErrors(t *testing.T) {
	s := newStore(t)
	closed := redis.NewClient(s.Client.(*redis.Client).Options())
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		store   *redisstore.Store
		changed func(context.Context) error
		want    string
	}{
		{"no client", &redisstore.Store{Key: "alice"}, nothing, "Store.Client is nil"},
		{"no key", &redisstore.Store{Client: s.Client}, nothing, "Store.Key is empty"},
		{"nobody to tell", s, nil, "changed is nil"},
		{"closed client", &redisstore.Store{Client: closed, Key: "alice"}, nothing, "client is closed"},
	}
	if real != "" {
		server := redistest.Start(t)
		if answer, err := server.Do("ACL SETUSER authtrip on >s3cret ~* resetchannels +@all"); err != nil || answer != "+OK" {
			t.Fatal(answer, err)
		}
		mute := connect(t, &redis.Options{Addr: server.Addr, Username: "authtrip", Password: "s3cret"})
		tests = append(tests, tests[0])
		tests[len(tests)-1].name, tests[len(tests)-1].want = "not allowed to subscribe", "NOPERM"
		tests[len(tests)-1].store = &redisstore.Store{Client: mute, Key: "alice"}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.store.Watch(t.Context(), tt.changed)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A sign-out and a sign-in in one process are known in the other, which asks for
// nothing. What is in Redis is sealed.
func TestWatchSession(t *testing.T) {
	s := newStore(t)
	key := make([]byte, 32)
	ctx := t.Context()
	grant := func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return token(9), nil }
	newSession := func(s *redisstore.Store) *tokensource.Session {
		return &tokensource.Session{Grant: grant, Store: tokensource.Sealed(s, "alice", key)}
	}
	here, elsewhere := newSession(s), another(s)
	there := newSession(elsewhere)
	if err := here.Set(ctx, token(1)); err != nil {
		t.Fatal(err)
	}
	watch(t, elsewhere, there.Reload)
	has := func(want string) func() bool {
		return func() bool {
			got, _ := there.Current()
			return got != nil && got.AccessToken == want
		}
	}
	until(t, "it has the token", has("access-1"))
	if stored := s.Client.Get(ctx, name).Val(); stored == "" || strings.Contains(stored, "access") {
		t.Errorf("in Redis is %q", stored)
	}
	if err := here.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "it is signed out", func() bool { return errors.Is(there.Err(), tokensource.ErrNoToken) })
	if left := s.Client.PTTL(ctx, name).Val(); left < 29*24*time.Hour {
		t.Errorf("the sign-out is kept for %v", left)
	}
	if err := here.Set(ctx, token(2)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is signed in", has("access-2"))
	if left := s.Client.PTTL(ctx, name).Val(); left != -1 {
		t.Errorf("the sign-in is kept for %v", left)
	}
	current, err := here.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Renew(ctx, current); err != nil {
		t.Fatal(err)
	}
	until(t, "it has the new token", has("access-9"))
}
