package tokensource_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// refresh makes one exchange of "refresh-0" at endpoint.
func refresh(ctx context.Context, endpoint http.RoundTripper) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: endpoint})
	return tokensource.RefreshToken(refreshConfig())(ctx, &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0"})
}

// A 307 would carry the client's secret and the refresh token to wherever it points.
func TestRedirectsOfTheTokenEndpoint(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, location := range []string{"https://other.example/token", "/elsewhere", "http://as.example/token", tokenURL, "", "https://as.example/%zz?client-secret&refresh-0", "\x7f"} {
			t.Run(fmt.Sprintf("%d to %q", status, location), func(t *testing.T) {
				endpoint := &tokenEndpoint{answer: respond(status, "text/html", "", "Location", location)}
				token, err := refresh(t.Context(), endpoint)
				if token != nil || err == nil {
					t.Fatalf("grant = %s, want an error", access(token, err))
				}
				if n := len(endpoint.got()); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
				re, ok := errors.AsType[*oauth2.RetrieveError](err)
				if !ok || re.Response.StatusCode != status || !strings.Contains(err.Error(), fmt.Sprint(status)) {
					t.Errorf("error does not tell of status %d: %v", status, err)
				}
				if strings.Contains(err.Error(), "client-secret") || strings.Contains(err.Error(), "refresh-0") {
					t.Errorf("error repeats a secret: %v", err)
				}
			})
		}
	}
}

// A countingBody is an endless answer that tells how much of it was read.
type countingBody struct {
	chunk  string
	read   int
	closed int
}

func (b *countingBody) Read(p []byte) (int, error) {
	n := copy(p, b.chunk)
	b.read += n
	return n, nil
}

func (b *countingBody) Close() error { b.closed++; return nil }

func TestHugeAnswer(t *testing.T) {
	for _, status := range []int{200, 400, 503} {
		for _, chunk := range []string{strings.Repeat(" ", 4096), `{"access_token":"` + strings.Repeat("x", 4096)} {
			body := &countingBody{chunk: chunk}
			token, err := refresh(t.Context(), roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, Request: req}, nil
			}))
			if token != nil || err == nil {
				t.Fatalf("status %d: grant = %s, want an error", status, access(token, err))
			}
			if body.read > 2<<20 || body.closed == 0 {
				t.Errorf("status %d: %d bytes read, closed %d times", status, body.read, body.closed)
			}
			if strings.Contains(err.Error(), "xxxx") {
				t.Errorf("status %d: error has the answer in it: %.100s", status, err)
			}
		}
	}
}

func TestAnswerOfNearlyAMegabyte(t *testing.T) {
	big := strings.Repeat("x", 1<<20-100)
	token, err := refresh(t.Context(), &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1","id_token":"` + big + `"}`)})
	if got := access(token, err); got != "access-1" {
		t.Errorf("grant = %s", got)
	}
}

// A drippingBody sends a byte each second, as long as the request may last.
type drippingBody struct{ ctx context.Context }

func (b drippingBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (drippingBody) Close() error { return nil }

func TestSlowTokenEndpoint(t *testing.T) {
	drip := roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: drippingBody{req.Context()}, Request: req}, nil
	})
	hang := roundTripper(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	for name, endpoint := range map[string]http.RoundTripper{"dripping": drip, "silent": hang} {
		bubble(t, name+", Session", func(t *testing.T) {
			s := &tokensource.Session{Grant: tokensource.RefreshToken(refreshConfig()), Timeout: 5 * time.Second}
			if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err := s.Token(context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: endpoint}))
			if d := time.Since(start); d != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Token = %v after %v, want context.DeadlineExceeded after 5s", err, d)
			}
			retryIn(t, err, 125*time.Millisecond, 250*time.Millisecond)
		})
		bubble(t, name+", no deadline", func(t *testing.T) {
			start := time.Now()
			_, err := refresh(t.Context(), endpoint)
			if d := time.Since(start); d != 30*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("grant = %v after %v, want context.DeadlineExceeded after 30s", err, d)
			}
		})
		bubble(t, name+", longer deadline", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			if _, err := refresh(ctx, endpoint); time.Since(start) != time.Minute || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("grant = %v after %v, want context.DeadlineExceeded after 1m", err, time.Since(start))
			}
		})
	}
}

// How long a token is good for, as servers say it. Zero: not stated.
var expiresIn = []struct {
	json string
	want time.Duration
}{
	{`3600`, time.Hour},
	{`"3600"`, time.Hour},
	{`" 3600 "`, time.Hour},
	{`3600.5`, time.Hour + 500*time.Millisecond},
	{`"3600.5"`, time.Hour + 500*time.Millisecond},
	{`1e3`, 1000 * time.Second},
	{`"1e3"`, 1000 * time.Second},
	{`0.5`, 500 * time.Millisecond},
	{`1`, time.Second},
	{`2147483647`, (1<<31 - 1) * time.Second},
	{`2147483648`, (1<<31 - 1) * time.Second},
	{`1e15`, (1<<31 - 1) * time.Second},
	{`9223372036854775807`, (1<<31 - 1) * time.Second},
	{`99999999999999999999999999`, (1<<31 - 1) * time.Second},
	{`1e999`, (1<<31 - 1) * time.Second},
	{`"1e999"`, (1<<31 - 1) * time.Second},
	{`-1`, 0},
	{`-1e999`, 0},
	{`0`, 0},
	{`0.0`, 0},
	{`1e-999`, 0},
	{`null`, 0},
	{`"soon"`, 0},
	{`"NaN"`, 0},
	{`""`, 0},
	{`"3600s"`, 0},
	{`true`, 0},
	{`{}`, 0},
	{`[3600]`, 0},
	{``, 0}, // absent
}

func TestExpiresIn(t *testing.T) {
	const takes = 2 * time.Second
	for _, tc := range expiresIn {
		bubble(t, tc.json, func(t *testing.T) {
			body := `{"access_token":"access-1"`
			if tc.json != "" {
				body += `,"expires_in":` + tc.json
			}
			start := time.Now()
			token, err := refresh(t.Context(), &tokenEndpoint{answer: func(req *http.Request) (*http.Response, error) {
				time.Sleep(takes)
				return respondJSON(body + "}")(req)
			}})
			if got := access(token, err); got != "access-1" {
				t.Fatalf("grant = %s", got)
			}
			var got time.Duration
			if !token.Expiry.IsZero() {
				got = token.Expiry.Sub(start)
			}
			// From the start of the request: the server began to count no earlier.
			if got != tc.want {
				t.Errorf("token expires %v after the request was sent, want %v", got, tc.want)
			}
			if token.ExpiresIn != int64(tc.want/time.Second) {
				t.Errorf("ExpiresIn is %d", token.ExpiresIn)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	const ok, form = "application/json", "application/x-www-form-urlencoded"
	const noToken = "error: grant returned no access token"
	for _, tc := range []struct {
		name, contentType, body string
		want                    string // prefix
		lifetime                time.Duration
	}{
		{"JSON", ok, `{"access_token":"access-1","expires_in":60}`, "access-1", time.Minute},
		{"JSON with charset", "application/json; charset=utf-8", `{"access_token":"access-1"}`, "access-1", 0},
		{"JSON as text", "text/plain", `{"access_token":"access-1","expires_in":60}`, "access-1", time.Minute},
		{"JSON as HTML", "text/html", `{"access_token":"access-1"}`, "access-1", 0},
		{"JSON as a form", form, `{"access_token":"access-1"}`, "access-1", 0},
		{"JSON as nothing", "", `{"access_token":"access-1"}`, "access-1", 0},
		{"JSON with a broken type", "a/b/c;;", `{"access_token":"access-1"}`, "access-1", 0},
		{"JSON with space around", ok, "\n\t {\"access_token\":\"access-1\"} \n", "access-1", 0},
		{"form", form, "access_token=access-1&expires_in=60&scope=a", "access-1", time.Minute},
		{"form as text", "text/plain; charset=UTF-8", "access_token=access-1&expires_in=60", "access-1", time.Minute},
		{"form with an expiry that is none", form, "access_token=access-1&expires_in=soon", "access-1", 0},
		{"form as HTML", "text/html", "access_token=access-1", "error: token endpoint's answer is not a JSON object", 0},
		{"form that is broken", form, "access_token=%zz", "error: token endpoint's answer is a broken form", 0},
		{"form without a token", form, "a=b", noToken, 0},
		{"unknown fields", ok, `{"a":[1,{"b":null}],"access_token":"access-1","expires_on":"0"}`, "access-1", 0},
		{"null fields", ok, `{"access_token":"access-1","token_type":null,"refresh_token":null,"error":null}`, "access-1", 0},
		{"HTML", "text/html", "<html>", "error: token endpoint's answer is not a JSON object", 0},
		{"empty", ok, "", "error: token endpoint's answer is not a JSON object", 0},
		{"null", ok, "null", "error: token endpoint's answer is not a JSON object", 0},
		{"array", ok, `["access-1"]`, "error: token endpoint's answer is not a JSON object", 0},
		{"string", ok, `"access-1"`, "error: token endpoint's answer is not a JSON object", 0},
		{"cut off", ok, `{"access_token":"access-1"`, "error: token endpoint's answer is broken JSON", 0},
		{"deep", ok, `{"access_token":"access-1","a":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`, "error: token endpoint's answer is broken JSON", 0},
		{"no access token", ok, `{}`, noToken, 0},
		{"empty access token", ok, `{"access_token":""}`, noToken, 0},
		{"null access token", ok, `{"access_token":null}`, noToken, 0},
		{"access token a number", ok, `{"access_token":12345}`, "error: token endpoint's answer is broken: access_token is not a string", 0},
		{"access token an object", ok, `{"access_token":{}}`, "error: token endpoint's answer is broken: access_token is not a string", 0},
		{"refresh token a number", ok, `{"access_token":"a","refresh_token":1}`, "error: token endpoint's answer is broken: refresh_token is not a string", 0},
		{"token type a list", ok, `{"access_token":"a","token_type":["Bearer"]}`, "error: token endpoint's answer is broken: token_type is not a string", 0},
		{"access token with LF", ok, `{"access_token":"hunter2\nX: y"}`, "error: ", 0},
		{"access token with NUL", ok, `{"access_token":"hunter2\u0000"}`, "error: ", 0},
		{"refresh token with CR", ok, `{"access_token":"a","refresh_token":"hunter2\r"}`, "error: ", 0},
		{"form with LF in access token", form, "access_token=hunter2%0aX:+y", "error: ", 0},
		{"token type with LF", ok, `{"access_token":"a","token_type":"hunter2\n"}`, "error: ", 0},
		{"token type with a space", ok, `{"access_token":"a","token_type":"hunter2 x"}`, "error: ", 0},
		{"token type of another scheme", ok, `{"access_token":"access-1","token_type":"DPoP"}`, "access-1", 0},
		{"error with status 200", ok, `{"error":"invalid_scope"}`, `error: oauth2: "invalid_scope"`, 0},
		{"error and token with status 200", ok, `{"error":"invalid_scope","access_token":"access-1"}`, `error: oauth2: "invalid_scope"`, 0},
		{"form error with status 200", form, `error=bad_verification_code&error_description=no&error_uri=https://as.example/help`, `error: oauth2: "bad_verification_code" "no" "https://as.example/help"`, 0},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			start := time.Now()
			token, err := refresh(t.Context(), &tokenEndpoint{answer: respond(200, tc.contentType, tc.body)})
			if got := access(token, err); !strings.HasPrefix(got, tc.want) {
				t.Errorf("grant = %.200s, want %s", got, tc.want)
			}
			if err != nil {
				if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "<html>") || len(err.Error()) > 300 {
					t.Errorf("error repeats the answer: %v", err)
				}
				return
			}
			if got := token.Expiry; tc.lifetime != 0 && !got.Equal(start.Add(tc.lifetime)) || tc.lifetime == 0 && !got.IsZero() {
				t.Errorf("token expires at %v, want %v after the request", got, tc.lifetime)
			}
		})
	}
}

func TestTokenURL(t *testing.T) {
	for _, tc := range []struct {
		url string
		ok  bool
	}{
		{"https://as.example/token", true},
		{"HTTPS://as.example/token", true},
		{"http://127.0.0.1:8080/token", true},
		{"http://127.1.2.3/token", true},
		{"http://[::1]/token", true},
		{"http://localhost:1/token", true},
		{"http://as.localhost/token", true},
		{"http://as.example/token", false},
		{"HTTP://as.example/token", false},
		{"http://127.0.0.1.as.example/token", false},
		{"http://localhost.as.example/token", false},
		{"http://notlocalhost/token", false},
		{"http://10.0.0.1/token", false},
		{"http://hunter2@as.example/token?hunter2", false},
		{"ftp://as.example/token", false},
		{"//as.example/token", false},
		{"/token", false},
		{"https:///token", false},
		{"", false},
		{"https://as.example/%zzhunter2", false},
		{"https://as.example/\nhunter2", false},
		{"as.example:hunter2", false},
	} {
		t.Run(tc.url, func(t *testing.T) {
			endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"access-1"}`)}
			cfg := refreshConfig()
			cfg.Endpoint.TokenURL = tc.url
			ctx := endpoint.context(t.Context())
			token, err := tokensource.RefreshToken(cfg)(ctx, &oauth2.Token{RefreshToken: "refresh-0"})
			want := 0
			if tc.ok {
				want = 1
			}
			if got := len(endpoint.got()); (err == nil) != tc.ok || got != want {
				t.Errorf("grant = %s after %d requests, want success %v", access(token, err), got, tc.ok)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error repeats parts of the URL that may be secret: %v", err)
			}
		})
	}
}

// The URL that an http.Client puts into its errors may hold a secret.
func TestNetworkErrorHidesTheURL(t *testing.T) {
	endpoint := &tokenEndpoint{answer: func(*http.Request) (*http.Response, error) { return nil, errDown }}
	secretURL := "https://user:hunter2@as.example/token?key=hunter2"
	cfg := refreshConfig()
	cfg.Endpoint.TokenURL = secretURL
	cc := clientcredentials.Config{ClientID: "client", ClientSecret: "client-secret", TokenURL: secretURL}
	for name, grant := range map[string]tokensource.Grant{
		"RefreshToken":      tokensource.RefreshToken(cfg),
		"ClientCredentials": tokensource.ClientCredentials(&cc),
		"GrantFrom":         tokensource.GrantFrom(func(ctx context.Context) oauth2.TokenSource { return cc.TokenSource(ctx) }),
	} {
		_, err := grant(endpoint.context(t.Context()), &oauth2.Token{RefreshToken: "refresh-0"})
		if !errors.Is(err, errDown) {
			t.Errorf("%s: error is %v, want the transport's", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error has the URL: %v", name, err)
		}
	}
}

// Servers answer with what they were sent. None of it, and no body, gets into
// the text of an error, however it is printed.
func TestRefusalsRepeatNoSecret(t *testing.T) {
	const (
		refreshToken = "refresh/secret+1"
		secret       = "client/secret+2"
		assertion    = "assertion/secret+3"
		marker       = "body-marker"
	)
	basic := base64.StdEncoding.EncodeToString([]byte("client:" + url.QueryEscape(secret)))
	header := func(name, value string) func(*http.Request) (*http.Response, error) {
		return respond(400, "application/json", `{"error":"x"}`, name, value)
	}
	answers := map[string]func(*http.Request) (*http.Response, error){}
	for _, field := range []string{"error", "error_description", "error_uri"} {
		for name, echo := range map[string]string{
			"as they are":   refreshToken + " " + secret + " " + assertion,
			"encoded":       "refresh_token=" + url.QueryEscape(refreshToken) + "&client_secret=" + url.QueryEscape(secret) + "&client_assertion=" + url.QueryEscape(assertion),
			"as Basic":      "Basic " + basic,
			"behind a lot":  strings.Repeat("x", 195) + refreshToken + secret,
			"behind a line": "\n" + refreshToken,
		} {
			for _, status := range []int{200, 400, 401, 503} {
				body := fmt.Sprintf(`{"error":"x",%q:%q,"more":%q}`, field, echo, marker)
				answers[fmt.Sprintf("%d %s %s", status, field, name)] = respond(status, "application/json", body)
			}
		}
	}
	answers["HTML"] = respond(500, "text/html", marker+refreshToken+secret)
	answers["200 HTML"] = respond(200, "text/html", marker+refreshToken+secret)
	answers["broken JSON"] = respond(200, "application/json", `{"`+marker+refreshToken+secret)
	answers["broken form"] = respond(200, "text/plain", marker+refreshToken+secret+"=%zz")
	answers["a number"] = respond(200, "application/json", `{"access_token":1,"x":"`+marker+`"}`)
	answers["Content-Type"] = respond(200, "text/"+marker+refreshToken+secret, "x")
	answers["Content-Type, quoted"] = respond(200, `text/html; x="`+marker+refreshToken+secret+`"`, "x")
	answers["header"] = header("X-Echo", refreshToken+secret)
	answers["Set-Cookie"] = header("Set-Cookie", "session="+refreshToken)
	answers["reason phrase"] = func(req *http.Request) (*http.Response, error) {
		resp, err := respond(400, "text/html", marker)(req)
		resp.Status = "400 " + refreshToken + secret
		return resp, err
	}
	answers["broken off"] = func(req *http.Request) (*http.Response, error) {
		resp, err := respond(400, "text/html", "")(req)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(marker+refreshToken), failingReader{}))
		return resp, err
	}
	cfg := refreshConfig()
	cfg.ClientSecret = secret
	inParams := *cfg
	inParams.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	cc := &clientcredentials.Config{ClientID: "client", ClientSecret: secret, TokenURL: tokenURL, EndpointParams: url.Values{"client_assertion": {assertion}}}
	for _, g := range []struct {
		name    string
		grant   tokensource.Grant
		refresh string
		secrets []string // what the server has been sent, as it is
	}{
		{"RefreshToken", tokensource.RefreshToken(cfg), refreshToken, []string{secret, refreshToken}},
		{"RefreshToken in parameters", tokensource.RefreshToken(&inParams), refreshToken, []string{secret, refreshToken}},
		{"ClientCredentials", tokensource.ClientCredentials(cc), "", []string{secret, assertion}},
	} {
		secrets := []string{marker, basic}
		for _, s := range g.secrets {
			secrets = append(secrets, s, url.QueryEscape(s))
		}
		for name, answer := range answers {
			t.Run(g.name+", "+name, func(t *testing.T) {
				var ev events
				s := &tokensource.Session{Grant: g.grant, OnEvent: ev.on}
				first := signedIn(t, s, &oauth2.Token{AccessToken: "access-0", RefreshToken: g.refresh})
				token, err := s.Renew((&tokenEndpoint{answer: answer}).context(t.Context()), first)
				if err == nil {
					t.Fatalf("Renew = %s, want an error", access(token, err))
				}
				texts := printed(err)
				for _, e := range ev.list() {
					texts = append(texts, printed(e)...)
				}
				for _, text := range texts {
					for _, secret := range secrets {
						if strings.Contains(text, secret) {
							t.Fatalf("printed with a secret: %s", text)
						}
					}
				}
			})
		}
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDown }

// What is quoted of a server's words is short and printable.
func TestErrorFieldsArePrintable(t *testing.T) {
	long := strings.Repeat("é\n\u202e", 1000)
	_, err := refresh(t.Context(), &tokenEndpoint{answer: respond(400, "application/json", fmt.Sprintf(`{"error":"a b\u0007","error_description":%q,"error_uri":"\u001b[31m"}`, long))})
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		t.Fatalf("error is %v", err)
	}
	if re.ErrorCode != "a b?" || re.ErrorURI != "?[31m" {
		t.Errorf("code is %q, URI %q", re.ErrorCode, re.ErrorURI)
	}
	for _, c := range []byte(re.ErrorDescription) {
		if c < 0x20 || c > 0x7e {
			t.Fatalf("description is %q", re.ErrorDescription)
		}
	}
	if len(re.ErrorDescription) > 200 {
		t.Errorf("description has %d bytes", len(re.ErrorDescription))
	}
}

// A secret that looks like a part of an error code does not hide the code.
func TestRedactionKeepsTheErrorCode(t *testing.T) {
	e := &tokenEndpoint{answer: respond(http.StatusBadRequest, "application/json", `{"error":"invalid_grant","error_description":"the grant is dead"}`)}
	cfg := refreshConfig()
	cfg.ClientSecret = "grant"
	_, err := tokensource.RefreshToken(cfg)(e.context(t.Context()), &oauth2.Token{RefreshToken: "invalid"})
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || re.ErrorCode != "invalid_grant" || re.ErrorDescription != "the [redacted] is dead" {
		t.Errorf("got %v", err)
	}
}

// net/http's errors repeat a part of what is no HTTP.
func TestAnswerThatIsNotHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "{\"access_token\":\"hunter2 \\\"hunter2\"}\r\n\r\n")
			c.Close()
		}
	}()
	cfg := refreshConfig()
	cfg.Endpoint.TokenURL = "http://" + l.Addr().String() + "/token"
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: tr})
	_, err = tokensource.RefreshToken(cfg)(ctx, &oauth2.Token{RefreshToken: "r"})
	if err == nil || !strings.Contains(err.Error(), "malformed HTTP") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
