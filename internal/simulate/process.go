package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

const (
	minBackoff = 125 * time.Millisecond // after the first failure, at the least
	maxBackoff = time.Minute
)

// A process has the two that are tested. It is a [tokensource.Renewer], which
// checks what the Session gives.
type process struct {
	*world
	life     int // its number
	session  *tokensource.Session
	client   *transport.Refresh
	ctx      context.Context
	kill     context.CancelFunc
	dead     chan struct{}
	operator *rand.Rand // whoever sees to a new sign-in
	person   *rand.Rand // whoever signs in
	listener *rand.Rand // OnEvent
	revoker  *rand.Rand

	// What follows is guarded by world.mu.
	killed     bool
	doomed     Kind // to be killed when it comes to that
	storing    bool
	exchanging int

	newest    *access       // of all that anybody was given since turned, the newest
	known     *oauth2.Token // that one
	setting   int           // Set, Clear and SignOut under way
	turns     int           // how many have begun
	turned    time.Time     // when the last of them began
	turn      time.Time     // the time of its record
	cancelled time.Time     // when the last Set or Clear began
	out       bool          // signed out, as far as p can know

	unlocked  bool             // the last Lock has failed
	departed  time.Time        // when p last saved a sign-out
	loading   time.Time        // when the last Load began
	loaded    bool             // nothing but a Load came last
	last      *content         // what it has returned; nil: it has failed
	seen      *rank            // the newest that p has loaded or saved
	before    *rank            // likewise, without the last Load
	met       map[*family]bool // what p has loaded of it is the last that there was
	had       map[*access]bool // what p has loaded, obtained or set
	fresh     bool             // last is of another program, and not had before
	overwrote *content         // by the record of a sign-out
	gens      []string         // the tokens that the Session has told of; empty: a sign-out
	gen       uint64
	obtaining bool // for SignIn
	obtains   time.Time
	clientID  string
	sealer    tokensource.Store

	failures  int                   // in a row
	troubled  time.Time             // until then, a RetryError is no surprise
	notBefore time.Time             // no exchange
	refused   time.Time             // when invalid_grant arrived; zero: not since Set or Clear
	presented *access               // that came with what was refused
	unread    time.Time             // when Load last failed
	renewed   []time.Time           // all renewals
	forced    []time.Time           // renewals of tokens that were rejected
	owed      map[*access]time.Time // since when rejections of it have been returned
	operating bool                  // somebody sees to a new sign-in
}

// note adds to the trace. The last that a killed process does is done by all of its
// goroutines at one instant, in any order, and is left out. w.mu is held.
func (p *process) note(format string, args ...any) {
	if !p.killed {
		p.world.note(format, args...)
	}
}

func (p *process) String() string { return fmt.Sprint("process ", p.life) }

// startProcess returns a new process. w.mu is held.
func (w *world) startProcess() *process {
	w.lives++
	p := &process{
		world: w, life: w.lives, met: make(map[*family]bool), had: make(map[*access]bool), dead: make(chan struct{}), doomed: none,
	}
	p.operator, p.person = w.random("process", p.life), w.random("person", p.life)
	p.listener, p.revoker = w.random("listener", p.life), w.random("revoker", p.life)
	p.clientID = "simulate"
	if w.otherClient {
		p.clientID = fmt.Sprint("client-", len(w.procs))
		if i := slices.IndexFunc(w.procs, func(q *process) bool { return q.killed }); i >= 0 {
			p.clientID = fmt.Sprint("client-", i)
		}
	}
	p.ctx, p.kill = context.WithCancel(context.Background())
	grant := tokensource.RefreshToken(&oauth2.Config{
		ClientID: p.clientID, Endpoint: oauth2.Endpoint{TokenURL: "https://as.example/token"},
	})
	http := &http.Client{Transport: tokenEndpoint{p}}
	p.session = &tokensource.Session{
		Grant: func(ctx context.Context, cur *oauth2.Token) (*oauth2.Token, error) {
			return grant(context.WithValue(ctx, oauth2.HTTPClient, http), cur)
		},
		Timeout: w.timeout, Skew: w.skew, MaxForced: w.maxForced, Extra: []string{"tenant"},
		OnEvent: func(_ context.Context, e tokensource.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			p.note("%v: %s %d, again in %v: %v", p, e.Kind, e.Generation, e.RetryIn, e.Err)
			p.follow(e)
			if w.slowEvents && e.Kind == tokensource.EventRenewed {
				d := span(p.listener, time.Millisecond, 2*time.Second)
				p.doom(span(p.listener, 0, d), SignedIn, SignedOut, SignedOutRevoking)
				w.mu.Unlock()
				_ = p.pause(context.Background(), d) // whoever waits for the renewal waits for this too
				w.mu.Lock()
			}
		},
	}
	s := store{p, w.random("store", p.life)}
	p.sealWith(w.keys...)
	switch {
	case w.locked:
		p.session.Store = lockable{s}
	case w.stored:
		p.session.Store = s
	}
	p.client = &transport.Refresh{Source: p, Base: api{p}, ReplayBuffer: w.replayBuffer}
	return p
}

// follow follows what the Session tells. w.mu is held.
func (p *process) follow(e tokensource.Event) {
	cur, _ := p.session.Current()
	switch e.Kind {
	case tokensource.EventCleared:
		p.known, p.newest = nil, nil
		if n := len(p.gens); n > 0 && p.gens[n-1] != "" {
			p.gens = append(p.gens, "")
		}
		return
	case tokensource.EventAdopted:
		p.known = nil // until somebody is given it
		// Another process has got an answer since.
		p.notBefore = time.Time{}
	case tokensource.EventSet, tokensource.EventRenewed:
	default:
		return
	}
	exact := cur != nil && p.session.Generation(cur) == e.Generation
	name := "another"
	if exact {
		name = cur.AccessToken + " " + cur.RefreshToken
		delete(p.owed, p.access[cur.AccessToken])
	}
	recent := p.gens[max(0, len(p.gens)-2):]
	if exact && e.Kind == tokensource.EventAdopted && e.Generation == p.gen+1 && p.last != nil && p.last.form == foreign && !p.keepAccess &&
		slices.Contains(recent, name) {
		p.violate("%v adopts from another program %s, which it has or had", p, name)
	}
	if e.Generation > p.gen {
		p.gen = e.Generation
		p.gens = append(p.gens, name)
	}
}

// end kills p, as by a signal, and starts another in its place. What it has on
// its way comes to nothing. w.mu is held.
func (p *process) end() {
	w := p.world
	w.count(Killed)
	if p.exchanging > 0 {
		w.count(KilledInExchange)
	}
	if p.storing {
		w.count(KilledBeforeSave)
	}
	w.note("%v is killed", p)
	if p.obtaining {
		w.count(KilledSigningIn)
	}
	p.killed, p.exchanging, p.obtaining = true, 0, false
	close(p.dead)
	p.kill()
	if w.owner == p {
		w.owner = nil
		<-w.lock
	}
	w.procs = slices.Clone(w.procs)
	w.procs[slices.Index(w.procs, p)] = w.startProcess()
}

// doom has to p done in a while what it is doomed to, which is one of kinds. w.mu is held.
func (p *process) doom(d time.Duration, kinds ...Kind) {
	k := p.doomed
	if !slices.Contains(kinds, k) {
		return
	}
	p.doomed = none
	time.AfterFunc(d, func() {
		p.mu.Lock()
		skip := p.killed || p.calm
		if !skip && (k == KilledInExchange || k == KilledBeforeSave || k == KilledSigningIn) {
			p.end()
			skip = true
		}
		p.mu.Unlock()
		switch {
		case skip:
		case k == SignedIn:
			p.set()
		case k == SignedOut, k == SignedOutAmidRenewal:
			p.clear()
		case k == SignedOutRevoking:
			p.signOut()
		}
	})
}

// trouble notes that a renewal of p's has failed. w.mu is held.
func (p *process) trouble(retryAfter time.Duration) {
	p.failures++
	wait := min(2*minBackoff<<min(p.failures-1, 10), maxBackoff)
	if until := time.Now().Add(max(wait, retryAfter)); until.After(p.troubled) {
		p.troubled = until
	}
}

// A view is what p was like when a call began.
type view struct {
	newest         *access
	seen           *rank
	turns, setting int
	known          *oauth2.Token
	at             time.Time
}

func (p *process) look() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known
	if cur, _ := p.session.Current(); cur != known {
		known = nil // somebody is about to be given another
	}
	return view{p.newest, p.seen, p.turns, p.setting, known, time.Now()}
}

// Token implements [tokensource.Source].
func (p *process) Token(ctx context.Context) (*oauth2.Token, error) {
	before := p.look()
	token, err := p.session.Token(p.yield(ctx))
	return p.check(ctx, before, nil, token, err)
}

// Renew implements [tokensource.Renewer].
func (p *process) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	before := p.look()
	token, err := p.session.Renew(p.yield(ctx), rejected)
	return p.check(ctx, before, rejected, token, err)
}

// A yielding context takes its time once, as a goroutine may anywhere that the
// scheduler has other things to do.
type yielding struct {
	context.Context
	p    *process
	time time.Duration // guarded by world.mu
}

func (p *process) yield(ctx context.Context) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := callOf(ctx).random; chance(r, .2) {
		return &yielding{ctx, p, span(r, time.Microsecond, 300*time.Millisecond)}
	}
	return ctx
}

func (y *yielding) Err() error {
	y.p.mu.Lock()
	d := y.time
	y.time = 0
	y.p.mu.Unlock()
	if d > 0 {
		_ = y.p.pause(y.Context, d)
	}
	return y.Context.Err()
}

func (p *process) check(ctx context.Context, before view, rejected, token *oauth2.Token, err error) (*oauth2.Token, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := callOf(ctx)
	p.note("%v, call %d: %v, %v", p, c.id, tokenName(token), err)
	if p.killed {
		return token, err
	}
	if err != nil {
		p.checkError(ctx, before, rejected, err)
		c.source = err
		p.seeTo(err)
		return nil, err
	}
	a := p.access[token.AccessToken]
	if a == nil {
		p.violate("%v: call %d is given a token that was never issued", p, c.id)
		return token, nil
	}
	c.given = token
	if time.Now().After(p.turned) {
		p.checkTurned(c, a)
		if p.turns == before.turns && before.at.After(p.turned) {
			p.checkNewest(before, c, a)
		}
	}
	if rejected != nil && token.AccessToken == rejected.AccessToken && !p.keepAccess {
		p.violate("%v: call %d is given the token that was rejected", p, c.id)
	}
	if p.stored && !a.tried && !a.saved && a.family.setBy != p && !p.unread.After(a.sent) {
		p.violate("%v: call %d is given token %d, which nobody has tried to save", p, c.id, a.serial)
	}
	if tenant, _ := token.Extra("tenant").(string); !a.family.bare && tenant != a.family.extra["tenant"] {
		p.violate("%v: call %d is given token %d without its extra fields", p, c.id, a.serial)
	}
	now := time.Now()
	if !token.Expiry.IsZero() && now.After(token.Expiry) && now.Sub(a.issued) > time.Second+2*p.bound() {
		p.violate("%v: call %d is given token %d, which expired %v ago", p, c.id, a.serial, now.Sub(token.Expiry))
	}
	if p.turns == before.turns && (p.newest == nil || !a.older(p.newest)) {
		p.newest, p.known = a, token
	}
	return token, nil
}

// checkTurned checks that a, which a call of p's is given, is not of before the last
// sign-in or sign-out. w.mu is held.
func (p *process) checkTurned(c *call, a *access) {
	if a.family.gone[p] {
		p.violate("%v: call %d is given token %d, of before the last sign-in or sign-out", p, c.id, a.serial)
	}
	if a.by == p && a.sent.Before(p.turned) && !p.keepAccess && !a.foreign {
		p.violate("%v: call %d is given token %d, whose exchange began before the last sign-in or sign-out", p, c.id, a.serial)
	}
}

// checkNewest checks that a is not older than what p has given or seen before. w.mu is
// held.
func (p *process) checkNewest(before view, c *call, a *access) {
	if n := before.newest; n != nil && a.older(n) {
		p.violate("%v: call %d is given token %d after somebody was given %d", p, c.id, a.serial, n.serial)
	}
	if r, ok := a.last(); ok && !a.foreign && before.seen != nil && p.refused.IsZero() && r.compare(*before.seen) < 0 {
		p.violate("%v: call %d is given token %d, and there was a newer record", p, c.id, a.serial)
	}
}

// older reports whether a is known to be older than b.
func (a *access) older(b *access) bool {
	if a == b || a.foreign || b.foreign {
		return false
	}
	ra, ok := a.last()
	rb, ok2 := b.last()
	if ok && ok2 {
		return ra.compare(rb) < 0
	}
	return a.family == b.family && a.serial < b.serial && a.family.linear
}

func (p *process) bound() time.Duration {
	if p.timeout > 0 {
		return p.timeout
	}
	return 30 * time.Second
}

func tokenName(t *oauth2.Token) string {
	if t == nil {
		return "no token"
	}
	return t.AccessToken
}

// checkError checks that a Session had a reason to fail.
func (p *process) checkError(ctx context.Context, before view, rejected *oauth2.Token, err error) {
	c := callOf(ctx)
	now := time.Now()
	retry, isRetry := errors.AsType[*tokensource.RetryError](err)
	switch {
	case isRetry && errors.Is(err, tokensource.ErrRenewalLimit):
		p.count(RenewalsLimited)
		// As it was when the renewal began.
		if n := countSince(p.renewed, now.Add(-31*time.Second-p.bound())); p.limit() < 0 || n < p.limit() {
			p.violate("%v: call %d: renewals are limited after %d", p, c.id, n)
		}
	case isRetry:
		// (A look into the store has two seconds, and then tells of the last failure.)
		if now.After(p.troubled.Add(2*time.Second)) && p.turns == before.turns {
			p.violate("%v: call %d: %v, but the last failure is not so recent", p, c.id, err)
		}
		if d := retry.At.Sub(now); d > time.Hour {
			p.violate("%v: call %d: again in %v", p, c.id, d)
		}
		if rejected == nil && p.usable(before) && p.turns == before.turns && p.setting == 0 {
			p.violate("%v: call %d: %v, but there was a good token", p, c.id, err)
		}
	case errors.Is(err, tokensource.ErrReauthRequired):
		if p.otherClient {
			break // the token may be another's
		}
		if p.refused.IsZero() && p.turns == before.turns && p.setting == 0 {
			p.violate("%v: call %d: %v, but nobody has said so", p, c.id, err)
		}
		if h := p.content; h.form == token && !p.refused.IsZero() && p.presented != nil && p.presented.olderThan(h.rank) && h.since.Before(p.refused) &&
			!h.access.family.ended && !h.access.rejected && !h.refresh.revoked && (h.tok.Expiry.IsZero() || now.Before(h.tok.Expiry)) &&
			p.unread.Before(p.refused) && p.turns == before.turns && p.setting == 0 {
			p.violate("%v: call %d: %v, but the store has %v", p, c.id, err, h)
		}
	case errors.Is(err, tokensource.ErrNoToken):
		if !p.out && before.known != nil && p.known != nil && p.setting == 0 && before.turns == p.turns {
			p.violate("%v: call %d: %v, but there is one", p, c.id, err)
		}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	default:
		p.violate("%v: call %d: unexpected error: %v", p, c.id, err)
	}
}

// olderThan reports whether a is known to be older than r.
func (a *access) olderThan(r rank) bool {
	last, ok := a.last()
	return ok && !a.foreign && last.compare(r) < 0
}

// limit is how many forced renewals there may be in 30 seconds; negative for any.
func (w *world) limit() int {
	if w.maxForced == 0 {
		return 5
	}
	return w.maxForced
}

func countSince(times []time.Time, since time.Time) (n int) {
	for _, t := range times {
		if t.After(since) {
			n++
		}
	}
	return n
}

// checkLimit checks that one more forced renewal may be made. w.mu is held.
func (p *process) checkLimit(now time.Time) {
	if n := countSince(p.forced, now.Add(-30*time.Second)); p.limit() >= 0 && n > p.limit() {
		p.violate("%v forces a renewal after %d", p, n)
	}
}

// usable reports whether the token known before was to be handed out then.
func (p *process) usable(before view) bool {
	if before.known == nil {
		return false
	}
	a := p.access[before.known.AccessToken]
	return before.known.Expiry.IsZero() || before.at.Before(before.known.Expiry.Add(-p.skewOf(a)))
}
