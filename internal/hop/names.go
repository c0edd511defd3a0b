package hop

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
)

const (
	// A header with more names than maxNames, or one longer than maxName bytes, is not
	// remembered.
	maxNames, maxName = 32, 64
	// Of the headers that are not known, one in learning is remembered, at random:
	// each may be the only one of its kind.
	learning = 32
)

// A nameSet is all names of a header, each as it is spelled there.
type nameSet struct{ names []string }

// seen remembers the headers that requests have, of each length two, for the whole
// process: clients send the same fields again and again, with other values. That a
// map has just these names takes less time to see than to go through it, most of all
// while garbage is collected: an iterator tells the collector of each key and value
// that it comes to. The names are the strings that were seen, since comparing those
// with themselves is fast; what they were cut from is kept with them.
var seen [maxNames + 1][2]atomic.Pointer[nameSet]

// unknown stands for the names of a header that is not remembered.
var unknown = new(nameSet)

// namesOf returns those of h, or unknown.
func namesOf(h http.Header) *nameSet {
	if len(h) > maxNames {
		return unknown
	}
	slots := &seen[len(h)]
	for i := range slots {
		if s := slots[i].Load(); s != nil && s.are(h) {
			return s
		}
	}
	if rand.Uint32()%learning != 0 {
		return unknown
	}
	return learn(h, slots)
}

// are reports whether these are the names of h, which has as many.
func (s *nameSet) are(h http.Header) bool {
	for _, name := range s.names {
		if _, ok := h[name]; !ok {
			return false
		}
	}
	return true
}

// learn remembers the names of h, if need be in the place of others.
func learn(h http.Header, slots *[2]atomic.Pointer[nameSet]) *nameSet {
	slot := &slots[rand.N(len(slots))]
	for i := range slots {
		if slots[i].Load() == nil {
			slot = &slots[i]
		}
	}
	s := &nameSet{make([]string, 0, len(h))}
	for name := range h {
		if len(name) > maxName {
			return unknown
		}
		s.names = append(s.names, name)
	}
	slot.Store(s)
	return s
}

// mayHave reports whether the header may have the field name, in any spelling.
func (s *nameSet) mayHave(name string) bool {
	if s == unknown {
		return true
	}
	for _, key := range s.names {
		if spells(key, name) {
			return true
		}
	}
	return false
}
