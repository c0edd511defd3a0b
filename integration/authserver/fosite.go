package authserver

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
)

// Fosite starts an authorization server built on github.com/ory/fosite, whose
// access tokens are accepted for accessLifetime to the nanosecond, although
// expires_in says whole seconds, rounded down.
func Fosite(tb testing.TB, accessLifetime time.Duration) *Server {
	tb.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	config := &fosite.Config{
		AccessTokenLifespan: accessLifetime,
		RefreshTokenScopes:  []string{}, // a refresh token whatever the scope
		GlobalSecret:        key,
		HashCost:            4, // the least bcrypt takes
		// Otherwise the API would accept refresh tokens as well.
		DisableRefreshTokenValidation: true,
		// Left nil, it would be set on first use: a race between API requests.
		ScopeStrategy: fosite.ExactScopeStrategy,
	}
	secret, err := config.GetSecretsHasher(tb.Context()).Hash(tb.Context(), []byte(clientSecret))
	if err != nil {
		tb.Fatalf("fosite: hashing the client's secret: %v", err)
	}
	store := storage.NewMemoryStore()
	store.Clients[clientID] = &fosite.DefaultClient{
		ID:         clientID,
		Secret:     secret,
		GrantTypes: fosite.Arguments{"client_credentials", "password", "refresh_token"},
	}
	store.Users[username] = storage.MemoryUserRelation{Username: username, Password: password}

	strategy := compose.NewOAuth2HMACStrategy(config)
	s := start(tb, "fosite", &fositeBackend{
		store:    store,
		strategy: strategy,
		provider: compose.Compose(config, store, strategy,
			compose.OAuth2ClientCredentialsGrantFactory,
			//lint:ignore SA1019 no other grant of a user does without a browser
			compose.OAuth2ResourceOwnerPasswordCredentialsFactory,
			compose.OAuth2RefreshTokenGrantFactory,
			compose.OAuth2TokenIntrospectionFactory,
		),
	})
	s.RevokesOnReuse = true
	return s
}

type fositeBackend struct {
	store    *storage.MemoryStore
	strategy oauth2.CoreStrategy
	provider fosite.OAuth2Provider
}

func (b *fositeBackend) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	req, err := b.provider.NewAccessRequest(ctx, r, session{})
	if err != nil {
		b.provider.WriteAccessError(ctx, w, req, err)
		return
	}
	resp, err := b.provider.NewAccessResponse(ctx, req)
	if err != nil {
		b.provider.WriteAccessError(ctx, w, req, err)
		return
	}
	b.provider.WriteAccessResponse(ctx, w, req, resp)
}

func (b *fositeBackend) valid(ctx context.Context, accessToken string) bool {
	_, _, err := b.provider.IntrospectToken(ctx, accessToken, fosite.AccessToken, session{})
	return err == nil
}

func (b *fositeBackend) revokeAccess(ctx context.Context, accessToken string) error {
	return b.store.DeleteAccessTokenSession(ctx, b.strategy.AccessTokenSignature(ctx, accessToken))
}

func (b *fositeBackend) revokeGrant(ctx context.Context, refreshToken string) error {
	signature := b.strategy.RefreshTokenSignature(ctx, refreshToken)
	grant, err := b.store.GetRefreshTokenSession(ctx, signature, session{})
	switch {
	case errors.Is(err, fosite.ErrNotFound): // forgotten when it was reused, which ended its grant
		return nil
	case err != nil && !errors.Is(err, fosite.ErrInactiveToken): // one used up still tells its grant
		return err
	}
	err = b.store.RevokeRefreshToken(ctx, grant.GetID())
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		return err
	}
	return b.store.RevokeAccessToken(ctx, grant.GetID())
}

// session remembers no expiry. Fosite then reckons an access token's lifetime
// from the request for it, exactly, instead of rounding its end to a second,
// which would leave a lifetime of one second an expires_in of zero.
type session struct{}

func (session) SetExpiresAt(fosite.TokenType, time.Time)       {}
func (session) GetExpiresAt(fosite.TokenType) (none time.Time) { return none }
func (session) GetUsername() string                            { return "" }
func (session) GetSubject() string                             { return "" }
func (s session) Clone() fosite.Session                        { return s }
