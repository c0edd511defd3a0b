package cookiejar

import (
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/internal/origin"
	"golang.org/x/net/publicsuffix"
)

// PublicSuffixList tells under which domains everybody can have a host, such as
// com and co.uk. It is that of net/http/cookiejar.
type PublicSuffixList interface {
	// PublicSuffix returns the public suffix of domain, which is in lower case
	// and in ASCII; "" if it has none.
	PublicSuffix(domain string) string
	// String describes the list, such as by its date.
	String() string
}

// Options are those of a [Jar]. The zero value is the safe default.
type Options struct {
	// PublicSuffixList says for which domains nobody may set a cookie; nil
	// means the list of golang.org/x/net/publicsuffix.
	PublicSuffixList PublicSuffixList

	// AllowSupercookies turns the list off: whoever has a host under co.uk may
	// then set cookies for all of co.uk.
	AllowSupercookies bool

	// RFC6265 turns nameless cookies off, as that RFC has it (section 5.2) and
	// net/http does; RFC 6265bis and browsers know them. With it a Domain
	// attribute without a value is passed over (section 5.2.3), where the later
	// text has it cancel one before it.
	RFC6265 bool

	// MaxPerDomain and Max are how many cookies are kept for one domain and in
	// all; zero means 180 and 3,000. Beyond that the expired ones go first,
	// then, of a domain, the ones that are not Secure, then the ones that have
	// not been used for the longest time (RFC 6265bis section 5.7).
	MaxPerDomain, Max int

	// MaxHeader is the most octets of a Cookie field; zero means 64 KiB.
	// Cookies that do not fit are left out of it.
	MaxHeader int

	// OnEvent, if not nil, is told what becomes of each cookie. It is called
	// from the goroutines that use the Jar, perhaps several at once, and may use
	// it too. A panic in it is recovered and ignored.
	OnEvent func(Event)
}

const (
	defaultMaxPerDomain = 180
	defaultMax          = 3000
	defaultMaxHeader    = 64 << 10
)

// A Jar keeps cookies as RFC 6265bis has it. It implements [net/http.CookieJar],
// and with Receive and Header an interface that loses nothing on the way. The
// zero Jar is empty, with the zero Options. It must not be copied after first
// use; all methods are safe for concurrent use by multiple goroutines.
type Jar struct {
	o Options

	mu      sync.RWMutex // guards the fields below
	domains map[string]domain
	count   int   // entries
	clock   int64 // the last time given by tick

	// epoch counts what was cleared, and cleared says when each was last: a
	// response to a request from before must not bring it back. It also counts the
	// responses of logins, whose cookies are not to be replaced by older ones.
	epoch   uint64
	cleared map[scope]clearing

	book *book // if a File keeps the Jar
}

// A domain is the cookies of one domain, in the order in which they are sent.
type domain []*entry

// New returns an empty Jar; nil Options are the zero Options. The error is
// always nil: New is that of net/http/cookiejar.
func New(o *Options) (*Jar, error) {
	j := new(Jar)
	if o != nil {
		j.o = *o
	}
	return j, nil
}

func limit(configured, standard int) int {
	if configured > 0 {
		return configured
	}
	return standard
}

// A place is where a request goes, as far as cookies care.
type place struct {
	host, path string
	secure     bool
}

// placeOf returns u's place; ok is false if there are no cookies in it.
func placeOf(u *url.URL) (p place, ok bool) {
	o, err := origin.Of(u)
	if err != nil || o.Scheme != "https" && o.Scheme != "http" {
		return place{}, false
	}
	p = place{host: o.Host, path: u.EscapedPath(), secure: o.Scheme == "https" || o.Loopback()}
	if !strings.HasPrefix(p.path, "/") {
		p.path = "/"
	}
	return p, true
}

// Header returns the Cookie field for a request to u, "" for none. To be in it
// counts as being used (RFC 6265bis section 5.8).
func (j *Jar) Header(u *url.URL) string {
	header, _ := j.visit(u)
	return header
}

// visit returns also the epoch that the request belongs to.
func (j *Jar) visit(u *url.URL) (header string, epoch uint64) {
	p, ok := placeOf(u)
	now := time.Now().UnixNano()
	j.mu.RLock()
	defer j.mu.RUnlock()
	if !ok {
		return "", j.epoch
	}
	var few [16]*entry // so that nothing is allocated for it
	found := j.match(few[:0], p, now)
	size, most := 0, limit(j.o.MaxHeader, defaultMaxHeader)
	for i, e := range found {
		length := len(e.pair) + len("; ")
		if size+length-len("; ") > most {
			found[i] = nil
			continue
		}
		size += length
		e.accessed.Store(now)
	}
	if size == 0 {
		return "", j.epoch
	}
	var b strings.Builder
	b.Grow(size)
	for _, e := range found {
		if e == nil {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(e.pair)
	}
	return b.String(), j.epoch
}

// match appends to found the cookies for p, in the order in which they are sent.
func (j *Jar) match(found []*entry, p place, now int64) []*entry {
	sorted := true
	for name := p.host; ; {
		before := len(found)
		for _, e := range j.domains[name] {
			if e.expires > now && (!e.secure || p.secure) && (!e.hostOnly || name == p.host) && pathMatch(p.path, e.path) {
				found = append(found, e)
			}
		}
		sorted = sorted && (before == 0 || before == len(found))
		i := strings.IndexByte(name, '.')
		if i < 0 || isIP(p.host) { // a part of an address is no domain
			break
		}
		name = name[i+1:]
	}
	if !sorted {
		slices.SortFunc(found, func(a, b *entry) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
	}
	return found
}

// pathMatch is RFC 6265bis section 5.1.4.
func pathMatch(path, of string) bool {
	return strings.HasPrefix(path, of) && (len(path) == len(of) || of[len(of)-1] == '/' || path[len(of)] == '/')
}

// defaultPath is that of a cookie without the attribute, RFC 6265bis section 5.1.4.
func defaultPath(path string) string { return path[:max(1, strings.LastIndexByte(path, '/'))] }

// All returns the cookies that are in the Jar at the time of the call, by
// domain, and there in the order in which they are sent.
func (j *Jar) All() iter.Seq[Cookie] { return cookies(j.entries()) }

func (j *Jar) entries() []*entry {
	now := time.Now().UnixNano()
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := make([]*entry, 0, j.count)
	for _, d := range j.domains {
		for _, e := range d {
			if e.expires > now {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b *entry) int {
		switch c := strings.Compare(a.domain, b.domain); {
		case c != 0:
			return c
		case a.before(b):
			return -1
		}
		return 1
	})
	return all
}

func cookies(entries []*entry) iter.Seq[Cookie] {
	return func(yield func(Cookie) bool) {
		for _, e := range entries {
			if !yield(e.cookie()) {
				return
			}
		}
	}
}

// For returns the cookies that a request to u would have, in their order. That
// does not count as using them.
func (j *Jar) For(u *url.URL) iter.Seq[Cookie] { return cookies(j.found(u)) }

func (j *Jar) found(u *url.URL) []*entry {
	p, ok := placeOf(u)
	if !ok {
		return nil
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.match(nil, p, time.Now().UnixNano())
}

// Get returns the cookie called name that a request to u would have, the first
// if there are several.
func (j *Jar) Get(u *url.URL, name string) (c Cookie, ok bool) {
	for _, e := range j.found(u) {
		if e.name == name {
			return e.cookie(), true
		}
	}
	return Cookie{}, false
}

// Format implements [fmt.Formatter], for every verb without a cookie.
func (j *Jar) Format(f fmt.State, _ rune) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	fmt.Fprintf(f, "cookiejar.Jar(%d cookies)", j.count)
}

// suffixes is the default list.
var suffixes PublicSuffixList = publicsuffix.List
