package cookiejar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

// all returns what a jar has.
func all(j *cookiejar.Jar) []cookiejar.Cookie { return slices.Collect(j.All()) }

// seconds compares cookies without what is shorter.
var seconds = cmp.Transformer("seconds", func(t time.Time) int64 { return t.Unix() })

// filled returns a jar with a cookie of every kind.
func filled(t testing.TB) *cookiejar.Jar {
	t.Helper()
	j := newJar(t, nil)
	j.Receive(parseURL(t, "https://www.example.com/dir/page"), []string{
		"session=1", "lasting=a b; Max-Age=60", "nameless", "domain=2; Domain=example.com; Path=/; Secure; HttpOnly; SameSite=None",
		"lax=; SameSite=Lax", "strict=; SameSite=Strict", "\xff=\xfe\\\"<>&", "__Host-x=3; Secure; Path=/", "tab=a\tb",
	})
	j.Receive(parseURL(t, "http://127.0.0.1:8080/"), []string{"v4="})
	j.Receive(parseURL(t, "https://[2001:db8::1]/"), []string{"v6="})
	return j
}

func TestEncodeDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := filled(t)
		time.Sleep(time.Second)
		j.Header(parseURL(t, "https://www.example.com/dir/page"))
		var text bytes.Buffer
		if err := j.Encode(&text); err != nil {
			t.Fatal(err)
		}
		again := newJar(t, nil)
		if err := again.Decode(bytes.NewReader(text.Bytes())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all(j), all(again)); diff != "" || len(all(j)) != 11 {
			t.Errorf("(-encoded +decoded):\n%s", diff)
		}
		var second bytes.Buffer
		if err := again.Encode(&second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text.String(), second.String()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
		// What is there and newer stays.
		u := parseURL(t, "https://www.example.com/dir/page")
		again.Receive(u, []string{"session=new"})
		if err := again.Decode(&text); err != nil {
			t.Fatal(err)
		}
		if c, _ := again.Get(u, "session"); c.Value != "new" {
			t.Errorf("the newer one was replaced: %q", c.Value)
		}
		// What has expired since does not come back, nor is it worth a word.
		time.Sleep(time.Minute)
		late, told := loud(t, cookiejar.Options{})
		if err := late.Decode(&second); err != nil {
			t.Fatal(err)
		}
		if n := len(all(late)); n != 10 || len(told()) != 10 {
			t.Errorf("%d cookies", n)
		}
	})
}

const one = `{"format":"authtrip cookies","version":1,"cookies":[%s]}`

func saved(members string) string {
	return fmt.Sprintf(one, `{"name":"a","value":"b","domain":"example.com","path":"/","created":"2020-01-01T00:00:00Z","updated":"2020-01-01T00:00:00Z","accessed":"2020-01-01T00:00:00Z"`+members+`}`)
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		text io.Reader
		want string
	}{
		{"nothing", strings.NewReader(""), "at byte 0"},
		{"cut off", strings.NewReader(saved("")[:60]), "at byte 60"},
		{"more behind it", strings.NewReader(saved("") + "secret"), "not a document"},
		{"another type", strings.NewReader(`["secret"]`), "not a document"},
		{"foreign", strings.NewReader(`{"cookies":[{"name":"secret"}]}`), "not a document"},
		{"a newer version", strings.NewReader(`{"format":"authtrip cookies","version":2}`), "of version 2"},
		{"a time that is none", strings.NewReader(saved(`,"expires":"secret"`)), "not a document"},
		{"a time of no cookie", strings.NewReader(saved(`,"expires":"9999-01-01T00:00:00Z"`)), "not a document"},
		{"octets that are none", strings.NewReader(saved(`,"name":{"base64":"secret!"}`)), "not a document"},
		{"too much", strings.NewReader(strings.Repeat(" ", 65<<20)), "larger than 64 MiB"},
		{"a reader that fails", iotest.ErrReader(errors.New("broken")), "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJar(t, nil)
			j.Receive(parseURL(t, "https://example.com/"), []string{"old="})
			err := j.Decode(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got error %v", err)
			}
			if got := names(j); got != "old" {
				t.Errorf("the jar has %q", got)
			}
		})
	}
}

// What a server could not have set, a document cannot either.
func TestDecodeRejects(t *testing.T) {
	for _, tt := range []struct {
		name, members string
		o             cookiejar.Options
		want          cookiejar.Reason
	}{
		{"one that is good", `,"host_only":true`, cookiejar.Options{}, ""},
		{"a name that would end", `,"name":"a=b"`, cookiejar.Options{}, cookiejar.ReasonControl},
		{"a value that would end", `,"value":"a;b"`, cookiejar.Options{}, cookiejar.ReasonControl},
		{"a control character", `,"value":"a\nb"`, cookiejar.Options{}, cookiejar.ReasonControl},
		{"one in the path", `,"path":"/\u0000"`, cookiejar.Options{}, cookiejar.ReasonControl},
		{"nothing", `,"name":"","value":""`, cookiejar.Options{}, cookiejar.ReasonEmpty},
		{"nameless", `,"name":""`, cookiejar.Options{RFC6265: true}, cookiejar.ReasonNameless},
		{"long", `,"value":"` + strings.Repeat("x", 4096) + `"`, cookiejar.Options{}, cookiejar.ReasonSize},
		{"a long path", `,"path":"/` + strings.Repeat("x", 1024) + `"`, cookiejar.Options{}, cookiejar.ReasonSize},
		{"no domain", `,"domain":""`, cookiejar.Options{}, cookiejar.ReasonURL},
		{"a domain that is not as it is kept", `,"domain":"Example.com"`, cookiejar.Options{}, cookiejar.ReasonURL},
		{"a domain with a port", `,"domain":"example.com:80"`, cookiejar.Options{}, cookiejar.ReasonURL},
		{"no path", `,"path":""`, cookiejar.Options{}, cookiejar.ReasonURL},
		{"below an address", `,"domain":"192.0.2.1"`, cookiejar.Options{}, cookiejar.ReasonDomain},
		{"a public suffix", `,"domain":"co.uk"`, cookiejar.Options{}, cookiejar.ReasonPublicSuffix},
		{"SameSite", `,"same_site":"none"`, cookiejar.Options{}, cookiejar.ReasonSameSite},
		{"a prefix", `,"name":"__Host-a","secure":true`, cookiejar.Options{}, cookiejar.ReasonPrefix},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got cookiejar.Reason
			tt.o.OnEvent = func(e cookiejar.Event) { got = e.Reason }
			j := newJar(t, &tt.o)
			if err := j.Decode(strings.NewReader(saved(tt.members))); err != nil {
				t.Fatal(err)
			}
			if n := len(all(j)); got != tt.want || (n == 1) != (tt.want == "") {
				t.Errorf("got %q, and %d cookies", got, n)
			}
		})
	}
}

// Nothing lasts longer than it may, wherever it comes from, and no clock that was
// ahead keeps what is set now from being the newest.
func TestDecodeOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJar(t, nil)
		u := parseURL(t, "https://example.com/")
		const future = `"created":"2030-01-01T00:00:00Z","updated":"2030-01-01T00:00:00Z","accessed":"2030-01-01T00:00:00Z"`
		text := saved(`,"host_only":true,"expires":"2040-01-01T00:00:00Z",` + future)
		if err := j.Decode(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		c, _ := j.Get(u, "a")
		if !c.Expires.Equal(time.Now().Add(400*24*time.Hour)) || c.Accessed.After(time.Now()) {
			t.Errorf("expires %v, accessed %v", c.Expires, c.Accessed)
		}
		j.Receive(u, []string{"a=now"})
		if err := j.Decode(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got := j.Header(u); got != "a=now" {
			t.Errorf("got %q", got)
		}
	})
}

func TestEncodeFails(t *testing.T) {
	if err := filled(t).Encode(full{}); !errors.Is(err, errFull) {
		t.Errorf("got error %v", err)
	}
	if err := filled(t).EncodeNetscape(full{}); !errors.Is(err, errFull) {
		t.Errorf("got error %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
