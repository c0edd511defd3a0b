package cookiejar

import (
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Cookies implements [http.CookieJar]. What the types of net/http cannot hold
// is left out: nameless cookies. [Jar.Header] has them.
func (j *Jar) Cookies(u *url.URL) []*http.Cookie {
	var all []*http.Cookie
	now := time.Now().UnixNano()
	for _, e := range j.found(u) {
		if e.name == "" {
			continue
		}
		e.accessed.Store(now)
		c := &http.Cookie{Name: e.name, Value: e.value()}
		if v := c.Value; len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
			c.Value, c.Quoted = v[1:len(v)-1], true
		}
		all = append(all, c)
	}
	return all
}

// SetCookies implements [http.CookieJar]. Where a cookie has been parsed by
// net/http and not been changed since, its Raw field counts, which has lost
// nothing; otherwise the fields do.
func (j *Jar) SetCookies(u *url.URL, all []*http.Cookie) {
	if len(all) == 0 {
		return
	}
	j.store(u, j.now(), false, func(yield func(received, Reason) bool) {
		for _, c := range all {
			if c != nil && !yield(j.fromHTTP(c)) {
				return
			}
		}
	})
}

func (j *Jar) fromHTTP(c *http.Cookie) (received, Reason) {
	if c.Raw != "" {
		if parsed, err := http.ParseSetCookie(c.Raw); err == nil && reflect.DeepEqual(parsed, c) {
			r, reason := parse(c.Raw, j.o.RFC6265)
			r.value = valueOf(c) // which has not been trimmed
			return r, reason
		}
	}
	r := received{
		name: trim(c.Name), value: valueOf(c), domain: strings.ToLower(c.Domain), path: c.Path,
		secure: c.Secure, httpOnly: c.HttpOnly, sameSite: c.SameSite, expires: c.Expires,
	}
	if c.MaxAge != 0 {
		r.age, r.hasAge = min(time.Duration(min(max(c.MaxAge, -1), math.MaxInt32))*time.Second, maxAge), true
	}
	switch {
	case hasControl(r.name + r.value + r.domain + r.path), strings.ContainsAny(r.name, "=;"), strings.Contains(r.value, ";"):
		return r, ReasonControl
	case len(r.name)+len(r.value) > maxPair:
		return r, ReasonSize
	}
	return r, ""
}

func valueOf(c *http.Cookie) string {
	if c.Quoted {
		return `"` + c.Value + `"`
	}
	return c.Value
}
