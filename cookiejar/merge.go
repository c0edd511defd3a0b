package cookiejar

import (
	"cmp"
	"slices"
	"time"
)

// A book is what a Jar keeps for the sake of its File: which cookies were deleted,
// and when, so that another process's copy does not bring them back.
type book struct {
	changed func()
	graves  map[graveKey]int64 // guarded by the Jar's mu
}

type graveKey struct {
	key
	domain string
}

// maxGraves bounds what is remembered, the latest first.
const maxGraves = defaultMax

// bury notes that e was deleted, at 0 that it has only expired. The Jar's mu is
// held.
func (b *book) bury(e *entry, at int64) {
	if b == nil || at == 0 {
		return
	}
	k := graveKey{e.key, e.domain}
	b.graves[k] = max(b.graves[k], at)
}

// merge takes up what another process has saved.
func (j *Jar) merge(d *document) {
	c := change{loud: j.o.OnEvent != nil}
	j.mu.Lock()
	for _, s := range d.Cleared {
		j.clearedElsewhere(scope{host: s.Host, session: s.Session}, int64(s.At), &c)
	}
	for _, g := range d.Deleted {
		j.deletedElsewhere(graveKey{key{string(g.Name), string(g.Path), g.HostOnly}, g.Domain}, int64(g.At), &c)
	}
	j.load(slices.DeleteFunc(d.Cookies, j.gone), &c)
	j.mu.Unlock()
	j.emit(c.events) // not to the book: what is news here is in the file
}

// clearedElsewhere does what another process has done. j.mu is held.
func (j *Jar) clearedElsewhere(s scope, at int64, c *change) {
	j.clock = max(j.clock, at) // what is set from now on is newer
	if at <= j.cleared[s].at {
		return
	}
	j.epoch++
	j.setCleared(s, clearing{j.epoch, at})
	for name := range j.domains {
		for i := len(j.domains[name]) - 1; i >= 0; i-- {
			if e := j.domains[name][i]; e.updated <= at && s.covers(name, e.session()) {
				j.remove(name, i, at, c, ReasonCleared)
			}
		}
	}
}

// deletedElsewhere is that for one cookie. j.mu is held.
func (j *Jar) deletedElsewhere(k graveKey, at int64, c *change) {
	j.clock = max(j.clock, at)
	if at <= j.book.graves[k] {
		return
	}
	i := slices.IndexFunc(j.domains[k.domain], func(o *entry) bool { return o.key == k.key })
	if i < 0 {
		j.book.graves[k] = at
		return
	}
	if j.domains[k.domain][i].updated <= at {
		j.remove(k.domain, i, at, c, ReasonDeleted)
	}
}

// gone reports whether s was deleted here, or cleared, since it was updated. j.mu
// is held.
func (j *Jar) gone(s saved) bool {
	at := int64(s.Updated)
	if at <= j.book.graves[graveKey{key{string(s.Name), string(s.Path), s.HostOnly}, s.Domain}] {
		return true
	}
	for scope, c := range j.cleared {
		if at <= c.at && scope.covers(s.Domain, s.Expires == 0) {
			return true
		}
	}
	return false
}

// document returns what to save.
func (j *Jar) document(session bool) *document {
	d := &document{Cookies: []saved{}}
	for _, e := range j.entries() {
		if session || !e.session() {
			d.Cookies = append(d.Cookies, e.saved())
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// No cookie is older than that, wherever it may be.
	oldest := time.Now().Add(-maxAge).UnixNano()
	for k, at := range j.book.graves {
		if at < oldest {
			delete(j.book.graves, k)
			continue
		}
		d.Deleted = append(d.Deleted, grave{identity{octets(k.name), k.domain, k.hostOnly, octets(k.path)}, moment(at)})
	}
	slices.SortFunc(d.Deleted, func(a, b grave) int {
		return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Name, b.Name))
	})
	for _, g := range d.Deleted[min(len(d.Deleted), maxGraves):] {
		delete(j.book.graves, graveKey{key{string(g.Name), string(g.Path), g.HostOnly}, g.Domain})
	}
	d.Deleted = d.Deleted[:min(len(d.Deleted), maxGraves)]
	for s, c := range j.cleared {
		if c.at >= oldest {
			d.Cleared = append(d.Cleared, cleared{s.host, s.session, moment(c.at)})
		}
	}
	slices.SortFunc(d.Cleared, func(a, b cleared) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.At, b.At))
	})
	return d
}
