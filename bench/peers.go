package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/aws/smithy-go/auth/bearer"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/go-resty/resty/v2"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	registry "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	kubernetes "k8s.io/client-go/transport"
	oras "oras.land/oras-go/v2/registry/remote/auth"
)

// A peer puts a bearer token onto requests, in the way that its documentation shows.
type peer struct {
	name   string
	module string // for its version; empty if it is nobody's
	ours   bool
	// scheme comes before the token.
	scheme string
	// What it is beyond a RoundTripper, for a note.
	note string
	// mutates is whether it changes the caller's request, which saves it the copy.
	mutates bool
	// early is whether it can be told how long before its expiry a token is
	// to be renewed, without which lifetimes of less than minutes cannot be had.
	early bool
	// renews is whether it gets another token when one has expired or is rejected.
	renews bool
	// make returns what sends by base, with tokens of i. The API is at api.example.com.
	make func(base http.RoundTripper, i *issuer) do
}

// floor does what nobody can do without: a copy of the request and of its header,
// and an assignment.
var floor = peer{name: "floor: struct copy, maps.Clone, one assignment", scheme: "Bearer ", make: func(base http.RoundTripper, i *issuer) do {
	access, _, _ := i.issue(context.Background())
	values := []string{"Bearer " + access}
	return func(req *http.Request) (*http.Response, error) {
		r := *req
		r.Header = maps.Clone(req.Header)
		r.Header["Authorization"] = values
		resp, err := base.RoundTrip(&r)
		if err == nil {
			resp.Request = req
		}
		return resp, err
	}
}}

// looking does that, and first looks at each field's name, as whoever wants to know
// has to whether the caller has a credential of its own, in any spelling.
var looking = peer{name: "the floor, and a look at each field's name", scheme: "Bearer ", make: func(base http.RoundTripper, i *issuer) do {
	send := floor.make(base, i)
	return func(req *http.Request) (*http.Response, error) {
		for name := range req.Header {
			if len(name) == len("Authorization") && strings.EqualFold(name, "Authorization") {
				return base.RoundTrip(req)
			}
		}
		return send(req)
	}
}}

var ours = []peer{
	{name: "authtrip transport.Refresh, Session", ours: true, scheme: "Bearer ", early: true, renews: true, make: func(base http.RoundTripper, i *issuer) do {
		return (&transport.Refresh{Source: i.session(), Base: base}).RoundTrip
	}},
	{name: "authtrip transport.Bearer, Session", ours: true, scheme: "Bearer ", early: true, renews: true, make: func(base http.RoundTripper, i *issuer) do {
		return (&transport.Bearer{Source: i.session(), Base: base}).RoundTrip
	}},
	{name: "authtrip transport.Bearer, Static", ours: true, scheme: "Bearer ", make: func(base http.RoundTripper, i *issuer) do {
		access, _, _ := i.issue(context.Background())
		return (&transport.Bearer{Source: tokensource.Static(access), Base: base}).RoundTrip
	}},
	{name: "authtrip basic", ours: true, scheme: "Basic ", make: func(base http.RoundTripper, _ *issuer) do {
		return (&basic.Transport{Username: "user", Password: "password", Base: base}).RoundTrip
	}},
	{name: "authtrip apikey", ours: true, make: func(base http.RoundTripper, _ *issuer) do {
		return (&apikey.Transport{Key: "key", Base: base}).RoundTrip
	}},
}

var peers = []peer{
	{name: "x/oauth2 Transport, ReuseTokenSource", module: "golang.org/x/oauth2", scheme: "Bearer ", early: true, renews: true, make: func(base http.RoundTripper, i *issuer) do {
		return (&oauth2.Transport{Source: oauth2.ReuseTokenSourceWithExpiry(nil, i, 10*time.Millisecond), Base: base}).RoundTrip
	}},
	{name: "cloud.google.com/go/auth httptransport", module: "cloud.google.com/go/auth", scheme: "Bearer ", early: true, renews: true, make: func(base http.RoundTripper, i *issuer) do {
		provider := auth.NewCachedTokenProvider(googleTokens{i}, &auth.CachedTokenProviderOptions{ExpireEarly: i.earlier()})
		client := &http.Client{Transport: base}
		if err := httptransport.AddAuthorizationMiddleware(client, auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: provider})); err != nil {
			panic(err)
		}
		return client.Transport.RoundTrip
	}},
	{name: "client-go NewBearerAuthRoundTripper", module: "k8s.io/client-go", scheme: "Bearer ", make: func(base http.RoundTripper, i *issuer) do {
		access, _, _ := i.issue(context.Background())
		return kubernetes.NewBearerAuthRoundTripper(access, base).RoundTrip
	}},
	{name: "client-go ResettableTokenSource", module: "k8s.io/client-go", scheme: "Bearer ", renews: true, make: func(base http.RoundTripper, i *issuer) do {
		return kubernetes.ResettableTokenSourceWrapTransport(kubernetes.NewCachedTokenSource(i))(base).RoundTrip
	}},
	{name: "prometheus/common authorization", module: "github.com/prometheus/common", scheme: "Bearer ", make: func(base http.RoundTripper, i *issuer) do {
		access, _, _ := i.issue(context.Background())
		return config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewInlineSecret(access), base).RoundTrip
	}},
	{name: "go-containerregistry remote/transport", module: "github.com/google/go-containerregistry", scheme: "Bearer ", renews: true, mutates: true, note: "changes the caller's request instead of copying it", make: containerRegistry},
	{name: "oras-go auth.Client", module: "oras.land/oras-go/v2", scheme: "Bearer ", renews: true, note: "a client of its own, around http.Client", make: func(base http.RoundTripper, i *issuer) do {
		client := &oras.Client{
			Client:     &http.Client{Transport: i.endpoint(challenging(base))},
			Cache:      oras.NewCache(),
			Credential: oras.StaticCredential("api.example.com", oras.Credential{Username: "user", Password: "password"}),
		}
		return client.Do
	}},
	{name: "ghinstallation", module: "github.com/bradleyfalzon/ghinstallation/v2", scheme: "token ", renews: true, make: func(base http.RoundTripper, i *issuer) do {
		t, err := ghinstallation.New(i.endpoint(base), 1, 2, privateKey())
		if err != nil {
			panic(err)
		}
		return t.RoundTrip
	}},
	{name: "smithy-go bearer.TokenCache and signer", module: "github.com/aws/smithy-go", scheme: "Bearer ", early: true, renews: true, make: func(base http.RoundTripper, i *issuer) do {
		cache := bearer.NewTokenCache(smithyTokens{i}, func(o *bearer.TokenCacheOptions) { o.RefreshBeforeExpires = i.earlier() })
		signer := bearer.NewSignHTTPSMessage()
		return func(req *http.Request) (*http.Response, error) {
			token, err := cache.RetrieveBearerToken(req.Context())
			if err != nil {
				return nil, err
			}
			signed, err := signer.SignWithBearerToken(req.Context(), token, &smithyhttp.Request{Request: req})
			if err != nil {
				return nil, err
			}
			return base.RoundTrip(signed.(*smithyhttp.Request).Request)
		}
	}},
	{name: "azcore BearerTokenPolicy", module: "github.com/Azure/azure-sdk-for-go/sdk/azcore", scheme: "Bearer ", renews: true, note: "in a pipeline, which comes with it, and with its own request", make: azure},
	{name: "go-resty", module: "github.com/go-resty/resty/v2", scheme: "Bearer ", note: "a client of its own, with its own request", make: func(base http.RoundTripper, i *issuer) do {
		access, _, _ := i.issue(context.Background())
		client := resty.New().SetTransport(base).SetAuthToken(access)
		return func(req *http.Request) (*http.Response, error) {
			r := client.R().SetContext(req.Context()).SetHeaderMultiValues(req.Header)
			resp, err := r.Execute(req.Method, req.URL.String())
			if err != nil {
				return nil, err
			}
			return resp.RawResponse, nil
		}
	}},
}

type googleTokens struct{ *issuer }

func (g googleTokens) Token(ctx context.Context) (*auth.Token, error) {
	access, expiry, err := g.issue(ctx)
	if err != nil {
		return nil, err
	}
	return &auth.Token{Value: access, Type: "Bearer", Expiry: expiry}, nil
}

type smithyTokens struct{ *issuer }

func (s smithyTokens) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	access, expiry, err := s.issue(ctx)
	return bearer.Token{Value: access, CanExpire: true, Expires: expiry}, err
}

type azureTokens struct{ *issuer }

func (a azureTokens) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	access, expiry, err := a.issue(ctx)
	return azcore.AccessToken{Token: access, ExpiresOn: expiry}, err
}

type azureBase struct{ http.RoundTripper }

func (a azureBase) Do(req *http.Request) (*http.Response, error) { return a.RoundTrip(req) }

func azure(base http.RoundTripper, i *issuer) do {
	pipeline := runtime.NewPipeline("bench", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(azureTokens{i}, []string{"scope"}, nil)},
	}, &policy.ClientOptions{Transport: azureBase{base}, Retry: policy.RetryOptions{MaxRetries: -1}})
	return func(req *http.Request) (*http.Response, error) {
		r, err := runtime.NewRequest(req.Context(), req.Method, req.URL.String())
		if err != nil {
			return nil, err
		}
		maps.Copy(r.Raw().Header, req.Header)
		return pipeline.Do(r)
	}
}

// challenging answers what comes without a token as a registry does.
func challenging(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") != "" {
			return base.RoundTrip(req)
		}
		return &http.Response{
			StatusCode: http.StatusUnauthorized, Request: req, Body: http.NoBody,
			Header: http.Header{"Www-Authenticate": {`Bearer realm="https://api.example.com/token",service="bench",scope="repository:bench:pull"`}},
		}, nil
	})
}

func containerRegistry(base http.RoundTripper, i *issuer) do {
	reg, err := name.NewRegistry("api.example.com")
	if err != nil {
		panic(err)
	}
	login := authn.FromConfig(authn.AuthConfig{Username: "user", Password: "password"})
	rt, err := registry.NewWithContext(context.Background(), reg, login, i.endpoint(challenging(base)), []string{"repository:bench:pull"})
	if err != nil {
		panic(err)
	}
	return rt.RoundTrip
}

var privateKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})
