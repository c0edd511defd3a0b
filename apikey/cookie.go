package apikey

import (
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
)

// cookies calls f for each Cookie field of h that is not empty, in any
// spelling of the name, until f returns false.
func cookies(h http.Header, f func(value string) bool) {
	for name, values := range h {
		if len(name) != len("Cookie") || !strings.EqualFold(name, "Cookie") {
			continue
		}
		for _, v := range values {
			if v != "" && !f(v) {
				return
			}
		}
	}
}

func hasCookie(req *http.Request, name string) bool {
	found := false
	cookies(req.Header, func(value string) bool {
		for pair := range strings.SplitSeq(value, ";") {
			key, _, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(key) == name {
				found = true
			}
		}
		return !found
	})
	return found
}

// withCookie returns a copy of req with c's pair at the end of its one Cookie
// field (RFC 6265 section 5.4).
func withCookie(req *http.Request, c *credential) *http.Request {
	var all []string
	cookies(req.Header, func(value string) bool {
		all = append(all, value)
		return true
	})
	values := c.values
	if len(all) > 0 {
		values = []string{strings.Join(append(all, c.pair), "; ")}
	}
	return hop.With(req, "Cookie", values)
}
