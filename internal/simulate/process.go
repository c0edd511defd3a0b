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
	operator *rand.Rand // whoever signs in

	// What follows is guarded by world.mu.
	killed     bool
	doomed     Kind // to be killed when it comes to that
	storing    bool
	exchanging int

	newest  int           // the serial of the newest token that anybody was given
	known   *oauth2.Token // that one; nil after Clear
	setting int           // Set and Clear under way
	changes int           // and how many have been
	changed time.Time     // when the last of them was done
	floor   int           // no token up to this serial may be given any more

	failures  int                   // in a row
	troubled  time.Time             // until then, a RetryError is no surprise
	notBefore time.Time             // no exchange
	refused   time.Time             // when invalid_grant arrived; zero: not since Set or Clear
	presented int                   // the serial of the access token of that
	unsure    bool                  // and its family is unknown
	unread    time.Time             // when Load last failed
	blind     bool                  // a look into the store has failed during Set
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
	p := &process{world: w, life: w.lives, dead: make(chan struct{}), doomed: none}
	p.operator = w.random("process", p.life)
	p.ctx, p.kill = context.WithCancel(context.Background())
	grant := tokensource.RefreshToken(&oauth2.Config{
		ClientID: "simulate", Endpoint: oauth2.Endpoint{TokenURL: "https://as.example/token"},
	})
	http := &http.Client{Transport: tokenEndpoint{p}}
	p.session = &tokensource.Session{
		Grant: func(ctx context.Context, cur *oauth2.Token) (*oauth2.Token, error) {
			return grant(context.WithValue(ctx, oauth2.HTTPClient, http), cur)
		},
		Timeout: w.timeout, Skew: w.skew, MaxForced: w.maxForced,
		OnEvent: func(_ context.Context, e tokensource.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			p.note("%v: %s %d, again in %v: %v", p, e.Kind, e.Generation, e.RetryIn, e.Err)
			if e.Kind == tokensource.EventAdopted {
				p.known = nil // until somebody is given it
				// Another process has got an answer since.
				p.notBefore = time.Time{}
			}
			if d := span(p.operator, 0, 2*time.Second); w.slowEvents && e.Kind == tokensource.EventRenewed {
				w.mu.Unlock()
				_ = p.pause(context.Background(), d) // whoever waits for the renewal waits for this too
				w.mu.Lock()
			}
		},
	}
	s := store{p, w.random("store", p.life)}
	switch {
	case w.locked:
		p.session.Store = lockable{s}
	case w.stored:
		p.session.Store = s
	}
	p.client = &transport.Refresh{Source: p, Base: api{p}, ReplayBuffer: w.replayBuffer}
	return p
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
	p.killed, p.exchanging = true, 0
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
		if !skip && (k == KilledInExchange || k == KilledBeforeSave) {
			p.end()
			skip = true
		}
		p.mu.Unlock()
		switch {
		case skip:
		case k == SignedIn:
			p.set()
		case k == SignedOut:
			p.clear()
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

// set signs in.
func (p *process) set() {
	p.mu.Lock()
	p.count(SignedIn)
	token := p.signIn()
	p.setting++
	p.note("%v signs in: %s", p, token.AccessToken)
	p.mu.Unlock()
	err := p.session.Set(p.ctx, token)
	p.change(token, err)
}

// clear signs out.
func (p *process) clear() {
	p.mu.Lock()
	p.count(SignedOut)
	p.setting++
	p.note("%v signs out", p)
	p.mu.Unlock()
	p.change(nil, p.session.Clear(p.ctx))
}

// change notes that Set or Clear has returned.
func (p *process) change(token *oauth2.Token, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setting--
	defer func() { p.blind = false }()
	if p.killed {
		return
	}
	if err != nil && !p.stored {
		p.violate("%v: Set or Clear has failed without a store: %v", p, err)
	}
	p.note("%v has changed: %v", p, err)
	p.changes++
	p.changed = time.Now()
	// Whatever was issued up to now is older.
	p.floor = p.serial
	p.serial++
	p.newest, p.known = p.serial, token
	if token != nil {
		a := p.access[token.AccessToken]
		a.serial, a.settled = p.serial, true
		a.missed = a.missed || err != nil
		a.family.unknown = err != nil && p.blind
	}
	p.failures, p.troubled, p.notBefore, p.refused = 0, time.Time{}, time.Time{}, time.Time{}
}

// A view is what p was like when a call began.
type view struct {
	newest, floor, changes, setting int
	known                           *oauth2.Token
	at, changed                     time.Time
}

func (p *process) look() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return view{p.newest, p.floor, p.changes, p.setting, p.known, time.Now(), p.changed}
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
	if before.setting == 0 && p.changes == before.changes && p.setting == 0 {
		if a.serial < before.newest && !(p.keepAccess && a.serial == before.newest) {
			p.violate("%v: call %d is given token %d after somebody was given %d", p, c.id, a.serial, before.newest)
		}
		if a.serial <= before.floor {
			p.violate("%v: call %d is given token %d, of before the last sign-in or sign-out", p, c.id, a.serial)
		}
		if a.by == p && a.sent.Before(before.changed) {
			p.violate("%v: call %d is given token %d, whose exchange began before the last sign-in or sign-out", p, c.id, a.serial)
		}
	}
	if rejected != nil && token.AccessToken == rejected.AccessToken && !p.keepAccess {
		p.violate("%v: call %d is given the token that was rejected", p, c.id)
	}
	if p.stored && !a.saved && !a.missed && p.setting == 0 {
		p.violate("%v: call %d is given token %d, which nobody has tried to save", p, c.id, a.serial)
	}
	now := time.Now()
	if !token.Expiry.IsZero() && now.After(token.Expiry) && now.Sub(a.issued) > time.Second+2*p.bound() {
		p.violate("%v: call %d is given token %d, which expired %v ago", p, c.id, a.serial, now.Sub(token.Expiry))
	}
	if a.serial >= p.newest {
		p.newest, p.known = a.serial, token
	}
	return token, nil
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
		if now.After(p.troubled) && p.changes == before.changes {
			p.violate("%v: call %d: %v, but the last failure is not so recent", p, c.id, err)
		}
		if d := retry.At.Sub(now); d > time.Hour {
			p.violate("%v: call %d: again in %v", p, c.id, d)
		}
		if rejected == nil && p.usable(before) && p.changes == before.changes && p.setting == 0 {
			p.violate("%v: call %d: %v, but there was a good token", p, c.id, err)
		}
	case errors.Is(err, tokensource.ErrReauthRequired):
		if p.refused.IsZero() && p.changes == before.changes && p.setting == 0 {
			p.violate("%v: call %d: %v, but nobody has said so", p, c.id, err)
		}
		if h := p.held; h != nil && !p.refused.IsZero() && !p.unsure && h.serial > p.presented && h.since.Before(p.refused) &&
			!h.access.family.ended && !h.access.rejected && (h.token.Expiry.IsZero() || now.Before(h.token.Expiry)) &&
			p.unread.Before(p.refused) && p.changes == before.changes && p.setting == 0 {
			p.violate("%v: call %d: %v, but the store has token %d", p, c.id, err, h.serial)
		}
	case errors.Is(err, tokensource.ErrNoToken):
		if before.known != nil && p.known != nil && p.setting == 0 && before.changes == p.changes {
			p.violate("%v: call %d: %v, but there is one", p, c.id, err)
		}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	default:
		p.violate("%v: call %d: unexpected error: %v", p, c.id, err)
	}
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

// seeTo has somebody sign in again, sooner or later, if err asks for it.
// w.mu is held.
func (p *process) seeTo(err error) {
	if p.operating || !errors.Is(err, tokensource.ErrReauthRequired) && !errors.Is(err, tokensource.ErrNoToken) {
		return
	}
	p.operating = true
	d := span(p.operator, time.Second, 2*time.Minute)
	go func() {
		if p.pause(p.ctx, d) == nil {
			p.set()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.operating = false
	}()
}
