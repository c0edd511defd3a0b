package cookiejar_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/transport"
)

func TestAllocations(t *testing.T) {
	jar := newJar(t, nil)
	u := parseURL(t, "https://example.com/")
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := transport.Func(func(*http.Request) (*http.Response, error) { return resp, nil })
	req := request(t, "POST", u.String())
	for _, name := range []string{"Accept", "Accept-Language", "Content-Type", "User-Agent", "X-Request-Id", "X-Trace"} {
		req.Header.Set(name, "value")
	}
	cookies := &cookiejar.Transport{Jar: jar, Base: base}
	xsrf := &cookiejar.XSRF{}
	login := &cookiejar.Login{Login: signIn}
	check := func(name string, want float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(100, f); got != want {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
	send := func(rt http.RoundTripper) func() {
		return func() {
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		}
	}
	check("an empty jar", 0, func() { jar.Header(u) })
	check("Transport, an empty jar", 0, send(cookies))
	jar.Receive(u, []string{"a=1", "XSRF-TOKEN=t", "c=3"})
	check("a jar", 1, func() { jar.Header(u) })                // the field
	check("Transport", 5, send(cookies))                       // the request's copy with its map, 3; the field, 2
	check("with XSRF", 6, send(cookies.Wrap(xsrf.Wrap(base)))) // one more field
	check("with Login", 6, send(login.Wrap(cookies.Wrap(xsrf.Wrap(base)))))
}
