package tokensource_test

import (
	"context"
	"encoding/json"
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

// A users is a server's: each has a store, which outlives the Session, and all one grant.
type users struct {
	tokensource.Sessions
	grant fakeGrant

	mu     sync.Mutex // guards the fields below
	stores map[string]*lockedStore
	made   map[string]int
}

func newUsers(limit int) *users {
	u := &users{stores: make(map[string]*lockedStore), made: make(map[string]int)}
	u.Max = limit
	u.New = func(key string) *tokensource.Session {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.made[key]++
		return &tokensource.Session{Grant: u.grant.grant, Store: u.store(key)}
	}
	return u
}

// store returns key's, for which u.mu is held.
func (u *users) store(key string) *lockedStore {
	if u.stores[key] == nil {
		u.stores[key] = newLockedStore(nil)
		u.stores[key].fakeStore.put(&oauth2.Token{AccessToken: "of " + key, RefreshToken: "refresh of " + key})
	}
	return u.stores[key]
}

// use asks for each key's token in turn.
func (u *users) use(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if got := access(u.Token(t.Context(), key)); got != "of "+key {
			t.Errorf("%s has %s", key, got)
		}
		synctest.Wait() // for what is dropped
	}
}

func (u *users) expectMade(t *testing.T, want map[string]int) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if diff := cmp.Diff(want, u.made); diff != "" {
		t.Errorf("Sessions made (-want +got):\n%s", diff)
	}
}

func TestSessionsByKey(t *testing.T) {
	u, ctx := newUsers(0), t.Context()
	for range 2 {
		for _, key := range []string{"alice", "bob"} {
			if got := access(u.Token(ctx, key)); got != "of "+key {
				t.Errorf("%s has %s", key, got)
			}
		}
	}
	u.expectMade(t, map[string]int{"alice": 1, "bob": 1})
	token, _ := u.Token(ctx, "alice")
	if got := access(u.Renew(ctx, "alice", token)); got != "access-1" {
		t.Errorf("Renew = %s", got)
	}
	if got := access(u.Renew(ctx, "alice", token)); got != "access-1" {
		t.Errorf("Renew of a token that is replaced = %s", got)
	}
	if got := access(u.Token(ctx, "bob")); got != "of bob" {
		t.Errorf("bob has %s", got)
	}
	if err := u.Set(ctx, "bob", &oauth2.Token{AccessToken: "set"}); err != nil {
		t.Error(err)
	}
	if err := u.Clear(ctx, "alice"); err != nil {
		t.Error(err)
	}
	if err := u.Wait(ctx); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{"alice": "", "bob": "set"} {
		if got := u.stores[key].holds(); got != want {
			t.Errorf("%s's Store holds %q, want %q", key, got, want)
		}
	}
	if n := u.Len(); n != 2 {
		t.Errorf("%d Sessions, want 2", n)
	}
}

func TestSessionsOfTheContext(t *testing.T) {
	type userKey struct{}
	errWho := errors.New("whose request is it?")
	u := newUsers(0)
	source := u.Source(func(ctx context.Context) (string, error) {
		key, ok := ctx.Value(userKey{}).(string)
		if !ok {
			return "", errWho
		}
		return key, nil
	})
	of := func(key string) context.Context { return context.WithValue(t.Context(), userKey{}, key) }
	first, err := source.Token(of("alice"))
	if got := access(first, err); got != "of alice" {
		t.Errorf("Token = %s", got)
	}
	if got := access(source.Renew(of("alice"), first)); got != "access-1" {
		t.Errorf("Renew = %s", got)
	}
	// A token of hers is none of his.
	if got := access(source.Renew(of("bob"), first)); got != "of bob" {
		t.Errorf("Renew = %s", got)
	}
	for _, tc := range []struct {
		source tokensource.Renewer
		ctx    context.Context
		want   error
	}{
		{source, t.Context(), errWho},
		{source, of(""), tokensource.ErrNoToken},
		{u.Source(nil), of("alice"), nil},
		{(&tokensource.Sessions{}).Source(func(context.Context) (string, error) { return "x", nil }), t.Context(), nil},
		{(&tokensource.Sessions{New: func(string) *tokensource.Session { return nil }}).Source(func(context.Context) (string, error) { return "x", nil }), t.Context(), nil},
		{(&tokensource.Sessions{New: func(string) *tokensource.Session { panic("s3cret") }}).Source(func(context.Context) (string, error) { return "x", nil }), t.Context(), nil},
	} {
		token, err := tc.source.Token(tc.ctx)
		token2, err2 := tc.source.Renew(tc.ctx, first)
		if token != nil || token2 != nil || err == nil || err2 == nil || tc.want != nil && (err != tc.want || err2 != tc.want) {
			t.Errorf("got %s and %s, want an error, %v", access(token, err), access(token2, err2), tc.want)
		}
	}
}

func TestSessionsKeepTheUsed(t *testing.T) {
	bubble(t, "the least recently used goes", func(t *testing.T) {
		u := newUsers(3)
		u.use(t, "a", "b", "c", "d") // at d, everybody was used since, so a goes
		u.expectMade(t, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
		u.use(t, "b", "e") // so c goes
		u.use(t, "b", "d", "e")
		u.expectMade(t, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})
		u.use(t, "c", "a")
		u.expectMade(t, map[string]int{"a": 2, "b": 1, "c": 2, "d": 1, "e": 1})
		if n := u.Len(); n != 3 {
			t.Errorf("%d Sessions, want 3", n)
		}
	})
	bubble(t, "any number", func(t *testing.T) {
		u := newUsers(-1)
		for n := range 1000 {
			u.use(t, fmt.Sprint(n))
		}
		if n := u.Len(); n != 1000 {
			t.Errorf("%d Sessions, want 1000", n)
		}
	})
	bubble(t, "a call under way", func(t *testing.T) {
		u := newUsers(1)
		u.stores = map[string]*lockedStore{"slow": newLockedStore(nil)}
		u.grant.takes = 25 * time.Second
		u.stores["slow"].put(&oauth2.Token{RefreshToken: "refresh-0"})
		done := make(chan string)
		go func() { done <- access(u.Token(t.Context(), "slow")) }()
		synctest.Wait()
		u.use(t, "a", "b", "c")
		if got := <-done; got != "access-1" {
			t.Errorf("Token = %s", got)
		}
		if n := u.made["slow"]; n != 1 {
			t.Errorf("slow's Session was made %d times", n)
		}
	})
	bubble(t, "a renewal that nobody waits for", func(t *testing.T) {
		u := newUsers(1)
		u.stores = map[string]*lockedStore{"ahead": newLockedStore(nil)}
		u.grant.takes = 25 * time.Second
		u.stores["ahead"].put(&oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0", Expiry: time.Now().Add(time.Hour)})
		_ = access(u.Token(t.Context(), "ahead"))
		time.Sleep(58 * time.Minute)
		if got := access(u.Token(t.Context(), "ahead")); got != "access-0" {
			t.Fatalf("Token = %s", got)
		}
		for n := range 20 {
			u.use(t, fmt.Sprint(n))
			time.Sleep(time.Second)
		}
		if got := access(u.Token(t.Context(), "ahead")); got != "access-0" || u.made["ahead"] != 1 {
			t.Errorf("Token = %s, of Session %d", got, u.made["ahead"])
		}
		time.Sleep(time.Minute)
		u.use(t, "x", "y", "z")
		if got := u.stores["ahead"].holds(); got != "access-1" {
			t.Errorf("the Store holds %q", got)
		}
		if n := u.Len(); n > 2 {
			t.Errorf("%d Sessions; those that are not needed have to go", n)
		}
	})
	bubble(t, "a token that is not saved", func(t *testing.T) {
		u := newUsers(1)
		u.mu.Lock()
		store := u.store("unsaved")
		u.mu.Unlock()
		token, err := u.Token(t.Context(), "unsaved")
		if err != nil {
			t.Fatal(err)
		}
		store.saveErr = errDown
		if got := access(u.Renew(t.Context(), "unsaved", token)); got != "access-1" {
			t.Fatalf("Renew = %s", got)
		}
		for n := range 20 {
			u.use(t, fmt.Sprint(n))
			time.Sleep(time.Minute)
		}
		if got := access(u.Token(t.Context(), "unsaved")); got != "access-1" || u.made["unsaved"] != 1 {
			t.Errorf("Token = %s, of Session %d", got, u.made["unsaved"])
		}
		synctest.Wait()
		store.saveErr = nil
		time.Sleep(time.Hour)
		u.use(t, "x", "y", "z", "x", "y", "z")
		if got := store.holds(); got != "access-1" {
			t.Errorf("the Store holds %q: it was not saved before it was dropped", got)
		}
		if n := u.Len(); n != 1 {
			t.Errorf("%d Sessions, want 1", n)
		}
	})
	bubble(t, "without a Store", func(t *testing.T) {
		tokens := map[string]*oauth2.Token{
			"refresh": {RefreshToken: "refresh-0"},
			"hour":    {AccessToken: "access", Expiry: time.Now().Add(time.Hour)},
		}
		made := make(map[string]int)
		s := &tokensource.Sessions{Max: 1, New: func(key string) *tokensource.Session {
			made[key]++
			return &tokensource.Session{Grant: failingGrant(errDown)}
		}}
		for _, key := range []string{"refresh", "hour"} {
			if err := s.Set(t.Context(), key, tokens[key]); err != nil {
				t.Fatal(err)
			}
		}
		fill := func(from int) {
			for n := range 5 {
				_, _ = s.Token(t.Context(), fmt.Sprint(from+n))
				synctest.Wait()
			}
		}
		fill(0)
		if got := access(s.Token(t.Context(), "hour")); got != "access" {
			t.Errorf("Token = %s", got)
		}
		time.Sleep(2 * time.Hour)
		fill(10)
		_, _ = s.Token(t.Context(), "refresh")
		_, _ = s.Token(t.Context(), "hour")
		if made["refresh"] != 1 || made["hour"] != 2 {
			t.Errorf("made %d and %d, want 1 and 2", made["refresh"], made["hour"])
		}
		synctest.Wait()
	})
}

// What was rejected is known by its text to a Session made anew.
func TestSessionsRejectedBeforeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers(1)
		token, err := u.Token(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		u.use(t, "bob", "carol")
		if got := access(u.Renew(t.Context(), "alice", token)); got != "access-1" || u.made["alice"] != 2 {
			t.Errorf("Renew = %s, of Session %d", got, u.made["alice"])
		}
		if got := access(u.Renew(t.Context(), "alice", nil)); got != "access-1" {
			t.Errorf("Renew of none = %s", got)
		}
		synctest.Wait()
	})
}

// Many users, more than there is room for, none of whom ever gets another's token or
// loses one that was renewed.
func TestSessionsUnderChurn(t *testing.T) {
	const keys, callers, calls = 50, 20, 200
	u := newUsers(5)
	u.grant.answer = func(_ context.Context, n int, current *oauth2.Token) (*oauth2.Token, error) {
		// A refresh token is good once.
		_, name, _ := strings.Cut(current.RefreshToken, " of ")
		return &oauth2.Token{AccessToken: "of " + name, RefreshToken: fmt.Sprint(n, " of ", name)}, nil
	}
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range calls {
				key := fmt.Sprint((i*7 + c*13) % keys)
				token, err := u.Token(t.Context(), key)
				if err == nil && i%10 == 0 {
					token, err = u.Renew(t.Context(), key, token)
				}
				if err != nil && !errors.Is(err, tokensource.ErrRenewalLimit) || err == nil && token.AccessToken != "of "+key {
					t.Errorf("%s has %s", key, access(token, err))
				}
			}
		})
	}
	all.Wait()
	u.grant.mu.Lock()
	defer u.grant.mu.Unlock()
	seen := make(map[string]int)
	for _, refresh := range u.grant.seen {
		if seen[refresh]++; seen[refresh] > 1 {
			t.Errorf("refresh token %q was presented %d times", refresh, seen[refresh])
		}
	}
	// Now that nothing has to stay, new keys find room.
	for n := 0; u.Len() > 5; n++ {
		if n > 10_000 {
			t.Fatalf("%d Sessions, want 5", u.Len())
		}
		_, _ = u.Token(t.Context(), fmt.Sprint("more ", n))
		time.Sleep(time.Millisecond)
	}
}

func TestSessionsWait(t *testing.T) {
	u := newUsers(0)
	for _, key := range []string{"alice", "bob"} {
		u.mu.Lock()
		u.store(key).saveErr = errDown
		u.mu.Unlock()
		if err := u.Set(t.Context(), key, &oauth2.Token{AccessToken: "set"}); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
	}
	u.stores["bob"].saveErr = nil
	if err := u.Wait(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("Wait = %v, want alice's Store's error", err)
	}
	if got := u.stores["bob"].holds(); got != "set" {
		t.Errorf("bob's Store holds %q", got)
	}
}

// Whoever is signed in costs what their token does, while nobody asks: the bubble
// would not end with a goroutine in it.
func TestSessionsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		s := &tokensource.Sessions{New: func(string) *tokensource.Session { return &tokensource.Session{} }}
		before := runtime.NumGoroutine()
		for i := range n {
			if err := s.Set(t.Context(), fmt.Sprint(i), expiring("access", time.Hour)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Token(t.Context(), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		// What other tests have left may have one of its own for a moment.
		if after := runtime.NumGoroutine(); after > before+n/100 {
			t.Errorf("%d goroutines for %d Sessions", after-before, n)
		}
		key := "77"
		if got := testing.AllocsPerRun(100, func() { _, _ = s.Token(t.Context(), key) }); got != 0 {
			t.Errorf("Token allocates %v times", got)
		}
	})
}

func TestSessionsPrintNothing(t *testing.T) {
	u := newUsers(0)
	_, _ = u.Token(t.Context(), "s3cret")
	text, err := json.Marshal(&u.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(&u.Sessions), fmt.Sprintf("%+v", &u.Sessions), fmt.Sprintf("%#v", &u.Sessions), string(text)} {
		if strings.Trim(got, `"`) != "tokensource.Sessions(1)" {
			t.Errorf("printed as %s", got)
		}
	}
}
