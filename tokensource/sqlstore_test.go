package tokensource_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// sqlPatience bounds waits that end by themselves.
const sqlPatience = 30 * time.Second

// newSQLStores returns stores of the same name, as of several processes. Each call has its
// own name.
func newSQLStores(t *testing.T, n int) []*sqlStore {
	t.Helper()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), createTable); err != nil {
		t.Fatal(err)
	}
	name, stores := rand.Text(), make([]*sqlStore, n)
	for i := range stores {
		stores[i] = &sqlStore{db: db, name: name}
	}
	return stores
}

func lockSQL(t *testing.T, s *sqlStore) (unlock func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sqlPatience)
	defer cancel()
	unlock, err := s.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

func TestSQLStoreKeepsRecords(t *testing.T) {
	s := newSQLStores(t, 1)[0]
	for _, tt := range []struct {
		name   string
		record []byte
	}{
		{"none", nil},
		{"text", []byte(`{"access_token":"a"}` + "\n")},
		{"shorter", []byte("{}")},
		{"bytes that are not text", []byte("\x00\xff'\\")},
		{"the largest", bytes.Repeat([]byte("x"), 1<<20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.record != nil {
				if err := s.Save(t.Context(), tt.record); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, tt.record) { // cmp.Diff takes seconds for the largest
				t.Errorf("Load returned %d bytes %.20q, want %d bytes %.20q", len(got), got, len(tt.record), tt.record)
			}
		})
	}
}

func TestSQLStoreLocks(t *testing.T) {
	stores := newSQLStores(t, 2)
	unlock := lockSQL(t, stores[0])

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := stores[1].Lock(ctx); err == nil {
		t.Fatal("two stores have the lock")
	} else if ctx.Err() == nil {
		t.Fatalf("Lock gave up before its context ended: %v", err)
	}

	// The holder can read and write, and others can read.
	if err := stores[0].Save(t.Context(), []byte("{}")); err != nil {
		t.Error(err)
	}
	for _, s := range stores {
		if got, err := s.Load(t.Context()); err != nil || string(got) != "{}" {
			t.Errorf("Load() = %q, %v", got, err)
		}
	}

	unlock()
	lockSQL(t, stores[1])() // the one that gave up has left nothing behind
	lockSQL(t, stores[0])()
	if n := stores[0].db.Stats().InUse; n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
}

// The lock of one identity does not keep the others waiting.
func TestSQLStoreLocksOneName(t *testing.T) {
	stores := newSQLStores(t, 2)
	stores[1].name += "another"
	unlock := lockSQL(t, stores[0])
	defer unlock()
	lockSQL(t, stores[1])()
}

func TestSQLStoreLockEndsWithItsConnection(t *testing.T) {
	stores := newSQLStores(t, 2)
	unlock := lockSQL(t, stores[0])
	discard(stores[0].held)

	next := lockSQL(t, stores[1])
	if err := stores[1].Save(t.Context(), []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if err := stores[0].Save(t.Context(), []byte("older")); err == nil {
		t.Error("a store that has lost its lock has saved")
	}
	unlock() // does no harm to the next holder
	if got, err := stores[1].Load(t.Context()); err != nil || string(got) != "newer" {
		t.Errorf("Load() = %q, %v", got, err)
	}
	next()
	if err := stores[0].Save(t.Context(), []byte("newest")); err != nil {
		t.Errorf("after unlock: %v", err)
	}
}

// A pool of one connection is enough for one holder. Another one waits until its context
// ends.
func TestSQLStoreNeedsOneConnection(t *testing.T) {
	stores := newSQLStores(t, 2)
	stores[0].db.SetMaxOpenConns(1)
	unlock := lockSQL(t, stores[0])
	defer unlock()
	if _, err := stores[0].Load(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := stores[1].Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock() = %v, want the context's error", err)
	}
}

// Eight processes of ten callers go through five tokens: five exchanges, and no refresh
// token is used twice.
func TestSQLStoreSharesRenewals(t *testing.T) {
	const processes, callers, renewals = 8, 10, 5
	stores := newSQLStores(t, processes)
	var mu sync.Mutex
	current, reused := 1, 0
	grant := func(_ context.Context, old *oauth2.Token) (*oauth2.Token, error) {
		mu.Lock()
		defer mu.Unlock()
		if old.RefreshToken != sqlToken(current).RefreshToken {
			reused++
		}
		current++
		return sqlToken(current), nil
	}
	sessions := make([]*tokensource.Session, processes)
	for i, s := range stores {
		sessions[i] = &tokensource.Session{Grant: grant, Store: s, MaxForced: -1}
	}
	if err := sessions[0].Set(t.Context(), sqlToken(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), sqlPatience)
	defer cancel()
	for range renewals {
		var failed atomic.Pointer[error]
		var herd sync.WaitGroup
		rejected := make([]*oauth2.Token, processes)
		for i, session := range sessions {
			var err error
			if rejected[i], err = session.Token(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for i, session := range sessions {
			for range callers {
				herd.Go(func() {
					if _, err := session.Renew(ctx, rejected[i]); err != nil {
						failed.Store(&err)
					}
				})
			}
		}
		herd.Wait()
		if err := failed.Load(); err != nil {
			t.Fatal(*err)
		}
	}
	if current != 1+renewals || reused > 0 {
		t.Errorf("%d exchanges, want %d; %d with a refresh token that was used", current-1, renewals, reused)
	}
}

func sqlToken(n int) *oauth2.Token {
	serial := string(rune('0' + n))
	return &oauth2.Token{AccessToken: "access-" + serial, RefreshToken: "refresh-" + serial}
}
