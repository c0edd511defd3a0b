package cookiejar

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Receive takes up the Set-Cookie fields of a response from u, in their order.
// What becomes of each, Options.OnEvent is told.
func (j *Jar) Receive(u *url.URL, setCookie []string) {
	if len(setCookie) > 0 {
		j.receive(u, setCookie, j.now(), false)
	}
}

// now is the epoch of a response whose request is not known.
func (j *Jar) now() uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.epoch
}

// receive is Receive for the response to a request of an epoch, which may be one
// of those that sign in.
func (j *Jar) receive(u *url.URL, setCookie []string, epoch uint64, login bool) {
	j.store(u, epoch, login, func(yield func(received, Reason) bool) {
		for _, field := range setCookie {
			if !yield(parse(field, j.o.RFC6265)) {
				return
			}
		}
	})
}

// store takes up what was received from u.
func (j *Jar) store(u *url.URL, epoch uint64, login bool, all func(func(received, Reason) bool)) {
	p, ok := placeOf(u)
	var c change
	c.loud, c.host = j.o.OnEvent != nil, hostOf(u)
	j.mu.Lock()
	var since uint64
	if login {
		j.epoch++
		since = j.epoch
	}
	for r, reason := range all {
		if !ok {
			reason = ReasonURL
		}
		e := &entry{key: key{name: r.name, path: r.path}, domain: p.host, secure: r.secure, httpOnly: r.httpOnly, sameSite: r.sameSite, since: since, expires: never}
		e.setValue(r.value)
		if reason == "" {
			reason = j.admit(e, &r, p)
		}
		if reason == "" && j.wasCleared(e, epoch) {
			reason = ReasonCleared
		}
		if reason != "" {
			c.note(EventRejected, e, reason)
			continue
		}
		j.put(e, epoch, &c)
	}
	book := j.book
	j.mu.Unlock()
	c.done(j, book)
}

func (e *entry) setValue(value string) {
	e.pair = value
	if e.name != "" {
		e.pair = e.name + "=" + value
	}
}

// admit completes e from what was received at p, or says why it cannot be
// (RFC 6265bis section 5.7). j.mu is held.
func (j *Jar) admit(e *entry, r *received, p place) Reason {
	switch {
	case e.pair == "":
		return ReasonEmpty
	case e.name == "" && j.o.RFC6265:
		return ReasonNameless
	}
	if reason := j.place(e, r.domain, p.host); reason != "" {
		return reason
	}
	if !strings.HasPrefix(e.path, "/") {
		e.path = defaultPath(p.path)
	}
	switch {
	case e.secure && !p.secure:
		return ReasonInsecure
	case !e.secure && !p.secure && j.shadows(e):
		return ReasonOverwrite
	case e.sameSite == http.SameSiteNoneMode && !e.secure:
		return ReasonSameSite
	case !keepsPromise(e, strings.HasPrefix(r.path, "/")):
		return ReasonPrefix
	}
	now := time.Now()
	if expires := r.expiry(now); !expires.IsZero() {
		e.expires = expires.UnixNano()
	}
	e.created = j.tick(now)
	e.updated = e.created
	e.accessed.Store(e.created)
	return ""
}

// place sets e's domain, by its attribute if that is not empty.
func (j *Jar) place(e *entry, attribute, host string) Reason {
	e.domain, e.hostOnly = host, true
	name := strings.TrimPrefix(attribute, ".")
	switch {
	case attribute == "":
		return ""
	case name == "" || !isASCII(name):
		return ReasonDomain
	case isIP(host): // no host is below an address
		if attribute != host {
			return ReasonDomain
		}
		return ""
	case j.isPublicSuffix(name):
		if name != host {
			return ReasonPublicSuffix
		}
		return "" // as without the attribute
	case name != host && !strings.HasSuffix(host, "."+name):
		return ReasonDomain
	}
	e.domain, e.hostOnly = name, false
	return ""
}

func (j *Jar) isPublicSuffix(domain string) bool {
	if j.o.AllowSupercookies {
		return false
	}
	list := j.o.PublicSuffixList
	if list == nil {
		list = suffixes
	}
	// A list may give what is no suffix at all; then nothing is known of domain.
	suffix := list.PublicSuffix(domain)
	return suffix != "" && !strings.HasSuffix(domain, "."+suffix)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// isIP reports whether host is an address. Names that look like one are few, and
// the rest is not worth an error's allocation.
func isIP(host string) bool {
	if host == "" || !isDigit(host[len(host)-1]) && !strings.Contains(host, ":") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// shadows reports whether e, from an insecure place, would take the part of a
// Secure cookie: one of its name, under a domain above or below, that is sent
// wherever e is. j.mu is held.
func (j *Jar) shadows(e *entry) bool {
	above := func(domain, of string) bool { return domain == of || strings.HasSuffix(of, "."+domain) }
	hides := func(d domain) bool {
		return slices.ContainsFunc(d, func(o *entry) bool { return o.secure && o.name == e.name && pathMatch(e.path, o.path) })
	}
	for name, d := range j.domains {
		if (above(name, e.domain) || above(e.domain, name)) && hides(d) {
			return true
		}
	}
	return false
}

// keepsPromise reports whether e is what the prefix of its name promises, if
// there is one (RFC 6265bis section 5.4).
func keepsPromise(e *entry, hasPath bool) bool {
	promised := func(prefix string) bool {
		s := e.pair // a nameless value must not look like a name
		return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
	}
	host := e.hostOnly && hasPath && e.path == "/"
	var kept bool
	switch {
	case promised("__Secure-"):
		kept = e.secure
	case promised("__Host-Http-"):
		kept = e.secure && e.httpOnly && host
	case promised("__Host-"):
		kept = e.secure && host
	case promised("__Http-"):
		kept = e.secure && e.httpOnly
	default:
		return true
	}
	return kept && e.name != ""
}

// tick returns a time that it has not returned before. j.mu is held.
func (j *Jar) tick(now time.Time) int64 {
	j.clock = max(j.clock+1, now.UnixNano())
	return j.clock
}
