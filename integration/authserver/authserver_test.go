package authserver_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authtrip/authtrip/integration/authserver"
)

// forever outlasts every test.
const forever = time.Hour

// each runs test against a server of either kind.
func each(t *testing.T, lifetime time.Duration, test func(t *testing.T, s *authserver.Server)) {
	t.Parallel()
	for _, server := range []struct {
		name  string
		start func(testing.TB, time.Duration) *authserver.Server
	}{
		{"fosite", authserver.Fosite},
		{"go-oauth2", authserver.GoOAuth2},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			s := server.start(t, lifetime)
			if s.Name != server.name {
				t.Errorf("Name = %q, want %q", s.Name, server.name)
			}
			test(t, s)
		})
	}
}

func login(t *testing.T, s *authserver.Server) *oauth2.Token {
	t.Helper()
	tok, err := s.Login(t.Context())
	if err != nil {
		t.Fatalf("Login: %v", err)
	}
	if tok.AccessToken == "" || tok.RefreshToken == "" {
		t.Fatalf("Login gave an access token %q and a refresh token %q, want both", tok.AccessToken, tok.RefreshToken)
	}
	return tok
}

func refresh(ctx context.Context, s *authserver.Server, tok *oauth2.Token) (*oauth2.Token, error) {
	return s.Config().TokenSource(ctx, &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
}

func mustRefresh(t *testing.T, s *authserver.Server, tok *oauth2.Token) *oauth2.Token {
	t.Helper()
	next, err := refresh(t.Context(), s, tok)
	if err != nil {
		t.Fatalf("refreshing: %v", err)
	}
	return next
}

// errorCode is the code with which the token endpoint refused, or "".
func errorCode(err error) string {
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return refusal.ErrorCode
	}
	return ""
}

func wantInvalidGrant(t *testing.T, s *authserver.Server, tok *oauth2.Token) {
	t.Helper()
	if _, err := refresh(t.Context(), s, tok); errorCode(err) != "invalid_grant" {
		t.Errorf("refreshing: %v, want invalid_grant", err)
	}
}

// call sends body to the API and returns its answer and what it echoed.
func call(t *testing.T, s *authserver.Server, method, authorization, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.APIURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, s.APIURL, err)
	}
	defer resp.Body.Close()
	echo, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the body: %v", method, s.APIURL, err)
	}
	return resp, string(echo)
}

func apiStatus(t *testing.T, s *authserver.Server, tok *oauth2.Token) int {
	t.Helper()
	resp, _ := call(t, s, http.MethodGet, "Bearer "+tok.AccessToken, "")
	return resp.StatusCode
}

func wantStatus(t *testing.T, s *authserver.Server, tok *oauth2.Token, want int) {
	t.Helper()
	if got := apiStatus(t, s, tok); got != want {
		t.Errorf("the API answers %d, want %d", got, want)
	}
}

// poll waits until done, but for no longer than limit.
func poll(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func TestAPI(t *testing.T) {
	long := strings.Repeat("long ", 200_000)
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		tok := login(t, s)
		for _, tt := range []struct {
			name, method, authorization, body string
			status                            int
			challenge                         string
		}{
			{"get", http.MethodGet, "Bearer " + tok.AccessToken, "", 200, ""},
			{"post", http.MethodPost, "Bearer " + tok.AccessToken, "hello", 200, ""},
			{"long put", http.MethodPut, "Bearer " + tok.AccessToken, long, 200, ""},
			{"lower case scheme", http.MethodGet, "bearer " + tok.AccessToken, "", 200, ""},
			{"no token", http.MethodPost, "", "hello", 401, "Bearer"},
			{"other scheme", http.MethodGet, "Basic " + tok.AccessToken, "", 401, "Bearer"},
			{"empty token", http.MethodGet, "Bearer ", "", 401, "Bearer"},
			{"unknown token", http.MethodGet, "Bearer nonsense", "", 401, `Bearer error="invalid_token"`},
			{"refresh token", http.MethodGet, "Bearer " + tok.RefreshToken, "", 401, `Bearer error="invalid_token"`},
		} {
			resp, echo := call(t, s, tt.method, tt.authorization, tt.body)
			if resp.StatusCode != tt.status {
				t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.status)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("%s: challenge %q, want %q", tt.name, got, tt.challenge)
			}
			if tt.status == http.StatusOK && (echo != tt.body || resp.Header.Get("X-Method") != tt.method) {
				t.Errorf("%s: %d bytes and X-Method %q echoed, want %d and %q",
					tt.name, len(echo), resp.Header.Get("X-Method"), len(tt.body), tt.method)
			}
		}
		if got := s.Stats(); got.Accepted != 4 || got.Unauthorized != 5 {
			t.Errorf("%d accepted and %d unauthorized, want 4 and 5", got.Accepted, got.Unauthorized)
		}
	})
}

func TestWrongCredentials(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		tok := login(t, s)

		if _, err := s.Config().PasswordCredentialsToken(t.Context(), s.Username, "wrong"); errorCode(err) != "invalid_grant" {
			t.Errorf("wrong password: %v, want invalid_grant", err)
		}
		for _, id := range []string{s.ClientID, "stranger"} {
			config := s.Config()
			config.ClientID, config.ClientSecret = id, "wrong"
			_, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
			if errorCode(err) != "invalid_client" {
				t.Errorf("%s with a wrong secret: %v, want invalid_client", id, err)
			}
		}
		mustRefresh(t, s, tok) // none of this used it up
	})
}

func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		lifetime  time.Duration
		expiresIn int64
	}{
		{300 * time.Millisecond, 0},
		{time.Second, 1},
		{2 * time.Second, 2},
	} {
		t.Run(tt.lifetime.String(), func(t *testing.T) {
			each(t, tt.lifetime, func(t *testing.T, s *authserver.Server) {
				requested := time.Now()
				live := map[string]*oauth2.Token{
					"login":   login(t, s),
					"refresh": mustRefresh(t, s, login(t, s)),
				}
				for from, tok := range live {
					if tok.ExpiresIn != tt.expiresIn {
						t.Errorf("%s: expires_in = %d, want %d", from, tok.ExpiresIn, tt.expiresIn)
					}
				}
				poll(t, tt.lifetime+10*time.Second, "expiry", func() bool {
					for from, tok := range live {
						if apiStatus(t, s, tok) == http.StatusOK {
							continue
						}
						if lived := time.Since(requested); lived < tt.lifetime {
							t.Errorf("%s: refused after %v, want at least %v", from, lived, tt.lifetime)
						}
						delete(live, from)
					}
					return len(live) == 0
				})
			})
		})
	}
}

func TestRevokeAccess(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		other, tok := login(t, s), login(t, s)
		wantStatus(t, s, tok, http.StatusOK)

		s.RevokeAccess(t, tok.AccessToken)
		s.RevokeAccess(t, tok.AccessToken) // once more does no harm
		wantStatus(t, s, tok, http.StatusUnauthorized)
		wantStatus(t, s, other, http.StatusOK)
		wantStatus(t, s, mustRefresh(t, s, tok), http.StatusOK)
	})
}

func TestRotation(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		first := login(t, s)
		second := mustRefresh(t, s, first)
		if second.AccessToken == first.AccessToken || second.RefreshToken == first.RefreshToken {
			t.Error("refreshing left a token as it was")
		}
		wantStatus(t, s, first, http.StatusUnauthorized)
		wantStatus(t, s, second, http.StatusOK)
		third := mustRefresh(t, s, second)

		other := login(t, s)
		wantInvalidGrant(t, s, first)
		if s.RevokesOnReuse {
			wantStatus(t, s, third, http.StatusUnauthorized)
			wantInvalidGrant(t, s, third)
			wantInvalidGrant(t, s, first)
		} else {
			wantStatus(t, s, third, http.StatusOK)
			mustRefresh(t, s, third)
		}
		wantStatus(t, s, other, http.StatusOK) // a grant of its own
	})
}

func TestConcurrentRefresh(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		const clients = 8
		tok := login(t, s)
		granted := make(chan *oauth2.Token, clients)
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				switch next, err := refresh(t.Context(), s, tok); {
				case err == nil:
					granted <- next
				case errorCode(err) != "invalid_grant":
					t.Errorf("refreshing: %v, want invalid_grant", err)
				}
			})
		}
		wg.Wait()
		if len(granted) != 1 {
			t.Fatalf("%d refreshes granted with one refresh token, want 1", len(granted))
		}
		want := http.StatusOK
		if s.RevokesOnReuse {
			want = http.StatusUnauthorized
		}
		wantStatus(t, s, <-granted, want)

		stats := s.Stats()
		if stats.TokenRequests["refresh_token"] != clients || stats.Refreshes != 1 ||
			stats.RefusedRefreshes["invalid_grant"] != clients-1 {
			t.Errorf("stats %+v, want 1 of %d refreshes granted", stats, clients)
		}
		if got := stats.Exchanges; len(got) != clients || !got[0].Granted || got[1].Granted || got[0].By == "" {
			t.Errorf("exchanges %+v, want %d, the first granted", got, clients)
		}
	})
}

func TestRevokeGrant(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		for name, refreshed := range map[string]bool{"latest": false, "refreshed since": true} {
			other, tok := login(t, s), login(t, s)
			latest := tok
			if refreshed {
				latest = mustRefresh(t, s, tok)
			}
			s.RevokeGrant(t, tok)
			if got := apiStatus(t, s, latest); got != http.StatusUnauthorized {
				t.Errorf("%s: the API answers %d, want 401", name, got)
			}
			wantInvalidGrant(t, s, latest)
			wantStatus(t, s, other, http.StatusOK)

			s.RevokeGrant(t, tok) // once more does no harm
			s.RevokeGrant(t, latest)
		}
	})
}

func TestClientCredentials(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		tok, err := s.ClientCredentials().Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if tok.RefreshToken != "" {
			t.Error("a refresh token, want none")
		}
		wantStatus(t, s, tok, http.StatusOK)
		s.RevokeAccess(t, tok.AccessToken)
		wantStatus(t, s, tok, http.StatusUnauthorized)

		config := s.ClientCredentials()
		config.ClientSecret = "wrong"
		if _, err := config.Token(t.Context()); errorCode(err) != "invalid_client" {
			t.Errorf("wrong secret: %v, want invalid_client", err)
		}
		if got := s.Stats().TokenRequests["client_credentials"]; got != 2 {
			t.Errorf("%d token requests, want 2", got)
		}
	})
}

func TestFault(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		tok := login(t, s)

		s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.PostForm.Get("grant_type") != "refresh_token" {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		login(t, s)
		_, err := refresh(t.Context(), s, tok)
		if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || refusal.Response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("refreshing: %v, want status 503", err)
		}

		s.Fault(nil)
		mustRefresh(t, s, tok)
		if stats := s.Stats(); stats.TokenRequests["refresh_token"] != 2 || stats.Refreshes != 1 || len(stats.RefusedRefreshes) != 0 {
			t.Errorf("stats %+v, want 2 requests to refresh, 1 granted and none refused", stats)
		}
	})
}

func TestFaultHangs(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		tok := login(t, s)
		var hanging atomic.Int32
		s.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
			hanging.Add(1)
			defer hanging.Add(-1)
			<-r.Context().Done()
			return true
		})
		ctx, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer hangUp()
		wg.Go(func() {
			if _, err := refresh(ctx, s, tok); !errors.Is(err, context.Canceled) {
				t.Errorf("refreshing: %v, want %v", err, context.Canceled)
			}
		})
		poll(t, 10*time.Second, "hanging", func() bool { return hanging.Load() == 1 })
		hangUp()
		poll(t, 10*time.Second, "letting go", func() bool { return hanging.Load() == 0 })
	})
}

func TestConcurrentCalls(t *testing.T) {
	each(t, forever, func(t *testing.T, s *authserver.Server) {
		const calls = 200
		tok := login(t, s)
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() { wantStatus(t, s, tok, http.StatusOK) })
		}
		// Meanwhile other grants come and go.
		for range 10 {
			wg.Go(func() {
				other, err := s.Login(t.Context())
				if err != nil {
					t.Errorf("Login: %v", err)
					return
				}
				if _, err := refresh(t.Context(), s, other); err != nil {
					t.Errorf("refreshing: %v", err)
				}
				s.RevokeGrant(t, other)
			})
		}
		wg.Wait()
		if got := s.Stats().Accepted; got != calls {
			t.Errorf("%d API requests accepted, want %d", got, calls)
		}
	})
}
