package simulate

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// An api is the API as one process reaches it.
type api struct{ *process }

// RoundTrip implements [http.RoundTripper].
func (e api) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	resp, err := e.serve(req, c)
	if req.Body != nil {
		req.Body.Close()
	}
	if err != nil {
		e.mu.Lock()
		c.failed = err
		e.mu.Unlock()
	}
	return resp, err
}

func (e api) serve(req *http.Request, c *call) (*http.Response, error) {
	r := c.random
	e.mu.Lock()
	e.note("%v: call %d arrives with %s", e.process, c.id, req.Header.Get("Authorization"))
	if e.killed {
		e.mu.Unlock()
		return nil, errDead
	}
	value, isBearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	a := e.access[value]
	given := c.given
	if !isBearer || a == nil || given == nil || given.AccessToken != value {
		e.violate("call %d is sent with %q, which is not what it was given", c.id, req.Header.Get("Authorization"))
		e.mu.Unlock()
		return nil, errDown
	}
	before, after := span(r, time.Millisecond, 150*time.Millisecond), span(r, time.Millisecond, 150*time.Millisecond)
	down, early, spurious := false, chance(r, .2), false
	if !e.calm {
		down, spurious = chance(r, e.apiFaults), chance(r, e.apiFaults/2)
		if chance(r, e.apiFaults) {
			e.count(APISlow)
			*pick(r, &before, &after) = span(r, time.Second, 40*time.Second)
		}
	}
	e.mu.Unlock()
	if err := e.pause(req.Context(), before); err != nil {
		return nil, err
	}
	if down {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.count(APIDown)
		return nil, errDown
	}
	at := attempt{given: given, token: a, complete: true}
	e.mu.Lock()
	now := time.Now()
	good := a.good(now)
	spurious = spurious || now.Before(e.storm)
	switch {
	case good && spurious:
		e.count(SpuriousRejection)
		good = false
	case good:
	case a.revoked:
		e.count(Revoked)
	case a.family.ended:
		e.count(GrantEnded)
	default:
		e.count(Expired)
	}
	if !good {
		a.rejected = true
	}
	e.mu.Unlock()
	if req.Body != nil && (good || !early) {
		content, err := io.ReadAll(req.Body)
		if err != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.count(BodyFails)
			return nil, err
		}
		at.complete = string(content) == c.content
	}
	if err := e.pause(req.Context(), after); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at.status = http.StatusOK
	if !good {
		at.status = http.StatusUnauthorized
		if early {
			e.count(EarlyRejection)
		}
	}
	c.attempts = append(c.attempts, at)
	return e.respond(req, c, at.status), nil
}

// respond makes a response, whose body may be difficult. w.mu is held.
func (e api) respond(req *http.Request, c *call, status int) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Request: req}
	if status == http.StatusOK {
		resp.Body = e.newBody(c, "the response", strings.NewReader("accepted"))
		return resp
	}
	resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	kind := pick(c.random, RejectionEmpty, RejectionShort, RejectionLong, RejectionEndless, RejectionStalled)
	e.count(kind)
	var content io.Reader
	switch kind {
	case RejectionEmpty:
		resp.Body = http.NoBody
		return resp
	case RejectionShort:
		content = strings.NewReader("rejected")
	case RejectionLong:
		content = io.LimitReader(letters{}, 70<<10)
	case RejectionEndless:
		content = letters{}
	}
	b := e.newBody(c, "the rejection", content)
	if kind == RejectionStalled {
		b.Reader = io.MultiReader(strings.NewReader("rej"), stalled{b, req.Context()})
	}
	resp.Body = b
	return resp
}
