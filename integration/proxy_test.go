package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/integration/webserver"
	"github.com/google/go-cmp/cmp"
)

// through returns a wire whose requests go through a proxy as user u, if not
// nil, in the way of net/http.
func through(t *testing.T, proxy *webserver.Server, secure *webserver.Backend, u *url.Userinfo) *wire {
	t.Helper()
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	via.User = u
	w := newWire(t)
	w.Proxy, w.TLSClientConfig = http.ProxyURL(via), &tls.Config{RootCAs: secure.Roots}
	return w
}

// digestProxy is a client for user u of a proxy that asks for Digest. The answers
// of the proxy to CONNECT are counted with the others.
func digestProxy(u webserver.User, w *wire) *digest.Proxy {
	p := &digest.Proxy{Username: u.Name, Password: u.Password, Base: w}
	w.GetProxyConnectHeader = p.GetProxyConnectHeader
	w.OnProxyConnectResponse = func(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			w.count(resp.StatusCode)
		}
		return p.OnProxyConnectResponse(ctx, proxy, req, resp)
	}
	return p
}

// expectProxied is expect without the requests that there was no tunnel for.
func (w *wire) expectProxied(t *testing.T, what string, want map[int]int) {
	t.Helper()
	got := w.sent()
	delete(got, 0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: requests by status (-want +got):\n%s", what, diff)
	}
}

func TestProxy(t *testing.T) {
	plain, secure := webserver.NewBackend(t), webserver.NewTLSBackend(t)
	nginx, squid := webserver.Nginx(t, plain), webserver.Squid(t, "basic", "digest")
	targets := []struct{ scheme, url string }{
		{"http", nginx.URL + "/basic/"},
		{"https", secure.URL},
	}
	// The target is sent Basic, in any case.
	signIn := func(base http.RoundTripper) *http.Client {
		return &http.Client{Transport: &basic.Transport{Username: user0.Name, Password: user0.Password, Base: base}}
	}
	separate := func(t *testing.T, client *http.Client, to string) {
		t.Helper()
		got, err := echo(t, client, to, "hello")
		if err != nil {
			t.Error(err)
		}
		if got.Header.Get("Authorization") == "" || got.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("%s has got what is not for it, or not what is: %v", to, got.Header)
		}
	}

	// Basic to the proxy is net/http's.
	for _, to := range targets {
		t.Run("Basic "+to.scheme, func(t *testing.T) {
			for _, u := range users {
				w := through(t, squid, secure, url.UserPassword(u.Name, u.Password))
				separate(t, signIn(w), to.url)
				w.expect(t, u.Name, map[int]int{200: 1})
			}
			w := through(t, squid, secure, url.UserPassword(user0.Name, user0.Password))
			wave(t, signIn(w), "wave", to.url)
			w.expect(t, "wave", map[int]int{200: callers})

			w = through(t, squid, secure, url.UserPassword(user0.Name, "wr ng"))
			if to.scheme == "http" {
				refusal(t, signIn(w), to.url, 407, "Proxy-Authenticate")
				return
			}
			_, _, err := post(t, signIn(w), to.url, "hello")
			secretless(t, err, "wr ng", user0.Password)
		})
	}

	for _, to := range targets {
		t.Run("Digest "+to.scheme, func(t *testing.T) {
			for _, u := range users {
				w := through(t, squid, secure, nil)
				client := signIn(digestProxy(u, w))
				separate(t, client, to.url)
				w.expectProxied(t, u.Name, map[int]int{200: 1, 407: 1})
				separate(t, client, to.url)
				w.expectProxied(t, u.Name, map[int]int{200: 1})
				// Where a tunnel has to be opened again, it is at once.
				w.CloseIdleConnections()
				separate(t, client, to.url)
				w.expectProxied(t, u.Name, map[int]int{200: 1})
			}
			w := through(t, squid, secure, nil)
			if _, err := echo(t, signIn(digestProxy(user0, w)), to.url, long); err != nil {
				t.Errorf("long body: %v", err)
			}

			w = through(t, squid, secure, nil)
			client := signIn(digestProxy(user0, w))
			for range 3 {
				wave(t, client, "wave", to.url)
				w.atMost(t, "wave", callers, 2*callers)
				w.CloseIdleConnections() // more tunnels
			}
		})
	}

	t.Run("Digest refused", func(t *testing.T) {
		before := plain.Requests() + secure.Requests()
		for _, to := range targets {
			w := through(t, squid, secure, nil)
			client := signIn(digestProxy(webserver.User{Name: user0.Name, Password: "wr ng"}, w))
			if to.scheme == "http" {
				refusal(t, client, to.url, 407, "Proxy-Authenticate")
			} else {
				_, _, err := post(t, client, to.url, "hello")
				if !errors.Is(err, digest.ErrProxyRefused) {
					t.Errorf("%v, want ErrProxyRefused", err)
				}
				secretless(t, err, "wr ng", user0.Password)
			}
			w.expectProxied(t, to.scheme, map[int]int{407: 2})
		}
		if n := plain.Requests() + secure.Requests() - before; n > 0 {
			t.Errorf("%d requests have come through", n)
		}
	})
}

// secretless expects an error that does not tell any of the secrets.
func secretless(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, s := range secrets {
		if text := err.Error(); strings.Contains(text, s) || strings.Contains(text, url.QueryEscape(s)) || strings.Contains(text, url.PathEscape(s)) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}
