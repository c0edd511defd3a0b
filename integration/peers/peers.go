// Command peers runs the contract kit on public RoundTrippers that put
// credentials on requests, and prints who keeps which clause as a table. With
// the name of a file, it writes the table there instead, between the two lines that
// mark its place.
package main

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	registry "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/icholy/digest"
	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	kubernetes "k8s.io/client-go/transport"
)

const (
	token    = "secret-token"
	username = "user"
	password = "secret-password"
)

// A peer is a RoundTripper under test.
type peer struct {
	module  string // for the version
	what    string // in it
	wrap    func(base http.RoundTripper) http.RoundTripper
	options []authtest.Option
}

var peers = []peer{
	{
		module: "github.com/authtrip/authtrip",
		what:   "transport.Refresh",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			session := &tokensource.Session{MaxForced: -1, Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
				return &oauth2.Token{AccessToken: token, RefreshToken: "r"}, nil
			}}
			return &transport.Refresh{Source: session, Base: base}
		},
		options: []authtest.Option{authtest.Secret(token)},
	},
	{
		module: "golang.org/x/oauth2",
		what:   "Transport",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}), Base: base}
		},
		options: []authtest.Option{
			authtest.Secret(token),
			authtest.Failing(func(base http.RoundTripper) http.RoundTripper { return &oauth2.Transport{Base: base} }),
		},
	},
	{
		module: "k8s.io/client-go",
		what:   "transport.NewBearerAuthRoundTripper",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return kubernetes.NewBearerAuthRoundTripper(token, base)
		},
		options: []authtest.Option{authtest.Secret(token)},
	},
	{
		module: "github.com/icholy/digest",
		what:   "Transport",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return &digest.Transport{Username: username, Password: password, Transport: base}
		},
		options: []authtest.Option{
			authtest.Secret(password),
			authtest.Challenge(`Digest realm="authtest", nonce="bm9uY2U", qop="auth"`),
		},
	},
	{
		module:  "github.com/google/go-containerregistry",
		what:    "remote/transport, bearer",
		wrap:    containerRegistry(`Bearer realm="https://api.example.com/token",service="authtest"`),
		options: []authtest.Option{authtest.Secret(token, password)},
	},
	{
		module:  "github.com/google/go-containerregistry",
		what:    "remote/transport, basic",
		wrap:    containerRegistry(`Basic realm="authtest"`),
		options: []authtest.Option{authtest.Secret(password, base64.StdEncoding.EncodeToString([]byte(username+":"+password)))},
	},
	{
		module: "github.com/prometheus/common",
		what:   "config.NewAuthorizationCredentialsRoundTripper",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			return config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewInlineSecret(token), base)
		},
		options: []authtest.Option{
			authtest.Secret(token),
			authtest.Failing(func(base http.RoundTripper) http.RoundTripper {
				return config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewFileSecret("/does/not/exist"), base)
			}),
		},
	},
	{
		module: "github.com/hashicorp/go-retryablehttp",
		what:   "RoundTripper",
		wrap: func(base http.RoundTripper) http.RoundTripper {
			client := retryablehttp.NewClient()
			client.Logger, client.RetryWaitMin, client.RetryWaitMax = nil, time.Millisecond, time.Millisecond
			if base != nil {
				client.HTTPClient.Transport = base
			}
			return &retryablehttp.RoundTripper{Client: client}
		},
		options: []authtest.Option{authtest.Rejection(http.StatusServiceUnavailable, nil)},
	},
}

// containerRegistry wraps as remote/transport does after it has asked the
// registry what it wants. Those questions do not reach the base.
func containerRegistry(challenge string) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		reg, err := name.NewRegistry("api.example.com")
		if err != nil {
			panic(err)
		}
		var ready atomic.Bool
		under := base
		if under == nil {
			under = http.DefaultTransport
		}
		rt, err := registry.NewWithContext(context.Background(), reg, authn.FromConfig(authn.AuthConfig{Username: username, Password: password}),
			asked{under, challenge, &ready}, []string{"repository:authtest:pull"})
		if err != nil {
			panic(err)
		}
		ready.Store(true)
		return rt
	}
}

// An asked registry answers what its client has to ask.
type asked struct {
	http.RoundTripper
	challenge string
	ready     *atomic.Bool
}

func (a asked) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(`{"token": "` + token + `"}`)), ContentLength: -1, Request: req,
	}
	switch {
	case req.URL.Path == "/token":
		answer.Header.Set("Content-Type", "application/json")
	case !a.ready.Load():
		answer.StatusCode = http.StatusUnauthorized
		answer.Header.Set("WWW-Authenticate", a.challenge)
	default:
		return a.RoundTripper.RoundTrip(req)
	}
	return answer, nil
}

func (a asked) CloseIdleConnections() {
	if c, ok := a.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
