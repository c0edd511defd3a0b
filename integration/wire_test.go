package integration_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authtrip/authtrip/integration/webserver"
	"github.com/google/go-cmp/cmp"
)

// callers is how many requests are sent at once.
const callers = 200

// long is a body that is still on its way when a server answers.
var long = strings.Repeat("much ", 180_000)

// users are all whom the servers know, the one that most tests go by first.
var (
	users = webserver.Users
	user0 = users[0]
)

// A wire counts the requests that an http.Transport sends, whoever asks it to, by
// the status of their answers; those without an answer under 0.
type wire struct {
	*http.Transport

	mu sync.Mutex // guards n
	n  map[int]int
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{n: make(map[int]int), Transport: &http.Transport{
		MaxIdleConnsPerHost:   2 * callers,
		ResponseHeaderTimeout: 20 * time.Second, // of a server that will never answer
	}}
	t.Cleanup(w.CloseIdleConnections)
	return w
}

// RoundTrip implements [http.RoundTripper].
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.Transport.RoundTrip(req)
	if err != nil {
		w.count(0)
	} else {
		w.count(resp.StatusCode)
	}
	return resp, err
}

// Unwrap returns the http.Transport.
func (w *wire) Unwrap() http.RoundTripper { return w.Transport }

func (w *wire) count(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n[status]++
}

// sent returns the counts since it was last called.
func (w *wire) sent() map[int]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := maps.Clone(w.n)
	clear(w.n)
	return n
}

// expect compares the counts since they were last looked at.
func (w *wire) expect(t *testing.T, what string, want map[int]int) {
	t.Helper()
	if diff := cmp.Diff(want, w.sent()); diff != "" {
		t.Errorf("%s: requests by status (-want +got):\n%s", what, diff)
	}
}

// atMost expects that requests got through, after some challenges.
func (w *wire) atMost(t *testing.T, what string, requests, challenges int) {
	t.Helper()
	n := w.sent()
	t.Log(what, n)
	if n[200] != requests || n[401]+n[407] > challenges {
		t.Errorf("%s: requests by status: %v; want %d through, after %d challenges at most", what, n, requests, challenges)
	}
}

// post sends body and returns the answer, whose body has been read.
func post(t *testing.T, client *http.Client, url, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp, string(answer), err
}

// echo sends body and expects that it has arrived whole. It returns what the
// backend has received.
func echo(t *testing.T, client *http.Client, url, body string) (webserver.Echo, error) {
	t.Helper()
	resp, answer, err := post(t, client, url, body)
	if err != nil {
		return webserver.Echo{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return webserver.Echo{}, fmt.Errorf("%s %s", resp.Status, resp.Header)
	}
	if answer != body {
		return webserver.Echo{}, fmt.Errorf("a body of %d bytes has arrived as %d bytes, %.20q", len(body), len(answer), answer)
	}
	got, _ := webserver.EchoOf(resp) // which is nothing from a path that reflects
	return got, nil
}

// wave has all callers post at once, each a body of its own: none up to 64 KiB,
// most of them small.
func wave(t *testing.T, client *http.Client, what, url string) {
	t.Helper()
	failed, err := together(callers, func(i int) error {
		_, err := echo(t, client, url, strings.Repeat(fmt.Sprintf("%03d ", i), i*i*i/500))
		return err
	})
	if failed > 0 {
		t.Errorf("%s: %d of %d failed, first: %v", what, failed, callers, err)
	}
}

// refusal expects a status, and the server's challenge and page with it.
func refusal(t *testing.T, client *http.Client, url string, status int, challenges string) {
	t.Helper()
	resp, page, err := post(t, client, url, "refused")
	if err != nil {
		t.Error(err)
		return
	}
	if resp.StatusCode != status || len(resp.Header[challenges]) == 0 || !strings.Contains(page, "</html>") && !strings.Contains(page, "</HTML>") {
		t.Errorf("%s, %s: %q, %.200q; want %d with a challenge and the server's page", resp.Status, challenges, resp.Header[challenges], page, status)
	}
}
