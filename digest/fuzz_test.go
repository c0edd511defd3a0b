package digest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/net/http/httpguts"
)

// FuzzExchange lets a server say what it likes. What it is answered can be sent and be read, and there are two attempts at most.
func FuzzExchange(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth"`, "nextnonce=\"x\"", false)
	f.Add(`Digest realm="\"\\", nonce="\	", qop="auth-int", algorithm=SHA-256-sess, opaque=""`, "rspauth=00", true)
	f.Add("Digest realm=r, nonce=n, userhash=true, charset=UTF-8\nDigest nonce=m, algorithm=SHA-512-256", "", true)
	f.Add(`Digest nonce="n", domain="/a //b http:c : %zz", stale=true`, "qop=auth, rspauth=\"\", nextnonce=\"\x80\"", false)
	f.Add("Basic realm=r\nDigest realm=\"\xff\", nonce=\"\xfe\"", "nextnonce=\x01", false)
	f.Fuzz(func(t *testing.T, challenges, info string, refuse bool) {
		u := &url.URL{Scheme: "https", Host: "example.com", Path: `/"\`, RawQuery: `"\`}
		attempts := 0
		check := func(h http.Header) (answered bool) {
			values := h.Values("Authorization")
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) {
					t.Errorf("%q cannot be sent", v)
				}
				if p, err := params(strings.ReplaceAll(v, "\n", "")); err != nil || len(values) > 1 || len(p) < 5 {
					t.Errorf("answered %q, which reads %q, %v", values, p, err)
				}
			}
			return len(values) > 0
		}
		base := transport.Func(func(req *http.Request) (*http.Response, error) {
			attempts++
			resp := &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody, Header: http.Header{"Www-Authenticate": strings.Split(challenges, "\n")}}
			if check(req.Header) && !refuse {
				resp.StatusCode = http.StatusOK
				resp.Header.Set("Authentication-Info", info)
			}
			return resp, nil
		})
		rt := &digest.Transport{Username: "Jäsøn \"\\", Password: "p", Base: base}
		for range 3 {
			attempts = 0
			resp, err := rt.RoundTrip(&http.Request{URL: u, Method: http.MethodPost, Body: http.NoBody})
			if (resp == nil) == (err == nil) || attempts < 1 || attempts > 2 {
				t.Errorf("got %v, %v after %d attempts", resp, err, attempts)
			}
		}
	})
}
