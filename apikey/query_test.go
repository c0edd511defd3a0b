package apikey_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// sentTo returns the URL that a request for rawURL goes out to, which the test
// checks byte for byte.
func sentTo(t *testing.T, rt *apikey.Transport, rawURL string) string {
	t.Helper()
	s := &server{}
	sent, err := s.roundTrip(t, rt.Wrap(s), newRequest(t, rawURL))
	if err != nil {
		t.Fatal(err)
	}
	return sent.URL.String()
}

func TestQuery(t *testing.T) {
	const home = "https://api.example.com/"
	tests := []struct {
		name       string
		param, key string
		url        string
		want       string
	}{
		{"none", "key", "k", home, home + "?key=k"},
		{"empty", "key", "k", home + "?", home + "?key=k"},
		{"no path", "key", "k", "https://api.example.com", "https://api.example.com?key=k"},
		{"order", "key", "k", home + "?b=2&a=1&b=0", home + "?b=2&a=1&b=0&key=k"},
		{"escapes", "key", "k", home + "%2f?a=%2f%2F+%20/?é", home + "%2f?a=%2f%2F+%20/?é&key=k"},
		{"empty values", "key", "k", home + "?a=&b&=c", home + "?a=&b&=c&key=k"},
		{"empty parameters", "key", "k", home + "?&&", home + "?&&&key=k"},
		{"semicolon", "key", "k", home + "?a=1;b=2", home + "?a=1;b=2&key=k"},
		{"invalid escape", "key", "k", home + "?%zz=%", home + "?%zz=%&key=k"},
		{"fragment", "key", "k", home + "?a=1#b?key=mine", home + "?a=1&key=k#b?key=mine"},
		{"key to be escaped", "key", "&=+ %/é\xff", home, home + "?key=%26%3D%2B+%25%2F%C3%A9%FF"},
		{"name to be escaped", "api key&", "k", home, home + "?api+key%26=k"},
		{"opaque", "key", "k", "https://api.example.com/x", "https://api.example.com/x?key=k"},
		{"another name, other case", "key", "k", home + "?KEY=mine", home + "?KEY=mine&key=k"},
		{"another name, longer", "key", "k", home + "?key2=a&akey=b&key%20=c&key%3D=d", home + "?key2=a&akey=b&key%20=c&key%3D=d&key=k"},
		{"another name in a value", "key", "k", home + "?a=key=mine&b=%26key=mine", home + "?a=key=mine&b=%26key=mine&key=k"},
		{"invalid escape of another name", "%zz", "k", home + "?%zzz", home + "?%zzz&%25zz=k"},
		{"own", "key", "k", home + "?key=mine", home + "?key=mine"},
		{"own, last", "key", "k", home + "?a=1&key=mine", home + "?a=1&key=mine"},
		{"own, empty", "key", "k", home + "?key=", home + "?key="},
		{"own without a value", "key", "k", home + "?a=1&key", home + "?a=1&key"},
		{"own, escaped", "key", "k", home + "?%6b%65%79=mine", home + "?%6b%65%79=mine"},
		{"own with a space", "api key", "k", home + "?api+key=mine", home + "?api+key=mine"},
		{"own with a space, escaped", "api key", "k", home + "?api%20key=mine", home + "?api%20key=mine"},
		{"own with an invalid escape", "%zz", "k", home + "?%zz=mine", home + "?%zz=mine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := sentTo(t, &apikey.Transport{Key: tt.key, In: apikey.Query, Name: tt.param}, tt.url)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestQueryWithoutURL(t *testing.T) {
	rt := &apikey.Transport{Key: key, In: apikey.Query, Name: "key", Base: &server{}}
	if _, err := rt.RoundTrip(&http.Request{}); err == nil {
		t.Error("no error")
	}
}

// Of what a Base does to its request nothing comes back to the caller's.
func TestQueryIsOnACopy(t *testing.T) {
	req := newRequest(t, apiURL)
	req.Header.Set("Accept", "x")
	req.Trailer = http.Header{"X-Sum": nil}
	want := wire(req)
	rt := &apikey.Transport{Key: key, In: apikey.Query, Name: "key", Base: transport.Func(func(sent *http.Request) (*http.Response, error) {
		sent.Header.Set("Accept", "y")
		sent.URL.Path = "/"
		sent.Trailer.Set("X-Sum", "42")
		return &http.Response{Body: http.NoBody}, nil
	})}
	if _, err := rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, wire(req)); diff != "" {
		t.Errorf("the request (-before +after):\n%s", diff)
	}
	if req.Trailer.Get("X-Sum") != "42" {
		t.Error("the Trailer is not shared")
	}
}

// A site redirects by table and keeps what it was sent.
type site struct {
	server
	redirects map[string]string // from path to Location
}

func (s *site) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.server.RoundTrip(req)
	resp.Header = http.Header{}
	if to, ok := s.redirects[req.URL.Path]; ok {
		resp.StatusCode = http.StatusTemporaryRedirect
		resp.Header.Set("Location", to)
	}
	return resp, err
}

func TestQueryInLocation(t *testing.T) {
	const (
		home  = "https://api.example.com/"
		there = "https://www.example.com/"
		sent  = "?b=2&key=Secret-Key%2F%2B+1" // on the first hop
		ours  = "key=Secret-Key%2F%2B+1"
	)
	tests := []struct {
		name     string
		location string
		want     string // "" is not followed
	}{
		{"home", "/1?a=1", home + "1?a=1&" + ours},
		{"home, no query", "/1", home + "1?" + ours},
		{"home, repeated", "/1" + sent, home + "1?b=2&" + ours},
		{"home, repeated alone", "/1?" + ours, home + "1?" + ours},
		{"home, query alone", "?c=3&" + ours, home + "0?c=3&" + ours},
		{"home, nothing but the key", "?" + ours, home + "0?" + ours},
		{"home, nothing but the key and a fragment", "?" + ours + "#f", home + "0?" + ours + "#f"},
		{"home, a fragment alone", "#f", home + "0?b=2&" + ours + "#f"},
		{"home, masked", "/1?key=REDACTED&a=1", home + "1?a=1&" + ours},
		{"home, the server's", "/1?k%65y=theirs&key=more", home + "1?" + ours},
		{"away", there + "1?a=1", there + "1?a=1"},
		{"away, repeated", there + "1" + sent, there + "1?b=2"},
		{"away, repeated alone", there + "?" + ours, there},
		{"away, no path", "https://www.example.com?" + ours, "https://www.example.com"},
		{"away, repeated before others", there + "?" + ours + "&a=%2f&&b=;#f", there + "?a=%2f&&b=;#f"},
		{"away, repeated twice", there + "?" + ours + "&a=1&" + ours, there + "?a=1"},
		{"away, spelled otherwise", there + "?k%65y=S%65cret-Key/%2b%201", there},
		{"away, another value", there + "?key=theirs", there + "?key=theirs"},
		{"away, another name", there + "?token=Secret-Key%2F%2B+1&a=1", there + "?token=&a=1"},
		{"away, after a semicolon", there + "?a=1;" + ours, there + "?a=1;key="},
		{"away, in the path", there + "Secret-Key%2F+%201/x", there + "/x"},
		{"away, in the fragment", there + "#" + ours, there + "#key="},
		{"away, within a parameter", there + "?return_to=" + url.QueryEscape(home+"0"+sent), there + "?return_to=https%3A%2F%2Fapi.example.com%2F0%3Fb%3D2%26key%3D"},
		{"away, from nowhere", "//www.example.com/" + sent, there + "?b=2"},
		{"no Location", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{redirects: map[string]string{"/0": tt.location}}
			hops := 0
			client := &http.Client{
				Transport: &apikey.Transport{Key: key, In: apikey.Query, Name: "key", Base: s},
				CheckRedirect: func(*http.Request, []*http.Request) error {
					if hops++; hops == 2 { // back where it was
						return http.ErrUseLastResponse
					}
					return nil
				},
			}
			resp, err := client.Post(home+"0?b=2", "text/plain", strings.NewReader("payload"))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.sent[0].URL.String(); got != home+"0"+sent {
				t.Errorf("the first request went to %s", got)
			}
			var got string
			if len(s.sent) > 1 {
				got = s.sent[1].URL.String()
			}
			if got != tt.want {
				t.Errorf("followed to\n     %s\nwant %s", got, tt.want)
			}
			for req := resp.Request; req != nil; {
				if shown := strings.Join(append(wire(req), resp.Header.Get("Location")), "\n"); tells(shown) {
					t.Errorf("the caller sees\n%s", shown)
				}
				if req.Response == nil {
					break
				}
				req = req.Response.Request
			}
			if slices.ContainsFunc(s.sent, func(req *http.Request) bool { return tells(req.Referer()) }) {
				t.Error("Referer tells the key")
			}
		})
	}
}

// A short key may be part of any word, and any key of a path that a server has
// for its own reasons.
func TestKeyInLocationForOtherReasons(t *testing.T) {
	const there = "https://www.example.com/"
	tests := []struct{ key, location, want string }{
		{"exam", there + "?key=exam", there},
		{"exam", there + "?key=exam#f", there + "#f"},
		{"exam", there + "?key=example", there + "?key=example"},
		{"exam", there + "example?a=exam&key=exam#exam", there + "example?a=exam#exam"},
		{"example", there + "example?key=example", there + "example"},
		{"examples", there + "examples?key=examples", there},
		{"application-1", "/apps/application-1/x?key=application-1", "/apps/application-1/x"},
		{"application-1", "https://API.example.com:443/application-1", "https://API.example.com:443/application-1"},
		{"application-1", "https://api.example.com:8443/application-1", "https://api.example.com:8443/"},
		{"application-1", "/application-1#application-1", "/application-1#"},
		{"application-1", "https://api.example.com:bad/application-1", "https://api.example.com:bad/"},
	}
	for _, tt := range tests {
		s := &site{redirects: map[string]string{"/0": tt.location}}
		rt := &apikey.Transport{Key: tt.key, In: apikey.Query, Name: "key", Base: s}
		resp, err := rt.RoundTrip(newRequest(t, "https://api.example.com/0"))
		if err != nil || resp.Header.Get("Location") != tt.want {
			t.Errorf("with key %s, %s became %s, %v, want %s", tt.key, tt.location, resp.Header.Get("Location"), err, tt.want)
		}
	}
}
