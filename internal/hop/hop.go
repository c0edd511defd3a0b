// Package hop handles one request on its way through a decorator. To the
// http.Client above, each redirect makes another request, a hop.
package hop

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Authorization is the field name of RFC 9110 section 11.6.2.
const Authorization = "Authorization"

// maxHops bounds the walk back through a redirect chain. http.Client gives up
// after ten; the bound is for a chain that somebody tied into a ring.
const maxHops = 100

// All calls f for each request of the redirect chain before req, latest first,
// until f returns false. It reports whether it came to the first with f true
// for all: a chain that is not known to its beginning is to be taken for the
// worst.
func All(req *http.Request, f func(*http.Request) bool) bool {
	for range maxHops {
		if req.Response == nil {
			return true
		}
		if req = req.Response.Request; req == nil || !f(req) {
			return false
		}
	}
	return false
}

// firstHas reports whether the first request of the redirect chain before req had
// the field name with a value, which net/http may have dropped since.
func firstHas(req *http.Request, name string) (own bool) {
	All(req, func(r *http.Request) bool {
		own = r.Response == nil && has(r.Header, name, "")
		return true
	})
	return own
}

// userinfo returns what http.Client makes of userinfo in req's URL. On a
// redirect that is the server's choice, not the caller's.
func userinfo(req *http.Request) string {
	if req.URL == nil || req.URL.User == nil {
		return ""
	}
	password, _ := req.URL.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(req.URL.User.Username()+":"+password))
}

// has reports whether h has a value of the field name that is neither empty nor
// ignored, in any spelling of the name, since a raw map key goes onto the wire as
// well.
func has(h http.Header, name, ignored string) bool {
	for key, values := range h {
		if spells(key, name) && slices.ContainsFunc(values, func(v string) bool { return v != "" && v != ignored }) {
			return true
		}
	}
	return false
}

// spells reports whether key is name, in whatever letter case. The lengths tell most
// apart.
func spells(key, name string) bool { return len(key) == len(name) && strings.EqualFold(key, name) }

// CloseBody closes req's body, for a return before any attempt was made.
func CloseBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// HasBody reports whether there is a body to send.
func HasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// Replayable reports whether req's body can be had a second time.
func Replayable(req *http.Request) bool { return !HasBody(req) || req.GetBody != nil }

var errNoGetBody = errors.New("authtrip: the body cannot be sent again without GetBody")

// Replay returns the body to send req with a second time.
func Replay(req *http.Request) (io.ReadCloser, error) {
	switch {
	case !HasBody(req):
		return req.Body, nil
	case req.GetBody == nil:
		return nil, errNoGetBody
	}
	return req.GetBody()
}

// First returns the request that req's redirect chain began with, as far as it
// is known.
func First(req *http.Request) *http.Request {
	first := req
	All(req, func(r *http.Request) bool {
		first = r
		return true
	})
	return first
}
