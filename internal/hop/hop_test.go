package hop_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/hop"
)

// chain links requests as http.Client does on redirects, and returns the last.
func chain(reqs ...*http.Request) *http.Request {
	for i, req := range reqs[1:] {
		req.Response = &http.Response{Request: reqs[i]}
	}
	return reqs[len(reqs)-1]
}

func with(name string, values ...string) *http.Request {
	return &http.Request{Header: http.Header{name: values}, URL: &url.URL{Scheme: "https", Host: "example.com"}}
}

func plain() *http.Request { return with("Accept", "x") }

// located is a hop to a Location with userinfo, and what http.Client makes of it.
func located(auth string) *http.Request {
	req := with("Authorization", auth)
	req.URL.User = url.UserPassword("user", "pw")
	return req
}

const basic = "Basic dXNlcjpwdw==" // user:pw

func TestOwn(t *testing.T) {
	broken := with("Authorization", "x")
	broken.Response = &http.Response{}
	noURL := chain(plain(), with("Authorization", basic))
	noURL.URL = nil
	tests := []struct {
		name  string
		req   *http.Request
		field string
		want  bool
	}{
		{"none", plain(), hop.Authorization, false},
		{"nil header", &http.Request{}, hop.Authorization, false},
		{"canonical", with("Authorization", "x"), hop.Authorization, true},
		{"raw key", with("authorization", "x"), hop.Authorization, true},
		{"second value", with("AUTHORIZATION", "", "x"), hop.Authorization, true},
		{"empty", with("Authorization", ""), hop.Authorization, false},
		{"no values", with("Authorization"), hop.Authorization, false},
		{"longer name", with("Authorization2", "x"), hop.Authorization, false},
		{"another name", with("X-Api-Key", "x"), "X-Api-Key", true},
		{"another name, raw", with("x-api-key", "x"), "X-Api-Key", true},
		{"userinfo of the first URL", located(basic), hop.Authorization, true},
		{"on the first hop", chain(with("Authorization", "x"), plain()), hop.Authorization, true},
		{"on the first of three", chain(with("authorization", "x"), plain(), plain()), hop.Authorization, true},
		{"on a middle hop only", chain(plain(), with("Authorization", "x"), plain()), hop.Authorization, false},
		{"on this hop", chain(plain(), with("Authorization", "x")), hop.Authorization, true},
		{"userinfo of a Location", chain(plain(), located(basic)), hop.Authorization, false},
		{"userinfo of a Location, own value", chain(plain(), located("x")), hop.Authorization, true},
		{"userinfo of a Location, own on the first", chain(with("Authorization", "x"), located(basic)), hop.Authorization, true},
		{"Basic without userinfo", chain(plain(), with("Authorization", basic)), hop.Authorization, true},
		{"Basic without URL", noURL, hop.Authorization, true},
		{"hop of an unknown chain", broken, hop.Authorization, true},
		{"userinfo of a Location, own value in another spelling", func() *http.Request {
			req := located(basic)
			req.Header["authorization"] = []string{"x"}
			return chain(plain(), req)
		}(), hop.Authorization, true},
		{"another name like userinfo", func() *http.Request {
			req := chain(plain(), with("X-Api-Key", basic))
			req.URL.User = url.UserPassword("user", "pw")
			return req
		}(), "X-Api-Key", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 200 { // one header in 32 is remembered
				l := hop.Leg{Request: tt.req}
				if got := l.Own(tt.field); got != tt.want {
					t.Fatalf("got %v", got)
				}
			}
		})
	}
}

func TestAll(t *testing.T) {
	long := make([]*http.Request, 200)
	for i := range long {
		long[i] = plain()
	}
	ring := chain(plain(), plain())
	ring.Response.Request.Response = &http.Response{Request: ring}
	lost := chain(plain(), plain(), plain())
	lost.Response.Request.Response.Request = nil
	tests := []struct {
		name  string
		req   *http.Request
		until int // f returns false at its nth call
		want  bool
		calls int
	}{
		{"first hop", plain(), 0, true, 0},
		{"to the first", chain(plain(), plain(), plain()), 0, true, 2},
		{"until false", chain(plain(), plain(), plain()), 1, false, 1},
		{"lost", lost, 0, false, 1},
		{"ring", ring, 0, false, 100},
		{"ten redirects, as http.Client allows", chain(long[:11]...), 0, true, 10},
		{"without end", chain(long...), 0, false, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			got := hop.All(tt.req, func(*http.Request) bool { calls++; return calls != tt.until })
			if got != tt.want || calls != tt.calls {
				t.Errorf("got %v after %d calls, want %v after %d", got, calls, tt.want, tt.calls)
			}
		})
	}
}

func TestCloseBody(t *testing.T) {
	hop.CloseBody(&http.Request{}) // no panic
	closed := 0
	hop.CloseBody(&http.Request{Body: body{strings.NewReader(""), &closed}})
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}

type body struct {
	io.Reader
	closed *int
}

func (b body) Close() error { *b.closed++; return nil }
