package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/integration/webserver"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// submit posts a form, and expects status 200.
func submit(ctx context.Context, client *http.Client, to string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("signing in: " + resp.Status)
	}
	return nil
}

// get requests a page, and expects status 200.
func get(ctx context.Context, client *http.Client, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(page + ": " + resp.Status)
	}
	return nil
}

// signIn is for the site's form, whose page brings the CSRF cookie if there is
// none yet.
func signIn(site *webserver.Server) func(context.Context, *http.Client) error {
	page := site.URL + "/login/"
	return func(ctx context.Context, client *http.Client) error {
		if err := get(ctx, client, page); err != nil {
			return err
		}
		return submit(ctx, client, page, url.Values{"username": {user0.Name}, "password": {user0.Password}})
	}
}

// djangoStats are the site's own counts.
type djangoStats struct {
	Logins   int // sessions begun
	Needless int // of these, while the one before was good
	Items    int // requests let in
	SentAway int `json:"sent_away"`
}

func statsOf(t *testing.T, site *webserver.Server) (s djangoStats) {
	t.Helper()
	resp, err := http.Get(site.URL + "/stats/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// djangoClient returns a client that stays signed in to the site.
func djangoClient(t *testing.T, site *webserver.Server, onSession func(context.Context, tokensource.Event)) *http.Client {
	t.Helper()
	login := &cookiejar.Login{Login: signIn(site), Ended: cookiejar.RedirectsTo("/login/"), MaxLogins: -1, OnSession: onSession}
	jar := new(cookiejar.Jar)
	// The site looks for its token before it looks for a session.
	xsrf := cookiejar.Django(site.URL + "/login/")
	xsrf.Jar = jar
	return transport.Client(&http.Client{Transport: newWire(t)}, login.Wrap, (&cookiejar.Transport{Jar: jar}).Wrap, xsrf.Wrap)
}

// Two hundred at a time post to a site whose sessions end after a few seconds, by
// their time and by the site's will. Nothing is refused, and each end costs one
// login.
func TestDjangoSessions(t *testing.T) {
	// What is sent again has to arrive while the new session lasts.
	trial := webserver.Django(t, time.Hour)
	client := djangoClient(t, trial, nil)
	wave(t, client, "trial", trial.URL+"/items/")
	start := time.Now()
	wave(t, client, "timed", trial.URL+"/items/")
	lifetime := max(2*time.Second, (4*time.Since(start) + time.Second).Truncate(time.Second))

	site := webserver.Django(t, lifetime)
	var sessions, ended atomic.Int32
	client = djangoClient(t, site, func(_ context.Context, e tokensource.Event) {
		if e.Kind == tokensource.EventRenewed {
			sessions.Add(1)
		}
	})
	waves := 0
	for deadline := time.Now().Add(10 * lifetime); sessions.Load() < 5; waves++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions in %v", sessions.Load(), 10*lifetime)
		}
		if waves%8 == 7 {
			// Between waves: a session that ends while a request with it is being sent
			// again would end that one too.
			if err := get(t.Context(), http.DefaultClient, site.URL+"/end/"); err != nil {
				t.Fatal(err)
			}
			ended.Add(1)
		}
		wave(t, client, fmt.Sprint("wave ", waves), site.URL+"/items/")
	}
	s := statsOf(t, site)
	t.Logf("%d waves, %d sessions of %v, %d of them ended by the site; %+v", waves, sessions.Load(), lifetime, ended.Load(), s)
	want := djangoStats{Logins: int(sessions.Load()), Items: waves * callers, SentAway: s.SentAway}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("the site's counts (-want +got):\n%s", diff)
	}
}

// The first request of all brings the CSRF cookie.
func TestDjangoBootstrap(t *testing.T) {
	site := webserver.Django(t, time.Hour)
	jar := new(cookiejar.Jar)
	xsrf := cookiejar.Django(site.URL + "/login/")
	xsrf.Jar = jar
	cookies := &cookiejar.Transport{Jar: jar}
	client := transport.Client(&http.Client{Transport: newWire(t)}, cookies.Wrap, xsrf.Wrap)
	if err := submit(t.Context(), client, site.URL+"/login/", url.Values{"username": {user0.Name}, "password": {user0.Password}}); err != nil {
		t.Fatal(err)
	}
	wave(t, client, "wave", site.URL+"/items/")
	// Without the token, the site refuses.
	bare := transport.Client(&http.Client{Transport: newWire(t)}, cookies.Wrap)
	if resp, _, err := post(t, bare, site.URL+"/items/", "body"); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v", resp, err)
	}
}

// mod_auth_form keeps the session in the cookie, which each answer sets anew.
func TestApacheSessions(t *testing.T) {
	b := webserver.NewBackend(t)
	apache := webserver.Apache(t, b)
	w := newWire(t)
	var sessions atomic.Int32
	login := &cookiejar.Login{
		Login: func(ctx context.Context, client *http.Client) error {
			return submit(ctx, client, apache.URL+"/sign-in", url.Values{"httpd_username": {user0.Name}, "httpd_password": {user0.Password}})
		},
		MaxLogins: -1,
		OnSession: func(_ context.Context, e tokensource.Event) {
			if e.Kind == tokensource.EventRenewed {
				sessions.Add(1)
			}
		},
	}
	jar := new(cookiejar.Jar)
	client := transport.Client(&http.Client{Transport: w}, login.Wrap, (&cookiejar.Transport{Jar: jar}).Wrap)
	const ends = 3
	for n := range ends {
		if n > 0 {
			// The session ends by not being used.
			time.Sleep(3100 * time.Millisecond)
		}
		wave(t, client, "the first wave of a session", apache.URL+"/form/")
		n := w.sent()
		if n[200] != callers+1 || n[401] > callers {
			t.Errorf("requests by status: %v", n)
		}
		wave(t, client, "the second", apache.URL+"/form/")
		w.expect(t, "the second", map[int]int{200: callers})
	}
	if n := sessions.Load(); n != ends {
		t.Errorf("%d sessions, want %d", n, ends)
	}
}
