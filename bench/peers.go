package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/authtrip/authtrip/bench/internal/rows"
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

var peers = []rows.Row{
	{Name: "x/oauth2 Transport, ReuseTokenSource", Module: "golang.org/x/oauth2", Scheme: "Bearer ", Early: true, Renews: true, Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		return (&oauth2.Transport{Source: oauth2.ReuseTokenSourceWithExpiry(nil, i, 10*time.Millisecond), Base: base}).RoundTrip
	}},
	{Name: "cloud.google.com/go/auth httptransport", Module: "cloud.google.com/go/auth", Scheme: "Bearer ", Early: true, Renews: true, Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		provider := auth.NewCachedTokenProvider(googleTokens{i}, &auth.CachedTokenProviderOptions{ExpireEarly: i.Earlier()})
		client := &http.Client{Transport: base}
		if err := httptransport.AddAuthorizationMiddleware(client, auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: provider})); err != nil {
			panic(err)
		}
		return client.Transport.RoundTrip
	}},
	{Name: "client-go NewBearerAuthRoundTripper", Module: "k8s.io/client-go", Scheme: "Bearer ", Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		access, _, _ := i.Issue(context.Background())
		return kubernetes.NewBearerAuthRoundTripper(access, base).RoundTrip
	}},
	{Name: "client-go ResettableTokenSource", Module: "k8s.io/client-go", Scheme: "Bearer ", Renews: true, Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		return kubernetes.ResettableTokenSourceWrapTransport(kubernetes.NewCachedTokenSource(i))(base).RoundTrip
	}},
	{Name: "prometheus/common authorization", Module: "github.com/prometheus/common", Scheme: "Bearer ", Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		access, _, _ := i.Issue(context.Background())
		return config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewInlineSecret(access), base).RoundTrip
	}},
	{Name: "go-containerregistry remote/transport", Module: "github.com/google/go-containerregistry", Scheme: "Bearer ", Renews: true, Mutates: true, Note: "changes the caller's request instead of copying it", Make: containerRegistry},
	{Name: "oras-go auth.Client", Module: "oras.land/oras-go/v2", Scheme: "Bearer ", Renews: true, Note: "a client of its own, around http.Client", Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		client := &oras.Client{
			Client:     &http.Client{Transport: i.Endpoint(challenging(base))},
			Cache:      oras.NewCache(),
			Credential: oras.StaticCredential("api.example.com", oras.Credential{Username: "user", Password: "password"}),
		}
		return client.Do
	}},
	{Name: "ghinstallation", Module: "github.com/bradleyfalzon/ghinstallation/v2", Scheme: "token ", Renews: true, Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		t, err := ghinstallation.New(i.Endpoint(base), 1, 2, privateKey())
		if err != nil {
			panic(err)
		}
		return t.RoundTrip
	}},
	{Name: "smithy-go bearer.TokenCache and signer", Module: "github.com/aws/smithy-go", Scheme: "Bearer ", Early: true, Renews: true, Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		cache := bearer.NewTokenCache(smithyTokens{i}, func(o *bearer.TokenCacheOptions) { o.RefreshBeforeExpires = i.Earlier() })
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
	{Name: "azcore BearerTokenPolicy", Module: "github.com/Azure/azure-sdk-for-go/sdk/azcore", Scheme: "Bearer ", Renews: true, Note: "in a pipeline, which comes with it, and with its own request", Make: azure},
	{Name: "go-resty", Module: "github.com/go-resty/resty/v2", Scheme: "Bearer ", Note: "a client of its own, with its own request", Make: func(base http.RoundTripper, i *rows.Issuer) rows.Do {
		access, _, _ := i.Issue(context.Background())
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

type googleTokens struct{ *rows.Issuer }

func (g googleTokens) Token(ctx context.Context) (*auth.Token, error) {
	access, expiry, err := g.Issue(ctx)
	if err != nil {
		return nil, err
	}
	return &auth.Token{Value: access, Type: "Bearer", Expiry: expiry}, nil
}

type smithyTokens struct{ *rows.Issuer }

func (s smithyTokens) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	access, expiry, err := s.Issue(ctx)
	return bearer.Token{Value: access, CanExpire: true, Expires: expiry}, err
}

type azureTokens struct{ *rows.Issuer }

func (a azureTokens) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	access, expiry, err := a.Issue(ctx)
	return azcore.AccessToken{Token: access, ExpiresOn: expiry}, err
}

type azureBase struct{ http.RoundTripper }

func (a azureBase) Do(req *http.Request) (*http.Response, error) { return a.RoundTrip(req) }

func azure(base http.RoundTripper, i *rows.Issuer) rows.Do {
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
	return rows.Func(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") != "" {
			return base.RoundTrip(req)
		}
		return &http.Response{
			StatusCode: http.StatusUnauthorized, Request: req, Body: http.NoBody,
			Header: http.Header{"Www-Authenticate": {`Bearer realm="https://api.example.com/token",service="bench",scope="repository:bench:pull"`}},
		}, nil
	})
}

func containerRegistry(base http.RoundTripper, i *rows.Issuer) rows.Do {
	reg, err := name.NewRegistry("api.example.com")
	if err != nil {
		panic(err)
	}
	login := authn.FromConfig(authn.AuthConfig{Username: "user", Password: "password"})
	rt, err := registry.NewWithContext(context.Background(), reg, login, i.Endpoint(challenging(base)), []string{"repository:bench:pull"})
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
