package integration_test

import (
	"net/http"
	"testing"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/integration/webserver"
)

func TestBasic(t *testing.T) {
	b := webserver.NewBackend(t)
	for _, s := range []*webserver.Server{webserver.Apache(t, b), webserver.Lighttpd(t, b), webserver.Nginx(t, b)} {
		t.Run(s.Name, func(t *testing.T) {
			url, w := s.URL+"/basic/", newWire(t)
			for _, u := range users {
				client := &http.Client{Transport: &basic.Transport{Username: u.Name, Password: u.Password, Base: w}}
				if _, err := echo(t, client, url, "hello"); err != nil {
					t.Errorf("%s: %v", u.Name, err)
				}
				w.expect(t, u.Name, map[int]int{200: 1})
			}
			refusal(t, &http.Client{Transport: &basic.Transport{Username: user0.Name, Password: "wrong", Base: w}}, url, 401, "Www-Authenticate")
			w.expect(t, "wrong password", map[int]int{401: 1})

			wave(t, &http.Client{Transport: &basic.Transport{Username: user0.Name, Password: user0.Password, Base: w}}, "wave", url)
			w.expect(t, "wave", map[int]int{200: callers})
		})
	}
}
