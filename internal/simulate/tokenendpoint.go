package simulate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authtrip/authtrip/tokensource"
)

// A mood is what the token endpoint does about one request.
type mood struct {
	kind          Kind // none: its work
	before, after time.Duration
	retryAfter    time.Duration
}

const none Kind = -1

// mood draws one. w.mu is held.
func (w *world) mood() mood {
	r := w.exchanges
	m := mood{kind: none, before: span(r, time.Millisecond, 200*time.Millisecond), after: span(r, time.Millisecond, 200*time.Millisecond)}
	if w.calm || !chance(r, w.tokenFaults) {
		return m
	}
	m.kind = pick(r, TokenEndpointDown, TokenEndpointSlow, TokenEndpointHangs, TokenServerError, TokenTooManyRequests,
		TokenAnswerLost, TokenAnswerMalformed, TokenAnswerHuge, TokenRefused)
	switch m.kind {
	case TokenTooManyRequests:
		m.retryAfter = span(r, time.Second, 10*time.Minute).Truncate(time.Second)
	case TokenEndpointSlow:
		*pick(r, &m.before, &m.after) = span(r, time.Second, 40*time.Second)
	}
	w.count(m.kind)
	w.disturbed = time.Now() // the lock may be held for long
	return m
}

// A tokenEndpoint is the authorization server as one process reaches it.
type tokenEndpoint struct{ *process }

// RoundTrip implements [http.RoundTripper].
func (e tokenEndpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	content, err := io.ReadAll(req.Body)
	req.Body.Close()
	form, err2 := url.ParseQuery(string(content))
	if err != nil || err2 != nil || form.Get("grant_type") != "refresh_token" {
		panic(fmt.Sprintf("simulate: not a token request: %q", content))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.killed {
		return nil, errDead
	}
	sent := time.Now()
	r := e.refresh[form.Get("refresh_token")]
	if r == nil {
		e.violate("%v sends a refresh token that was never issued", e.process)
		return nil, errDown
	}
	if r.client != "" && r.client != form.Get("client_id") {
		e.violate("%v sends %s, which is bound to client %s", e.process, r.value, r.client)
	}
	e.checkExchange(r)
	// After one that failed, the next is due for the token's own sake.
	forced := r.access.rejected && e.failures == 0 && (r.access.believed.IsZero() || sent.Before(r.access.believed.Add(-e.ahead(r.access))))
	if forced {
		e.checkLimit(sent)
	}
	s := &send{by: e.process}
	r.sends = append(r.sends, s)
	m := e.mood()
	e.note("%v exchanges %s, mood %d", e.process, r.value, m.kind)
	e.exchanging++
	e.loaded = false
	if !e.slowEvents || chance(e.exchanges, .5) { // otherwise it is for OnEvent
		e.doom(span(e.exchanges, 0, m.before+m.after), KilledInExchange, SignedIn, SignedOut, SignedOutRevoking)
	}
	if len(e.procs) > 1 { // another does it meanwhile
		e.procs[(slices.Index(e.procs, e.process)+1)%len(e.procs)].doom(span(e.exchanges, 0, m.before+m.after), SignedOutAmidRenewal)
	}
	e.mu.Unlock()
	resp, err := e.serve(req.Context(), r, s, m, sent)
	e.mu.Lock()
	e.exchanging--
	e.note("%v has exchanged %s: %d", e.process, r.value, s.outcome)
	if now := time.Now(); e.cancelled.After(sent) && now.After(e.cancelled) && !e.killed {
		e.violate("%v goes on with an exchange after a sign-in or sign-out", e.process)
	}
	switch now := time.Now(); s.outcome {
	case delivered:
		e.failures, e.troubled = 0, time.Time{}
		e.renewed = append(e.renewed, now)
		if forced {
			e.forced = append(e.forced, now)
		}
	case refused:
		e.refused, e.presented = now, r.access
	default:
		if err == context.Canceled {
			break // by a sign-in or sign-out
		}
		if resp == nil {
			m.retryAfter = 0 // it did not get there
		}
		e.trouble(m.retryAfter)
		e.notBefore = now.Add(max(minBackoff, m.retryAfter))
	}
	return resp, err
}

// serve does what the mood is. The outcome is in s.
func (e tokenEndpoint) serve(ctx context.Context, r *refresh, s *send, m mood, sent time.Time) (*http.Response, error) {
	end := func(o outcome, resp *http.Response, err error) (*http.Response, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		s.outcome = o
		return resp, err
	}
	if err := e.pause(ctx, m.before); err != nil {
		e.givesUp(err, sent)
		return end(unprocessed, nil, err)
	}
	invalidGrant := func() *http.Response { return tokenResponse(400, strings.NewReader(`{"error":"invalid_grant"}`)) }
	switch m.kind {
	case TokenEndpointDown:
		return end(unprocessed, nil, errDown)
	case TokenEndpointHangs:
		err := e.pause(ctx, 1000*time.Hour)
		e.givesUp(err, sent)
		return end(unprocessed, nil, err)
	case TokenServerError:
		return end(unprocessed, tokenResponse(503, strings.NewReader("down")), nil)
	case TokenTooManyRequests:
		resp := tokenResponse(429, strings.NewReader(`{"error":"invalid_grant"}`)) // which it cannot know yet
		resp.Header.Set("Retry-After", strconv.Itoa(int(m.retryAfter/time.Second)))
		return end(unprocessed, resp, nil)
	case TokenRefused:
		return end(refused, invalidGrant(), nil)
	}
	e.mu.Lock()
	a, next, ok := e.answer(r, s)
	s.outcome = lost
	e.mu.Unlock()
	if err := e.pause(ctx, m.after); err != nil {
		e.givesUp(err, sent)
		return nil, err
	}
	switch {
	case !ok:
		return end(refused, invalidGrant(), nil)
	case m.kind == TokenAnswerLost:
		return nil, errDown
	case m.kind == TokenAnswerMalformed:
		return tokenResponse(200, strings.NewReader(`{"access_token":"`)), nil
	case m.kind == TokenAnswerHuge:
		return tokenResponse(200, io.MultiReader(strings.NewReader(`{"access_token":"`), letters{})), nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.outcome = delivered
	if e.keepRefresh {
		r.access = a
	}
	e.had[a] = true
	a.by, a.sent, a.got, a.believed, a.rejected = e.process, sent, time.Now(), a.expires, false
	answer := `{"access_token":"` + a.value + `","token_type":"Bearer"`
	if a.lifetime > 0 {
		a.believed = sent.Add(a.lifetime)
		answer += `,"expires_in":` + strconv.Itoa(int(a.lifetime/time.Second))
	}
	if next != nil {
		next.client = e.clientID
		answer += `,"refresh_token":"` + next.value + `"`
	}
	if chance(e.exchanges, .2) && !r.family.bare { // otherwise what the first answer had stays
		answer += `,"id_token":"` + r.family.extra["id_token"] + `"`
	}
	return tokenResponse(200, strings.NewReader(answer+"}")), nil
}

func tokenResponse(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}
}

// letters are without end.
type letters struct{}

func (letters) Read(to []byte) (int, error) {
	for i := range to {
		to[i] = 'x'
	}
	return len(to), nil
}

// checkExchange checks whether p may send r now. w.mu is held.
func (p *process) checkExchange(r *refresh) {
	now := time.Now()
	for _, q := range p.procs {
		if q.exchanging > 0 && (p.locked || q == p) {
			p.violate("%v begins an exchange while one of %v is under way", p, q)
		}
	}
	if now.Before(p.notBefore) {
		p.violate("%v exchanges %v too soon after a failure", p, p.notBefore.Sub(now))
	}
	if l := p.last; p.stored && !(p.setting > 0 && r.family.setBy == p) && (l == nil || l.form == garbage || l.form == later) {
		p.violate("%v exchanges %s, although it could not read the store", p, r.value)
	}
	if r.family.gone[p] && now.After(p.turned) {
		p.violate("%v exchanges %s, of before its last sign-in or sign-out", p, r.value)
	}
	for _, s := range r.sends {
		switch {
		case s.by == p.outsider && s.next != nil && p.had[s.next.access] && p.counts[ForeignPrevious]+p.counts[WentBack] == 0:
			p.violate("%v sends %s again, and has seen the answer that another program had", p, r.value)
		case s.by != p && !p.locked, s.by == p.outsider, p.lossy && s.by != p:
			p.count(ExchangeRepeated)
		case s.by.killed && s.outcome == pending:
			p.count(ExchangeRepeated)
		case s.outcome == pending:
			p.violate("%v sends %s while it is on its way", p, r.value)
		case s.outcome == unprocessed:
			p.count(ExchangeRetried)
		case s.outcome == lost:
			p.count(ExchangeRepeated)
		case s.outcome == refused:
			// Where all have the same refresh token, others may have got an answer since.
			// And it may come back by a record of a sign-in.
			if s.by == p && !p.refused.IsZero() && !(p.keepRefresh && p.processes > 1) && !(p.lossy && p.last != nil && p.last.change == tokensource.ChangeSignIn) {
				p.violate("%v sends %s again after invalid_grant", p, r.value)
			}
		case p.keepRefresh:
		case s.next.saved && !p.lossy:
			p.violate("%v sends %s again, whose answer was saved", p, r.value)
		case s.by == p && !p.lossy:
			p.violate("%v sends %s again, whose answer it had", p, r.value)
		default:
			p.count(ExchangeRepeated)
		}
	}
	a := r.access
	if p.has(r) && !a.rejected && (a.believed.IsZero() || now.Before(a.believed.Add(-p.ahead(a)))) {
		p.violate("%v exchanges %s without need: the access token is good for %v and was not rejected", p, r.value, a.believed.Sub(now))
	}
}

// givesUp checks why an exchange was given up. Its answer is lost with it, so no
// caller's leaving is a reason.
func (p *process) givesUp(err error, sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Since(sent); err != errDead && d > p.bound() {
		p.violate("%v gives up an exchange after %v", p, d)
	}
	if err == context.Canceled && !p.cancelled.Equal(time.Now()) {
		p.violate("%v gives up an exchange before its time is over", p)
	}
}

// has reports whether p, which has r, can be known to have r.access with it.
func (p *process) has(r *refresh) bool {
	switch {
	case p.keepAccess && (p.processes > 1 || r.access.by != p):
		return false // it has that one, but for how long may be news to it
	case !p.keepRefresh:
		return true
	case p.processes == 1 && r.access.by == p:
		return true
	}
	if n := p.newest; n != nil && n != r.access {
		// What p could not save may be newer than what the store has.
		if _, ok := n.last(); !ok || !n.older(r.access) {
			return false
		}
	}
	return r.access.saved && !p.lossy
}

// ahead is how long before its expiry a is renewed at the earliest.
func (w *world) ahead(a *access) time.Duration {
	window := min(a.lifetime/2, 5*time.Minute)
	return max(window, w.skewOf(a)+window/2)
}

// skewOf is how long before its expiry a is not used any more.
func (w *world) skewOf(a *access) time.Duration {
	skew := w.skew
	if skew == 0 {
		skew = 10 * time.Second
	}
	return min(max(skew, 0), a.lifetime/20)
}
