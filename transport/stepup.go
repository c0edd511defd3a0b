package transport

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authtrip/authtrip/challenge"
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
	if resp.StatusCode < http.StatusBadRequest || len(resp.Header["Www-Authenticate"]) == 0 {
		return nil
	}
	for _, c := range challenge.FromResponse(resp) {
		kind, _ := c.Param("error")
		if !c.Is("Bearer") || kind != InsufficientScope && kind != InsufficientUserAuthentication {
			continue
		}
		d := &StepUp{Error: kind}
		held, _ := token.Extra("scope").(string)
		asked, _ := c.Param("scope")
		for scope := range strings.FieldsSeq(held + " " + asked) {
			if !slices.Contains(d.Scopes, scope) {
				d.Scopes = append(d.Scopes, scope)
			}
		}
		acr, _ := c.Param("acr_values")
		d.ACRValues = strings.Fields(acr)
		age, _ := c.Param("max_age")
		if seconds, err := strconv.ParseUint(age, 10, 31); err == nil {
			d.MaxAge, d.HasMaxAge = time.Duration(seconds)*time.Second, true
		}
		return d
	}
	return nil
}

// steps has one call of OnStepUp serve all requests that wait for the same.
type steps struct {
	flights singleflight.Group
	last    atomic.Pointer[step]
}

// A step is a demand that was met.
type step struct {
	demand string
	old    *oauth2.Token
	meets  *oauth2.Token
}

// stepUp returns a token that meets d, where old did not.
func (t *Refresh) stepUp(ctx context.Context, d *StepUp, old *oauth2.Token) (*oauth2.Token, error) {
	demand := fmt.Sprintf("%+v", *d)
	met := func() *oauth2.Token {
		if s := t.steps.last.Load(); s != nil && s.old == old && s.demand == demand {
			return s.meets
		}
		return nil
	}
	// Requests with the old token may be answered after the step as well.
	if token := met(); token != nil {
		return token, nil
	}
	flight := t.steps.flights.DoChan(fmt.Sprintf("%p %s", old, demand), func() (any, error) {
		if token := met(); token != nil {
			return token, nil
		}
		ctx, end := marks.WithRenewal(context.WithoutCancel(ctx), t)
		defer end()
		var token *oauth2.Token
		err := rescue.Do("transport: Refresh.OnStepUp", func() (err error) {
			token, err = t.OnStepUp(ctx, *d)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case token == nil || token == old:
			return nil, tokensource.ErrUnchanged
		}
		t.steps.last.Store(&step{demand, old, token})
		return token, nil
	})
	select {
	case result := <-flight:
		token, _ := result.Val.(*oauth2.Token)
		return token, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
