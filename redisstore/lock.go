package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"
)

const (
	defaultLockTTL = 5 * time.Second
	shortestTTL    = 10 * time.Millisecond

	// poll is how often to look for a lock whose release may go unheard.
	poll = 250 * time.Millisecond

	// releaseTimeout bounds how long those who have the new token already wait
	// for others to hear of it.
	releaseTimeout = time.Second
)

// Lock implements [tokensource.Locker], for all processes that use the same Redis
// and Key. Those who wait for it hear at once when it is free. What is saved
// under a lock that was lost, since Redis could not be reached for LockTTL or
// the process was stopped, does not replace what was saved under a later one.
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	s.once.Do(func() { s.locked = make(chan struct{}, 1) })
	// One at a time here too, even if Redis has given up on the first: which number
	// is whose would not be certain.
	select {
	case s.locked <- struct{}{}:
	case <-ctx.Done():
		return nil, s.failed("locking", ctx.Err())
	}
	owner := rand.Text()
	fence, err := s.wait(ctx, owner)
	if err != nil {
		go s.release(owner) // it may have been taken, and the answer lost
		<-s.locked
		return nil, err
	}
	s.setFence(fence)
	done := make(chan struct{})
	go s.keep(owner, fence, done)
	return func() {
		close(done)
		s.setFence("")
		s.release(owner)
		<-s.locked
	}, nil
}

func (s *Store) setFence(fence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fence = fence
}

func (s *Store) ttl() time.Duration {
	if s.LockTTL > 0 {
		return max(s.LockTTL, shortestTTL)
	}
	return defaultLockTTL
}

// wait takes the lock as soon as it is free, and returns its number.
func (s *Store) wait(ctx context.Context, owner string) (fence string, err error) {
	fence, left, err := s.take(ctx, owner)
	if fence != "" || err != nil {
		return fence, err
	}
	// What comes by the subscription is that it stands, from when on nothing is
	// missed, and that the lock is free.
	heard := s.Client.Subscribe(ctx, s.name())
	defer heard.Close()
	free := heard.ChannelWithSubscriptions()
	for {
		pause := poll
		if left > 0 { // it may be one that somebody has set by hand, without an end
			pause = min(left, poll)
		}
		// Not all at one moment.
		timer := time.NewTimer(pause + mathrand.N(pause/4+time.Millisecond))
		select {
		case _, ok := <-free:
			if !ok {
				free = nil
			}
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if fence, left, err = s.take(ctx, owner); fence != "" || err != nil {
			return fence, err
		}
	}
}

// take takes the lock if it is free. Otherwise it returns how long it is another's
// at most.
func (s *Store) take(ctx context.Context, owner string) (fence string, left time.Duration, err error) {
	type answer struct {
		fence string
		left  time.Duration
	}
	a, err := do(ctx, s, "locking", func(ctx context.Context) (a answer, err error) {
		fields, err := takeScript.Run(ctx, s.Client, []string{s.name(), s.lockName()}, owner, s.ttl().Milliseconds()).Slice()
		switch {
		case err != nil:
			return a, err
		case ctx.Err() != nil: // nobody waits for it any more
			s.release(owner)
			return a, ctx.Err()
		case len(fields) != 2:
			return a, errors.New("it is not as a Store has left it")
		}
		a.fence, _ = fields[0].(string)
		ms, _ := fields[1].(int64)
		a.left = time.Duration(ms) * time.Millisecond
		return a, nil
	})
	return a.fence, a.left, err
}

// keep has the lock last until done is closed or another has it.
func (s *Store) keep(owner, fence string, done <-chan struct{}) {
	every := s.ttl() / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), every)
		kept, err := do(ctx, s, "keeping", func(ctx context.Context) (int, error) {
			return keepScript.Run(ctx, s.Client, []string{s.name(), s.lockName()}, owner, s.ttl().Milliseconds(), fence).Int()
		})
		cancel()
		if err == nil && kept == 0 {
			return // what is saved now is a matter of its number
		}
	}
}

// release gives the lock up. If Redis does not get to know, its time ends by itself.
func (s *Store) release(owner string) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, _ = do(ctx, s, "unlocking", func(ctx context.Context) (any, error) {
		return nil, releaseScript.Run(ctx, s.Client, []string{s.name(), s.lockName()}, owner).Err()
	})
}
