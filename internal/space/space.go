// Package space remembers protection spaces (RFC 9110 section 11.5): what a
// server has asked for, and for which of its URLs that holds.
package space

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/authtrip/authtrip/internal/origin"
)

// What servers make a client remember is bounded. What was learned last is kept.
const (
	maxSpaces = 128
	maxPaths  = 16 // of a space
)

// A Memory maps protection spaces to what was learned of them. Reading it takes
// no lock. The zero Memory is empty; it must not be copied.
type Memory[T any] struct {
	mu     sync.Mutex // held to replace what spaces points to
	spaces atomic.Pointer[[]space[T]]
}

// A space is an origin and a realm.
type space[T any] struct {
	origin origin.Origin
	realm  string
	paths  []string // prefixes of the paths known to be in it, latest first
	value  *T
}

// Find returns what was learned of the space that path on o belongs to, nil if
// that is not known. The longest prefix decides, and the latest of several.
func (m *Memory[T]) Find(o origin.Origin, path string) *T {
	spaces := m.spaces.Load()
	if spaces == nil {
		return nil
	}
	var found *T
	longest := -1
	for i := range *spaces {
		s := &(*spaces)[i]
		if s.origin != o {
			continue
		}
		for _, prefix := range s.paths {
			if len(prefix) > longest && strings.HasPrefix(path, prefix) {
				found, longest = s.value, len(prefix)
			}
		}
	}
	return found
}

// Learn returns the value kept for the realm on o, which is a new one if there
// was none, and adds to the paths that lead to it.
func (m *Memory[T]) Learn(o origin.Origin, realm string, paths ...string) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	var spaces []space[T]
	if old := m.spaces.Load(); old != nil {
		spaces = slices.Clone(*old)
	}
	learned := space[T]{origin: o, realm: realm, value: new(T)}
	if i := slices.IndexFunc(spaces, func(s space[T]) bool { return s.origin == o && s.realm == realm }); i >= 0 {
		learned = spaces[i]
		spaces = slices.Delete(spaces, i, i+1)
	}
	for _, path := range slices.Backward(paths) {
		known := slices.DeleteFunc(slices.Clone(learned.paths), func(p string) bool { return p == path })
		known = slices.Insert(known, 0, strings.Clone(path))
		learned.paths = known[:min(len(known), maxPaths)]
	}
	spaces = slices.Insert(spaces, 0, learned)
	spaces = spaces[:min(len(spaces), maxSpaces)]
	m.spaces.Store(&spaces)
	return learned.value
}

// Directory returns path up to its last slash: what lies there is likely to be
// in the same space (RFC 7617 section 2.2).
func Directory(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }
