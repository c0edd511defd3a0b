package main

import (
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/digest"
	icholy "github.com/icholy/digest"
)

// Digest has rows of its own: its answer is another for each request. The base
// makes one challenge, and accepts all answers after that.
var digests = []peer{
	{name: "authtrip digest", ours: true, make: func(base http.RoundTripper, _ *issuer) do {
		return (&digest.Transport{Username: "user", Password: "password", Base: digesting(base)}).RoundTrip
	}},
	{name: "icholy/digest", module: "github.com/icholy/digest", make: func(base http.RoundTripper, _ *issuer) do {
		return (&icholy.Transport{Username: "user", Password: "password", Transport: digesting(base)}).RoundTrip
	}},
}

const digestNonce = "bm9uY2U"

func digesting(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.Header.Get("Authorization"), "Digest ") {
			return base.RoundTrip(req)
		}
		return &http.Response{
			StatusCode: http.StatusUnauthorized, Request: req, Body: http.NoBody,
			Header: http.Header{"Www-Authenticate": {`Digest realm="bench", nonce="` + digestNonce + `", qop="auth", algorithm=MD5`}},
		}, nil
	})
}
