package authserver

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	goauth2 "github.com/go-oauth2/oauth2/v4"
	goauth2errors "github.com/go-oauth2/oauth2/v4/errors"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
)

// GoOAuth2 starts an authorization server built on
// github.com/go-oauth2/oauth2/v4, whose access tokens are accepted for
// accessLifetime to the nanosecond, although expires_in says whole seconds,
// rounded down.
func GoOAuth2(tb testing.TB, accessLifetime time.Duration) *Server {
	tb.Helper()
	store := new(tokenStore)
	// A zero RefreshTokenExp means that refresh tokens do not expire.
	manager := manage.NewDefaultManager()
	manager.SetPasswordTokenCfg(&manage.Config{AccessTokenExp: accessLifetime, IsGenerateRefresh: true})
	manager.SetClientTokenCfg(&manage.Config{AccessTokenExp: accessLifetime})
	manager.SetRefreshTokenCfg(&manage.RefreshingConfig{
		AccessTokenExp:     accessLifetime,
		IsGenerateRefresh:  true,
		IsRemoveAccess:     true,
		IsRemoveRefreshing: true,
	})
	manager.SetExtractExtensionHandler(nameGrant)
	manager.MapTokenStorage(store)
	manager.MapClientStorage(clientStore{})

	srv := server.NewDefaultServer(manager)
	srv.SetAllowedGrantType(goauth2.ClientCredentials, goauth2.PasswordCredentials, goauth2.Refreshing)
	srv.SetClientInfoHandler(authenticateClient)
	srv.SetPasswordAuthorizationHandler(func(_ context.Context, _, user, pass string) (userID string, err error) {
		if user != username || pass != password {
			return "", goauth2errors.ErrInvalidGrant
		}
		return user, nil
	})
	return start(tb, "go-oauth2", &goauth2Backend{store, manager, srv})
}

// authenticateClient checks the client's secret, which the server by itself
// does not do for the refresh_token grant.
func authenticateClient(r *http.Request) (id, secret string, err error) {
	id, secret, err = server.ClientBasicHandler(r)
	if err == nil && (id != clientID || secret != clientSecret) {
		err = goauth2errors.ErrInvalidClient
	}
	return id, secret, err
}

type goauth2Backend struct {
	store   *tokenStore
	manager *manage.Manager
	server  *server.Server
}

func (b *goauth2Backend) token(w http.ResponseWriter, r *http.Request) {
	_ = b.server.HandleTokenRequest(w, r) // the error is that of writing to w
}

func (b *goauth2Backend) valid(ctx context.Context, accessToken string) bool {
	_, err := b.manager.LoadAccessToken(ctx, accessToken)
	return err == nil
}

func (b *goauth2Backend) revokeAccess(ctx context.Context, accessToken string) error {
	return b.manager.RemoveAccessToken(ctx, accessToken)
}

func (b *goauth2Backend) revokeGrant(_ context.Context, refreshToken string) error {
	b.store.removeGrant(refreshToken)
	return nil
}

type clientStore struct{}

func (clientStore) GetByID(context.Context, string) (goauth2.ClientInfo, error) {
	return &models.Client{ID: clientID, Secret: clientSecret}, nil
}

// tokenStore stands in for the memory store that comes with the server, whose
// database can be neither closed nor asked for the tokens of one grant.
type tokenStore struct {
	goauth2.TokenStore // nil: there are no authorization codes to store

	access, refresh sync.Map // string → models.Token
	grants          sync.Map // string → string: by refresh token, those used up included
}

const grantKey = "grant"

// nameGrant names the grant a first token begins. A refreshed token inherits
// the name with all of the extension.
func nameGrant(_ *goauth2.TokenGenerateRequest, ti goauth2.ExtendableTokenInfo) {
	ti.SetExtension(url.Values{grantKey: {rand.Text()}})
}

func (s *tokenStore) Create(_ context.Context, info goauth2.TokenInfo) error {
	tok := *info.(*models.Token) // the manager makes no other
	s.access.Store(tok.Access, tok)
	if tok.Refresh != "" {
		s.refresh.Store(tok.Refresh, tok)
		s.grants.Store(tok.Refresh, tok.Extension.Get(grantKey))
	}
	return nil
}

func (s *tokenStore) GetByAccess(_ context.Context, access string) (goauth2.TokenInfo, error) {
	return load(&s.access, access)
}

func (s *tokenStore) GetByRefresh(_ context.Context, refresh string) (goauth2.TokenInfo, error) {
	return load(&s.refresh, refresh)
}

// load returns a copy, since refreshing alters what it is given.
func load(tokens *sync.Map, key string) (goauth2.TokenInfo, error) {
	v, ok := tokens.Load(key)
	if !ok {
		return nil, nil // how the manager is told that there is none
	}
	tok := v.(models.Token)
	return &tok, nil
}

func (s *tokenStore) RemoveByAccess(_ context.Context, access string) error {
	s.access.Delete(access)
	return nil
}

func (s *tokenStore) RemoveByRefresh(_ context.Context, refresh string) error {
	s.refresh.Delete(refresh)
	return nil
}

func (s *tokenStore) removeGrant(refresh string) {
	grant, ok := s.grants.Load(refresh)
	if !ok {
		return
	}
	for _, tokens := range []*sync.Map{&s.access, &s.refresh} {
		for key, tok := range tokens.Range {
			if tok.(models.Token).Extension.Get(grantKey) == grant {
				tokens.Delete(key)
			}
		}
	}
}
