package authtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// An answer is what came of a request, in one piece.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request of method, path and query, fields "Name: value", and a body.
func send(t *testing.T, s *authtest.Server, method, path, body string, fields ...string) answer {
	t.Helper()
	a, err := try(t.Context(), s, method, path, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func try(ctx context.Context, s *authtest.Server, method, path, body string, fields ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	c := s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

const isForm = "Content-Type: application/x-www-form-urlencoded"

// post sends a form to an OAuth endpoint, as the client.
func post(t *testing.T, s *authtest.Server, path string, form url.Values) answer {
	t.Helper()
	return send(t, s, "POST", path, form.Encode(), isForm, asClient(s))
}

func basicOf(user, password string) string {
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(user, password)
	return "Authorization: " + req.Header.Get("Authorization")
}

func asClient(s *authtest.Server) string { return basicOf(s.ClientID, s.ClientSecret) }

func bearer(token string) string { return "Authorization: Bearer " + token }

// object is the JSON object in the body.
func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
	return o
}

func TestServerRefusals(t *testing.T) {
	s := authtest.NewServer(t)
	const grant = "grant_type=client_credentials"
	type refusal struct {
		Status    int
		Code      string
		Challenge string
		Allow     string
	}
	const challenge = `Basic realm="authtest"`
	for _, tt := range []struct {
		name, method, path, body string
		fields                   []string
		want                     refusal
	}{
		{"no grant_type", "POST", "/token", "", []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"a grant_type it has not", "POST", "/token", "grant_type=password", []string{isForm, asClient(s)}, refusal{400, "unsupported_grant_type", "", ""}},
		{"a grant_type nobody has", "POST", "/token", "grant_type=x", []string{isForm, asClient(s)}, refusal{400, "unsupported_grant_type", "", ""}},
		{"no refresh token", "POST", "/token", "grant_type=refresh_token", []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"an unknown refresh token", "POST", "/token", "grant_type=refresh_token&refresh_token=x", []string{isForm, asClient(s)}, refusal{400, "invalid_grant", "", ""}},
		{"no client", "POST", "/token", grant, []string{isForm}, refusal{401, "invalid_client", challenge, ""}},
		{"a wrong secret", "POST", "/token", grant, []string{isForm, basicOf(s.ClientID, "x")}, refusal{401, "invalid_client", challenge, ""}},
		{"a wrong secret in the form", "POST", "/token", grant + "&client_id=authtest&client_secret=x", []string{isForm}, refusal{401, "invalid_client", challenge, ""}},
		{"no form encoding in Basic", "POST", "/token", grant, []string{isForm, basicOf("%", s.ClientSecret)}, refusal{401, "invalid_client", challenge, ""}},
		{"two ways at once", "POST", "/token", grant + "&client_secret=" + s.ClientSecret, []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"no form", "POST", "/token", "{}", []string{"Content-Type: application/json", asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"a bad form", "POST", "/token", grant + "&%", []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"a long form", "POST", "/token", grant + "&x=" + strings.Repeat("x", 70_000), []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"a parameter twice", "POST", "/token", grant + "&" + grant, []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"GET", "GET", "/token?" + grant, "", []string{asClient(s)}, refusal{405, "", "", "POST"}},
		{"nothing to revoke", "POST", "/revoke", "", []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"no client to revoke", "POST", "/revoke", "token=x", []string{isForm}, refusal{401, "invalid_client", challenge, ""}},
		{"nothing to introspect", "POST", "/introspect", "", []string{isForm, asClient(s)}, refusal{400, "invalid_request", "", ""}},
		{"no client to introspect", "POST", "/introspect", "token=x", []string{isForm}, refusal{401, "invalid_client", challenge, ""}},
		{"GET of login", "GET", "/login", "", nil, refusal{405, "", "", "POST"}},
		{"GET of logout", "GET", "/logout", "", nil, refusal{405, "", "", "POST"}},
		{"no path of ours", "GET", "/x", "", nil, refusal{404, "", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := s.Stats()
			a := send(t, s, tt.method, tt.path, tt.body, tt.fields...)
			got := refusal{a.status, "", a.header.Get("WWW-Authenticate"), a.header.Get("Allow")}
			if tt.want.Code != "" {
				o := a.object(t)
				got.Code, _ = o["error"].(string)
				if d, _ := o["error_description"].(string); d == "" || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("description %q, header %v", d, a.header)
				}
				if after := s.Stats(); after.Refused[got.Code] != before.Refused[got.Code]+1 {
					t.Errorf("Refused was %v and is %v", before.Refused, after.Refused)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if after := s.Stats(); after.Granted != 0 {
				t.Errorf("Granted = %d", after.Granted)
			}
		})
	}
	want := map[string]int{"": 1, "password": 1, "other": 1, "refresh_token": 2}
	if diff := cmp.Diff(want, s.Stats().TokenRequests); diff != "" {
		t.Errorf("TokenRequests (-want +got):\n%s", diff)
	}
}

// x/oauth2 and the grants of tokensource get along with the server.
func TestServerGrants(t *testing.T) {
	s := authtest.NewServer(t)
	s.SetPolicy(authtest.Policy{Lifetime: time.Hour})
	ctx := s.Context(t.Context())
	first := s.SignIn()
	ours, err := tokensource.RefreshToken(s.Config())(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s.Config().TokenSource(ctx, &oauth2.Token{RefreshToken: ours.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.ClientCredentials().Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, access := range []string{first.AccessToken, ours.AccessToken, theirs.AccessToken, own.AccessToken} {
		if a := send(t, s, "POST", "/bearer/x", "body", bearer(access)); a.status != 200 || a.body != "body" {
			t.Errorf("%d: status %d, body %q", i, a.status, a.body)
		}
	}
	if left := time.Until(own.Expiry); left < 59*time.Minute || left > time.Hour {
		t.Errorf("expires in %v", left)
	}
	if own.RefreshToken != "" {
		t.Error("client credentials came with a refresh token, against RFC 6749 section 4.4.3")
	}
	var got []string
	for _, r := range s.Transcript() {
		got = append(got, r.Path+" "+r.Grant+": "+r.Credentials)
	}
	want := []string{
		"/token refresh_token: client authtest, refresh 1",
		"/token refresh_token: client authtest, refresh 2",
		"/token client_credentials: client authtest",
		"/bearer/x : access 1", "/bearer/x : access 2", "/bearer/x : access 3", "/bearer/x : access 4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("transcript (-want +got):\n%s", diff)
	}
	st := s.Stats()
	if diff := cmp.Diff(map[string]int{"refresh_token": 2, "client_credentials": 1}, st.TokenRequests); diff != "" || st.Granted != 3 {
		t.Errorf("granted %d, -want +got:\n%s", st.Granted, diff)
	}
}

func TestServerRotation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy authtest.Policy
		uses   []int           // of refresh token n, from 1, one after the other
		wait   []time.Duration // before each use
		want   []bool          // granted
		access []bool          // which access tokens are good at the end
		reused int
	}{
		{name: "in turn", uses: []int{1, 2, 3}, want: []bool{true, true, true}, access: []bool{true, true, true, true}},
		{name: "twice", uses: []int{1, 1, 2}, want: []bool{true, false, false}, access: []bool{false, false}, reused: 1},
		{
			name: "within the grace period", policy: authtest.Policy{Grace: time.Minute},
			uses: []int{1, 1, 2, 3}, wait: []time.Duration{0, 59 * time.Second, 0, 0},
			want: []bool{true, true, true, true}, access: []bool{true, true, true, true, true},
		},
		{
			name: "after the grace period", policy: authtest.Policy{Grace: time.Minute},
			uses: []int{1, 1}, wait: []time.Duration{0, time.Minute}, want: []bool{true, false}, access: []bool{false, false}, reused: 1,
		},
		{
			name: "the grace period does not begin anew", policy: authtest.Policy{Grace: time.Minute},
			uses: []int{1, 1, 1}, wait: []time.Duration{0, 40 * time.Second, 40 * time.Second},
			want: []bool{true, true, false}, access: []bool{false, false, false}, reused: 1,
		},
		{
			name: "without rotation", policy: authtest.Policy{KeepRefreshToken: true},
			uses: []int{1, 1}, want: []bool{true, true}, access: []bool{true, true, true},
		},
		{
			name: "that ends the access token", policy: authtest.Policy{EndReplaced: true},
			uses: []int{1, 2}, want: []bool{true, true}, access: []bool{false, false, true},
		},
		{
			name: "with the same access token", policy: authtest.Policy{KeepAccessToken: true, Lifetime: time.Minute},
			uses: []int{1, 2}, wait: []time.Duration{0, 59 * time.Second}, want: []bool{true, true}, access: []bool{true},
		},
		{
			name: "that expires", policy: authtest.Policy{Lifetime: time.Minute},
			uses: []int{1, 2}, wait: []time.Duration{59 * time.Second, time.Second}, want: []bool{true, true}, access: []bool{false, true, true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := authtest.NewServer(t, authtest.InMemory())
				s.SetPolicy(tt.policy)
				if diff := cmp.Diff(tt.policy, s.Policy()); diff != "" {
					t.Error(diff)
				}
				first := s.SignIn()
				refresh, access := []string{first.RefreshToken}, []string{first.AccessToken}
				var got []bool
				for i, n := range tt.uses {
					if tt.wait != nil {
						time.Sleep(tt.wait[i])
					}
					a := post(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh[n-1]}})
					got = append(got, a.status == 200)
					o := a.object(t)
					if a.status != 200 {
						if a.status != 400 || o["error"] != "invalid_grant" {
							t.Errorf("use %d: status %d, error %v", i, a.status, o["error"])
						}
						continue
					}
					if r, ok := o["refresh_token"].(string); ok {
						refresh = append(refresh, r)
					}
					if v := o["access_token"].(string); v != access[len(access)-1] {
						access = append(access, v)
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("granted (-want +got):\n%s", diff)
				}
				got = nil
				for _, v := range access {
					got = append(got, send(t, s, "GET", "/bearer", "", bearer(v)).status == 200)
				}
				if diff := cmp.Diff(tt.access, got); diff != "" {
					t.Errorf("access tokens that are good (-want +got):\n%s", diff)
				}
				if st := s.Stats(); st.Reused != tt.reused {
					t.Errorf("Reused = %d, want %d", st.Reused, tt.reused)
				}
			})
		})
	}
}

// Of many that present one refresh token at once, one is served.
func TestServerRotationAtOnce(t *testing.T) {
	s := authtest.NewServer(t)
	first := s.SignIn()
	gate := s.Hold("/token")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := tokensource.RefreshToken(s.Config())(s.Context(t.Context()), first)
			if e, ok := errors.AsType[*oauth2.RetrieveError](err); err != nil && (!ok || e.ErrorCode != "invalid_grant") {
				t.Error(err)
			}
		})
	}
	if err := gate.Wait(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	wg.Wait()
	st := s.Stats()
	if st.Granted != 1 || st.Reused != 1 || st.Refused["invalid_grant"] != 19 {
		t.Errorf("%+v", st)
	}
}

func TestServerRevocation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		revoke func(t *testing.T, s *authtest.Server, access, refresh string)
		want   [2]bool // whether the access and the refresh token are good then
		count  int
	}{
		{"of the access token", func(t *testing.T, s *authtest.Server, access, _ string) {
			post(t, s, "/revoke", url.Values{"token": {access}})
		}, [2]bool{false, true}, 1},
		{"of the refresh token", func(t *testing.T, s *authtest.Server, _, refresh string) {
			post(t, s, "/revoke", url.Values{"token": {refresh}, "token_type_hint": {"access_token"}})
		}, [2]bool{false, false}, 1},
		{"of an unknown one", func(t *testing.T, s *authtest.Server, _, _ string) {
			if a := post(t, s, "/revoke", url.Values{"token": {"x"}}); a.status != 200 || a.body != "" {
				t.Errorf("status %d, body %q", a.status, a.body)
			}
		}, [2]bool{true, true}, 0},
		{"Revoke of the access token", func(_ *testing.T, s *authtest.Server, access, _ string) {
			s.Revoke(access)
		}, [2]bool{false, true}, 0},
		{"Revoke of the refresh token", func(_ *testing.T, s *authtest.Server, _, refresh string) {
			s.Revoke(refresh)
		}, [2]bool{true, false}, 0},
		{"RevokeGrant", func(_ *testing.T, s *authtest.Server, access, _ string) {
			s.RevokeGrant(access)
		}, [2]bool{false, false}, 0},
		{"RevokeGrant of nothing", func(_ *testing.T, s *authtest.Server, _, _ string) {
			s.RevokeGrant("x")
		}, [2]bool{true, true}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := authtest.NewServer(t)
			first := s.SignIn()
			tt.revoke(t, s, first.AccessToken, first.RefreshToken)
			if got := s.Stats().Revoked; got != tt.count {
				t.Errorf("Revoked = %d, want %d", got, tt.count)
			}
			var got [2]bool
			got[0] = send(t, s, "GET", "/bearer", "", bearer(first.AccessToken)).status == 200
			a := post(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.RefreshToken}})
			got[1] = a.status == 200
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("access, refresh (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerIntrospection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		if diff := cmp.Diff([]string{s.URL + "/revoke", s.URL + "/introspect"}, []string{s.RevocationURL(), s.IntrospectionURL()}); diff != "" {
			t.Error(diff)
		}
		s.SetPolicy(authtest.Policy{Lifetime: time.Hour})
		now := float64(time.Now().Unix())
		user := s.SignIn()
		own, err := s.ClientCredentials().Token(s.Context(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		look := func(token string) map[string]any {
			t.Helper()
			return post(t, s, "/introspect", url.Values{"token": {token}}).object(t)
		}
		inactive := map[string]any{"active": false}
		check := func(about string, want, got map[string]any) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", about, diff)
			}
		}
		check("a user's access token", map[string]any{
			"active": true, "client_id": "authtest", "username": "alice", "token_type": "Bearer", "iat": now, "exp": now + 3600,
		}, look(user.AccessToken))
		check("a client's own", map[string]any{
			"active": true, "client_id": "authtest", "token_type": "Bearer", "iat": now, "exp": now + 3600,
		}, look(own.AccessToken))
		check("a refresh token", map[string]any{"active": true, "client_id": "authtest", "username": "alice"}, look(user.RefreshToken))
		check("nothing", inactive, look("x"))
		s.Revoke(own.AccessToken)
		check("a revoked one", inactive, look(own.AccessToken))
		time.Sleep(time.Hour)
		check("an expired one", inactive, look(user.AccessToken))
		if got := s.Stats().Introspections; got != 6 {
			t.Errorf("Introspections = %d", got)
		}
	})
}

func TestServerAPI(t *testing.T) {
	s := authtest.NewServer(t)
	token := s.SignIn()
	revoked := s.SignIn()
	s.Revoke(revoked.AccessToken)
	login := url.Values{"username": {s.Username}, "password": {s.Password}}.Encode()
	a := send(t, s, "POST", "/login", login, isForm)
	var session, xsrf string
	for _, line := range a.header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Name == "session" && c.HttpOnly:
			session = "Cookie: session=" + c.Value
		case c.Name == "XSRF-TOKEN" && !c.HttpOnly:
			xsrf = "X-XSRF-TOKEN: " + c.Value
		}
	}
	if a.status != 204 || session == "" || xsrf == "" {
		t.Fatalf("login: %d %v", a.status, a.header)
	}
	const bearerChallenge = `Bearer realm="authtest"`
	const basicChallenge = `Basic realm="authtest", charset="UTF-8"`
	const keyChallenge = `ApiKey realm="authtest"`
	invalid := func(why string) string {
		return bearerChallenge + `, error="invalid_token", error_description="the access token ` + why + `"`
	}
	for _, tt := range []struct {
		name, method, path string
		fields             []string
		status             int
		challenge          string
		credentials        string
	}{
		{"nothing wanted", "GET", "/open", nil, 200, "", "none"},
		{"a leak", "GET", "/open/x", []string{bearer(token.AccessToken), session}, 200, "", "access 1, session 1"},
		{"bearer", "POST", "/bearer", []string{bearer(token.AccessToken)}, 200, "", "access 1"},
		{"bearer in lower case", "PUT", "/bearer/x/y", []string{"Authorization: bearer  " + token.AccessToken}, 200, "", "access 1"},
		{"no bearer", "GET", "/bearer", nil, 401, bearerChallenge, "none"},
		{"no token", "GET", "/bearer", []string{"Authorization: Bearer"}, 401, bearerChallenge, "unknown"},
		{"two tokens", "GET", "/bearer", []string{bearer(token.AccessToken), bearer(token.AccessToken)}, 401, bearerChallenge, "access 1, access 1"},
		{"unknown token", "GET", "/bearer", []string{bearer("x")}, 401, invalid("is unknown"), "unknown"},
		{"refresh token", "GET", "/bearer", []string{bearer(token.RefreshToken)}, 401, invalid("is a refresh token"), "refresh 1"},
		{"revoked token", "GET", "/bearer", []string{bearer(revoked.AccessToken)}, 401, invalid("was revoked"), "access 2"},
		{"basic", "GET", "/basic", []string{basicOf(s.Username, s.Password)}, 200, "", "basic alice"},
		{"basic, wrong password", "GET", "/basic", []string{basicOf(s.Username, "x")}, 401, basicChallenge, "basic unknown"},
		{"basic, wrong user", "GET", "/basic", []string{basicOf("x", s.Password)}, 401, basicChallenge, "basic unknown"},
		{"no basic", "GET", "/basic", nil, 401, basicChallenge, "none"},
		{"the client is no user", "GET", "/basic", []string{asClient(s)}, 401, basicChallenge, "client authtest"},
		{"another scheme", "GET", "/basic", []string{"Authorization: Hoba x"}, 401, basicChallenge, "authorization unknown"},
		{"key in the header", "GET", "/apikey", []string{"X-API-Key: " + s.APIKey}, 200, "", "api key in the header"},
		{"key in the query", "GET", "/apikey?api_key=" + s.APIKey, nil, 200, "", "api key in the query"},
		{"key in a cookie", "GET", "/apikey", []string{"Cookie: a=b; api_key=" + s.APIKey}, 200, "", "api key in the cookie"},
		{"wrong key", "GET", "/apikey?api_key=x", nil, 401, keyChallenge, "api key unknown"},
		{"no key", "GET", "/apikey", nil, 401, keyChallenge, "none"},
		{"session", "GET", "/session", []string{session}, 200, "", "session 1"},
		{"session, unsafe", "POST", "/session", []string{session, xsrf}, 200, "", "session 1, xsrf 1"},
		{"session, unsafe, no xsrf", "POST", "/session", []string{session}, 403, "", "session 1"},
		{"session, unsafe, wrong xsrf", "POST", "/session", []string{session, "X-Xsrf-Token: x"}, 403, "", "session 1, xsrf unknown"},
		{"no session", "GET", "/session", nil, 401, "", "none"},
		{"unknown session", "GET", "/session", []string{"Cookie: session=x"}, 401, "", "session unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type result struct {
				Status               int
				Challenge, Body      string
				Credentials          string
				BodySize             int64
				BodyHash             string
				OK, Denied, Forbiden int
			}
			before := s.Stats()
			a := send(t, s, tt.method, tt.path, "hello", append(tt.fields, "Content-Type: text/x")...)
			after, log := s.Stats(), s.Transcript()
			last := log[len(log)-1]
			got := result{
				a.status, a.header.Get("WWW-Authenticate"), a.body, last.Credentials, last.BodySize, last.BodySHA256,
				after.Accepted - before.Accepted, after.Unauthorized - before.Unauthorized, after.Forbidden - before.Forbidden,
			}
			want := result{
				Status: tt.status, Challenge: tt.challenge, Credentials: tt.credentials, BodySize: 5,
				BodyHash: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
			}
			switch tt.status {
			case 200:
				want.Body, want.OK = "hello", 1
				if a.header.Get("Content-Type") != "text/x" {
					t.Errorf("header %v", a.header)
				}
			case 401:
				want.Denied = 1
			case 403:
				want.Forbiden = 1
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if last.Status != tt.status || last.Path != strings.Split(tt.path, "?")[0] || last.Method != tt.method || time.Since(last.Time) > time.Minute {
				t.Errorf("%+v", last)
			}
		})
	}
	if a := send(t, s, "POST", "/open", strings.Repeat("x", 16<<20+1)); a.status != 413 {
		t.Errorf("a huge body: status %d", a.status)
	}
	if a := send(t, s, "POST", "/login", "username=alice&password=x", isForm); a.status != 401 || a.header["Set-Cookie"] != nil {
		t.Errorf("a wrong password: status %d, header %v", a.status, a.header)
	}
	if a := send(t, s, "POST", "/logout", "", session); a.status != 204 || len(a.header["Set-Cookie"]) != 2 {
		t.Errorf("logout: status %d, header %v", a.status, a.header)
	}
	if a := send(t, s, "GET", "/session", "", session); a.status != 401 {
		t.Errorf("after logout: status %d", a.status)
	}
	a = send(t, s, "POST", "/login", login, isForm)
	session = "Cookie: " + strings.Split(a.header["Set-Cookie"][0], ";")[0]
	if a := send(t, s, "GET", "/session", "", session); a.status != 200 {
		t.Errorf("a second session: status %d", a.status)
	}
	s.EndSessions()
	if a := send(t, s, "GET", "/session", "", session); a.status != 401 {
		t.Errorf("after EndSessions: status %d", a.status)
	}
}

func TestServerTLS(t *testing.T) {
	for name, opts := range map[string][]authtest.ServerOption{
		"loopback": {authtest.TLS()}, "in memory": {authtest.TLS(), authtest.InMemory()},
	} {
		t.Run(name, func(t *testing.T) {
			s := authtest.NewServer(t, opts...)
			a := send(t, s, "POST", "/login", url.Values{"username": {s.Username}, "password": {s.Password}}.Encode(), isForm)
			if a.status != 204 || !strings.Contains(a.header.Get("Set-Cookie"), "; Secure") {
				t.Errorf("login: %d %v", a.status, a.header)
			}
			if _, err := s.ClientCredentials().Token(s.Context(t.Context())); err != nil {
				t.Error(err)
			}
			for _, r := range s.Transcript() {
				if r.Proto != "HTTP/2.0" {
					t.Error(r)
				}
			}
			if resp, err := http.Get(s.URL); err == nil {
				resp.Body.Close()
				t.Error("a client that does not trust the certificate gets an answer")
			}
		})
	}
}

// In memory, every host is the server, by a certificate of its own.
func TestServerHosts(t *testing.T) {
	s := authtest.NewServer(t, authtest.TLS(), authtest.InMemory())
	s.Inject("/open", authtest.RedirectTo(http.StatusTemporaryRedirect, "https://elsewhere.example/bearer"))
	c := &http.Client{Transport: &transport.Bearer{Source: tokensource.Static(s.SignIn().AccessToken), Base: s.Client().Transport}}
	resp, err := c.Get("https://api.example.com/open")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Request.URL.Host; resp.StatusCode != 401 || got != "elsewhere.example" {
		t.Errorf("status %d from %s", resp.StatusCode, got)
	}
	if log := s.Transcript(); len(log) != 2 || log[0].Credentials != "access 1" || log[1].Credentials != "none" {
		t.Error(log)
	}
}

// Hours with tokens of five minutes and a request a second, in fake time.
func TestServerInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		s.SetPolicy(authtest.Policy{Lifetime: 5 * time.Minute, EndReplaced: true})
		grant := tokensource.RefreshToken(s.Config())
		session := &tokensource.Session{Grant: func(ctx context.Context, cur *oauth2.Token) (*oauth2.Token, error) {
			return grant(s.Context(ctx), cur)
		}}
		if err := session.Set(t.Context(), s.SignIn()); err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &transport.Refresh{Source: session, Base: s.Client().Transport}}
		const seconds = 10_010
		for range seconds {
			time.Sleep(time.Second)
			resp, err := c.Post(s.URL+"/bearer", "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
		st := s.Stats()
		if n := st.TokenRequests["refresh_token"]; st.Accepted != seconds || n < seconds/300 || n > seconds/150 || st.Reused != 0 {
			t.Errorf("%+v", st)
		}
		if log := s.Transcript(); len(log) != 10_000 || log[9_999].Time.Before(log[0].Time) {
			t.Errorf("%d records", len(log))
		}
	})
}

func TestServerPrintsNoSecret(t *testing.T) {
	s := authtest.NewServer(t)
	token := s.SignIn()
	a := send(t, s, "POST", "/login", url.Values{"username": {s.Username}, "password": {s.Password}}.Encode(), isForm)
	send(t, s, "POST", "/bearer?api_key="+s.APIKey, s.Password, bearer(token.AccessToken), basicOf(s.Username, s.Password), "X-Api-Key: "+s.APIKey)
	send(t, s, "GET", "/session", "", "Cookie: "+strings.Split(a.header["Set-Cookie"][0], ";")[0])
	post(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}})
	post(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}})
	var b strings.Builder
	for _, v := range []any{s, s.Stats(), s.Transcript(), struct{ S *authtest.Server }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		b.Write(j)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	}
	for _, part := range []string{"client-", "password-", "key-", "session-", "xsrf-", "access-", "refresh-"} {
		// Every secret has such a beginning, and then 26 letters and digits.
		for rest := b.String(); ; {
			_, after, found := strings.Cut(rest, part)
			if !found {
				break
			}
			if len(after) >= 26 && strings.ToUpper(after[:26]) == after[:26] && !strings.ContainsAny(after[:26], " \",") {
				t.Errorf("%s%s is printed", part, after[:4])
			}
			rest = after
		}
	}
	if got := fmt.Sprint(s); got != "authtest.Server("+s.URL+")" || !strings.Contains(b.String(), got) {
		t.Error(got)
	}
}

// Close ends what hangs, is held and is delayed, and leaves no goroutine: a
// bubble would not end with one.
func TestServerClose(t *testing.T) {
	for _, secure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := []authtest.ServerOption{authtest.InMemory()}
			if secure {
				opts = append(opts, authtest.TLS())
			}
			s := authtest.NewServer(nil, opts...)
			s.Inject("/open/hang", authtest.Hang())
			s.Inject("/open/late", authtest.Latency(time.Hour))
			gate := s.Hold("/open/held")
			var wg sync.WaitGroup
			for range 5 {
				for _, path := range []string{"/open/hang", "/open/late", "/open/held"} {
					wg.Go(func() {
						if a, err := try(t.Context(), s, "POST", path, "x"); err == nil {
							t.Errorf("%s: status %d", path, a.status)
						}
					})
				}
			}
			synctest.Wait()
			if gate.Waiting() != 5 {
				t.Errorf("%d are waiting", gate.Waiting())
			}
			start := time.Now()
			s.Close()
			wg.Wait()
			if gate.Waiting() != 0 {
				t.Errorf("%d are waiting after Close", gate.Waiting())
			}
			gate.Release()
			s.Close()
			if _, err := try(t.Context(), s, "GET", "/open", ""); err == nil {
				t.Error("an answer after Close")
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// Close may come at any time.
func TestServerCloseUnderLoad(t *testing.T) {
	for range 20 {
		s := authtest.NewServer(nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for {
					if _, err := try(t.Context(), s, "GET", "/open", ""); err != nil {
						return
					}
				}
			})
		}
		for s.Stats().Accepted < 20 {
			time.Sleep(time.Millisecond)
		}
		s.Close()
		n := s.Stats().Accepted
		wg.Wait()
		if got := s.Stats().Accepted; got != n {
			t.Errorf("%d answers after Close", got-n)
		}
	}
}
