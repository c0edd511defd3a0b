package tokensource

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/authtrip/authtrip/internal/marks"
	"golang.org/x/oauth2"
)

const (
	leaseTime   = 30 * time.Second // after which the lease of a process that has died is void
	leaseExtend = 10 * time.Second
	leaseLook   = time.Second // how often the other processes look

	// leaseOld is how long ago a lease must have run out to be void at first sight: clocks
	// differ.
	leaseOld = 2 * time.Minute
)

var (
	errNilObtain = errors.New("tokensource: Session.SignIn: obtain is nil")
	errInObtain  = errors.New("tokensource: Session.SignIn: obtain calls SignIn of the Session that it signs in")
)

// An obtaining is the key by which the context of an obtain has its sign-in: an obtain
// that waits for that would wait for itself.
type obtaining struct{ *Session }

// SignIn returns when the Session is signed in. If it is already, SignIn returns at once.
// Otherwise obtain signs in, for instance by opening a browser, and SignIn sets its
// token as [Session.Set] does.
//
//	err := session.SignIn(ctx, func(ctx context.Context, _ *oauth2.Token) (*oauth2.Token, error) {
//		return config.DeviceAccessToken(ctx, device)
//	})
//
// One of all callers obtains. The others wait for it, also in other processes if the
// Store is a [Locker]: the process that obtains leaves a lease in the Store, and keeps
// it for as long as obtain runs. If that process dies, another takes over within 30
// seconds. Writing the lease also shows that the Store works, before a person is asked
// for anything.
//
// The callers of one process share obtain's outcome. Its context ends when the last of
// them has left. Its second argument is a copy of the token that has ended, nil if
// there is none.
//
// A sign-out while obtain runs does not end the sign-in, which counts because it is later.
//
// A Session is signed in if it has a token that is good, or one that can be renewed. A
// token whose renewal was refused does not count, even while it is good.
func (s *Session) SignIn(ctx context.Context, obtain Grant) error {
	switch {
	case obtain == nil:
		return errNilObtain
	case marks.Of(ctx).Renewal(s):
		return errReentry
	}
	for {
		if err := ctx.Err(); err != nil {
			return waited(ctx, "a sign-in")
		}
		call, leader := s.join(ctx)
		switch {
		case leader:
			go s.lead(call, obtain)
		case ctx.Value(obtaining{s}) == call:
			s.quit(call)
			return errInObtain
		}
		select {
		case <-call.done:
			if call.err == errAgain {
				continue
			}
			return call.err
		case <-ctx.Done():
			s.quit(call)
			return waited(ctx, "a sign-in")
		}
	}
}

// A signIn is one sign-in of this process, shared by its callers.
type signIn struct {
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // written before done is closed
	callers int   // guarded by signIns.mu
}

// A claimant is a process that wants the lease.
type claimant struct {
	owner string
	other lease     // of another process, when last seen
	since time.Time // that it has not been extended, by the clock of this process
}

// free reports whether the claimant may have the lease in the place of l.
func (c *claimant) free(l *lease, now time.Time) bool {
	switch {
	case l == nil, l.owner == c.owner:
		return true
	case *l != c.other:
		c.other, c.since = *l, now
	}
	// A lease that nobody extends is void, whatever its time says.
	return now.Sub(c.since) >= leaseTime || now.Sub(l.until) >= leaseOld
}

// signIns is what a Session keeps of the sign-in under way.
type signIns struct {
	mu      sync.Mutex
	current *signIn
}

// join returns the sign-in under way, or a new one for the caller to lead.
func (s *Session) join(ctx context.Context) (call *signIn, leader bool) {
	s.signIns.mu.Lock()
	defer s.signIns.mu.Unlock()
	call = s.signIns.current
	if leader = call == nil; leader {
		call = &signIn{done: make(chan struct{})}
		call.ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
		s.signIns.current = call
	}
	call.callers++
	return call, leader
}

// quit leaves a sign-in. The last caller to leave ends it.
func (s *Session) quit(call *signIn) {
	s.signIns.mu.Lock()
	defer s.signIns.mu.Unlock()
	if call.callers--; call.callers == 0 {
		call.cancel()
		if s.signIns.current == call {
			s.signIns.current = nil // who comes now begins another
		}
	}
}

// lead runs a sign-in.
func (s *Session) lead(call *signIn, obtain Grant) {
	defer call.cancel()
	call.err = s.signIn(context.WithValue(call.ctx, obtaining{s}, call), obtain)
	s.signIns.mu.Lock()
	if s.signIns.current == call {
		s.signIns.current = nil
	}
	s.signIns.mu.Unlock()
	close(call.done)
}

func (s *Session) signIn(ctx context.Context, obtain Grant) error {
	if err := s.Reload(ctx); err != nil && !errors.Is(err, ErrUnreadable) {
		return err
	}
	if _, ok := s.Store.(Locker); !ok || s.signedIn() {
		return s.obtainAndSet(ctx, obtain)
	}
	c := &claimant{owner: rand.Text()}
	for {
		free, err := s.claim(ctx, c)
		switch {
		case err != nil:
			return err
		case free:
			return s.obtainUnderLease(ctx, c, obtain)
		case s.signedIn():
			return nil
		}
		select {
		case <-time.After(leaseLook):
		case <-ctx.Done():
			return waited(ctx, "a sign-in in another process")
		}
	}
}

// obtainUnderLease signs in, and keeps the lease meanwhile.
func (s *Session) obtainUnderLease(ctx context.Context, c *claimant, obtain Grant) error {
	under, stop := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keepLease(under, stop, c)
	}()
	var obtained bool
	err := s.obtainAndSet(under, func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
		token, err := obtain(ctx, current)
		obtained = err == nil
		return token, err
	})
	stop()
	<-kept
	switch {
	case !obtained && s.signedIn(): // in another process
		return nil
	case err == nil, s.signedIn(): // what could not be saved is saved later, without the lease
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = s.visit(end, func(_ *state, stored *Record) *Record {
		if l := stored.lease; l == nil || l.owner != c.owner {
			return nil
		}
		r := *stored
		r.lease = nil
		return &r
	})
	return err
}

// obtainAndSet signs in, unless the Session is signed in already. What obtain has
// brought is not lost because ctx ends.
func (s *Session) obtainAndSet(ctx context.Context, obtain Grant) error {
	if s.signedIn() {
		return nil
	}
	start, st := time.Now(), s.load()
	token, err := callGrant(ctx, "obtain", obtain, st.token)
	switch {
	case err != nil:
		return err
	// A sign-in that was given up undoes no sign-in or sign-out that came after it.
	case ctx.Err() != nil && s.load().epoch != st.epoch:
		return waited(ctx, "a sign-in")
	}
	return s.change(context.WithoutCancel(ctx), dress(token, nil, s.Extra, start), EventSet)
}

// signedIn reports whether there is a token that is good, or that can be renewed.
func (s *Session) signedIn() bool {
	st := s.load()
	return !st.dead && st.token != nil && (st.spends() || time.Now().UnixNano() < st.usable)
}

// claim takes or extends the lease for c. It is not free if another process has it,
// or if somebody is signed in.
func (s *Session) claim(ctx context.Context, c *claimant) (bool, error) {
	free := false // written by visit, which may outlast an error
	err := s.visit(ctx, func(st *state, stored *Record) *Record {
		now := time.Now()
		if st.pending {
			return nil // Set or Clear is about to save
		}
		// invariant: of several processes one signs in
		if s.signedIn() || !c.free(stored.lease, now) {
			return nil
		}
		free = true
		var r Record
		switch known := st.record; {
		// invariant: a lease brings no older record back
		case known.none(), !stored.none() && !stored.foreign() && stored.compare(known) > 0:
			r = *stored // also if its refresh token was refused, so that it is not adopted
		default:
			r = *known
		}
		// invariant: a lease lasts for as long as its owner signs in
		r.lease = &lease{c.owner, utc(now.Add(leaseTime))}
		return &r
	})
	switch {
	case errors.Is(err, ErrUnreadable):
		return true, nil // the token replaces it; a lease must not
	case err != nil:
		return false, err
	}
	return free, nil
}

// keepLease extends the lease until ctx ends, and stops the sign-in if somebody has
// signed in elsewhere.
func (s *Session) keepLease(ctx context.Context, stop context.CancelFunc, c *claimant) {
	for {
		select {
		case <-time.After(leaseExtend):
		case <-ctx.Done():
			return
		}
		if _, err := s.claim(ctx, c); err == nil && s.signedIn() {
			stop()
			return
		}
	}
}

// visit reads the Store under its lock, adopts what is newer there, and saves what edit
// returns, unless that is nil.
func (s *Session) visit(ctx context.Context, edit func(st *state, stored *Record) *Record) error {
	return s.alone(ctx, func(r *renewal) error {
		unlock, err := r.lock()
		if err != nil {
			return err
		}
		defer unlock()
		st, err := r.adopt(r.load())
		if st == nil || err != nil {
			return cmp.Or(err, errAgain)
		}
		if err := r.acquire(r.ctx); err != nil {
			return err
		}
		defer r.release()
		stored, err := r.read(r.ctx)
		switch {
		case err != nil:
			return err
		case r.load().epoch != st.epoch:
			return errAgain
		}
		if st.record != nil && st.record.foreign() { // it gets a rank by which others know it
			next := *st
			next.record = st.record.placed(time.Now())
			if _, ok := r.swap(st.epoch, func(*state) *state { return &next }); !ok {
				return errAgain
			}
			st = &next
		}
		if record := edit(st, stored); record != nil {
			return r.save(r.ctx, record)
		}
		return nil
	})
}
