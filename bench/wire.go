package main

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"

	"github.com/authtrip/authtrip/bench/internal/measure"
	"github.com/authtrip/authtrip/bench/internal/rows"
)

// wired are the rows of the end-to-end table: the first sends a header that was made
// by hand, by nothing but an http.Client.
func wired() []rows.Row {
	all := []rows.Row{{Name: "http.Client, a header set by hand", Scheme: "Bearer ", Make: func(base http.RoundTripper, _ *rows.Issuer) rows.Do {
		return func(req *http.Request) (*http.Response, error) {
			req.Header.Set("Authorization", "Bearer token-1")
			return base.RoundTrip(req)
		}
	}}}
	for _, p := range append(rows.Ours[:2:2], peers...) {
		switch p.Module {
		case "", "golang.org/x/oauth2", "cloud.google.com/go/auth", "k8s.io/client-go", "github.com/prometheus/common":
			all = append(all, p)
		}
	}
	return all
}

// serve starts a server on loopback that accepts what it is sent, and returns its URL
// and the transport to it, with HTTP/1.1 or HTTP/2.
func serve(two bool) (s *httptest.Server, base *http.Transport) {
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	s.EnableHTTP2 = two
	if two {
		s.StartTLS()
	} else {
		s.Start()
	}
	return s, s.Client().Transport.(*http.Transport)
}

// getting is the workload of requests to a server by an http.Client.
func getting(url string, base http.RoundTripper, p rows.Row) func() measure.Workload {
	return func() measure.Workload {
		client := &http.Client{Transport: rows.Func(p.Make(base, &rows.Issuer{}))}
		return func(n int) {
			for range n {
				req, err := http.NewRequest(http.MethodGet, url, nil)
				if err != nil {
					panic(err)
				}
				maps.Copy(req.Header, rows.Template(6).Header)
				resp, err := client.Do(req)
				if err != nil || resp.StatusCode != http.StatusOK {
					panic(p.Name + ": a request has failed")
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	}
}
