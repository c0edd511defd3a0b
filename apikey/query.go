package apikey

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/origin"
)

// query returns l's query with pair at its end. The rest stays byte for byte as it
// was; but a redirect's URL may have a parameter of that name, which the server
// chose, and that one goes.
func query(l *hop.Leg, name, pair string) string {
	q := l.Query()
	if l.Request.Response != nil {
		q = without(q, func(param string) bool { return is(param, name) })
	}
	if q == "" {
		return pair
	}
	return q + "&" + pair
}

// without returns query without the parameters that match.
func without(query string, match func(param string) bool) string {
	return strings.Join(slices.DeleteFunc(strings.Split(query, "&"), match), "&")
}

// hasParam reports whether query has a parameter of that name.
func hasParam(query, name string) bool {
	for param := range strings.SplitSeq(query, "&") {
		if is(param, name) {
			return true
		}
	}
	return false
}

// is reports whether the query's parameter param has that name.
func is(param, name string) bool {
	key, _, _ := strings.Cut(param, "=")
	return unescape(key) == name
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// minConspicuous is the length from which on a key is not taken for something
// else that is spelled the same.
const minConspicuous = 8

// takeOut removes the key from the Location field. A server that redirects to
// the same path on another host, or to a page to sign in at, often repeats the
// query it was sent; the key would follow, and show in every URL from there on.
func takeOut(req *http.Request, h http.Header, name string, c *credential) {
	location := h.Get("Location")
	if location == "" {
		return
	}
	rest, fragment, hasFragment := strings.Cut(location, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	kept := without(query, func(param string) bool {
		_, value, _ := strings.Cut(param, "=")
		return is(param, name) && unescape(value) == c.key
	})
	// With neither path nor query, the old query would hold.
	hasQuery = hasQuery && (kept == query || kept != "" || path == "")
	if len(c.key) >= minConspicuous {
		kept, fragment = replace(kept, c.spellings, ""), replace(fragment, c.spellings, "")
		if leaves(req, location) {
			path = replace(path, c.spellings, "")
		}
	}
	if hasQuery {
		path += "?" + kept
	}
	if hasFragment {
		path += "#" + fragment
	}
	if path != location {
		h.Set("Location", path)
	}
}

// leaves reports whether location is not on the origin of req.
func leaves(req *http.Request, location string) bool {
	u, err := req.URL.Parse(location)
	if err != nil {
		return true
	}
	from, errFrom := origin.Of(req.URL)
	to, errTo := origin.Of(u)
	return errFrom != nil || errTo != nil || from != to
}

func replace(s string, old []string, with string) string {
	for _, o := range old {
		s = strings.ReplaceAll(s, o, with)
	}
	return s
}
