package rows

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

// An Issuer gives out tokens, token-1 first, to all rows in the form that each of
// them wants.
type Issuer struct {
	Lifetime time.Duration // zero means an hour
	Takes    time.Duration // an exchange
	Early    time.Duration // how long before expiry a token is to be renewed, 10 ms if zero
	Hang     chan struct{} // if not nil, an exchange ends when it is closed, and not before

	mu        sync.Mutex
	exchanges int
}

// Issue returns the next token. The end of ctx ends the exchange.
func (i *Issuer) Issue(ctx context.Context) (string, time.Time, error) {
	i.mu.Lock()
	i.exchanges++
	n, expiry, takes, hang := i.exchanges, time.Now().Add(cmp.Or(i.Lifetime, time.Hour)), i.Takes, i.Hang
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

// Earlier is how long before its expiry a token is to be renewed.
func (i *Issuer) Earlier() time.Duration { return cmp.Or(i.Early, 10*time.Millisecond) }

// Change has change set fields while rows may ask for tokens.
func (i *Issuer) Change(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// Count returns how many exchanges there were.
func (i *Issuer) Count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exchanges
}

// Token implements [oauth2.TokenSource].
func (i *Issuer) Token() (*oauth2.Token, error) { return i.grant(context.Background(), nil) }

func (i *Issuer) grant(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
	access, expiry, err := i.Issue(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: access, RefreshToken: "refresh", Expiry: expiry}, nil
}

// Session returns one that gets its tokens from i.
func (i *Issuer) Session() *tokensource.Session {
	return &tokensource.Session{Grant: i.grant, MaxForced: -1}
}

// Endpoint is base with the issuer's token endpoint, for those who want HTTP: paths
// that end in /token or /access_tokens.
func (i *Issuer) Endpoint(base http.RoundTripper) http.RoundTripper {
	return Func(func(req *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/token") && !strings.HasSuffix(req.URL.Path, "/access_tokens") {
			return base.RoundTrip(req)
		}
		access, expiry, err := i.Issue(req.Context())
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
