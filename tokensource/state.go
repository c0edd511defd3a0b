package tokensource

import (
	"errors"
	"hash/maphash"
	"math"
	"net/http"
	"slices"
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
	maxPast      = 16 // how much of its past a Session tells from news in the Store

	maxRetry = time.Hour // the most of a Retry-After that is honoured
)

// A state is one snapshot of a Session, never changed once it is published.
// Its times are wall-clock nanoseconds: a monotonic clock stands still while a
// laptop sleeps, and tokens expire all the same.
type state struct {
	token      *oauth2.Token // nil: none
	previous   previous      // the generation before, if it was one of this process
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
	unsaved  bool // the Store lacks token, or still has one when token is nil
	unsaves  int  // how often in a row saving it has failed

	// What the Store may have although it is no news, when unsaved: what this
	// process has moved on from since it last knew the Store in step, and, if a Set
	// or Clear could not be saved, whatever is found there first.
	past    []*oauth2.Token
	unknown bool
}

// after returns the state that follows s by the publication of token.
func (s *state) after(token *oauth2.Token, skew time.Duration, now time.Time) *state {
	n := &state{token: token, generation: s.generation, epoch: s.epoch, past: s.past, unknown: s.unknown}
	if s.token != nil {
		n.past = append(slices.Clip(s.past), s.token)
		if len(n.past) > maxPast {
			n.past = slices.Delete(n.past, 1, 2) // the first is the likeliest
		}
	}
	if token != nil {
		n.previous, n.generation = previousOf(s.token), s.generation+1
	}
	n.usable, n.renewal = schedule(token, skew, now)
	return n.settle()
}

// failing reports whether the last renewal has failed and the next is not
// allowed yet. A wait longer than any is that of a clock that was set back.
func (s *state) failing(now int64) bool {
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

// saved notes in s what came of saving its token.
func (s *state) saved(err error, now time.Time) *state {
	s.unsaved = err != nil
	if !s.unsaved {
		s.past, s.unknown = nil, false
	} else {
		s.unsaves++
		s.saving = now.Add(backoff(s.unsaves, nil)).UnixNano()
	}
	return s.settle()
}

// seen returns the state after a look into the Store: s or a better informed one,
// or nil if token is what another process has put there since this one last knew.
func (s *state) seen(token *oauth2.Token, now time.Time) *state {
	switch {
	case same(token, s.token):
		if !s.unsaved {
			return s
		}
		next := *s
		return next.saved(nil, now) // that failure was none
	case s.dead && token != nil && token.RefreshToken != "" && s.token != nil && token.RefreshToken == s.token.RefreshToken:
		return s // which has been refused
	case s.unknown:
		next := *s
		next.unknown = false
		if token != nil {
			next.past = append(slices.Clip(s.past), token)
		}
		return &next
	case token == nil, slices.ContainsFunc(s.past, func(p *oauth2.Token) bool { return same(token, p) }):
		return s
	case s.previous.same(token) && !s.unsaved:
		// The Store has gone back, as by a failover that has lost the last Save. That
		// refresh token is spent.
		next := *s
		next.unsaved, next.past, next.saving = true, []*oauth2.Token{token}, now.UnixNano()
		return next.settle()
	}
	return nil
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
	window := min(lifetime/2, maxAhead)
	window -= jitter.N(window/10 + 1)
	expiry := now.UnixNano() + int64(lifetime)
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

// same reports whether a and b are one token in content: what comes out of a
// Store has another identity, and its expiry may have lost digits.
func same(a, b *oauth2.Token) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.AccessToken == b.AccessToken && a.RefreshToken == b.RefreshToken
}

// A previous is what is left of a token that was replaced: it is kept by those who
// use it, not by the Session.
type previous struct {
	token weak.Pointer[oauth2.Token]
	text  uint64
}

var textSeed = maphash.MakeSeed()

func previousOf(t *oauth2.Token) previous {
	if t == nil {
		return previous{}
	}
	return previous{weak.Make(t), text(t)}
}

// same reports whether t is p in content.
func (p previous) same(t *oauth2.Token) bool { return p != previous{} && text(t) == p.text }

func text(t *oauth2.Token) uint64 {
	return maphash.Comparable(textSeed, [2]string{t.AccessToken, t.RefreshToken})
}

func clone(t *oauth2.Token) *oauth2.Token {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}
