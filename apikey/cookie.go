package apikey

import (
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
)

func hasCookie(fields []string, name string) bool {
	for _, value := range fields {
		for pair := range strings.SplitSeq(value, ";") {
			key, _, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(key) == name {
				return true
			}
		}
	}
	return false
}

// cookies returns the one Cookie field (RFC 6265 section 5.4) that has c's pair after
// what l has.
func cookies(l *hop.Leg, c *credential) *hop.Field {
	var all []string
	for _, value := range l.Cookies() {
		if value != "" {
			all = append(all, value)
		}
	}
	if len(all) == 0 {
		return c.field
	}
	return hop.NewField(hop.Cookie, strings.Join(append(all, c.pair), "; "))
}
