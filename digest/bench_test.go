package digest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
)

type responseKey struct{}

// A base that asks once and then answers with the request's own response:
// decorators write into it, so goroutines cannot share one.
func asking(algorithm string) http.RoundTripper {
	return transport.Func(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") == "" {
			challenge := `Digest realm="r", nonce="n", qop="auth", algorithm=` + algorithm
			return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody, Header: http.Header{"Www-Authenticate": {challenge}}}, nil
		}
		return req.Context().Value(responseKey{}).(*http.Response), nil
	})
}

func hot(b *testing.B) *http.Request {
	req := get(b)
	req.Header = http.Header{
		"Accept": {"application/json"}, "Accept-Language": {"en"}, "Content-Type": {"application/json"},
		"User-Agent": {"test"}, "X-Request-Id": {"1"}, "X-Trace": {"2"},
	}
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	return req.WithContext(context.WithValue(req.Context(), responseKey{}, resp))
}

func BenchmarkTransport(b *testing.B) {
	for _, algorithm := range []string{"MD5", "SHA-256", "SHA-512-256"} {
		b.Run(algorithm, func(b *testing.B) {
			rt := &digest.Transport{Username: username, Password: password, Base: asking(algorithm)}
			req := hot(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTransportParallel(b *testing.B) {
	rt := &digest.Transport{Username: username, Password: password, Base: asking("SHA-256")}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := hot(b)
		for pb.Next() {
			if _, err := rt.RoundTrip(req); err != nil {
				b.Error(err)
			}
		}
	})
}
