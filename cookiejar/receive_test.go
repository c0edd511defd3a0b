package cookiejar_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

// loud returns a jar and what it has told so far, as lines.
func loud(t testing.TB, o cookiejar.Options) (*cookiejar.Jar, func() []string) {
	t.Helper()
	var told []string
	o.OnEvent = func(e cookiejar.Event) {
		line := fmt.Sprintf("%s %s=%s", e.Kind, e.Cookie.Name, e.Cookie.Value)
		if e.Reason != "" {
			line += ": " + string(e.Reason)
		}
		told = append(told, line)
	}
	return newJar(t, &o), func() []string {
		defer func() { told = nil }()
		return told
	}
}

func TestReceive(t *testing.T) {
	const (
		host = "https://www.example.com/dir/page"
		bare = "http://www.example.com/dir/page"
	)
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name string
		o    cookiejar.Options
		from string
		sets []string
		at   string // "": from
		want string // the Cookie field there
		told []string
	}{
		// The pair.
		{"a pair", cookiejar.Options{}, host, []string{"a=b"}, "", "a=b", []string{"set a=b"}},
		{"spaces around", cookiejar.Options{}, host, []string{" \ta\t =\t b c \t;x"}, "", "a=b c", []string{"set a=b c"}},
		{"no value", cookiejar.Options{}, host, []string{"a="}, "", "a=", []string{"set a="}},
		{"nameless", cookiejar.Options{}, host, []string{"b", "=c"}, "", "c", []string{"set =b", "replaced =c"}},
		{"nameless, turned off", cookiejar.Options{RFC6265: true}, host, []string{"b"}, "", "", []string{"rejected =b: no name"}},
		{"nothing", cookiejar.Options{}, host, []string{"", "=", " = ; Path=/"}, "", "", []string{
			"rejected =: neither name nor value", "rejected =: neither name nor value", "rejected =: neither name nor value",
		}},
		{"bytes as they are", cookiejar.Options{}, host, []string{"\xff\"=\\, \xfe\""}, "", "\xff\"=\\, \xfe\"", []string{"set \xff\"=\\, \xfe\""}},
		{"a control character", cookiejar.Options{}, host, []string{"a=b\x01", "a\x7f=b", "a=b; Path=/\x00", "a=b\tc"}, "", "a=b\tc", []string{
			"rejected =: control character", "rejected =: control character", "rejected =: control character", "set a=b\tc",
		}},
		{"4096 octets", cookiejar.Options{}, host, []string{"n=" + long(4095)}, "", "n=" + long(4095), []string{"set n=" + long(4095)}},
		{"4097 octets", cookiejar.Options{}, host, []string{"n=" + long(4096)}, "", "", []string{"rejected n=" + long(4096) + ": too large"}},

		// Attributes.
		{"the last Path counts", cookiejar.Options{}, host, []string{"a=b; Path=/x; PATH = /dir"}, "", "a=b", []string{"set a=b"}},
		{"a Path of 1024 octets", cookiejar.Options{}, host, []string{"a=b; Path=/dir; Path=/" + long(1023)}, "", "", []string{"set a=b"}},
		{"a Path of 1025 octets is none", cookiejar.Options{}, host, []string{"a=b; Path=/dir; Path=/" + long(1024)}, "", "a=b", []string{"set a=b"}},
		{"a Path that is none", cookiejar.Options{}, host, []string{"a=b; Path=x"}, "https://www.example.com/dir", "a=b", []string{"set a=b"}},
		{"the default path", cookiejar.Options{}, host, []string{"a=b"}, "https://www.example.com/di", "", []string{"set a=b"}},
		{"no path in the URL", cookiejar.Options{}, "https://www.example.com", []string{"a=b"}, "https://www.example.com/x", "a=b", []string{"set a=b"}},
		{"a path is no beginning", cookiejar.Options{}, host, []string{"a=b; Path=/dir/pa"}, "", "", []string{"set a=b"}},
		{"a path is a folder", cookiejar.Options{}, host, []string{"a=b; Path=/dir/page/"}, "https://www.example.com/dir/page/x", "a=b", []string{"set a=b"}},
		{"an encoded path", cookiejar.Options{}, "https://www.example.com/d%2Fe/x", []string{"a=b"}, "https://www.example.com/d/e", "", []string{"set a=b"}},
		{"Max-Age before Expires", cookiejar.Options{}, host, []string{"a=b; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, "", "a=b", []string{"set a=b"}},
		{"Max-Age of many digits", cookiejar.Options{}, host, []string{"a=b; Max-Age=" + strings.Repeat("9", 1000)}, "", "a=b", []string{"set a=b"}},
		{"less than nothing", cookiejar.Options{}, host, []string{"a=b", "a=c; Max-Age=-" + strings.Repeat("9", 1000)}, "", "", []string{"set a=b", "removed a=b: expired"}},
		{"Max-Age that is no number", cookiejar.Options{}, host, []string{"a=b; Max-Age=1e3", "c=d; Max-Age=; Max-Age=0", "e=f; Max-Age=+5"}, "", "a=b; e=f", []string{"set a=b", "set e=f"}},
		{"a date of long ago", cookiejar.Options{}, host, []string{"a=b; Expires=Mon, 01 Jan 1601 00:00:00 GMT"}, "", "", nil},
		{"a date that is none", cookiejar.Options{}, host, []string{"a=b; Expires=Thu, 31 Feb 1999 00:00:00 GMT"}, "", "a=b", []string{"set a=b"}},
		{"an attribute of no meaning", cookiejar.Options{}, host, []string{"a=b; Partitioned; Priority=High; ; =;="}, "", "a=b", []string{"set a=b"}},
		{"three that are as long as others", cookiejar.Options{}, host, []string{"a=b; patx=/x; domaix=x.com; secura; expirex=x; max-agx=0; httponlx; samesitx=None"}, "", "a=b", []string{"set a=b"}},

		// Domains.
		{"a domain above", cookiejar.Options{}, host, []string{"a=b; Domain=.EXAMPLE.com; Path=/"}, "https://example.com/", "a=b", []string{"set a=b"}},
		{"host-only", cookiejar.Options{}, host, []string{"a=b; Path=/"}, "https://x.www.example.com/", "", []string{"set a=b"}},
		{"not host-only", cookiejar.Options{}, host, []string{"a=b; Path=/; Domain=www.example.com"}, "https://x.www.example.com/", "a=b", []string{"set a=b"}},
		{"both are two", cookiejar.Options{}, host, []string{"a=1", "a=2; Domain=www.example.com"}, "", "a=1; a=2", []string{"set a=1", "set a=2"}},
		{"a domain below", cookiejar.Options{}, host, []string{"a=b; Domain=x.www.example.com"}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"one that ends alike", cookiejar.Options{}, host, []string{"a=b; Domain=ample.com"}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"not ASCII", cookiejar.Options{}, "https://bücher.example/", []string{"a=b; Domain=bücher.example"}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"in its ASCII form", cookiejar.Options{}, "https://www.bücher.example/", []string{"a=b; Domain=xn--bcher-kva.example"}, "https://xn--bcher-kva.example/", "a=b", []string{"set a=b"}},
		{"a dot at its end", cookiejar.Options{}, host, []string{"a=b; Domain=example.com."}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"a dot at the host's end", cookiejar.Options{}, "https://www.example.com./", []string{"a=b; Domain=example.com"}, "https://example.com/", "a=b", []string{"set a=b"}},
		{"a dot alone", cookiejar.Options{}, host, []string{"a=b; Domain=."}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"an empty one is none", cookiejar.Options{}, host, []string{"a=b; Domain=example.net; Domain="}, "", "a=b", []string{"set a=b"}},
		{"an empty one, by RFC 6265", cookiejar.Options{RFC6265: true}, host, []string{"a=b; Domain=example.net; Domain="}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"a public suffix", cookiejar.Options{}, "https://example.co.uk/", []string{"a=b; Domain=co.uk", "c=d; Domain=uk"}, "", "", []string{
			"rejected a=b: domain is a public suffix", "rejected c=d: domain is a public suffix",
		}},
		{"a private one", cookiejar.Options{}, "https://me.github.io/", []string{"a=b; Domain=github.io"}, "", "", []string{"rejected a=b: domain is a public suffix"}},
		{"a host that is one", cookiejar.Options{}, "https://github.io/", []string{"a=b; Domain=github.io"}, "https://me.github.io/", "", []string{"set a=b"}},
		{"a public suffix, allowed", cookiejar.Options{AllowSupercookies: true}, "https://example.co.uk/", []string{"a=b; Domain=co.uk"}, "https://other.co.uk/", "a=b", []string{"set a=b"}},
		{"a name that is in no list", cookiejar.Options{}, "https://api.internal/", []string{"a=b; Domain=internal"}, "", "", []string{"rejected a=b: domain is a public suffix"}},
		{"localhost", cookiejar.Options{}, "http://localhost:8080/", []string{"a=b; Domain=localhost; Secure"}, "", "a=b", []string{"set a=b"}},
		{"an IPv4 address", cookiejar.Options{}, "https://192.0.2.1/", []string{"a=b; Domain=192.0.2.1"}, "", "a=b", []string{"set a=b"}},
		{"a part of an address", cookiejar.Options{}, "https://192.0.2.1/", []string{"a=b; Domain=2.1"}, "", "", []string{"rejected a=b: domain is not the host's"}},
		{"a name below an address", cookiejar.Options{}, "https://192.0.2.1/", []string{"a=b; Domain=192.0.2.1"}, "https://x.192.0.2.1/", "", []string{"set a=b"}},
		{"a domain that ends like an address", cookiejar.Options{}, "https://x.2.1/", []string{"a=b; Domain=2.1; Path=/"}, "https://192.0.2.1/", "", []string{"set a=b"}},
		{"an IPv6 address", cookiejar.Options{}, "https://[2001:DB8::1]:8443/", []string{"a=b"}, "https://[2001:db8:0::1]/", "a=b", []string{"set a=b"}},
		{"one with a zone", cookiejar.Options{}, "https://[fe80::1%25eth0]/", []string{"a=b; Path=/"}, "https://[fe80::1%25eth1]/", "", []string{"set a=b"}},

		// Security.
		{"Secure from plain http", cookiejar.Options{}, bare, []string{"a=b; Secure"}, host, "", []string{"rejected a=b: Secure over plain http"}},
		{"Secure stays with https", cookiejar.Options{}, host, []string{"a=b; Secure"}, bare, "", []string{"set a=b"}},
		{"SameSite=None", cookiejar.Options{}, host, []string{"a=b; SameSite=none", "c=d; SameSite=None; Secure", "e=f; SameSite=Lax", "g=h; SameSite=Strict; SameSite=x"}, "", "c=d; e=f; g=h", []string{
			"rejected a=b: SameSite=None without Secure", "set c=d", "set e=f", "set g=h",
		}},
		{"__Secure-", cookiejar.Options{}, host, []string{"__Secure-a=b", "__SECURE-a=b; Secure"}, "", "__SECURE-a=b", []string{
			"rejected __Secure-a=b: attributes do not fit the name's prefix", "set __SECURE-a=b",
		}},
		{"__Host-", cookiejar.Options{}, host, []string{
			"__Host-a=1; Secure", "__Host-a=2; Path=/", "__host-a=3; Path=/; Secure; Domain=www.example.com", "__Host-a=4; Path=/dir; Secure", "__Host-a=5; Secure; Path=/",
		}, "", "__Host-a=5", []string{
			"rejected __Host-a=1: " + prefix, "rejected __Host-a=2: " + prefix, "rejected __host-a=3: " + prefix, "rejected __Host-a=4: " + prefix, "set __Host-a=5",
		}},
		{"__Host- without Path at the root", cookiejar.Options{}, "https://www.example.com/", []string{"__Host-a=1; Secure"}, "", "", []string{"rejected __Host-a=1: " + prefix}},
		{"__Http-", cookiejar.Options{}, host, []string{"__Http-a=1; Secure", "__http-a=2; HttpOnly", "__Http-a=3; Secure; HttpOnly"}, "", "__Http-a=3", []string{
			"rejected __Http-a=1: " + prefix, "rejected __http-a=2: " + prefix, "set __Http-a=3",
		}},
		{"__Host-Http-", cookiejar.Options{}, host, []string{"__Host-Http-a=1; Secure; Path=/", "__Host-Http-a=2; Secure; HttpOnly", "__host-http-a=3; Secure; HttpOnly; Path=/"}, "", "__host-http-a=3", []string{
			"rejected __Host-Http-a=1: " + prefix, "rejected __Host-Http-a=2: " + prefix, "set __host-http-a=3",
		}},
		{"a value that looks like one", cookiejar.Options{}, host, []string{"=__Host-a=b; Secure; Path=/", "__Secure-x; Secure", "=__http-a=b; Secure; HttpOnly"}, "", "", []string{
			"rejected =__Host-a=b: " + prefix, "rejected =__Secure-x: " + prefix, "rejected =__http-a=b: " + prefix,
		}},

		// Places that have no cookies.
		{"no host", cookiejar.Options{}, "https:///x", []string{"a=b"}, "", "", []string{"rejected a=b: the URL has no cookies"}},
		{"another scheme", cookiejar.Options{}, "ftp://www.example.com/", []string{"a=b"}, "https://www.example.com/", "", []string{"rejected a=b: the URL has no cookies"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, told := loud(t, tt.o)
			j.Receive(parseURL(t, tt.from), tt.sets)
			if tt.at == "" {
				tt.at = tt.from
			}
			if got := j.Header(parseURL(t, tt.at)); got != tt.want {
				t.Errorf("got  %.200q\nwant %.200q", got, tt.want)
			}
			if diff := cmp.Diff(tt.told, told()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestYears(t *testing.T) {
	for year, want := range map[string]int{
		"69": 2069, "70": 1970, "99": 1999, "00": 2000, "068": 2068, "1600": 0, "1601": 1601, "9999": 9999, "2": 0, "10000": 0,
	} {
		d, ok := cookiejar.ParseDate("1 Jan " + year + " 00:00:00")
		if ok != (want != 0) || ok && d.Year() != want {
			t.Errorf("%s is %v, %v, want %d", year, d, ok, want)
		}
	}
}

const prefix = "attributes do not fit the name's prefix"

// What has come over https is not to be replaced, or overlaid, by what has not.
func TestSecureIsNotOverlaid(t *testing.T) {
	for _, tt := range []struct {
		name, secure, plain string
		want                bool // it gets in
	}{
		{"the same", "a=1; Secure; Path=/", "a=2; Path=/", false},
		{"another name", "a=1; Secure; Path=/", "A=2; Path=/", true},
		{"one that is not Secure", "a=1; Path=/", "a=2; Path=/", true},
		{"from the domain above", "a=1; Secure; Path=/; Domain=example.com", "a=2; Path=/", false},
		{"for the domain above", "a=1; Secure; Path=/", "a=2; Path=/; Domain=example.com", false},
		{"below its path", "a=1; Secure; Path=/dir", "a=2; Path=/dir/x", false},
		{"above its path", "a=1; Secure; Path=/dir", "a=2; Path=/", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, told := loud(t, cookiejar.Options{})
			j.Receive(parseURL(t, "https://www.example.com/dir/page"), []string{tt.secure})
			j.Receive(parseURL(t, "http://www.example.com/dir/page"), []string{tt.plain})
			last := told()[1]
			if got := !strings.HasPrefix(last, "rejected"); got != tt.want || !got && !strings.HasSuffix(last, string(cookiejar.ReasonOverwrite)) {
				t.Errorf("got %q", last)
			}
		})
	}
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJar(t, nil)
		u := parseURL(t, "https://example.com/")
		start := time.Now()
		const year = "a year=; Expires=Sat, 01 Jan 2050 00:00:00 GMT"
		j.Receive(u, []string{"session=", "ten=; Max-Age=10", year, "age=; Max-Age=99999999"})
		for c := range j.All() {
			want := map[string]time.Time{"session": {}, "ten": start.Add(10 * time.Second)}
			if limit, ok := want[c.Name]; ok && !c.Expires.Equal(limit) || !ok && !c.Expires.Equal(start.Add(400*24*time.Hour)) {
				t.Errorf("%v expires %v", c, c.Expires)
			}
		}
		time.Sleep(10*time.Second - 1)
		if got, want := j.Header(u), "session=; ten=; a year=; age="; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(1 * time.Nanosecond)
		if got, want := j.Header(u), "session=; a year=; age="; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		// A replacement is as old as the first, and as new as itself.
		j.Receive(u, []string{"age=new", "ten=late"})
		if got, want := j.Header(u), "session=; a year=; age=new; ten=late"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		c, ok := j.Get(u, "age")
		if !ok || c.Created.Sub(start) > time.Second || c.Updated.Sub(start) < 10*time.Second || !c.Expires.IsZero() {
			t.Errorf("got %v, %v, created %v, updated %v, expires %v", c, ok, c.Created, c.Updated, c.Expires)
		}
		time.Sleep(400 * 24 * time.Hour)
		if got, want := j.Header(u), "session=; age=new; ten=late"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Longer paths come first, then older cookies, of whatever domain.
func TestOrder(t *testing.T) {
	j := newJar(t, nil)
	u := parseURL(t, "https://a.b.example.com/x/y/z")
	j.Receive(u, []string{
		"1=; Path=/; Domain=example.com", "2=; Path=/x; Domain=b.example.com", "3=; Path=/", "4=; Path=/x/y/z", "5=; Path=/x; Domain=example.com",
		"6=; Path=/x/y", "7=; Path=/; Domain=b.example.com",
	})
	if got, want := j.Header(u), "4=; 6=; 2=; 5=; 1=; 3=; 7="; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
