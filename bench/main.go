// Command bench measures authtrip beside its peers and writes BENCHMARKS.md and the plot.
package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

var names = []string{
	"Accept", "Content-Type", "User-Agent", "X-Request-Id", "X-Trace", "Accept-Language", "X-A", "X-B", "X-C", "X-D",
	"X-E", "X-F", "X-G", "X-H", "X-I", "X-J", "X-K", "X-L", "X-M", "X-N",
}

// template is a request with n header fields.
func template(n int) *http.Request {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://api.example.com/v2/bench/items?a=b", nil)
	if err != nil {
		panic(err)
	}
	for _, name := range names[:n] {
		req.Header[name] = []string{"value"}
	}
	return req
}

func main() {
	var rows []func() workload
	all := append(append([]peer{floor}, ours...), peers...)
	for _, p := range all {
		rows = append(rows, sending(template(6), func(base http.RoundTripper) do { return p.make(base, &issuer{}) }))
	}
	for i, s := range measure(stint{20 * time.Millisecond, 51}, 1, rows) {
		fmt.Printf("%-50s %8.0f ns %6.2f %5.0f allocs %6.0f B\n", all[i].name, s.ns, s.ratio, s.allocs, s.bytes)
	}
}
