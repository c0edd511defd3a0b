package cookiejar

import (
	"math"
	"net/http"
	"strings"
	"time"
)

const (
	maxPair      = 4096 // octets of a name and its value together
	maxAttribute = 1024 // octets of an attribute's value

	maxAge = 400 * 24 * time.Hour // the most that a cookie may ask for
)

// A received cookie is what a Set-Cookie field says, before anything is made
// of it.
type received struct {
	name, value      string
	domain           string // in lower case; empty: none
	path             string // as sent; empty: none
	secure, httpOnly bool
	sameSite         http.SameSite
	expires          time.Time // zero: with the session
	age              time.Duration
	hasAge           bool // age counts, not expires
}

// parse reads a Set-Cookie field (RFC 6265bis section 5.6). In an older one, a
// Domain without a value is none.
func parse(field string, older bool) (received, Reason) {
	c := received{sameSite: http.SameSiteDefaultMode}
	if hasControl(field) {
		return c, ReasonControl
	}
	pair, attributes, _ := strings.Cut(field, ";")
	var named bool
	if c.name, c.value, named = strings.Cut(pair, "="); !named {
		c.name, c.value = "", pair
	}
	c.name, c.value = trim(c.name), trim(c.value)
	if len(c.name)+len(c.value) > maxPair {
		return c, ReasonSize
	}
	for attributes != "" {
		var attribute string
		attribute, attributes, _ = strings.Cut(attributes, ";")
		name, value, _ := strings.Cut(attribute, "=")
		name, value = trim(name), trim(value)
		if len(value) > maxAttribute || older && value == "" && strings.EqualFold(name, "domain") {
			continue
		}
		c.attribute(name, value)
	}
	return c, ""
}

// attribute notes one attribute; of those with one name the last counts.
func (c *received) attribute(name, value string) {
	switch len(name) {
	case len("path"):
		if strings.EqualFold(name, "path") {
			c.path = value
		}
	case len("domain"): // and of secure
		switch {
		case strings.EqualFold(name, "domain"):
			c.domain = strings.ToLower(value)
		case strings.EqualFold(name, "secure"):
			c.secure = true
		}
	case len("expires"): // and of max-age
		switch {
		case strings.EqualFold(name, "expires"):
			if t, ok := parseDate(value); ok {
				c.expires = t
			}
		case strings.EqualFold(name, "max-age"):
			if age, ok := parseAge(value); ok {
				c.age, c.hasAge = age, true
			}
		}
	case len("httponly"): // and of samesite
		switch {
		case strings.EqualFold(name, "httponly"):
			c.httpOnly = true
		case strings.EqualFold(name, "samesite"):
			c.sameSite = parseSameSite(value)
		}
	}
}

// parseAge reads a Max-Age of any length, which counts up to maxAge.
func parseAge(s string) (time.Duration, bool) {
	number, negative := strings.CutPrefix(s, "-")
	if s == "" {
		return 0, false
	}
	seconds := 0
	for i := range len(number) {
		if !isDigit(number[i]) {
			return 0, false
		}
		seconds = min(seconds*10+int(number[i]-'0'), math.MaxInt32)
	}
	if negative {
		return 0, true
	}
	return min(time.Duration(seconds)*time.Second, maxAge), true
}

func parseSameSite(s string) http.SameSite {
	switch {
	case strings.EqualFold(s, "none"):
		return http.SameSiteNoneMode
	case strings.EqualFold(s, "strict"):
		return http.SameSiteStrictMode
	case strings.EqualFold(s, "lax"):
		return http.SameSiteLaxMode
	}
	return http.SameSiteDefaultMode
}

// expiry returns when c expires, zero for the end of the session.
func (c *received) expiry(now time.Time) time.Time {
	switch limit, epoch := now.Add(maxAge), time.Unix(0, 0); {
	case c.hasAge && c.age <= 0:
		return epoch
	case c.hasAge:
		return now.Add(c.age)
	case c.expires.After(limit):
		return limit
	case !c.expires.IsZero() && c.expires.Before(epoch):
		return epoch
	}
	return c.expires
}

// hasControl reports whether s has a control character other than HTAB.
func hasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func trim(s string) string { return strings.Trim(s, " \t") }
