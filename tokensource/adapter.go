package tokensource

import (
	"context"
	"errors"

	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// FromOAuth2 returns a Source that asks src, which knows nothing of contexts:
// a caller whose context ends stops waiting, and the call to src goes on for
// those who still do. Callers that wait at one time share one call. Nothing is
// kept between calls, so src's own idea of freshness holds.
func FromOAuth2(src oauth2.TokenSource) Source {
	if src == nil {
		return Func(func(context.Context) (*oauth2.Token, error) { return nil, errNilSource })
	}
	var calls singleflight.Group
	return Func(func(ctx context.Context) (*oauth2.Token, error) {
		call := calls.DoChan("", func() (any, error) { return callOAuth2(src) })
		select {
		case r := <-call:
			token, _ := r.Val.(*oauth2.Token)
			return token, r.Err
		case <-ctx.Done():
			return nil, waited(ctx, "an oauth2.TokenSource")
		}
	})
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
