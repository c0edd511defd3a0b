package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/authtrip/authtrip/tokensource"
)

const (
	defaultLockTTL = 5 * time.Second
	shortestTTL    = 10 * time.Millisecond

	// A process that waits for the lock looks at the ledger after firstLook, then at
	// intervals that grow by half, up to slowestLook. A look is one command. The first
	// looks cost less than a subscription, which needs a connection of its own.
	firstLook    = 25 * time.Millisecond
	slowestLook  = time.Second
	looksAtFirst = 5

	// crowd is how long the processes that hear of a free lock wait at most before they look.
	// It doubles for each process that comes too late, up to slowestLook.
	crowd = 10 * time.Millisecond

	// releaseTimeout bounds how long a process that has the new token waits for the
	// others to hear of it.
	releaseTimeout = time.Second
)

// Lock implements [tokensource.Locker], for all processes that use the same Redis
// and Key.
//
// The error wraps [tokensource.ErrChanged] if another process saves a record meanwhile.
// Of a crowd that waits for the lock, nobody takes it then in vain.
//
// A record that is saved under a lock that was lost does not replace a record that
// was saved under a later one. A lock is lost if Redis cannot be reached for LockTTL, or if
// the process is stopped for that long.
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
	number, err := s.wait(ctx, owner)
	if err != nil {
		<-s.locked
		return nil, err
	}
	s.setNumber(number)
	keeping, stop := context.WithCancel(context.Background())
	go s.keep(keeping, owner, number)
	return func() {
		stop()
		s.setNumber("")
		s.release(owner)
		<-s.locked
	}, nil
}

func (s *Store) setNumber(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = number
}

func (s *Store) ttl() time.Duration {
	if s.LockTTL > 0 {
		return max(s.LockTTL, shortestTTL)
	}
	return defaultLockTTL
}

// A seen is what a process that waits for the lock has found.
type seen struct {
	ledger
	number string        // of the lock, if this process has it now
	left   time.Duration // if positive: how long the lock is another's at most
}

// wait takes the lock when it is free, and returns its number. It returns ErrChanged if
// another process saves first.
func (s *Store) wait(ctx context.Context, owner string) (number string, err error) {
	first, err := s.look(ctx)
	if err != nil {
		return "", err
	}
	w := waiter{change: first.change, pause: firstLook, spread: crowd}
	defer w.close()
	now, next := first, look
	for tries := 0; ; tries++ {
		// The ledger stays busy after a process was killed. Its last number is then old, unless
		// clocks differ.
		if next == take || !now.busy || time.Since(now.last) > s.ttl() {
			if now, err = s.take(ctx, owner); now.number != "" || err != nil {
				return now.number, err
			}
		}
		if later(now.change, w.change) {
			return "", s.failed("locking", tokensource.ErrChanged)
		}
		if tries == looksAtFirst {
			w.listen(ctx, s)
		}
		switch next = w.sleep(ctx, now.left); next {
		case look:
			now, err = s.look(ctx)
		case leave:
			err = s.failed("locking", tokensource.ErrChanged)
		case end:
			err = s.failed("locking", ctx.Err())
		}
		if err != nil {
			return "", err
		}
	}
}

// look reads the ledger.
func (s *Store) look(ctx context.Context) (seen, error) {
	return do(ctx, s, "locking", func(ctx context.Context) (seen, error) {
		text, err := s.get(ctx, s.ledgerName())
		return seen{ledger: parseLedger(string(text))}, err
	})
}

// take takes the lock if it is free. After an error the lock is released: it may have been
// taken, and the answer lost.
func (s *Store) take(ctx context.Context, owner string) (seen, error) {
	now, err := do(ctx, s, "locking", func(ctx context.Context) (now seen, err error) {
		keys := []string{s.ledgerName(), s.lockName(), s.name()}
		fields, err := takeScript.Run(ctx, s.Client, keys, owner, s.ttl().Milliseconds(), day).Slice()
		switch {
		case ctx.Err() != nil: // nobody waits for it any more
			s.release(owner)
			return now, ctx.Err()
		case err != nil:
			return now, err
		case len(fields) != 3:
			return now, errors.New("Redis has not answered as a script does")
		}
		now.number, _ = fields[0].(string)
		left, _ := fields[1].(int64)
		now.left = time.Duration(left) * time.Millisecond
		now.change, _ = fields[2].(string)
		now.busy = true
		return now, nil
	})
	if err != nil {
		go s.release(owner)
	}
	return now, err
}

// A step is what a process that waits for the lock does next.
type step int

const (
	look  step = iota // at the ledger
	take              // the lock, even if the ledger says that it is busy
	leave             // the record has changed
	end               // the context has
)

// A waiter is one call of Lock that waits.
type waiter struct {
	change string        // the number of the last save when the call began
	pause  time.Duration // until the next step
	spread time.Duration // of the looks of those who hear that the lock is free
	heard  chan string   // messages; nil: not listening
	stop   context.CancelFunc
}

func (w *waiter) close() {
	if w.stop != nil {
		w.stop()
	}
}

// listen subscribes to the channel. A message that was sent before the subscription stands
// is made up for by a look. Where subscribing is not allowed, nothing is heard.
func (w *waiter) listen(ctx context.Context, s *Store) {
	ctx, w.stop = context.WithCancel(ctx)
	heard := make(chan string, 1)
	w.heard = heard
	go s.listen(ctx, func(message string) {
		select {
		case heard <- message:
		default: // the message that is not received yet leads to a look
		}
	})
}

// sleep returns when it is time for the next step. left is for how long the lock is
// another's, if that is known.
func (w *waiter) sleep(ctx context.Context, left time.Duration) step {
	next, pause := look, w.pause
	if w.heard != nil {
		next = take // once in a while: who had the lock may be gone without a message
	}
	if left > 0 {
		pause = min(pause, left)
	}
	w.pause = min(w.pause+w.pause/2, slowestLook)
	timer := time.NewTimer(pause + mathrand.N(pause/4+time.Millisecond)) // not all at one moment
	defer timer.Stop()
	for {
		select {
		case message := <-w.heard:
			saved, ok := strings.CutPrefix(message, "saved ")
			switch {
			case ok && later(saved, w.change):
				return leave
			case message != "free":
				return look
			}
			next = look
			timer.Reset(mathrand.N(w.spread))
			w.spread = min(2*w.spread, slowestLook)
		case <-timer.C:
			return next
		case <-ctx.Done():
			return end
		}
	}
}

// keep has the lock last until ctx ends or another process has it.
func (s *Store) keep(ctx context.Context, owner, number string) {
	every := s.ttl() / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, every)
		kept, err := do(bounded, s, "keeping", func(ctx context.Context) (int, error) {
			keys, args := []string{s.ledgerName(), s.lockName()}, []any{owner, s.ttl().Milliseconds(), number}
			kept, err := keepScript.Run(ctx, s.Client, keys, args...).Int()
			if err != nil || kept != lost || ctx.Err() != nil {
				return kept, err
			}
			// The lock is not released: that ends ctx first.
			return keepScript.Run(ctx, s.Client, append(keys, s.name()), append(args, day)...).Int()
		})
		cancel()
		if err == nil && kept == 0 {
			return // the number decides on what is saved from now on
		}
	}
}

// lost is keepScript's answer where Redis has lost the ledger and the lock.
const lost = 2

// release gives the lock up. If Redis does not get to know, the lock ends after LockTTL.
func (s *Store) release(owner string) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, _ = do(ctx, s, "unlocking", func(ctx context.Context) (any, error) {
		return nil, releaseScript.Run(ctx, s.Client, []string{s.ledgerName(), s.lockName()}, owner, s.name()).Err()
	})
}
