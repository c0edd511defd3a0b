package cookiejar_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

func TestSetCookies(t *testing.T) {
	parsed := func(line string) *http.Cookie {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	changed := parsed("a=b; Path=/")
	changed.Value = "c"
	for _, tt := range []struct {
		name   string
		cookie *http.Cookie
		want   string
		told   []string
	}{
		{"none", nil, "", nil},
		{"by hand", &http.Cookie{Name: " a ", Value: "b", Path: "/", Domain: ".Example.com", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode}, "a=b", []string{"set a=b"}},
		{"quoted", &http.Cookie{Name: "a", Value: "b c", Quoted: true}, `a="b c"`, []string{`set a="b c"`}},
		{"parsed", parsed(`a="b c"; Path=/; Max-Age=60`), `a="b c"`, []string{`set a="b c"`}},
		{"a date that net/http does not read", parsed("a=b; Expires=Thursday, 01-Jan-70 00:00:00 GMT"), "", nil},
		{"parsed and changed", changed, "a=c", []string{"set a=c"}},
		{"deleted", &http.Cookie{Name: "a", Value: "b", MaxAge: -1 << 40}, "", nil},
		{"for long", &http.Cookie{Name: "a", Value: "b", MaxAge: 1 << 40}, "a=b", []string{"set a=b"}},
		{"until a time", &http.Cookie{Name: "a", Value: "b", Expires: time.Now().Add(time.Hour)}, "a=b", []string{"set a=b"}},
		{"a value that would end", &http.Cookie{Name: "a", Value: "b; Path=/"}, "", []string{"rejected a=b; Path=/: control character"}},
		{"a name that would end", &http.Cookie{Name: "a=", Value: "b"}, "", []string{"rejected a==b: control character"}},
		{"a control character", &http.Cookie{Name: "a", Value: "b", Path: "/\r\n"}, "", []string{"rejected a=b: control character"}},
		{"long", &http.Cookie{Name: "a", Value: strings.Repeat("x", 4096)}, "", []string{"rejected a=" + strings.Repeat("x", 4096) + ": too large"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, told := loud(t, cookiejar.Options{})
			u := parseURL(t, "https://www.example.com/")
			j.SetCookies(u, []*http.Cookie{tt.cookie})
			if got := j.Header(u); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.told, told()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCookies(t *testing.T) {
	j := newJar(t, nil)
	u := parseURL(t, "https://example.com/")
	if got := j.Cookies(u); got != nil {
		t.Errorf("an empty jar has %v", got)
	}
	j.SetCookies(u, nil)
	j.Receive(u, []string{`a="b c"`, "nameless", `d="`, "e=f g"})
	want := []*http.Cookie{{Name: "a", Value: "b c", Quoted: true}, {Name: "d", Value: `"`}, {Name: "e", Value: "f g"}}
	if diff := cmp.Diff(want, j.Cookies(u)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Under an http.Client it is a jar like any other.
func TestUnderClient(t *testing.T) {
	base := &server{answer: func(n int, _ *http.Request) *http.Response {
		if n == 0 {
			return respond(302, "Location", "/next", "Set-Cookie", "a=1", "Set-Cookie", "b=2; Max-Age=0")
		}
		return respond(200)
	}}
	client := &http.Client{Jar: newJar(t, nil), Transport: base}
	resp, err := client.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if diff := cmp.Diff([]string{"", "a=1"}, base.fields("Cookie")); diff != "" {
		t.Errorf("Cookie (-want +got):\n%s", diff)
	}
}
