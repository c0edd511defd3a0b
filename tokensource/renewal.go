package tokensource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// flush runs in the flight too, and saves what is unsaved.
func (s *Session) flush(caller context.Context) (err error) {
	st := s.load()
	if !st.unsaved {
		return nil
	}
	r := &renewal{Session: s}
	r.detached(caller, func() {
		var unlock func()
		if unlock, err = r.lock(r.ctx); err == nil {
			defer unlock()
		}
		_, err = r.catchUp(st, err)
	})
	return err
}

// detached calls run, and what is to be called after that.
func (r *renewal) detached(caller context.Context, run func()) {
	detached, end := marks.WithRenewal(context.WithoutCancel(caller), r.Session)
	defer end()
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
	case st.token != r.seen:
		return nil, errAgain
	case st.dead:
		_, _ = r.adopt(st) // there is another look if it fails
		return nil, errAgain
	case good && !st.unsaved:
		return nil, errAgain
	case !good && st.failing(now):
		return nil, r.look(st)
	}
	if _, ok := r.Store.(Locker); ok && !good && !st.unsaved {
		// Most of those who need a new token do so since another process has one
		// already: then they need not queue for the lock.
		switch adopted, err := r.adopt(st); {
		case err != nil:
			return r.fail(st, err)
		case adopted == nil:
			return nil, errAgain
		case r.serves(st, adopted):
			return adopted.token, nil
		default:
			st = adopted
		}
	}
	unlock, err := r.lock(r.ctx)
	if err == nil {
		defer unlock()
	}
	if st.unsaved && now >= st.saving && (good || st.token == nil) {
		var void error
		if st, void = r.catchUp(st, err); void == errAgain {
			return nil, errAgain
		}
	}
	switch {
	case good:
		return nil, errAgain // by now it may be good no more
	case err != nil:
		return r.fail(st, err)
	}
	var (
		spent *oauth2.Token
		cause error
	)
	for range maxRounds {
		adopted, err := r.adopt(st)
		switch {
		case err != nil && cause != nil:
			return r.latch(st, cause)
		case err != nil:
			return r.fail(st, err)
		case adopted == nil:
			return nil, errAgain
		case r.serves(st, adopted):
			return adopted.token, nil
		}
		st = adopted
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
		token, err := r.obtain(st.token)
		switch {
		case err == nil:
			return r.publish(st, token)
		case errors.Is(err, ErrNoToken) && st.token == nil:
			if r.Store != nil {
				r.answer(st, err, time.Second) // or every request would read the Store
			}
			return nil, err
		case errors.Is(err, ErrUnchanged) && rejected:
			return nil, err
		case !final(err, st.token):
			return r.fail(st, err)
		}
		spent, cause = st.token, err
	}
	return r.latch(st, cause)
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
		if unlock, err = r.lock(ctx); err == nil {
			defer unlock()
			found, err = r.adopt(st)
		}
	}
	outcome := errAgain
	switch {
	case err != nil:
		found = st
	case found == nil:
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

// serves reports whether what was adopted is a good token and not that of st.
func (r *renewal) serves(st, adopted *state) bool {
	return adopted.token != st.token && time.Now().UnixNano() < adopted.usable && !r.rejects(adopted.token)
}

// rejects reports whether token is, by content, the one that a server has
// just rejected.
func (r *renewal) rejects(token *oauth2.Token) bool {
	return r.forced && token.AccessToken == r.seen.AccessToken
}

// adopt publishes what another process has stored since, and returns the state
// to go on from, one with st's token if there is nothing newer, nil if st is void.
func (r *renewal) adopt(st *state) (*state, error) {
	if r.Store == nil || st.unsaved && st.token == nil { // what was to be cleared is not read
		return st, nil
	}
	_ = r.acquire(context.WithoutCancel(r.ctx))
	token, err := r.read(r.ctx)
	r.release()
	if err != nil {
		return nil, fmt.Errorf("loading from the store: %w", err)
	}
	now := time.Now()
	next := st.seen(token, now)
	if next == nil {
		if err := wellFormed(token); err != nil {
			return nil, fmt.Errorf("loading from the store: %w", err)
		}
		next = st.after(clone(token), r.skew(), now).saved(nil, now)
	}
	switch {
	case next == st:
	case !r.put(st, func() *state { return next }):
		return nil, nil
	case next.token != st.token:
		r.note(Event{Kind: EventAdopted, Generation: next.generation, Lifetime: lifeOf(token, now)})
	case !next.unsaved:
		r.note(Event{Kind: EventSaved, Generation: next.generation})
	}
	return next, nil
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
func (r *renewal) obtain(current *oauth2.Token) (token *oauth2.Token, err error) {
	if r.Grant == nil {
		return nil, errors.New("Session.Grant is nil")
	}
	err = rescue.Do("Grant", func() (err error) {
		token, err = r.Grant(r.ctx, clone(current))
		return err
	})
	if err != nil {
		return nil, clean(err)
	}
	if err := check(token); err != nil {
		return nil, err
	}
	token = clone(token) // a new identity, out of the Grant's reach
	if token.RefreshToken == "" && current != nil {
		token.RefreshToken = current.RefreshToken
	}
	return token, nil
}

// put stores build's state in st's place. If Set or Clear came in between,
// what was meant to follow st is void: put does not call build, and returns false.
func (r *renewal) put(st *state, build func() *state) bool {
	// Whoever holds the right to write gives it back within Timeout.
	_ = r.acquire(context.WithoutCancel(r.ctx))
	defer r.release()
	if r.load().epoch != st.epoch {
		return false
	}
	next := build()
	_, ok := r.swap(st.epoch, func(*state) *state { return next })
	return ok
}

// publish saves token, then hands it to everybody.
func (r *renewal) publish(st *state, token *oauth2.Token) (*oauth2.Token, error) {
	var next *state
	var saveErr error
	var now time.Time
	if !r.put(st, func() *state {
		saveErr = r.saveDetached(token)
		now = time.Now()
		next = st.after(token, r.skew(), now)
		if at := now.UnixNano(); next.usable < at+int64(minUsable) {
			// Clocks differ, or the exchange took long. A token that was obtained
			// just now is tried; not to would be an exchange for every request.
			next.usable = at + int64(time.Second)
			next.renewal = next.usable
		}
		return next.saved(saveErr, now)
	}) {
		return nil, errAgain
	}
	if r.forced {
		r.replaced = append(r.replaced, now.Round(0))
	}
	r.note(Event{Kind: EventRenewed, Generation: next.generation, Lifetime: lifeOf(token, now)})
	switch {
	case saveErr != nil:
		r.note(next.saveFailed(saveErr, now))
	case st.unsaved:
		r.note(Event{Kind: EventSaved, Generation: next.generation})
	}
	return token, nil
}

// saveDetached has a Timeout of its own: the exchange may have used up the
// renewal's, and what it obtained must not be lost.
func (r *renewal) saveDetached(token *oauth2.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.timeout())
	defer cancel()
	return r.save(ctx, token)
}

// catchUp brings a Store that is behind and this process together again, unless
// the lock could not be had, which is err. What another process has stored since
// is not overwritten. It returns the state to go on from, and why it is still unsaved,
// if it is: errAgain if st is void.
func (r *renewal) catchUp(st *state, err error) (*state, error) {
	if err == nil {
		var adopted *state
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
		if err == nil {
			err = r.saveDetached(st.token)
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
	next.err, next.dead, next.renewal = cause, true, time.Now().Add(signInLook).UnixNano()
	if !r.put(st, next.settle) {
		return nil, errAgain
	}
	r.note(Event{Kind: EventReauthRequired, Generation: st.generation, Err: cause})
	return nil, cause
}

func (r *renewal) note(e Event) {
	e.Duration = time.Since(r.start)
	r.events = append(r.events, e)
}
