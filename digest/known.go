package digest

import "sync"

const (
	// maxFree is how many unused nonces are kept for a space.
	maxFree = 256
	// tryEvery is how many requests are answered with nonces of their own
	// before it is tried again whether one serves for more.
	tryEvery = 32
)

// A known is what is known of a protection space: which nonce to go on with.
//
// Some servers have a nonce used any number of times, some once. Among these some
// send another with every response, and some keep only the last one they gave to
// a client. So a nonce is not shared before one has served twice; until then one
// request at a time tries. Where nonces are good for one request, a request takes
// one that came with a response, or else goes without and gets one of its own.
type known struct {
	mu       sync.Mutex // guards the fields below
	shared   *session   // accepted last, or offered since
	reusable bool       // a nonce has served twice
	wait     int        // how many requests there are to be before another tries
	oneTime  bool       // nonces come with responses
	free     []*session // those not used yet, latest last
	proven   *login     // the user that was accepted last
}

// take returns a session to send a request with at once, nil if there is none.
// What becomes of it has to be told by accepted, refused or lost.
func (k *known) take() *session {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case len(k.free) > 0:
		last := len(k.free) - 1
		s := k.free[last]
		k.free = k.free[:last]
		return s
	case k.oneTime || k.shared == nil:
		return nil
	case !k.reusable:
		if k.wait > 0 {
			return nil
		}
		k.wait = tryEvery
	}
	return k.shared
}

// accepted records that the server has accepted a. next is the session by its
// nextnonce, nil if it sent none. A server that has a new nonce at hand when the
// first one was used just once is one for one-time nonces.
func (k *known) accepted(a answer, next *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proven = a.login
	switch {
	case next != nil && a.nc == 1:
		k.oneTime, k.shared = true, nil
		k.keep(next)
		return
	case next != nil:
		k.shared = next
	case a.nc == 1 || k.shared == nil:
		k.shared = a.session
	}
	k.oneTime, k.free = false, nil
	if a.nc > 1 {
		k.reusable = true
	}
	k.wait = max(k.wait-1, 0)
}

// refused records that the server did not accept a, and whether because of the
// nonce.
func (k *known) refused(a answer, stale bool) {
	if a.session == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shared == a.session {
		k.shared = nil
	}
	if stale && a.nc == 2 {
		k.reusable, k.wait = false, tryEvery
	}
	if !stale {
		k.proven = nil
	}
}

// lost records that nothing is known of what became of s.
func (k *known) lost(s *session) {
	if s == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shared == s {
		k.wait = 0
	}
}

// offered records a session that no request has used yet.
func (k *known) offered(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.oneTime {
		k.keep(s)
	} else {
		k.shared, k.wait = s, 0
	}
}

func (k *known) keep(s *session) {
	if len(k.free) < maxFree {
		k.free = append(k.free, s)
	}
}

// vouches reports whether the user was the one that the server accepted last.
func (k *known) vouches(username, password string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.proven != nil && k.proven.username == username && k.proven.password == password
}
