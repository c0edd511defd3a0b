package cookiejar

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A Cookie is one cookie of a [Jar], with all that the Jar knows of it. Name,
// Domain, Path and HostOnly together are its identity. It prints without its
// value.
type Cookie struct {
	// Name and Value are as the server sent them, to the byte. A nameless
	// cookie has no Name.
	Name, Value string
	// Domain is the host that the cookie is for, in lower case and in ASCII.
	Domain string
	// HostOnly says that Domain alone gets the cookie, and no host below it.
	HostOnly bool
	// Path is the path below which the cookie is sent.
	Path string
	// Secure keeps it to https and to loopback, HttpOnly from scripts.
	Secure, HttpOnly bool
	// SameSite is the attribute as it was sent, SameSiteDefaultMode if it was
	// not. A Jar does not act on it: its requests have no site but their own.
	SameSite http.SameSite
	// Expires is when the cookie ends; zero means with the session.
	Expires time.Time
	// Created is when a cookie of this identity was first set, Updated when it
	// was last, and Accessed when it was last set or sent.
	Created, Updated, Accessed time.Time
}

// Format implements [fmt.Formatter], for every verb without the value.
func (c Cookie) Format(f fmt.State, _ rune) { io.WriteString(f, c.describe()) }

// MarshalText implements [encoding.TextMarshaler], without the value: package
// encoding/json and log/slog print what Format does. [Jar.Encode] is what keeps
// cookies.
func (c Cookie) MarshalText() ([]byte, error) { return []byte(c.describe()), nil }

func (c Cookie) describe() string {
	var b strings.Builder
	b.WriteString("cookiejar.Cookie(")
	if c.Name == "" {
		b.WriteString("nameless")
	} else {
		fmt.Fprintf(&b, "%q", c.Name)
	}
	b.WriteString(" for ")
	if !c.HostOnly {
		b.WriteString("*.")
	}
	b.WriteString(c.Domain + c.Path + ")")
	return b.String()
}

// A key is the identity of a cookie among those of its domain.
type key struct {
	name, path string
	hostOnly   bool
}

// An entry is a cookie in a Jar. All but accessed is constant.
type entry struct {
	key
	domain   string
	pair     string // as it is sent: name=value, or the value of a nameless one
	secure   bool
	httpOnly bool
	sameSite http.SameSite
	expires  int64 // Unix nanoseconds; never: with the session
	created  int64 // no two in one Jar have the same
	updated  int64
	accessed atomic.Int64
	since    uint64 // the epoch of the login that has set it; 0: none has
}

// never is an expiry that does not come.
const never = math.MaxInt64

func (e *entry) value() string {
	if e.name == "" {
		return e.pair
	}
	return e.pair[len(e.name)+1:]
}

func (e *entry) session() bool { return e.expires == never }

// cookie returns what users see.
func (e *entry) cookie() Cookie {
	c := Cookie{
		Name: e.name, Value: e.value(), Domain: e.domain, HostOnly: e.hostOnly, Path: e.path,
		Secure: e.secure, HttpOnly: e.httpOnly, SameSite: e.sameSite,
	}
	if e.created != 0 { // else it has been rejected
		c.Created, c.Updated, c.Accessed = time.Unix(0, e.created), time.Unix(0, e.updated), time.Unix(0, e.accessed.Load())
	}
	if !e.session() {
		c.Expires = time.Unix(0, e.expires)
	}
	return c
}

// before reports whether e is sent before o: longer paths first, then older ones.
func (e *entry) before(o *entry) bool {
	switch {
	case len(e.path) != len(o.path):
		return len(e.path) > len(o.path)
	case e.created != o.created:
		return e.created < o.created
	}
	return e.name < o.name // as two processes may have created them
}
