package transport

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

var errReentry = errors.New("transport: the renewal of this token sends its own request through the decorator that waits for it: the token endpoint's client must not be the decorated one")

// A verdict says what becomes of a request before a token is asked for.
type verdict int

const (
	untouched verdict = iota // by the caller's wish it goes as it is
	withheld                 // the audience does not include it, so it goes as it is
	attach
)

// admit judges a request that is to get a token of source by decorator, unless it has
// its own. An error means that it must not be sent.
func admit(req *http.Request, own bool, audience *Audience, source, decorator any) (verdict, error) {
	if m := marks.Of(req.Context()); m != nil {
		if m.Off() {
			return untouched, nil
		}
		if m.Renewal(source) || m.Renewal(decorator) {
			return untouched, errReentry
		}
	}
	if own {
		return untouched, nil
	}
	switch ok, err := audience.Allows(req); {
	case err != nil:
		return untouched, err
	case !ok:
		return withheld, nil
	}
	return attach, nil
}

// A header is the Authorization field of the token seen last, so that a
// token's value is built once, not for every request.
type header struct {
	last atomic.Pointer[authorization]
}

type authorization struct {
	scheme, token string
	field         *hop.Field
}

// cached returns the field for token, if it is the one seen last.
func (h *header) cached(token *oauth2.Token) *hop.Field {
	// invariant: each token has its own field
	if a := h.last.Load(); a != nil && token != nil && a.token == token.AccessToken && a.scheme == token.TokenType {
		return a.field
	}
	return nil
}

// field returns the field for a token of from (RFC 6750 section 2.1).
func (h *header) field(from string, token *oauth2.Token) (*hop.Field, error) {
	if token == nil {
		return nil, errors.New("transport: " + from + " returned neither a token nor an error")
	}
	if f := h.cached(token); f != nil {
		return f, nil
	}
	switch {
	case token.AccessToken == "":
		return nil, errors.New("transport: " + from + " returned an empty token")
	case field.HasControl(token.AccessToken):
		return nil, errors.New("transport: " + from + " returned a token with a control character")
	case !field.IsToken(token.Type()):
		return nil, errors.New("transport: " + from + " returned a token whose type is no authentication scheme")
	}
	a := &authorization{
		scheme: token.TokenType,
		token:  token.AccessToken,
		field:  hop.NewField(hop.Authorization, token.Type()+" "+token.AccessToken),
	}
	h.last.Store(a)
	return a.field, nil
}

// end ends the wait for a token, and makes an error of a panic in what was waited for. It
// is to be deferred by each method that asks a Source: one function that were given what to
// ask would cost every request a closure.
func end(wait *hop.Wait, what string, token **oauth2.Token, err *error) {
	if wait != nil {
		wait.Stop()
	}
	if v := recover(); v != nil {
		*token, *err = nil, rescue.Error(what, v)
	}
}
