package digest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/digest"
)

// wantNoSecret prints v in every way there is.
func wantNoSecret(t *testing.T, name string, v any) {
	t.Helper()
	check := func(how, printed string) {
		t.Helper()
		if strings.Contains(printed, "secret") || strings.Contains(printed, "736563726574") || strings.Contains(printed, "[115 101 99") {
			t.Errorf("%s by %s: %s", name, how, printed)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		check(format, fmt.Sprintf(format, v))
		// As a part of something else, where fmt can call methods.
		check("field "+format, fmt.Sprintf(format, struct{ V any }{v}))
		check("slice "+format, fmt.Sprintf(format, []any{v}))
	}
	if out, err := json.Marshal(map[string]any{"v": v}); err == nil {
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
	g := newGuard(t)
	g.users = map[string]string{"secret-user": "secret-password"}
	rt := &digest.Transport{Username: "secret-user", Password: "secret-password", Base: g}
	want(t, rt, get(t), http.StatusOK, "")
	g.proof = func(string, map[string]string) string { return "rspauth=0" }
	_, errProof := rt.RoundTrip(get(t))

	server := newTLSServer(t, echo)
	gate := newGuard(t)
	gate.realm, gate.salt = "secret-realm", "secret-nonce"
	proxy := newProxy(t, gate, nil)
	p, _ := through(t, proxy, server)
	p.Username, p.Password = "secret-user", "secret-password"
	_, errRefused := p.RoundTrip(post(t, server.URL))
	req, _ := stream(t, "secret-body")
	req.URL = post(t, server.URL).URL
	gate.expire()
	gate.hasty = true
	_, errStale := p.RoundTrip(req)
	p.Password = "secret\x00"
	_, errControl := p.RoundTrip(post(t, server.URL))
	closed := httptest.NewServer(echo)
	closed.Close()
	down, _ := through(t, closed)
	down.Username, down.Password = "secret-user", "secret-password"
	_, errDown := down.RoundTrip(post(t, "http://example.com/"))
	for name, err := range map[string]error{
		"proof": errProof, "refused": errRefused, "stale": errStale, "control character": errControl, "down": errDown,
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		wantNoSecret(t, name, err)
	}
	if !errors.Is(errRefused, digest.ErrProxyRefused) || !errors.Is(errProof, digest.ErrServerAuth) {
		t.Errorf("got %v and %v: not what was meant", errRefused, errProof)
	}
	rt.Base, p.Base = nil, nil // what is not ours to keep from being printed
	wantNoSecret(t, "Transport", rt)
	wantNoSecret(t, "Proxy", p)
	if got := fmt.Sprint(rt, p); got != "digest.Transport digest.Proxy" {
		t.Errorf("printed %q", got)
	}
	if got, err := json.Marshal([]any{rt, p}); string(got) != `["digest.Transport","digest.Proxy"]` {
		t.Errorf("as JSON %s, %v", got, err)
	}
}

// Nor are they to be seen by whoever looks at the response.
func TestSecretsAreNotInTheResponse(t *testing.T) {
	g := newGuard(t)
	rt := g.client()
	for range 2 {
		resp, err := rt.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		if h := resp.Request.Header; len(h) != 0 {
			t.Errorf("the response's request has %q", h)
		}
	}
}
