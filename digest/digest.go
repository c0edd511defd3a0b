// Package digest authenticates HTTP requests by user name and password in the
// Digest scheme (RFC 7616), which does not send the password.
//
//	client := &http.Client{Transport: &digest.Transport{Username: "Mufasa", Password: "Circle of Life"}}
//
// The hash functions are SHA-512/256, SHA-256 and MD5, each also with -sess; the
// strongest on offer is used. Quality of protection is auth, or auth-int where
// nothing else is offered, or none as in RFC 2069. User names are hashed, or
// sent in UTF-8, where the server asks for it.
//
// What Digest protects is the password, and not well: a password that can be
// guessed can be found from one request, and nothing else of the request is
// secret. It needs https like every other scheme.
package digest

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
	"github.com/authtrip/authtrip/internal/userpass"
	"github.com/authtrip/authtrip/transport"
)

// A Transport answers a server's Digest challenges (RFC 7616).
//
// The first request to a protection space is sent without credentials, and sent
// again with an answer to the challenge that comes back. From then on requests to
// the space, which is what the challenge's domain names or else the whole
// origin, carry an answer at once, with a nonce that no other request under way
// has. Where there are more requests than nonces, one that can be sent again goes
// without credentials first, and leaves another nonce for those after it.
//
// A request is sent twice at most. After an answer it is sent again only if the
// server says that the nonce was stale, asks for another realm, or has accepted
// this user just before, since some servers do not say stale. Otherwise the
// user name or the password is wrong, and its 401 is returned as it came. So is
// that of a request whose body cannot be sent again, which is one with a body but
// without GetBody; the next request then carries an answer at once. Nothing is
// buffered. Where the server offers no quality of protection but auth-int, the
// body's hash is needed before it is sent, and without GetBody that is
// ErrIntegrity.
//
// A response whose Authentication-Info has an rspauth that is wrong is replaced
// by ErrServerAuth. With auth-int rspauth is not looked at.
//
// A request that has an Authorization field already is passed through as it
// is, and so is one that the Audience does not include, whose challenges are not
// answered. A decorator that changes the method or the URL, such as an API key in
// the query, has to come before this one in a chain. Transport prints as its name
// alone. It must not be copied; it is safe for concurrent use by multiple
// goroutines, and its fields must not be modified after the first RoundTrip.
type Transport struct {
	// Username and Password are what the user is known by, as the bytes they
	// are: Unicode is not normalised, so NFC is the caller's to see to. RoundTrip
	// refuses, before anything is sent, a control character in either.
	Username, Password string

	// Credentials, if not nil, is asked for every request instead. It must
	// return when its context ends, which is with the request's. Its error
	// is returned by RoundTrip, and so is a panic in it.
	Credentials func(context.Context) (username, password string, err error)

	// Audience is whose challenges are answered; nil means the origin of the
	// first request of each redirect chain, over https or loopback.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	spaces space.Memory[known]
	next   hop.Next
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Transport, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Transport) roundTrip(l *hop.Leg) (*http.Response, error) {
	x := exchange{party: server, Leg: *l}
	ok, err := t.authenticates(&x)
	switch {
	case err != nil:
		hop.CloseBody(l.Request)
		return nil, err
	case !ok:
		return t.next.Send(t.Base, l, l.Request)
	}
	x.path = path(l.Request.URL)
	return x.run(&t.next, t.Base, &t.spaces)
}

// authenticates reports whether x's request may get credentials, and completes
// x with those and with who they are for.
func (t *Transport) authenticates(x *exchange) (ok bool, err error) {
	if marks.Of(x.Request.Context()).Off() || x.Own(hop.Authorization) {
		return false, nil
	}
	if ok, err := t.Audience.Allows(x.Request); !ok {
		return false, err
	}
	x.origin, _ = origin.Of(x.Request.URL) // which Allows could read
	x.username, x.password, err = userpass.For("digest", x.Request, t.Username, t.Password, t.Credentials)
	return err == nil, err
}

// Wrap returns a Transport like t around base; it is a [transport.Middleware].
// Each learns for itself what servers ask for.
func (t *Transport) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Transport{
		Username: t.Username, Password: t.Password, Credentials: t.Credentials,
		Audience: t.Audience, Base: base,
	}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Transport) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Transport) CloseIdleConnections() { hop.CloseIdle(t.Base) }

// Format implements [fmt.Formatter], for every verb without the credentials.
func (t *Transport) Format(f fmt.State, _ rune) { io.WriteString(f, "digest.Transport") }

// MarshalText implements [encoding.TextMarshaler], without the credentials.
func (t *Transport) MarshalText() ([]byte, error) { return []byte("digest.Transport"), nil }
