package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/authtrip/authtrip/integration/authserver"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

const signOuts = 200

// One process signs out while another renews, at all moments of an exchange that takes up
// to 50 milliseconds. Nothing that either of them has had is any good afterwards.
func TestSignOutDuringARenewal(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		server := authserver.Fosite(t, time.Hour)
		server.Fault(func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(rand.N(50 * time.Millisecond))
			return false
		})
		other := newPuppet(t, puppetConfig{Config: *server.Config(), Store: s})
		session := &tokensource.Session{Grant: tokensource.RefreshToken(server.Config()), Store: s.open()}
		var during, before int
		for range signOuts {
			first, err := server.Login(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Set(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if got := other.ask("reload"); got != "done" {
				t.Fatal(got)
			}
			if got := other.ask("token"); got != first.AccessToken {
				t.Fatalf("the other process has %q, not the sign-in", got)
			}
			other.tell("renew")
			time.Sleep(rand.N(60 * time.Millisecond))
			last := signOut(t, server, session)
			switch renewed := other.heard(); {
			case renewed == "no token":
				before++
			case renewed != last.AccessToken:
				t.Errorf("the other process has got %q, and another token was revoked", renewed)
			default:
				during++
			}
			checkTombstone(t, s)
			checkRefused(t, server, first)
			checkRefused(t, server, last)
			if got := other.ask("renew"); got != "no token" {
				t.Errorf("the other process renews: %q", got)
			}
		}
		t.Logf("%d renewals ended before the sign-out, %d found it", during, before)
	})
}

// signOut signs out, and returns the token that it has revoked.
func signOut(t *testing.T, server *authserver.Server, session *tokensource.Session) (revoked *oauth2.Token) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := session.SignOut(ctx, func(_ context.Context, token *oauth2.Token) error {
		revoked = token
		server.RevokeGrant(t, token)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return revoked
}

func checkTombstone(t *testing.T, s store) {
	t.Helper()
	text, err := s.open().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	record, err := tokensource.ParseRecord(text)
	if err != nil {
		t.Fatal(err)
	}
	if record.Change != tokensource.ChangeSignOut || record.Token != nil {
		t.Errorf("the store has %v", record)
	}
}

// checkRefused checks that neither half of token is any good.
func checkRefused(t *testing.T, server *authserver.Server, token *oauth2.Token) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.APIURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	token.SetAuthHeader(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the access token is answered %s", resp.Status)
	}
	if got, err := tokensource.RefreshToken(server.Config())(t.Context(), token); err == nil {
		t.Errorf("the refresh token is good for %s", got.AccessToken)
	}
}

// Somebody signs in, in one process. Seven others, which have been signed out, or never
// had a token, find that within two seconds of being asked for one. (In fake time the
// two seconds are asserted, by TestSignInElsewhereAfterRefusal and its like in tokensource.)
func TestSignInReachesTheOthers(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		server := authserver.Fosite(t, time.Hour)
		session := &tokensource.Session{Grant: tokensource.RefreshToken(server.Config()), Store: s.open()}
		var others []*puppet
		for range 7 {
			others = append(others, newPuppet(t, puppetConfig{Config: *server.Config(), Store: s}))
		}
		for _, before := range []string{"nobody has signed in", "signed out", "ended"} {
			for _, p := range others {
				if got := p.ask("token"); len(got) == 0 {
					t.Fatal("no answer")
				}
			}
			token, err := server.Login(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Set(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			var longest time.Duration
			for _, p := range others {
				p.tell("await")
			}
			for _, p := range others {
				n, err := strconv.Atoi(p.heard())
				if err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Duration(n))
			}
			t.Logf("%s: a sign-in reached seven processes within %v of being asked", before, longest.Round(time.Millisecond))
			if longest > 30*time.Second {
				t.Errorf("%s: it took %v", before, longest)
			}
			for i, p := range others {
				if got := p.ask("token"); got != token.AccessToken {
					t.Errorf("process %d has %q", i, got)
				}
			}
			switch before {
			case "nobody has signed in":
				if err := session.SignOut(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			case "signed out":
				server.RevokeGrant(t, token)
			}
			for i, p := range others { // who find out
				if got := p.ask("renew"); got == token.AccessToken {
					t.Errorf("process %d has renewed to %q", i, fmt.Sprint(got))
				}
			}
		}
	})
}
