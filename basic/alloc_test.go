package basic_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/transport"
)

func TestAllocations(t *testing.T) {
	req := newRequest(t)
	req.Header = http.Header{
		"Accept": {"application/json"}, "Accept-Language": {"en"}, "Content-Type": {"application/json"},
		"User-Agent": {"test"}, "X-Request-Id": {"1"}, "X-Trace": {"2"},
	}
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	base := transport.Func(func(*http.Request) (*http.Response, error) { return resp, nil })
	own := req.Clone(req.Context())
	own.SetBasicAuth("user", "password")
	origins := &transport.Audience{Origins: []string{"https://api.example.com"}}
	tests := []struct {
		name string
		rt   http.RoundTripper
		req  *http.Request
		want float64
	}{
		{"fields", &basic.Transport{Username: "user", Password: "password", Base: base}, req, 3},
		{"Credentials", &basic.Transport{Credentials: fixed("user", "password", nil), Base: base}, req, 3},
		{"Audience", &basic.Transport{Username: "user", Password: "password", Audience: origins, Base: base}, req, 3},
		{"passing through", &basic.Transport{Username: "user", Password: "password", Base: base}, own, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send := func() {
				if _, err := tt.rt.RoundTrip(tt.req); err != nil {
					t.Error(err)
				}
			}
			send() // builds the field
			if got := testing.AllocsPerRun(1000, send); got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
