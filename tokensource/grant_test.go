package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func TestRefreshTokenRequest(t *testing.T) {
	for _, tc := range []struct {
		name, id, secret string
		style            oauth2.AuthStyle
		authorization    string
		form             url.Values // besides grant_type and refresh_token
	}{
		{"auto-detect with secret", "client", "client-secret", oauth2.AuthStyleAutoDetect, "Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ=", url.Values{}},
		{"auto-detect without secret", "client", "", oauth2.AuthStyleAutoDetect, "", url.Values{"client_id": {"client"}}},
		{"header", "client", "client-secret", oauth2.AuthStyleInHeader, "Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ=", url.Values{}},
		{"header without secret", "client", "", oauth2.AuthStyleInHeader, "Basic Y2xpZW50Og==", url.Values{}},
		// RFC 6749 section 2.3.1: my+client%3A1:s%26%3D%2B%25%2F%C3%BC+~%2A
		{"header with much to encode", "my client:1", "s&=+%/ü ~*", oauth2.AuthStyleInHeader, "Basic bXkrY2xpZW50JTNBMTpzJTI2JTNEJTJCJTI1JTJGJUMzJUJDK34lMkE=", url.Values{}},
		{"parameters", "client", "client-secret", oauth2.AuthStyleInParams, "", url.Values{"client_id": {"client"}, "client_secret": {"client-secret"}}},
		{"parameters with much to encode", "my client:1", "s&=+%/ü ~*", oauth2.AuthStyleInParams, "", url.Values{"client_id": {"my client:1"}, "client_secret": {"s&=+%/ü ~*"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1"}`)}
			grant := tokensource.RefreshToken(&oauth2.Config{
				ClientID: tc.id, ClientSecret: tc.secret,
				// Scopes and RedirectURL are for the authorization endpoint: a
				// refresh without a scope asks for what was granted.
				Scopes: []string{"scope"}, RedirectURL: "https://app.example/callback",
				Endpoint: oauth2.Endpoint{TokenURL: tokenURL + "?tenant=1", AuthStyle: tc.style},
			})
			token, err := grant(endpoint.context(t.Context()), &oauth2.Token{AccessToken: "old", RefreshToken: "r&=+%/ü"})
			if got := access(token, err); got != "access-1" {
				t.Fatalf("grant = %s", got)
			}
			if token.RefreshToken != "r&=+%/ü" {
				t.Errorf("refresh token is %q, want the one presented to be kept", token.RefreshToken)
			}
			tc.form.Set("grant_type", "refresh_token")
			tc.form.Set("refresh_token", "r&=+%/ü")
			want := []tokenRequest{{
				Method: "POST", URL: tokenURL + "?tenant=1", Authorization: tc.authorization, Form: tc.form,
				ContentType: "application/x-www-form-urlencoded", Accept: "application/json",
			}}
			if diff := cmp.Diff(want, endpoint.got()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefreshTokenRotates(t *testing.T) {
	endpoint := &tokenEndpoint{answer: answerFrom(
		respondJSON(`{"access_token":"access-1","refresh_token":"rotated","token_type":"bearer","expires_in":3600,"id_token":"id","n":7}`),
		respondJSON(`{"access_token":"access-2"}`),
		respondJSON(`{"access_token":"access-3","refresh_token":""}`),
	)}
	s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig())}
	ctx := endpoint.context(t.Context())
	if err := s.Set(ctx, &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	token, err := s.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if token.Type() != "Bearer" || token.Extra("id_token") != "id" || token.Extra("n") != 7.0 {
		t.Errorf("type is %q, id_token %v, n %v", token.Type(), token.Extra("id_token"), token.Extra("n"))
	}
	for range 2 {
		if token, err = s.Renew(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	var presented []string
	for _, r := range endpoint.got() {
		presented = append(presented, r.Form.Get("refresh_token"))
	}
	if diff := cmp.Diff([]string{"refresh-0", "rotated", "rotated"}, presented); diff != "" {
		t.Errorf("refresh tokens presented (-want +got):\n%s", diff)
	}
}

func TestGrantsWithNothingToGoOn(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1"}`)}
	for _, tc := range []struct {
		name    string
		grant   tokensource.Grant
		current *oauth2.Token
		want    error // nil: any
	}{
		{"RefreshToken, nil Config", tokensource.RefreshToken(nil), &oauth2.Token{RefreshToken: "refresh-0"}, nil},
		{"RefreshToken, no token", tokensource.RefreshToken(refreshConfig()), nil, tokensource.ErrNoToken},
		{"RefreshToken, no refresh token", tokensource.RefreshToken(refreshConfig()), &oauth2.Token{AccessToken: "access-0"}, tokensource.ErrReauthRequired},
		{"RefreshToken, zero Config", tokensource.RefreshToken(&oauth2.Config{}), &oauth2.Token{RefreshToken: "refresh-0"}, nil},
		{"ClientCredentials, nil Config", tokensource.ClientCredentials(nil), nil, nil},
		{"ClientCredentials, zero Config", tokensource.ClientCredentials(&clientcredentials.Config{}), nil, nil},
		{"GrantFrom, nil", tokensource.GrantFrom(nil), nil, nil},
		{"GrantFrom, nil source", tokensource.GrantFrom(func(context.Context) oauth2.TokenSource { return nil }), nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token, err := tc.grant(endpoint.context(t.Context()), tc.current)
			if token != nil || err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("grant = %s, want an error like %v", access(token, err), tc.want)
			}
		})
	}
	if n := len(endpoint.got()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A refresh token may be good for one use: it is presented once, whatever comes.
func TestRefreshTokenIsPresentedOnce(t *testing.T) {
	for _, status := range []int{200, 400, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 504} {
		endpoint := &tokenEndpoint{answer: respond(status, "application/json", `{"error":"invalid_client"}`, "Retry-After", "0", "WWW-Authenticate", "Basic")}
		if token, err := tokensource.RefreshToken(refreshConfig())(endpoint.context(t.Context()), &oauth2.Token{RefreshToken: "refresh-0"}); err == nil {
			t.Errorf("status %d: grant = %s, want an error", status, access(token, err))
		}
		if n := len(endpoint.got()); n != 1 {
			t.Errorf("status %d: %d requests, want 1", status, n)
		}
	}
}

func TestClientCredentialsRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  clientcredentials.Config
		want tokenRequest
		err  bool
	}{
		{
			"header",
			clientcredentials.Config{ClientID: "client", ClientSecret: "client-secret", Scopes: []string{"a", "b"}, AuthStyle: oauth2.AuthStyleInHeader},
			tokenRequest{Authorization: "Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ=", Form: url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}}},
			false,
		},
		{
			"parameters",
			clientcredentials.Config{ClientID: "client", ClientSecret: "client-secret", AuthStyle: oauth2.AuthStyleInParams},
			tokenRequest{Form: url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"client-secret"}}},
			false,
		},
		{
			"no secret",
			clientcredentials.Config{ClientID: "client"},
			tokenRequest{Form: url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}}},
			false,
		},
		{
			"endpoint parameters",
			clientcredentials.Config{ClientID: "client", EndpointParams: url.Values{"audience": {"x"}, "resource": {"1", "2"}}},
			tokenRequest{Form: url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}, "audience": {"x"}, "resource": {"1", "2"}}},
			false,
		},
		{
			"another grant_type",
			clientcredentials.Config{ClientID: "client", EndpointParams: url.Values{"grant_type": {"urn:own"}}},
			tokenRequest{Form: url.Values{"grant_type": {"urn:own"}, "client_id": {"client"}}},
			false,
		},
		{
			"scope as endpoint parameter",
			clientcredentials.Config{ClientID: "client", EndpointParams: url.Values{"scope": {"c"}}},
			tokenRequest{Form: url.Values{"grant_type": {"client_credentials"}, "scope": {"c"}, "client_id": {"client"}}},
			false,
		},
		{"scope twice", clientcredentials.Config{ClientID: "client", Scopes: []string{"a"}, EndpointParams: url.Values{"scope": {"c"}}}, tokenRequest{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1"}`)}
			tc.cfg.TokenURL = tokenURL
			token, err := tokensource.ClientCredentials(&tc.cfg)(endpoint.context(t.Context()), nil)
			if tc.err {
				if err == nil || len(endpoint.got()) != 0 {
					t.Errorf("grant = %s, want an error", access(token, err))
				}
				return
			}
			if got := access(token, err); got != "access-1" {
				t.Fatalf("grant = %s", got)
			}
			tc.want.Method, tc.want.URL = "POST", tokenURL
			tc.want.ContentType, tc.want.Accept = "application/x-www-form-urlencoded", "application/json"
			if diff := cmp.Diff([]tokenRequest{tc.want}, endpoint.got()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// The client's credentials are not spent by trying, so how the server wants
// them may be found out, once.
func TestClientCredentialsAutoDetect(t *testing.T) {
	const inHeader, inParams = "header", "parameters"
	how := func(r tokenRequest) string {
		switch {
		case r.Authorization != "" && !r.Form.Has("client_secret"):
			return inHeader
		case r.Authorization == "" && r.Form.Get("client_secret") == "client-secret":
			return inParams
		}
		return "neither or both"
	}
	ok := respondJSON(`{"access_token":"access"}`)
	no := func(status int) func(*http.Request) (*http.Response, error) {
		return respond(status, "application/json", `{"error":"invalid_client"}`)
	}
	for _, tc := range []struct {
		name    string
		style   oauth2.AuthStyle
		answers []func(*http.Request) (*http.Response, error)
		want    []string // of three calls
	}{
		{"header works", 0, []func(*http.Request) (*http.Response, error){ok}, []string{inHeader, inHeader, inHeader}},
		{"header works, then fails", 0, []func(*http.Request) (*http.Response, error){ok, no(401)}, []string{inHeader, inHeader, inHeader}},
		{"401, parameters work", 0, []func(*http.Request) (*http.Response, error){no(401), ok}, []string{inHeader, inParams, inParams, inParams}},
		{"400, parameters work", 0, []func(*http.Request) (*http.Response, error){no(400), ok}, []string{inHeader, inParams, inParams, inParams}},
		{"parameters work, then fail", 0, []func(*http.Request) (*http.Response, error){no(401), ok, no(401)}, []string{inHeader, inParams, inParams, inParams}},
		{"neither works", 0, []func(*http.Request) (*http.Response, error){no(401)}, []string{inHeader, inParams, inHeader, inParams, inHeader, inParams}},
		{"server down", 0, []func(*http.Request) (*http.Response, error){no(503)}, []string{inHeader, inHeader, inHeader}},
		{"network down", 0, []func(*http.Request) (*http.Response, error){func(*http.Request) (*http.Response, error) { return nil, errDown }}, []string{inHeader, inHeader, inHeader}},
		{"header told", oauth2.AuthStyleInHeader, []func(*http.Request) (*http.Response, error){no(401)}, []string{inHeader, inHeader, inHeader}},
		{"parameters told", oauth2.AuthStyleInParams, []func(*http.Request) (*http.Response, error){no(401)}, []string{inParams, inParams, inParams}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			endpoint := &tokenEndpoint{answer: answerFrom(tc.answers...)}
			grant := tokensource.ClientCredentials(&clientcredentials.Config{
				ClientID: "client", ClientSecret: "client-secret", TokenURL: tokenURL, AuthStyle: tc.style,
				EndpointParams: url.Values{"audience": {"x"}},
			})
			for range 3 {
				_, _ = grant(endpoint.context(t.Context()), nil)
			}
			var got []string
			for _, r := range endpoint.got() {
				got = append(got, how(r))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// A client that is refused is no dead sign-in where there was none.
func TestClientCredentialsRefused(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respond(401, "application/json", `{"error":"invalid_client"}`)}
	s := &tokensource.Session{Grant: tokensource.ClientCredentials(&clientcredentials.Config{ClientID: "client", ClientSecret: "client-secret", TokenURL: tokenURL})}
	_, err := s.Token(endpoint.context(t.Context()))
	retrieve, ok := errors.AsType[*oauth2.RetrieveError](err)
	if _, retry := errors.AsType[*tokensource.RetryError](err); !retry || !ok || errors.Is(err, tokensource.ErrReauthRequired) {
		t.Fatalf("Token = %v, want a RetryError with a RetrieveError", err)
	}
	if retrieve.ErrorCode != "invalid_client" || retrieve.Response.StatusCode != 401 || retrieve.Body != nil {
		t.Errorf("RetrieveError has code %q, status %d and %d bytes of body", retrieve.ErrorCode, retrieve.Response.StatusCode, len(retrieve.Body))
	}
}

func TestGrantFrom(t *testing.T) {
	endpoint := &tokenEndpoint{answer: answerFrom(
		respondJSON(`{"access_token":"access-1","expires_in":3600}`),
		respondJSON(`{"access_token":"access-2","expires_in":3600}`),
		respond(400, "application/json", `{"error":"invalid_scope","error_description":"no","secret":"hunter2"}`),
		respond(503, "text/html", "hunter2", "Retry-After", "120"),
		respond(307, "text/html", "", "Location", "https://other.example/token"),
	)}
	cfg := clientcredentials.Config{ClientID: "client", ClientSecret: "client-secret", TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader}
	grant := tokensource.GrantFrom(func(ctx context.Context) oauth2.TokenSource { return cfg.TokenSource(ctx) })
	ctx := endpoint.context(t.Context())
	for _, want := range []string{
		"access-1", "access-2", `error: oauth2: "invalid_scope" "no"`,
		"error: oauth2: cannot fetch token: 503 Service Unavailable\nResponse: ",
		"error: oauth2: cannot fetch token: 307 Temporary Redirect\nResponse: ",
	} {
		token, err := grant(ctx, &oauth2.Token{AccessToken: "old"})
		if got := access(token, err); got != want {
			t.Errorf("grant = %q, want %q", got, want)
		}
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && (len(re.Body) > 0 || re.Response.Body != nil || re.Response.Request != nil) {
			t.Error("the error has kept the body, or the request")
		}
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.Response.StatusCode == 503 && re.Response.Header.Get("Retry-After") != "120" {
			t.Error("the error has lost Retry-After")
		}
	}
	if n := len(endpoint.got()); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
}

func TestGrantFromContext(t *testing.T) {
	type key struct{}
	s := &tokensource.Session{Timeout: time.Minute, Grant: tokensource.GrantFrom(func(ctx context.Context) oauth2.TokenSource {
		if _, ok := ctx.Deadline(); !ok || ctx.Value(key{}) != "value" {
			t.Errorf("deadline %v, value %v", ok, ctx.Value(key{}))
		}
		if _, ok := ctx.Value(oauth2.HTTPClient).(*http.Client); !ok {
			t.Error("no client in the context")
		}
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "access-1"})
	})}
	if got := access(s.Token(context.WithValue(t.Context(), key{}, "value"))); got != "access-1" {
		t.Errorf("Token = %s", got)
	}
}

// The client in the context is used, not changed.
func TestContextClientIsLeftAlone(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1"}`)}
	client := &http.Client{Transport: endpoint}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
	if _, err := tokensource.RefreshToken(refreshConfig())(ctx, &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	if client.Transport != http.RoundTripper(endpoint) || client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// Without a client in the context, the default transport does; here over a socket.
func TestDefaultClient(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if id, secret, ok := r.BasicAuth(); !ok || id != "client" || secret != "client-secret" || r.FormValue("refresh_token") != "refresh-0" {
			t.Error("not the request of a refresh")
		}
		if strings.HasSuffix(r.URL.Path, "/redirect") {
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"access-1"}`))
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	var none *http.Client
	for _, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), oauth2.HTTPClient, none)} {
		cfg := refreshConfig()
		cfg.Endpoint.TokenURL = server.URL + "/token"
		if got := access(tokensource.RefreshToken(cfg)(ctx, &oauth2.Token{RefreshToken: "refresh-0"})); got != "access-1" {
			t.Errorf("grant = %s", got)
		}
		cfg.Endpoint.TokenURL = server.URL + "/redirect"
		if token, err := tokensource.RefreshToken(cfg)(ctx, &oauth2.Token{RefreshToken: "refresh-0"}); err == nil {
			t.Errorf("grant = %s, want an error for a redirect", access(token, err))
		}
	}
	if requests != 4 {
		t.Errorf("%d requests, want 4", requests)
	}
}

// Only what may be about the client's authentication is tried the other way.
func TestClientCredentialsTriesOnceWhatIsNotAboutTheClient(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		want   int
	}{
		{http.StatusBadRequest, "invalid_scope", 1},
		{http.StatusServiceUnavailable, "invalid_client", 1},
		{http.StatusBadRequest, "invalid_client", 2},
		{http.StatusBadRequest, "", 2},
		{http.StatusUnauthorized, "access_denied", 2},
	} {
		e := &tokenEndpoint{answer: respond(tc.status, "application/json", `{"error":"`+tc.code+`"}`)}
		grant := tokensource.ClientCredentials(&clientcredentials.Config{ClientID: "c", ClientSecret: "s", TokenURL: "https://as.example/token"})
		if _, err := grant(e.context(t.Context()), nil); err == nil {
			t.Errorf("%d %s: no error", tc.status, tc.code)
		}
		if got := len(e.got()); got != tc.want {
			t.Errorf("%d %s: %d requests, want %d", tc.status, tc.code, got, tc.want)
		}
	}
}
