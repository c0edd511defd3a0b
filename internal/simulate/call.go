package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// A call is one request of a caller's, and what came of it.
type call struct {
	id       int
	p        *process
	random   *rand.Rand // used by one attempt at a time
	content  string     // the request's body
	again    bool       // it can be sent again
	final    bool       // it belongs to the end, when all is calm
	began    time.Time
	deadline time.Time

	// Guarded by world.mu.
	given    *oauth2.Token // by the Session, last
	attempts []attempt
	source   error // of the Session's
	failed   error // of an attempt's
}

// An attempt is what arrived at the API.
type attempt struct {
	given    *oauth2.Token
	token    *access
	status   int
	complete bool // the body
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// A body is to be closed.
type body struct {
	io.Reader
	w      *world
	call   *call
	of     string
	closed int // guarded by w.mu
	end    chan struct{}
}

// newBody returns a body to be checked in the end. w.mu is held.
func (w *world) newBody(c *call, of string, r io.Reader) *body {
	b := &body{Reader: r, w: w, call: c, of: of, end: make(chan struct{})}
	w.bodies = append(w.bodies, b)
	return b
}

func (b *body) Close() error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.closed++; b.closed == 1 {
		close(b.end)
	}
	return nil
}

// A breaking reader fails.
type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errBody }

// A stalled reader waits for its body to be closed, or the request's end.
type stalled struct {
	b   *body
	ctx context.Context
}

func (s stalled) Read([]byte) (int, error) {
	select {
	case <-s.b.end:
		return 0, errors.New("simulate: read after Close")
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-s.b.call.p.dead:
		return 0, errDead
	}
}

// plain hides what else a reader can do.
type plain struct{ io.Reader }

// request makes the call's request. w.mu is held.
func (c *call) request(ctx context.Context) *http.Request {
	w, r := c.p.world, c.random
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example/", nil)
	if err != nil {
		panic(err)
	}
	c.again = true
	if chance(r, .4) {
		return req
	}
	c.content = fmt.Sprint("the body of call ", c.id)
	fresh := func() *body { return w.newBody(c, "the request", strings.NewReader(c.content)) }
	first := fresh()
	req.Body = first
	req.ContentLength = int64(len(c.content))
	getBody := func() (io.ReadCloser, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return fresh(), nil
	}
	kind := r.IntN(10)
	if c.final {
		kind = 0
	}
	switch {
	case kind < 4:
		req.GetBody = getBody
	case kind < 7:
		req.ContentLength = -1
		w.count(StreamedBody)
		if w.replayBuffer > 0 {
			w.count(BufferedBody)
		}
		c.again = w.replayBuffer > 0
		first.Reader = plain{first.Reader}
	case kind < 8:
		c.content = strings.Repeat("long ", 300)
		first.Reader = plain{strings.NewReader(c.content)}
		req.ContentLength = int64(len(c.content))
		c.again = false
		if w.replayBuffer > 0 {
			w.count(BodyBeyondBuffer)
		}
		if chance(r, .5) {
			req.ContentLength = -1
		}
	case kind < 9:
		req.GetBody = func() (io.ReadCloser, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.count(GetBodyFails)
			return nil, errBody
		}
		c.again = false
	default:
		req.GetBody = getBody
		first.Reader = io.MultiReader(strings.NewReader(c.content[:4]), breaking{})
	}
	return req
}

// do makes a call and checks what comes of it.
func (p *process) do(final bool) (ok bool) {
	w := p.world
	w.mu.Lock()
	w.calls++
	c := &call{id: w.calls, p: p, final: final, random: w.random("call", w.calls)}
	ctx, cancel := context.WithCancel(context.WithValue(p.ctx, callKey{}, c))
	defer cancel()
	var stop Kind = none
	switch patience := c.random.IntN(10); {
	case final:
		c.deadline = time.Now().Add(10 * time.Minute)
	case patience < 2:
		stop = CallerDeadline
		c.deadline = time.Now().Add(span(c.random, 5*time.Millisecond, 30*time.Second))
	case patience < 3:
		stop = CallerCancelled
		c.deadline = time.Now().Add(span(c.random, 5*time.Millisecond, 2*time.Second))
	}
	var gone context.CancelFunc
	if stop == CallerDeadline || final {
		ctx, gone = context.WithDeadline(ctx, c.deadline)
		defer gone()
	} else if stop == CallerCancelled {
		defer time.AfterFunc(time.Until(c.deadline), cancel).Stop()
	}
	req := c.request(ctx)
	c.began = time.Now()
	p.note("call %d begins", c.id)
	w.mu.Unlock()
	resp, err := p.client.RoundTrip(req)
	now := time.Now()
	var content []byte
	var readErr error
	if err == nil {
		bored := time.AfterFunc(5*time.Second, func() { resp.Body.Close() })
		content, readErr = io.ReadAll(io.LimitReader(resp.Body, 100<<10))
		bored.Stop()
		resp.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	p.note("call %d: %d, %v", c.id, status, err)
	switch {
	case p.killed:
		return true
	case !c.deadline.IsZero() && now.After(c.deadline):
		w.violate("call %d returns %v after its deadline", c.id, now.Sub(c.deadline))
	case c.deadline.IsZero() && now.Sub(c.began) > 10*time.Minute:
		w.violate("call %d returns after %v", c.id, now.Sub(c.began))
	}
	if err != nil {
		if ctx.Err() != nil && stop != none {
			w.count(stop)
		}
		c.checkError(ctx, err)
		return false
	}
	c.checkResponse(ctx, status, string(content), readErr)
	return status == http.StatusOK
}

// checkError checks that RoundTrip had a reason to fail. What the Session has
// said was checked there. w.mu is held.
func (c *call) checkError(ctx context.Context, err error) {
	w := c.p.world
	renewal, isRenewal := errors.AsType[*transport.RenewalError](err)
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	case isRenewal:
		if c.source == nil || !errors.Is(err, c.source) || renewal.StatusCode != http.StatusUnauthorized {
			w.violate("call %d: %v, which is not what the Session has said", c.id, err)
		}
	case c.source != nil && errors.Is(err, c.source):
	case c.failed != nil && errors.Is(err, c.failed):
	case errors.Is(err, errBody) && w.replayBuffer > 0 && len(c.attempts) == 0: // as it was buffered
	default:
		w.violate("call %d: unexpected error: %v", c.id, err)
	}
}

// checkResponse checks that a response is the one that was to be returned. w.mu is
// held.
func (c *call) checkResponse(ctx context.Context, status int, content string, readErr error) {
	w := c.p.world
	if len(c.attempts) == 0 {
		w.violate("call %d has a response of status %d, and nothing was sent", c.id, status)
		return
	}
	last := c.attempts[len(c.attempts)-1]
	switch {
	case last.status != status:
		w.violate("call %d has status %d, and the last attempt had %d", c.id, status, last.status)
	case len(c.attempts) > 2:
		w.violate("call %d was sent %d times", c.id, len(c.attempts))
	case status == http.StatusOK:
		if !last.complete {
			w.violate("call %d was accepted without its whole body", c.id)
		}
		if readErr != nil && ctx.Err() == nil || readErr == nil && content != "accepted" {
			w.violate("call %d: the response is %.20q, %v", c.id, content, readErr)
		}
		if len(c.attempts) == 2 {
			w.count(RequestSentAgain)
		}
	case c.again && len(c.attempts) == 1:
		w.violate("call %d: the rejection was returned, and it could have been sent again", c.id)
	case len(c.attempts) == 1:
		w.count(RejectionReturned)
		if c.p.owed == nil {
			c.p.owed = make(map[*access]time.Time)
		}
		c.p.owed[last.token] = time.Now()
	}
	// A rejection that nobody could answer is answered before the next request.
	if since, ok := c.p.owed[c.attempts[0].token]; ok && since.Before(c.began) && c.source == nil && !w.keepAccess {
		w.violate("call %d was sent with token %d, which was rejected %v before", c.id, c.attempts[0].token.serial, c.began.Sub(since))
	}
	// (Where a server keeps access tokens, a new token has the same text.)
	if len(c.attempts) == 2 && (c.attempts[0].given == last.given || c.attempts[0].token == last.token && !w.keepAccess) {
		w.violate("call %d was sent again with the same token", c.id)
	}
}
