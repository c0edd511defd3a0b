package digest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

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

	// Credentials, if not nil, is asked for every request and every tunnel
	// instead. It must return when its context ends. Its error is returned
	// by RoundTrip, and so is a panic in it.
	Credentials func(context.Context) (username, password string, err error)

	// Base sends the request; nil means http.DefaultTransport, as it is, which
	// is good for plain http only.
	Base http.RoundTripper

	spaces space.Memory[known]
}

// RoundTrip implements [http.RoundTripper].
func (p *Proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	via, err := p.via(req)
	switch {
	case err != nil:
		hop.CloseBody(req)
		return nil, err
	case via == nil:
		return hop.Send(p.Base, req, req)
	case req.URL.Scheme != "http":
		return p.tunnel(req)
	}
	x := exchange{party: proxy, req: req, path: "/"}
	if x.origin, err = origin.Of(via); err != nil {
		hop.CloseBody(req)
		return nil, fmt.Errorf("digest: the proxy's URL: %w", err)
	}
	if x.username, x.password, err = userpass.For("digest", req, p.Username, p.Password, p.Credentials); err != nil {
		hop.CloseBody(req)
		return nil, err
	}
	return x.run(p.Base, &p.spaces)
}

// via returns the proxy that is to be answered for req, nil if there is none.
func (p *Proxy) via(req *http.Request) (*url.URL, error) {
	if marks.Of(req.Context()).Off() || hop.HasOwn(req, proxy.credentials) || req.URL == nil {
		return nil, nil
	}
	t, err := httpTransport(p.Base)
	if err != nil || t.Proxy == nil {
		return nil, err
	}
	via, err := t.Proxy(req)
	if err != nil || via == nil || via.User != nil || !strings.HasPrefix(via.Scheme, "http") {
		return nil, err
	}
	return via, nil
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

// tunnel sends a request through a tunnel. If the tunnel that was opened for it
// met a challenge, it is tried again.
func (p *Proxy) tunnel(req *http.Request) (*http.Response, error) {
	resp, err := hop.Send(p.Base, hop.Copy(req), req)
	if _, ok := errors.AsType[*challenged](err); !ok || !hop.Replayable(req) {
		return resp, err
	}
	second := hop.Copy(req)
	if hasBody(req) {
		body, bodyErr := req.GetBody()
		if bodyErr != nil {
			return nil, err
		}
		second.Body = body
	}
	return hop.Send(p.Base, second, req)
}

// A challenged is the error for a tunnel that was not opened, but may be with
// what has been learned.
type challenged struct{}

func (*challenged) Error() string {
	return "digest: the proxy asks for authentication, and the request could not be sent again"
}

// GetProxyConnectHeader is to be [http.Transport.GetProxyConnectHeader]. It
// returns the answer to the challenge that the proxy has last made, or no field
// if it has made none.
func (p *Proxy) GetProxyConnectHeader(ctx context.Context, proxyURL *url.URL, target string) (http.Header, error) {
	o, err := origin.Of(proxyURL)
	if err != nil || proxyURL.User != nil {
		return nil, err
	}
	s := p.spaces.Find(o, "/").take()
	if s == nil {
		return nil, nil
	}
	username, password, err := userpass.Ask("digest", ctx, p.Username, p.Password, p.Credentials)
	if err != nil {
		return nil, err
	}
	m := message{method: http.MethodConnect, uri: []byte(target), body: s.algorithm.append(nil, nil)}
	_, value, ok := s.answer(username, password, m)
	if !ok {
		return nil, nil
	}
	return http.Header{proxy.credentials: {value}}, nil
}

// OnProxyConnectResponse is to be [http.Transport.OnProxyConnectResponse].
func (p *Proxy) OnProxyConnectResponse(_ context.Context, proxyURL *url.URL, connectReq *http.Request, connectRes *http.Response) error {
	o, err := origin.Of(proxyURL)
	if err != nil || proxyURL.User != nil || connectRes.StatusCode != proxy.status {
		return err
	}
	s := strongest(challenge.FromResponse(connectRes))
	if s == nil {
		return nil
	}
	p.spaces.Learn(o, s.realm, "/").offered(s)
	if connectReq.Header.Get(proxy.credentials) != "" && !s.stale {
		return ErrProxyRefused
	}
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
