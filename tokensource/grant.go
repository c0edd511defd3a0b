package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// A Grant obtains a new token from an authorization server. current is the
// token to be replaced, nil if there is none; it is a copy. The context ends
// with the [Session]'s Timeout, not with any request's, and the Grant must
// return by then: until it does there is no other renewal.
//
// A Grant returns an error that wraps [ErrReauthRequired] if no later call can
// succeed, and [ErrNoToken] if it would need a current token and there is
// none. An *oauth2.RetrieveError, as x/oauth2's functions return it, is
// understood by its error code, status and Retry-After.
//
// The [*http.Client] to use comes with the context as it does for x/oauth2, by
// the key [oauth2.HTTPClient]; it must not be one that the token is for. Since
// the context has the values of whichever caller came first, a client that is
// always to be used is best set by a Grant around the Grant. A Grant must not
// call the Session that it is of.
type Grant func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error)

// RefreshToken returns the Grant of RFC 6749 section 6, which presents the
// current token's refresh token. The new token's refresh token, if the server
// has rotated it, is the one to present next.
//
// A refresh token may be good for one use, so each exchange is one request:
// with [oauth2.AuthStyleAutoDetect], a client that has a secret authenticates
// by HTTP Basic (the method that every server must support, section 2.3.1),
// one without puts its client_id into the body, and nothing is tried twice.
// Identifier and secret are form-urlencoded before they become Basic's, as the
// section has it and golang.org/x/oauth2 does; some servers do not decode them,
// and where they have more than letters, digits and -._~ need
// [oauth2.AuthStyleInParams]. Redirects of the token endpoint are not followed
// and a plain http URL is refused, unless it is loopback.
func RefreshToken(cfg *oauth2.Config) Grant {
	return func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
		switch {
		case cfg == nil:
			return nil, errors.New("tokensource: RefreshToken has a nil Config")
		case current == nil:
			return nil, ErrNoToken
		case current.RefreshToken == "":
			return nil, fmt.Errorf("%w: the token came without a refresh token", ErrReauthRequired)
		}
		// invariant: a refresh token is sent for its own client only
		if id := BindingOf(current).ClientID; id != "" && cfg.ClientID != "" && id != cfg.ClientID {
			return nil, fmt.Errorf("%w: the token belongs to client %q, not to %q", ErrReauthRequired, printable(id), cfg.ClientID)
		}
		e := endpoint{url: cfg.Endpoint.TokenURL, clientID: cfg.ClientID, clientSecret: cfg.ClientSecret}
		token, err := e.exchange(ctx, e.style(cfg.Endpoint.AuthStyle), url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {current.RefreshToken},
		})
		if err != nil {
			return nil, err
		}
		if token.RefreshToken == "" {
			token.RefreshToken = current.RefreshToken
		}
		return Bind(token, Binding{ClientID: cfg.ClientID}), nil
	}
}

// ClientCredentials returns the Grant of RFC 6749 section 4.4. It needs no
// current token. With [oauth2.AuthStyleAutoDetect], a client that is refused
// under HTTP Basic tries once with its secret in the body and stays with what
// worked: unlike a refresh token, its credentials are not spent by trying.
// Otherwise it talks to the token endpoint as [RefreshToken] does.
func ClientCredentials(cfg *clientcredentials.Config) Grant {
	var learned atomic.Int64 // the oauth2.AuthStyle that has worked
	return func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
		if cfg == nil {
			return nil, errors.New("tokensource: ClientCredentials has a nil Config")
		}
		form := url.Values{"grant_type": {"client_credentials"}}
		if len(cfg.Scopes) > 0 {
			form.Set("scope", strings.Join(cfg.Scopes, " "))
		}
		for name, values := range cfg.EndpointParams {
			// grant_type may be replaced, as in x/oauth2, for servers that have a name of their own for it.
			if form.Has(name) && name != "grant_type" {
				return nil, fmt.Errorf("tokensource: EndpointParams repeats %q", name)
			}
			form[name] = slices.Clone(values)
		}
		e := endpoint{url: cfg.TokenURL, clientID: cfg.ClientID, clientSecret: cfg.ClientSecret}
		style := cfg.AuthStyle
		if style == oauth2.AuthStyleAutoDetect {
			style = oauth2.AuthStyle(learned.Load())
		}
		token, err := e.exchange(ctx, e.style(style), form)
		if style != oauth2.AuthStyleAutoDetect {
			return token, err
		}
		style = e.style(style)
		if style == oauth2.AuthStyleInHeader && refusesClient(err) {
			style = oauth2.AuthStyleInParams
			token, err = e.exchange(ctx, style, form)
		}
		if err == nil {
			learned.Store(int64(style))
		}
		return token, err
	}
}

// refusesClient reports whether err may mean that the client was expected to
// authenticate by another method.
func refusesClient(err error) bool {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return false
	}
	switch status := re.Response.StatusCode; re.ErrorCode {
	case "invalid_client", "invalid_request", "":
		return status == http.StatusBadRequest || status == http.StatusUnauthorized
	default:
		return status == http.StatusUnauthorized
	}
}

// GrantFrom returns a Grant that takes its token from a new x/oauth2 source
// each time: JWT, token exchange, workload identity or whatever else there is
// an oauth2.TokenSource for. src is called with a context that lives for one
// exchange and carries, as [oauth2.HTTPClient], the client it should use, one
// that follows no redirects; it must return a source that keeps no token from
// earlier calls.
func GrantFrom(src func(ctx context.Context) oauth2.TokenSource) Grant {
	return func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
		if src == nil {
			return nil, errors.New("tokensource: GrantFrom has a nil function")
		}
		source := src(context.WithValue(ctx, oauth2.HTTPClient, exchangeClient(ctx)))
		if source == nil {
			return nil, errNilSource
		}
		token, err := source.Token()
		if err != nil {
			return nil, clean(err)
		}
		return token, nil
	}
}
