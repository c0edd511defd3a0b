package tokensource_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestEventLogValue(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event tokensource.Event
		want  string
	}{
		{"zero", tokensource.Event{}, `{"kind":""}`},
		{"small", tokensource.Event{Kind: tokensource.EventCleared, Generation: 3}, `{"kind":"cleared","generation":3}`},
		{"full", tokensource.Event{
			Kind: tokensource.EventRenewalFailed, Generation: 7, Duration: time.Second, RetryIn: time.Minute, Lifetime: time.Hour, Err: errDown,
		}, `{"kind":"renewal_failed","generation":7,"duration":1000000000,"retry_in":60000000000,"lifetime":3600000000000,"error":"the server is down"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("", "event", tc.event)
			_, got, _ := strings.Cut(strings.TrimSpace(b.String()), `"event":`)
			if diff := cmp.Diff(tc.want+"}", got); diff != "" {
				t.Errorf("logged (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventsTellTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		store := &fakeStore{}
		answers := []error{errDown, nil, refused("invalid_grant")}
		g := &fakeGrant{takes: 100 * time.Millisecond, lifetime: time.Hour, answer: func(_ context.Context, n int, _ *oauth2.Token) (*oauth2.Token, error) {
			return nil, answers[n-1]
		}}
		s := &tokensource.Session{Grant: g.grant, Store: store, OnEvent: ev.on}
		token := signedIn(t, s, expiring("access-0", time.Minute))
		_, err := s.Renew(t.Context(), token)
		wait := retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
		time.Sleep(wait)
		if token, err = s.Renew(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		store.put(expiring("adopted", 2*time.Hour))
		if token, err = s.Renew(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Renew(t.Context(), token); !errors.Is(err, tokensource.ErrReauthRequired) {
			t.Fatal(err)
		}
		store.onClear = func(context.Context) { time.Sleep(time.Second) }
		if err := s.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		const takes = 100 * time.Millisecond
		want := []tokensource.Event{
			{Kind: tokensource.EventSet, Generation: 1, Lifetime: time.Minute},
			{Kind: tokensource.EventRenewalFailed, Generation: 1, Duration: takes, RetryIn: wait, Err: errDown},
			{Kind: tokensource.EventRenewed, Generation: 2, Duration: takes, Lifetime: time.Hour - takes},
			{Kind: tokensource.EventAdopted, Generation: 3, Lifetime: 2 * time.Hour},
			{Kind: tokensource.EventReauthRequired, Generation: 3, Duration: takes, Err: tokensource.ErrReauthRequired},
			{Kind: tokensource.EventCleared, Generation: 3, Duration: time.Second},
		}
		got := ev.list()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) || errors.Is(b, a) })); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A handler may sign in again. It is called when no lock is held, within the
// renewal, with the values but not the end of its caller's context.
func TestOnEventMaySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var s *tokensource.Session
		var ev events
		s = &tokensource.Session{
			Grant: failingGrant(refused("invalid_grant")),
			Store: newLockedStore(nil),
			OnEvent: func(ctx context.Context, e tokensource.Event) {
				ev.on(ctx, e)
				if e.Kind != tokensource.EventReauthRequired {
					return
				}
				time.Sleep(time.Hour)
				if ctx.Err() != nil || ctx.Value(key{}) != "value" {
					t.Errorf("context has error %v, value %v", ctx.Err(), ctx.Value(key{}))
				}
				if err := s.Set(ctx, &oauth2.Token{AccessToken: "signed in anew"}); err != nil {
					t.Errorf("Set: %v", err)
				}
				if got := access(s.Token(ctx)); got != "signed in anew" {
					t.Errorf("Token in OnEvent = %s", got)
				}
			},
		}
		first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		if _, err := s.Renew(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %v", err)
		}
		time.Sleep(time.Hour)
		if got := access(s.Token(t.Context())); got != "signed in anew" {
			t.Errorf("Token = %s", got)
		}
		want := []tokensource.EventKind{tokensource.EventSet, tokensource.EventReauthRequired, tokensource.EventSet}
		if diff := cmp.Diff(want, ev.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestOnEventPanicsInSetAndClear(t *testing.T) {
	s := &tokensource.Session{Grant: failingGrant(tokensource.ErrNoToken), OnEvent: func(context.Context, tokensource.Event) { panic("hunter2") }}
	signedIn(t, s, &oauth2.Token{AccessToken: "access-0"})
	if err := s.Clear(t.Context()); err != nil {
		t.Errorf("Clear: %v", err)
	}
}
