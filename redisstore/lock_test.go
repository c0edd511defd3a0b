package redisstore_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

const lockKey = name + ":lock"

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
	for what, keys := range map[string][]string{"the lock": {lockKey}, "all": {lockKey, ledger}} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t)
			s.LockTTL = 300 * time.Millisecond
			unlock := lock(t, s)
			owner := s.Client.Get(t.Context(), lockKey).Val()
			if err := s.Client.Del(t.Context(), keys...).Err(); err != nil {
				t.Fatal(err)
			}
			until(t, "the lock is there again", func() bool { return s.Client.Get(t.Context(), lockKey).Val() == owner })
			if err := s.Save(t.Context(), record(1)); err != nil {
				t.Error(err)
			}
			unlock()
			if n := s.Client.Exists(t.Context(), lockKey).Val(); n != 0 {
				t.Error("the lock is still there")
			}
			lock(t, another(s))()
		})
	}
}

// hold is a hook that holds up the next script, as a slow connection does.
type hold struct {
	armed         atomic.Bool
	reached, goOn chan struct{}
	done          chan any // its answer
}

func (*hold) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*hold) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hold) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" || !h.armed.CompareAndSwap(true, false) {
			return next(ctx, cmd)
		}
		close(h.reached)
		<-h.goOn
		err := next(context.WithoutCancel(ctx), cmd)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			args := cmd.Args()
			t := redis.NewCmd(ctx, args...)
			err = next(context.WithoutCancel(ctx), t)
		}
		h.done <- cmd.(*redis.Cmd).Val()
		return err
	}
}

// A lock that was released does not come back by a command to keep it that arrives late.
func TestReleasedLockStaysFree(t *testing.T) {
	del := func(t *testing.T, s *redisstore.Store, keys ...string) {
		t.Helper()
		if err := s.Client.Del(t.Context(), keys...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name      string
		meanwhile func(t *testing.T, s *redisstore.Store, unlock func())
	}{
		{"released", func(_ *testing.T, _ *redisstore.Store, unlock func()) { unlock() }},
		{"released twice, as the answer was lost", func(t *testing.T, s *redisstore.Store, unlock func()) {
			owner := s.Client.Get(t.Context(), lockKey).Val()
			unlock()
			if err := s.Client.Set(t.Context(), lockKey, owner, 0).Err(); err != nil {
				t.Fatal(err)
			}
			del(t, s, lockKey)
		}},
		{"expired, then released", func(t *testing.T, s *redisstore.Store, unlock func()) {
			del(t, s, lockKey)
			unlock()
		}},
		{"released, then lost by Redis with all else", func(t *testing.T, s *redisstore.Store, unlock func()) {
			unlock()
			del(t, s, lockKey, ledger, name)
		}},
		{"lost by Redis with all else, then released", func(t *testing.T, s *redisstore.Store, unlock func()) {
			del(t, s, lockKey, ledger, name)
			unlock()
		}},
		{"released, and had by another since", func(t *testing.T, s *redisstore.Store, unlock func()) {
			unlock()
			lock(t, another(s))()
		}},
		{"expired, and had by another since", func(t *testing.T, s *redisstore.Store, unlock func()) {
			del(t, s, lockKey)
			lock(t, another(s))()
			unlock()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			// Redis knows the scripts from here on.
			s.LockTTL = 30 * time.Millisecond
			unlock := lock(t, s)
			until(t, "a keep-alive", func() bool {
				left := s.Client.PTTL(t.Context(), lockKey).Val()
				return left > 0
			})
			unlock()
			s.LockTTL = 300 * time.Millisecond
			slow := redis.NewClient(s.Client.(*redis.Client).Options())
			defer slow.Close()
			h := &hold{reached: make(chan struct{}), goOn: make(chan struct{}), done: make(chan any, 1)}
			slow.AddHook(h)
			unlock = lock(t, &redisstore.Store{Client: slow, Key: s.Key, LockTTL: s.LockTTL})
			h.armed.Store(true)
			<-h.reached
			tt.meanwhile(t, s, unlock)
			close(h.goOn)
			<-h.done
			if owner := s.Client.Get(t.Context(), lockKey).Val(); owner != "" {
				t.Errorf("the lock is back, %q's", owner)
			}
		})
	}
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
	if err := stalled.Save(ctx, record(1)); err != nil {
		t.Errorf("before the other has saved: %v", err)
	}
	if err := other.Save(ctx, record(2)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Save": stalled.Save(ctx, record(3)), "a sign-out": stalled.Save(signingOut(t), record(3))} {
		if !errors.Is(err, redisstore.ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", what, err)
		}
	}
	expect(t, s, record(2))
	owner := s.Client.Get(ctx, lockKey).Val()
	unlockStalled()
	if now := s.Client.Get(ctx, lockKey).Val(); now != owner {
		t.Error("it has unlocked what is another's")
	}
	// Nor a sign-out.
	unlockOther()
	unlockStalled = lock(t, stalled)
	lapse(t, s)
	unlockOther = lock(t, other)
	if err := other.Save(signingOut(t), record(0)); err != nil {
		t.Fatal(err)
	}
	if err := stalled.Save(ctx, record(4)); !errors.Is(err, redisstore.ErrFenced) {
		t.Errorf("after a sign-out: %v, want ErrFenced", err)
	}
	expect(t, s, record(0))
	unlockOther()
	unlockStalled()
	// By a lock of its own it can.
	unlock := lock(t, stalled)
	defer unlock()
	if err := stalled.Save(ctx, record(5)); err != nil {
		t.Error(err)
	}
	expect(t, s, record(5))
}

// Without a lock, as after a sign-in by another tool, it counts as the newest.
func TestSaveWithoutLock(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	unlock := lock(t, s)
	defer unlock()
	if err := another(s).Save(ctx, record(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, record(2)); !errors.Is(err, redisstore.ErrFenced) {
		t.Errorf("under a lock from before: %v, want ErrFenced", err)
	}
	expect(t, s, record(1))
}

// Numbers rise, even if Redis has lost what they were, or its clock was set back.
func TestNumbersRise(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	fields := func() []string {
		t.Helper()
		f := strings.Fields(s.Client.Get(ctx, ledger).Val())
		if len(f) != 4 {
			t.Fatalf("the ledger is %q", f)
		}
		return f
	}
	rises := func(last, next string) {
		t.Helper()
		a, err1 := strconv.ParseInt(last, 10, 64)
		b, err2 := strconv.ParseInt(next, 10, 64)
		if err1 != nil || err2 != nil || a >= b {
			t.Fatalf("%s follows %s", next, last)
		}
	}
	last := "0"
	for i := range 100 {
		if i%10 == 9 {
			if err := s.Client.Del(ctx, ledger).Err(); err != nil {
				t.Fatal(err)
			}
		}
		unlock := lock(t, s)
		taken := fields()
		rises(last, taken[0])
		if err := s.Save(ctx, record(i)); err != nil {
			t.Fatal(err)
		}
		saved := fields()
		rises(taken[0], saved[0])
		if diff := cmp.Diff([]string{saved[0], taken[1], taken[0], saved[0]}, saved); diff != "" {
			t.Errorf("after a save (-want +got):\n%s", diff)
		}
		unlock()
		last = saved[0]
	}
	const far = "5000000000000000" // in 2128
	if err := s.Client.Set(ctx, ledger, far+" - 0 0", 0).Err(); err != nil {
		t.Fatal(err)
	}
	lock(t, s)()
	if got := fields()[0]; got != "5000000000000001" {
		t.Errorf("%s follows %s", got, far)
	}
	// What is no ledger counts as none.
	if err := s.Client.Set(ctx, ledger, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	lock(t, s)()
	rises(last, fields()[0])
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

// counts is a hook that counts commands by name.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (*counts) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*counts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *counts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.mu.Lock()
		c.n[cmd.Name()]++
		c.mu.Unlock()
		return next(ctx, cmd)
	}
}

// take returns what was counted, and begins again.
func (c *counts) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = make(map[string]int)
	return n
}

// Loading, and finding the lock busy, is one plain command each.
func TestCommands(t *testing.T) {
	s := newStore(t)
	client := connect(t, s.Client.(*redis.Client).Options())
	c := &counts{n: make(map[string]int)}
	client.AddHook(c)
	mine := &redisstore.Store{Client: client, Key: s.Key}
	defer lock(t, s)()
	check := func(what string, want map[string]int) {
		t.Helper()
		if diff := cmp.Diff(want, c.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	expect(t, mine, nil)
	check("loading nothing", map[string]int{"getex": 1})
	if err := s.Save(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	expect(t, mine, record(1))
	check("loading a record", map[string]int{"getex": 1})
	ctx, cancel := context.WithCancel(t.Context())
	client.AddHook(afterwards{"getex", cancel})
	if _, err := mine.Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	check("looking at a busy lock", map[string]int{"getex": 1})
}

// afterwards is a hook that calls f after each command name.
type afterwards struct {
	name string
	f    func()
}

func (afterwards) DialHook(next redis.DialHook) redis.DialHook { return next }

func (afterwards) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a afterwards) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == a.name {
			a.f()
		}
		return err
	}
}

// firstConnection dials once. A client with it cannot subscribe.
func firstConnection(addr string) func(context.Context, string, string) (net.Conn, error) {
	var dialed atomic.Bool
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errors.New("one connection is enough")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

// crowd starts n processes that wait for s's lock, and returns when each has looked. Then
// it passes what each has got.
func crowd(t *testing.T, s *redisstore.Store, n int, dialer func(addr string) func(context.Context, string, string) (net.Conn, error)) (c *counts, outcome <-chan error) {
	t.Helper()
	c = &counts{n: make(map[string]int)}
	outcomes := make(chan error, n)
	var waiting sync.WaitGroup
	for range n {
		o := *s.Client.(*redis.Client).Options()
		o.PoolSize = 1
		if dialer != nil {
			o.Dialer = dialer(o.Addr)
		} else {
			o.Dialer = nil
		}
		client := connect(t, &o)
		waiting.Add(1)
		client.AddHook(afterwards{"getex", sync.OnceFunc(waiting.Done)})
		client.AddHook(c)
		go func() {
			unlock, err := (&redisstore.Store{Client: client, Key: s.Key, LockTTL: s.LockTTL}).Lock(t.Context())
			if err == nil {
				unlock()
			}
			outcomes <- err
		}()
	}
	waiting.Wait()
	return c, outcomes
}

func subscribers(t *testing.T, s *redisstore.Store) int64 {
	t.Helper()
	return s.Client.PubSubNumSub(t.Context(), name).Val()[name]
}

// Of a crowd that waits for the lock, nobody takes it any more once somebody has saved.
func TestCrowdLeaves(t *testing.T) {
	const n = 30
	for _, tt := range []struct {
		name string
		wait func(t *testing.T, s *redisstore.Store)
	}{
		{"looking", func(*testing.T, *redisstore.Store) {}},
		{"listening", func(t *testing.T, s *redisstore.Store) {
			until(t, "all have subscribed", func() bool { return subscribers(t, s) == n })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			s.LockTTL = time.Hour
			unlock := lock(t, s)
			c, outcome := crowd(t, s, n, nil)
			tt.wait(t, s)
			c.take()
			if err := s.Save(t.Context(), record(1)); err != nil {
				t.Fatal(err)
			}
			for range n {
				if err := <-outcome; !errors.Is(err, tokensource.ErrChanged) {
					t.Errorf("got %v, want ErrChanged", err)
				}
			}
			unlock()
			// A look may have been due at that moment.
			if got := c.take(); got["evalsha"]+got["eval"] > n/2 || got["getex"] > 2*n {
				t.Errorf("%d processes have sent %v", n, got)
			}
			until(t, "nobody listens any more", func() bool { return subscribers(t, s) == 0 })
		})
	}
}

// Where it cannot subscribe, a process looks from time to time.
func TestCrowdCannotListen(t *testing.T) {
	for name, end := range map[string]func(s *redisstore.Store, unlock func()) error{
		"saved": func(s *redisstore.Store, _ func()) error { return s.Save(t.Context(), record(1)) },
		"freed": func(_ *redisstore.Store, unlock func()) error { unlock(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.LockTTL = time.Hour
			unlock := sync.OnceFunc(lock(t, s))
			defer unlock()
			c, outcome := crowd(t, s, 1, firstConnection)
			until(t, "it would listen", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.n["evalsha"] > 1
			})
			if n := subscribers(t, s); n != 0 {
				t.Fatalf("%d listen", n)
			}
			if err := end(s, unlock); err != nil {
				t.Fatal(err)
			}
			if err := <-outcome; errors.Is(err, tokensource.ErrChanged) != (name == "saved") || name == "freed" && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A lock that is given up without a save is had by each of the crowd, in turn.
func TestCrowdTakesTurns(t *testing.T) {
	s := newStore(t)
	s.LockTTL = time.Hour
	const n = 5
	unlock := lock(t, s)
	_, outcome := crowd(t, s, n, nil)
	until(t, "all have subscribed", func() bool { return subscribers(t, s) == n })
	unlock()
	for range n {
		if err := <-outcome; err != nil {
			t.Error(err)
		}
	}
}

// Only a save since the call began ends the wait for the lock.
func TestChangedMeansSaved(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	s.LockTTL = time.Hour
	if err := s.Save(ctx, record(1)); err != nil {
		t.Fatal(err)
	}
	unlock := lock(t, s)
	if err := s.Save(ctx, record(2)); err != nil {
		t.Fatal(err)
	}
	_, outcome := crowd(t, s, 1, nil)
	until(t, "it has subscribed", func() bool { return subscribers(t, s) == 1 })
	for _, message := range []string{"saved 1", "saved 0", "saved", "saved x", "", "free", "anything"} {
		if err := s.Client.Publish(ctx, name, message).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// Redis forgets.
	if err := s.Client.Del(ctx, ledger, name).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Publish(ctx, name, "free").Err(); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-outcome; err != nil {
		t.Errorf("got %v, want the lock", err)
	}
	lock(t, another(s))()
}

// A process that was killed has left its lock in the ledger. Nobody waits for it once
// the lock has ended.
func TestLedgerOfTheDead(t *testing.T) {
	s := newStore(t)
	if err := s.Client.Set(t.Context(), ledger, "1700000000000000 dead 0 0", 0).Err(); err != nil {
		t.Fatal(err)
	}
	client := connect(t, s.Client.(*redis.Client).Options())
	c := &counts{n: make(map[string]int)}
	client.AddHook(c)
	lock(t, &redisstore.Store{Client: client, Key: s.Key})()
	if got := c.take(); got["getex"] != 1 {
		t.Errorf("it has looked %d times, want 1", got["getex"])
	}
}
