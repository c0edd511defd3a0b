package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

func token(n int) *oauth2.Token {
	return &oauth2.Token{AccessToken: fmt.Sprint("access-", n), RefreshToken: fmt.Sprint("refresh-", n)}
}

// expectToken fails the test unless s has a record of token n.
func expectToken(t *testing.T, s tokensource.Store, n int) {
	t.Helper()
	text, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := tokensource.ParseRecord(text)
	if err != nil {
		t.Fatal(err)
	}
	if r.Token == nil || r.Token.AccessToken != token(n).AccessToken {
		t.Errorf("stored is %v, want token %d", r, n)
	}
}

// While Redis is away, a token that is good goes on being handed out, nothing is
// exchanged, and the error of who needs a new one says why. When it is back, so is
// the Session.
func TestSessionWithoutRedis(t *testing.T) {
	server, client := start(t)
	exchanges := 0
	session := &tokensource.Session{
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			exchanges++
			return token(2), nil
		},
		Store:   &redisstore.Store{Client: client, Key: "alice"},
		Timeout: 2 * time.Second,
	}
	ctx := t.Context()
	if err := session.Set(ctx, token(1)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	first, err := session.Token(ctx)
	if err != nil {
		t.Fatalf("a good token without Redis: %v", err)
	}
	if _, err := session.Renew(ctx, first); err == nil {
		t.Error("renewed without the lock")
	} else if _, ok := errors.AsType[*tokensource.RetryError](err); !ok {
		t.Errorf("got %v, want a RetryError", err)
	}
	if again, err := session.Token(ctx); err != nil || again != first {
		t.Errorf("after that: %v, %v", again, err)
	}
	if exchanges != 0 {
		t.Errorf("%d exchanges without the lock", exchanges)
	}
	server.Restart()
	until(t, "the token is renewed", func() bool {
		got, err := session.Renew(ctx, first)
		return err == nil && got.AccessToken == "access-2"
	})
	if exchanges != 1 {
		t.Errorf("%d exchanges, want 1", exchanges)
	}
	expectToken(t, session.Store, 2)
}

// What Redis has evicted is in the memory of whoever has renewed it, and is saved by
// the next renewal.
func TestSessionAfterEviction(t *testing.T) {
	s := newStore(t)
	var presented []string
	session := &tokensource.Session{Store: s, Grant: func(_ context.Context, current *oauth2.Token) (*oauth2.Token, error) {
		presented = append(presented, current.RefreshToken)
		return token(2), nil
	}}
	if err := session.Set(t.Context(), token(1)); err != nil {
		t.Fatal(err)
	}
	first, err := session.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Del(t.Context(), name, ledger).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Renew(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if len(presented) != 1 || presented[0] != "refresh-1" {
		t.Errorf("presented %q", presented)
	}
	expectToken(t, another(s), 2)
}

// A Session whose process was stopped past the lock's time, in the middle of an
// exchange, gives way to what another has saved by then.
func TestSessionGivesWay(t *testing.T) {
	_, client := start(t)
	ctx := t.Context()
	exchanging, resume := make(chan struct{}), make(chan struct{})
	newSession := func(grant tokensource.Grant) *tokensource.Session {
		return &tokensource.Session{Grant: grant, Store: &redisstore.Store{Client: client, Key: "alice", LockTTL: time.Minute}}
	}
	stalled := newSession(func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		close(exchanging)
		<-resume
		return token(2), nil
	})
	other := newSession(func(context.Context, *oauth2.Token) (*oauth2.Token, error) { return token(3), nil })
	if err := stalled.Set(ctx, token(1)); err != nil {
		t.Fatal(err)
	}
	first, err := stalled.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	renewed := make(chan string)
	go func() {
		got, err := stalled.Renew(ctx, first)
		if err != nil {
			t.Error(err)
			got = new(oauth2.Token)
		}
		renewed <- got.AccessToken
	}()
	<-exchanging
	lapse(t, stalled.Store.(*redisstore.Store))
	current, err := other.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Renew(ctx, current); err != nil {
		t.Fatal(err)
	}
	if err := other.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	if err := other.Set(ctx, token(4)); err != nil {
		t.Fatal(err)
	}
	close(resume)
	if got := <-renewed; got != "access-4" {
		t.Errorf("it has %q, want what was saved since", got)
	}
	expectToken(t, other.Store, 4)
}
