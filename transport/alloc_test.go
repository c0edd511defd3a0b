package transport_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

// hot returns what the hot path is measured with: a request with six header
// fields and a base that does nothing.
func hot(t testing.TB) (*http.Request, http.RoundTripper) {
	req := get(t)
	req.Header = http.Header{
		"Accept": {"application/json"}, "Accept-Language": {"en"}, "Content-Type": {"application/json"},
		"User-Agent": {"test"}, "X-Request-Id": {"1"}, "X-Trace": {"2"},
	}
	return ownResponse(req), transport.Func(func(req *http.Request) (*http.Response, error) {
		return req.Context().Value(responseKey{}).(*http.Response), nil
	})
}

type responseKey struct{}

// ownResponse returns a copy of req with a response to itself: decorators write
// into it, so goroutines cannot share one.
func ownResponse(req *http.Request) *http.Request {
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	return req.WithContext(context.WithValue(req.Context(), responseKey{}, resp))
}

func signedIn(t testing.TB) *tokensource.Session { return session(t, nil) }

func TestAllocations(t *testing.T) {
	req, base := hot(t)
	s := signedIn(t)
	own := req.Clone(req.Context())
	own.SetBasicAuth("user", "password")
	far := chain(t, apiURL, apiURL)
	far.URL.Host = "evil.com"
	decided := settle(parts{source: s, base: base}) // its settling is not measured
	if resp, err := decided.RoundTrip(req); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	stepUp := func(context.Context, transport.StepUp) (*oauth2.Token, error) { return nil, nil }
	origins := &transport.Audience{Origins: []string{"https://other.example.com", "https://*.example.com"}}
	roundTrip := func(rt http.RoundTripper, req *http.Request) func() {
		return func() {
			if _, err := rt.RoundTrip(req); err != nil {
				t.Error(err)
			}
		}
	}
	allows := func(a *transport.Audience, req *http.Request) func() {
		return func() {
			if _, err := a.Allows(req); err != nil {
				t.Error(err)
			}
		}
	}
	tests := []struct {
		name string
		f    func()
		want float64
	}{
		{"base", roundTrip(base, req), 0},
		{"Bearer", roundTrip(&transport.Bearer{Source: s, Base: base}, req), 3},
		{"Bearer with Origins", roundTrip(&transport.Bearer{Source: s, Audience: origins, Base: base}, req), 3},
		{"Bearer passing through", roundTrip(&transport.Bearer{Source: s, Base: base}, own), 0},
		{"Refresh", roundTrip(&transport.Refresh{Source: s, Base: base}, req), 3},
		{"Refresh with Origins", roundTrip(&transport.Refresh{Source: s, Audience: origins, Base: base}, req), 3},
		{"Refresh passing through", roundTrip(&transport.Refresh{Source: s, Base: base}, own), 0},
		{"Refresh with OnStepUp", roundTrip(&transport.Refresh{Source: s, OnStepUp: stepUp, Base: base}, req), 3},
		{"Choose", roundTrip(decided.(settled).Choose, req), 3},
		{"Choose that was not asked yet", roundTrip(choose(base, byBasic), req), 3},
		{"Choose passing through", roundTrip(choose(base, byBasic), own), 0},
		{"Audience nil", allows(nil, req), 0},
		{"Audience nil, redirected", allows(nil, chain(t, apiURL, apiURL)), 0},
		{"Audience nil, foreign", allows(nil, far), 0},
		{"Audience.Origins", allows(origins, req), 0},
		{"Audience.Origins, redirected", allows(origins, chain(t, apiURL, apiURL)), 0},
		{"Audience.Origins, foreign", allows(origins, far), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.f() // what is built once
			if got := testing.AllocsPerRun(1000, tt.f); got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
