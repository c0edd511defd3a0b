package main

import (
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// Every row sends the credential that it is said to, and the template's fields; those
// that change the caller's request are known.
func TestRowsAreHonest(t *testing.T) {
	mutates := map[string]bool{}
	for _, p := range append(append([]peer{floor}, ours...), peers...) {
		t.Run(p.name, func(t *testing.T) {
			var sent []*http.Request
			base := roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") == "" && req.Header.Get("X-Api-Key") == "" {
					return newNothing().RoundTrip(req)
				}
				sent = append(sent, req.Clone(req.Context()))
				return newNothing().RoundTrip(req)
			})
			req := template(6)
			before := req.Clone(req.Context())
			send := p.make(base, &issuer{})
			for range 3 {
				resp, err := send(req)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp, err)
				}
				if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 {
					t.Error(string(b), err)
				}
			}
			if len(sent) < 3 {
				t.Fatalf("%d requests sent", len(sent))
			}
			got := sent[len(sent)-1]
			switch {
			case p.scheme == "Basic ":
				if user, password, _ := got.BasicAuth(); user != "user" || password != "password" {
					t.Errorf("sent %q", got.Header["Authorization"])
				}
			case p.scheme == "":
				if got.Header.Get("X-Api-Key") != "key" {
					t.Errorf("sent %q", got.Header)
				}
			default:
				if want := []string{p.scheme + "token-1"}; !reflect.DeepEqual(got.Header["Authorization"], want) {
					t.Errorf("sent %q, want %q", got.Header["Authorization"], want)
				}
			}
			for name, values := range before.Header {
				if name != "User-Agent" && !reflect.DeepEqual(got.Header[name], values) {
					t.Errorf("%s: sent %q, want %q", name, got.Header[name], values)
				}
			}
			if !reflect.DeepEqual(before.Header, req.Header) || before.URL.String() != req.URL.String() {
				mutates[p.name] = true
			}
		})
	}
	for name := range mutates {
		if !strings.HasPrefix(name, "azcore") {
			t.Errorf("%s changes the caller's request", name)
		}
	}
}
