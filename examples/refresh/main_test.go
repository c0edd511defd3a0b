package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	if err := run(3*time.Second, 50, 100*time.Millisecond); err != nil {
		t.Error(err)
	}
}

// The demonstration is worth nothing if it cannot fail.
func TestVerdict(t *testing.T) {
	ignoring := func(s *server, base http.RoundTripper) (*http.Client, error) {
		return &http.Client{Transport: base}, nil
	}
	for _, tt := range []struct {
		name   string
		client func(*server, http.RoundTripper) (*http.Client, error)
		before func(*testing.T, *side)
		want   string
	}{
		{"nothing wrong", ours, func(*testing.T, *side) {}, ""},
		{"no credentials", ignoring, func(*testing.T, *side) {}, "1 requests were lost"},
		{"grant revoked", ours, func(_ *testing.T, s *side) {
			s.load.call([]byte("signed in"))
			s.server.RevokeGrant(s.server.newest)
		}, "1 requests were lost"},
		{"a renewal too many", ours, func(t *testing.T, s *side) {
			s.server.mu.Lock()
			defer s.server.mu.Unlock()
			s.server.exchanges = append(s.server.exchanges, span{})
		}, "0 tokens ended, but there were 1 renewals"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			us, err := newSide("us", tt.client)
			if err != nil {
				t.Fatal(err)
			}
			defer us.server.Close()
			tt.before(t, us)
			err = verdict(us)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
