package simulate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// A config is what is the same throughout a schedule.
type config struct {
	length       time.Duration
	lifetime     time.Duration // of access tokens; 0: they do not expire
	processes    int
	stored       bool
	locked       bool // the store is a Locker
	tellsChange  bool // and its Lock returns ErrChanged
	sealed       bool
	otherClient  bool // each process has a client ID of its own
	leases       bool // who signs in again calls SignIn
	keepRefresh  bool
	keepAccess   bool
	grace        time.Duration
	timeout      time.Duration // Session.Timeout
	skew         time.Duration // Session.Skew
	maxForced    int
	replayBuffer int64
	slowEvents   bool

	tokenFaults, storeFaults, apiFaults float64 // how many of the operations fail
}

// A world is the model: servers, store and processes.
type world struct {
	config
	seed  uint64
	start time.Time

	mu      sync.Mutex // guards everything below, and all that it leads to
	calm    bool       // no more faults
	storm   time.Time  // until then the API rejects everything
	counts  [kinds]int
	broken  []string // the invariants
	tracing bool
	trace   []string
	bodies  []*body
	calls   int
	serial  int // the last token's

	access    map[string]*access
	refresh   map[string]*refresh
	exchanges *rand.Rand // the token endpoint's moods

	families  []*family
	content   *content      // of the store
	history   []*content    // what it had before, the oldest first
	keys      []byte        // by which new processes seal
	medium    medium        // what a Sealed store has made of content
	saved     chan struct{} // closed when content changes
	owner     *process      // of the store's lock; nil: nobody, or the outsider
	lock      chan struct{}
	lossy     bool      // the store may have gone back
	skews     bool      // a clock was ahead or behind
	waits     bool      // somebody calls Wait
	disturbed time.Time // when an operation last failed, or something came from outside

	procs    []*process // alive, each in its place
	outsider *process   // stands for all other programs
	lives    int
}

var (
	errDown  = errors.New("simulate: connection refused")
	errDead  = errors.New("simulate: the process was killed")
	errStore = errors.New("simulate: the store has failed")
	errBody  = errors.New("simulate: the body has failed")
)

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, start: time.Now(), access: make(map[string]*access), refresh: make(map[string]*refresh),
		lock: make(chan struct{}, 1), saved: make(chan struct{}), content: &content{}, keys: []byte{0},
	}
	w.config = draw(w.random("config", 0))
	w.exchanges = w.random("token endpoint", 0)
	w.outsider = &process{world: w, dead: make(chan struct{}), doomed: none}
	return w
}

// random returns a source of its own for whoever is named.
func (w *world) random(who string, n int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, who, " ", n)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// draw makes a config.
func draw(r *rand.Rand) config {
	c := config{
		length:    span(r, 10*time.Minute, time.Hour),
		lifetime:  pick(r, 0, span(r, 20*time.Second, 2*time.Minute), 5*time.Minute, span(r, 10*time.Minute, time.Hour)),
		processes: 1,
		maxForced: pick(r, -1, -1, 0, 3),
		skew:      pick(r, 0, 0, -1, 30*time.Second),
		timeout:   pick(r, 0, 0, span(r, 2*time.Second, 20*time.Second)),
		grace:     pick(r, 0, 0, 0, time.Minute),

		replayBuffer: pick[int64](r, 0, 1<<10),
		slowEvents:   chance(r, .2),
		tokenFaults:  pick(r, 0, .1, .4),
		storeFaults:  pick(r, 0, .1, .4),
		apiFaults:    pick(r, 0, .02, .1),
	}
	switch n := r.IntN(10); {
	case n < 2:
	case n < 4:
		c.stored = true
		c.processes = pick(r, 1, 1, 2, 3)
	default:
		c.stored, c.locked = true, true
		c.processes = pick(r, 1, 2, 2, 3, 4)
		c.tellsChange, c.leases = chance(r, .3), chance(r, .3)
		c.otherClient = c.processes > 1 && chance(r, .06)
	}
	c.sealed = c.stored && chance(r, .15)
	switch r.IntN(8) {
	case 0:
		c.keepRefresh = true
	case 1:
		c.keepAccess = true
	}
	return c
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// span draws a duration to the nanosecond, so that no two of them meet.
func span(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// count notes that k has occurred. w.mu is held.
func (w *world) count(k Kind) { w.counts[k]++ }

// violate notes that an invariant is broken. w.mu is held.
func (w *world) violate(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("%v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

// note adds to the trace. w.mu is held.
func (w *world) note(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%16d ", time.Since(w.start))+fmt.Sprintf(format, args...))
	}
}

// pause lets time go by, for a process that may be killed meanwhile.
func (p *process) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.dead:
		return errDead
	}
}
