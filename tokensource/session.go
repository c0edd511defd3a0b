package tokensource

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	defaultSkew = 10 * time.Second
	lookAgain   = 100 * time.Millisecond

	// signInLook is how often a Session without a good token looks into the Store while
	// somebody asks. A sign-in elsewhere is found within two seconds.
	signInLook = 1900 * time.Millisecond
)

// A Session is one signed-in identity: a token, and the means to renew it. It is a
// [Renewer].
//
//	session := &tokensource.Session{Grant: tokensource.RefreshToken(config), Store: store}
//
// A Session needs a Grant. If that is [RefreshToken], it also needs a first token, by
// [Session.Set], [Session.SignIn] or from the Store. The other fields have useful zero
// values. A Session must not be copied after first use. All methods are safe for
// concurrent use by multiple goroutines; fields must not be modified after the first call
// of one.
//
// # Reading
//
// While the token is good, Token costs an atomic load and a look at the wall clock. Shortly
// before the token expires (half its lifetime, 5 minutes at most, less some jitter), the
// next call of Token starts a renewal in the background and does not wait for it. While
// nobody asks, no goroutine and no timer runs.
//
// # Renewal
//
// All callers that need a new token share one renewal. It keeps the context values of the
// first caller, but ends only by itself or by Timeout: a refresh token that the server has
// rotated is not lost because a request was given up. Each caller waits no longer than its
// own context.
//
// # The Store
//
// A new token is saved before any caller gets it. If saving fails, the token is in use all
// the same. It is saved later, unless the Store has a newer [Record] by then. A Session
// loads right before each save, and does not save over a newer record. If the Store has an
// older record, or has lost it, the Session saves its own again.
//
// A Session with a good token does not read the Store. It learns of a sign-in or sign-out
// elsewhere when it next needs a new token, or by [Session.Reload]. A Session without a
// good token looks into the Store every two seconds while somebody asks for a token. After
// a sign-out, here or elsewhere, Token and Renew return [ErrNoToken] until somebody signs
// in.
//
// A renewal that may spend a refresh token waits for the Store's lock and needs to read the
// Store. Other renewals, as with [ClientCredentials], do not depend on the Store.
//
// # Failures
//
// A temporary failure (network, timeout, 429, 5xx, an answer that makes no sense) is
// returned as a [*RetryError]. The current token stays in use until it expires. Attempts back
// off from 250 ms to 1 minute, with jitter, or follow Retry-After, up to 1 hour. Until the
// next attempt is due, callers that need a new token get this error at once, unless the
// Store has a newer token.
//
// When the server has refused the refresh token for good (invalid_grant; invalid_client and
// unauthorized_client for a refresh token), callers get [ErrReauthRequired] at once, and the
// refresh token is not sent again. Before that, the Store is read once more: another process
// may have renewed the token.
type Session struct {
	// Grant obtains tokens. Without it there is an error as soon as a new
	// token is needed.
	Grant Grant

	// Store, if not nil, keeps the token beyond this process. It may be a
	// Locker too.
	Store Store

	// Timeout bounds one renewal; zero means 30 seconds.
	Timeout time.Duration

	// Skew is how long before its expiry a token is no longer handed out; zero
	// means 10 seconds, negative none. It is never more than a twentieth of
	// the token's lifetime.
	Skew time.Duration

	// Extra names extra fields of the token endpoint's responses to keep in the Store, in
	// addition to those that it keeps by itself: all of a token from a Grant of
	// authtrip, and id_token, scope and some twenty more of a token from other code,
	// whose extra fields cannot be listed.
	Extra []string

	// MaxForced is how many tokens Renew may replace within 30 seconds, before
	// it answers with ErrRenewalLimit; zero means 5, negative any number.
	MaxForced int

	// OnEvent, if not nil, is told what happens, in order, from one goroutine
	// at a time but for Set and Clear. Those who wait for the renewal wait for
	// OnEvent too. It may call Set, for instance after a new sign-in, in time
	// for those who wait; a panic in it is recovered and ignored.
	OnEvent func(context.Context, Event)

	state  atomic.Pointer[state]
	fresh  atomic.Pointer[state] // the state, if the clock need not be looked at for it
	looked atomic.Int64          // when Token last looked at the clock
	flight singleflight.Group
	abort  atomic.Pointer[abort]

	// writing holds one value while somebody uses the Store, and while somebody
	// writes first that and then state: the two must not disagree on who came
	// last. It is held for Timeout at most. A channel, because waiting for it
	// ends with a context.
	writing chan struct{}
	once    sync.Once // makes writing

	signIns signIns

	// Only the renewal under way uses the fields below.
	replaced []time.Time // when Renew last replaced tokens
	limited  bool        // the last attempt to do so was refused
}

// An abort ends the renewal under way, which began in epoch.
type abort struct {
	epoch  uint64
	cancel context.CancelFunc
}

// errAgain ends a renewal whose premise has gone: look at the state again.
var errAgain = errors.New("tokensource: state has changed")

var noState state

// NewSession returns a Session without a Store that begins with token, as a client of
// x/oauth2's Config.Client does. A nil token is none.
//
//	session := tokensource.NewSession(tokensource.RefreshToken(config), token)
//
// If you set a Store all the same, what it holds counts more than token.
func NewSession(grant Grant, token *oauth2.Token) *Session {
	s := &Session{Grant: grant}
	if token != nil && (token.AccessToken != "" || token.RefreshToken != "") {
		now := time.Now()
		s.state.Store(noState.after(&Record{Token: dress(token, nil, nil, now)}, defaultSkew, now))
	}
	return s
}

func (s *Session) load() *state {
	if st := s.state.Load(); st != nil {
		return st
	}
	return &noState
}

// Token returns the current token. If there is none that is good it obtains
// one, and the end of ctx ends the wait but not the renewal.
//
// The errors are [ErrNoToken], [ErrReauthRequired], a [*RetryError] and those
// of ctx, wrapped.
func (s *Session) Token(ctx context.Context) (*oauth2.Token, error) {
	if st := s.fresh.Load(); st != nil && st == s.state.Load() {
		return st.token, nil
	}
	for {
		st, now := s.load(), time.Now().UnixNano()
		switch {
		case now < st.next:
			s.spare(st, now)
			return st.token, nil
		case st.dead:
			s.lookForSignIn(ctx, st, now)
			return nil, st.err
		case st.signedOut():
			s.lookForSignIn(ctx, st, now)
			return nil, ErrNoToken
		case now < st.usable:
			if now >= st.next {
				s.renewAhead(ctx, st, now)
			}
			return st.token, nil
		case s.failsFast(ctx, st, now):
			return nil, st.err
		case st.token == nil && st.quickly(now):
			return nil, st.quick
		}
		token, err := s.wait(ctx, st.token, false)
		if err == nil || !s.passed(st, err) {
			return token, err
		}
	}
}

// spare spares those who ask for the token of st the look at the clock, which is most
// of what Token costs, if they do so often: a timer tells when to look again.
func (s *Session) spare(st *state, now int64) {
	if now-s.looked.Swap(now) > int64(time.Millisecond) || !s.fresh.CompareAndSwap(nil, st) {
		return
	}
	time.AfterFunc(min(lookAgain, time.Duration(st.next-now)), func() { s.fresh.CompareAndSwap(st, nil) })
}

// failsFast reports whether who needs a token gets st's error at once: the renewal
// has failed, and the Store has just been looked at, or there is none, or the renewal
// itself asks.
func (s *Session) failsFast(ctx context.Context, st *state, now int64) bool {
	return st.failing(now) && (s.Store == nil || st.quickly(now) || marks.Of(ctx).Renewal(s))
}

// passed reports whether err, with which a renewal begun at st has ended, does
// not count any more: its premise had gone, or a token has been Set since.
func (s *Session) passed(st *state, err error) bool {
	if _, left := errors.AsType[*waitError](err); left {
		return false
	}
	return err == errAgain || s.load().epoch != st.epoch
}

// renewAhead starts a renewal that nobody waits for. One caller does; the
// others find next moved on. It does not move far, since what is under way may
// be something else, and then this has to be started again.
func (s *Session) renewAhead(ctx context.Context, st *state, now int64) {
	started := *st
	started.next = now + min((st.usable-now)/8, int64(lookAgain))
	if s.state.CompareAndSwap(st, &started) {
		s.start(ctx, st.token, false)
	}
}

// lookForSignIn starts a look into the Store, that nobody waits for: of all processes
// that share it, the user signs in to one. It is for a st that is dead or signed out.
func (s *Session) lookForSignIn(ctx context.Context, st *state, now int64) {
	if s.Store == nil || now < st.renewal && st.renewal-now <= int64(signInLook) {
		return
	}
	started := *st
	started.renewal = now + int64(signInLook)
	if s.state.CompareAndSwap(st, &started) {
		s.start(ctx, st.token, false)
	}
}

// Renew replaces rejected, a token that Token or Renew has returned and a
// server has refused. If it is no longer the current one, it was a late answer
// to an old request, and the current token is returned at once.
//
// The errors are those of Token; a Grant may add [ErrUnchanged].
func (s *Session) Renew(ctx context.Context, rejected *oauth2.Token) (*oauth2.Token, error) {
	for {
		st, now := s.load(), time.Now().UnixNano()
		switch {
		case st.dead:
			s.lookForSignIn(ctx, st, now)
			return nil, st.err
		case st.signedOut():
			return s.Token(ctx)
		// invariant: a token is told from another by identity, not by its text
		case rejected == nil || st.token != rejected:
			return s.Token(ctx)
		case s.failsFast(ctx, st, now):
			return nil, st.err
		case now < st.usable && st.quickly(now):
			return nil, st.quick
		}
		token, err := s.wait(ctx, rejected, true)
		switch {
		case err != nil && s.passed(st, err):
		// invariant: the rejected token is not given again
		case err == nil && token == rejected: // the renewal had begun for another reason
		default:
			return token, err
		}
	}
}

// Set replaces the token, as after a sign-in, and ends what went before: a
// renewal under way is void, and so is ErrReauthRequired. A token with a
// refresh token alone is one to be exchanged on first use.
//
// The token is in use at once. If the Store fails, or does not get it done before ctx
// ends, the error says so; saving is tried again later.
func (s *Session) Set(ctx context.Context, token *oauth2.Token) error {
	if token == nil || token.AccessToken == "" && token.RefreshToken == "" {
		return errors.New("tokensource: Session.Set: token is empty")
	}
	if err := wellFormed(token); err != nil {
		return fmt.Errorf("tokensource: Session.Set: %w", err)
	}
	return s.change(ctx, dress(token, nil, s.Extra, time.Now()), EventSet)
}

// Clear drops the token, here and in the Store, as for a sign-out, and ends a renewal
// under way. Token returns [ErrNoToken] from now on, whatever the Grant, until
// somebody signs in. Other processes learn of it when they next need a new token.
// [Session.SignOut] revokes the token as well.
//
// After an error of the Store nothing is left here, and the Store is told later.
func (s *Session) Clear(ctx context.Context) error {
	return s.change(ctx, nil, EventCleared)
}

// change signs in with token, or out if that is nil: first here, then in the Store.
func (s *Session) change(ctx context.Context, token *oauth2.Token, kind EventKind) error {
	start := time.Now()
	_, st := s.turn(token, start, nil)
	epoch := st.epoch
	// What a renewal brings now is void.
	// invariant: a sign-in or sign-out ends the exchange under way
	if a := s.abort.Load(); a != nil && a.epoch < epoch {
		a.cancel()
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	unlock, err := s.lockReading(ctx, func() error {
		if st := s.load(); st.epoch != epoch || !st.pending {
			return errSettled
		}
		_, _ = s.readAlone(ctx) // overtake goes above whatever is there
		return nil
	})
	switch {
	case err == nil:
		err = s.overtake(ctx, epoch)
		unlock() // OnEvent may want it
	case err == errSettled:
		err = nil
	}
	s.settled(ctx, epoch, kind, start, err)
	return err
}

// errSettled ends the wait of a change for the lock: a renewal has saved it, or another
// change has come after it.
var errSettled = errors.New("tokensource: the change is settled")

// turn publishes a sign-in or sign-out, which makes a renewal under way void. It returns
// the states before and after.
func (s *Session) turn(token *oauth2.Token, now time.Time, d *departure) (before, after *state) {
	for {
		old, cur := s.state.Load(), &noState
		if old != nil {
			cur = old
		}
		next := cur.after(signed(token, now, cur.record), s.skew(), now)
		// invariant: whatever began before a sign-in or sign-out is void
		next.epoch++
		if d != nil {
			if d.epoch = next.epoch; d.revoke != nil || next.departure == nil {
				next.departure = d // another SignOut may wait for its own revoke
			}
		}
		if s.Store != nil {
			// Only overtake may bring it into the Store, until it has tried.
			next.unsaved, next.pending, next.saving = true, true, now.Add(s.timeout()).UnixNano()
		}
		if s.state.CompareAndSwap(old, next.settle()) {
			return cur, next
		}
	}
}

// overtake has the Store hold the sign-in or sign-out of epoch, above what it holds
// now. The lock is held, if there is one.
func (s *Session) overtake(ctx context.Context, epoch uint64) error {
	if s.Store == nil {
		return nil
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if st := s.load(); st.epoch != epoch || !st.pending {
		return nil // another change came after this one, or a renewal has saved it
	}
	stored, err := s.read(ctx)
	// invariant: nothing overwrites the record of a newer version
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return err
	}
	st, ok := s.outrank(epoch, stored)
	if !ok || !st.pending {
		return nil
	}
	// invariant: a sign-in or sign-out is saved
	err = s.save(ctx, st.record)
	if now := time.Now(); err == nil {
		s.swap(epoch, func(st *state) *state {
			next := *st
			return next.saved(nil, now)
		})
	}
	return err
}

// outrank puts the sign-in or sign-out of epoch above stored, which may be nil, as long as
// it waits to be saved.
func (s *Session) outrank(epoch uint64, stored *Record) (*state, bool) {
	return s.swap(epoch, func(st *state) *state {
		next := *st
		switch {
		case !st.pending, stored.none():
			return st
		case stored.foreign():
			// invariant: what another program wrote before a sign-in is older
			next.other = mark(stored.Token) // this change came after it
		case st.record.compare(stored) > 0:
			return st
		default:
			next.record = signed(st.token, time.Now(), st.record, stored)
		}
		return &next
	})
}

// settled notes what came of overtake, and emits the events of a change.
func (s *Session) settled(ctx context.Context, epoch uint64, kind EventKind, start time.Time, err error) {
	now := time.Now()
	st, ok := s.swap(epoch, func(st *state) *state {
		if !st.pending {
			return st
		}
		next := *st
		return next.saved(err, now)
	})
	s.emit(ctx, Event{Kind: kind, Generation: st.generation, Duration: now.Sub(start), Lifetime: lifeOf(st.token, now)})
	if e, expires := refreshExpiring(st, nil, now); expires {
		s.emit(ctx, e)
	}
	if err != nil && ok && st.unsaved {
		s.emit(ctx, st.saveFailed(err, now))
	}
}

// swap replaces the current state by next of it, unless Set or Clear has come
// since epoch. It returns what is current after that.
func (s *Session) swap(epoch uint64, next func(*state) *state) (st *state, ok bool) {
	for {
		old, cur := s.state.Load(), &noState
		if old != nil {
			cur = old
		}
		if cur.epoch != epoch {
			return cur, false
		}
		st := next(cur)
		if s.state.CompareAndSwap(old, st) {
			return st, true
		}
	}
}

// Wait returns when no renewal is under way and the Store, if there is one, has
// the token: what a program does before it exits, and no later than its last
// request. A renewal ahead of expiry may have begun without anybody waiting for it,
// and what the server answers to a process that is gone is lost, refresh token
// included.
//
// The errors are those of ctx and of the Store, which is tried once more if it is
// behind. Wait starts no exchange.
func (s *Session) Wait(ctx context.Context) error {
	return s.alone(ctx, (*renewal).flush)
}

// Reload reads the Store at once, and goes by a newer record in it, as of a sign-in or
// a sign-out in another process. Without a Store it does nothing. A Session that
// needs a new token reads the Store by itself.
func (s *Session) Reload(ctx context.Context) error {
	if s.Store == nil {
		return nil
	}
	return s.alone(ctx, func(r *renewal) error {
		_, err := r.adopt(r.load())
		return err
	})
}

// alone runs f when no renewal is under way, and none begins meanwhile.
func (s *Session) alone(ctx context.Context, f func(*renewal) error) error {
	if marks.Of(ctx).Renewal(s) {
		return errReentry
	}
	for {
		err := errAgain // of the flight, if it is this one
		done := s.flight.DoChan("", func() (any, error) {
			r := &renewal{Session: s}
			r.detached(ctx, func() {
				if err = f(r); err != nil && r.ctx.Err() == context.Canceled {
					err = errAgain // a sign-in or sign-out has ended this, not ctx
				}
			})
			return nil, errAgain // to those who have joined it for a token
		})
		select {
		case <-done:
			if err != errAgain {
				return err
			}
		case <-ctx.Done():
			return waited(ctx, "a renewal")
		}
	}
}

// Current returns the token that the Session holds, and whether it is good: it has not
// expired. It waits for nothing. The token is nil if there is none; it must not be
// modified.
func (s *Session) Current() (token *oauth2.Token, good bool) {
	st := s.load()
	return st.token, st.token != nil && time.Now().UnixNano() < st.usable
}

// Err returns why the Session has ended: an error that wraps [ErrReauthRequired] after
// the authorization server has refused to renew the token for good, and [ErrNoToken]
// after a sign-out. Otherwise it returns nil, also if nobody has signed in yet.
func (s *Session) Err() error {
	switch st := s.load(); {
	case st.dead:
		return st.err
	case st.signedOut():
		return ErrNoToken
	}
	return nil
}

// Generation returns the number by which Events call the token's generation,
// or 0 if the token is neither the current one nor the one before.
func (s *Session) Generation(token *oauth2.Token) uint64 {
	st := s.load()
	switch {
	case token == nil:
	case token == st.token:
		return st.generation
	case weak.Make(token) == st.previous.token:
		return st.previous.generation
	}
	return 0
}

// String says which generation s is at.
func (s *Session) String() string {
	return fmt.Sprintf("tokensource.Session(generation %d)", s.load().generation)
}

func (s *Session) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return defaultTimeout
}

func (s *Session) skew() time.Duration {
	if s.Skew == 0 {
		return defaultSkew
	}
	return max(s.Skew, 0)
}

// acquire waits for the right to write. Where there is no need to wait, it does
// not mind a context that has ended: a sign-out is one all the same.
func (s *Session) acquire(ctx context.Context) error {
	s.once.Do(func() { s.writing = make(chan struct{}, 1) })
	select {
	case s.writing <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return waited(ctx, "a store")
	}
}

func (s *Session) release() { <-s.writing }

// lock takes the Store's lock, if it has one.
func (s *Session) lock(ctx context.Context) (unlock func(), err error) {
	return s.lockReading(ctx, func() error { _, _ = s.readAlone(ctx); return nil })
}

// lockReading is lock, with a function that reads the Store when it has changed. A Store
// may say that it has until it is read. An error of the function ends the wait.
func (s *Session) lockReading(ctx context.Context, read func() error) (unlock func(), err error) {
	for {
		if unlock, err = s.tryLock(ctx); !errors.Is(err, ErrChanged) {
			return unlock, err
		}
		if err := read(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, waited(ctx, "a store")
		}
	}
}

// tryLock is lock, but for ErrChanged.
func (s *Session) tryLock(ctx context.Context) (unlock func(), err error) {
	// invariant: who spends a refresh token holds the lock
	locker, ok := s.Store.(Locker)
	if !ok {
		return func() {}, nil
	}
	var release func()
	err = rescue.Do("tokensource: Store.Lock", func() (err error) {
		release, err = locker.Lock(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tokensource: locking the store: %w", err)
	}
	return func() { _ = rescue.Do("unlock", func() error { release(); return nil }) }, nil
}

// read returns what the Store has.
func (s *Session) read(ctx context.Context) (record *Record, err error) {
	err = rescue.Do("tokensource: Store.Load", func() error {
		text, err := s.Store.Load(ctx)
		if err == nil {
			record, err = ParseRecord(text)
		} else if errors.Is(err, ErrNoToken) {
			record, err = &Record{}, nil
		}
		return err
	})
	return record, err
}

// readAlone is read, while nobody else in this process uses the Store.
func (s *Session) readAlone(ctx context.Context) (*Record, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	return s.read(ctx)
}

// save brings the Store to hold record.
func (s *Session) save(ctx context.Context, record *Record) error {
	if record.Change == ChangeSignOut {
		ctx = marks.WithSignOut(ctx)
	}
	err := rescue.Do("Store.Save", func() error {
		text, err := record.bytes()
		if err != nil {
			return err
		}
		return s.Store.Save(ctx, text)
	})
	if err != nil {
		return fmt.Errorf("tokensource: saving: %w", err)
	}
	return nil
}

// saveNewest brings the Store to hold record, unless it has a newer one, or since st
// what another program wrote. It returns that.
func (s *Session) saveNewest(ctx context.Context, st *state, record *Record) (newer *Record, err error) {
	if s.Store == nil {
		return nil, nil
	}
	// invariant: each save follows a load
	stored, err := s.read(ctx)
	switch {
	// invariant: no save replaces a newer record
	case err == nil && st.find(stored) == news && (stored.foreign() || stored.compare(record) > 0):
		return stored, nil
	case err == nil, errors.Is(err, ErrUnreadable) && !errors.Is(err, errWrongKey):
		return nil, s.save(ctx, record)
	}
	return nil, err
}

func (s *Session) emit(ctx context.Context, e Event) {
	if s.OnEvent != nil {
		_ = rescue.Do("OnEvent", func() error { s.OnEvent(ctx, e); return nil })
	}
}

func lifeOf(token *oauth2.Token, now time.Time) time.Duration {
	if token == nil || token.Expiry.IsZero() {
		return 0
	}
	return token.Expiry.Round(0).Sub(now.Round(0))
}

// wait joins the renewal under way, or starts one to replace seen, and returns
// its outcome, or when ctx ends.
func (s *Session) wait(ctx context.Context, seen *oauth2.Token, forced bool) (*oauth2.Token, error) {
	if marks.Of(ctx).Renewal(s) {
		return nil, errReentry
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case r := <-s.start(ctx, seen, forced):
		token, _ := r.Val.(*oauth2.Token)
		// invariant: a sign-out during OnEvent counts
		if r.Err == nil && token != s.load().token {
			return nil, errAgain // Set or Clear has come since, as during OnEvent
		}
		return token, r.Err
	// invariant: a caller leaves on time
	case <-ctx.Done():
		return nil, waited(ctx, "a renewal")
	}
}

func (s *Session) start(ctx context.Context, seen *oauth2.Token, forced bool) <-chan singleflight.Result {
	// invariant: all callers share one renewal
	return s.flight.DoChan("", func() (any, error) { return s.renew(ctx, seen, forced) })
}
