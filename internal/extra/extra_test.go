package extra_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

func TestFields(t *testing.T) {
	token := &oauth2.Token{AccessToken: "a"}
	all := map[string]any{"scope": "x", "unlisted": 1.0}
	for name, tc := range map[string]struct {
		token *oauth2.Token
		want  map[string]any
	}{
		"none":                        {token, nil},
		"listed":                      {extra.With(token, all), all},
		"of x/oauth2, JSON":           {token.WithExtra(all), map[string]any{"scope": "x"}},
		"of x/oauth2, form":           {token.WithExtra(url.Values{"scope": {"x"}, "unlisted": {"1"}}), map[string]any{"scope": "x"}},
		"of something else":           {token.WithExtra(5), nil},
		"attached to":                 {extra.Attach(extra.With(token, all), 7), all},
		"attached to one of x/oauth2": {extra.Attach(token.WithExtra(all), 7, "scope"), map[string]any{"scope": "x"}},
		"with, after attach":          {extra.With(extra.Attach(token, 7), all), all},
		"a copy":                      {copyOf(extra.With(token, all)), all},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, extra.Fields(tc.token, "scope", "absent")); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if strings.Contains(name, "attach") != (extra.Attached(tc.token) == 7) {
				t.Errorf("attached %v", extra.Attached(tc.token))
			}
			for field, v := range tc.want {
				if got := tc.token.Extra(field); got != v {
					t.Errorf("Extra(%q) = %v, want %v", field, got, v)
				}
			}
			if text := fmt.Sprintf("%v %+v %#v", tc.token, tc.token, tc.token); len(text) > 2000 {
				t.Errorf("it prints %d bytes", len(text))
			}
		})
	}
}

func copyOf(t *oauth2.Token) *oauth2.Token {
	c := *t
	return &c
}

// No field of a response passes for what this package hides.
func TestFieldsCannotBeForged(t *testing.T) {
	members, err := extra.Decode([]byte(`{"\u0000authtrip fields":{"x":1},"\u0000authtrip bound":{"x":1},"scope":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	token := new(oauth2.Token).WithExtra(members)
	if diff := cmp.Diff(map[string]any{"scope": "s"}, extra.Fields(token, "scope")); diff != "" || extra.Attached(token) != nil {
		t.Errorf("attached %v, fields (-want +got):\n%s", extra.Attached(token), diff)
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]any{
		`1`: 1.0, `-0.5`: -0.5, `1e3`: 1000.0, `3600.0`: 3600.0, `123456789012345`: 123456789012345.0,
		`9007199254740991`: 9007199254740991.0, `9007199254740993`: json.Number("9007199254740993"),
		`12345678901234567890`: json.Number("12345678901234567890"), `1e400`: json.Number("1e400"),
		`[12345678901234567890,1]`:         []any{json.Number("12345678901234567890"), 1.0},
		`{"n":{"n":12345678901234567890}}`: map[string]any{"n": map[string]any{"n": json.Number("12345678901234567890")}},
		`"text"`:                           "text", `null`: nil, `true`: true,
	} {
		got, err := extra.Decode([]byte(`{"v":` + text + `}`))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(map[string]any{"v": want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "null", "[]", "1", `"x"`, "{", `{}{}`, `{} x`, "{\"x\":\"\xff\"}", `{"x":}`} {
		if got, err := extra.Decode([]byte(text)); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}
