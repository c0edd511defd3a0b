package cookiejar

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authtrip/authtrip/internal/origin"
)

// A change collects what is to be told once no lock is held any more.
type change struct {
	loud   bool // somebody wants to know
	host   string
	events []Event
	stored bool // the Jar is not as before
}

func (c *change) note(kind EventKind, e *entry, reason Reason) {
	c.stored = c.stored || kind != EventRejected
	if c.loud {
		c.events = append(c.events, Event{Kind: kind, Cookie: e.cookie(), Host: c.host, Reason: reason})
	}
}

// done tells.
func (c *change) done(j *Jar, b *book) {
	if c.stored && b != nil {
		b.changed()
	}
	j.emit(c.events)
}

// always is the epoch of what no login overtakes.
const always = math.MaxUint64

// put stores e, from a response to a request of an epoch, in the place of the one
// of its identity. j.mu is held.
func (j *Jar) put(e *entry, epoch uint64, c *change) {
	now := time.Now().UnixNano()
	d := j.domains[e.domain]
	i := slices.IndexFunc(d, func(o *entry) bool { return o.key == e.key })
	if i >= 0 && d[i].expires <= now {
		j.remove(e.domain, i, 0, c, ReasonExpired) // it has gone before
		d, i = j.domains[e.domain], -1
	}
	switch {
	case i >= 0 && epoch < d[i].since:
		c.note(EventRejected, e, ReasonOvertaken)
		return
	case e.expires <= now:
		if i >= 0 {
			j.remove(e.domain, i, e.updated, c, ReasonExpired)
		}
		return
	case i >= 0:
		e.created, e.since = d[i].created, max(e.since, d[i].since)
		d[i] = e
		c.note(EventReplaced, e, "")
		return
	}
	if j.domains == nil {
		j.domains = make(map[string]domain)
	}
	at, _ := slices.BinarySearchFunc(d, e, func(o, e *entry) int {
		if o.before(e) {
			return -1
		}
		return 1
	})
	j.domains[e.domain] = slices.Insert(d, at, e)
	j.count++
	c.note(EventSet, e, "")
	j.evict(e.domain, now, c)
}

// remove takes an entry out, at the time that at says. j.mu is held.
func (j *Jar) remove(name string, i int, at int64, c *change, reason Reason) {
	d := j.domains[name]
	e := d[i]
	c.note(EventRemoved, e, reason)
	if reason != ReasonEvicted {
		j.book.bury(e, at)
	}
	j.count--
	if len(d) == 1 {
		delete(j.domains, name)
		return
	}
	j.domains[name] = slices.Delete(d, i, i+1)
}

// evict removes what is too much after an insertion into a domain. j.mu is held.
func (j *Jar) evict(name string, now int64, c *change) {
	if most := limit(j.o.MaxPerDomain, defaultMaxPerDomain); len(j.domains[name]) > most {
		j.expire(name, now, c)
		for len(j.domains[name]) > most {
			d := j.domains[name]
			j.remove(name, leastUsed(d), 0, c, ReasonEvicted)
		}
	}
	for j.count > limit(j.o.Max, defaultMax) {
		var victim *entry
		expired := false
		for _, d := range j.domains {
			for _, e := range d {
				gone := e.expires <= now
				if victim == nil || gone && !expired || gone == expired && compareUse(e, victim) < 0 {
					victim, expired = e, gone
				}
			}
		}
		reason := ReasonEvicted
		if expired {
			reason = ReasonExpired
		}
		j.remove(victim.domain, slices.Index(j.domains[victim.domain], victim), 0, c, reason)
	}
}

// expire removes what has expired. j.mu is held.
func (j *Jar) expire(name string, now int64, c *change) {
	for i := len(j.domains[name]) - 1; i >= 0; i-- {
		if j.domains[name][i].expires <= now {
			j.remove(name, i, 0, c, ReasonExpired)
		}
	}
}

// leastUsed returns which entry of d has not been used for the longest time, among
// those that are not Secure if there are any.
func leastUsed(d domain) int {
	victim := 0
	for i, e := range d {
		o := d[victim]
		if e.secure != o.secure && o.secure || e.secure == o.secure && compareUse(e, o) < 0 {
			victim = i
		}
	}
	return victim
}

func compareUse(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.accessed.Load(), b.accessed.Load()), cmp.Compare(a.created, b.created))
}

// Delete removes the cookie of c's identity and reports whether it was there.
func (j *Jar) Delete(c Cookie) bool {
	ch := change{loud: j.o.OnEvent != nil}
	j.mu.Lock()
	k := key{c.Name, c.Path, c.HostOnly}
	i := slices.IndexFunc(j.domains[c.Domain], func(o *entry) bool { return o.key == k })
	if i >= 0 {
		j.remove(c.Domain, i, j.tick(time.Now()), &ch, ReasonDeleted)
	}
	book := j.book
	j.mu.Unlock()
	ch.done(j, book)
	return i >= 0
}

// A scope is what Clear and its like remove.
type scope struct {
	host    string // and all below; empty: every host
	session bool   // session cookies only
}

func (s scope) covers(domain string, session bool) bool {
	return (s.host == "" || s.host == domain || strings.HasSuffix(domain, "."+s.host)) && (session || !s.session)
}

// A clearing is when a scope was cleared last.
type clearing struct {
	epoch uint64
	at    int64
}

// Clear removes all cookies. Like ClearHost and ClearSession it also holds for
// the responses to requests that a [Transport] has sent before: their cookies are
// rejected.
func (j *Jar) Clear() { j.clear(scope{}) }

// ClearHost removes the cookies of host and of all hosts below it, whatever
// their paths.
func (j *Jar) ClearHost(host string) {
	if name, ok := hostIn(host); ok {
		j.clear(scope{host: name})
	}
}

// hostIn returns a host, perhaps with a port, as a URL's would be compared.
func hostIn(host string) (name string, ok bool) {
	if strings.Contains(host, ":") && isIP(host) {
		host = "[" + host + "]"
	}
	o, err := origin.Of(&url.URL{Scheme: "https", Host: host})
	return o.Host, err == nil
}

// ClearSession removes the cookies that end with the session, as a browser does
// when it is closed.
func (j *Jar) ClearSession() { j.clear(scope{session: true}) }

func (j *Jar) clear(s scope) {
	c := change{loud: j.o.OnEvent != nil, stored: true}
	j.mu.Lock()
	at := j.tick(time.Now())
	j.epoch++
	j.setCleared(s, clearing{j.epoch, at})
	for name := range j.domains {
		for i := len(j.domains[name]) - 1; i >= 0; i-- {
			if e := j.domains[name][i]; s.covers(name, e.session()) {
				j.remove(name, i, at, &c, ReasonCleared)
			}
		}
	}
	book := j.book
	j.mu.Unlock()
	c.done(j, book)
}

func (j *Jar) setCleared(s scope, c clearing) {
	if j.cleared == nil {
		j.cleared = make(map[scope]clearing)
	}
	j.cleared[s] = c
}

// wasCleared reports whether e, from a response to a request of an epoch, was
// cleared while that was on its way. j.mu is held.
func (j *Jar) wasCleared(e *entry, epoch uint64) bool {
	if epoch == j.epoch {
		return false
	}
	for s, c := range j.cleared {
		if c.epoch > epoch && s.covers(e.domain, e.session()) {
			return true
		}
	}
	return false
}
