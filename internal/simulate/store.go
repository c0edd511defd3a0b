package simulate

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/oauth2"
)

// A holding is what the store has.
type holding struct {
	token  *oauth2.Token
	access *access
	serial int // of access, then
	by     *process
	since  time.Time
}

// A store is the shared store as one process reaches it.
type store struct {
	*process
	moods *rand.Rand // used by one operation at a time
}

// operate begins an operation: it takes its time, and may fail. It returns with
// w.mu held. Some failures are reported of what was done all the same.
func (s store) operate(ctx context.Context, fails Kind) (done bool, err error) {
	s.mu.Lock()
	if s.storing && !s.killed {
		s.violate("%v uses the store twice at once", s.process)
	}
	s.storing = true
	d := span(s.moods, 10*time.Microsecond, 5*time.Millisecond)
	faulty := !s.calm && chance(s.moods, s.storeFaults)
	if faulty && chance(s.moods, .3) {
		s.count(StoreSlow)
		d = span(s.moods, time.Second, 40*time.Second)
		faulty = false
	}
	half := faulty && chance(s.moods, .3)
	if fails == SaveFails {
		s.doom(d/2, KilledBeforeSave)
	}
	s.mu.Unlock()
	err = s.pause(ctx, d)
	s.mu.Lock()
	s.storing = false
	switch {
	case s.killed:
		return false, errDead
	case err != nil:
		return false, err
	case faulty:
		s.count(fails)
		return half, errStore
	}
	return true, nil
}

// Load implements [tokensource.Store].
func (s store) Load(ctx context.Context) (*oauth2.Token, error) {
	_, err := s.operate(ctx, LoadFails)
	defer s.mu.Unlock()
	s.note("%v loads: %v", s.process, err)
	if err != nil {
		s.trouble(0)
		s.unread, s.blind = time.Now(), s.setting > 0
		return nil, err
	}
	if s.held == nil {
		return nil, nil
	}
	token := *s.held.token
	return &token, nil
}

// Save implements [tokensource.Store].
func (s store) Save(ctx context.Context, token *oauth2.Token) error {
	if end, ok := ctx.Deadline(); ok && s.alone(time.Until(end)) {
		s.mu.Lock()
		s.violate("%v has %v left to save", s.process, time.Until(end))
		s.mu.Unlock()
	}
	done, err := s.operate(ctx, SaveFails)
	defer s.mu.Unlock()
	s.note("%v saves %s: %v", s.process, token.AccessToken, err)
	a := s.access[token.AccessToken]
	if a == nil {
		s.violate("%v saves a token that was never issued", s.process)
		return errStore
	}
	if err != nil {
		a.missed = true
		if !done {
			return err
		}
		s.count(SaveReportsFailure)
	}
	if h := s.held; h != nil && h.serial > a.serial && (a.by != nil || a.settled) {
		if a.family.unknown && h.by != s.process {
			s.count(Overwritten)
		} else {
			s.violate("%v saves token %d over %d", s.process, a.serial, h.serial)
		}
	}
	if a.by == s.process && a.sent.Before(s.changed) && s.setting == 0 {
		s.violate("%v saves token %d, whose exchange began before the last sign-in or sign-out", s.process, a.serial)
	}
	if a.missed {
		// It could not be saved when it was new. Who writes last is right.
		s.serial++
		a.serial = s.serial
		for _, q := range s.procs {
			delete(q.owed, a)
		}
	}
	kept := *token
	s.held = &holding{&kept, a, a.serial, s.process, time.Now()}
	a.saved = true
	if r := s.refresh[token.RefreshToken]; r != nil {
		r.saved = true
	}
	return err
}

// alone reports whether no sign-in explains why there is so little time left.
func (s store) alone(left time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return left < s.bound() && s.setting == 0 && !s.killed
}

// Clear implements [tokensource.Store].
func (s store) Clear(ctx context.Context) error {
	done, err := s.operate(ctx, ClearFails)
	defer s.mu.Unlock()
	s.note("%v clears: %v", s.process, err)
	if done {
		s.held = nil
	}
	return err
}

// A lockable store is a [tokensource.Locker] too.
type lockable struct{ store }

// Lock implements [tokensource.Locker].
func (l lockable) Lock(ctx context.Context) (unlock func(), err error) {
	l.mu.Lock()
	// Calls may overlap, so the moods are drawn before anything else happens.
	d := span(l.moods, 10*time.Microsecond, 5*time.Millisecond)
	faulty := !l.calm && chance(l.moods, l.storeFaults/2)
	l.mu.Unlock()
	err = l.pause(ctx, d)
	if err == nil && faulty {
		err = errStore
	}
	if err == nil {
		select {
		case l.lock <- struct{}{}:
		default:
			l.mu.Lock()
			l.count(LockContended)
			l.mu.Unlock()
			select {
			case l.lock <- struct{}{}:
			case <-ctx.Done():
				err = ctx.Err()
			case <-l.dead:
				err = errDead
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.killed { // as it got it
		<-l.lock
		err = errDead
	}
	l.note("%v locks: %v", l.process, err)
	if err != nil {
		if err == errStore {
			l.count(LockFails)
		}
		l.trouble(0)
		l.blind = l.setting > 0
		return nil, err
	}
	l.owner = l.process
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.owner != l.process {
			if !l.killed {
				l.violate("%v unlocks what it has not locked", l.process)
			}
			return
		}
		l.owner = nil
		<-l.lock
	}, nil
}
