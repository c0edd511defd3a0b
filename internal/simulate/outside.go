package simulate

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// outside is what other programs, other clocks and disks do in a schedule. Most
// schedules have little of it, so that the rest of the model stays strict.
func (w *world) outside(r *rand.Rand, at func(time.Duration, func())) {
	if !w.stored {
		return
	}
	when := func() time.Duration { return span(r, time.Second, w.length) }
	if w.sealed && chance(r, .6) {
		w.rotate(r, when(), at)
	}
	for range pick(r, 0, 0, 0, 1, 2, 4) {
		kind := pick(r, WentBack, LostContent, TornContent, LaterVersion, ForeignRefresh, ForeignRefreshNoLock, ForeignSignIn,
			ForeignCopy, ForeignFormat, ForeignPrevious, SkewedSignIn, SkewedSignOut, SkewedRenewal)
		n, last := r.Uint64(), span(r, time.Second, 2*time.Minute)
		for range pick(r, 1, 1, 3) { // some programs do it again
			at(when(), func() { w.intrude(kind, rand.New(rand.NewPCG(w.seed, n)), last) })
		}
	}
}

// rotate changes the keys of a Sealed store, as a careful operator does or as a
// careless one.
func (w *world) rotate(r *rand.Rand, when time.Duration, at func(time.Duration, func())) {
	careless := chance(r, .3)
	steps := [][]byte{{1, 0}, {1}}
	if careless {
		steps = [][]byte{{2}, {1}}
	}
	for i, keys := range steps {
		for n := range w.processes {
			at(when+time.Duration(i)*10*time.Minute+span(r, 0, time.Minute), func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.count(KeyRotated)
				w.keys = keys
				w.procs[n].sealWith(keys...)
				w.note("%v seals with %v", w.procs[n], keys)
				w.disturbed = time.Now()
			})
		}
	}
}

// intrude has somebody do kind to the store.
func (w *world) intrude(kind Kind, r *rand.Rand, last time.Duration) {
	if w.locked && kind != ForeignRefreshNoLock && kind != WentBack && kind != LostContent && kind != TornContent {
		// It is a good citizen.
		w.lock <- struct{}{}
		time.Sleep(span(r, time.Millisecond, 200*time.Millisecond))
		defer func() { <-w.lock }()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm || w.content.form == later {
		return
	}
	c := w.intrusion(kind, r)
	if c == nil {
		return
	}
	w.count(kind)
	w.disturbed = time.Now()
	if kind != ForeignFormat {
		w.lossy = true
		for _, f := range w.families {
			f.linear = false
		}
	}
	old := w.content
	w.note("%v: %v in the place of %v", kind, c, old)
	w.replace(nil, c)
	if c.form == token {
		c.access.ranks = append(c.access.ranks, c.rank)
		c.access.family.regain(c.rank)
	}
	if kind == LaterVersion {
		time.AfterFunc(last, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.content == c { // it may have been replaced by who had loaded before it came
				w.note("back to %v", old)
				w.replace(nil, old)
			}
		})
	}
}

// intrusion makes what kind puts into the store, nil if that is not possible. w.mu is
// held.
func (w *world) intrusion(kind Kind, r *rand.Rand) *content {
	cur := w.content
	switch kind {
	case WentBack:
		for range 5 {
			if n := len(w.history); n > 0 {
				if c := *w.history[n-1-r.IntN(min(n, 6))]; c.ranked() && c.rank != cur.rank {
					return &c
				}
			}
		}
		return nil
	case LostContent:
		if cur.form == empty {
			return nil
		}
		return &content{text: []byte(pick(r, "", " \n", "null"))}
	case TornContent:
		text := string(cur.text)
		return w.parse([]byte(text[:len(text)*3/4] + pick(r, "", "\x00\x00")))
	case LaterVersion:
		return w.parse([]byte(`{"access_token":"later","authtrip":{"version":2,"of":"what this version cannot know"}}`))
	case ForeignSignIn:
		a, refresh := w.signIn()
		return w.foreign(a.token(refresh), a)
	case ForeignRefresh, ForeignRefreshNoLock:
		a, next := w.exchangeOutside(cur)
		if a == nil {
			return nil
		}
		return w.foreign(a.token(next), a)
	case ForeignCopy:
		if cur.form != token {
			return nil
		}
		return w.foreign(cur.tok, cur.access)
	case ForeignFormat:
		if !cur.ranked() {
			return nil
		}
		var members map[string]any
		if err := json.Unmarshal(cur.text, &members); err != nil {
			panic(err)
		}
		text, _ := json.MarshalIndent(members, "", "\t")
		return w.parse(text)
	case ForeignPrevious:
		for i := len(w.history) - 1; i >= 0; i-- {
			switch h := w.history[i]; {
			case h.form != token && h.form != foreign || h.access == cur.access:
			case w.processes > 1 && !w.keepRefresh:
				return nil // another process may be behind
			default:
				return w.foreign(h.tok, h.access)
			}
		}
		return nil
	default:
		return w.skewed(kind, r)
	}
}

// exchangeOutside renews for another program. w.mu is held.
func (w *world) exchangeOutside(c *content) (*access, *refresh) {
	if c.refresh == nil || w.keepAccess {
		return nil, nil
	}
	s := &send{by: w.outsider, outcome: delivered}
	a, next, ok := w.answer(c.refresh, s)
	if !ok {
		return nil, nil
	}
	c.refresh.sends = append(c.refresh.sends, s)
	if w.keepRefresh {
		next, c.refresh.access = c.refresh, a
	}
	a.by, a.sent, a.got, a.believed, a.rejected = w.outsider, time.Now(), time.Now(), a.expires, false
	return a, next
}

// foreign returns t as x/oauth2 writes it. w.mu is held.
func (w *world) foreign(t *oauth2.Token, a *access) *content {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	a.foreign, a.family.bare, a.tried = true, true, true
	clear(a.family.gone)
	for _, p := range w.procs {
		delete(p.met, a.family)
	}
	c := w.parse(text)
	c.refresh.client = ""
	return c
}

// skewed returns what a process writes whose clock is ahead or behind. w.mu is held.
func (w *world) skewed(kind Kind, r *rand.Rand) *content {
	cur := w.content
	if !cur.ranked() {
		return nil
	}
	w.skews = true
	off := span(r, -5*time.Second, 5*time.Second)
	switch r.IntN(4) {
	case 0:
		off *= 60
	case 1:
		off = pick[time.Duration](r, -1, 1) * 365 * 24 * time.Hour
	}
	now := time.Now().Add(off).UTC()
	above := func(t time.Time) time.Time {
		if now.After(t) {
			return now
		}
		return t.Add(1)
	}
	m := writing{change: tokensource.ChangeSignIn, rank: rank{signed: above(cur.rank.signed)}}
	m.rank.at = m.rank.signed
	if kind == SkewedSignOut {
		m.change = tokensource.ChangeSignOut
		return w.parse(write(nil, nil, m))
	}
	var (
		a    *access
		next *refresh
	)
	if kind == SkewedSignIn {
		a, next = w.signIn()
	} else if a, next = w.exchangeOutside(cur); a == nil || cur.form != token {
		return nil
	} else {
		m.change, m.rank = tokensource.ChangeRenewal, rank{cur.rank.signed, cur.rank.serial + 1, above(cur.rank.at), ""}
		m.clientID = cur.refresh.client
		next.client = m.clientID
	}
	a.tried = true
	extra := a.family.extra
	if a.family.bare {
		extra = nil
	}
	return w.parse(write(a.token(next), extra, m))
}
