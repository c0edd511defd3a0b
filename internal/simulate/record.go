package simulate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A rank is the place of a record in the order of records. The model has a comparison
// of its own, so that a mutant of the library's does not pass for right.
type rank struct {
	signed time.Time
	serial uint64
	at     time.Time
	of     string
}

func (r rank) compare(o rank) int {
	return cmp.Or(r.signed.Compare(o.signed), cmp.Compare(r.serial, o.serial), r.at.Compare(o.at), strings.Compare(r.of, o.of))
}

// A form is what kind of thing a Store holds.
type form int

const (
	empty     form = iota
	token          // a record with a rank
	tombstone      // a record of a sign-out
	vacant         // a lease where nobody has signed in yet
	foreign        // written by another program
	garbage
	later // written by a later version
)

// A content is what the store holds, or what is to be saved.
type content struct {
	form
	text    []byte
	rank    rank
	change  tokensource.Change
	tok     *oauth2.Token
	access  *access  // nil: no token
	refresh *refresh // likewise
	lease   string   // its owner, if there is one
	by      *process
	since   time.Time
}

// ranked reports whether c has a place in the order of records.
func (c *content) ranked() bool { return c.form == token || c.form == tombstone }

func (c *content) String() string {
	switch c.form {
	case token, tombstone:
		return fmt.Sprintf("%s %s (%s, %d, %s)", c.change, tokenName(c.tok), clock(c.rank.signed), c.rank.serial, clock(c.rank.at))
	case foreign:
		return "foreign " + tokenName(c.tok)
	}
	return [...]string{empty: "nothing", vacant: "a lease", garbage: "garbage", later: "a later version"}[c.form]
}

// epoch is when each bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Sub(epoch).String()
}

// parse returns what text is. w.mu is held.
func (w *world) parse(text []byte) *content {
	c := &content{text: bytes.Clone(text), since: time.Now()}
	r, err := tokensource.ParseRecord(text)
	switch {
	case errors.Is(err, tokensource.ErrUnreadable):
		c.form = garbage
		return c
	case err != nil:
		c.form = later
		return c
	}
	c.tok, c.change = r.Token, r.Change
	c.rank = rank{r.Signed, r.Serial, r.At, of(r.Token)}
	var member struct {
		Authtrip struct{ Lease struct{ Owner string } }
	}
	_ = json.Unmarshal(text, &member)
	c.lease = member.Authtrip.Lease.Owner
	if r.Token != nil {
		c.access, c.refresh = w.access[r.Token.AccessToken], w.refresh[r.Token.RefreshToken]
	}
	switch {
	case r.Change == tokensource.ChangeSignOut:
		c.form = tombstone
	case r.Change == "" && r.Token != nil:
		c.form = foreign
	case r.Token != nil:
		c.form = token
	case c.lease != "":
		c.form = vacant
	}
	return c
}

// of is the mark by which a record names its token.
func of(t *oauth2.Token) string {
	if t == nil {
		t = new(oauth2.Token)
	}
	sum := sha256.Sum256([]byte(t.AccessToken + "\x00" + t.RefreshToken))
	return hex.EncodeToString(sum[:8])
}

// A writing is a record made by the model, member by member.
type writing struct {
	change   tokensource.Change
	rank     rank
	clientID string
	version  int
}

// write returns the text of a record. A zero change leaves the member authtrip out.
func write(t *oauth2.Token, extra map[string]string, m writing) []byte {
	members := map[string]any{}
	for name, v := range extra {
		members[name] = v
	}
	if t != nil {
		members["access_token"], members["refresh_token"], members["token_type"] = t.AccessToken, t.RefreshToken, "Bearer"
		if !t.Expiry.IsZero() {
			members["expiry"] = t.Expiry
		}
	}
	if m.change != "" {
		member := map[string]any{
			"version": cmp.Or(m.version, 1), "change": m.change, "serial": m.rank.serial, "of": of(t),
			"signed": m.rank.signed.UTC(), "at": m.rank.at.UTC(),
		}
		if m.clientID != "" {
			member["client_id"] = m.clientID
		}
		members["authtrip"] = member
	}
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return text
}

// checkSave checks that p may save c now. w.mu is held.
func (p *process) checkSave(c *content) {
	last := p.last
	switch {
	case !p.loaded:
		p.violate("%v saves %v, and has not loaded right before", p, c)
	case last == nil:
		p.violate("%v saves %v, although it could not load", p, c)
	case last.form == later:
		p.violate("%v saves %v over a record of a later version", p, c)
	case c.form == empty && last.form <= vacant && !last.ranked(): // a lease has ended
	case c.form == foreign, c.form == empty, c.form == garbage, c.form == later:
		p.violate("%v saves %v: %s", p, c, c.text)
	case c.ranked() && last.ranked() && last.rank.compare(c.rank) > 0:
		p.violate("%v saves %v over %v, which it has seen", p, c, last)
	case c.form == token && p.fresh && c.access != last.access && p.setting == 0:
		p.violate("%v saves %v over %v, which is news", p, c, last)
	case c.form == vacant && last.ranked():
		p.violate("%v saves a lease over %v", p, last)
	}
	if p.locked && p.owner != p && c.form != tombstone {
		p.violate("%v saves %v without the lock", p, c)
	}
	switch c.form {
	case tombstone:
		p.checkTombstone(c)
	case token:
		p.checkTokenRecord(c)
	}
}

// checkTombstone checks that nothing of what was there before is left.
func (p *process) checkTombstone(c *content) {
	var members map[string]json.RawMessage
	var member map[string]any
	_ = json.Unmarshal(c.text, &members)
	_ = json.Unmarshal(members["authtrip"], &member)
	delete(members, "authtrip")
	for _, name := range []string{"version", "change", "signed", "at", "of", "lease"} {
		delete(member, name)
	}
	if len(members)+len(member) > 0 {
		p.violate("%v saves a sign-out that has more: %s", p, c.text)
	}
	p.checkTurn(c)
}

// checkTurn checks the record of a sign-in or sign-out.
func (p *process) checkTurn(c *content) {
	if c.rank.serial != 0 || !c.rank.at.Equal(c.rank.signed) {
		p.violate("%v saves %v, which does not begin a session", p, c)
	}
}

func (p *process) checkTokenRecord(c *content) {
	a := c.access
	if a == nil || c.refresh == nil {
		p.violate("%v saves a token that was never issued: %v", p, c)
		return
	}
	f := a.family
	if !f.bare {
		id, _ := c.tok.Extra("id_token").(string)
		tenant, _ := c.tok.Extra("tenant").(string)
		if id != f.extra["id_token"] || tenant != f.extra["tenant"] {
			p.violate("%v saves %v without its extra fields", p, c)
		}
	}
	if f.gone[p] && p.loading.After(p.turned) {
		p.violate("%v saves %v, of before its last sign-in or sign-out", p, c)
	}
	switch c.change {
	case tokensource.ChangeSignIn:
		p.checkTurn(c)
		if f.setBy != p && !slices.Contains(a.ranks, c.rank) {
			p.violate("%v saves %v as a sign-in, and nobody has signed in", p, c)
		}
	case tokensource.ChangeRenewal:
		if a.foreign && !slices.Contains(a.ranks, c.rank) {
			p.checkPlace(c)
		}
		p.checkRenewal(c)
	}
}

// checkPlace checks that p may give a place in the order to what another program has
// written.
func (p *process) checkPlace(c *content) {
	if p.last != nil && p.last.ranked() && p.last.access != c.access && p.before != nil && p.last.rank.compare(*p.before) > 0 {
		p.violate("%v saves %v of another program over %v, which came after", p, c, p.last)
	}
}

// checkRenewal checks that a renewal keeps the time of the sign-in, and counts.
func (p *process) checkRenewal(c *content) {
	a := c.access
	if p.keepRefresh || p.keepAccess || slices.Contains(a.ranks, c.rank) || a.foreign {
		return
	}
	steps := uint64(0)
	for ; a != nil && len(a.ranks) == 0; a = a.parent {
		if a.foreign {
			return
		}
		steps++
	}
	if a == nil || a.foreign {
		return // nobody has tried to save what came before
	}
	if !slices.ContainsFunc(a.ranks, func(r rank) bool {
		return r.signed.Equal(c.rank.signed) && r.serial+steps == c.rank.serial && c.rank.at.After(r.at)
	}) {
		p.violate("%v saves %v as renewal %d after %v", p, c, steps, a.ranks)
	}
}
