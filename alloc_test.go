package authtrip_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
)

// A chain copies a request once for each run of ours, however long: the struct, the
// map and what is in it, which are 3 allocations up to 8 fields and 5 beyond.
func TestChainAllocations(t *testing.T) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
	base := transport.Func(func(*http.Request) (*http.Response, error) { return resp, nil })
	stranger := func(base http.RoundTripper) http.RoundTripper { return transport.Func(base.RoundTrip) }
	key := (&apikey.Transport{Key: "k"}).Wrap
	cookie := (&apikey.Transport{Key: "k", In: apikey.Cookie, Name: "sid"}).Wrap
	query := (&apikey.Transport{Key: "k", In: apikey.Query, Name: "key"}).Wrap
	password := (&basic.Transport{Username: "user", Password: "pw"}).Wrap
	bearer := (&transport.Bearer{Source: tokensource.Static("t")}).Wrap
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := (&cookiejar.Transport{Jar: jar}).Wrap
	tests := []struct {
		name   string
		fields int
		chain  transport.Middleware
		want   float64
	}{
		{"four of ours", 5, transport.Chain(key, cookie, empty, refresh), 3},
		{"four of ours, the last with nothing to do", 6, transport.Chain(key, cookie, password, refresh), 5},
		{"Refresh outside", 5, transport.Chain(refresh, cookie, empty, key), 3},
		{"seven of ours", 5, transport.Chain(bearer, refresh, empty, password, cookie, empty, key), 3},
		{"with a query, and its string", 5, transport.Chain(key, query, cookie, refresh), 4},
		{"nothing added", 6, transport.Chain(empty, empty, empty, empty), 0},
		{"more than eight fields", 6, transport.Chain(key, cookie, bearer), 5},
		{"a stranger between", 5, transport.Chain(key, cookie, stranger, empty, refresh), 6},
		{"a stranger at each end", 5, transport.Chain(stranger, key, cookie, refresh, stranger), 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/?a=b", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"Accept", "Accept-Language", "Content-Type", "User-Agent", "X-Request-Id", "X-Trace"}[:tt.fields] {
				req.Header[name] = []string{"value"}
			}
			rt := tt.chain(base)
			send := func() {
				if _, err := rt.RoundTrip(req); err != nil {
					t.Error(err)
				}
			}
			send() // what is built once
			if got := testing.AllocsPerRun(1000, send); got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
