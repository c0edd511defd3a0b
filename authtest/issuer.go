package authtest

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// A Policy is how a [Server] issues tokens. The zero value is strict: tokens
// that do not end, and refresh tokens that can be used once.
type Policy struct {
	// Lifetime is that of access tokens; zero means that they do not end.
	// expires_in states it in whole seconds, and nothing if there is none.
	Lifetime time.Duration

	// Grace is how long a refresh token that was replaced can be used again, as
	// by a client that did not get the answer. After that, using it ends the
	// grant.
	Grace time.Duration

	// KeepRefreshToken has refreshing not rotate: the answer has no refresh
	// token, and the old one lives on.
	KeepRefreshToken bool

	// KeepAccessToken has refreshing answer with the same access token, whose
	// lifetime begins anew.
	KeepAccessToken bool

	// EndReplaced has refreshing end the access tokens issued before.
	EndReplaced bool
}

// A grant is what a user, or a client, was given at one time: a family of tokens.
type grant struct {
	username string // empty for client_credentials
	ended    bool
	access   []*accessToken
}

type accessToken struct {
	value   string
	n       int // of all access tokens, from 1
	grant   *grant
	issued  time.Time
	expires time.Time // zero: never
	revoked bool
}

type refreshToken struct {
	value    string
	n        int
	grant    *grant
	replaced time.Time // zero: it is current
	revoked  bool
}

// An issuer holds all tokens.
type issuer struct {
	mu      sync.Mutex // guards the fields below, and all that they lead to
	policy  Policy
	access  map[string]*accessToken
	refresh map[string]*refreshToken
}

func newIssuer() *issuer {
	return &issuer{access: make(map[string]*accessToken), refresh: make(map[string]*refreshToken)}
}

func (i *issuer) setPolicy(p Policy) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.policy = p
}

func (i *issuer) getPolicy() Policy {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.policy
}

// newAccess issues an access token; mu is held.
func (i *issuer) newAccess(g *grant, now time.Time) *accessToken {
	n := len(i.access) + 1
	t := &accessToken{value: fmt.Sprintf("access-%d-%s", n, rand.Text()), n: n, grant: g}
	t.begin(i.policy.Lifetime, now)
	i.access[t.value] = t
	g.access = append(g.access, t)
	return t
}

func (t *accessToken) begin(lifetime time.Duration, now time.Time) {
	t.issued, t.expires = now, time.Time{}
	if lifetime > 0 {
		t.expires = now.Add(lifetime)
	}
}

// newRefresh issues a refresh token; mu is held.
func (i *issuer) newRefresh(g *grant) *refreshToken {
	n := len(i.refresh) + 1
	t := &refreshToken{value: fmt.Sprintf("refresh-%d-%s", n, rand.Text()), n: n, grant: g}
	i.refresh[t.value] = t
	return t
}

// signIn begins a user's grant. The copies are the caller's.
func (i *issuer) signIn(username string) (accessToken, refreshToken) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := &grant{username: username}
	return *i.newAccess(g, time.Now().Round(0)), *i.newRefresh(g)
}

// forClient begins a client's own grant.
func (i *issuer) forClient() accessToken {
	i.mu.Lock()
	defer i.mu.Unlock()
	return *i.newAccess(&grant{}, time.Now().Round(0))
}

// An exchange is what came of a refresh token.
type exchange struct {
	granted bool
	access  accessToken
	refresh *refreshToken // nil if it stays
	reused  bool          // it was used after it had been replaced, which has ended the grant
	why     string        // it was refused
}

// exchange replaces a refresh token, in one step.
func (i *issuer) exchange(value string) exchange {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now().Round(0)
	t := i.refresh[value]
	switch {
	case t == nil:
		return exchange{why: "the refresh token is unknown"}
	case t.grant.ended || t.revoked:
		return exchange{why: "the refresh token is revoked"}
	case !t.replaced.IsZero() && now.Sub(t.replaced) >= i.policy.Grace:
		t.grant.ended = true
		return exchange{reused: true, why: "the refresh token was used before"}
	}
	e := exchange{granted: true}
	last := t.grant.access[len(t.grant.access)-1]
	if i.policy.KeepAccessToken && !last.revoked {
		last.begin(i.policy.Lifetime, now)
		e.access = *last
	} else {
		if i.policy.EndReplaced {
			for _, a := range t.grant.access {
				a.revoked = true
			}
		}
		e.access = *i.newAccess(t.grant, now)
	}
	if !i.policy.KeepRefreshToken {
		if t.replaced.IsZero() {
			t.replaced = now
		}
		next := *i.newRefresh(t.grant)
		e.refresh = &next
	}
	return e
}

func (i *issuer) revoke(value string, whole bool) (known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var g *grant
	if t := i.access[value]; t != nil {
		t.revoked, g = true, t.grant
	}
	if t := i.refresh[value]; t != nil {
		t.revoked, g = true, t.grant
	}
	if g != nil && whole {
		g.ended = true
	}
	return g != nil
}

// isRefresh reports whether value is that of a refresh token.
func (i *issuer) isRefresh(value string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refresh[value] != nil
}

// A standing is what a token is worth now.
type standing struct {
	active          bool
	label           string // which token it is, without its value; empty if it is none
	username        string
	issued, expires time.Time
	refresh         bool
	why             string // it is not active
}

func (i *issuer) look(value string) standing {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.access[value]; t != nil {
		s := standing{label: fmt.Sprint("access ", t.n), username: t.grant.username, issued: t.issued, expires: t.expires}
		switch {
		case t.revoked || t.grant.ended:
			s.why = "the access token was revoked"
		case !t.expires.IsZero() && !time.Now().Before(t.expires):
			s.why = "the access token expired"
		default:
			s.active = true
		}
		return s
	}
	if t := i.refresh[value]; t != nil {
		s := standing{label: fmt.Sprint("refresh ", t.n), username: t.grant.username, refresh: true, why: "the access token is a refresh token"}
		s.active = !t.revoked && !t.grant.ended && t.replaced.IsZero()
		return s
	}
	return standing{why: "the access token is unknown"}
}
