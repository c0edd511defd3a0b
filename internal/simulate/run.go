package simulate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/internal/jitter"
	"github.com/authtrip/authtrip/tokensource"
)

// A Result is what came of a schedule.
type Result struct {
	Seed    uint64
	Counts  [kinds]int
	Broken  []string      // the invariants, first the one that was broken first
	Calls   int           // requests made
	Time    time.Duration // simulated
	Granted int           // tokens issued
	Trace   []string      // if it was asked for, by time
}

// String describes the result for the one who has to find out.
func (r Result) String() string {
	return fmt.Sprintf("seed %d:\n\t%s", r.Seed, strings.Join(r.Broken, "\n\t"))
}

// Run runs the schedule of a seed. Only one can run at a time.
func Run(t *testing.T, seed uint64, trace bool) (result Result) {
	var mu sync.Mutex
	chances := rand.New(rand.NewPCG(seed, 1))
	defer jitter.Replace(func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return chances.Int64N(n)
	})()
	defer func() {
		// A bubble with goroutines left in it ends in a panic.
		if v := recover(); v != nil {
			result.Broken = append(result.Broken, fmt.Sprint(v))
		}
	}()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed)
		w.tracing = trace
		w.run()
		for _, b := range w.bodies {
			if b.closed == 0 || b.of == "the request" && b.closed > 1 {
				w.violate("call %d: the body of %s was closed %d times", b.call.id, b.of, b.closed)
			}
		}
		slices.Sort(w.trace)
		result = Result{seed, w.counts, w.broken, w.calls, time.Since(w.start), w.serial, w.trace}
	})
	return result
}

// run is the schedule: it comes to its end, and leaves nothing behind.
func (w *world) run() {
	r := w.random("events", 0)
	w.mu.Lock()
	for range w.config.processes {
		w.procs = append(w.procs, w.startProcess())
	}
	procs := slices.Clone(w.procs)
	w.mu.Unlock()
	if w.config.processes > 1 {
		w.count(SecondProcess)
	}
	if w.config.processes > 1 && w.stored && !w.locked {
		w.count(NoLock)
	}
	if w.sealed {
		w.count(SealedStore)
	}
	if w.otherClient {
		w.count(OtherClient)
	}
	// The others find the first one's token in the store.
	procs[0].set()
	var all sync.WaitGroup
	at := func(d time.Duration, do func()) {
		all.Go(func() {
			time.Sleep(time.Until(w.start.Add(d)))
			do()
		})
	}
	// slot returns whichever process is in that place then.
	slot := func(n int) *process {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.procs[n]
	}
	for range 10 + r.IntN(20) {
		// Requests come in herds.
		when := span(r, time.Second, w.length)
		for range pick(r, 1, 1, 2, 5, 12) {
			n := r.IntN(w.config.processes)
			at(when+span(r, 0, pick(r, 10*time.Millisecond, time.Second)), func() { slot(n).do(false) })
		}
	}
	for range r.IntN(6) {
		when, family := span(r, time.Second, w.length), chance(r, .2)
		at(when, func() { w.revoke(family) })
	}
	for range r.IntN(4) {
		n, what := r.IntN(w.config.processes), r.IntN(19)
		when, in, out := span(r, time.Second, w.length), chance(r, .5), span(r, time.Second, time.Minute)
		at(when, func() {
			p := slot(n)
			switch {
			case what == 0:
				p.clear()
				if in && p.pause(p.ctx, out) == nil {
					p.set()
				}
			case what < 3:
				p.set()
			default:
				w.mu.Lock()
				defer w.mu.Unlock()
				switch {
				case p.killed:
				case what < 6:
					p.end()
				case what < 8:
					p.doomed = KilledInExchange
				case what < 10:
					p.doomed = KilledBeforeSave
				case what < 12:
					p.doomed = SignedIn
				case what < 13:
					p.doomed = SignedOut
				case what < 15:
					p.doomed = SignedOutRevoking
				case what < 17:
					p.doomed = SignedOutAmidRenewal
				default:
					p.doomed = KilledSigningIn
				}
			}
		})
	}
	if waits := w.random("waits", 0); chance(waits, .3) {
		for range 3 {
			n := waits.IntN(w.config.processes)
			at(span(waits, time.Second, w.length), func() { slot(n).wait() })
		}
		w.mu.Lock()
		w.waits = true
		w.mu.Unlock()
	}
	w.outside(w.random("outside", 0), at)
	if twice := w.random("twice", 0); w.config.processes > 1 && chance(twice, .2) {
		when := span(twice, time.Second, w.length)
		w.mu.Lock()
		w.count(SignedInTwice)
		w.mu.Unlock()
		for n := range 2 {
			at(when+span(twice, 0, 300*time.Millisecond), func() {
				p := slot(n)
				if w.waits {
					time.AfterFunc(2*time.Millisecond, p.wait)
				}
				p.set()
			})
		}
	}
	if chance(r, .1) {
		n, when, last := r.IntN(w.config.processes), span(r, time.Second, w.length), span(r, 10*time.Second, time.Minute)
		at(when, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.storm = time.Now().Add(last)
		})
		for range 20 {
			at(when+span(r, 0, last), func() { slot(n).do(false) })
		}
	}
	all.Wait()
	time.Sleep(time.Until(w.start.Add(w.length)))
	w.mu.Lock()
	w.calm, w.storm = true, time.Time{}
	w.note("calm")
	w.mu.Unlock()
	// Whatever was asked for in Retry-After is over then.
	time.Sleep(2 * time.Hour)
	for _, p := range w.procs {
		if errors.Is(p.session.Reload(p.ctx), tokensource.ErrUnreadable) {
			p.set() // which is what helps then
		}
	}
	for _, p := range slices.Clone(w.procs) {
		w.recovers(p)
		if w.stored {
			// What could not be saved is saved with one of the next requests.
			time.Sleep(2 * time.Minute)
			w.recovers(p)
			time.Sleep(time.Minute)
			w.checkSaved(p)
		}
	}
	if w.stored && !w.otherClient {
		w.converge()
	}
	w.mu.Lock()
	procs = slices.Clone(w.procs)
	w.mu.Unlock()
	for _, p := range procs {
		p.kill()
	}
	time.Sleep(time.Hour) // for renewals that nobody waits for
	synctest.Wait()
}

// revoke ends the newest access token, or its whole family.
func (w *world) revoke(whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest *access
	for _, a := range w.access {
		if newest == nil || a.serial > newest.serial {
			newest = a
		}
	}
	if newest == nil {
		return
	}
	w.note("token %d is revoked, family %v", newest.serial, whole)
	newest.revoked = true
	if whole {
		newest.family.ended = true
	}
}

// checkSaved checks that the token of p is in the store, or was.
func (w *world) checkSaved(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.known == nil {
		return
	}
	if a := w.access[p.known.AccessToken]; !a.saved {
		w.violate("%v has not saved token %d", p, a.serial)
	}
}

// converge checks that all processes have the record that the store has, after each has
// looked and been asked.
func (w *world) converge() {
	for range 3 {
		for _, p := range w.procs {
			if err := p.session.Reload(p.ctx); err != nil {
				w.mu.Lock()
				w.violate("%v cannot read the store: %v", p, err)
				w.mu.Unlock()
			}
			w.recovers(p)
			time.Sleep(3 * time.Second)
		}
	}
	for _, p := range w.procs {
		_ = p.session.Reload(p.ctx)
		w.mu.Lock()
		cur, _ := p.session.Current()
		if c := w.content; cur == nil || c.tok == nil || of(cur) != of(c.tok) {
			w.violate("%v has %s in the end, and the store has %v", p, tokenName(cur), c)
		}
		w.mu.Unlock()
	}
}

// recovers checks that p has a request go through, if need be after a new
// sign-in.
func (w *world) recovers(p *process) {
	for range 3 {
		if p.do(true) {
			return
		}
		// Somebody signs in again, if that is what it takes.
		time.Sleep(5 * time.Minute)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violate("%v does not recover", p)
}
