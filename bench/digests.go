package main

import (
	"net/http"
	"strings"

	"github.com/authtrip/authtrip/bench/internal/rows"
	"github.com/authtrip/authtrip/digest"
	icholy "github.com/icholy/digest"
)

// Digest has rows of its own: its answer is another for each request. The base
// makes one challenge, and accepts all answers after that.
var digests = []rows.Row{
	{Name: "authtrip digest", Ours: true, Make: func(base http.RoundTripper, _ *rows.Issuer) rows.Do {
		return (&digest.Transport{Username: "user", Password: "password", Base: digesting(base)}).RoundTrip
	}},
	{Name: "icholy/digest", Module: "github.com/icholy/digest", Make: func(base http.RoundTripper, _ *rows.Issuer) rows.Do {
		return (&icholy.Transport{Username: "user", Password: "password", Transport: digesting(base)}).RoundTrip
	}},
}

const digestNonce = "bm9uY2U"

func digesting(base http.RoundTripper) http.RoundTripper {
	return rows.Func(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.Header.Get("Authorization"), "Digest ") {
			return base.RoundTrip(req)
		}
		return &http.Response{
			StatusCode: http.StatusUnauthorized, Request: req, Body: http.NoBody,
			Header: http.Header{"Www-Authenticate": {`Digest realm="bench", nonce="` + digestNonce + `", qop="auth", algorithm=MD5`}},
		}, nil
	})
}
