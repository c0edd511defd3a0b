package authtest_test

import (
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/authtest"
)

// A keyed RoundTripper is one as they are often written.
type keyed struct {
	key  string
	base http.RoundTripper
}

func (k *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("X-Api-Key", k.key)
	return k.base.RoundTrip(req)
}

// Checking a decorator of one's own. In a test, TestTransport does the same
// with a subtest for each clause.
func ExampleCheck() {
	results := authtest.Check(func(base http.RoundTripper) http.RoundTripper {
		return &keyed{key: "my-key", base: base}
	},
		authtest.Secret("my-key"),
		authtest.Skip(authtest.NilBase, "the base is required"),
		authtest.Skip(authtest.SecretInPrinting, "it is never printed"),
	)
	for _, r := range results {
		if r.Verdict == authtest.Fail {
			fmt.Println("broken:", r.Clause)
		}
	}
	// Output:
	// broken: nil header
	// broken: response names the request
	// broken: trailers
	// broken: CloseIdleConnections
	// broken: credentials on redirects
	// broken: credentials over plain http
}
