package cookiejar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authtrip/authtrip/internal/carry"
	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// The names that Angular and axios have made common.
const (
	DefaultXSRFCookie = "XSRF-TOKEN"
	DefaultXSRFHeader = "X-XSRF-TOKEN"
)

// XSRF sends the token by which a server knows that a request was not forged
// across sites: the value of a cookie, repeated in a header field. It goes inside
// a [Transport], or below an http.Client with a Jar, where the cookies are on the
// request already, so that field and cookie are of one moment:
//
//	transport.Chain(login.Wrap, cookies.Wrap, xsrf.Wrap)
//
// It acts on POST, PUT, PATCH, DELETE and all methods but the safe ones (RFC 9110
// section 9.2.1), on each hop of a redirect anew, and only within its Audience. A
// field of that name that the caller has set stays. A request without such a
// cookie is sent without the field.
//
// Servers that do not use a cookie, or not from the start, are for Fetch. What it
// has brought is sent until the server rejects it; requests that need it at once
// share one call. A rejection may bring the next token itself, in a field of the
// response: the request is then sent again, once, by the rules of
// [transport.Refresh]. [Django] and [Rails] return an XSRF for their servers.
//
// XSRF must not be copied; it is safe for concurrent use by multiple goroutines,
// and its fields must not be modified after the first RoundTrip.
type XSRF struct {
	// Cookie is the cookie's name; empty means DefaultXSRFCookie.
	Cookie string
	// Header is the field's name; empty means DefaultXSRFHeader.
	Header string
	// Match, if not nil, is asked instead of Cookie, for servers that make up
	// names at run time: it is given the name of each cookie and returns that of
	// the field to put its value into, or "".
	Match func(cookie string) (header string)
	// Raw sends the value as it is in the cookie. Otherwise percent-encoding is
	// decoded, as JavaScript clients do.
	Raw bool
	// AllMethods sends the token with safe methods too.
	AllMethods bool
	// SendOrigin adds the field Origin, with the request's own origin, where it
	// has none, for servers that look at that over https.
	SendOrigin bool

	// Fetch, if not nil, obtains a token where there is none: it requests a page
	// by client and returns the token from it, and the name of the field for it if
	// that is not Header. It may return "" if the page has set the cookie. Its
	// context ends by Timeout, not with a request. See [FetchMeta] and [FetchJSON].
	Fetch func(ctx context.Context, client *http.Client) (header, token string, err error)
	// Timeout bounds one Fetch; zero means 30 seconds.
	Timeout time.Duration

	// Rejected reports whether a response says that the token was not accepted.
	// It must not read or close the body, but see [transport.RejectedIf]. Then
	// there is a Fetch, or without one the cookie is looked at again. nil means
	// nothing but a 403 or 409 that has a token in the field Header, which is what
	// any other rejection is looked at for, too.
	Rejected func(*http.Response) bool

	// Jar is that of the Transport around XSRF. Where there is a Fetch or a Rejected, it
	// is needed: it keeps the cookies that Fetch is given and those that come with a
	// rejection, and a request that had to wait for Fetch, or is sent again, gets its
	// cookies from there anew. It also serves an XSRF that is not inside of what has
	// the cookies.
	Jar http.CookieJar

	// ReplayBuffer is that of transport.Refresh: up to how many bytes a body
	// without GetBody is kept in memory, if a token may have to be replaced.
	ReplayBuffer int64

	// OnEvent, if not nil, is told what becomes of requests that are rejected.
	OnEvent func(context.Context, transport.Event)

	// Audience is who may receive the token; nil means the origin of the first
	// request of each redirect chain, over https or loopback.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	renewal
	next           hop.Next
	cookie, header string
	err            error
}

// RoundTrip implements [http.RoundTripper].
func (t *XSRF) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *XSRF, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *XSRF) roundTrip(l *hop.Leg) (*http.Response, error) {
	t.once.Do(t.begin)
	if t.err != nil {
		hop.CloseBody(l.Request)
		return nil, t.err
	}
	if !t.concerns(l) {
		return t.next.Send(t.Base, l, l.Request)
	}
	if err := t.ensure(l); err != nil {
		hop.CloseBody(l.Request)
		return nil, err
	}
	return t.send(l)
}

func (t *XSRF) begin() {
	t.cookie, t.header = t.Cookie, http.CanonicalHeaderKey(t.Header)
	if t.cookie == "" {
		t.cookie = DefaultXSRFCookie
	}
	if t.header == "" {
		t.header = http.CanonicalHeaderKey(DefaultXSRFHeader)
	}
	if !field.IsToken(t.header) {
		t.err = errors.New("cookiejar: XSRF.Header is no header field's name")
	}
	t.session.Grant, t.session.Timeout = t.obtain, t.Timeout
	if t.Fetch == nil {
		t.session.MaxForced = -1 // to look at a cookie again costs nobody anything
	}
	t.refresh.Rejected, t.refresh.ReplayBuffer, t.refresh.OnEvent = t.rejected, t.ReplayBuffer, t.OnEvent
	t.refresh.Audience, t.refresh.Base = t.Audience, t.Base
	if t.Jar != nil {
		t.refresh.Base = &keeper{t}
	}
	t.start(t.carryToken)
}

// A keeper keeps what each response to an XSRF's requests sets: of one that is sent
// again no other decorator gets to see the first response.
type keeper struct{ *XSRF }

var _ = hop.Register(func(t *keeper, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

// RoundTrip implements [http.RoundTripper].
func (k *keeper) RoundTrip(req *http.Request) (*http.Response, error) {
	return k.roundTrip(&hop.Leg{Request: req})
}

func (k *keeper) roundTrip(l *hop.Leg) (*http.Response, error) {
	ok, _ := k.Audience.Allows(l.Request)
	var epoch uint64
	if jar, ours := k.Jar.(*Jar); ours {
		epoch = jar.now()
	}
	resp, err := k.next.Send(k.Base, l, l.Request)
	if err == nil && ok {
		keep(k.Jar, l.Request, resp, epoch)
	}
	return resp, err
}

// concerns reports whether l is to have a token of ours.
func (t *XSRF) concerns(l *hop.Leg) bool {
	if !t.AllMethods {
		switch l.Request.Method {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			return false
		}
	}
	return !marks.Of(l.Request.Context()).Off() && !l.Own(t.header)
}

// find looks for the token in the cookies of l, and for the field it goes into.
func (t *XSRF) find(l *hop.Leg) (header, value string) {
	for _, rest := range l.Cookies() {
		for pair := ""; rest != ""; {
			pair, rest, _ = strings.Cut(rest, ";")
			name := hop.CookieName(pair)
			switch {
			case t.Match != nil:
				header = http.CanonicalHeaderKey(t.Match(name))
			case name == t.cookie:
				header = t.header
			}
			if header != "" {
				_, value, _ = strings.Cut(pair, "=")
				return header, t.decode(trim(value))
			}
		}
	}
	return "", ""
}

// putJar puts the cookies of the Jar, if there is one, onto l.
func (t *XSRF) putJar(l *hop.Leg, newer bool) {
	if t.Jar != nil {
		cookies, _ := visit(t.Jar, l.Request.URL)
		putCookies(l, cookies, newer)
	}
}

func (t *XSRF) decode(value string) string {
	if t.Raw {
		return value
	}
	if decoded, err := url.PathUnescape(value); err == nil {
		return decoded
	}
	return value
}

// carryToken puts the token onto the request: one that was fetched or came with a
// rejection, or else the cookie's.
func (t *XSRF) carryToken(a carry.Attempt) hop.Leg {
	l := a.Leg
	if a.Again {
		t.putJar(&l, true)
	}
	header, value := a.Token.TokenType, a.Token.AccessToken
	if value == placeholder {
		header, value = t.find(&l)
	}
	if value != "" && field.IsToken(header) && !field.HasControl(value) && !l.Own(header) {
		l.Set(hop.NewField(header, value))
	} else {
		l.Bare() // the server will say what is missing
	}
	if t.SendOrigin && !l.Own("Origin") {
		host := l.Request.Host
		if host == "" {
			host = l.Request.URL.Host
		}
		l.Set(hop.NewField("Origin", l.Request.URL.Scheme+"://"+host))
	}
	return l
}

var errNothing = errors.New("cookiejar: XSRF.Fetch has brought no token, and the cookie for it is not there (is XSRF.Jar the one that has it?)")

// ensure puts cookies from the Jar onto l if it lacks the token's, and has a token
// fetched if there is none.
func (t *XSRF) ensure(l *hop.Leg) error {
	if t.Jar == nil && t.Fetch == nil {
		return nil
	}
	if ok, err := t.Audience.Allows(l.Request); !ok {
		return err
	}
	if header, _ := t.find(l); header != "" {
		return nil
	}
	before := *l
	t.putJar(l, false)
	if header, _ := t.find(l); header != "" || t.Fetch == nil {
		return nil
	}
	ctx, wait := hop.Waiting(l.Request)
	defer wait.Stop()
	token, err := t.session.Token(ctx)
	if err != nil || token.AccessToken != placeholder {
		return err
	}
	if token, err = t.session.Renew(ctx, token); err != nil {
		return err
	}
	*l = before
	t.putJar(l, true)
	if header, _ := t.find(l); header == "" && token.AccessToken == placeholder {
		return errNothing
	}
	return nil
}

// obtain is the Session's Grant.
func (t *XSRF) obtain(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
	if t.Fetch == nil {
		return current, nil // in a cookie there may be another now
	}
	header, value, err := t.Fetch(ctx, clientFor(ctx, t.Base, t.Jar))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cookiejar: fetching an XSRF token: %w", err)
	case value == "":
		return held(), nil
	}
	return t.token(header, value)
}

func (t *XSRF) token(header, value string) (*oauth2.Token, error) {
	if header == "" {
		header = t.header
	}
	if !field.IsToken(header) || field.HasControl(value) {
		return nil, errors.New("cookiejar: an XSRF token or its field's name has a character that cannot be sent")
	}
	return &oauth2.Token{AccessToken: value, TokenType: http.CanonicalHeaderKey(header)}, nil
}

// rejected also takes up the token that a rejection has brought.
func (t *XSRF) rejected(resp *http.Response) bool {
	value := resp.Header.Get(t.header)
	brought := value != "" && !strings.EqualFold(value, "required") // which is SAP's word for none
	switch {
	case t.Rejected != nil:
		if !t.Rejected(resp) {
			return false
		}
	case !brought || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusConflict:
		return false
	}
	if brought {
		t.learn(resp.Request.Context(), value)
	}
	return true
}

// learn makes a token that a rejection has brought the current one, unless it is.
func (t *XSRF) learn(ctx context.Context, value string) {
	token, err := t.token("", value)
	if err != nil {
		return
	}
	if current, err := t.session.Token(ctx); err != nil || current.AccessToken != value {
		_ = t.session.Set(ctx, token) // without a Store it does not fail
	}
}

// Wrap returns an XSRF like t around base, with tokens of its own; it is a
// [transport.Middleware].
func (t *XSRF) Wrap(base http.RoundTripper) http.RoundTripper {
	return &XSRF{
		Cookie: t.Cookie, Header: t.Header, Match: t.Match, Raw: t.Raw, AllMethods: t.AllMethods, SendOrigin: t.SendOrigin,
		Fetch: t.Fetch, Timeout: t.Timeout, Rejected: t.Rejected, Jar: t.Jar, ReplayBuffer: t.ReplayBuffer, OnEvent: t.OnEvent,
		Audience: t.Audience, Base: base,
	}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *XSRF) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *XSRF) CloseIdleConnections() { hop.CloseIdle(t.Base) }

// Format implements [fmt.Formatter], for every verb without what is in it.
func (t *XSRF) Format(f fmt.State, _ rune) { io.WriteString(f, "cookiejar.XSRF") }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (t *XSRF) MarshalText() ([]byte, error) { return []byte("cookiejar.XSRF"), nil }
