package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
			return nil, fmt.Errorf("tokensource: waiting for an oauth2.TokenSource: %w", ctx.Err())
		}
	})
}

func callOAuth2(src oauth2.TokenSource) (token *oauth2.Token, err error) {
	err = rescue.Do("tokensource: oauth2.TokenSource", func() (err error) {
		token, err = src.Token()
		return err
	})
	if err != nil {
		return nil, withoutBody(err)
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

// withoutBody replaces an oauth2.RetrieveError within err, whose text may be
// the token endpoint's whole answer, by one that has kept only what error
// handling needs: the status, the header, and the RFC 6749 error fields.
func withoutBody(err error) error {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	kept := &oauth2.RetrieveError{
		Response:         &http.Response{Status: "no response"},
		ErrorCode:        printable(re.ErrorCode),
		ErrorDescription: printable(re.ErrorDescription),
		ErrorURI:         printable(re.ErrorURI),
	}
	if r := re.Response; r != nil {
		// The reason phrase is the server's free text as well.
		kept.Response.Status = fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
		kept.Response.StatusCode, kept.Response.Header = r.StatusCode, r.Header
	}
	return kept
}
