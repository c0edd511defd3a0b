// Package rows has the rows that need no module but authtrip, and what all rows have in common.
package rows

import (
	"context"
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/bench/internal/measure"
)

var names = []string{
	"Accept", "Content-Type", "User-Agent", "X-Request-Id", "X-Trace", "Accept-Language", "X-A", "X-B", "X-C", "X-D",
	"X-E", "X-F", "X-G", "X-H", "X-I", "X-J", "X-K", "X-L", "X-M", "X-N",
}

// Template is a request with n header fields.
func Template(n int) *http.Request {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://api.example.com/v2/bench/items?a=b", nil)
	if err != nil {
		panic(err)
	}
	for _, name := range names[:n] {
		req.Header[name] = []string{"value"}
	}
	return req
}

// A Do sends a request, as http.Client.Do and RoundTrip do.
type Do func(*http.Request) (*http.Response, error)

// Sending is the workload of sending a request like template, again and again, by what
// make makes. It panics at an error: a row that fails measures nothing.
func Sending(template *http.Request, make func(base http.RoundTripper) Do) func() measure.Workload {
	return func() measure.Workload {
		send, req := make(Nothing()), template.Clone(template.Context())
		return func(n int) {
			for range n {
				if resp, err := send(req); err != nil || resp.StatusCode != http.StatusOK {
					panic(fmt.Sprint("a row has failed: ", resp, err))
				}
			}
		}
	}
}

// Loads are the workloads of sending a request like template by each of all.
func Loads(all []Row, template *http.Request) (loads []func() measure.Workload) {
	for _, r := range all {
		loads = append(loads, Sending(template, func(base http.RoundTripper) Do { return r.Make(base, &Issuer{}) }))
	}
	return loads
}

// Nothing is a base that does nothing. Its response is its own and used again
// and again, so that it costs nothing either.
func Nothing() http.RoundTripper {
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}}
	return Func(func(req *http.Request) (*http.Response, error) {
		resp.Body, resp.Request = http.NoBody, req
		return resp, nil
	})
}

// A Func is a function that is a RoundTripper.
type Func func(*http.Request) (*http.Response, error)

func (f Func) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
