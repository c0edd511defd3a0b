package basic_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/basic"
	"github.com/google/go-cmp/cmp"
)

const apiURL = "https://api.example.com/v1/items"

// A server is a Base that refuses everybody and keeps what it was sent.
type server struct {
	mu   sync.Mutex
	sent []*http.Request
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, req)
	return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
}

// A counted body knows how often it was closed.
type counted struct {
	io.Reader
	closed atomic.Int32
}

func (b *counted) Close() error { b.closed.Add(1); return nil }

// fields returns the Authorization of h in every spelling.
func fields(h http.Header) []string {
	var all []string
	for key, values := range h {
		if strings.EqualFold(key, "Authorization") {
			all = append(all, values...)
		}
	}
	return all
}

// roundTrip sends req by t to s, and returns the Authorization that s got. What
// holds on every path is checked here.
func (s *server) roundTrip(t *testing.T, rt http.RoundTripper, req *http.Request) ([]string, error) {
	t.Helper()
	s.sent = nil
	body := &counted{Reader: strings.NewReader("payload")}
	req.Body = body
	before := req.Header.Clone()
	resp, err := rt.RoundTrip(req)
	if n := body.closed.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
	if diff := cmp.Diff(before, req.Header); diff != "" {
		t.Errorf("the request's header (-before +after):\n%s", diff)
	}
	if err != nil {
		if resp != nil || len(s.sent) != 0 {
			t.Errorf("response %v and %d requests beside error %v", resp, len(s.sent), err)
		}
		if leaks(err.Error()) {
			t.Errorf("error repeats a secret: %v", err)
		}
		return nil, err
	}
	if len(s.sent) != 1 || resp.StatusCode != http.StatusUnauthorized || resp.Request != req {
		t.Fatalf("%d requests, then %d to %p, want one, then the 401 to %p", len(s.sent), resp.StatusCode, resp.Request, req)
	}
	return fields(s.sent[0].Header), nil
}

func newRequest(t testing.TB) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, apiURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// fixed returns Credentials that are always the same.
func fixed(username, password string, err error) func(context.Context) (string, string, error) {
	return func(context.Context) (string, string, error) { return username, password, err }
}

// both returns Transports that get the same credentials in either way.
func both(s *server, username, password string) map[string]*basic.Transport {
	return map[string]*basic.Transport{
		"fields":      {Username: username, Password: password, Base: s},
		"Credentials": {Username: "not", Password: "these", Credentials: fixed(username, password, nil), Base: s},
	}
}
