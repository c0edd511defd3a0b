package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/integration/authserver"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// forever outlasts every test.
const forever = time.Hour

// each runs test against both servers at once.
func each(t *testing.T, lifetime time.Duration, test func(*testing.T, *authserver.Server)) {
	t.Parallel()
	for _, start := range []func(testing.TB, time.Duration) *authserver.Server{authserver.Fosite, authserver.GoOAuth2} {
		s := start(t, lifetime)
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// A user is a session that is signed in, and a client that calls with it.
type user struct {
	*tokensource.Session
	client *http.Client
	url    string

	mu     sync.Mutex // guards events
	events []tokensource.Event
}

// newUser returns a user of s. The session is one to be filled in.
func newUser(t *testing.T, s *authserver.Server, session *tokensource.Session) *user {
	t.Helper()
	base := &http.Transport{MaxIdleConnsPerHost: 500}
	t.Cleanup(base.CloseIdleConnections)
	u := &user{Session: session, url: s.APIURL}
	u.OnEvent = func(_ context.Context, e tokensource.Event) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.events = append(u.events, e)
	}
	u.client = transport.Client(&http.Client{Transport: base}, (&transport.Refresh{Source: session}).Wrap)
	if session.Grant == nil {
		session.Grant = tokensource.RefreshToken(s.Config())
		u.login(t, s)
	}
	return u
}

func (u *user) login(t *testing.T, s *authserver.Server) {
	t.Helper()
	token, err := s.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Set(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

// post sends message and expects it back.
func (u *user) post(ctx context.Context, message string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader([]byte(message)))
	if err != nil {
		return err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	echo, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	case string(echo) != message:
		return fmt.Errorf("sent %q, the API got %q", message, echo)
	}
	return nil
}

// kinds counts the session's events.
func (u *user) kinds() map[tokensource.EventKind]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := make(map[tokensource.EventKind]int)
	for _, e := range u.events {
		n[e.Kind]++
	}
	return n
}

// revoke has the API refuse the user's access token.
func (u *user) revoke(t *testing.T, s *authserver.Server) {
	t.Helper()
	token, err := u.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.RevokeAccess(t, token.AccessToken)
}

// refreshes expects n refreshes granted and none refused: one that was refused
// would be a refresh token sent twice, which signs the user out.
func refreshes(t *testing.T, s *authserver.Server, n int) {
	t.Helper()
	st := s.Stats()
	if diff := cmp.Diff(map[string]int{}, st.RefusedRefreshes); diff != "" {
		t.Errorf("refused refreshes (-want +got):\n%s", diff)
	}
	if st.Refreshes != n {
		t.Errorf("%d refreshes, want %d", st.Refreshes, n)
	}
}

// together calls f from n goroutines, and returns how many returned an error and the first.
func together(n int, f func(i int) error) (failed int, first error) {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	failed = len(errs)
	return failed, <-errs
}

func TestExpiry(t *testing.T) {
	each(t, time.Second, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{})
		if err := u.post(t.Context(), "before"); err != nil {
			t.Fatal(err)
		}
		token, err := u.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Nobody calls until the token has expired.
		<-time.After(time.Until(token.Expiry))
		failed, err := together(200, func(i int) error { return u.post(t.Context(), fmt.Sprint("after ", i)) })
		if failed > 0 {
			t.Errorf("%d of 200 failed, first: %v", failed, err)
		}
		// A slow machine may need more than one token to get through.
		if n := u.kinds()[tokensource.EventRenewed]; n == 0 {
			t.Error("no renewal")
		} else {
			refreshes(t, s, n)
		}
	})
}

func TestRevocation(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{})
		for round := 1; round <= 3; round++ {
			u.revoke(t, s)
			failed, err := together(200, func(i int) error { return u.post(t.Context(), fmt.Sprint(round, " ", i)) })
			if failed > 0 {
				t.Errorf("round %d: %d of 200 failed, first: %v", round, failed, err)
			}
			refreshes(t, s, round)
		}
	})
}

// The test that matters: refresh tokens rotate, and one that is used twice
// signs the user out. Either server ends the access token as well when its
// refresh token is used, so that requests under way are rejected at every
// renewal.
func TestRotation(t *testing.T) {
	const (
		lifetime = 2 * time.Second
		callers  = 200
		// Between bursts the machine rests: a request may be sent again once, so
		// that it must not take as long as two tokens live.
		rest = lifetime / 6
	)
	each(t, lifetime, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{MaxForced: -1})
		bursts, end := 0, time.Now().Add(10*lifetime)
		for ; time.Now().Before(end); bursts++ {
			if bursts%10 == 5 {
				u.revoke(t, s)
			}
			failed, err := together(callers, func(i int) error { return u.post(t.Context(), fmt.Sprint(bursts, " ", i)) })
			if failed > 0 {
				t.Fatalf("burst %d: %d of %d failed, first: %v", bursts, failed, callers, err)
			}
			<-time.After(rest)
		}
		st, renewed := s.Stats(), u.kinds()[tokensource.EventRenewed]
		t.Logf("%d requests over %d renewals, %d of them answered 401 first", bursts*callers, renewed, st.Unauthorized)
		if renewed < 10 {
			t.Errorf("%d renewals in ten lifetimes", renewed)
		}
		if diff := cmp.Diff(map[string]int{}, st.RefusedRefreshes); diff != "" {
			t.Errorf("refused refreshes (-want +got):\n%s", diff)
		}
	})
}

func TestHangingTokenEndpoint(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{Timeout: 5 * time.Second})
		u.revoke(t, s)
		hung := make(chan struct{}, 1)
		s.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
			hung <- struct{}{}
			<-r.Context().Done()
			return true
		})
		failed, err := together(100, func(i int) error {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond+time.Duration(i)*time.Millisecond)
			defer cancel()
			return u.post(ctx, "hang")
		})
		if failed != 100 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d of 100 failed, first: %v; want all, at their deadlines", failed, err)
		}
		if n := len(hung); n != 1 {
			t.Errorf("%d requests hang at the token endpoint, want 1", n)
		}
		s.Fault(nil)
		// The renewal under way ends by its own Timeout; this caller has the time.
		err = u.post(t.Context(), "patient")
		retry, ok := errors.AsType[*tokensource.RetryError](err)
		if !ok {
			t.Fatalf("after the timeout: %v, want a RetryError", err)
		}
		<-time.After(time.Until(retry.At))
		if err := u.post(t.Context(), "again"); err != nil {
			t.Error(err)
		}
		refreshes(t, s, 1)
	})
}

func TestOverloadedTokenEndpoint(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{})
		u.revoke(t, s)
		var asked atomic.Int32
		s.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
			asked.Add(1)
			w.Header().Set("Retry-After", "2")
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
			return true
		})
		start := time.Now()
		for range 3 {
			failed, err := together(50, func(int) error { return u.post(t.Context(), "overloaded") })
			retry, ok := errors.AsType[*tokensource.RetryError](err)
			if failed != 50 || !ok {
				t.Fatalf("%d of 50 failed, first: %v; want all, with a RetryError", failed, err)
			}
			if wait := retry.At.Sub(start); wait < 2*time.Second {
				t.Errorf("to be tried again after %v, but the server said 2 s", wait)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the token endpoint was asked %d times before Retry-After, want once", n)
		}
		s.Fault(nil)
		<-time.After(time.Until(start.Add(3 * time.Second)))
		if err := u.post(t.Context(), "recovered"); err != nil {
			t.Error(err)
		}
		refreshes(t, s, 1)
	})
}

func TestInvalidGrant(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{})
		token, err := u.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.RevokeGrant(t, token)
		for range 3 {
			failed, err := together(50, func(int) error { return u.post(t.Context(), "signed out") })
			if failed != 50 || !errors.Is(err, tokensource.ErrReauthRequired) {
				t.Errorf("%d of 50 failed, first: %v; want all, with ErrReauthRequired", failed, err)
			}
		}
		if diff := cmp.Diff(map[string]int{"invalid_grant": 1}, s.Stats().RefusedRefreshes); diff != "" {
			t.Errorf("refused refreshes (-want +got):\n%s", diff)
		}
		if n := u.kinds()[tokensource.EventReauthRequired]; n != 1 {
			t.Errorf("told %d times to sign in again, want once", n)
		}
		u.login(t, s)
		if err := u.post(t.Context(), "signed in"); err != nil {
			t.Error(err)
		}
	})
}

func TestClientCredentials(t *testing.T) {
	each(t, time.Second, func(t *testing.T, s *authserver.Server) {
		u := newUser(t, s, &tokensource.Session{Grant: tokensource.ClientCredentials(s.ClientCredentials())})
		for round := range 2 {
			failed, err := together(200, func(i int) error { return u.post(t.Context(), fmt.Sprint(round, " ", i)) })
			if failed > 0 {
				t.Errorf("round %d: %d of 200 failed, first: %v", round, failed, err)
			}
			token, err := u.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Until(token.Expiry))
		}
		u.post(t.Context(), "last")
		if asked, renewed := s.Stats().TokenRequests["client_credentials"], u.kinds()[tokensource.EventRenewed]; asked != renewed {
			t.Errorf("%d requests for %d tokens", asked, renewed)
		}
	})
}
