// Package apikey authenticates HTTP requests by an API key in a header field,
// in the query or in a cookie, the three places that OpenAPI's security schemes
// know.
//
//	client := &http.Client{Transport: &apikey.Transport{Key: os.Getenv("API_KEY")}}
//	client = &http.Client{Transport: &apikey.Transport{Source: key.Get, In: apikey.Query, Name: "key"}}
//	client = &http.Client{Transport: &apikey.Transport{Key: key, Name: "Authorization", Prefix: "ApiKey"}}
//
// On a redirect net/http takes the Authorization field off a request that
// leaves for another host, and sends every other field along. A Transport
// decides for each hop anew: see [transport.Audience].
package apikey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"github.com/authtrip/authtrip/transport"
)

// A Location is where in a request the key goes.
type Location int

// The locations.
const (
	Header Location = iota // in a field of its own, or in Authorization
	Query                  // as the last parameter of the URL's query
	Cookie                 // as the last pair of the Cookie field
)

// DefaultName is the header field of a Transport without a Name.
const DefaultName = "X-API-Key"

// A Transport puts an API key into every request.
//
// A request that has a field, a query parameter or a cookie of that name
// already is passed through as it is, and so is one that the Audience does not
// include. Transport does nothing about a 401. It prints as its name alone. It must
// not be copied; it is safe for concurrent use by multiple goroutines, and its
// fields must not be modified after the first RoundTrip.
//
// A key in the query stays on the request that Base is given. The caller's URL
// does not show it, nor does the Referer of a redirect, nor an error of
// Base. Where a server's Location field repeats it, it is taken out: the
// parameter, and a key of eight bytes or more wherever else it is seen, except
// in a path on the same origin.
type Transport struct {
	// Key is the key. An empty key is an error, and so is a control character
	// in it and, in a cookie, whatever a cookie cannot hold (RFC 6265 section
	// 4.1.1).
	Key string

	// Source, if not nil, is asked for the key of every request instead, as
	// [Key.Get] may be. It must return when its context ends, which is with the
	// request's. Its error is returned by RoundTrip, and so is a panic in it.
	Source func(context.Context) (string, error)

	// In is where the key goes; zero means Header.
	In Location

	// Name is that of the header field, the query parameter or the cookie. In a
	// header it is DefaultName if empty; elsewhere it is required.
	Name string

	// Prefix comes before the key in a header field. A space is put between them
	// where Prefix is a token, such as the scheme ApiKey, Token or GenieKey;
	// anything else, such as key=, is put before the key as it is.
	Prefix string

	// Audience is who may receive the key; nil means the origin of the first
	// request of each redirect chain, over https or loopback.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	once sync.Once // guards name and err
	name string
	err  error
	last atomic.Pointer[credential]
	next hop.Next
}

// A credential is a key in the form it is sent in, made once, not for every
// request.
type credential struct {
	key   string
	field *hop.Field // that of a cookie has nothing else
	pair  string     // name=value, for a query or a cookie

	spellings []string // of the key, as a query's may come back, longest first
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Transport, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Transport) roundTrip(l *hop.Leg) (*http.Response, error) {
	req := l.Request
	c, err := t.credential(l)
	switch {
	case err != nil:
		hop.CloseBody(req)
		return nil, err
	case c == nil:
		return t.next.Send(t.Base, l, req)
	}
	switch t.In {
	case Query:
		l.SetQuery(query(l, t.name, c.pair))
		resp, err := t.next.Send(t.Base, l, req)
		if err != nil {
			return nil, conceal(err, c.spellings)
		}
		takeOut(req, resp.Header, t.name, c)
		return resp, nil
	case Cookie:
		l.Set(cookies(l, c))
	default:
		l.Set(c.field)
	}
	return t.next.Send(t.Base, l, req)
}

var errEmpty = errors.New("apikey: the key is empty")

// credential returns what to attach, nil if req is to go as it is.
func (t *Transport) credential(l *hop.Leg) (*credential, error) {
	req := l.Request
	if marks.Of(req.Context()).Off() {
		return nil, nil
	}
	t.once.Do(t.configure)
	if t.err != nil {
		return nil, t.err
	}
	if t.own(l) {
		return nil, nil
	}
	if ok, err := t.Audience.Allows(req); !ok {
		return nil, err
	}
	key := t.Key
	if t.Source != nil {
		ctx, wait := hop.Waiting(req)
		defer wait.Stop()
		var err error
		if key, err = ask(ctx, t.Source); err != nil {
			return nil, err
		}
	}
	if c := t.last.Load(); c != nil && c.key == key {
		return c, nil
	}
	c, err := t.build(key)
	if err == nil {
		t.last.Store(c)
	}
	return c, err
}

func ask(ctx context.Context, source func(context.Context) (string, error)) (key string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = rescue.Error("apikey: Source", v)
		}
	}()
	return source(ctx)
}

// configure checks the fields that do not change.
func (t *Transport) configure() {
	t.name = t.Name
	switch t.In {
	case Header:
		if t.name == "" {
			t.name = DefaultName
		}
		t.name = http.CanonicalHeaderKey(t.name)
		switch {
		case !field.IsToken(t.name):
			t.err = errors.New("apikey: Name is no header field's name")
		case t.name == "Host" || t.name == "Content-Length" || t.name == "Transfer-Encoding" || t.name == "Trailer":
			t.err = fmt.Errorf("apikey: the field %s is not sent from a header", t.name)
		case t.name == "Cookie":
			t.err = errors.New("apikey: a key in the field Cookie is one with In: Cookie")
		case field.HasControl(t.Prefix):
			t.err = errors.New("apikey: Prefix has a control character")
		}
		return
	case Query:
		if t.name == "" {
			t.err = errors.New("apikey: a key in the query needs a Name")
		}
	case Cookie:
		if !field.IsToken(t.name) {
			t.err = errors.New("apikey: a key in a cookie needs a Name, which must be a token")
		}
	default:
		t.err = fmt.Errorf("apikey: In is %d, which is no Location", t.In)
	}
	if t.err == nil && t.Prefix != "" {
		t.err = errors.New("apikey: Prefix is for a key in a header")
	}
}

// own reports whether the caller put a key of this name into req, or into the
// first request of its redirect chain.
func (t *Transport) own(l *hop.Leg) bool {
	first := l.Request
	if first.Response != nil {
		first = hop.First(first)
	}
	switch {
	case t.In == Header:
		return l.Own(t.name)
	case t.In == Cookie:
		return hasCookie(l.Cookies(), t.name) || first != l.Request && hasCookie(hop.Cookies(first.Header), t.name)
	case first != l.Request: // a redirect's URL is the server's choice
		return first.URL != nil && hasParam(first.URL.RawQuery, t.name)
	}
	return l.Request.URL != nil && hasParam(l.Query(), t.name)
}

func (t *Transport) build(key string) (*credential, error) {
	switch {
	case key == "":
		return nil, errEmpty
	case field.HasControl(key):
		return nil, errors.New("apikey: the key has a control character")
	}
	c := &credential{key: key}
	switch t.In {
	case Query:
		once := url.QueryEscape(key)
		c.pair = url.QueryEscape(t.name) + "=" + once
		c.spellings = []string{url.QueryEscape(once), url.PathEscape(key), once, key}
	case Cookie:
		if strings.ContainsFunc(key, func(r rune) bool { return r > 0x7f || strings.ContainsRune(` ",;\`, r) }) {
			return nil, errors.New("apikey: the key has a character that a cookie cannot hold")
		}
		c.pair = t.name + "=" + key
		c.field = hop.NewField(hop.Cookie, c.pair)
	default:
		prefix := t.Prefix
		if field.IsToken(prefix) {
			prefix += " "
		}
		c.field = hop.NewField(t.name, prefix+key)
	}
	return c, nil
}

// Wrap returns a Transport like t around base; it is a [transport.Middleware].
func (t *Transport) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Transport{
		Key: t.Key, Source: t.Source, In: t.In, Name: t.Name, Prefix: t.Prefix,
		Audience: t.Audience, Base: base,
	}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Transport) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Transport) CloseIdleConnections() { hop.CloseIdle(t.Base) }

// Format implements [fmt.Formatter], for every verb without the key.
func (t *Transport) Format(f fmt.State, _ rune) { io.WriteString(f, "apikey.Transport") }

// MarshalText implements [encoding.TextMarshaler], without the key.
func (t *Transport) MarshalText() ([]byte, error) { return []byte("apikey.Transport"), nil }
