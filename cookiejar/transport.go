package cookiejar

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/transport"
)

// A Transport keeps the cookies of whatever client it is under: it sends what
// the Jar has for each request, and stores what each response sets, of any
// status, before the response is returned. It does so for every hop of a
// redirect chain, as the RoundTripper that sees them all. It goes inside of
// decorators that send requests again, so that it sees the responses that they do
// not return; an [XSRF] inside of it takes care of that itself.
//
// The Audience decides for each hop whether cookies are sent and stored: what a
// browser calls with credentials. A Jar alone would send a site its cookies
// wherever a redirect comes from. Where signing in leads through several
// origins, and back, Audience.Origins has to have them all.
//
// Request and Jar make up one Cookie field. Of cookies of one name the
// request's own win, until a redirect's response sets that name: what http.Client
// copies from hop to hop is stale then. So an http.Client.Jar may be set too,
// even to the same Jar, and nothing is sent twice.
//
// Transport must not be copied; it is safe for concurrent use by multiple
// goroutines, and its fields must not be modified after the first RoundTrip.
type Transport struct {
	// Jar keeps the cookies; it is required. A Jar of another kind is used by
	// its methods Header(*url.URL) string and Receive(*url.URL, []string) if it
	// has them, else by those of http.CookieJar.
	Jar http.CookieJar

	// Audience is whose cookies are sent and stored; nil means those of the
	// origin of the first request of each redirect chain, over https or loopback.
	Audience *transport.Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	next hop.Next
}

var (
	_ http.CookieJar    = (*Jar)(nil)
	_ http.RoundTripper = (*Transport)(nil)
)

var errNoJar = errors.New("cookiejar: Transport.Jar is nil")

// A raw jar loses nothing.
type raw interface {
	Header(u *url.URL) string
	Receive(u *url.URL, setCookie []string)
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Transport, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Transport) roundTrip(l *hop.Leg) (*http.Response, error) {
	req := l.Request
	if t.Jar == nil {
		hop.CloseBody(req)
		return nil, errNoJar
	}
	m := marks.Of(req.Context())
	if m.Off() {
		return t.next.Send(t.Base, l, req)
	}
	if ok, err := t.Audience.Allows(req); err != nil {
		hop.CloseBody(req)
		return nil, err
	} else if !ok {
		return t.next.Send(t.Base, l, req)
	}
	header, epoch := visit(t.Jar, req.URL)
	putCookies(l, header, m.NewCookies())
	resp, err := t.next.Send(t.Base, l, req)
	if err != nil {
		return nil, err
	}
	keep(t.Jar, req, resp, epoch)
	return resp, nil
}

// keep has jar store what a response sets, to a request that belongs to an epoch.
func keep(jar http.CookieJar, req *http.Request, resp *http.Response, epoch uint64) {
	set := resp.Header["Set-Cookie"]
	if len(set) == 0 {
		return
	}
	switch jar := jar.(type) {
	case *Jar:
		jar.receive(req.URL, set, epoch, marks.Of(req.Context()).Renewing())
	case raw:
		jar.Receive(req.URL, set)
	default:
		jar.SetCookies(req.URL, resp.Cookies())
	}
}

// visit returns what jar has for a request to u, as a Cookie field.
func visit(jar http.CookieJar, u *url.URL) (header string, epoch uint64) {
	switch jar := jar.(type) {
	case *Jar:
		return jar.visit(u)
	case raw:
		return jar.Header(u), 0
	}
	var pairs []string
	for _, c := range jar.Cookies(u) {
		// String is for a Set-Cookie field, where the pair comes first.
		pair := &http.Cookie{Name: c.Name, Value: c.Value, Quoted: c.Quoted}
		if s := pair.String(); s != "" {
			pairs = append(pairs, s)
		}
	}
	return strings.Join(pairs, "; "), 0
}

// putCookies gives l one Cookie field that has its own pairs and those of header
// whose names it has not; or the other way round, if newer says that header's are the
// newer ones.
func putCookies(l *hop.Leg, header string, newer bool) {
	own := l.Cookies()
	switch {
	case len(own) == 0 && header == "", len(own) == 1 && own[0] != "" && header == "" && l.Request.Response == nil:
		return
	case len(own) == 0:
		l.Set(hop.NewField(hop.Cookie, header))
		return
	}
	stale := rotated(l.Request)
	if newer {
		stale = names(stale, header)
	}
	var parts, kept []string // of the field; the names of those that are l's own
	changed := len(own) > 1
	for _, value := range own {
		for pair := range strings.SplitSeq(value, ";") {
			if pair = trim(pair); pair != "" && !slices.Contains(stale, hop.CookieName(pair)) {
				parts = append(parts, pair)
				kept = append(kept, hop.CookieName(pair))
			} else {
				changed = true
			}
		}
	}
	for pair := range strings.SplitSeq(header, "; ") {
		if pair != "" && !slices.Contains(kept, hop.CookieName(pair)) {
			parts = append(parts, pair)
			changed = true
		}
	}
	switch {
	case !changed:
	case len(parts) == 0:
		l.Set(&hop.Field{Name: hop.Cookie})
	default:
		l.Set(hop.NewField(hop.Cookie, strings.Join(parts, "; ")))
	}
}

// rotated returns the names of the cookies that were set since req's redirect
// chain began.
func rotated(req *http.Request) (all []string) {
	note := func(r *http.Request) bool {
		if r.Response != nil {
			for _, field := range r.Response.Header["Set-Cookie"] {
				all = append(all, hop.CookieName(field))
			}
		}
		return true
	}
	note(req)
	hop.All(req, note)
	return all
}

// names appends the names in header, a Cookie field, to all.
func names(all []string, header string) []string {
	for pair := range strings.SplitSeq(header, "; ") {
		all = append(all, hop.CookieName(pair))
	}
	return all
}

// Wrap returns a Transport like t around base; it is a [transport.Middleware].
func (t *Transport) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Transport{Jar: t.Jar, Audience: t.Audience, Base: base}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Transport) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Transport) CloseIdleConnections() { hop.CloseIdle(t.Base) }

// Format implements [fmt.Formatter], for every verb without what is in it.
func (t *Transport) Format(f fmt.State, _ rune) { io.WriteString(f, "cookiejar.Transport") }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (t *Transport) MarshalText() ([]byte, error) { return []byte("cookiejar.Transport"), nil }
