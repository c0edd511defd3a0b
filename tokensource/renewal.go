package tokensource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

const (
	defaultMaxForced = 5
	forcedWindow     = 30 * time.Second

	// minUsable is the shortest time that a new token is believed to be good
	// for.
	minUsable = 10 * time.Millisecond

	// maxRounds bounds how many tokens of other processes one renewal takes up
	// and finds dead.
	maxRounds = 3

	// lookTime bounds a look into the Store while the server is not to be asked.
	lookTime = 2 * time.Second
)

// A renewal is one flight: from the wish to replace seen to the publication of
// what came of it.
type renewal struct {
	*Session
	ctx    context.Context
	seen   *oauth2.Token
	forced bool // a server has rejected seen
	start  time.Time
	events []Event // to be emitted when no lock is held any more
}

// renew runs in the flight, detached from the caller that started it.
func (s *Session) renew(caller context.Context, seen *oauth2.Token, forced bool) (token *oauth2.Token, err error) {
	r := &renewal{Session: s, seen: seen, forced: forced}
	r.detached(caller, func() { token, err = r.run() })
	return token, err
}

// flush saves what is unsaved.
func (r *renewal) flush() error {
	st := r.load()
	if !st.unsaved || r.Store == nil {
		return nil
	}
	unlock, err := r.lock()
	if err == nil {
		defer unlock()
		if err := r.overtake(r.ctx, st.epoch); err != nil {
			return err // Set or Clear is still to try
		}
	}
	if st := r.load(); st.unsaved && !st.pending {
		_, err = r.catchUp(st, err)
	}
	return err
}

// detached calls run, and what is to be called after that.
func (r *renewal) detached(caller context.Context, run func()) {
	// invariant: a renewal outlives the caller that began it
	detached, end := marks.WithRenewal(context.WithoutCancel(caller), r.Session)
	defer end()
	// invariant: a renewal ends within Timeout
	ctx, cancel := context.WithTimeout(detached, r.timeout())
	defer cancel()
	r.ctx, r.start = ctx, time.Now()
	// If Set comes after this line it ends this renewal, if before, run sees it.
	r.abort.Store(&abort{r.load().epoch, cancel})
	defer r.abort.Store(nil) // which would keep the caller's values
	run()
	for _, e := range r.events {
		r.emit(detached, e)
	}
}

func (r *renewal) run() (*oauth2.Token, error) {
	// Between the caller's look at the state and this flight another may have ended.
	st, now := r.load(), r.start.UnixNano()
	good := now < min(st.usable, st.renewal) && !r.forced
	switch {
	// invariant: a renewal replaces what was seen, and nothing newer
	case st.token != r.seen:
		return nil, errAgain
	case st.dead, st.signedOut():
		return nil, r.lookForSignIn(st, now)
	case good && !st.unsaved:
		return nil, errAgain
	case !good && st.failing(now):
		return nil, r.look(st)
	}
	st, unlock, err := r.begin(st, good)
	if unlock != nil {
		defer unlock()
	}
	switch {
	case st == nil:
		return nil, errAgain
	// invariant: what could not be saved is saved later
	case st.unsaved && !st.pending && now >= st.saving && (good || st.token == nil):
		var void error
		if st, void = r.catchUp(st, err); void == errAgain {
			return nil, errAgain
		}
	}
	switch {
	case good:
		return nil, errAgain // by now it may be good no more
	case err != nil && st.spends():
		return r.fail(st, err)
	case r.serves(r.seen, st):
		return st.token, nil
	}
	return r.exchange(st, err)
}

// begin takes the lock, and returns the state to go on from: nil if the renewal is void.
// The error is why there is no lock; unlock is nil too if none is needed any more.
func (r *renewal) begin(st *state, good bool) (*state, func(), error) {
	_, locks := r.Store.(Locker)
	for look := locks && !good && !st.unsaved; ; look = true {
		if look && st.pending {
			_ = r.reread()
		} else if look {
			// Most of those who need a new token do so since another process has one
			// already: then they need not queue for the lock.
			adopted, err := r.adopt(st)
			switch {
			case err != nil && st.spends():
				return st, nil, err
			case err != nil: // there is nothing to lose
			case adopted == nil, adopted.signedOut():
				return nil, nil, nil
			case r.serves(r.seen, adopted):
				return adopted, nil, nil
			default:
				st = adopted
			}
		}
		unlock, err := r.lockFor(st)
		if !errors.Is(err, ErrChanged) || r.ctx.Err() != nil {
			return st, unlock, err
		}
	}
}

// lockFor takes the lock for an exchange.
func (r *renewal) lockFor(st *state) (func(), error) {
	ctx, cancel := r.patience(st)
	defer cancel()
	return r.tryLock(ctx)
}

// lock takes the Store's lock, if it has one, and adopts what is found on the way.
func (r *renewal) lock() (unlock func(), err error) { return r.lockReading(r.ctx, r.reread) }

// reread reads a Store that has changed. What it has is not adopted where Set or Clear is
// about to save.
func (r *renewal) reread() error {
	if st := r.load(); st.pending {
		_, _ = r.readAlone(r.ctx)
	} else {
		_, _ = r.adopt(st)
	}
	return nil
}

// patience bounds the wait for a Store that does not answer. Where there is no refresh
// token to spend, an exchange does not depend on it.
func (r *renewal) patience(st *state) (context.Context, context.CancelFunc) {
	if st.spends() {
		return r.ctx, func() {}
	}
	return context.WithTimeout(r.ctx, min(lookTime, r.timeout()/4))
}

// exchange replaces the token of st by the Grant, unless the Store has a newer one.
// lockErr is why there is no lock: without one, no refresh token is spent.
func (r *renewal) exchange(st *state, lockErr error) (*oauth2.Token, error) {
	var (
		spent *oauth2.Token
		cause error
	)
	for range maxRounds {
		adopted, loadErr := r.adopt(st)
		switch {
		case loadErr != nil && cause != nil:
			return r.latch(st, cause)
		case loadErr != nil && st.spends():
			return r.fail(st, loadErr)
		case loadErr != nil: // there is nothing to lose
		case adopted == nil, adopted.signedOut():
			return nil, errAgain
		case r.serves(st.token, adopted):
			return adopted.token, nil
		default:
			st = adopted
		}
		// invariant: a refresh token is spent under the lock
		if lockErr != nil && st.spends() { // the Store had a refresh token, and another process may be spending it
			return r.fail(st, lockErr)
		}
		if cause != nil && same(st.token, spent) {
			break
		}
		// Those who wait because the token has expired are not to fail by what
		// only answers a rejection.
		rejected := r.forced && time.Now().UnixNano() < st.usable
		if rejected {
			if err := r.admit(st); err != nil {
				return nil, err
			}
		}
		// invariant: no exchange begins after a sign-in or sign-out
		if r.load().epoch != st.epoch {
			return nil, errAgain
		}
		token, err := r.obtain(st.token)
		switch {
		case err == nil:
			return r.publish(st, token)
		case loadErr != nil && st.token == nil && (r.Grant == nil || errors.Is(err, ErrNoToken)):
			return r.fail(st, loadErr)
		case errors.Is(err, ErrNoToken) && st.token == nil:
			if r.Store != nil {
				r.answer(st, err, time.Second) // or every request would read the Store
			}
			return nil, err
		case errors.Is(err, ErrUnchanged) && rejected:
			return nil, err
		// invariant: a temporary failure ends no session
		case !final(err, st.token):
			return r.fail(st, err)
		}
		spent, cause = st.token, err
	}
	return r.latch(st, cause)
}

// lookForSignIn reads the Store for those whose session has ended or been signed out
// here: somebody may have signed in elsewhere.
func (r *renewal) lookForSignIn(st *state, now int64) error {
	if r.Store == nil {
		return errAgain
	}
	found, err := r.adopt(st)
	if err != nil || found == nil || !found.unsaved || found.pending || now < found.saving {
		return errAgain // there is another look if it fails
	}
	unlock, err := r.lock()
	if err == nil {
		defer unlock()
	}
	_, _ = r.catchUp(found, err)
	return errAgain
}

// look reads the Store for those who need a token while the server is not to be
// asked: another process may have one by now. It takes lookTime at most, and until
// as long as it has taken is over, a quarter of a second at least, all get the error.
func (r *renewal) look(st *state) error {
	if r.Store == nil || st.quickly(r.start.UnixNano()) {
		return errAgain
	}
	ctx, cancel := context.WithTimeout(r.ctx, lookTime)
	defer cancel()
	r.ctx = ctx
	found, err := r.adopt(st)
	if _, ok := r.Store.(Locker); ok && err == nil && found == st {
		// The server may have ended the token already for one that is still to be saved.
		var unlock func()
		if unlock, err = r.lock(); err == nil {
			defer unlock()
			if r.load().record != st.record {
				return errAgain
			}
			found, err = r.adopt(st)
		}
	}
	outcome := errAgain
	switch {
	case err != nil:
		found = st
	// invariant: a look may find a sign-out
	case found == nil, found.signedOut():
		return errAgain
	case found.token != st.token:
		if !r.rejects(found.token) {
			return errAgain
		}
		// There is another refresh token, and nothing to send: the wait goes on.
		waiting := *found
		waiting.err, waiting.failures, waiting.renewal = st.err, st.failures, st.renewal
		found, outcome = &waiting, st.err
	}
	now := time.Now()
	r.answer(found, st.err, min(max(firstBackoff, now.Sub(r.start)), time.Duration(st.renewal-now.UnixNano())))
	return outcome
}

// serves reports whether what was adopted is a good token, and another than old.
func (r *renewal) serves(old *oauth2.Token, adopted *state) bool {
	return adopted.token != nil && adopted.token != old && time.Now().UnixNano() < adopted.usable && !r.rejects(adopted.token)
}

// rejects reports whether token is, by content, the one that a server has
// just rejected.
func (r *renewal) rejects(token *oauth2.Token) bool {
	return r.forced && token.AccessToken == r.seen.AccessToken
}

// adopt publishes what another process has stored since, and returns the state
// to go on from, one with st's token if there is nothing newer, nil if st is void.
func (r *renewal) adopt(st *state) (*state, error) {
	// invariant: a sign-in is not undone before its save was tried
	if r.Store == nil || r.load().pending { // Set or Clear is about to save
		return st, nil
	}
	ctx, cancel := r.patience(st)
	defer cancel()
	_ = r.acquire(context.WithoutCancel(r.ctx))
	stored, err := r.read(ctx)
	r.release()
	// invariant: what cannot be read starts no renewal that spends a refresh token
	if err != nil {
		return nil, fmt.Errorf("loading from the store: %w", err)
	}
	now := time.Now()
	next := r.take(st, stored, now)
	switch {
	case next == st:
	case !r.put(st, func() *state { return next }):
		return nil, nil
	case next.record != st.record && (next.token != st.token || next.signedOut()):
		r.tellAdopted(st, next, now)
	case st.unsaved && !next.unsaved:
		r.note(Event{Kind: EventSaved, Generation: next.generation})
	}
	return next, nil
}

// take returns the state that follows st now that stored has been found in the Store.
func (r *renewal) take(st *state, stored *Record, now time.Time) *state {
	next := *st
	if stored.foreign() {
		next.other = mark(stored.Token)
	}
	switch found := st.find(stored); {
	case found == news && stored.Change == ChangeRenewal && same(stored.Token, st.token) && stored.Token.Expiry.Equal(st.token.Expiry):
		// Its place in the order is new. The token is not: who has had it rejected must
		// not be given it again.
		r := *stored
		r.Token = st.token
		next.record = &r
		return next.saved(nil, now)
	// invariant: a newer record counts
	case found == news:
		return next.after(st.adopted(stored), r.skew(), now).saved(nil, now)
	case found == inStep && st.unsaved:
		return next.saved(nil, now) // that failure was none
	case found == behind && !st.unsaved:
		next.unsaved, next.saving = true, now.UnixNano()
		return next.settle()
	case next.other != st.other:
		return &next
	}
	return st
}

func (r *renewal) tellAdopted(st, next *state, now time.Time) {
	kind := EventAdopted
	if next.signedOut() {
		kind = EventCleared
	}
	r.note(Event{Kind: kind, Generation: next.generation, Lifetime: lifeOf(next.token, now)})
	r.noteRefreshExpiry(next, st.token)
}

// admit counts forced renewals. A server that rejects every token, fresh ones
// too, must not cost the authorization server an exchange for each request.
func (r *renewal) admit(st *state) error {
	limit := r.MaxForced
	if limit == 0 {
		limit = defaultMaxForced
	}
	if limit < 0 {
		return nil
	}
	r.replaced = slices.DeleteFunc(r.replaced, func(t time.Time) bool {
		return r.start.Round(0).Sub(t).Abs() >= forcedWindow // either way: clocks are set back
	})
	// invariant: rejected tokens are replaced only so often
	if len(r.replaced) < limit {
		r.limited = false
		return nil
	}
	err := &RetryError{At: r.replaced[0].Add(forcedWindow), Err: ErrRenewalLimit}
	wait := err.At.Sub(r.start.Round(0))
	if !r.limited {
		r.limited = true
		r.note(Event{Kind: EventRenewalLimit, Generation: st.generation, RetryIn: wait, Err: ErrRenewalLimit})
	}
	// For a while only: another process may store a better token.
	r.answer(st, err, min(time.Second, wait))
	return err
}

// answer has err given at once to those who need a new token, for d.
func (r *renewal) answer(st *state, err error, d time.Duration) {
	next := *st
	next.quick, next.quickEnd = err, time.Now().Add(d).UnixNano()
	r.put(st, next.settle)
}

// obtain calls the Grant and accepts only what can be used.
func (r *renewal) obtain(current *oauth2.Token) (*oauth2.Token, error) {
	if r.Grant == nil {
		return nil, errors.New("Session.Grant is nil")
	}
	token, err := callGrant(r.ctx, "Grant", r.Grant, current)
	if err != nil {
		return nil, err
	}
	token = r.dressed(token, current)
	if token.RefreshToken == "" && current != nil {
		token.RefreshToken = current.RefreshToken
	}
	return token, nil
}

// dressed returns token with a new identity, out of the Grant's reach. The extra fields of
// current stay, unless a server that sends others each time makes them too many to save.
func (r *renewal) dressed(token, current *oauth2.Token) *oauth2.Token {
	all := dress(token, current, r.Extra, r.start)
	if current == nil || len(extra.Fields(current)) == 0 {
		return all
	}
	err := rescue.Do("extra field", func() error { _, err := (&Record{Token: all}).bytes(); return err })
	if !errors.Is(err, errTooLarge) {
		return all
	}
	return dress(token, clothe(current, nil, BindingOf(current)), r.Extra, r.start)
}

// callGrant calls grant, which an error names as what.
func callGrant(ctx context.Context, what string, grant Grant, current *oauth2.Token) (token *oauth2.Token, err error) {
	err = rescue.Do(what, func() (err error) {
		token, err = grant(ctx, clone(current))
		return err
	})
	if err != nil {
		return nil, clean(err)
	}
	return token, check(token)
}

// put stores build's state in st's place. If Set or Clear came in between,
// what was meant to follow st is void: put does not call build, and returns false.
func (r *renewal) put(st *state, build func() *state) bool {
	if r.void(st) {
		return false // at once: Set or Clear may be slow to save
	}
	// Whoever holds the right to write gives it back within Timeout.
	_ = r.acquire(context.WithoutCancel(r.ctx))
	defer r.release()
	if r.void(st) {
		return false
	}
	next := build()
	_, ok := r.swap(st.epoch, func(cur *state) *state { return next.noting(st, cur) })
	return ok
}

// void reports whether Set, Clear or SignOut has come since st.
func (r *renewal) void(st *state) bool {
	// invariant: a sign-in or sign-out makes a renewal under way void
	return r.load().epoch != st.epoch
}

// publish saves token, then hands it to everybody. If the Store has a newer record by
// then, as by a sign-out elsewhere, that counts.
func (r *renewal) publish(st *state, token *oauth2.Token) (*oauth2.Token, error) {
	record := st.record.renewed(token, r.start)
	var (
		next    *state
		newer   *Record
		saveErr error
		now     time.Time
	)
	if !r.put(st, func() *state {
		ctx, cancel := r.saving()
		defer cancel()
		// invariant: a token is saved before it is given to anybody
		newer, saveErr = r.saveNewest(ctx, st, record)
		if cur := r.load(); newer != nil && cur.epoch == st.epoch && cur.pending { // but the sign-in comes after it
			record, newer = signed(token, time.Now(), record, newer), nil
			saveErr = r.save(ctx, record)
		}
		now = time.Now()
		if newer != nil {
			next = r.take(st, newer, now)
			return next
		}
		next = st.after(record, r.skew(), now)
		if at := now.UnixNano(); next.usable < at+int64(minUsable) {
			// Clocks differ, or the exchange took long. A token that was obtained
			// just now is tried; not to would be an exchange for every request.
			next.usable = at + int64(time.Second)
			next.renewal = next.usable
		}
		// invariant: a save that failed is tried again
		return next.saved(saveErr, now)
	}) {
		r.discard(st, token)
		return nil, errAgain
	}
	if newer != nil {
		r.tellAdopted(st, next, now)
		return nil, errAgain
	}
	if r.forced {
		r.replaced = append(r.replaced, now.Round(0))
	}
	r.note(Event{Kind: EventRenewed, Generation: next.generation, Lifetime: lifeOf(token, now)})
	r.noteRefreshExpiry(next, st.token)
	switch {
	case saveErr != nil:
		r.note(next.saveFailed(saveErr, now))
	case st.unsaved:
		r.note(Event{Kind: EventSaved, Generation: next.generation})
	}
	return token, nil
}

// discard revokes token, which came too late, if a sign-out has asked for that.
func (r *renewal) discard(st *state, token *oauth2.Token) {
	// invariant: what a renewal brings after SignOut is revoked
	if d := r.load().departure; d != nil && d.epoch > st.epoch {
		ctx, cancel := r.saving()
		defer cancel()
		d.late = d.call(ctx, token)
	}
}

// saving returns a context with a Timeout of its own: the exchange may have used up the
// renewal's, and what it obtained must not be lost.
func (r *renewal) saving() (context.Context, context.CancelFunc) {
	// invariant: saving has a Timeout of its own
	return context.WithTimeout(context.WithoutCancel(r.ctx), r.timeout())
}

// catchUp brings a Store that is behind and this process together again, unless
// the lock could not be had, which is err. What another process has stored since
// is not overwritten. It returns the state to go on from, and why it is still unsaved,
// if it is: errAgain if st is void.
func (r *renewal) catchUp(st *state, err error) (*state, error) {
	if err == nil {
		var adopted *state
		// invariant: what is saved late does not replace what is newer
		adopted, err = r.adopt(st)
		switch {
		case adopted == nil && err == nil:
			return nil, errAgain
		case adopted != nil && !adopted.unsaved:
			return adopted, nil
		case adopted != nil:
			st = adopted
		}
	}
	next := *st
	var now time.Time
	if !r.put(st, func() *state {
		if err == nil && st.record.foreign() { // it gets a rank by which others know it
			next.record = st.record.placed(time.Now())
		}
		if err == nil {
			ctx, cancel := r.saving()
			defer cancel()
			err = r.save(ctx, next.record)
		}
		now = time.Now()
		return next.saved(err, now)
	}) {
		return nil, errAgain
	}
	if err != nil {
		r.note(next.saveFailed(err, now))
	} else {
		r.note(Event{Kind: EventSaved, Generation: st.generation})
	}
	return &next, err
}

// fail records a failure that may pass.
func (r *renewal) fail(st *state, cause error) (*oauth2.Token, error) {
	next := *st
	next.failures++
	wait := backoff(next.failures, cause)
	at := time.Now().Add(wait)
	err := &RetryError{At: at.Round(0), Err: cause}
	// invariant: a failure is remembered until the next attempt
	next.err, next.renewal = err, at.UnixNano()
	next.quickEnd = 0
	if !r.put(st, next.settle) {
		return nil, errAgain
	}
	r.note(Event{Kind: EventRenewalFailed, Generation: st.generation, RetryIn: wait, Err: cause})
	return nil, err
}

// latch records a failure that will not pass.
func (r *renewal) latch(st *state, cause error) (*oauth2.Token, error) {
	next := *st
	if !r.forced && time.Now().UnixNano() < st.usable && st.token.RefreshToken == "" {
		// There was nothing to renew with ahead of time, so nothing has died:
		// the token is good until it expires.
		next.renewal = never
		r.put(st, next.settle)
		return nil, errAgain
	}
	if !errors.Is(cause, ErrReauthRequired) {
		cause = fmt.Errorf("%w: %w", ErrReauthRequired, cause)
	}
	// invariant: a refusal is final
	next.err, next.dead, next.renewal = cause, true, time.Now().Add(signInLook).UnixNano()
	if !r.put(st, next.settle) {
		return nil, errAgain
	}
	r.note(Event{Kind: EventReauthRequired, Generation: st.generation, Err: cause})
	return nil, cause
}

// noteRefreshExpiry tells when the refresh token of st expires, if that is known and
// was not so of old.
func (r *renewal) noteRefreshExpiry(st *state, old *oauth2.Token) {
	if e, ok := refreshExpiring(st, old, time.Now()); ok {
		r.note(e)
	}
}

func (r *renewal) note(e Event) {
	e.Duration = time.Since(r.start)
	r.events = append(r.events, e)
}
