package tokensource_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// TestClientAuthenticationIsXOAuth2s holds both ways to ask for a token to RFC
// 6749 section 2.3.1: client identifier and password are form-urlencoded
// before they become Basic's user-id and password, so that neither a colon nor
// a character outside ASCII is ambiguous.
func TestClientAuthenticationIsXOAuth2s(t *testing.T) {
	type credentials struct{ ID, Secret string }
	for _, tc := range []struct {
		name        string
		plain, sent credentials
	}{
		{"plain", credentials{"client", "secret"}, credentials{"client", "secret"}},
		{"appendix B", credentials{"id", " %&+£€"}, credentials{"id", "+%25%26%2B%C2%A3%E2%82%AC"}},
		{"colon", credentials{"a:b", "c:d"}, credentials{"a%3Ab", "c%3Ad"}},
		// A URL for an identifier, as of OpenID federations.
		{"URL", credentials{"https://rp.example/?a=b", "s"}, credentials{"https%3A%2F%2Frp.example%2F%3Fa%3Db", "s"}},
		// The form's encoding would leave * and escape ~; who decodes sees no
		// difference.
		{"star and tilde", credentials{"id", "*~"}, credentials{"id", "%2A~"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []credentials
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				id, secret, _ := r.BasicAuth()
				got = append(got, credentials{id, secret})
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"access_token":"a","token_type":"Bearer"}`))
			}))
			defer server.Close()
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, server.Client())
			cfg := &clientcredentials.Config{
				ClientID: tc.plain.ID, ClientSecret: tc.plain.Secret,
				TokenURL: server.URL, AuthStyle: oauth2.AuthStyleInHeader,
			}
			if _, err := tokensource.ClientCredentials(cfg)(ctx, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := cfg.Token(ctx); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]credentials{tc.sent, tc.sent}, got); diff != "" {
				t.Errorf("ours, then x/oauth2's (-want +got):\n%s", diff)
			}
			for _, c := range got {
				id, errID := url.QueryUnescape(c.ID)
				secret, errSecret := url.QueryUnescape(c.Secret)
				if diff := cmp.Diff(tc.plain, credentials{id, secret}); diff != "" || errID != nil || errSecret != nil {
					t.Errorf("decoded (-want +got):\n%s%v %v", diff, errID, errSecret)
				}
			}
		})
	}
}
