package challenge_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/challenge"
	"github.com/google/go-cmp/cmp"
)

func TestFromResponse(t *testing.T) {
	header := http.Header{
		"Www-Authenticate":   {`Basic realm="x"`, "Bearer"},
		"Proxy-Authenticate": {"Digest a=b, a=c", "Negotiate"},
	}
	origin, proxy := all(of("Basic", "realm", "x"), of("Bearer")), all(of("Negotiate"))
	for status, want := range map[int][]challenge.Challenge{200: origin, 401: origin, 403: origin, 407: proxy} {
		got := challenge.FromResponse(&http.Response{StatusCode: status, Header: header})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", status, diff)
		}
		if got := challenge.FromResponse(&http.Response{StatusCode: status}); got != nil {
			t.Errorf("%d without a header: %v", status, got)
		}
	}
}

func TestIsAndParam(t *testing.T) {
	c := of("Digest", "Realm", "x", "nonce", "")
	for scheme, want := range map[string]bool{"Digest": true, "dIGEST": true, "Digest2": false, "Diges": false, "": false} {
		if c.Is(scheme) != want {
			t.Errorf("Is(%q) is %t", scheme, !want)
		}
	}
	for name, want := range map[string]*string{"Realm": new("x"), "rEALM": new("x"), "NONCE": new(""), "realm2": nil, "": nil} {
		value, ok := c.Param(name)
		if ok != (want != nil) || ok && value != *want || !ok && value != "" {
			t.Errorf("Param(%q) is %q, %t", name, value, ok)
		}
	}
	// Parse lets no name occur twice, but a list may come from elsewhere.
	if value, ok := challenge.Find(list("a", "1", "A", "2"), "A"); value != "1" || !ok {
		t.Errorf("of two, Find has %q, %t, want the first", value, ok)
	}
}

func TestString(t *testing.T) {
	tests := []struct {
		c    challenge.Challenge
		want string
	}{
		{challenge.Challenge{}, ""},
		{of("Basic"), "Basic"},
		{token68("Negotiate", "abc=="), "Negotiate abc=="},
		{of("Basic", "realm", "x"), `Basic realm="x"`},
		{of("S", "a", "", "B", `"\`, "c", "d, e", "f", "\t\u00e9"), `S a="", B="\"\\", c="d, e", f="` + "\t\u00e9" + `"`},
	}
	for _, tt := range tests {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	if got := string(challenge.AppendQuoted([]byte("a="), `b"\`)); got != `a="b\"\\"` {
		t.Errorf("got %s", got)
	}
}
