package tokensource_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

var (
	key1 = bytes.Repeat([]byte{1}, 32)
	key2 = bytes.Repeat([]byte{2}, 32)
)

func TestSealed(t *testing.T) {
	ctx := t.Context()
	store := &fakeStore{}
	for n := range 3 {
		record := fmt.Appendf(nil, `{"access_token":"s3cret-%d"}`, n)
		if err := tokensource.Sealed(&raw{store}, "name", key1).Save(ctx, record); err != nil {
			t.Fatal(err)
		}
		text := string(store.text)
		if !strings.HasPrefix(text, "authtrip-sealed:1:") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("saved %q, want one line of ASCII", text)
		}
		for name, s := range map[string]tokensource.Store{
			"the same key":       tokensource.Sealed(store, "name", key1),
			"the second key":     tokensource.Sealed(store, "name", key2, key1),
			"a file with a line": tokensource.Sealed(&fakeStore{text: []byte(text + "\r\n")}, "name", key1),
		} {
			if got, err := s.Load(ctx); string(got) != string(record) || err != nil {
				t.Errorf("%s: %q, %v; want %q", name, got, err, record)
			}
		}
	}
}

// raw saves what fakeStore would not read.
type raw struct{ *fakeStore }

func (r *raw) Save(_ context.Context, text []byte) error { r.set(text); return nil }

func TestSealedRefuses(t *testing.T) {
	ctx := t.Context()
	store := &raw{&fakeStore{}}
	if err := tokensource.Sealed(store, "name", key1).Save(ctx, []byte(`{"access_token":"s3cret"}`)); err != nil {
		t.Fatal(err)
	}
	whole := string(store.text)
	flipped := func(at int) string {
		box, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(whole, "authtrip-sealed:1:"))
		box[(at+len(box))%len(box)] ^= 1
		return "authtrip-sealed:1:" + base64.RawURLEncoding.EncodeToString(box)
	}
	for name, tc := range map[string]struct {
		text, name string
		key        []byte
	}{
		"another key":      {whole, "name", key2},
		"another name":     {whole, "other", key1},
		"a longer name":    {whole, "name2", key1},
		"cut off":          {whole[:len(whole)-4], "name", key1},
		"cut to the salt":  {whole[:30], "name", key1},
		"the prefix alone": {"authtrip-sealed:1:", "name", key1},
		"salt changed":     {flipped(0), "name", key1},
		"text changed":     {flipped(30), "name", key1},
		"tag changed":      {flipped(-1), "name", key1},
		"not base64":       {whole[:40] + "!" + whole[41:], "name", key1},
		"not sealed":       {`{"access_token":"s3cret"}`, "name", key1},
		"a newer seal":     {strings.Replace(whole, ":1:", ":2:", 1), "name", key1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tokensource.Sealed(&fakeStore{text: []byte(tc.text)}, tc.name, tc.key).Load(ctx)
			if got != nil || !errors.Is(err, tokensource.ErrUnreadable) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("Load = %q, %v; want ErrUnreadable", got, err)
			}
		})
	}
	for name, s := range map[string]tokensource.Store{
		"no key":               tokensource.Sealed(store, "name"),
		"a nil key":            tokensource.Sealed(store, "name", nil),
		"a short key":          tokensource.Sealed(store, "name", key1[:16]),
		"a second one is long": tokensource.Sealed(store, "name", key1, append(key2, 2)),
		"no store":             tokensource.Sealed(nil, "name", key1),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := s.Load(ctx); got != nil || err == nil {
				t.Errorf("Load = %q, %v; want an error", got, err)
			}
			if err := s.Save(ctx, []byte("{}")); err == nil {
				t.Error("Save = nil, want an error")
			}
			if string(store.text) != whole {
				t.Error("Save has changed the store")
			}
		})
	}
	for _, nothing := range []string{"", " \n", "null"} {
		if got, err := tokensource.Sealed(&fakeStore{text: []byte(nothing)}, "name", key1).Load(ctx); len(got) != 0 || err != nil {
			t.Errorf("Load of %q = %q, %v; want nothing", nothing, got, err)
		}
	}
}

// Two records of the same text look different: whoever sees the store does not see
// whether something has changed.
func TestSealedTwice(t *testing.T) {
	store := &raw{&fakeStore{}}
	seen := make(map[string]bool)
	for range 10 {
		if err := tokensource.Sealed(store, "name", key1).Save(t.Context(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		seen[string(store.text)] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d texts of 10 saves", len(seen))
	}
}

func TestSealedHasTheLockOfItsStore(t *testing.T) {
	if _, ok := tokensource.Sealed(&fakeStore{}, "name", key1).(tokensource.Locker); ok {
		t.Error("a Store without a lock has one when it is sealed")
	}
	locker, ok := tokensource.Sealed(newLockedStore(nil), "name", key1).(tokensource.Locker)
	if !ok {
		t.Fatal("a Store with a lock has none when it is sealed")
	}
	unlock, err := locker.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// The keys are the Store's own: a caller may wipe its copy.
func TestSealedCopiesItsKeys(t *testing.T) {
	key := bytes.Clone(key1)
	store := &raw{&fakeStore{}}
	s := tokensource.Sealed(store, "name", key)
	clear(key)
	if err := s.Save(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := tokensource.Sealed(store, "name", key1).Load(t.Context()); string(got) != "{}" {
		t.Errorf("%q, %v", got, err)
	}
}

// A process that lacks the key that another one has sealed with does not renew, and
// does not write. Signing in again is what replaces it.
func TestSessionWithAnUnknownKey(t *testing.T) {
	store := &raw{&fakeStore{}}
	g := &fakeGrant{}
	old := &tokensource.Session{Store: tokensource.Sealed(store, "name", key1), Grant: g.grant}
	first := signedIn(t, old, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
	rotated := &tokensource.Session{Store: tokensource.Sealed(store, "name", key2, key1), Grant: g.grant}
	second, err := rotated.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rotated.Renew(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	sealed := string(store.text)
	if _, err := old.Renew(t.Context(), first); !errors.Is(err, tokensource.ErrUnreadable) {
		t.Errorf("Renew = %v, want ErrUnreadable", err)
	}
	if n := g.calls(); n != 1 || string(store.text) != sealed {
		t.Errorf("%d exchanges; the store was written: %v", n, string(store.text) != sealed)
	}
	if err := old.Set(t.Context(), &oauth2.Token{AccessToken: "again"}); err != nil {
		t.Fatal(err)
	}
	if err := rotated.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := access(rotated.Token(t.Context())); got != "again" {
		t.Errorf("Token = %s, want the new sign-in", got)
	}
}

// What is sealed is no larger than a Store has to take.
func TestSealedSize(t *testing.T) {
	store := &raw{&fakeStore{}}
	s := tokensource.Sealed(store, "name", key1)
	for size, fits := range map[int]bool{1: true, 767 << 10: true, 767<<10 + 1: false, 1 << 20: false} {
		store.set(nil)
		err := s.Save(t.Context(), bytes.Repeat([]byte("x"), size))
		if (err == nil) != fits || len(store.text) > 1<<20 || (store.text != nil) != fits {
			t.Errorf("%d bytes: %v, and the store has %d", size, err, len(store.text))
		}
	}
}
