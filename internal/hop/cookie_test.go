package hop_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/google/go-cmp/cmp"
)

func TestCookies(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.Header
		want []string
	}{
		{"none", nil, nil},
		{"another field", http.Header{"Set-Cookie": {"a"}, "Cookies": {"b"}}, nil},
		{"one", http.Header{"Cookie": {"a=1; b=2"}}, []string{"a=1; b=2"}},
		{"two", http.Header{"Cookie": {"a", "b"}}, []string{"a", "b"}},
		{"other spellings", http.Header{"cookie": {"b"}, "Cookie": {"a"}, "COOKIE": {"c"}}, []string{"a", "b", "c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.h.Clone()
			got := hop.Cookies(tt.h)
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			_ = append(got, "more")
			if diff := cmp.Diff(before, tt.h); diff != "" {
				t.Errorf("the header (-before +after):\n%s", diff)
			}
		})
	}
}

func TestCookieName(t *testing.T) {
	for pair, want := range map[string]string{
		"a=b": "a", " a\t= b": "a", "a=b=c; d=e": "a", "=b": "", "value": "", "": "", "value; d=e": "",
	} {
		if got := hop.CookieName(pair); got != want {
			t.Errorf("%q: got %q, want %q", pair, got, want)
		}
	}
}
