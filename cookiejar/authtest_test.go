package cookiejar_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/transport"
)

// All three against a server that keeps sessions, and ends them at any moment.
func TestSessionsOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := authtest.NewServer(t, authtest.InMemory())
		logins := 0
		login := &cookiejar.Login{MaxLogins: -1, Login: func(_ context.Context, client *http.Client) error {
			logins++
			resp, err := client.PostForm(server.URL+"/login", url.Values{"username": {server.Username}, "password": {server.Password}})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode >= 400 {
				return fmt.Errorf("signing in: %s", resp.Status)
			}
			return nil
		}}
		cookies := &cookiejar.Transport{Jar: new(cookiejar.Jar)}
		client := transport.Client(server.Client(), login.Wrap, cookies.Wrap, new(cookiejar.XSRF).Wrap)
		for round := range 5 {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					resp, err := client.Post(server.URL+"/session", "text/plain", strings.NewReader("body"))
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						t.Errorf("round %d: %s", round, resp.Status)
					}
				})
			}
			all.Wait()
			server.EndSessions()
		}
		if logins != 5 {
			t.Errorf("%d logins", logins)
		}
	})
}
