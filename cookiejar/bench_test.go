package cookiejar_test

import (
	"fmt"
	"net/http"
	stdlib "net/http/cookiejar"
	"net/url"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"golang.org/x/net/publicsuffix"
)

// fill puts n cookies into a jar, ten for each host.
func fill(tb testing.TB, jar http.CookieJar, n int) *url.URL {
	tb.Helper()
	for i := range n {
		u := parseURL(tb, fmt.Sprintf("https://www.host%d.com/", i/10))
		jar.SetCookies(u, []*http.Cookie{{Name: fmt.Sprintf("name%d", i), Value: "a value of some length", Path: "/"}})
	}
	return parseURL(tb, "https://www.host0.com/some/path")
}

// What one request costs in jars of several sizes; that of net/http gives
// cookies, from which http.Client then makes the field.
func BenchmarkHeader(b *testing.B) {
	for _, n := range []int{10, 1000, 3000} {
		b.Run(fmt.Sprintf("cookies=%d/jar=authtrip", n), func(b *testing.B) {
			jar := newJar(b, nil)
			u := fill(b, jar, n)
			b.ReportAllocs()
			for b.Loop() {
				if jar.Header(u) == "" {
					b.Fatal("no cookies")
				}
			}
		})
		b.Run(fmt.Sprintf("cookies=%d/jar=stdlib", n), func(b *testing.B) {
			jar, err := stdlib.New(&stdlib.Options{PublicSuffixList: publicsuffix.List})
			if err != nil {
				b.Fatal(err)
			}
			u := fill(b, jar, n)
			b.ReportAllocs()
			for b.Loop() {
				if len(jar.Cookies(u)) == 0 {
					b.Fatal("no cookies")
				}
			}
		})
	}
}

// What one response costs that sets a cookie anew.
func BenchmarkReceive(b *testing.B) {
	const field = "session=38afes7a8; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"
	u := parseURL(b, "https://www.example.com/")
	b.Run("jar=authtrip", func(b *testing.B) {
		var jar cookiejar.Jar
		b.ReportAllocs()
		for b.Loop() {
			jar.Receive(u, []string{field})
		}
	})
	b.Run("jar=stdlib", func(b *testing.B) {
		jar, err := stdlib.New(&stdlib.Options{PublicSuffixList: publicsuffix.List})
		if err != nil {
			b.Fatal(err)
		}
		resp := &http.Response{Header: http.Header{"Set-Cookie": {field}}}
		b.ReportAllocs()
		for b.Loop() {
			jar.SetCookies(u, resp.Cookies())
		}
	})
}
