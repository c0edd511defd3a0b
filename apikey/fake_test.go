package apikey_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/apikey"
	"github.com/google/go-cmp/cmp"
)

const apiURL = "https://api.example.com/v1/items?b=2&a=1"

// key is one that is spelled differently in a query, twice so in a query within
// a query.
const key = "Secret-Key/+ 1"

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

func newRequest(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// roundTrip sends req by rt to s, and returns what s got. What holds on every
// path is checked here.
func (s *server) roundTrip(t *testing.T, rt http.RoundTripper, req *http.Request) (*http.Request, error) {
	t.Helper()
	s.sent = nil
	body := &counted{Reader: strings.NewReader("payload")}
	req.Body = body
	header, url := req.Header.Clone(), *req.URL
	resp, err := rt.RoundTrip(req)
	if n := body.closed.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
	if diff := cmp.Diff(header, req.Header); diff != "" || url != *req.URL {
		t.Errorf("the request's URL is %s, its header (-before +after):\n%s", req.URL, diff)
	}
	if err != nil {
		if resp != nil || len(s.sent) != 0 {
			t.Errorf("response %v and %d requests beside error %v", resp, len(s.sent), err)
		}
		if tells(err.Error()) {
			t.Errorf("error repeats a secret: %v", err)
		}
		return nil, err
	}
	if len(s.sent) != 1 || resp.StatusCode != http.StatusUnauthorized || resp.Request != req {
		t.Fatalf("%d requests, then %d to %p, want one, then the 401 to %p", len(s.sent), resp.StatusCode, resp.Request, req)
	}
	return s.sent[0], nil
}

// places are the three locations, each with a credential in it.
var places = []struct {
	name string
	in   apikey.Location
	as   string // Name
	add  func(req *http.Request, name, key string)
}{
	{"header", apikey.Header, "X-Key", func(req *http.Request, name, key string) { req.Header.Add(name, key) }},
	{"query", apikey.Query, "api_key", func(req *http.Request, name, key string) {
		req.URL.RawQuery = strings.TrimPrefix(req.URL.RawQuery+"&"+name+"="+key, "&")
	}},
	{"cookie", apikey.Cookie, "sid", func(req *http.Request, name, key string) { req.AddCookie(&http.Cookie{Name: name, Value: key}) }},
}

// wire returns all of req that a key may be in, a line each.
func wire(req *http.Request) []string {
	lines := []string{req.URL.String()}
	for name, values := range req.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines[1:])
	return lines
}

// fixed returns a Source that is always the same.
func fixed(key string, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return key, err }
}
