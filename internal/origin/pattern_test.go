package origin_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/origin"
)

var patterns = []struct {
	pattern string
	match   []string
	not     []string
}{
	{
		"https://example.com",
		[]string{"https://example.com", "https://EXAMPLE.com.:443/path"},
		[]string{"http://example.com", "https://example.com:80", "https://a.example.com", "https://evilexample.com", "https://example.com.evil.com", "ftp://example.com"},
	},
	{
		"HTTP://Example.Com.:8080/",
		[]string{"http://example.com:8080"},
		[]string{"http://example.com", "https://example.com:8080"},
	},
	{
		"https://*.example.com",
		[]string{"https://a.example.com", "https://b.a.example.com", "https://A.Example.Com."},
		[]string{"https://example.com", "https://evilexample.com", "https://a.example.com:8443", "http://a.example.com", "http://a.example.com:443", "https://a.example.com.evil.com"},
	},
	{
		"https://*.example.com:8443",
		[]string{"https://a.example.com:8443"},
		[]string{"https://a.example.com", "https://example.com:8443"},
	},
	{
		"http://*.localhost",
		[]string{"http://a.localhost"},
		[]string{"http://localhost", "https://a.localhost"},
	},
	{
		"https://*.bücher.example",
		[]string{"https://a.xn--bcher-kva.example"},
		[]string{"https://xn--bcher-kva.example"},
	},
	{
		"https://[::1]:8443",
		[]string{"https://[0:0::1]:8443"},
		[]string{"https://[::1]", "https://[::2]:8443"},
	},
}

func of(t testing.TB, s string) origin.Origin {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	o, err := origin.Of(u)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPattern(t *testing.T) {
	for _, tt := range patterns {
		t.Run(tt.pattern, func(t *testing.T) {
			p, err := origin.ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range tt.match {
				if !p.Match(of(t, u)) {
					t.Errorf("does not match %s", u)
				}
			}
			for _, u := range tt.not {
				if p.Match(of(t, u)) {
					t.Errorf("matches %s", u)
				}
			}
		})
	}
}

func TestParsePatternErrors(t *testing.T) {
	for _, s := range []string{
		"", "example.com", "https://", "https://.", "ftp://example.com", "https://example.com/path", "https://example.com?", "https://example.com?q",
		"https://example.com#f", "https://user:secret@example.com", "https://secret@example.com", "https://user:secret@%zz",
		"https://*", "https://*.", "https://a.*.com", "https://*.*.com", "https://**.com", "https://*a.com", "https://a*", "https://*.1.2.3.4",
		"https://*.[::1]", "https://*.::1", "https://*.4", "https://example.com:x", "https://example.com:65536", "https://*.example.com:99999", "https://\u00a0secret",
	} {
		if p, err := origin.ParsePattern(s); err == nil || p != (origin.Pattern{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, %v, want an error that repeats nothing", s, p, err)
		}
	}
}

// FuzzPattern checks what matching means against URLs of any kind.
func FuzzPattern(f *testing.F) {
	for _, tt := range patterns {
		for _, u := range append(tt.match, tt.not...) {
			f.Add(tt.pattern, u)
		}
	}
	f.Add("https://*.1", "https://a.1")
	f.Add("https://*.[::1]", "https://[::1]")
	f.Add("https://*..", "https://a..")
	f.Add("https://a:b@c", "https://a:b@c:d")
	f.Add("https://xn--a", "https://\u00df.example")
	f.Fuzz(func(t *testing.T, pattern, target string) {
		p, err := origin.ParsePattern(pattern)
		if err != nil {
			if p != (origin.Pattern{}) {
				t.Errorf("error and %v", p)
			}
			return
		}
		u, err := url.Parse(pattern)
		if err != nil {
			t.Fatalf("pattern %q is no URL", pattern)
		}
		own, ownErr := origin.Of(u)
		domain, wild := strings.CutPrefix(u.Host, "*.")
		bare := *u
		bare.Host = domain
		base, err := origin.Of(&bare)
		if err != nil {
			t.Fatalf("pattern %q has no origin: %v", pattern, err)
		}
		if strings.Contains(base.Host, "*") {
			t.Errorf("pattern %q keeps a *", pattern)
		}
		if !wild && (ownErr != nil || !p.Match(own)) {
			t.Errorf("pattern %q does not match itself, %v", pattern, own)
		}
		if wild {
			evil, below := base, base
			evil.Host = "evil" + base.Host
			below.Host = "a.b." + base.Host
			if p.Match(base) || p.Match(evil) {
				t.Errorf("pattern %q matches %v or %v", pattern, base, evil)
			}
			if !p.Match(below) {
				t.Errorf("pattern %q does not match %v", pattern, below)
			}
		}
		other, err := url.Parse(target)
		if err != nil {
			return
		}
		o, err := origin.Of(other)
		if err != nil {
			return
		}
		// A second trailing dot is no part of any name, and is not taken off.
		web := (o.Scheme == "https" || o.Scheme == "http") && !strings.HasSuffix(o.Host, ".")
		if web && of(t, o.String()) != o {
			t.Errorf("%q is %v, whose text is another origin", target, o)
		}
		want := o == base
		if wild {
			want = o.Scheme == base.Scheme && o.Port == base.Port && strings.HasSuffix(o.Host, "."+base.Host) && o.Host != "."+base.Host
		}
		if got := p.Match(o); got != want {
			t.Errorf("pattern %q matches %v: %v", pattern, o, got)
		}
	})
}
