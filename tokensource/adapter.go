package tokensource

import (
	"context"
	"errors"
	"sync"

	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

// FromOAuth2 returns a Source that asks src, which knows nothing of contexts:
// a caller whose context ends stops waiting, and the call to src goes on for
// those who still do. Callers that wait at one time share one call. Nothing is
// kept between calls, so src's own idea of freshness holds.
func FromOAuth2(src oauth2.TokenSource) Source {
	if src == nil {
		return SourceFunc(func(context.Context) (*oauth2.Token, error) { return nil, errNilSource })
	}
	var mu sync.Mutex // guards current
	var current *oauth2Call
	return SourceFunc(func(ctx context.Context) (*oauth2.Token, error) {
		mu.Lock()
		call := current
		if call == nil {
			call = &oauth2Call{done: make(chan struct{})}
			current = call
			go func() {
				call.token, call.err = callOAuth2(src)
				mu.Lock()
				current = nil
				mu.Unlock()
				close(call.done)
			}()
		}
		mu.Unlock()
		select {
		case <-call.done:
			return call.token, call.err
		case <-ctx.Done():
			return nil, waited(ctx, "an oauth2.TokenSource")
		}
	})
}

// An oauth2Call is shared by those who wait for it. (Not singleflight: a
// source may be blocked for good, and that would keep a channel for every
// caller that has left.)
type oauth2Call struct {
	done  chan struct{}
	token *oauth2.Token // this and err are written before done is closed
	err   error
}

func callOAuth2(src oauth2.TokenSource) (token *oauth2.Token, err error) {
	err = rescue.Do("tokensource: oauth2.TokenSource", func() (err error) {
		token, err = src.Token()
		if err == nil && (token == nil || token.AccessToken == "") {
			err = errors.New("tokensource: oauth2.TokenSource returned no access token and no error")
		}
		return err
	})
	if err != nil {
		return nil, clean(err)
	}
	return token, nil
}

// ToOAuth2 returns an oauth2.TokenSource that asks src with ctx, which bounds
// every call to it. A [Session] needs no oauth2.ReuseTokenSource around it.
func ToOAuth2(ctx context.Context, src Source) oauth2.TokenSource {
	return oauth2Func(func() (*oauth2.Token, error) {
		if src == nil {
			return nil, errNilSource
		}
		return src.Token(ctx)
	})
}

type oauth2Func func() (*oauth2.Token, error)

func (f oauth2Func) Token() (*oauth2.Token, error) { return f() }
