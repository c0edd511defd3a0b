package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// An issuer gives out tokens, token-1 first, to all rows in the form that each of
// them wants.
type issuer struct {
	lifetime time.Duration // zero means an hour
	takes    time.Duration // an exchange
	early    time.Duration // how long before expiry a token is to be renewed, 10 ms if zero
	hang     chan struct{} // if not nil, an exchange ends when it is closed, and not before

	mu        sync.Mutex
	exchanges int
}

const hour = time.Hour

// issue returns the next token. The end of ctx ends the exchange.
func (i *issuer) issue(ctx context.Context) (string, time.Time, error) {
	i.mu.Lock()
	i.exchanges++
	n, expiry, takes, hang := i.exchanges, time.Now().Add(cmp.Or(i.lifetime, hour)), i.takes, i.hang
	i.mu.Unlock()
	if takes > 0 || hang != nil {
		after := time.After(takes)
		if hang != nil {
			after = nil
		}
		select {
		case <-after:
		case <-hang:
		case <-ctx.Done():
			return "", time.Time{}, ctx.Err()
		}
	}
	return fmt.Sprint("token-", n), expiry, nil
}

func (i *issuer) earlier() time.Duration { return cmp.Or(i.early, 10*time.Millisecond) }

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exchanges
}

// Token implements [oauth2.TokenSource].
func (i *issuer) Token() (*oauth2.Token, error) { return i.grant(context.Background(), nil) }

func (i *issuer) grant(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
	access, expiry, err := i.issue(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: access, RefreshToken: "refresh", Expiry: expiry}, nil
}

func (i *issuer) session() *tokensource.Session {
	return &tokensource.Session{Grant: i.grant, MaxForced: -1}
}

// endpoint is base with the issuer's token endpoint, for those who want HTTP: paths
// that end in /token or /access_tokens.
func (i *issuer) endpoint(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/token") && !strings.HasSuffix(req.URL.Path, "/access_tokens") {
			return base.RoundTrip(req)
		}
		access, expiry, err := i.issue(req.Context())
		if err != nil {
			return nil, err
		}
		body, _ := json.Marshal(map[string]any{
			"token": access, "access_token": access, "expires_in": int(time.Until(expiry).Seconds()), "expires_at": expiry.Format(time.RFC3339),
		})
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(string(body))), ContentLength: int64(len(body)), Request: req,
		}, nil
	})
}
