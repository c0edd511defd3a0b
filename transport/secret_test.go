package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// wantNoSecret prints v in every way there is.
func wantNoSecret(t *testing.T, name string, v any) {
	t.Helper()
	check := func(how, printed string) {
		t.Helper()
		if strings.Contains(printed, "secret") {
			t.Errorf("%s by %s: %s", name, how, printed)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		check(format, fmt.Sprintf(format, v))
		// As part of something else fmt calls fewer methods.
		check("field "+format, fmt.Sprintf(format, struct{ v any }{v}))
		check("slice "+format, fmt.Sprintf(format, []any{v}))
	}
	if out, err := json.Marshal(v); err == nil {
		check("JSON", string(out))
	} else {
		check("JSON error", err.Error())
	}
	for how, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		slog.New(handler(&out)).Info("", "v", v)
		check(how, out.String())
	}
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			check("cause", err.Error())
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	synctest.Test(t, testSecretsAreNotPrinted)
}

func testSecretsAreNotPrinted(t *testing.T) {
	secret := &oauth2.Token{AccessToken: "secret-access", RefreshToken: "secret-refresh"}
	s := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		return nil, &oauth2.RetrieveError{
			Response: &http.Response{StatusCode: 400, Status: "400 secret"}, ErrorCode: "invalid_grant",
			Body: []byte(`{"error": "invalid_grant", "hint": "secret-refresh"}`),
		}
	}}
	if err := s.Set(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	var events []transport.Event
	bearer := &transport.Bearer{Source: s, Base: newScript(accept("other"))}
	static := &transport.Bearer{Source: tokensource.Static("secret-static"), Base: newScript(accept("other"))}
	refresh := &transport.Refresh{
		Source: s, Base: newScript(accept("other")),
		OnEvent: func(_ context.Context, e transport.Event) { events = append(events, e) },
	}
	req, _ := stream(t, "body")
	// The decorators keep what they have built of the token, and what is owed.
	do(t, bearer, get(t))
	do(t, static, get(t))
	do(t, refresh, req)
	resp, err := refresh.RoundTrip(get(t))
	if resp != nil || !errors.Is(err, tokensource.ErrReauthRequired) {
		t.Fatalf("got %v, %v", resp, err)
	}
	again := &transport.Refresh{Source: refusing(errSource), Base: newScript(accept("other")), OnEvent: refresh.OnEvent}
	again.RoundTrip(get(t))
	if len(events) < 3 {
		t.Errorf("only %d events", len(events))
	}
	synctest.Wait() // fmt looks at whatever it finds, without locks
	// What is not ours to keep from being printed is left out.
	bearer.Base, static.Base, refresh.Base = nil, nil, nil
	wantNoSecret(t, "Bearer", bearer)
	wantNoSecret(t, "Bearer with Static", static)
	wantNoSecret(t, "Refresh", refresh)
	wantNoSecret(t, "RenewalError", err)
	for _, e := range events {
		wantNoSecret(t, "Event", e)
		wantNoSecret(t, "*Event", &e)
	}
}

// Nor is the token to be seen by whoever looks at the response.
func TestSecretsAreNotInTheResponse(t *testing.T) {
	each(t, func(t *testing.T, make func(parts) decorator) {
		req := get(t)
		resp, err := make(parts{source: tokens("secret"), base: newScript(answer(http.StatusOK, ""))}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if auth := authorization(resp.Request.Header); auth != nil {
			t.Errorf("the response's request has %q", auth)
		}
	})
}
