// Package basic authenticates HTTP requests by user name and password in the
// Basic scheme (RFC 7617).
//
//	client := &http.Client{Transport: &basic.Transport{Username: "aladdin", Password: "open sesame"}}
//
// The credentials go with every request, without waiting for a challenge. They
// are as good as in clear text, so what protects them is where they are sent:
// see [transport.Audience].
package basic

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/userpass"
	"github.com/authtrip/authtrip/transport"
)

// A Transport puts a user name and password into the Authorization field of
// every request (RFC 7617 section 2).
//
// A request that has an Authorization field already, as by
// [http.Request.SetBasicAuth], is passed through as it is, and so is one that
// the Audience does not include. Transport does nothing about a 401. It prints
// as its name alone. It must not be copied; it is safe for concurrent use by
// multiple goroutines, and its fields must not be modified after the first
// RoundTrip.
type Transport struct {
	// Username and Password are the user-id and password; one of them may be
	// empty. They are sent as the bytes they are, which is UTF-8 as Go has it,
	// whatever charset the server's challenge asks for. RoundTrip refuses, before
	// anything is sent, a colon in the user-id and a control character in either.
	Username, Password string

	// Credentials, if not nil, is asked for every request instead. It must
	// return when its context ends, which is with the request's. Its error
	// is returned by RoundTrip, and so is a panic in it.
	Credentials func(context.Context) (username, password string, err error)

	// Audience is who may receive the password; nil means the origin of the
	// first request of each redirect chain, over https or loopback.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	last atomic.Pointer[authorization]
	next hop.Next
}

// An authorization is the field for one user, built once, not for every
// request.
type authorization struct {
	username, password string
	field              *hop.Field
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Transport, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Transport) roundTrip(l *hop.Leg) (*http.Response, error) {
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

var errColon = errors.New("basic: the user name has a colon")

// authorize returns the field to send, nil if l is to go as it is.
func (t *Transport) authorize(l *hop.Leg) (*hop.Field, error) {
	req := l.Request
	if marks.Of(req.Context()).Off() || l.Own(hop.Authorization) {
		return nil, nil
	}
	if ok, err := t.Audience.Allows(req); !ok {
		return nil, err
	}
	a := t.last.Load()
	if a != nil && t.Credentials == nil {
		return a.field, nil
	}
	username, password, err := userpass.For("basic", req, t.Username, t.Password, t.Credentials)
	if err != nil {
		return nil, err
	}
	if a != nil && a.username == username && a.password == password {
		return a.field, nil
	}
	if strings.Contains(username, ":") {
		return nil, errColon
	}
	value := "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
	a = &authorization{username, password, hop.NewField(hop.Authorization, value)}
	t.last.Store(a)
	return a.field, nil
}

// Wrap returns a Transport like t around base; it is a [transport.Middleware].
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
func (t *Transport) Format(f fmt.State, _ rune) { io.WriteString(f, "basic.Transport") }

// MarshalText implements [encoding.TextMarshaler], without the credentials.
func (t *Transport) MarshalText() ([]byte, error) { return []byte("basic.Transport"), nil }
