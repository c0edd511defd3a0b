package integration_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/integration/webserver"
)

// digestClient is one for user u.
func digestClient(u webserver.User, w *wire) *http.Client {
	return &http.Client{Transport: &digest.Transport{Username: u.Name, Password: u.Password, Base: w}}
}

func TestDigest(t *testing.T) {
	b := webserver.NewBackend(t)
	apache, lighttpd, squid := webserver.Apache(t, b), webserver.Lighttpd(t, b), webserver.SquidServer(t, b, "digest")
	const (
		few = callers / 4
		all = callers
	)
	for _, test := range []struct {
		server *webserver.Server
		path   string
		// How many challenges may be met where there were some before: by one
		// request after the other, of which there are twenty, and by a wave.
		alone, atOnce int
	}{
		{apache, "/digest/", 0, few},
		{apache, "/reflected/digest/", 0, few},
		{apache, "/reflected/once/", 0, few}, // each answer has a nonce for another request
		{apache, "/once/", all, all},         // none has
		{apache, "/short/", all, all},
		{apache, "/reflected/short/", all, all},
		{apache, "/counted/", 0, few}, // nc must go up
		{apache, "/reflected/counted/", 0, few},
		{lighttpd, "/md5/", 0, few},
		{lighttpd, "/sha256/", 0, few},
		{lighttpd, "/sha512/", 0, few},
		{lighttpd, "/many/", 0, few},
		{lighttpd, "/hashed/", 0, few},
		{squid, "/", 2, few}, // the same; and a nonce is good for fifty requests
	} {
		t.Run(test.server.Name+test.path, func(t *testing.T) {
			url, w := test.server.URL+test.path, newWire(t)
			for _, u := range users {
				if _, err := echo(t, digestClient(u, w), url, "hello"); err != nil {
					t.Errorf("%s: %v", u.Name, err)
				}
				w.expect(t, u.Name, map[int]int{200: 1, 401: 1})
			}
			for _, u := range []webserver.User{{Name: user0.Name, Password: "wrong"}, {Name: "Scar", Password: user0.Password}} {
				client := digestClient(u, w)
				refusal(t, client, url, 401, "Www-Authenticate")
				w.expect(t, "refused", map[int]int{401: 2})
			}

			// The challenge comes while the body is still on its way.
			if _, err := echo(t, digestClient(user0, w), url, long); err != nil {
				t.Errorf("long body: %v", err)
			}
			w.expect(t, "long body", map[int]int{200: 1, 401: 1})

			client := digestClient(user0, w)
			wave(t, client, "cold wave", url)
			w.atMost(t, "cold wave", callers, callers)
			for i := range 20 {
				if _, err := echo(t, client, url, fmt.Sprint("alone ", i)); err != nil {
					t.Errorf("alone: %v", err)
				}
			}
			w.atMost(t, "alone", 20, test.alone)
			wave(t, client, "warm wave", url)
			w.atMost(t, "warm wave", callers, callers)
			wave(t, client, "last wave", url)
			w.atMost(t, "last wave", callers, test.atOnce)
		})
	}
}

// Nonces expire while requests are under way.
func TestDigestExpiry(t *testing.T) {
	s := webserver.Apache(t, webserver.NewBackend(t))
	for _, path := range []string{"/short/", "/reflected/short/"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			client := digestClient(user0, w)
			end := time.Now().Add(3 * time.Second) // three lifetimes
			failed, err := together(20, func(i int) error {
				for n := 0; time.Now().Before(end); n++ {
					if _, err := echo(t, client, s.URL+path, fmt.Sprint(i, " ", n)); err != nil {
						return err
					}
				}
				return nil
			})
			if failed > 0 {
				t.Errorf("%d failed, first: %v", failed, err)
			}
			if n := w.sent()[401]; n < 2 {
				t.Errorf("%d challenges in three lifetimes of a nonce", n)
			}
		})
	}
}

// The domain of a challenge says where else its answer is good.
func TestDigestDomain(t *testing.T) {
	b := webserver.NewBackend(t)
	s, w := webserver.Apache(t, b), newWire(t)
	client := digestClient(user0, w)
	if _, err := echo(t, client, s.URL+"/reflected/digest/", "first"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "first", map[int]int{200: 1, 401: 1})
	if _, err := echo(t, client, s.URL+"/digest/", "in the domain"); err != nil {
		t.Error(err)
	}
	w.expect(t, "in the domain", map[int]int{200: 1})
	got, err := echo(t, client, s.URL+"/open/", "elsewhere")
	if err != nil || got.Header.Get("Authorization") != "" {
		t.Errorf("elsewhere: %v, Authorization: %s", err, got.Header.Get("Authorization"))
	}
	w.expect(t, "elsewhere", map[int]int{200: 1})
}
