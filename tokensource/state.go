package tokensource

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"weak"

	"github.com/authtrip/authtrip/internal/jitter"
	"golang.org/x/oauth2"
)

const (
	never = math.MaxInt64

	maxAhead = 5 * time.Minute // the longest a token is renewed before it expires

	firstBackoff = 250 * time.Millisecond
	maxBackoff   = time.Minute

	maxRetry = time.Hour // the most of a Retry-After that is honoured
)

// A state is one snapshot of a Session, never changed once it is published.
// Its times are wall-clock nanoseconds: a monotonic clock stands still while a
// laptop sleeps, and tokens expire all the same.
type state struct {
	record     *Record       // nil: none is known
	token      *oauth2.Token // that of record; nil: none
	previous   previous      // the generation before
	other      uint64        // the mark of the last record of another program that was found; 0: none
	generation uint64
	epoch      uint64 // counts Set and Clear: a renewal begun before either is void

	usable  int64 // token is handed out before this time
	renewal int64 // an exchange is due from this time on; after a failure, allowed
	saving  int64 // when unsaved: the next attempt to write it
	next    int64 // before this time Token need look at nothing else

	err      error // why the last renewal failed; nil once one has succeeded
	dead     bool  // err is final: ErrReauthRequired
	quick    error // what to answer who needs a new token, before quickEnd
	quickEnd int64
	failures int  // in a row
	unsaved  bool // the Store lacks record
	unsaves  int  // how often in a row saving it has failed
	pending  bool // Set or Clear is about to bring record above what the Store has

	departure *departure // the last SignOut; nil: none
}

// A departure is a sign-out that revokes what a renewal under way brings.
type departure struct {
	epoch  uint64 // that it began
	revoke func(context.Context, *oauth2.Token) error
	late   error // of revoking what the renewal under way has brought, written before that ends
}

// signedOut reports whether the last change was a sign-out, here or elsewhere.
func (s *state) signedOut() bool { return s.record != nil && s.record.Change == ChangeSignOut }

// spends reports whether a renewal may spend a refresh token.
func (s *state) spends() bool { return s.token != nil && s.token.RefreshToken != "" }

// after returns the state that follows s by the publication of record.
func (s *state) after(record *Record, skew time.Duration, now time.Time) *state {
	n := &state{
		record: record, token: record.Token, previous: s.previous, other: s.other, generation: s.generation, epoch: s.epoch,
		departure: s.departure,
	}
	if s.token != nil {
		n.previous = previous{weak.Make(s.token), s.generation, mark(s.token)}
	}
	if n.token != nil {
		n.generation++
	}
	n.usable, n.renewal = schedule(n.token, skew, now)
	return n.settle()
}

// failing reports whether the last renewal has failed and the next is not
// allowed yet. A wait longer than any is that of a clock that was set back.
func (s *state) failing(now int64) bool {
	// invariant: after a failure there is a wait
	return s.err != nil && now < s.renewal && s.renewal-now <= int64(maxRetry)
}

// quickly reports whether what quick says, or err, is to be answered at once to who
// needs a new token. Here too a longer wait than any is that of a clock set back.
func (s *state) quickly(now int64) bool {
	return now < s.quickEnd && s.quickEnd-now <= int64(maxBackoff)
}

// settle sets next from the other times.
func (s *state) settle() *state {
	s.next = min(s.usable, s.renewal)
	if s.unsaved {
		s.next = min(s.next, s.saving)
	}
	if s.dead {
		s.next = 0
	}
	return s
}

// saved notes in s what came of saving its record.
func (s *state) saved(err error, now time.Time) *state {
	s.unsaved, s.pending = err != nil, false
	if s.unsaved {
		s.unsaves++
		s.saving = now.Add(backoff(s.unsaves, nil)).UnixNano()
	} else {
		s.unsaves = 0
	}
	return s.settle()
}

// noting returns s, which is to follow st, with what has come since of saving the
// sign-in or sign-out of st, as cur has it.
func (s *state) noting(st, cur *state) *state {
	if !st.pending || s.record != st.record || cur.pending && cur.record == st.record {
		return s
	}
	n := *s
	n.record, n.other, n.pending = cur.record, cur.other, cur.pending
	n.unsaved, n.unsaves, n.saving = cur.unsaved, cur.unsaves, cur.saving
	return n.settle()
}

// A finding is what a look into the Store has shown.
type finding int

const (
	inStep finding = iota // the Store has the Session's record
	behind                // the Store has lost it, or never had it
	news                  // the Store has a newer one
)

// find compares what the Store has with s.
func (s *state) find(stored *Record) finding {
	switch known := s.record; {
	case stored.none() && known.none():
		return inStep
	case stored.none():
		// invariant: a Store that has lost its record says nothing of a sign-out
		return behind
	case known.none():
		return news
	case stored.foreign():
		return s.findForeign(stored)
	case s.refused(stored) && (stored.Change != ChangeSignIn || stored.Signed.Equal(known.Signed)):
		return inStep
	default:
		switch c := stored.compare(known); {
		case c > 0:
			return news
		case c < 0:
			return behind
		}
		return inStep
	}
}

// refused reports whether stored has the refresh token that the server has refused.
func (s *state) refused(stored *Record) bool {
	return s.dead && s.token != nil && stored.Token != nil &&
		stored.Token.RefreshToken != "" && stored.Token.RefreshToken == s.token.RefreshToken
}

// findForeign is find for what another program has written. It is news once, and not if
// it is what this Session has or had.
func (s *state) findForeign(stored *Record) finding {
	switch {
	// invariant: what another program wrote is news once, and only if it is not known here
	case s.token != nil && mark(stored.Token) == mark(s.token):
		return inStep
	// invariant: the previous token does not come back
	case s.previous.same(stored.Token), mark(stored.Token) == s.other:
		return behind
	case s.refused(stored):
		return inStep
	}
	// invariant: what another program wrote counts
	return news
}

// adopted returns the record to go by when stored is news.
func (s *state) adopted(stored *Record) *Record {
	r := *stored
	if r.Token != nil {
		r.Token = clone(r.Token) // a new identity
	}
	if known := s.record; stored.foreign() && known != nil {
		// invariant: another program has not signed in, as far as is known
		r.Signed, r.Serial, r.At = known.Signed, known.Serial, known.At.Add(1)
	}
	return &r
}

// saveFailed is the event for an s that is unsaved.
func (s *state) saveFailed(err error, now time.Time) Event {
	return Event{Kind: EventSaveFailed, Generation: s.generation, RetryIn: time.Duration(s.saving - now.UnixNano()), Err: err}
}

// schedule returns until when token is handed out and from when on it is
// renewed ahead of its expiry.
func schedule(token *oauth2.Token, skew time.Duration, now time.Time) (usable, renewal int64) {
	switch {
	case token == nil || token.AccessToken == "":
		return 0, 0
	case token.Expiry.IsZero():
		return never, never
	}
	// Sub of times without a monotonic reading saturates, at 292 years.
	lifetime := token.Expiry.Round(0).Sub(now.Round(0))
	if lifetime <= 0 {
		return 0, 0
	}
	if lifetime > 100*365*24*time.Hour {
		return never, never
	}
	// invariant: a token is renewed no earlier than needed
	window := min(lifetime/2, maxAhead)
	window -= jitter.N(window/10 + 1)
	expiry := now.UnixNano() + int64(lifetime)
	// invariant: an expired token is given to nobody
	usable = expiry - int64(min(skew, lifetime/20))
	// A large skew must not leave the background no time.
	renewal = min(expiry-int64(window), usable-int64(window/2))
	return usable, renewal
}

// backoff returns how long to wait after failures failures in a row, of which
// the last was err.
func backoff(failures int, err error) time.Duration {
	d := min(firstBackoff<<min(failures-1, 10), maxBackoff)
	d = d/2 + jitter.N(d/2+1)
	// invariant: Retry-After is honoured
	return max(d, min(retryAfter(err, time.Now()), maxRetry))
}

// retryAfter returns how long the server asked to wait, or a grant by a
// RetryError of its own.
func retryAfter(err error, now time.Time) time.Duration {
	if re, ok := errors.AsType[*RetryError](err); ok {
		return re.At.Sub(now)
	}
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.Response != nil {
		return parseRetryAfter(re.Response.Header.Get("Retry-After"), now)
	}
	return 0
}

// parseRetryAfter reads a Retry-After field (RFC 9110 section 10.2.3), up to
// maxRetry. What is neither seconds nor a date is zero.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetry/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(at.Sub(now), maxRetry)
	}
	return 0
}

// final reports whether no exchange with current can succeed any more: what
// the server says of the grant itself, or of the client that holds it.
func final(err error, current *oauth2.Token) bool {
	if errors.Is(err, ErrReauthRequired) {
		return true
	}
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return false
	}
	if r := re.Response; r != nil && (r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests) {
		return false // whatever the body says
	}
	switch re.ErrorCode {
	case "invalid_grant":
		return true
	case "invalid_client", "unauthorized_client":
		return current != nil && current.RefreshToken != ""
	}
	return false
}

// A previous is what is left of a token that was replaced: it is kept by those who
// use it, not by the Session.
type previous struct {
	token      weak.Pointer[oauth2.Token]
	generation uint64
	mark       uint64
}

// same reports whether t is p in content.
func (p previous) same(t *oauth2.Token) bool { return p.mark != 0 && mark(t) == p.mark }

// same reports whether a and b are one token in content.
func same(a, b *oauth2.Token) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.AccessToken == b.AccessToken && a.RefreshToken == b.RefreshToken
}

func clone(t *oauth2.Token) *oauth2.Token {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}
