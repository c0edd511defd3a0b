package hop

import (
	"net/http"
	"strings"
)

// Cookie is the field name of RFC 6265 section 4.2.
const Cookie = "Cookie"

// Cookies returns the values of the Cookie fields of h, in any spelling of the
// name. They may be h's own, and must not be modified.
func Cookies(h http.Header) (all []string) {
	for name, values := range h {
		if spells(name, Cookie) {
			if all == nil {
				all = values[:len(values):len(values)] // so that append copies
			} else {
				all = append(all, values...)
			}
		}
	}
	return all
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
