package digest_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
)

func TestAllocations(t *testing.T) {
	tests := []struct {
		name, challenge string
		want            float64
	}{
		{"MD5", `Digest realm="r", nonce="n", qop="auth"`, 5},
		{"SHA-256", `Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256, opaque="o"`, 5},
		{"SHA-512-256-sess", `Digest realm="r", nonce="n", qop="auth", algorithm=SHA-512-256-sess`, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ok := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
			base := transport.Func(func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") != "" {
					return ok, nil
				}
				return &http.Response{
					StatusCode: http.StatusUnauthorized, Body: http.NoBody,
					Header: http.Header{"Www-Authenticate": {tt.challenge}},
				}, nil
			})
			rt := &digest.Transport{Username: "Mufasa", Password: "Circle of Life", Base: base}
			req, err := http.NewRequest(http.MethodGet, "https://example.com/dir/index.html?a=b", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{
				"Accept": {"application/json"}, "Accept-Language": {"en"}, "Content-Type": {"application/json"},
				"User-Agent": {"test"}, "X-Request-Id": {"1"}, "X-Trace": {"2"},
			}
			got := testing.AllocsPerRun(100, func() {
				if _, err := rt.RoundTrip(req); err != nil {
					t.Error(err)
				}
			})
			if got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
