package main

import (
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/bench/internal/rows"
	"github.com/authtrip/authtrip/challenge"
	"github.com/google/go-cmp/cmp"
)

// Every row sends the credential that it is said to, and the template's fields; those
// that change the caller's request are known.
func TestRowsAreHonest(t *testing.T) {
	for _, p := range append(rows.Alone(), peers...) {
		t.Run(p.Name, func(t *testing.T) {
			var sent []*http.Request
			base := rows.Func(func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") == "" && req.Header.Get("X-Api-Key") == "" {
					return rows.Nothing().RoundTrip(req)
				}
				sent = append(sent, req.Clone(req.Context()))
				return rows.Nothing().RoundTrip(req)
			})
			req := rows.Template(6)
			before := req.Clone(req.Context())
			send := p.Make(base, &rows.Issuer{})
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
			case p.Scheme == "Basic ":
				if user, password, _ := got.BasicAuth(); user != "user" || password != "password" {
					t.Errorf("sent %q", got.Header["Authorization"])
				}
			case p.Scheme == "":
				if got.Header.Get("X-Api-Key") != "key" {
					t.Errorf("sent %q", got.Header)
				}
			default:
				if want := []string{p.Scheme + "token-1"}; !reflect.DeepEqual(got.Header["Authorization"], want) {
					t.Errorf("sent %q, want %q", got.Header["Authorization"], want)
				}
			}
			for name, values := range before.Header {
				if name != "User-Agent" && !reflect.DeepEqual(got.Header[name], values) {
					t.Errorf("%s: sent %q, want %q", name, got.Header[name], values)
				}
			}
			if mutated := !reflect.DeepEqual(before.Header, req.Header) || before.URL.String() != req.URL.String(); mutated != p.Mutates {
				t.Errorf("it changes the caller's request: %v, and the table says %v", mutated, p.Mutates)
			}
		})
	}
}

func TestChainsAreHonest(t *testing.T) {
	for _, c := range chains {
		t.Run(c.name, func(t *testing.T) {
			var sent *http.Request
			rt := c.make(rows.Func(func(req *http.Request) (*http.Response, error) {
				sent = req
				return rows.Nothing().RoundTrip(req)
			}), &rows.Issuer{})
			req := bare()
			want := req.Header.Clone()
			for name, value := range c.fields {
				want.Set(name, value)
			}
			for range 3 {
				if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp, err)
				}
				if diff := cmp.Diff(want, sent.Header); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(bare().Header, req.Header); diff != "" {
				t.Errorf("the caller's request (-before +after):\n%s", diff)
			}
			if len(want) != 8 {
				t.Errorf("%d fields, want 8", len(want))
			}
		})
	}
}

// Each answer is right (RFC 7616 section 3.4.1), and another than the one before.
func TestDigestsAreHonest(t *testing.T) {
	for _, p := range digests {
		t.Run(p.Name, func(t *testing.T) {
			var sent []string
			send := p.Make(rows.Func(func(req *http.Request) (*http.Response, error) {
				sent = append(sent, req.Header.Get("Authorization"))
				return rows.Nothing().RoundTrip(req)
			}), &rows.Issuer{})
			req := rows.Template(6)
			before := req.Clone(req.Context())
			for range 3 {
				if resp, err := send(req); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp, err)
				}
			}
			if diff := cmp.Diff(before.Header, req.Header); diff != "" {
				t.Errorf("the caller's request (-before +after):\n%s", diff)
			}
			seen := map[string]bool{}
			for _, value := range sent {
				offers, err := challenge.Parse([]string{value})
				if err != nil {
					t.Fatal(err)
				}
				param := func(name string) string { v, _ := offers[0].Param(name); return v }
				hash := func(parts ...string) string { return fmt.Sprintf("%x", md5.Sum([]byte(strings.Join(parts, ":")))) }
				want := hash(hash("user", "bench", "password"), digestNonce, param("nc"), param("cnonce"), "auth", hash("GET", req.URL.RequestURI()))
				if got := param("response"); got != want || seen[got] {
					t.Errorf("%s: want response %s", value, want)
				}
				seen[want] = true
			}
			if len(sent) != 3 {
				t.Errorf("%d answers, want 3", len(sent))
			}
		})
	}
}

// Every chain of ours keeps the contract that the kit checks. (The library's own tests
// check each decorator by itself.)
func TestOursKeepTheContract(t *testing.T) {
	for _, c := range chains {
		if c.ours {
			t.Run(c.name, func(t *testing.T) {
				authtest.TestTransport(t, func(base http.RoundTripper) http.RoundTripper { return c.make(base, &rows.Issuer{}) }, authtest.Secret("token-", "sid=sid"))
			})
		}
	}
}
