package field_test

import (
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/field"
)

func TestHasControl(t *testing.T) {
	for c := range 256 {
		want := c < 0x20 || c == 0x7f
		for _, s := range []string{string([]byte{byte(c)}), "ab" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "ab"} {
			if got := field.HasControl(s); got != want {
				t.Errorf("%q: %v", s, got)
			}
		}
	}
	if field.HasControl("") {
		t.Error("an empty string has no control character")
	}
}

func TestIsToken(t *testing.T) {
	// RFC 9110 section 5.6.2.
	const tchar = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		b := []byte{byte(c)}
		want := strings.IndexByte(tchar, byte(c)) >= 0
		for _, s := range []string{string(b), "ab" + string(b), string(b) + "ab"} {
			if got := field.IsToken(s); got != want {
				t.Errorf("%q: %v", s, got)
			}
		}
	}
	if field.IsToken("") {
		t.Error("an empty string is no token")
	}
}
