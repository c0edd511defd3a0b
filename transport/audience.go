package transport

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/origin"
)

// ErrInsecureOrigin says that a credential would have gone over plain http, or
// over another scheme that is not https.
var ErrInsecureOrigin = errors.New("transport: credentials are sent over https only")

// An Audience is the set of origins that may receive a credential. It is used
// by pointer, and the nil *Audience is the safe default. Its fields must not
// be modified after first use; it is safe for concurrent use by multiple
// goroutines, and several decorators may share one.
//
// Origins are compared as RFC 9110 section 4.3.1 has it: by scheme, host and
// effective port, whatever the letter case or a trailing dot, and an
// internationalised name is one with its punycode. The userinfo of a URL and a
// request's Host field play no part.
//
// A RoundTripper sees every hop of a redirect chain as a request of its own,
// and what net/http strips on redirects it would put back. So the whole chain
// counts: once it has left the audience, the credential is withheld for the
// rest of it, on the way home as well. Withheld means that the request goes on
// without the credential and whatever answer it gets is returned as it is.
type Audience struct {
	// Origins are what may receive the credential: https://api.example.com, or
	// https://*.example.com for every name below example.com, with a port where
	// it is not the default. If there are none, it is the origin of the first
	// request of each redirect chain.
	Origins []string

	// AllowHTTP lets the credential be sent over plain http. Without it only
	// loopback may be reached that way: 127.0.0.0/8, ::1, localhost and names
	// below it. Anything else is ErrInsecureOrigin, or on a redirect withheld.
	AllowHTTP bool

	once     sync.Once // guards the fields below
	patterns []origin.Pattern
	err      error
}

// Allows reports whether req may carry the credential. If not, the error, when
// there is one, says why req must not be sent at all: it is insecure, or the
// audience or the request's URL is not valid.
func (a *Audience) Allows(req *http.Request) (bool, error) {
	if req.Response == nil && (a == nil || len(a.Origins) == 0) && origin.Plain(req.URL) {
		return true, nil // it is its own origin
	}
	return a.decide(req)
}

func (a *Audience) decide(req *http.Request) (bool, error) {
	patterns, err := a.compiled()
	if err != nil {
		return false, err
	}
	to, err := origin.Of(req.URL)
	if err != nil {
		return false, fmt.Errorf("transport: %w", err)
	}
	member := func(o origin.Origin) bool {
		if patterns == nil {
			return o == to
		}
		for _, p := range patterns {
			if p.Match(o) {
				return true
			}
		}
		return false
	}
	if !member(to) {
		return false, nil
	}
	if req.Response != nil && !hop.All(req, func(r *http.Request) bool {
		o, err := origin.Of(r.URL)
		return err == nil && member(o)
	}) {
		return false, nil
	}
	if to.Scheme == "https" || to.Scheme == "http" && (to.Loopback() || a != nil && a.AllowHTTP) {
		return true, nil
	}
	if req.Response != nil {
		return false, nil
	}
	return false, fmt.Errorf("%w: to %s", ErrInsecureOrigin, to)
}

func (a *Audience) compiled() ([]origin.Pattern, error) {
	if a == nil || len(a.Origins) == 0 {
		return nil, nil
	}
	a.once.Do(func() {
		for i, s := range a.Origins {
			p, err := origin.ParsePattern(s)
			if err != nil {
				a.err = fmt.Errorf("transport: Audience.Origins[%d]: %w", i, err)
				return
			}
			a.patterns = append(a.patterns, p)
		}
	})
	return a.patterns, a.err
}
