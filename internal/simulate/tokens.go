package simulate

import (
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

// A family is all the tokens of one sign-in.
type family struct {
	ended   bool
	unknown bool // Set has failed, and could not tell what it has left in the store
}

// An access token.
type access struct {
	serial   int // orders tokens by their issue, or by their sign-in's end
	value    string
	family   *family
	by       *process  // for whom it was issued, nil for a sign-in
	sent     time.Time // when the exchange for it began
	issued   time.Time
	expires  time.Time // by the server's clock; zero: never
	lifetime time.Duration
	believed time.Time // when the client that got it takes it to expire
	revoked  bool
	settled  bool // by Set
	rejected bool // some request has met a 401 with it

	saved  bool // it has been in the store
	missed bool // the store has failed to take it
}

func (a *access) good(now time.Time) bool {
	return !a.revoked && !a.family.ended && (a.expires.IsZero() || now.Before(a.expires))
}

// A refresh token.
type refresh struct {
	value    string
	family   *family
	access   *access // issued with it, or last by it
	replaced time.Time
	saved    bool // it has been in the store
	sends    []*send
}

// A send is one time that a refresh token was sent.
type send struct {
	by      *process
	outcome outcome
	next    *refresh // what was granted, if the server rotates
}

type outcome int

const (
	pending     outcome = iota
	unprocessed         // the server has done nothing
	refused             // invalid_grant has arrived
	lost                // the server has granted, and the answer did not arrive, or made no sense
	delivered
)

// issue makes an access token. w.mu is held.
func (w *world) issue(f *family, now time.Time) *access {
	w.serial++
	a := &access{serial: w.serial, value: fmt.Sprintf("access-%d", w.serial), family: f}
	w.begin(a, now)
	a.believed = a.expires
	w.access[a.value] = a
	return a
}

func (w *world) begin(a *access, now time.Time) {
	a.issued, a.expires, a.lifetime = now, time.Time{}, w.lifetime.Truncate(time.Second)
	if a.lifetime > 0 {
		a.expires = now.Add(a.lifetime)
	}
}

func (w *world) newRefresh(f *family, a *access) *refresh {
	r := &refresh{value: fmt.Sprintf("refresh-%d", len(w.refresh)+1), family: f, access: a}
	w.refresh[r.value] = r
	return r
}

// signIn begins a family. w.mu is held.
func (w *world) signIn() *oauth2.Token {
	f := &family{}
	a := w.issue(f, time.Now())
	r := w.newRefresh(f, a)
	return &oauth2.Token{AccessToken: a.value, RefreshToken: r.value, Expiry: a.expires.Round(0)}
}

// answer is what the token endpoint makes of a refresh token. w.mu is held. The
// rest of the invariants was checked on arrival.
func (w *world) answer(r *refresh, s *send) (a *access, next *refresh, ok bool) {
	now := time.Now()
	switch {
	case r.family.ended:
		return nil, nil, false
	case !r.replaced.IsZero() && now.Sub(r.replaced) >= w.grace:
		w.count(ReuseDetected)
		r.family.ended = true
		return nil, nil, false
	case !r.replaced.IsZero():
		w.count(GraceUsed)
	}
	a = r.access
	switch {
	case w.keepAccess && !a.revoked:
		w.count(AccessTokenKept)
		w.begin(a, now)
		w.serial++
		a.serial = w.serial
	default:
		a = w.issue(r.family, now)
	}
	if w.keepRefresh {
		w.count(RefreshTokenKept)
		return a, nil, true
	}
	if r.replaced.IsZero() {
		r.replaced = now
	}
	s.next = w.newRefresh(r.family, a)
	return a, s.next, true
}
