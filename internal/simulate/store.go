package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/authtrip/authtrip/tokensource"
)

// A store is the shared store as one process reaches it.
type store struct {
	*process
	moods *rand.Rand // used by one operation at a time
}

// A medium holds what a Sealed store has made of a record.
type medium struct{ text []byte }

// Load implements [tokensource.Store].
func (m *medium) Load(context.Context) ([]byte, error) { return m.text, nil }

// Save implements [tokensource.Store].
func (m *medium) Save(_ context.Context, text []byte) error {
	m.text = text
	return nil
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
	if faulty {
		s.disturbed = time.Now()
	}
	if faulty && chance(s.moods, .3) {
		s.count(StoreSlow)
		d = span(s.moods, time.Second, 40*time.Second)
		faulty = false
	}
	half := faulty && chance(s.moods, .3)
	if fails == LoadFails && s.doomed == SignedOutRevoking && chance(s.moods, .5) {
		s.doom(d/2, SignedOutRevoking) // before the exchange, which it is to prevent
	}
	if fails == SaveFails {
		s.doom(d/2, KilledBeforeSave)
	}
	s.mu.Unlock()
	err = s.pause(ctx, d)
	s.mu.Lock()
	s.storing = false
	if d >= time.Second {
		s.disturbed = time.Now() // a lease may have run out meanwhile
	}
	if s.unlocked || s.failures > 0 && s.setting > 0 { // the failure is told after this
		s.trouble(0)
	}
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
func (s store) Load(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	s.loading = time.Now()
	s.mu.Unlock()
	_, err := s.operate(ctx, LoadFails)
	defer s.mu.Unlock()
	c := s.content
	if err == nil && s.sealed && c.form != empty {
		// What the model puts there is sealed as well, or cannot be unsealed.
		if _, err = s.sealer.Load(ctx); err != nil {
			s.count(UnknownKey)
			s.disturbed = time.Now()
			c = &content{form: garbage}
		}
	}
	s.loaded, s.last = true, c
	if err != nil && !errors.Is(err, tokensource.ErrUnreadable) {
		s.last = nil
	}
	s.note("%v loads %v: %v", s.process, c, err)
	if c.form == garbage { // no lease can be kept in that
		s.disturbed = time.Now()
	}
	if err != nil || c.form == garbage || c.form == later {
		s.trouble(0)
		s.unread = time.Now()
		return c.text, err
	}
	s.before, s.fresh = s.seen, c.form == foreign && !s.had[c.access]
	s.sees(c)
	return c.text, nil
}

// sees notes that p knows of c. w.mu is held.
func (p *process) sees(c *content) {
	if c.access != nil && !p.loading.Before(p.turned) { // otherwise it comes to nothing
		p.met[c.access.family], p.had[c.access] = true, true
	}
	switch c.form {
	case tombstone:
		p.out = true
	case foreign:
		if p.setting > 0 && !p.loading.Before(p.turned) && c.access.family.setBy != p { // the record of Set comes after it
			c.access.family.gone[p] = true
		}
	}
	if c.ranked() && (p.seen == nil || p.seen.compare(c.rank) < 0) {
		r := c.rank
		p.seen = &r
	}
}

// Save implements [tokensource.Store].
func (s store) Save(ctx context.Context, text []byte) error {
	s.mu.Lock()
	c := s.parse(text)
	c.by = s.process
	news := c.lease == "" && c.ranked() && (s.last == nil || s.last.rank != c.rank) // not a lease
	if end, ok := ctx.Deadline(); ok && news && s.setting == 0 && !s.killed && time.Until(end)+time.Since(s.loading) < s.bound() {
		s.violate("%v has %v left to save", s.process, time.Until(end))
	}
	if !s.killed {
		s.checkSave(c)
	}
	s.attempt(c)
	s.loaded = false
	s.mu.Unlock()
	done, err := s.operate(ctx, SaveFails)
	defer s.mu.Unlock()
	s.note("%v saves %v: %v", s.process, c, err)
	if !done {
		return err
	}
	if err != nil {
		s.count(SaveReportsFailure)
	}
	if c.form == tombstone {
		s.departed = time.Now()
		if s.content.access != nil && s.last == s.content {
			s.overwrote = s.content
		}
	}
	s.replace(s.process, c)
	if err == nil {
		s.sees(c)
	}
	return err
}

// attempt notes that p is about to save c. w.mu is held.
func (p *process) attempt(c *content) {
	switch {
	case c.form == tombstone:
		if c.rank.signed.After(p.turn) && p.out {
			p.turn = c.rank.signed
		}
	case c.form == token && c.access != nil:
		a, f := c.access, c.access.family
		a.tried = true
		a.ranks = append(a.ranks, c.rank)
		if f.setBy == p {
			p.turn = c.rank.signed
		}
		f.regain(c.rank)
	}
}

// regain notes that f has a rank that is above some sign-ins which came later.
func (f *family) regain(r rank) {
	for p := range f.gone {
		if !r.signed.Before(p.turn) { // equal ones are possible, where both have seen a clock that is ahead
			delete(f.gone, p)
		}
	}
}

// replace puts c into the store, by whom does not matter. w.mu is held.
func (w *world) replace(by *process, c *content) {
	c.by, c.since = by, time.Now()
	w.history = append(w.history, w.content)
	if w.content.lease != "" && c.lease == "" {
		w.disturbed = time.Now() // what one process could not save replaces the lease of another
	}
	w.content = c
	if a := c.access; a != nil {
		a.saved = true
		if by != nil && a.family.setBy == by {
			a.family.kept = true
		}
	}
	if c.refresh != nil {
		c.refresh.saved = true
	}
	if w.sealed && c.form != garbage {
		if by != nil {
			_ = by.sealer.Save(context.Background(), c.text)
		} else {
			_ = tokensource.Sealed(&w.medium, "simulate", sealKey(0), sealKey(1)).Save(context.Background(), c.text)
		}
	} else {
		w.medium.text = c.text
	}
	close(w.saved)
	w.saved = make(chan struct{})
}

func sealKey(n byte) []byte {
	key := make([]byte, 32)
	key[0] = n
	return key
}

// sealWith has p use keys from now on. w.mu is held.
func (p *process) sealWith(keys ...byte) {
	var all [][]byte
	for _, k := range keys {
		all = append(all, sealKey(k))
	}
	p.sealer = tokensource.Sealed(&p.medium, "simulate", all...)
}

// A lockable store is a [tokensource.Locker] too.
type lockable struct{ store }

// Lock implements [tokensource.Locker].
func (l lockable) Lock(ctx context.Context) (unlock func(), err error) {
	l.mu.Lock()
	// Calls may overlap, so the moods are drawn before anything else happens.
	d := span(l.moods, 10*time.Microsecond, 5*time.Millisecond)
	late := span(l.moods, 10*time.Microsecond, 5*time.Millisecond)
	faulty := !l.calm && chance(l.moods, l.storeFaults/2)
	saved := l.saved
	if !l.tellsChange {
		saved = nil
	}
	if faulty {
		l.disturbed = time.Now()
	}
	l.mu.Unlock()
	err = l.pause(ctx, d)
	if err == nil && faulty {
		err = errStore
	}
	if err == nil {
		err = l.queue(ctx, saved, late)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.killed { // as it got it
		<-l.lock
		err = errDead
	}
	l.note("%v locks: %v", l.process, err)
	if errors.Is(err, tokensource.ErrChanged) {
		l.count(LockChanged)
		return nil, err
	}
	if err != nil {
		if err == errStore {
			l.count(LockFails)
		}
		l.trouble(0)
		l.unlocked = true
		return nil, err
	}
	l.unlocked = false
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

// queue waits for the lock, or until something is saved.
func (l lockable) queue(ctx context.Context, saved <-chan struct{}, late time.Duration) error {
	select {
	case l.lock <- struct{}{}:
		return nil
	default:
	}
	l.mu.Lock()
	l.count(LockContended)
	l.mu.Unlock()
	select {
	case l.lock <- struct{}{}:
		return nil
	case <-saved:
		if err := l.pause(ctx, late); err != nil { // at an instant of its own
			return err
		}
		return fmt.Errorf("simulate: lock: %w", tokensource.ErrChanged)
	case <-ctx.Done():
		return ctx.Err()
	case <-l.dead:
		return errDead
	}
}
