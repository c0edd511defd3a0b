package tokensource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// A Source gives the token to use now. Implementations are safe for concurrent
// use by multiple goroutines and return by the end of ctx. Token returns
// either a token with an access token or an error, and [ErrNoToken] when
// nobody is signed in. The token returned must not be modified.
type Source interface {
	Token(ctx context.Context) (*oauth2.Token, error)
}

// A Renewer is a Source that can replace a token which a server has rejected.
//
// Renew returns a token other than rejected, which is one that Token or Renew
// returned before, by identity. If rejected has been replaced already, the
// current token is the answer. Any number of callers that reject one token
// cause one exchange. Renew returns [ErrUnchanged] if the source has nothing
// newer and no way to get it.
type Renewer interface {
	Source
	Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error)
}

var (
	// ErrNoToken says that there is no token because nobody has signed in.
	ErrNoToken = errors.New("tokensource: no token")

	// ErrReauthRequired says that the authorization server has refused to renew
	// the token for good: only signing in again helps, then [Session.Set].
	ErrReauthRequired = errors.New("tokensource: sign in again")

	// ErrUnchanged says that a source has nothing newer than the token rejected.
	ErrUnchanged = errors.New("tokensource: no newer token")

	// ErrRenewalLimit says that tokens were rejected one after the other, fresh
	// ones included, so that no more are asked for at present. It comes wrapped
	// in a [RetryError].
	ErrRenewalLimit = errors.New("tokensource: fresh tokens are being rejected")
)

var (
	errNilFunc   = errors.New("tokensource: SourceFunc is nil")
	errNilSource = errors.New("tokensource: source is nil")
	errReentry   = errors.New("tokensource: the renewal asks for the token that it renews: the token endpoint's client must not be the decorated one")
)

// A RetryError reports a renewal that failed for now: on the network, with a
// server that is overloaded, or by [ErrRenewalLimit]. Until At it is
// the answer to everybody who needs a new token.
type RetryError struct {
	// At is when the next renewal may be made.
	At time.Time
	// Err is why the last one failed.
	Err error
}

func (e *RetryError) Error() string {
	return "tokensource: renewal failed: " + strings.TrimPrefix(e.Err.Error(), "tokensource: ")
}

// Unwrap returns e.Err.
func (e *RetryError) Unwrap() error { return e.Err }

// A waitError says what a caller was waiting for when its context ended.
type waitError struct {
	what string
	err  error
}

func waited(ctx context.Context, what string) error { return &waitError{what, ctx.Err()} }

func (e *waitError) Error() string {
	return "tokensource: waiting for " + e.what + ": " + e.err.Error()
}
func (e *waitError) Unwrap() error { return e.err }

// Timeout is for url.Error, which asks no further than its immediate cause.
func (e *waitError) Timeout() bool { return e.err == context.DeadlineExceeded }

// A SourceFunc is a [Source] that is called for each request. Calling Token on a nil
// SourceFunc is an error.
type SourceFunc func(ctx context.Context) (*oauth2.Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context) (*oauth2.Token, error) {
	if f == nil {
		return nil, errNilFunc
	}
	return f(ctx)
}

// Static returns a Source whose token never changes. An empty accessToken
// stands for none: [ErrNoToken].
func Static(accessToken string) Source {
	// A closure, since fmt prints the fields of a struct, exported or not.
	token := &oauth2.Token{AccessToken: accessToken}
	return SourceFunc(func(context.Context) (*oauth2.Token, error) {
		if token.AccessToken == "" {
			return nil, ErrNoToken
		}
		return token, nil
	})
}

// Env returns a [Source] that reads the access token from the environment variable name,
// at each call. White space around it is cut off. Token returns [ErrNoToken] if the
// variable is not set or empty.
func Env(name string) Source {
	return SourceFunc(func(context.Context) (*oauth2.Token, error) {
		token := &oauth2.Token{AccessToken: strings.TrimSpace(os.Getenv(name))}
		if token.AccessToken == "" {
			return nil, fmt.Errorf("%w: the environment variable %s is not set", ErrNoToken, name)
		}
		if err := wellFormed(token); err != nil {
			return nil, fmt.Errorf("tokensource: the environment variable %s holds %w", name, err)
		}
		return token, nil
	})
}
