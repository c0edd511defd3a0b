package hop

import (
	"net/http"
	"strings"
)

// Cookie is the field name of RFC 6265 section 4.2.
const Cookie = "Cookie"

// Cookies calls f for each Cookie field of h that is not empty, in any
// spelling of the name, until f returns false.
func Cookies(h http.Header, f func(value string) bool) {
	for name, values := range h {
		if len(name) != len(Cookie) || !strings.EqualFold(name, Cookie) {
			continue
		}
		for _, v := range values {
			if v != "" && !f(v) {
				return
			}
		}
	}
}

// CookieName returns the name in a pair of a Cookie field, or in a Set-Cookie
// field. A pair without = is a value that has none.
func CookieName(pair string) string {
	pair, _, _ = strings.Cut(pair, ";")
	name, _, named := strings.Cut(pair, "=")
	if !named {
		return ""
	}
	return strings.Trim(name, " \t")
}
