package main

import (
	"maps"
	"net/http"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/bench/internal/rows"
	"github.com/authtrip/authtrip/transport"
	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	kubernetes "k8s.io/client-go/transport"
)

// A chain of four, each of which puts something onto the request.
type chain struct {
	name   string
	module string
	ours   bool
	// fields are those that the request is sent with beyond the template's.
	fields map[string]string
	make   func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper
}

// byHand is the round tripper that everybody writes.
type byHand struct {
	name, value string
	base        http.RoundTripper
}

func (b byHand) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Header.Set(b.name, b.value)
	return b.base.RoundTrip(r)
}

// An agent is a stranger's round tripper that does all that it should.
type agent struct{ base http.RoundTripper }

func (a agent) RoundTrip(req *http.Request) (*http.Response, error) {
	r := *req
	if r.Header = maps.Clone(req.Header); r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("User-Agent", "bench")
	resp, err := a.to().RoundTrip(&r)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

func (a agent) to() http.RoundTripper {
	if a.base == nil {
		return http.DefaultTransport
	}
	return a.base
}

func (a agent) CloseIdleConnections() {
	if c, ok := a.to().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func userAgent(base http.RoundTripper) http.RoundTripper { return agent{base} }

var (
	key    = (&apikey.Transport{Key: "key"}).Wrap
	second = (&apikey.Transport{Key: "second", Name: "X-Second-Key"}).Wrap
	cookie = (&apikey.Transport{Key: "sid", In: apikey.Cookie, Name: "sid"}).Wrap
)

var chains = []chain{
	{
		name: "authtrip: apikey, apikey in a cookie, apikey, Refresh", ours: true,
		fields: map[string]string{"X-Api-Key": "key", "X-Second-Key": "second", "Cookie": "sid=sid", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper {
			return transport.Chain(key, cookie, second, (&transport.Refresh{Source: i.Session()}).Wrap)(base)
		},
	},
	{
		name: "authtrip: Refresh, apikey, apikey in a cookie, apikey", ours: true,
		fields: map[string]string{"X-Api-Key": "key", "X-Second-Key": "second", "Cookie": "sid=sid", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper {
			return transport.Chain((&transport.Refresh{Source: i.Session()}).Wrap, key, cookie, second)(base)
		},
	},
	{
		name: "authtrip: a stranger's user agent, apikey, apikey in a cookie, Refresh", ours: true,
		fields: map[string]string{"User-Agent": "bench", "X-Api-Key": "key", "Cookie": "sid=sid", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper {
			return transport.Chain(userAgent, key, cookie, (&transport.Refresh{Source: i.Session()}).Wrap)(base)
		},
	},
	{
		name: "x/oauth2 Transport inside of three by hand, which clone", module: "golang.org/x/oauth2",
		fields: map[string]string{"User-Agent": "bench", "X-Api-Key": "key", "Cookie": "sid=sid", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper {
			return byHand{"User-Agent", "bench", byHand{"X-Api-Key", "key", byHand{
				"Cookie", "sid=sid",
				&oauth2.Transport{Source: oauth2.ReuseTokenSource(nil, i), Base: base},
			}}}
		},
	},
	{
		name: "client-go: user agent, auth proxy, impersonation, token source", module: "k8s.io/client-go",
		fields: map[string]string{"User-Agent": "bench", "X-Remote-User": "user", "Impersonate-User": "other", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, i *rows.Issuer) http.RoundTripper {
			rt := kubernetes.ResettableTokenSourceWrapTransport(kubernetes.NewCachedTokenSource(i))(base)
			rt = kubernetes.NewImpersonatingRoundTripper(kubernetes.ImpersonationConfig{UserName: "other"}, rt)
			rt = kubernetes.NewAuthProxyRoundTripper("user", "", nil, nil, rt)
			return kubernetes.NewUserAgentRoundTripper("bench", rt)
		},
	},
	{
		name: "prometheus/common: user agent, two headers, authorization", module: "github.com/prometheus/common",
		fields: map[string]string{"User-Agent": "bench", "X-Api-Key": "key", "X-Second-Key": "second", "Authorization": "Bearer token-1"},
		make: func(base http.RoundTripper, _ *rows.Issuer) http.RoundTripper {
			rt := config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewInlineSecret("token-1"), base)
			rt = config.NewHeadersRoundTripper(headers("X-Second-Key", "second"), rt)
			rt = config.NewHeadersRoundTripper(headers("X-Api-Key", "key"), rt)
			return config.NewUserAgentRoundTripper("bench", rt)
		},
	},
}

func headers(name, value string) *config.Headers {
	return &config.Headers{Headers: map[string]config.Header{name: {Values: []string{value}}}}
}

// bare is the template of chains: with what they add there are eight fields, which
// is what a map holds without growing.
func bare() *http.Request {
	req := rows.Template(4)
	req.Header.Del("User-Agent")
	req.Header.Set("X-Trace", "value")
	return req
}
