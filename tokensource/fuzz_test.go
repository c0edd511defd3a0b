package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// Whatever a token endpoint answers, there is either a token fit for a header
// field or an error fit for a log.
func FuzzTokenEndpoint(f *testing.F) {
	for _, tc := range expiresIn {
		f.Add(200, "application/json", `{"access_token":"access-1","expires_in":`+tc.json+`}`)
	}
	for _, tc := range []struct {
		status            int
		contentType, body string
	}{
		{200, "application/json", `{"access_token":"access-1","refresh_token":"r","token_type":"Bearer","scope":"a","id_token":"x"}`},
		{200, "application/x-www-form-urlencoded", "access_token=access-1&expires_in=60"},
		{200, "text/plain", "access_token=%zz"},
		{200, "application/json", `{"access_token":"a\u0000\r\n"}`},
		{200, "application/json", `{"access_token":1}`},
		{200, "application/json", `{"access_token":"access-1","token_type":"a b"}`},
		{200, "text/html", "<html>"},
		{200, "", ""},
		{200, "application/json", "null"},
		{200, "application/json", `{"a":[[[[`},
		{400, "application/json", `{"error":"invalid_grant","error_description":"refresh-0 client-secret","error_uri":"x"}`},
		{307, "", ""},
		{503, "text/html", "refresh-0"},
	} {
		f.Add(tc.status, tc.contentType, tc.body)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 200 || status > 999 || strings.Contains(contentType, "refresh-0") || strings.Contains(contentType, "client-secret") {
			t.Skip("no answer")
		}
		start := time.Now().Round(0)
		token, err := refresh(t.Context(), &tokenEndpoint{answer: respond(status, contentType, body)})
		end := time.Now().Round(0)
		if (token == nil) == (err == nil) {
			t.Fatalf("grant = %s: want exactly one of token and error", access(token, err))
		}
		if err != nil {
			if strings.Contains(err.Error(), "refresh-0") || strings.Contains(err.Error(), "client-secret") {
				t.Errorf("error repeats a secret: %v", err)
			}
			if len(err.Error()) > 1000 || hasControl(strings.ReplaceAll(err.Error(), "\nResponse: ", "")) {
				t.Errorf("error is unfit for a log: %q", err)
			}
			return
		}
		if status > 299 {
			t.Errorf("a token from status %d", status)
		}
		if token.AccessToken == "" || hasControl(token.AccessToken) || hasControl(token.RefreshToken) || hasControl(token.TokenType) || strings.Contains(token.TokenType, " ") {
			t.Errorf("token %q, refresh token %q, type %q", token.AccessToken, token.RefreshToken, token.TokenType)
		}
		if token.RefreshToken == "" {
			t.Error("the refresh token is lost")
		}
		if e := token.Expiry; !e.IsZero() && (!e.After(start) || e.After(end.Add((1<<31-1)*time.Second))) || token.ExpiresIn < 0 {
			t.Errorf("expires at %v, in %d s", e, token.ExpiresIn)
		}
	})
}

// No Retry-After makes a Session wait for no time at all, or for more than an hour.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "0", "7", " 120 ", "86400", "9223372037", "99999999999999999999999", "-1", "+5", "1.5", "1e3", "soon",
		"Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 9999", "Mon, 01 Jan 0001 00:00:00 GMT",
	} {
		f.Add(503, value)
	}
	f.Fuzz(func(t *testing.T, status int, value string) {
		s := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {value}}}}
		}}
		start := time.Now().Round(0)
		_, err := s.Token(t.Context())
		end := time.Now().Round(0)
		retry, ok := errors.AsType[*tokensource.RetryError](err)
		if !ok {
			t.Fatalf("Token = %v, want a RetryError", err)
		}
		if retry.At.Before(start.Add(125*time.Millisecond)) || retry.At.After(end.Add(time.Hour)) {
			t.Errorf("to be tried again at %v, %v from now", retry.At, retry.At.Sub(start))
		}
	})
}
