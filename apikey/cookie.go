package apikey

import (
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
)

func hasCookie(req *http.Request, name string) bool {
	for _, value := range hop.Cookies(req.Header) {
		for pair := range strings.SplitSeq(value, ";") {
			key, _, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(key) == name {
				return true
			}
		}
	}
	return false
}

// withCookie returns a copy of req with c's pair at the end of its one Cookie
// field (RFC 6265 section 5.4).
func withCookie(req *http.Request, c *credential) *http.Request {
	var all []string
	for _, value := range hop.Cookies(req.Header) {
		if value != "" {
			all = append(all, value)
		}
	}
	values := c.values
	if len(all) > 0 {
		values = []string{strings.Join(append(all, c.pair), "; ")}
	}
	return hop.With(req, hop.Cookie, values)
}
