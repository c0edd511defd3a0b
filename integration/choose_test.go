package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/integration/webserver"
	"github.com/authtrip/authtrip/transport"
)

// choose is a client that answers either scheme.
func choose(u webserver.User, w *wire) *http.Client {
	return &http.Client{Transport: &transport.Choose{Base: w, Choices: []transport.Choice{
		{Scheme: "Digest", Middleware: (&digest.Transport{Username: u.Name, Password: u.Password}).Wrap},
		{Scheme: "Basic", Middleware: (&basic.Transport{Username: u.Name, Password: u.Password}).Wrap},
	}}}
}

func TestChoose(t *testing.T) {
	b := webserver.NewBackend(t)
	apache, both := webserver.Apache(t, b), webserver.SquidServer(t, b, "basic", "digest")
	for _, test := range []struct {
		name, url, want string
	}{
		{"Basic alone", apache.URL + "/basic/", "Basic"},
		{"Digest alone", apache.URL + "/digest/", "Digest"},
		{"both", both.URL + "/", ""}, // Squid keeps what it has asked for to itself
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(t)
			for _, u := range users {
				client := choose(u, w)
				got, err := echo(t, client, test.url, "hello")
				if err != nil {
					t.Errorf("%s: %v", u.Name, err)
				}
				if scheme, _, _ := strings.Cut(got.Header.Get("Authorization"), " "); scheme != test.want {
					t.Errorf("the backend has got %q, want %q", scheme, test.want)
				}
				w.expect(t, u.Name, map[int]int{200: 1, 401: 1})
				if _, err := echo(t, client, test.url, "again"); err != nil {
					t.Errorf("%s: %v", u.Name, err)
				}
				w.expect(t, u.Name+" again", map[int]int{200: 1})
			}
			refusal(t, choose(webserver.User{Name: user0.Name, Password: "wrong"}, w), test.url, 401, "Www-Authenticate")
			w.expect(t, "wrong password", map[int]int{401: 2})

			client := choose(user0, w)
			wave(t, client, "cold wave", test.url)
			w.atMost(t, "cold wave", callers, 2*callers)
			wave(t, client, "warm wave", test.url)
			w.atMost(t, "warm wave", callers, callers)
			wave(t, client, "last wave", test.url)
			w.atMost(t, "last wave", callers, callers/4)
		})
	}
}
