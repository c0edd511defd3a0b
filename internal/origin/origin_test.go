package origin_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/origin"
	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	tests := []struct {
		url  string
		want origin.Origin
		text string
	}{
		{"https://example.com/path?q#f", origin.Origin{"https", "example.com", "443"}, "https://example.com"},
		{"http://example.com", origin.Origin{"http", "example.com", "80"}, "http://example.com"},
		{"HTTPS://Example.COM.:443", origin.Origin{"https", "example.com", "443"}, "https://example.com"},
		{"https://example.com:", origin.Origin{"https", "example.com", "443"}, "https://example.com"},
		{"https://example.com:80", origin.Origin{"https", "example.com", "80"}, "https://example.com:80"},
		{"http://example.com:443", origin.Origin{"http", "example.com", "443"}, "http://example.com:443"},
		{"ftp://example.com", origin.Origin{"ftp", "example.com", ""}, "ftp://example.com"},
		{"ftp://example.com:443", origin.Origin{"ftp", "example.com", "443"}, "ftp://example.com:443"},
		{"//example.com", origin.Origin{"", "example.com", ""}, "://example.com"},
		{"https://user:password@example.com", origin.Origin{"https", "example.com", "443"}, "https://example.com"},
		{"https://bücher.example", origin.Origin{"https", "xn--bcher-kva.example", "443"}, "https://xn--bcher-kva.example"},
		{"https://BÜCHER.example.", origin.Origin{"https", "xn--bcher-kva.example", "443"}, "https://xn--bcher-kva.example"},
		{"https://例え。jp。", origin.Origin{"https", "xn--r8jz45g.jp", "443"}, "https://xn--r8jz45g.jp"},
		{"https://a_b.Example.com", origin.Origin{"https", "a_b.example.com", "443"}, "https://a_b.example.com"},
		{"https://-a-.example.com", origin.Origin{"https", "-a-.example.com", "443"}, "https://-a-.example.com"},
		{"https://192.0.2.1:8443", origin.Origin{"https", "192.0.2.1", "8443"}, "https://192.0.2.1:8443"},
		{"https://１９２.0.2.1", origin.Origin{"https", "192.0.2.1", "443"}, "https://192.0.2.1"},
		{"https://[2001:DB8:0:0::1]", origin.Origin{"https", "2001:db8::1", "443"}, "https://[2001:db8::1]"},
		{"http://[::1]:8080", origin.Origin{"http", "::1", "8080"}, "http://[::1]:8080"},
		{"http://[fe80::1%25eth0]", origin.Origin{"http", "fe80::1%eth0", "80"}, "http://[fe80::1%eth0]"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			got, err := origin.Of(u)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("origin (-want +got):\n%s", diff)
			}
			if got.String() != tt.text {
				t.Errorf("as text %q, want %q", got, tt.text)
			}
		})
	}
}

// A URL need not come from url.Parse, which folds the scheme.
func TestOfFoldsTheScheme(t *testing.T) {
	got, err := origin.Of(&url.URL{Scheme: "HTTPS", Host: "example.com"})
	if want := (origin.Origin{Scheme: "https", Host: "example.com", Port: "443"}); got != want || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestOfErrors(t *testing.T) {
	for name, u := range map[string]*url.URL{
		"nil":             nil,
		"no host":         {Scheme: "https", Path: "/secret"},
		"port only":       {Scheme: "https", Host: ":443"},
		"dot only":        {Scheme: "https", Host: "."},
		"no IDNA name":    {Scheme: "https", Host: "\u00a0secret"},
		"ideographic dot": {Scheme: "https", Host: "。"},
	} {
		o, err := origin.Of(u)
		if err == nil || o != (origin.Origin{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, %v, want an error that repeats nothing", name, o, err)
		}
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	for _, s := range []string{"https://api.example.com/v1", "http://127.0.0.1:8080", "https://api.example.com.:443"} {
		u, _ := url.Parse(s)
		if n := testing.AllocsPerRun(100, func() { origin.Of(u) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true, "a.localhost": true, "a.b.localhost": true,
		"127.1": false, "127.": false, "127.x": false, "127.0.0.1.evil.com": false, "0x7f.1": false, "0.0.0.0": false, "::": false,
		"localhost.evil.com": false, "evillocalhost": false, "128.0.0.1": false, "example.com": false, "": false,
	} {
		if got := (origin.Origin{Scheme: "http", Host: host, Port: "80"}).Loopback(); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// What is Plain has an origin, whatever the host is.
func FuzzPlain(f *testing.F) {
	for _, host := range []string{"example.com", "a_b.Example.com:8443", "", ".", "..", ":", ":443", "[]", "[]:443", "[::1]:443", "a:b:c", "bücher.example", "\xff", "。"} {
		f.Add("https", host)
		f.Add("http", host)
	}
	f.Fuzz(func(t *testing.T, scheme, host string) {
		u := &url.URL{Scheme: scheme, Host: host}
		plain := origin.Plain(u)
		o, err := origin.Of(u)
		if plain && (err != nil || o.Scheme != "https") {
			t.Errorf("%q is plain, and its origin is %v, %v", u, o, err)
		}
	})
}

func TestPlain(t *testing.T) {
	for host, want := range map[string]bool{
		"example.com": true, "A_b.example.com:8443": true, "192.0.2.1": true, "[::1]": false, "": false, ":1": false, ".": false, "bücher.example": false,
	} {
		if got := origin.Plain(&url.URL{Scheme: "https", Host: host}); got != want {
			t.Errorf("%q: got %v", host, got)
		}
	}
	if origin.Plain(nil) || origin.Plain(&url.URL{Scheme: "http", Host: "example.com"}) {
		t.Error("nil, or http, is plain")
	}
}
