package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/origin"
	"github.com/authtrip/authtrip/internal/space"
)

// Choose sends requests by the one among several decorators whose
// authentication scheme the server's challenge offers (RFC 9110 section 11.1):
// what curl calls --anyauth.
//
// The first request to a protection space is sent without credentials. If the
// answer is a 401, the first of Choices that it offers gets the request, and the
// 401 in place of an answer to a request without credentials, so that a
// decorator that has to see a challenge does not ask for another one. If it
// cannot answer that, the next choice gets it; if none can, the 401 is returned as
// it came. An error of a decorator is final. Requests to the space then go by that
// choice at once, until the server asks for another.
//
// A request whose body cannot be sent again, which is one with a body but
// without GetBody, gets its 401; the next request goes by the choice at once.
//
// Basic is never chosen over plain http, whatever Audience allows it, except to
// loopback. A request that has an Authorization field already is passed through
// as it is. Choose must not be copied; it is safe for concurrent use by multiple
// goroutines, and its fields must not be modified after the first RoundTrip.
type Choose struct {
	// Choices are what to choose from, the strongest first. At least one is
	// required.
	Choices []Choice

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	once   sync.Once // guards by and err
	by     []*decorated
	err    error
	spaces space.Memory[atomic.Int64] // what is chosen
	next   hop.Next
}

// A decorated is the RoundTripper of a Choice.
type decorated struct {
	rt http.RoundTripper
	hop.Next
}

// What is chosen is none, which is 0, or the index of a choice above whether it
// is known to have an answer.
const known = 1

func chosen(i int, state int64) int64 { return int64(i+1)<<1 | state }

func index(choice int64) int { return int(choice>>1 - 1) }

// A Choice is a decorator and the scheme that it answers.
type Choice struct {
	// Scheme is an authentication scheme, in any letter case.
	Scheme string
	// Middleware makes the decorator, as its method Wrap does.
	Middleware Middleware
}

// RoundTrip implements [http.RoundTripper].
func (t *Choose) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Choose, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Choose) roundTrip(l *hop.Leg) (*http.Response, error) {
	req := l.Request
	if marks.Of(req.Context()).Off() || l.Own(hop.Authorization) {
		return t.next.Send(t.Base, l, req)
	}
	if h, _ := req.Context().Value(handedKey{}).(*handed); h != nil && h.by == t {
		// This is a request of a decorator's own, not the one it was given.
		l.Request = req.WithContext(context.WithValue(req.Context(), handedKey{}, nil))
		resp, err := t.roundTrip(l)
		if resp != nil {
			resp.Request = req
		}
		return resp, err
	}
	t.once.Do(t.decorate)
	to, err := origin.Of(req.URL)
	if err != nil {
		err = fmt.Errorf("transport: %w", err)
	}
	if err = cmp.Or(t.err, err); err != nil {
		hop.CloseBody(req)
		return nil, err
	}
	path := req.URL.EscapedPath()
	memory, choice, from := t.spaces.Find(to, path), int64(0), 0
	if memory != nil {
		choice = memory.Load()
	}
	var resp *http.Response
	switch {
	case choice == 0:
		first := *l
		first.Bare()
		resp, err = t.next.Send(t.Base, &first, req)
	case choice&known != 0:
		by := t.by[index(choice)]
		resp, err = by.Send(by.rt, l, req)
	default:
		h := hand(t, l.Build())
		by := t.by[index(choice)]
		resp, err = by.Send(by.rt, &hop.Leg{Request: h.req}, req)
		if h.differs.Load() && memory.CompareAndSwap(choice, choice|known) {
			choice |= known
		}
	}
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	offers := challenge.FromResponse(resp)
	if choice != 0 {
		if _, ok := offered(offers, t.Choices[index(choice)].Scheme); ok {
			if choice&known != 0 || !hop.Replayable(req) {
				return resp, nil // it has done what it could
			}
			from = index(choice) + 1
		}
	}
	for i := from; i < len(t.Choices); i++ {
		scheme := t.Choices[i].Scheme
		offer, ok := offered(offers, scheme)
		if !ok || strings.EqualFold(scheme, "Basic") && to.Scheme != "https" && !to.Loopback() {
			continue
		}
		answer, state, err := t.answer(t.by[i], l.Build(), resp)
		switch {
		case err != nil:
			return nil, err
		case state == 0 && hop.Replayable(req):
			continue
		}
		realm, _ := offer.Param("realm")
		t.spaces.Learn(to, strings.Clone(realm), space.Directory(path), "/").Store(chosen(i, state))
		return answer, nil
	}
	return resp, nil
}

func (t *Choose) decorate() {
	if len(t.Choices) == 0 {
		t.err = errors.New("transport: Choose has no Choices")
		return
	}
	t.err = errors.New("transport: a Middleware of Choose.Choices panicked")
	by := make([]*decorated, len(t.Choices))
	for i, c := range t.Choices {
		var rt http.RoundTripper
		if c.Scheme != "" && c.Middleware != nil {
			rt = c.Middleware(&answering{t})
		}
		if rt == nil {
			t.err = fmt.Errorf("transport: Choose.Choices[%d] lacks a Scheme or a Middleware that returns a RoundTripper", i)
			return
		}
		by[i] = &decorated{rt: rt}
	}
	t.by, t.err = by, nil
}

func offered(offers []challenge.Challenge, scheme string) (challenge.Challenge, bool) {
	i := slices.IndexFunc(offers, func(c challenge.Challenge) bool { return c.Is(scheme) })
	if i < 0 {
		return challenge.Challenge{}, false
	}
	return offers[i], true
}

// A handed is a request that was handed to a decorator, which is to be known
// again when the decorator sends it, and a 401 to it if there is one.
type handed struct {
	by      *Choose
	req     *http.Request
	differs atomic.Bool // the decorator sent something else

	resp *http.Response
	held *held       // resp, if it was set aside
	gone atomic.Bool // the decorator has resp, or it was discarded
	// final says that the request cannot be sent again, so that all the
	// decorator can do is learn from the 401.
	final bool
}

type handedKey struct{}

func hand(t *Choose, req *http.Request) *handed {
	h := &handed{by: t}
	h.req = req.WithContext(context.WithValue(req.Context(), handedKey{}, h))
	return h
}

// answer has a decorator answer a 401. The state says whether it had an
// answer; if not, or if that could not be sent, resp is returned as it came.
func (t *Choose) answer(by *decorated, req *http.Request, resp *http.Response) (_ *http.Response, state int64, err error) {
	h := hand(t, req)
	h.resp, h.final = resp, !hop.Replayable(req)
	if h.final {
		h.req.Body = unsendable{}
	} else if h.req.Body, err = hop.Replay(req); err != nil {
		return resp, 0, nil
	}
	returned := false
	defer func() {
		if !returned {
			h.drop()
		}
	}()
	if !h.final {
		// The decorator may have to wait for what needs the connection.
		if 0 <= resp.ContentLength && resp.ContentLength <= maxHeld {
			h.held = hold(resp)
		} else {
			defer time.AfterFunc(maxHold, h.drop).Stop()
		}
	}
	answer, err := by.Send(by.rt, &hop.Leg{Request: h.req}, req)
	if h.final && errors.Is(err, errUnsendable) {
		returned = true
		return resp, known, nil
	}
	if returned = answer == resp; returned {
		return resp, 0, nil
	}
	return answer, known, err
}

// drop discards the 401 unless that has happened.
func (h *handed) drop() {
	switch {
	case h.gone.Swap(true):
	case h.held != nil:
		h.held.discard()
	default:
		hop.Discard(h.req, h.resp)
	}
}

// answering is the base of the decorators.
type answering struct{ t *Choose }

// RoundTrip implements [http.RoundTripper].
func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return a.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *answering, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

// roundTrip gives the 401 that is on its way to a decorator in answer to what
// was rejected with it. Everything else goes to Base.
func (a *answering) roundTrip(l *hop.Leg) (*http.Response, error) {
	h, _ := l.Request.Context().Value(handedKey{}).(*handed)
	if h == nil || h.by != a.t {
		return a.t.next.Send(a.t.Base, l, l.Request)
	}
	req := l.Build()
	if !same(req, h.req) {
		h.differs.Store(true)
	} else if h.resp != nil && !h.gone.Swap(true) {
		hop.CloseBody(req)
		if h.held != nil {
			return h.held.restore(), nil
		}
		return h.resp, nil
	}
	if h.final {
		hop.CloseBody(req)
		return nil, errUnsendable
	}
	if h.resp != nil {
		h.drop()
	}
	return a.t.next.Send(a.t.Base, &hop.Leg{Request: req}, l.Request)
}

func (a *answering) Unwrap() http.RoundTripper { return hop.Base(a.t.Base) }

func (a *answering) CloseIdleConnections() { hop.CloseIdle(a.t.Base) }

// same reports whether the server would see no difference between a and b.
func same(a, b *http.Request) bool {
	return *a.URL == *b.URL && maps.EqualFunc(a.Header, b.Header, slices.Equal)
}

var errUnsendable = errors.New("transport: the body cannot be sent again")

// unsendable stands for a body that has been sent.
type unsendable struct{}

func (unsendable) Read([]byte) (int, error) { return 0, errUnsendable }
func (unsendable) Close() error             { return nil }

// Wrap returns a Choose like t around base; it is a [Middleware].
func (t *Choose) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Choose{Choices: t.Choices, Base: base}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Choose) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Choose) CloseIdleConnections() { hop.CloseIdle(t.Base) }
