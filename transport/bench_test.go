package transport_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/transport"
)

func BenchmarkHotPath(b *testing.B) {
	req, base := hot(b)
	s := signedIn(b)
	for _, bm := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"none", base},
		{"floor", floor{base, []string{"Bearer token"}}},
		{"Bearer", &transport.Bearer{Source: s, Base: base}},
		{"Refresh", &transport.Refresh{Source: s, Base: base}},
		{"basic", &basic.Transport{Username: "user", Password: "password", Base: base}},
		{"apikey", &apikey.Transport{Key: "key", Base: base}},
	} {
		b.Run(bm.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bm.rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bm.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := ownResponse(req)
				for pb.Next() {
					if _, err := bm.rt.RoundTrip(req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// A floor does what no decorator can do without: a copy of the request and of its
// header, and an assignment.
type floor struct {
	base   http.RoundTripper
	values []string
}

func (f floor) RoundTrip(req *http.Request) (*http.Response, error) {
	r := *req
	r.Header = maps.Clone(req.Header)
	r.Header["Authorization"] = f.values
	resp, err := f.base.RoundTrip(&r)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

func BenchmarkAudience(b *testing.B) {
	origins := &transport.Audience{Origins: []string{"https://other.example.com", "https://*.example.com"}}
	first, third := chain(b, apiURL), chain(b, apiURL, apiURL, apiURL)
	for _, bm := range []struct {
		name     string
		audience *transport.Audience
		req      *http.Request
	}{
		{"nil", nil, first},
		{"nil/redirected", nil, third},
		{"Origins", origins, first},
		{"Origins/redirected", origins, third},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := bm.audience.Allows(bm.req); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
