package transport

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// The values of StepUp.Error.
const (
	// InsufficientScope: the request needs more than the token's scope
	// (RFC 6750 section 3.1).
	InsufficientScope = "insufficient_scope"
	// InsufficientUserAuthentication: the user has to sign in more strongly or
	// more recently (RFC 9470 section 3).
	InsufficientUserAuthentication = "insufficient_user_authentication"
)

// A StepUp is what a server's Bearer challenge asks for where the token is good
// but does not go far enough.
type StepUp struct {
	// Error is InsufficientScope or InsufficientUserAuthentication.
	Error string
	// Scopes are what the new token should have: what the old one was granted,
	// as far as the token's own scope tells, and what the server asks for.
	Scopes []string
	// ACRValues are the authentication context class references that the
	// server accepts, the preferred first; none if it does not say.
	ACRValues []string
	// MaxAge is how long ago the user may have signed in, if HasMaxAge. Zero is
	// a demand like any other: the user has to sign in now.
	MaxAge    time.Duration
	HasMaxAge bool
}

// demanded returns what resp asks for beyond token, nil if it does not.
func demanded(resp *http.Response, token *oauth2.Token) *StepUp {
	if resp.StatusCode < http.StatusBadRequest || resp.StatusCode == http.StatusProxyAuthRequired ||
		!slices.ContainsFunc(resp.Header["Www-Authenticate"], mayDemand) {
		return nil
	}
	for _, c := range challenge.FromResponse(resp) {
		kind, _ := c.Param("error")
		if !c.Is("Bearer") || kind != InsufficientScope && kind != InsufficientUserAuthentication {
			continue
		}
		d := &StepUp{Error: kind}
		param := func(name string) string {
			value, _ := c.Param(name)
			return redact(value, token)
		}
		held, _ := token.Extra("scope").(string)
		for scope := range strings.FieldsSeq(held + " " + param("scope")) {
			if !slices.Contains(d.Scopes, scope) {
				d.Scopes = append(d.Scopes, scope)
			}
		}
		d.ACRValues = strings.Fields(param("acr_values"))
		if seconds, err := strconv.ParseUint(param("max_age"), 10, 31); err == nil {
			d.MaxAge, d.HasMaxAge = time.Duration(seconds)*time.Second, true
		}
		return d
	}
	return nil
}

// mayDemand reports whether a closer look at a challenge is worth it, which it seldom is
// while a herd is rejected. A backslash may stand before any character of a value.
func mayDemand(challenge string) bool {
	return strings.Contains(challenge, "insufficient_") || strings.Contains(challenge, `\`)
}

// maxSteps bounds how many demands that were met are remembered.
const maxSteps = 16

// steps has one call of OnStepUp serve all requests that meet the same demand
// with the same token, those included that are answered after it.
type steps struct {
	flights singleflight.Group
	mu      sync.Mutex             // held to replace what met points to
	met     atomic.Pointer[[]step] // latest last; a pointer prints no token
}

// A step is a demand that was met.
type step struct {
	demand     string
	old, token *oauth2.Token
	field      *hop.Field
}

func (s *steps) list() []step {
	if met := s.met.Load(); met != nil {
		return slices.Clone(*met)
	}
	return nil
}

// find returns the step by which demand was met for old, if its token is good.
func (s *steps) find(old *oauth2.Token, demand string) (step, bool) {
	for _, st := range s.list() {
		if st.old == old && st.demand == demand && st.token.Valid() {
			return st, true
		}
	}
	return step{}, false
}

func (s *steps) add(st step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	met := append(s.list(), st)
	met = met[max(0, len(met)-maxSteps):]
	s.met.Store(&met)
}

// forget forgets the steps that led to token, which was not accepted.
func (s *steps) forget(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	met := slices.DeleteFunc(s.list(), func(st step) bool { return st.token == token })
	s.met.Store(&met)
}

// stepUp returns a token that meets d, where old did not, and its field.
func (t *Refresh) stepUp(req *http.Request, d *StepUp, old *oauth2.Token) (*oauth2.Token, *hop.Field, error) {
	demand := fmt.Sprintf("%+v", *d)
	if st, ok := t.steps.find(old, demand); ok {
		return st.token, st.field, nil
	}
	ctx, wait := hop.Waiting(req)
	defer wait.Stop()
	flight := t.steps.flights.DoChan(fmt.Sprintf("%p %s", old, demand), func() (any, error) {
		if st, ok := t.steps.find(old, demand); ok {
			return st, nil
		}
		ctx, end := marks.WithRenewal(context.WithoutCancel(ctx), t)
		defer end()
		st := step{demand: demand, old: old}
		err := rescue.Do("transport: Refresh.OnStepUp", func() (err error) {
			st.token, err = t.OnStepUp(ctx, *d)
			return err
		})
		if err == nil && st.token == old {
			err = tokensource.ErrUnchanged
		}
		if err == nil {
			st.field, err = t.header.field("OnStepUp", st.token)
		}
		if err != nil {
			return nil, err
		}
		t.steps.add(st)
		return st, nil
	})
	select {
	case result := <-flight:
		st, _ := result.Val.(step)
		return st.token, st.field, result.Err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}
