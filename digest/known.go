package digest

import "sync"

// maxFree is how many unused nonces are kept for a space.
const maxFree = 256

// A known is what is known of a protection space: a session that all requests
// share, or, where each nonce is good for one request, those not used yet. There a
// request that finds none goes without, and gets a nonce that is its own: it is
// tempting to let several share one, but at most one of them would get through.
type known struct {
	mu      sync.Mutex // guards the fields below
	shared  *session
	oneTime bool
	free    []*session // latest last
}

// take returns a session to send a request with at once, nil if there is none.
func (k *known) take() *session {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.oneTime {
		return k.shared
	}
	if len(k.free) == 0 {
		return nil
	}
	last := len(k.free) - 1
	s := k.free[last]
	k.free = k.free[:last]
	return s
}

// accepted records that the server has accepted a. next is the session by its
// nextnonce, nil if it sent none. A server that has a new nonce at hand when the
// first one was used just once is one for one-time nonces.
func (k *known) accepted(a answer, next *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case next != nil && a.nc == 1:
		k.shared, k.oneTime = nil, true
		k.keep(next)
	case next != nil:
		k.shared, k.oneTime, k.free = next, false, nil
	case k.oneTime || k.shared == nil || a.nc == 1:
		k.shared, k.oneTime, k.free = a.session, false, nil
	}
}

// offered records a session that no request has used yet.
func (k *known) offered(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.oneTime {
		k.keep(s)
	} else {
		k.shared = s
	}
}

func (k *known) keep(s *session) {
	if len(k.free) < maxFree {
		k.free = append(k.free, s)
	}
}

// refused records that the server accepts s no longer.
func (k *known) refused(s *session) {
	if s == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shared == s {
		k.shared = nil
	}
}
