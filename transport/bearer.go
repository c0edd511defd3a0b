package transport

import (
	"errors"
	"net/http"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// Bearer puts the Source's token into the Authorization field of every request
// (RFC 6750 section 2.1), read fresh each time. It does nothing about a 401;
// see [Refresh].
//
// A request that has an Authorization field already is passed through as it
// is, and so is one that the Audience does not include. Bearer must not be
// copied; it is safe for concurrent use by multiple goroutines, and its fields
// must not be modified after the first RoundTrip.
type Bearer struct {
	// Source gives the token. It is required.
	Source tokensource.Source

	// Optional lets a request go without a token if there is none, which is
	// when the Source returns tokensource.ErrNoToken. Otherwise RoundTrip
	// returns that error.
	Optional bool

	// Audience is who may receive the token; nil means the origin of the first
	// request of each redirect chain, over https or loopback.
	Audience *Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	header header
	next   hop.Next
}

var errBearerSource = errors.New("transport: Bearer.Source is nil")

// RoundTrip implements [http.RoundTripper].
func (t *Bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Bearer, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Bearer) roundTrip(l *hop.Leg) (*http.Response, error) {
	f, err := t.authorize(l)
	if err != nil {
		hop.CloseBody(l.Request)
		return nil, err
	}
	if f != nil {
		l.Set(f)
	}
	return t.next.Send(t.Base, l, l.Request)
}

// authorize returns the field to send, nil if l is to go as it is.
func (t *Bearer) authorize(l *hop.Leg) (*hop.Field, error) {
	if t.Source == nil {
		return nil, errBearerSource
	}
	if v, err := admit(l.Request, l.Own(hop.Authorization), t.Audience, t.Source, t); v != attach {
		return nil, err
	}
	token, err := t.token(l.Request)
	if err != nil {
		if t.Optional && errors.Is(err, tokensource.ErrNoToken) {
			return nil, nil
		}
		return nil, err
	}
	return t.header.field("Source", token)
}

func (t *Bearer) token(req *http.Request) (token *oauth2.Token, err error) {
	ctx, wait := hop.Waiting(req)
	defer end(wait, "transport: Source", &token, &err)
	return t.Source.Token(ctx)
}

// Wrap returns a Bearer like t around base; it is a [Middleware].
func (t *Bearer) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Bearer{Source: t.Source, Optional: t.Optional, Audience: t.Audience, Base: base}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Bearer) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Bearer) CloseIdleConnections() { hop.CloseIdle(t.Base) }
