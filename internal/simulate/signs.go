package simulate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// What follows is what persons and programs have a process do: sign in, sign out, wait.

// turnTo notes that Set, Clear or SignOut is about to act. It does so at once. w.mu is
// held.
func (p *process) turnTo(token *oauth2.Token, cancels bool) {
	now := time.Now()
	p.setting++
	p.turns++
	p.turned, p.turn, p.disturbed = now, now, now
	if cancels {
		p.cancelled = now
	}
	p.newest, p.known, p.out = nil, token, token == nil
	for _, f := range p.families {
		if (f.bare || p.skews) && !p.met[f] {
			continue // neither could see the other
		}
		if token == nil || f != p.access[token.AccessToken].family {
			f.gone[p] = true
		}
	}
	p.failures, p.troubled, p.notBefore, p.refused = 0, time.Time{}, time.Time{}, time.Time{}
}

// set signs in.
func (p *process) set() {
	p.mu.Lock()
	p.count(SignedIn)
	token := p.signInAs()
	p.note("%v signs in: %s", p, token.AccessToken)
	p.turnTo(token, true)
	turns := p.turns
	p.mu.Unlock()
	p.hasSet(token, turns, p.session.Set(p.ctx, token))
}

// hasSet checks what has come of Set.
func (p *process) hasSet(token *oauth2.Token, turns int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setting--
	switch p.note("%v has signed in: %v", p, err); {
	case p.killed:
	case err != nil && !p.stored:
		p.violate("%v: Set has failed without a store: %v", p, err)
	case err == nil && p.stored && p.turns == turns && !p.access[token.AccessToken].family.kept:
		p.violate("%v: Set has returned, and the store does not have %s", p, token.AccessToken)
	}
}

// clear signs out.
func (p *process) clear() {
	p.mu.Lock()
	p.count(SignedOut)
	p.note("%v signs out", p)
	if slices.ContainsFunc(p.procs, func(q *process) bool { return q != p && q.exchanging > 0 }) {
		p.count(SignedOutAmidRenewal)
	}
	p.turnTo(nil, true)
	turns := p.turns
	p.mu.Unlock()
	err := p.session.Clear(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setting--
	p.note("%v has signed out: %v", p, err)
	switch {
	case p.killed:
	case err != nil && !p.stored:
		p.violate("%v: Clear has failed without a store: %v", p, err)
	case err == nil && p.turns == turns:
		p.checkOut()
	}
}

// checkOut checks that the sign-out that has returned is in the store, or was. w.mu is
// held.
func (p *process) checkOut() {
	if p.stored && !p.departed.After(p.turned) {
		p.violate("%v has signed out, and the store was not told", p)
	}
}

// signOut signs out, and has the tokens revoked.
func (p *process) signOut() {
	p.mu.Lock()
	p.count(SignedOutRevoking)
	if slices.ContainsFunc(p.procs, func(q *process) bool { return q.exchanging > 0 }) {
		p.count(SignedOutInExchange)
	}
	cur, _ := p.session.Current()
	p.note("%v signs out from %s", p, tokenName(cur))
	p.turnTo(nil, false)
	p.overwrote = nil
	turns, turned := p.turns, p.turned
	p.mu.Unlock()
	err := p.session.SignOut(p.ctx, p.revoke)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setting--
	p.note("%v has signed out: %v", p, err)
	if p.killed || p.turns != turns || err != nil {
		return
	}
	p.checkOut()
	p.checkRevoked(cur, turned)
}

// wait waits, as a program does before it exits.
func (p *process) wait() {
	p.mu.Lock()
	p.note("%v waits", p)
	turns := p.turns
	p.mu.Unlock()
	before, _ := p.session.Current()
	err := p.session.Wait(p.ctx)
	after, _ := p.session.Current()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("%v has waited: %v", p, err)
	switch {
	case p.killed, err != nil, p.turns != turns, !p.stored, after == nil, after != before, !p.refused.IsZero():
	case !p.access[after.AccessToken].saved:
		p.violate("%v has waited, and %s is not saved", p, after.AccessToken)
	}
}

// revoke revokes one pair of tokens at the authorization server.
func (p *process) revoke(ctx context.Context, t *oauth2.Token) error {
	p.mu.Lock()
	a := p.access[t.AccessToken]
	d, fails := span(p.revoker, time.Millisecond, 300*time.Millisecond), !p.calm && chance(p.revoker, .2)
	p.mu.Unlock()
	if err := p.pause(ctx, d); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("%v revokes %s: %v", p, t.AccessToken, fails)
	switch {
	case a == nil:
		p.violate("%v revokes a token that was never issued", p)
	case fails:
		p.count(RevokeFails)
		return errDown
	default:
		if a.by == p && a.got.After(p.turned) {
			p.count(LateRevoked)
		}
		a.revoked = true
		if r := p.refresh[t.RefreshToken]; r != nil {
			r.revoked = true
		}
	}
	return nil
}

// checkRevoked checks that a sign-out has left no token behind. w.mu is held.
func (p *process) checkRevoked(cur *oauth2.Token, turned time.Time) {
	left := func(a *access) bool { return a != nil && (!a.revoked || !p.keepAccess && !a.refresh.revoked) }
	for _, a := range p.access {
		if a.by == p && a.sent.Before(turned) && a.got.After(turned) && left(a) {
			p.violate("%v: SignOut has left token %d, which came late", p, a.serial)
		}
	}
	var newest *access
	if cur != nil {
		newest = p.access[cur.AccessToken]
	}
	if c := p.overwrote; c != nil && p.locked {
		mine, ok := newest.rankOf()
		switch {
		case c.form == foreign, ok && c.rank.compare(mine) > 0, newest == nil:
			newest = c.access
		case !ok && !left(c.access): // it was perhaps the newer one
			return
		}
	}
	if left(newest) {
		p.violate("%v: SignOut has left token %d", p, newest.serial)
	}
}

func (a *access) rankOf() (rank, bool) {
	if a == nil {
		return rank{}, false
	}
	return a.last()
}

// signInByLease calls SignIn.
func (p *process) signInByLease() {
	var (
		token *oauth2.Token
		turns int
	)
	err := p.session.SignIn(p.ctx, func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
		p.mu.Lock()
		p.note("%v is signing in", p)
		p.count(SignedInByLease)
		for _, q := range p.procs {
			if p.locked && q != p && q.obtaining && p.disturbed.Before(q.obtains) {
				p.violate("%v signs in while %v does", p, q)
			}
		}
		p.obtaining, p.obtains = true, time.Now()
		d, fails := span(p.person, time.Second, 90*time.Second), !p.calm && chance(p.person, .1)
		if !p.calm && chance(p.person, .2) {
			p.doomed = KilledSigningIn
		}
		p.doom(span(p.person, 0, d), KilledSigningIn)
		p.mu.Unlock()
		err := p.pause(ctx, d)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.obtaining = false
		if err != nil || fails {
			return nil, cmp.Or(err, errDown)
		}
		token = p.signInAs()
		p.note("%v signs in: %s", p, token.AccessToken)
		p.turnTo(token, true)
		turns = p.turns
		return token, nil
	})
	if token != nil {
		p.hasSet(token, turns, err)
	}
}

// seeTo has somebody sign in again, sooner or later, if err asks for it.
// w.mu is held.
func (p *process) seeTo(err error) {
	if p.operating || !errors.Is(err, tokensource.ErrReauthRequired) && !errors.Is(err, tokensource.ErrNoToken) && !errors.Is(err, tokensource.ErrUnreadable) {
		return
	}
	p.operating = true
	d := span(p.operator, time.Second, 2*time.Minute)
	go func() {
		if p.pause(p.ctx, d) == nil {
			if p.leases && !errors.Is(err, tokensource.ErrUnreadable) {
				p.signInByLease()
			} else {
				p.set()
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.operating = false
	}()
}
