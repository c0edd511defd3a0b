package apikey

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// withQuery returns a copy of req with pair at the end of its query, the rest
// of which stays byte for byte as it was. The header is shared: nobody below
// may modify it, as nobody may modify a request.
func withQuery(req *http.Request, pair string) *http.Request {
	r, u := *req, *req.URL
	if u.RawQuery != "" {
		pair = u.RawQuery + "&" + pair
	}
	u.RawQuery = pair
	r.URL = &u
	return &r
}

// hasParam reports whether req's query has a parameter of that name.
func hasParam(req *http.Request, name string) bool {
	if req.URL == nil {
		return false
	}
	for param := range strings.SplitSeq(req.URL.RawQuery, "&") {
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

// takeOut removes the key from the query of the Location field. A server that
// redirects to the same path on another host, or on https, often repeats the
// query it was sent; the key would follow, and show in every URL from there on.
func takeOut(h http.Header, name, key string) {
	location := h.Get("Location")
	before, query, ok := strings.Cut(location, "?")
	if !ok {
		return
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	var kept []string
	found := false
	for param := range strings.SplitSeq(query, "&") {
		if _, value, _ := strings.Cut(param, "="); is(param, name) && unescape(value) == key {
			found = true
			continue
		}
		kept = append(kept, param)
	}
	if !found {
		return
	}
	if len(kept) > 0 {
		before += "?" + strings.Join(kept, "&")
	}
	if hasFragment {
		before += "#" + fragment
	}
	h.Set("Location", before)
}

// conceal returns err with its text rid of the secrets, if any error in its
// tree tells one: a Base may have errors that repeat the URL it was given.
func conceal(err error, secrets ...string) error {
	tells := func(err error) bool {
		text := err.Error()
		for _, s := range secrets {
			if strings.Contains(text, s) {
				return true
			}
		}
		return false
	}
	found := false
	cause := err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if tells(inner) {
			found, cause = true, errors.Unwrap(inner)
		}
	}
	if !found {
		return err
	}
	text := err.Error()
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	return &concealed{text, cause}
}

// A concealed is an error that prints without the key. It wraps what in the
// chain came below the errors that told it.
type concealed struct {
	text  string
	cause error
}

func (e *concealed) Error() string { return e.text }
func (e *concealed) Unwrap() error { return e.cause }

// Timeout reports whether the cause was a timeout; url.Error asks.
func (e *concealed) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.cause)
	return ok && t.Timeout()
}
