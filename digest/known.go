package digest

import (
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// maxFree is how many sessions are kept for a space. It takes as many as
	// requests are under way at one time.
	maxFree = 256
	// maxCounts is how many nonces are remembered, and as many from before.
	maxCounts = 2 * maxFree
)

// A known is what is known of a protection space: the sessions to go on with.
//
// A session is used by one request at a time. Servers exist that refuse a nonce
// count that is out of order, and others that have each nonce used once; some of
// those send another with every response, and some keep only the last one that
// they gave to a client. So it is tempting to let requests that are under way
// at one time share a nonce, but not all of them would get through. A request that
// finds no session free goes without and gets one of its own, to be kept for
// later. The nil *known has none.
type known struct {
	mu     sync.Mutex // guards the fields below
	free   []*session // latest last
	latest *session   // the one to share if there is no other way

	// A server may offer one nonce to many, which then have one count. The keys
	// are hashes, for a nonce may be long.
	counts, before map[[sha256.Size]byte]*atomic.Uint64
}

// take returns a session to send a request with at once, nil if there is none,
// and whether no other request has it. What becomes of it has to be told by
// accepted, refused or offered. A request that cannot be sent again shares one
// whatever the server may think of that: without, it is sure to be refused.
func (k *known) take(replayable bool) (s *session, own bool) {
	if k == nil {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if last := len(k.free) - 1; last >= 0 {
		s, k.free = k.free[last], k.free[:last]
		return s, true
	}
	if !replayable {
		s = k.latest
	}
	return s, false
}

// accepted records that the server has accepted a. next is the session by its
// nextnonce, nil if it sent none.
func (k *known) accepted(a answer, next *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if next != nil {
		k.count(next)
		k.keep(next)
	} else if a.own {
		k.keep(a.session)
	}
}

// refused records that the server did not accept s.
func (k *known) refused(s *session) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.latest == s {
		k.latest = nil
	}
}

// offered records a session that no request has, or not any more.
func (k *known) offered(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(s)
}

func (k *known) keep(s *session) {
	if len(k.free) == maxFree {
		k.free = slices.Delete(k.free, 0, 1)
	}
	k.free = append(k.free, s)
	k.latest = s
}

// begin makes a new session fit for use.
func (k *known) begin(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count(s)
}

// count gives s the count of its nonce.
func (k *known) count(s *session) {
	key := sha256.Sum256([]byte(s.nonce))
	s.count = k.counts[key]
	if s.count == nil {
		s.count = k.before[key]
	}
	if s.count == nil {
		s.count = new(atomic.Uint64)
	}
	if len(k.counts) == maxCounts {
		k.counts, k.before = nil, k.counts
	}
	if k.counts == nil {
		k.counts = make(map[[sha256.Size]byte]*atomic.Uint64)
	}
	k.counts[key] = s.count
}
