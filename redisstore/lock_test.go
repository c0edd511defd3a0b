package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/redis/go-redis/v9"
)

const lockKey = hash + ":lock"

func lock(t *testing.T, s *redisstore.Store) (unlock func()) {
	t.Helper()
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

// until polls done, for as long as it takes within reason.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 seconds: %s", what)
		}
	}
}

// Of many, in one process and in several, one has the lock.
func TestLockExcludes(t *testing.T) {
	s := newStore(t)
	stores := []*redisstore.Store{s, another(s), another(s), another(s)}
	var holders, turns atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			unlock, err := stores[i%len(stores)].Lock(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d have the lock", n)
			}
			turns.Add(1)
			holders.Add(-1)
			unlock()
		})
	}
	all.Wait()
	if n := turns.Load(); n != 40 {
		t.Errorf("%d had it, want 40", n)
	}
	if n := s.Client.Exists(t.Context(), lockKey).Val(); n != 0 {
		t.Error("the lock is still there")
	}
}

// A wait for the lock ends with the context, and takes nothing.
func TestLockContext(t *testing.T) {
	s := newStore(t)
	s.LockTTL = time.Minute
	unlock := lock(t, s)
	for name, s := range map[string]*redisstore.Store{"another process": another(s), "the same": s} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := s.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	unlock()
	lock(t, another(s))()
	lock(t, s)()
}

// Who was killed has the lock until its time is over, and no longer.
func TestLockOfTheDead(t *testing.T) {
	s := newStore(t)
	if err := s.Client.Set(t.Context(), lockKey, "dead", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	lock(t, s)()
}

// Who lives keeps it.
func TestLockIsKept(t *testing.T) {
	s := newStore(t)
	s.LockTTL = 300 * time.Millisecond
	unlock := lock(t, s)
	owner := s.Client.Get(t.Context(), lockKey).Val()
	kept, before := 0, s.LockTTL
	until(t, "the lock's time has been set anew five times", func() bool {
		left := s.Client.PTTL(t.Context(), lockKey).Val()
		if left > before {
			kept++
		}
		before = left
		return kept == 5
	})
	if now := s.Client.Get(t.Context(), lockKey).Val(); now != owner || owner == "" {
		t.Errorf("it was %q's, now it is %q's", owner, now)
	}
	unlock()
	if n := s.Client.Exists(t.Context(), lockKey).Val(); n != 0 {
		t.Error("the lock is still there")
	}
}

// A lock that Redis has lost is taken again, unless another was first.
func TestLockIsTakenAgain(t *testing.T) {
	s := newStore(t)
	s.LockTTL = 300 * time.Millisecond
	unlock := lock(t, s)
	owner := s.Client.Get(t.Context(), lockKey).Val()
	if err := s.Client.Del(t.Context(), lockKey, hash).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the lock is there again", func() bool { return s.Client.Get(t.Context(), lockKey).Val() == owner })
	unlock()
	if n := s.Client.Exists(t.Context(), lockKey).Val(); n != 0 {
		t.Error("the lock is still there")
	}
	// It does not come back from whoever has had it before another.
	unlock = lock(t, s)
	lapse(t, s)
	lock(t, another(s))()
	time.Sleep(2 * s.LockTTL) // nothing happens
	if n := s.Client.Exists(t.Context(), lockKey).Val(); n != 0 {
		t.Error("a lock has come back")
	}
	unlock()
}

// A lock without an end, as somebody has set it by hand, is waited for.
func TestLockWithoutEnd(t *testing.T) {
	s := newStore(t)
	if err := s.Client.Set(t.Context(), lockKey, "by hand", 0).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if owner := s.Client.Get(t.Context(), lockKey).Val(); owner != "by hand" {
		t.Errorf("it is %q's", owner)
	}
}

// lapse ends the time of whoever has the lock.
func lapse(t *testing.T, s *redisstore.Store) {
	t.Helper()
	if err := s.Client.Del(t.Context(), lockKey).Err(); err != nil {
		t.Fatal(err)
	}
}

// Who has lost the lock without noticing cannot overwrite what came after.
func TestFencing(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	s.LockTTL = time.Minute
	stalled, other := another(s), another(s)
	unlockStalled := lock(t, stalled)
	lapse(t, s)
	unlockOther := lock(t, other)
	// As long as nothing newer is there, what it has is better than nothing.
	if err := stalled.Save(ctx, token(1)); err != nil {
		t.Errorf("before the other has saved: %v", err)
	}
	if err := other.Save(ctx, token(2)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Save": stalled.Save(ctx, token(3)), "Clear": stalled.Clear(ctx)} {
		if !errors.Is(err, redisstore.ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", what, err)
		}
	}
	expect(t, s, token(2))
	owner := s.Client.Get(ctx, lockKey).Val()
	unlockStalled()
	if now := s.Client.Get(ctx, lockKey).Val(); now != owner {
		t.Error("it has unlocked what is another's")
	}
	// Nor what was cleared.
	unlockOther()
	unlockStalled = lock(t, stalled)
	lapse(t, s)
	unlockOther = lock(t, other)
	if err := other.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	if err := stalled.Save(ctx, token(4)); !errors.Is(err, redisstore.ErrFenced) {
		t.Errorf("after Clear: %v, want ErrFenced", err)
	}
	expect(t, s, nil)
	unlockOther()
	unlockStalled()
	// By a lock of its own it can.
	unlock := lock(t, stalled)
	defer unlock()
	if err := stalled.Save(ctx, token(5)); err != nil {
		t.Error(err)
	}
	expect(t, s, token(5))
}

// Without a lock, as after a sign-in by another tool, it counts as the newest.
func TestSaveWithoutLock(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	unlock := lock(t, s)
	defer unlock()
	if err := another(s).Save(ctx, token(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, token(2)); !errors.Is(err, redisstore.ErrFenced) {
		t.Errorf("under a lock from before: %v, want ErrFenced", err)
	}
	expect(t, s, token(1))
}

// Numbers rise, even if Redis has lost what they were.
func TestNumbersRise(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	number := func(field string) int64 {
		n, err := strconv.ParseInt(s.Client.HGet(ctx, hash, field).Val(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var last int64
	for i := range 100 {
		if i%10 == 9 {
			if err := s.Client.Del(ctx, hash).Err(); err != nil {
				t.Fatal(err)
			}
		}
		unlock := lock(t, s)
		n := number("locked")
		if n <= last {
			t.Fatalf("%d follows %d", n, last)
		}
		if err := s.Save(ctx, token(i)); err != nil {
			t.Fatal(err)
		}
		if got := number("fence"); got != n {
			t.Errorf("saved under %d, want %d", got, n)
		}
		last = n
		unlock()
	}
	// And so do those of a clock that is set back.
	if err := s.Client.HSet(ctx, hash, "locked", fmt.Sprint(last+1e12)).Err(); err != nil {
		t.Fatal(err)
	}
	unlock := lock(t, s)
	defer unlock()
	if n := number("locked"); n != last+1e12+1 {
		t.Errorf("%d follows %d", n, int64(last+1e12))
	}
}

// loses has the answer to one script in n lost.
type loses struct{ n, calls atomic.Int32 }

func (*loses) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *loses) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if n := l.n.Load(); err == nil && cmd.Name() == "evalsha" && n > 0 && l.calls.Add(1)%n == 0 {
			cmd.SetErr(errors.New("answer lost"))
			return cmd.Err()
		}
		return err
	}
}

func (*loses) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A lock that was taken without anybody knowing is given up.
func TestLostAnswer(t *testing.T) {
	s := newStore(t)
	s.LockTTL = time.Hour
	lock(t, s)() // so that Redis knows the scripts
	hook := new(loses)
	s.Client.AddHook(hook)
	hook.n.Store(1)
	if _, err := s.Lock(t.Context()); err == nil {
		t.Error("no error, although the answer was lost")
	}
	hook.n.Store(0)
	lock(t, s)()
}
