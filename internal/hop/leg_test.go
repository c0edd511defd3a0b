package hop_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authtrip/authtrip/internal/hop"
	"github.com/google/go-cmp/cmp"
)

func field(name, value string) *hop.Field { return hop.NewField(name, value) }

func TestNewField(t *testing.T) {
	f := hop.NewField("X-Key", "ours")
	if diff := cmp.Diff(&hop.Field{Name: "X-Key", Values: []string{"ours"}}, f); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if cap(f.Values) != 1 {
		t.Errorf("Values has room for %d", cap(f.Values))
	}
}

func TestBuild(t *testing.T) {
	ours := field("X-Key", "ours")
	tests := []struct {
		name   string
		header http.Header
		put    func(*hop.Leg)
		want   http.Header
	}{
		{"nil", nil, func(l *hop.Leg) { l.Set(ours) }, http.Header{"X-Key": {"ours"}}},
		{"nil and nothing added", nil, (*hop.Leg).Bare, nil},
		{"empty", http.Header{}, func(l *hop.Leg) { l.Set(ours) }, http.Header{"X-Key": {"ours"}}},
		{"nothing added", http.Header{"a": {"b"}}, (*hop.Leg).Bare, http.Header{"a": {"b"}}},
		{
			"others",
			http.Header{"Accept": {"a", "b"}, "x-keys": {"c"}},
			func(l *hop.Leg) { l.Set(ours) },
			http.Header{"Accept": {"a", "b"}, "x-keys": {"c"}, "X-Key": {"ours"}},
		},
		{
			"every spelling",
			http.Header{"X-Key": {"a"}, "x-key": {"b"}, "X-KEY": nil},
			func(l *hop.Leg) { l.Set(ours) },
			http.Header{"X-Key": {"ours"}},
		},
		{
			"every spelling, empty",
			http.Header{"x-key": {""}, "X-KEY": nil},
			func(l *hop.Leg) {
				l.Own("X-Key")
				l.Set(ours)
			},
			http.Header{"X-Key": {"ours"}},
		},
		{
			"asked for another since",
			http.Header{"x-key": {""}},
			func(l *hop.Leg) {
				l.Own("X-Other")
				l.Set(ours)
			},
			http.Header{"X-Key": {"ours"}},
		},
		{
			"two",
			http.Header{"x-other": {""}, "x-key": nil},
			func(l *hop.Leg) {
				l.Own("X-Key")
				l.Set(ours)
				l.Own("X-Other")
				l.Set(field("X-Other", "too"))
			},
			http.Header{"X-Key": {"ours"}, "X-Other": {"too"}},
		},
		{
			"twice the same", nil, func(l *hop.Leg) { l.Set(field("X-Key", "first")); l.Set(ours) },
			http.Header{"X-Key": {"ours"}},
		},
		{
			"removed",
			http.Header{"Cookie": {"a=b"}},
			func(l *hop.Leg) { l.Set(&hop.Field{Name: hop.Cookie}) },
			http.Header{"Cookie": nil},
		},
		{
			"many",
			http.Header{"X-Key": {"a"}},
			func(l *hop.Leg) {
				l.Set(ours)
				for i := range 20 {
					l.Set(field(fmt.Sprintf("X-%d", i), "n"))
				}
			},
			func() http.Header {
				h := http.Header{"X-Key": {"ours"}}
				for i := range 20 {
					h[fmt.Sprintf("X-%d", i)] = []string{"n"}
				}
				return h
			}(),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.header.Clone()
			req := &http.Request{Header: tt.header, Trailer: http.Header{"X-Sum": nil}, Body: http.NoBody, URL: &url.URL{Host: "h"}}
			l := hop.Leg{Request: req}
			tt.put(&l)
			got := l.Build()
			if diff := cmp.Diff(tt.want, got.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if again := l.Build(); again == got || cmp.Diff(tt.want, again.Header) != "" {
				t.Error("the second copy is another")
			}
			if got.Header != nil {
				got.Header["X-New"] = nil
			}
			got.Trailer.Set("X-Sum", "42")
			if diff := cmp.Diff(before, req.Header); diff != "" || got == req {
				t.Errorf("the request's own header (-before +after):\n%s", diff)
			}
			if req.Trailer.Get("X-Sum") != "42" || got.Body != http.NoBody || got.URL != req.URL {
				t.Error("Trailer, Body or URL is not shared")
			}
		})
	}
	t.Run("as it is", func(t *testing.T) {
		req := plain()
		if l := (hop.Leg{Request: req}); l.Build() != req {
			t.Error("it was copied")
		}
	})
}

// What is put onto one copy of a Leg is not on another.
func TestLegIsCopied(t *testing.T) {
	l := hop.Leg{Request: plain()}
	l.Set(field("X-A", "1"))
	first, second := l, l
	first.Set(field("X-B", "2"))
	second.Set(field("X-A", "3"))
	second.SetQuery("q")
	second.SetBody(io.NopCloser(strings.NewReader("")))
	for name, tt := range map[string]struct {
		l    hop.Leg
		want http.Header
	}{
		"before": {l, http.Header{"Accept": {"x"}, "X-A": {"1"}}},
		"first":  {first, http.Header{"Accept": {"x"}, "X-A": {"1"}, "X-B": {"2"}}},
		"second": {second, http.Header{"Accept": {"x"}, "X-A": {"3"}}},
	} {
		r := tt.l.Build()
		if diff := cmp.Diff(tt.want, r.Header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if (r.URL.RawQuery != "") != (name == "second") || (r.Body != nil) != (name == "second") {
			t.Errorf("%s: query %q, body %v", name, r.URL.RawQuery, r.Body)
		}
	}
}

// A body may be of a type that cannot be compared.
func TestUncomparableBody(t *testing.T) {
	req := plain()
	req.Body = io.NopCloser(reading(nil))
	l := hop.Leg{Request: req}
	if l.SetBody(io.NopCloser(reading(nil))); l.Request == req {
		t.Error("the body was not replaced")
	}
}

type reading func([]byte) (int, error)

func (r reading) Read(b []byte) (int, error) { return r(b) }

type late struct{ *decorator }

// A package is initialised while a goroutine that another has started sends requests.
func TestRegisterWhileSending(t *testing.T) {
	base := fn(func(req *http.Request) (*http.Response, error) { return &http.Response{}, nil })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				var next hop.Next
				if _, err := next.Send(base, &hop.Leg{Request: plain()}, plain()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	hop.Register(func(d *late, l hop.Leg) (*http.Response, error) { return d.roundTrip(&l) })
	wg.Wait()
}

func TestLegReads(t *testing.T) {
	req := with("cookie", "a=1")
	req.URL.RawQuery = "q=1"
	l := hop.Leg{Request: req}
	if l.Own("X-Key") || l.Query() != "q=1" || cmp.Diff([]string{"a=1"}, l.Cookies()) != "" {
		t.Errorf("the request's own: %v, %q, %q", l.Own("X-Key"), l.Query(), l.Cookies())
	}
	l.Set(field("X-Key", "k"))
	l.Set(field(hop.Cookie, "b=2"))
	l.SetQuery("")
	if !l.Own("X-Key") || l.Query() != "" || cmp.Diff([]string{"b=2"}, l.Cookies()) != "" {
		t.Errorf("ours: %v, %q, %q", l.Own("X-Key"), l.Query(), l.Cookies())
	}
	if r := l.Build(); r.URL.RawQuery != "" || req.URL.RawQuery != "q=1" || req.URL == r.URL {
		t.Error("the query has not been replaced, or the request's own was")
	}
	same := hop.Leg{Request: req}
	same.SetBody(nil)
	if same.SetBody(http.NoBody); same.Request != req {
		t.Error("no body made a copy")
	}
	body := io.NopCloser(strings.NewReader(""))
	if l.SetBody(body); l.Request.Body != body || req.Body != nil || l.Build().Header.Get("X-Key") != "k" {
		t.Error("another body is not there, or is the request's own")
	}
}

// A decorator of ours, and a type that embeds one.
type (
	decorator struct {
		next hop.Next
		base http.RoundTripper
		took int
	}
	embedding struct{ *decorator }
)

func (d *decorator) RoundTrip(req *http.Request) (*http.Response, error) {
	d.took = -1
	return d.roundTrip(&hop.Leg{Request: req})
}

var _ = hop.Register(func(d *decorator, l hop.Leg) (*http.Response, error) { return d.roundTrip(&l) })

func (d *decorator) roundTrip(l *hop.Leg) (*http.Response, error) {
	d.took++
	l.Set(field("X-Key", "k"))
	return d.next.Send(d.base, l, l.Request)
}

func TestNext(t *testing.T) {
	var sent *http.Request
	base := fn(func(req *http.Request) (*http.Response, error) {
		sent = req
		return &http.Response{Request: req}, nil
	})
	for _, tt := range []struct {
		name string
		wrap func(*decorator) http.RoundTripper
		took int
	}{
		{"ours", func(d *decorator) http.RoundTripper { return d }, 2},
		{"embedding ours", func(d *decorator) http.RoundTripper { return embedding{d} }, 0},
		{"pointer to one that embeds ours", func(d *decorator) http.RoundTripper { return &embedding{d} }, 0},
		{"a function around ours", func(d *decorator) http.RoundTripper { return fn(d.RoundTrip) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := &decorator{base: base}
			rt := tt.wrap(inner)
			var outer hop.Next
			req, caller := plain(), plain()
			for range 2 {
				l := hop.Leg{Request: req}
				l.Set(field("X-Outer", "o"))
				resp, err := outer.Send(rt, &l, caller)
				if err != nil || resp.Request != caller {
					t.Fatalf("%v, %v", resp, err)
				}
				if diff := cmp.Diff(http.Header{"Accept": {"x"}, "X-Key": {"k"}, "X-Outer": {"o"}}, sent.Header); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			}
			if inner.took != tt.took {
				t.Errorf("took %d legs, want %d", inner.took, tt.took)
			}
		})
	}
}

type fn func(*http.Request) (*http.Response, error)

func (f fn) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestSend(t *testing.T) {
	failed := io.ErrUnexpectedEOF
	closed := 0
	for name, tt := range map[string]struct {
		resp *http.Response
		err  error
		want string
	}{
		"neither": {nil, nil, "authtrip: Base returned neither a response nor an error"},
		"both":    {&http.Response{Body: body{strings.NewReader(""), &closed}}, failed, failed.Error()},
	} {
		var next hop.Next
		resp, err := next.Send(fn(func(*http.Request) (*http.Response, error) { return tt.resp, tt.err }), &hop.Leg{Request: plain()}, plain())
		if resp != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}

// With no base, it is what http.DefaultTransport is at the time.
func TestNoBase(t *testing.T) {
	old := http.DefaultTransport
	defer func() { http.DefaultTransport = old }()
	var next hop.Next
	for _, want := range []string{"one", "two"} {
		http.DefaultTransport = fn(func(*http.Request) (*http.Response, error) { return &http.Response{Status: want}, nil })
		if resp, err := next.Send(nil, &hop.Leg{Request: plain()}, plain()); err != nil || resp.Status != want {
			t.Errorf("%v, %v", resp, err)
		}
	}
}

// Whatever other names there are, one that is there in some spelling is found, and
// replaced, also after the first look at all of them.
func TestAnySpellingIsFound(t *testing.T) {
	others := []string{"", "-", "Accept", "Cookies", "X-Api-Key", "Cache-Control", strings.Repeat("X", 63), strings.Repeat("c", 64)}
	for _, name := range []string{"Cookie", "Authorization", "X-Api-Key", "A", "Origin", strings.Repeat("X", 70)} {
		for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ToLower(name[:1]) + name[1:]} {
			for i := range 200 { // one header in 32 is remembered
				value := []string{"own", ""}[i%2]
				h := http.Header{spelled: {value}}
				for _, o := range others {
					if !strings.EqualFold(o, name) {
						h[o] = []string{"x"}
					}
				}
				l := hop.Leg{Request: &http.Request{Header: h}}
				l.Own("X-First")
				if got := l.Own(name); got != (value != "") {
					t.Errorf("%q as %q: %v", name, spelled, got)
				}
				if name == "Cookie" && len(l.Cookies()) != 1 {
					t.Errorf("%q: %q", spelled, l.Cookies())
				}
				l.Set(field(name, "ours"))
				want := h.Clone()
				delete(want, spelled)
				want[name] = []string{"ours"}
				if diff := cmp.Diff(want, l.Build().Header); diff != "" {
					t.Errorf("%q as %q (-want +got):\n%s", name, spelled, diff)
				}
			}
		}
	}
}
