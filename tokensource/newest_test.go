package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// A process is a Session that shares a Store with others. Its grant answers with its own
// name: "a-1", "a-2" and so on.
type process struct {
	*tokensource.Session
	*fakeGrant
	events
}

func newProcess(name string, store tokensource.Store) *process {
	p := &process{fakeGrant: &fakeGrant{lifetime: time.Hour}}
	p.answer = func(_ context.Context, n int, current *oauth2.Token) (*oauth2.Token, error) {
		if current == nil {
			return nil, tokensource.ErrNoToken
		}
		id := name + "-" + string(rune('0'+n))
		return &oauth2.Token{AccessToken: id, RefreshToken: "of " + id, Expiry: time.Now().Add(time.Hour)}, nil
	}
	p.Session = &tokensource.Session{Store: store, Grant: p.grant, OnEvent: p.on}
	return p
}

func (p *process) signIn(t *testing.T, name string) {
	t.Helper()
	if err := p.Set(t.Context(), &oauth2.Token{AccessToken: name, RefreshToken: "of " + name, Expiry: time.Now().Add(time.Hour)}); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

// token is what the process holds, without asking anybody.
func (p *process) token() string {
	token, _ := p.Current()
	if token == nil {
		return ""
	}
	return token.AccessToken
}

// renew has the process renew what it holds.
func (p *process) renew(t *testing.T) string {
	t.Helper()
	token, _ := p.Current()
	return access(p.Renew(t.Context(), token))
}

// Whatever the processes have done to their Store, the newest record counts, for the
// Store and for each of them.
func TestTheNewestRecordCounts(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, store *lockedStore, a, b *process) // a is signed in with "0", and b has found that
		want string                                                // everywhere, after all have been asked for a token
	}{
		{"a renewal", func(t *testing.T, _ *lockedStore, a, b *process) {
			a.renew(t)
			b.renew(t)
		}, "a-1"},
		{"a sign-in elsewhere after one that could not be saved", func(t *testing.T, store *lockedStore, a, b *process) {
			store.saveErr, store.loadErr = errDown, errDown
			_ = a.Set(t.Context(), &oauth2.Token{AccessToken: "lost", RefreshToken: "of lost"})
			store.saveErr, store.loadErr = nil, nil
			time.Sleep(time.Millisecond)
			b.signIn(t, "later")
		}, "later"},
		{"a sign-in that could not be saved after one elsewhere", func(t *testing.T, store *lockedStore, a, b *process) {
			b.signIn(t, "earlier")
			time.Sleep(time.Millisecond)
			store.lockErr = errDown
			_ = a.Set(t.Context(), &oauth2.Token{AccessToken: "later", RefreshToken: "of later"})
			store.lockErr = nil
		}, "later"},
		{"a sign-in elsewhere after a sign-out that could not be saved", func(t *testing.T, store *lockedStore, a, b *process) {
			store.clearErr = errDown
			_ = a.Clear(t.Context())
			store.clearErr = nil
			time.Sleep(time.Millisecond)
			b.signIn(t, "later")
		}, "later"},
		{"a sign-in while another process renews the session before", func(t *testing.T, _ *lockedStore, a, b *process) {
			b.takes = time.Second
			go b.renew(t)
			synctest.Wait()
			a.signIn(t, "again") // waits for the lock, and is above what b has saved
		}, "again"},
		{"many renewals elsewhere before a sign-in", func(t *testing.T, _ *lockedStore, a, b *process) {
			for range 5 {
				b.renew(t)
			}
			a.signIn(t, "again")
		}, "again"},
		{"many renewals in a process that has not seen the sign-in", func(t *testing.T, store *lockedStore, a, b *process) {
			store.saveErr = errDown
			for range 5 {
				b.renew(t)
			}
			store.saveErr = nil
			time.Sleep(time.Millisecond)
			a.signIn(t, "again")
		}, "again"},
		{"a store that goes back to before a renewal", func(t *testing.T, store *lockedStore, a, _ *process) {
			old := store.text
			a.renew(t)
			store.set(old)
		}, "a-1"},
		{"a store that goes back to before a sign-in", func(t *testing.T, store *lockedStore, a, _ *process) {
			old := store.text
			time.Sleep(time.Millisecond)
			a.signIn(t, "again")
			store.set(old)
		}, "again"},
		{"a store that has lost everything", func(_ *testing.T, store *lockedStore, _, _ *process) { store.set(nil) }, "0"},
		{"a store that is empty after a sign-out", func(t *testing.T, store *lockedStore, a, _ *process) {
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			store.set(nil)
		}, ""},
		{"a sign-out", func(t *testing.T, _ *lockedStore, a, _ *process) { _ = a.Clear(t.Context()) }, ""},
		{"a sign-out while another process renews", func(t *testing.T, _ *lockedStore, a, b *process) {
			b.takes = time.Second
			go b.renew(t)
			synctest.Wait()
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"a sign-out without the lock while another process renews", func(t *testing.T, store *lockedStore, a, b *process) {
			b.takes = time.Second
			go b.renew(t)
			synctest.Wait()
			a.Store = store.fakeStore // as a Store is that cannot be locked
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}, ""},
		{"a sign-in that has a clock which is behind", func(t *testing.T, store *lockedStore, a, _ *process) {
			store.set(shifted(t, store.text, time.Hour))
			a.signIn(t, "again")
		}, "again"},
		{"a sign-out that has a clock which is behind", func(t *testing.T, store *lockedStore, a, _ *process) {
			store.set(shifted(t, store.text, 24*365*time.Hour))
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"a renewal of another program", func(_ *testing.T, store *lockedStore, _, _ *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
		}, "theirs"},
		{"a renewal of what another program has left", func(t *testing.T, store *lockedStore, a, b *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
			a.renew(t)
			a.renew(t)
			b.renew(t)
		}, "a-1"},
		{"another program that writes the token anew", func(_ *testing.T, store *lockedStore, _, _ *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "0", RefreshToken: "of 0"}))
		}, "0"},
		{"another program that writes the token of before", func(t *testing.T, store *lockedStore, a, b *process) {
			a.renew(t)
			b.renew(t)
			store.set(foreign(&oauth2.Token{AccessToken: "0", RefreshToken: "of 0"}))
		}, "a-1"},
		{"another program that signs in after a sign-out", func(t *testing.T, store *lockedStore, a, b *process) {
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = b.renew(t)
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
		}, "theirs"},
		{"another program that writes what was signed out", func(t *testing.T, store *lockedStore, a, b *process) {
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = b.renew(t)
			store.set(foreign(&oauth2.Token{AccessToken: "0", RefreshToken: "of 0"}))
		}, ""},
		{"another program that keeps the member authtrip for a token of its own", func(t *testing.T, store *lockedStore, _, _ *process) {
			var all map[string]any
			if err := json.Unmarshal(store.text, &all); err != nil {
				t.Fatal(err)
			}
			all["access_token"], all["refresh_token"] = "theirs", "of theirs"
			text, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			store.set(text)
		}, "theirs"},
		{"a sign-in that could not be saved after another program", func(t *testing.T, store *lockedStore, a, b *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
			_ = errors.Join(a.Reload(t.Context()), b.Reload(t.Context()))
			store.saveErr = errDown
			_ = a.Set(t.Context(), &oauth2.Token{AccessToken: "later", RefreshToken: "of later"})
			store.saveErr = nil
		}, "later"},
		{"a sign-out that could not be saved after another program", func(t *testing.T, store *lockedStore, a, _ *process) {
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
			store.clearErr = errDown
			_ = a.Clear(t.Context())
			store.clearErr = nil
		}, ""},
		{"another program during a renewal", func(t *testing.T, store *lockedStore, a, _ *process) {
			a.takes = time.Second
			go a.renew(t)
			synctest.Wait()
			store.set(foreign(&oauth2.Token{AccessToken: "theirs", RefreshToken: "of theirs"}))
			time.Sleep(time.Minute)
		}, "theirs"},
		{"a sign-out found while renewals fail", func(t *testing.T, _ *lockedStore, a, b *process) {
			b.answer = failing(errDown)
			b.renew(t)
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.renew(t)
		}, ""},
		{"a renewal that fails beside a slow sign-in", func(t *testing.T, store *lockedStore, a, _ *process) {
			a.answer = failing(errDown)
			store.onSave = func(context.Context, *oauth2.Token) { time.Sleep(time.Second) }
			done := make(chan error)
			go func() { done <- a.Set(t.Context(), &oauth2.Token{RefreshToken: "of later"}) }()
			synctest.Wait()
			_, _ = a.Token(t.Context())
			if err := <-done; err != nil {
				t.Error(err)
			}
			store.onSave = nil
			a.seen = nil // a failed exchange may be tried again
			a.answer = func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
				return &oauth2.Token{AccessToken: "later", RefreshToken: "r", Expiry: time.Now().Add(time.Hour)}, nil
			}
		}, "later"},
		{"a serial that is too large", func(t *testing.T, store *lockedStore, a, b *process) {
			store.set(edit(t, store.text, func(m map[string]any) { m["serial"] = json.Number("9007199254740991") }))
			_, _ = a.Reload(t.Context()), b.Reload(t.Context())
			a.renew(t)
		}, "a-1"},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			store := newLockedStore(nil)
			a, b := newProcess("a", store), newProcess("b", store)
			a.signIn(t, "0")
			if got := access(b.Token(t.Context())); got != "0" {
				t.Fatalf("b has %s", got)
			}
			time.Sleep(time.Millisecond)
			tc.do(t, store, a, b)
			// What could not be saved is saved when somebody asks, within a minute. Each process
			// then looks into the Store.
			for range 3 {
				time.Sleep(time.Minute)
				for _, p := range []*process{a, b} {
					_, _ = p.Token(t.Context())
					synctest.Wait()
					if err := errors.Join(p.Wait(t.Context()), p.Reload(t.Context())); err != nil {
						t.Error(err)
					}
				}
			}
			if got := store.holds(); got != tc.want {
				t.Errorf("the store holds %q, want %q", got, tc.want)
			}
			for name, p := range map[string]*process{"a": a, "b": b} {
				if got := p.token(); got != tc.want {
					t.Errorf("%s holds %q, want %q", name, got, tc.want)
				}
				_, err := p.Token(t.Context())
				if signedOut := errors.Is(err, tokensource.ErrNoToken); signedOut != (tc.want == "") {
					t.Errorf("%s: Token = %v", name, err)
				}
			}
			seen := make(map[string]bool)
			for _, refresh := range append(a.seen, b.seen...) {
				if seen[refresh] {
					t.Errorf("refresh token %q was presented twice", refresh)
				}
				seen[refresh] = true
			}
		})
	}
}

// shifted is a record of a process whose clock is ahead by d.
func shifted(t *testing.T, text []byte, d time.Duration) []byte {
	return edit(t, text, func(m map[string]any) {
		for _, name := range []string{"signed", "at"} {
			at, err := time.Parse(time.RFC3339Nano, m[name].(string))
			if err != nil {
				t.Fatal(err)
			}
			m[name] = at.Add(d).Format(time.RFC3339Nano)
		}
	})
}

// A tombstone has nothing of the record that it replaces.
func TestTombstone(t *testing.T) {
	for name, out := range map[string]func(*process) error{
		"Clear":   func(p *process) error { return p.Clear(t.Context()) },
		"SignOut": func(p *process) error { return p.SignOut(t.Context(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			store := newLockedStore(nil)
			p := newProcess("a", store)
			store.set([]byte(`{"access_token":"a","refresh_token":"r","id_token":"id","profile":{"name":"alice"}}`))
			if _, err := p.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := out(p); err != nil {
				t.Fatal(err)
			}
			var all, member map[string]json.RawMessage
			if err := errors.Join(json.Unmarshal(store.text, &all), json.Unmarshal(all["authtrip"], &member)); err != nil {
				t.Fatal(err)
			}
			for _, names := range []map[string]json.RawMessage{all, member} {
				for name := range names {
					if !strings.Contains(" authtrip version of change signed at ", " "+name+" ") {
						t.Errorf("it has a member %s", name)
					}
				}
			}
		})
	}
}

// What a server has said once stays, over renewals that do not repeat it and over
// restarts. A new sign-in begins anew.
func TestExtraFieldsStay(t *testing.T) {
	store := &fakeStore{}
	first := newProcess("a", store)
	store.set([]byte(`{"access_token":"0","refresh_token":"r","id_token":"id-0","scope":"read","n":12345678901234567890,"list":[{"x":1e400}]}`))
	if _, err := first.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.renew(t)
	restarted := newProcess("b", store)
	token, err := restarted.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if token.Extra("id_token") != "id-0" || token.Extra("scope") != "read" {
		t.Errorf("after a restart: %v, %v", token.Extra("id_token"), token.Extra("scope"))
	}
	restarted.answer = func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
		return (&oauth2.Token{AccessToken: "b", RefreshToken: "rb"}).WithExtra(map[string]any{"id_token": "id-1", "scope": ""}), nil
	}
	restarted.renew(t)
	for _, part := range []string{`"id_token":"id-1"`, `"scope":"read"`, `"n":12345678901234567890`, `"list":[{"x":1e400}]`} {
		if !strings.Contains(string(store.text), part) {
			t.Errorf("%s is not in %s", part, store.text)
		}
	}
	restarted.signIn(t, "again")
	var all map[string]any
	if err := json.Unmarshal(store.text, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "authtrip")
	if diff := cmp.Diff(map[string]any{"access_token": "again", "refresh_token": "of again", "expiry": all["expiry"]}, all); diff != "" {
		t.Errorf("after another sign-in (-want +got):\n%s", diff)
	}
}

// A server that sends other fields each time does not make the record grow without end.
func TestExtraFieldsDoNotPileUp(t *testing.T) {
	store := &fakeStore{}
	p := newProcess("a", store)
	n := 0
	p.MaxForced = -1
	p.answer = func(context.Context, int, *oauth2.Token) (*oauth2.Token, error) {
		n++
		return (&oauth2.Token{AccessToken: "a", RefreshToken: "r"}).WithExtra(map[string]any{p.Extra[n%len(p.Extra)]: strings.Repeat("x", 100<<10)}), nil
	}
	for i := range 30 {
		p.Extra = append(p.Extra, fmt.Sprint("field-", i))
	}
	p.signIn(t, "0")
	for range 12 {
		p.renew(t)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatalf("after %d renewals: %v", n, err)
		}
	}
	if kept := len(store.text); kept < 100<<10 || kept > 1<<20 {
		t.Errorf("the record has %d bytes", kept)
	}
}

// A newer version's record is not understood, and not overwritten.
func TestRecordOfANewerVersionStays(t *testing.T) {
	store := newLockedStore(nil)
	p := newProcess("a", store)
	p.signIn(t, "0")
	newer := edit(t, store.text, func(m map[string]any) { m["version"] = 2 })
	store.set(newer)
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"Renew", func() error { token, _ := p.Current(); _, err := p.Renew(t.Context(), token); return err }},
		{"Set", func() error { return p.Set(t.Context(), &oauth2.Token{AccessToken: "again"}) }},
		{"Wait", func() error { return p.Wait(t.Context()) }},
		{"Reload", func() error { return p.Reload(t.Context()) }},
		{"SignOut", func() error { return p.SignOut(t.Context(), nil) }},
		{"Clear", func() error { return p.Clear(t.Context()) }},
		{"SignIn", func() error {
			return newProcess("b", store).SignIn(t.Context(), func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
				t.Error("obtain was called")
				return nil, errDown
			})
		}},
	} {
		if err := call.do(); err == nil || !strings.Contains(err.Error(), "upgrade this program") {
			t.Errorf("%s = %v, want an error that says what to do", call.name, err)
		}
		if string(store.text) != string(newer) {
			t.Fatalf("%s has overwritten the record", call.name)
		}
	}
	if len(p.seen) != 0 {
		t.Errorf("refresh tokens presented: %q", p.seen)
	}
}

// What cannot be read keeps a refresh token from being spent, and nothing else.
func TestUnreadableRecord(t *testing.T) {
	for _, text := range []string{`{"access_token":"a","refre`, "\x00\x00", "authtrip-sealed:1:AAAA", strings.Repeat("x", 2<<20)} {
		for name, tc := range map[string]struct {
			do    func(p *process) error
			wrote bool
		}{
			"Renew": {func(p *process) error {
				token, _ := p.Current()
				_, err := p.Renew(t.Context(), token)
				if !errors.Is(err, tokensource.ErrUnreadable) {
					t.Errorf("Renew = %v, want ErrUnreadable", err)
				}
				return nil
			}, false},
			"Renew without a refresh token": {func(p *process) error {
				s := tokensource.NewSession(func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
					return &oauth2.Token{AccessToken: "new"}, nil
				}, nil)
				s.Store = p.Store
				_, err := s.Token(t.Context())
				return err
			}, true},
			"Renew of a new process": {func(p *process) error {
				_, err := newProcess("b", p.Store).Token(t.Context())
				if !errors.Is(err, tokensource.ErrUnreadable) {
					t.Errorf("Token = %v, want ErrUnreadable", err)
				}
				return nil
			}, false},
			"Set":     {func(p *process) error { return p.Set(t.Context(), &oauth2.Token{AccessToken: "again"}) }, true},
			"Clear":   {func(p *process) error { return p.Clear(t.Context()) }, true},
			"SignOut": {func(p *process) error { return p.SignOut(t.Context(), nil) }, true},
			"SignIn": {func(p *process) error {
				return newProcess("b", p.Store).SignIn(t.Context(), func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
					return &oauth2.Token{AccessToken: "again"}, nil
				})
			}, true},
		} {
			t.Run(name, func(t *testing.T) {
				store := newLockedStore(nil)
				p := newProcess("a", store)
				p.signIn(t, "0")
				store.set([]byte(text))
				if err := tc.do(p); err != nil {
					t.Errorf("%.20q: %v", text, err)
				}
				if wrote := string(store.text) != text; wrote != tc.wrote {
					t.Errorf("%.20q: the store was written: %v, want %v", text, wrote, tc.wrote)
				}
				if len(p.seen) != 0 {
					t.Errorf("%.20q: refresh tokens presented: %q", text, p.seen)
				}
			})
		}
	}
}

// A refresh token is not sent by another client than the one that it belongs to.
func TestRecordOfAnotherClient(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"new","refresh_token":"r2"}`)}
	for name, tc := range map[string]struct {
		of   string
		sent int
	}{"the same": {"client", 1}, "unknown": {"", 1}, "another": {"other", 0}, "another case": {"Client", 0}} {
		t.Run(name, func(t *testing.T) {
			endpoint.requests = nil
			store := &fakeStore{text: tokensource.NewRecord(tokensource.Bind(&oauth2.Token{RefreshToken: "s3cret"}, tokensource.Binding{ClientID: tc.of}))}
			s := &tokensource.Session{Store: store, Grant: tokensource.RefreshToken(refreshConfig())}
			_, err := s.Token(endpoint.context(t.Context()))
			if refused := errors.Is(err, tokensource.ErrReauthRequired); refused != (tc.sent == 0) || err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("Token = %v", err)
			}
			if n := len(endpoint.got()); n != tc.sent {
				t.Errorf("%d requests, want %d", n, tc.sent)
			}
		})
	}
}

// Where nothing can be spent, a Store that fails in any way costs no token.
func TestNothingToSpend(t *testing.T) {
	hang := func(ctx context.Context) { <-ctx.Done() }
	for name, fail := range map[string]func(*lockedStore){
		"no lock":         func(s *lockedStore) { s.lockErr = errDown },
		"a held lock":     func(s *lockedStore) { s.held <- struct{}{} },
		"no load":         func(s *lockedStore) { s.loadErr = errDown },
		"a hanging load":  func(s *lockedStore) { s.onLoad, s.loadErr = hang, context.DeadlineExceeded },
		"no save":         func(s *lockedStore) { s.saveErr = errDown },
		"nothing at all":  func(s *lockedStore) { s.lockErr, s.loadErr, s.saveErr = errDown, errDown, errDown },
		"a panicking one": func(s *lockedStore) { s.onLoad = func(context.Context) { panic("boom") } },
	} {
		bubble(t, name, func(t *testing.T) {
			store := newLockedStore(nil)
			fail(store)
			g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
				return &oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(time.Hour)}, nil
			}}
			s := &tokensource.Session{Store: store, Grant: g.grant, Timeout: 8 * time.Second}
			for range 2 {
				token, err := s.Token(t.Context())
				if got := access(token, err); got != "token" {
					t.Fatalf("Token = %s", got)
				}
				if got := access(s.Renew(t.Context(), token)); got != "token" {
					t.Fatalf("Renew = %s", got)
				}
				time.Sleep(2 * time.Hour)
			}
		})
	}
}

// Without the lock a refresh token that turns up in the Store is not spent.
func TestNothingIsSpentWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLockedStore(nil)
		p := newProcess("a", store)
		store.held <- struct{}{}
		store.loadErr = errDown
		go func() { // another process signs in with a token that has expired
			time.Sleep(time.Second)
			store.mu.Lock()
			store.loadErr = nil
			store.mu.Unlock()
			store.put(expiring("0", -time.Hour))
		}()
		_, err := p.Token(t.Context())
		if _, ok := errors.AsType[*tokensource.RetryError](err); !ok {
			t.Errorf("Token = %v, want a RetryError", err)
		}
		if len(p.seen) != 0 {
			t.Errorf("refresh tokens presented: %q", p.seen)
		}
	})
}

// Event RefreshExpiring comes when a server says when the refresh token expires.
func TestRefreshExpiring(t *testing.T) {
	for name, tc := range map[string]struct {
		fields map[string]any
		want   time.Duration
	}{
		"Keycloak":          {map[string]any{"refresh_expires_in": 1800.0}, 30 * time.Minute},
		"GitHub":            {map[string]any{"refresh_token_expires_in": 15897600.0}, 184 * 24 * time.Hour},
		"QuickBooks":        {map[string]any{"x_refresh_token_expires_in": "3600"}, time.Hour},
		"not stated":        {map[string]any{}, 0},
		"does not expire":   {map[string]any{"refresh_expires_in": 0.0}, 0},
		"a negative number": {map[string]any{"refresh_expires_in": -1.0}, 0},
		"nonsense":          {map[string]any{"refresh_expires_in": []any{"x"}}, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			var ev events
			g := &fakeGrant{answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
				return (&oauth2.Token{AccessToken: "a", RefreshToken: "r"}).WithExtra(tc.fields), nil
			}}
			store := &fakeStore{}
			s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
			first := signedIn(t, s, &oauth2.Token{AccessToken: "0", RefreshToken: "r0"})
			if _, err := s.Renew(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			restarted := &tokensource.Session{Store: store, OnEvent: ev.on}
			if _, err := restarted.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []time.Duration
			for _, e := range ev.list() {
				if e.Kind == tokensource.EventRefreshExpiring {
					got = append(got, e.Lifetime)
				}
			}
			var want []time.Duration
			if tc.want > 0 {
				want = []time.Duration{tc.want, tc.want}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("refresh tokens expire in (-want +got):\n%s", diff)
			}
		})
	}
}
