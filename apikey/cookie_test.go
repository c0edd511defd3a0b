package apikey_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/google/go-cmp/cmp"
)

func TestCookie(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		want   string // the one Cookie field, its cookies sorted
	}{
		{"nil header", nil, "sid=k"},
		{"none", http.Header{"Accept": {"x"}}, "sid=k"},
		{"one", http.Header{"Cookie": {"a=1"}}, "a=1; sid=k"},
		{"one field", http.Header{"Cookie": {"a=1; b=2"}}, "a=1; b=2; sid=k"},
		{"two fields", http.Header{"Cookie": {"a=1", "b=2"}}, "a=1; b=2; sid=k"},
		{"odd spelling", http.Header{"cookie": {"a=1"}}, "a=1; sid=k"},
		{"two spellings", http.Header{"Cookie": {"a=1"}, "COOKIE": {"b=2"}}, "a=1; b=2; sid=k"},
		{"empty", http.Header{"Cookie": {""}}, "sid=k"},
		{"no values", http.Header{"Cookie": nil, "cookie": {}}, "sid=k"},
		{"empty before another", http.Header{"Cookie": {"", "a=1"}}, "a=1; sid=k"},
		{"another field", http.Header{"Cookie2": {"sid=mine"}}, "sid=k"},
		{"another with a Kelvin sign", http.Header{"Coo\u212aie": {"sid=mine"}}, "sid=k"},
		{"another of the same length", http.Header{"Cookif": {"sid=mine"}}, "sid=k"},
		{"another case", http.Header{"Cookie": {"SID=x"}}, "SID=x; sid=k"},
		{"another name, in part", http.Header{"Cookie": {"asid=1; sid2=2"}}, "asid=1; sid2=2; sid=k"},
		{"in a value", http.Header{"Cookie": {"a=sid=mine"}}, "a=sid=mine; sid=k"},
		{"own", http.Header{"Cookie": {"sid=mine"}}, "sid=mine"},
		{"own, last", http.Header{"Cookie": {"a=1; sid=mine"}}, "a=1; sid=mine"},
		{"own, first", http.Header{"Cookie": {"sid=mine; a=1"}}, "a=1; sid=mine"},
		{"own without a space", http.Header{"Cookie": {"a=1;sid=mine"}}, "a=1;sid=mine"},
		{"own with spaces", http.Header{"Cookie": {"a=1;  sid =mine"}}, " sid =mine; a=1"},
		{"own without a value", http.Header{"Cookie": {"sid"}}, "sid"},
		{"own in odd spelling", http.Header{"cOOKIE": {"sid=mine"}}, "sid=mine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{}
			req := newRequest(t, apiURL)
			req.Header = tt.header
			sent, err := s.roundTrip(t, &apikey.Transport{Key: "k", In: apikey.Cookie, Name: "sid", Base: s}, req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for name, values := range sent.Header {
				if http.CanonicalHeaderKey(name) == "Cookie" {
					got = append(got, values...)
				}
			}
			if strings.HasSuffix(tt.want, "sid=k") && !(len(got) == 1 && strings.HasSuffix(got[0], "sid=k")) {
				t.Errorf("Cookie is %q, want one field that ends with ours", got)
			}
			if got := sorted(strings.Join(got, "; ")); got != tt.want {
				t.Errorf("Cookie is %q, want %q", got, tt.want)
			}
			if tt.header.Get("Accept") != sent.Header.Get("Accept") {
				t.Error("Accept was lost")
			}
		})
	}
}

// sorted returns the cookies in value in an order that does not depend on the
// header map's.
func sorted(value string) string {
	cookies := strings.Split(value, "; ")
	slices.Sort(cookies)
	return strings.Join(cookies, "; ")
}

// The jar of an http.Client never sees the key, and a cookie of its own wins.
func TestCookieAndJar(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	home, err := url.Parse("https://api.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	send := func() {
		s := &server{}
		client := &http.Client{Jar: jar, Transport: &apikey.Transport{Key: "k", In: apikey.Cookie, Name: "sid", Base: s}}
		if _, err := client.Get(home.String()); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(s.sent[0].Header["Cookie"], "|"))
	}
	send()
	jar.SetCookies(home, []*http.Cookie{{Name: "a", Value: "1"}})
	send()
	jar.SetCookies(home, []*http.Cookie{{Name: "sid", Value: "mine"}})
	send()
	if diff := cmp.Diff([]string{"sid=k", "a=1; sid=k", "a=1; sid=mine"}, got); diff != "" {
		t.Errorf("Cookie fields (-want +got):\n%s", diff)
	}
}
