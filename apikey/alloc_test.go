package apikey_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
)

func TestAllocations(t *testing.T) {
	req := newRequest(t, apiURL)
	req.Header = http.Header{
		"Accept": {"application/json"}, "Accept-Language": {"en"}, "Content-Type": {"application/json"},
		"User-Agent": {"test"}, "X-Request-Id": {"1"}, "X-Trace": {"2"},
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
	base := transport.Func(func(*http.Request) (*http.Response, error) { return resp, nil })
	var k apikey.Key
	k.Set("k")
	tests := []struct {
		name string
		rt   *apikey.Transport
		want float64
	}{
		{"header", &apikey.Transport{Key: "k", Base: base}, 3},
		{"header from a Key", &apikey.Transport{Source: k.Get, Base: base}, 3},
		{"prefix", &apikey.Transport{Key: "k", Name: "Authorization", Prefix: "ApiKey", Base: base}, 3},
		{"Audience", &apikey.Transport{Key: "k", Audience: &transport.Audience{Origins: []string{"https://api.example.com"}}, Base: base}, 3},
		{"query", &apikey.Transport{Key: "k", In: apikey.Query, Name: "key", Base: base}, 4},
		{"cookie", &apikey.Transport{Key: "k", In: apikey.Cookie, Name: "sid", Base: base}, 3},
		{"passing through", &apikey.Transport{Key: "k", Name: "accept", Base: base}, 0},
		{"query passing through", &apikey.Transport{Key: "k", In: apikey.Query, Name: "a", Base: base}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send := func() {
				if _, err := tt.rt.RoundTrip(req); err != nil {
					t.Error(err)
				}
			}
			send() // builds what is sent
			if got := testing.AllocsPerRun(1000, send); got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
