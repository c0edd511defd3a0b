package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/authtrip/authtrip/internal/carry"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/rescue"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// Refresh puts the Source's token into the Authorization field of every
// request (RFC 6750 section 2.1), and when a server rejects the token, has it
// renewed and sends the request again, once. Requests that are rejected
// together wait for one renewal.
//
// After a rejection:
//
//   - If the request's body cannot be sent again, the rejection is returned as
//     it came, and the next request renews the token before it is sent. A body
//     can be sent again if there is none, if the request has GetBody, as
//     http.NewRequest sets it for the common types, or within ReplayBuffer.
//   - If the renewal fails, RoundTrip returns a [*RenewalError].
//   - If the Source has nothing newer, the rejection is returned as it came.
//   - Else the request is sent again with the new token, and the outcome of
//     that is returned, whatever it is.
//
// A rejection that is returned after a renewal was tried has its body, up to 64
// KiB. A longer one keeps its connection for a second at most, since the renewal may
// be waiting for that; if it takes longer, reading the rest is an error.
//
// A request that has an Authorization field already is passed through as it
// is, and so is one that the Audience does not include; their 401s start no
// renewal. Refresh must not be copied; it is safe for concurrent use by
// multiple goroutines, and its fields must not be modified after the first
// RoundTrip.
type Refresh struct {
	// Source gives and renews the token, as a tokensource.Session does. It is
	// required. The client that it talks to the token endpoint with must not be
	// decorated by this Refresh.
	Source tokensource.Renewer

	// Optional lets a request go without a token if there is none, which is
	// when the Source returns tokensource.ErrNoToken. Otherwise RoundTrip
	// returns that error.
	Optional bool

	// Rejected reports whether a response says that the token was not
	// accepted; nil means status 401. It must not read or close the body, but
	// see RejectedIf for one that does. A response that asks for a StepUp is no
	// rejection, whatever Rejected says.
	Rejected func(*http.Response) bool

	// OnStepUp, if not nil, is asked for a token that meets what a response's
	// Bearer challenge demands (RFC 6750 section 3.1, RFC 9470), and the request
	// is sent again with it. Without OnStepUp, such a response is returned as it
	// came.
	//
	// It should hand the token to Source, as by Session.Set, for later requests;
	// where there is none to have, it returns tokensource.ErrUnchanged, and the
	// response is returned as it came. Any other error, or a panic, becomes a
	// RenewalError. Requests that meet the same demand with the same token share
	// one call. Its context has the values of one of theirs and does not end with
	// it, so OnStepUp has to set itself a bound; each request waits until its own
	// context ends.
	OnStepUp func(context.Context, StepUp) (*oauth2.Token, error)

	// ReplayBuffer is the number of bytes up to which the body of a request
	// without GetBody is read into memory, so that it can be sent again. It is
	// read to its end before the request is sent, which does not suit a body
	// that is written while the response is read. Zero means that nothing is
	// buffered.
	ReplayBuffer int64

	// OnEvent, if not nil, is told what becomes of requests that do not go
	// through plainly, with the context of the request, on its goroutine. A
	// panic in it is recovered and ignored.
	OnEvent func(context.Context, Event)

	// Audience is who may receive the token; nil means the origin of the first
	// request of each redirect chain, over https or loopback.
	Audience *Audience

	// Base sends the request; nil means http.DefaultTransport.
	Base http.RoundTripper

	header header
	owed   owed
	steps  steps
	next   hop.Next
}

// A RenewalError says that a token was rejected, for this request or for one
// before that could not be sent again, that it could not be renewed, and why.
// errors.Is(err, tokensource.ErrReauthRequired) tells whether the user has to
// sign in again; with a [tokensource.RetryError] in it, it may go better later.
type RenewalError struct {
	// StatusCode and Challenges, the WWW-Authenticate fields, are those of the
	// rejection.
	StatusCode int
	Challenges []string
	// Err is why the renewal failed.
	Err error
}

func (e *RenewalError) Error() string {
	return fmt.Sprintf("transport: status %d, and the token was not renewed: %v", e.StatusCode, e.Err)
}

// Unwrap returns e.Err.
func (e *RenewalError) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a timeout; url.Error asks.
func (e *RenewalError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && t.Timeout()
}

var errRefreshSource = errors.New("transport: Refresh.Source is nil")

// RoundTrip implements [http.RoundTripper].
func (t *Refresh) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(t *Refresh, l hop.Leg) (*http.Response, error) { return t.roundTrip(&l) })

func (t *Refresh) roundTrip(l *hop.Leg) (*http.Response, error) {
	req := l.Request
	token, f, err := t.authorize(l)
	switch {
	case err != nil:
		// invariant: a request that is not sent has its body closed
		hop.CloseBody(req)
		return nil, err
	case token == nil:
		return t.next.Send(t.Base, l, req)
	}
	if t.ReplayBuffer > 0 && !hop.Replayable(req) && req.ContentLength <= t.ReplayBuffer {
		if l.Request, err = t.buffered(req); err != nil {
			return nil, err
		}
	}
	if f == nil {
		return t.sendCarried(req, l, token)
	}
	l.Set(f)
	return t.send(req, l, l, token)
}

func (t *Refresh) buffered(req *http.Request) (*http.Request, error) {
	ctx, wait := hop.Waiting(req)
	defer wait.Stop()
	return buffer(ctx, req, t.ReplayBuffer)
}

// sendCarried sends l with a token that goes elsewhere, into more than one field perhaps.
func (t *Refresh) sendCarried(req *http.Request, l *hop.Leg, token *oauth2.Token) (*http.Response, error) {
	before := *l
	*l = t.carrier().Carry(carry.Attempt{Leg: *l, Token: token})
	return t.send(req, l, &before, token)
}

// send sends l, which has the token. If that is rejected, it starts from before, in
// which a field that the new one replaces does no harm.
func (t *Refresh) send(req *http.Request, l, before *hop.Leg, token *oauth2.Token) (*http.Response, error) {
	resp, err := t.next.Send(t.Base, l, req)
	if err != nil || t.Rejected == nil && resp.StatusCode < http.StatusBadRequest {
		return resp, err
	}
	return t.answered(req, before, resp, token)
}

// answered judges a response that may be a rejection, and sends the request again if it
// is one.
func (t *Refresh) answered(req *http.Request, l *hop.Leg, resp *http.Response, token *oauth2.Token) (*http.Response, error) {
	rejected, err := t.rejected(resp)
	demand := demanded(resp, token)
	switch {
	case err != nil:
		hop.CloseResponse(resp)
		return nil, err
	case demand == nil && !rejected, demand != nil && t.OnStepUp == nil:
		return resp, nil
	}
	r := newRejection(token, resp)
	if !hop.Replayable(l.Request) {
		if demand == nil {
			// invariant: a rejection that could not be answered is answered later
			t.owed.add(r)
		}
		t.emit(req, Event{Kind: EventNotReplayable, StatusCode: r.status, Generation: t.generation(token)})
		return resp, nil
	}
	return t.again(req, l, resp, r, demand)
}

// authorize returns the token to send, nil if l is to go as it is, and its field,
// nil if the token goes elsewhere.
func (t *Refresh) authorize(l *hop.Leg) (*oauth2.Token, *hop.Field, error) {
	req := l.Request
	if t.Source == nil {
		return nil, nil, errRefreshSource
	}
	own := l.Own(hop.Authorization) && t.carrier() == nil
	if v, err := admit(req, own, t.Audience, t.Source, t); v != attach {
		if v == withheld {
			t.emit(req, Event{Kind: EventWithheld})
		}
		return nil, nil, err
	}
	token, err := t.token(req)
	if err != nil {
		if t.Optional && errors.Is(err, tokensource.ErrNoToken) {
			err = nil
		}
		return nil, nil, err
	}
	if r := t.owed.of(token); r != nil {
		return t.settle(req, r)
	}
	f, err := t.field(token)
	return token, f, err
}

// settle has the token renewed that an earlier request, which could not be
// sent again, found rejected.
func (t *Refresh) settle(req *http.Request, r *rejection) (*oauth2.Token, *hop.Field, error) {
	start := time.Now()
	token, f, err := t.renew(req, r.token)
	_, later := errors.AsType[*tokensource.RetryError](err)
	if later || errors.Is(err, tokensource.ErrUnchanged) {
		// It was another request that was rejected; this one may fare better.
		f, err := t.field(r.token)
		if !later {
			t.owed.remove(r)
		}
		return r.token, f, err
	}
	if err != nil {
		t.emit(req, Event{
			Kind: EventRenewalFailed, StatusCode: r.status, Generation: t.generation(r.token),
			Duration: time.Since(start), Err: err,
		})
		return nil, nil, r.failed(err)
	}
	t.owed.remove(r)
	return token, f, nil
}

// carrier returns the Source if it puts its tokens elsewhere, else nil.
func (t *Refresh) carrier() carry.Carrier {
	c, _ := t.Source.(carry.Carrier)
	return c
}

// field returns the field for a token of Source, nil if that goes elsewhere.
func (t *Refresh) field(token *oauth2.Token) (*hop.Field, error) {
	if f := t.header.cached(token); f != nil {
		return f, nil
	}
	if t.carrier() != nil && token != nil {
		return nil, nil
	}
	return t.header.field("Source", token)
}

func (t *Refresh) token(req *http.Request) (token *oauth2.Token, err error) {
	ctx, wait := hop.Waiting(req)
	defer end(wait, "transport: Source", &token, &err)
	return t.Source.Token(ctx)
}

func (t *Refresh) renewed(req *http.Request, rejected *oauth2.Token) (token *oauth2.Token, err error) {
	ctx, wait := hop.Waiting(req)
	defer end(wait, "transport: Source", &token, &err)
	return t.Source.Renew(ctx, rejected)
}

// renew returns a token other than rejected with its field, or an error.
func (t *Refresh) renew(req *http.Request, rejected *oauth2.Token) (*oauth2.Token, *hop.Field, error) {
	token, err := t.renewed(req, rejected)
	if err == nil && token == rejected {
		err = tokensource.ErrUnchanged
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := t.field(token)
	return token, f, err
}

// again gets another token, a renewed one or one that meets the demand, and
// makes the second attempt.
func (t *Refresh) again(req *http.Request, l *hop.Leg, resp *http.Response, r *rejection, demand *StepUp) (*http.Response, error) {
	e := Event{Kind: EventRejected, StatusCode: r.status, Generation: t.generation(r.token)}
	if demand != nil {
		e.Kind = EventStepUp
	}
	t.emit(req, e)
	h := hold(resp)
	start := time.Now()
	token, f, err := t.another(req, r.token, demand)
	e.Duration = time.Since(start)
	// invariant: a rejection is returned only if there is nothing newer
	if errors.Is(err, tokensource.ErrUnchanged) {
		e.Kind = EventUnchanged
		t.emit(req, e)
		return h.restore(), nil
	}
	if err != nil {
		h.discard()
		e.Kind, e.Err = EventRenewalFailed, err
		t.emit(req, e)
		return nil, r.failed(err)
	}
	// invariant: what is sent again has the whole body
	body, err := hop.Replay(l.Request)
	if err != nil {
		e.Kind, e.Err = EventNotReplayable, err
		t.emit(req, e)
		return h.restore(), nil
	}
	h.discard()
	l.SetBody(body)
	if f != nil {
		l.Set(f)
	} else {
		*l = t.carrier().Carry(carry.Attempt{Leg: *l, Token: token, Again: true})
	}
	resp, err = t.next.Send(t.Base, l, req)
	e.Kind, e.StatusCode, e.Generation, e.Err = EventReplayed, 0, t.generation(token), err
	if err == nil {
		e.StatusCode = resp.StatusCode
		if resp.StatusCode == http.StatusUnauthorized || demanded(resp, token) != nil {
			t.steps.forget(token)
		}
	}
	t.emit(req, e)
	return resp, err
}

func (t *Refresh) another(req *http.Request, old *oauth2.Token, demand *StepUp) (*oauth2.Token, *hop.Field, error) {
	if demand == nil {
		return t.renew(req, old)
	}
	return t.stepUp(req, demand, old)
}

func (t *Refresh) rejected(resp *http.Response) (rejected bool, err error) {
	if t.Rejected == nil {
		return resp.StatusCode == http.StatusUnauthorized, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = rescue.Error("transport: Refresh.Rejected", v)
		}
	}()
	return t.Rejected(resp), nil
}

func (t *Refresh) generation(token *oauth2.Token) uint64 {
	if s, ok := t.Source.(interface{ Generation(*oauth2.Token) uint64 }); ok && t.OnEvent != nil {
		return s.Generation(token)
	}
	return 0
}

func (t *Refresh) emit(req *http.Request, e Event) {
	if t.OnEvent == nil {
		return
	}
	defer func() { _ = recover() }()
	t.OnEvent(req.Context(), e)
}

// Wrap returns a Refresh like t around base; it is a [Middleware].
func (t *Refresh) Wrap(base http.RoundTripper) http.RoundTripper {
	return &Refresh{
		Source: t.Source, Optional: t.Optional, Rejected: t.Rejected, OnStepUp: t.OnStepUp, ReplayBuffer: t.ReplayBuffer,
		OnEvent: t.OnEvent, Audience: t.Audience, Base: base,
	}
}

// Unwrap returns the RoundTripper that t sends by.
func (t *Refresh) Unwrap() http.RoundTripper { return hop.Base(t.Base) }

// CloseIdleConnections closes those of Base.
func (t *Refresh) CloseIdleConnections() { hop.CloseIdle(t.Base) }
