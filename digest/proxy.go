package digest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
	"github.com/authtrip/authtrip/internal/userpass"
)

// ErrProxyRefused says that a proxy did not accept the user name or password
// for a tunnel to an https server. (For plain http there is its 407 instead.)
var ErrProxyRefused = errors.New("digest: the proxy refused the user name or password")

// A Proxy answers the Digest challenges of forward proxies.
//
// Base has to be an [http.Transport], or a decorator whose Unwrap leads to one,
// and its Proxy function tells which requests go through which proxy; a 407 to
// others is nobody's to ask. Requests for plain http are answered as [Transport]
// answers a 401. For https the http.Transport opens a tunnel, and has to be given
// two of Proxy's methods:
//
//	p := &digest.Proxy{Username: "u", Password: "p"}
//	p.Base = &http.Transport{
//		Proxy:                  http.ProxyFromEnvironment,
//		GetProxyConnectHeader:  p.GetProxyConnectHeader,
//		OnProxyConnectResponse: p.OnProxyConnectResponse,
//	}
//
// A proxy whose URL has userinfo is left to the http.Transport, which sends it
// in the Basic scheme. Proxy prints as its name alone. It must not be copied; it
// is safe for concurrent use by multiple goroutines, and its fields must not be
// modified after the first RoundTrip.
type Proxy struct {
	// Username and Password are what the user is known by. RoundTrip refuses,
	// before anything is sent, a control character in either.
	Username, Password string

	// Credentials, if not nil, is asked for every request instead that goes
	// through a proxy. It must return when its context ends, which is with the
	// request's. Its error is returned by RoundTrip, and so is a panic in it.
	Credentials func(context.Context) (username, password string, err error)

	// Base sends the request; nil means http.DefaultTransport, as it is, which
	// is good for plain http only.
	Base http.RoundTripper

	spaces space.Memory[known]
	next   hop.Next
}

// RoundTrip implements [http.RoundTripper].
func (p *Proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchange{party: proxy, Leg: hop.Leg{Request: req}, path: "/"}
	answers, err := p.answers(&x)
	switch {
	case err != nil:
		hop.CloseBody(req)
		return nil, err
	case !answers:
		return p.next.Send(p.Base, &x.Leg, req)
	case req.URL.Scheme != "http":
		return p.tunnel(&x)
	}
	return x.run(&p.next, p.Base, &p.spaces)
}

// answers reports whether x's request goes through a proxy that is to be
// answered, and completes x with that and with the credentials.
func (p *Proxy) answers(x *exchange) (bool, error) {
	if marks.Of(x.Request.Context()).Off() || x.Own(proxy.credentials) || x.Request.URL == nil {
		return false, nil
	}
	t, err := httpTransport(p.Base)
	if err != nil || t.Proxy == nil {
		return false, err
	}
	via, err := t.Proxy(x.Request)
	if err != nil || via == nil || via.User != nil || !strings.HasPrefix(via.Scheme, "http") {
		return false, err
	}
	if x.origin, err = origin.Of(via); err != nil {
		return false, fmt.Errorf("digest: the proxy's URL: %w", err)
	}
	x.username, x.password, err = userpass.For("digest", x.Request, p.Username, p.Password, p.Credentials)
	return err == nil, err
}

var errNoTransport = errors.New("digest: Proxy.Base does not lead to an http.Transport")

func httpTransport(rt http.RoundTripper) (*http.Transport, error) {
	rt = hop.Base(rt)
	for range 100 { // more is a ring
		switch t := rt.(type) {
		case *http.Transport:
			return t, nil
		case interface{ Unwrap() http.RoundTripper }:
			rt = t.Unwrap()
		default:
			return nil, errNoTransport
		}
	}
	return nil, errNoTransport
}

// A dial is what the hooks are told, through its context, of the request that a
// tunnel is opened for. net/http keeps a context's values for that, and not its
// end.
type dial struct {
	exchange
	known atomic.Pointer[known]
	offer atomic.Pointer[session] // made to this dial and not used yet
	used  atomic.Pointer[answer]
}

type dialKey struct{}

// tunnel sends a request through a tunnel. If the tunnel that was opened for it
// met a challenge, it is tried again.
func (p *Proxy) tunnel(x *exchange) (*http.Response, error) {
	d := &dial{exchange: *x}
	d.known.Store(p.spaces.Find(d.origin, d.path))
	l := hop.Leg{Request: x.Request.WithContext(context.WithValue(x.Request.Context(), dialKey{}, d))}
	l.Bare()
	first := l
	resp, err := p.next.Send(p.Base, &first, x.Request)
	if used := d.used.Swap(nil); used != nil && used.own {
		d.known.Load().offered(used.session)
	}
	if _, ok := errors.AsType[*challenged](err); !ok {
		return resp, err
	}
	body, bodyErr := hop.Replay(l.Request)
	if bodyErr != nil {
		d.giveUp()
		return nil, err
	}
	l.SetBody(body)
	resp, err = p.next.Send(p.Base, &l, x.Request)
	d.giveUp() // there may have been a tunnel after all
	return resp, err
}

// giveUp leaves what was offered to the dial to others.
func (d *dial) giveUp() {
	if s := d.offer.Swap(nil); s != nil {
		d.known.Load().offered(s)
	}
}

// A challenged is the error for a tunnel that was not opened, but may be with
// what has been learned.
type challenged struct{}

func (*challenged) Error() string {
	return "digest: the proxy asks for authentication, and the request could not be sent again"
}

// GetProxyConnectHeader is to be [http.Transport.GetProxyConnectHeader]. It
// returns the answer to the challenge that the proxy has made, or no field if it
// has made none. It is for tunnels that are opened for p's own requests.
func (p *Proxy) GetProxyConnectHeader(ctx context.Context, _ *url.URL, target string) (http.Header, error) {
	d, ok := ctx.Value(dialKey{}).(*dial)
	if !ok {
		return nil, nil
	}
	s, own := d.offer.Swap(nil), true
	if s == nil {
		s, own = d.known.Load().take(hop.Replayable(d.Request))
	}
	if s == nil {
		return nil, nil
	}
	m := message{method: http.MethodConnect, uri: []byte(target), body: s.algorithm.append(nil, nil)}
	used, value, ok := s.answer(own, d.username, d.password, m)
	if !ok {
		return nil, nil
	}
	d.used.Store(&used)
	return http.Header{proxy.credentials: {value}}, nil
}

// OnProxyConnectResponse is to be [http.Transport.OnProxyConnectResponse]. It
// has a request sent again whose tunnel was refused for want of credentials.
func (p *Proxy) OnProxyConnectResponse(ctx context.Context, _ *url.URL, connectReq *http.Request, connectRes *http.Response) error {
	d, ok := ctx.Value(dialKey{}).(*dial)
	if !ok {
		return nil
	}
	var used answer
	if u := d.used.Swap(nil); u != nil {
		used = *u
	}
	k := d.known.Load()
	if connectRes.StatusCode != proxy.status {
		if used.session == nil {
			return nil
		}
		proof, proves, next := proxy.read(connectRes.Header, used)
		if proves && !used.verify(proof, []byte(connectReq.Host)) {
			k.refused(used.session)
			return ErrServerAuth
		}
		used.served.Store(used.login)
		k.accepted(used, next)
		return nil
	}
	k.refused(used.session)
	o := strongest(challenge.FromResponse(connectRes))
	if o == nil {
		return nil
	}
	k = d.learn(&p.spaces, o)
	d.known.Store(k)
	if used.wrong(o) {
		k.offered(o.session)
		return ErrProxyRefused
	}
	d.offer.Store(o.session)
	return &challenged{}
}

// Wrap returns a Proxy like p around base; it is a [transport.Middleware]. Its
// own methods have to be the hooks of base.
func (p *Proxy) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Proxy{Username: p.Username, Password: p.Password, Credentials: p.Credentials, Base: base}
}

// Unwrap returns the RoundTripper that p sends by.
func (p *Proxy) Unwrap() http.RoundTripper { return hop.Base(p.Base) }

// CloseIdleConnections closes those of Base.
func (p *Proxy) CloseIdleConnections() { hop.CloseIdle(p.Base) }

// Format implements [fmt.Formatter], for every verb without the credentials.
func (p *Proxy) Format(f fmt.State, _ rune) { io.WriteString(f, "digest.Proxy") }

// MarshalText implements [encoding.TextMarshaler], without the credentials.
func (p *Proxy) MarshalText() ([]byte, error) { return []byte("digest.Proxy"), nil }
