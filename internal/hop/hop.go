// Package hop handles one request on its way through a decorator. To the
// http.Client above, each redirect makes another request, a hop.
package hop

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
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

// HasOwn reports whether the caller itself put a credential into the header
// field name, in canonical spelling, of req: on this hop or on the first of
// its chain, where net/http may have dropped it since.
func HasOwn(req *http.Request, name string) bool {
	value := get(req.Header, name)
	if req.Response == nil {
		return value != ""
	}
	if value != "" && !(name == Authorization && value == userinfo(req)) {
		return true
	}
	own := false
	All(req, func(r *http.Request) bool {
		own = r.Response == nil && get(r.Header, name) != ""
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

// get returns the first value of name that is not empty, in any spelling of
// name: a raw map key goes onto the wire as well.
func get(h http.Header, name string) string {
	for key, values := range h {
		if len(key) == len(name) && strings.EqualFold(key, name) {
			for _, v := range values {
				if v != "" {
					return v
				}
			}
		}
	}
	return ""
}

// Copy returns a copy of req to be sent. Only the struct and the header map are
// new: Request.Clone would copy the Trailer too, and what the caller fills in
// while its body is read would be lost.
func Copy(req *http.Request) *http.Request {
	r := *req
	r.Header = maps.Clone(req.Header)
	return &r
}

// With returns a Copy of req with the header field name, in canonical spelling,
// holding values, which is shared between requests; its capacity must be its
// length.
func With(req *http.Request, name string, values []string) *http.Request {
	r := Copy(req)
	if r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	for key := range r.Header {
		if len(key) == len(name) && strings.EqualFold(key, name) {
			delete(r.Header, key)
		}
	}
	r.Header[name] = values
	return r
}

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
