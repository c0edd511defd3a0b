package simulate

import (
	"fmt"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A family is all the tokens of one sign-in.
type family struct {
	ended bool
	extra map[string]string // fields that the server's first answer has

	setBy  *process          // who has called Set; nil: it came from elsewhere
	bare   bool              // another program has dropped the extra fields
	kept   bool              // setBy has saved it
	linear bool              // no two of its tokens replace the same one
	gone   map[*process]bool // who has signed in or out after it
}

// An access token.
type access struct {
	serial   int // in the order of issue
	value    string
	family   *family
	parent   *access   // what was replaced by it; nil for a sign-in
	by       *process  // for whom it was issued, nil for a sign-in
	sent     time.Time // when the exchange for it began
	got      time.Time // when its answer arrived
	refresh  *refresh  // that came with it
	issued   time.Time
	expires  time.Time // by the server's clock; zero: never
	lifetime time.Duration
	believed time.Time // when the client that got it takes it to expire
	revoked  bool
	rejected bool // some request has met a 401 with it

	ranks   []rank // of records with it
	foreign bool   // it was in the store without a rank
	saved   bool   // it has been in the store
	tried   bool   // saving it was tried
}

func (a *access) good(now time.Time) bool {
	return !a.revoked && !a.family.ended && (a.expires.IsZero() || now.Before(a.expires))
}

// last returns the newest rank of a.
func (a *access) last() (last rank, ok bool) {
	for _, r := range a.ranks {
		if !ok || r.compare(last) > 0 {
			last, ok = r, true
		}
	}
	return last, ok
}

// A refresh token.
type refresh struct {
	value    string
	family   *family
	access   *access // issued with it, or last by it
	client   string  // to which the record binds it; empty: unknown
	revoked  bool
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
	a.refresh = r
	w.refresh[r.value] = r
	return r
}

// signIn begins a family. w.mu is held.
func (w *world) signIn() (*access, *refresh) {
	n := len(w.families) + 1
	f := &family{
		gone:   make(map[*process]bool),
		linear: w.processes == 1 || w.locked && !w.keepRefresh,
		extra:  map[string]string{"id_token": fmt.Sprint("id-", n), "tenant": fmt.Sprint("tenant-", n)},
	}
	w.families = append(w.families, f)
	a := w.issue(f, time.Now())
	return a, w.newRefresh(f, a)
}

// token returns what a client makes of a and r.
func (a *access) token(r *refresh) *oauth2.Token {
	return &oauth2.Token{AccessToken: a.value, RefreshToken: r.value, Expiry: a.believed.Round(0)}
}

// signInAs begins a family for p to Set. w.mu is held.
func (p *process) signInAs() *oauth2.Token {
	a, r := p.signIn()
	a.family.setBy = p
	p.had[a] = true
	t := a.token(r).WithExtra(map[string]any{"id_token": a.family.extra["id_token"], "tenant": a.family.extra["tenant"]})
	if p.otherClient {
		t = tokensource.Bind(t.WithExtra(map[string]any{"id_token": a.family.extra["id_token"]}), tokensource.Binding{ClientID: p.clientID})
		delete(a.family.extra, "tenant")
		r.client = p.clientID
	}
	return t
}

// answer is what the token endpoint makes of a refresh token. w.mu is held. The
// rest of the invariants was checked on arrival.
func (w *world) answer(r *refresh, s *send) (a *access, next *refresh, ok bool) {
	now := time.Now()
	switch {
	case r.family.ended || r.revoked:
		return nil, nil, false
	case !r.replaced.IsZero() && now.Sub(r.replaced) >= w.grace:
		w.count(ReuseDetected)
		r.family.ended = true
		return nil, nil, false
	case !r.replaced.IsZero():
		w.count(GraceUsed)
		r.family.linear = false
	}
	a = r.access
	switch {
	case w.keepAccess && !a.revoked:
		w.count(AccessTokenKept)
		w.begin(a, now)
	default:
		a = w.issue(r.family, now)
		a.parent, a.refresh = r.access, r
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
