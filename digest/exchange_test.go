package digest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

func TestServerAuth(t *testing.T) {
	always := func(info string) func(string, map[string]string) string {
		return func(string, map[string]string) string { return info }
	}
	tests := []struct {
		name  string
		qop   string
		proof func(right string, answer map[string]string) string
		want  error
	}{
		{"right", "auth", func(right string, a map[string]string) string {
			return fmt.Sprintf("qop=auth, rspauth=%s, cnonce=%s, nc=%s", quote(right), quote(a["cnonce"]), a["nc"])
		}, nil},
		{"right, the rest left out", "auth", func(right string, _ map[string]string) string { return "RspAuth=" + right }, nil},
		{"right, in capitals", "auth", func(right string, _ map[string]string) string { return "rspauth=" + quote(strings.ToUpper(right)) }, nil},
		{"none", "auth", always("qop=auth, nc=00000001"), nil},
		{"wrong", "auth", always(`rspauth="` + strings.Repeat("0", 64) + `"`), digest.ErrServerAuth},
		{"wrong with qop", "auth", always(`qop="auth", rspauth="` + strings.Repeat("0", 64) + `"`), digest.ErrServerAuth},
		{"short", "auth", func(right string, _ map[string]string) string { return "rspauth=" + right[:63] }, digest.ErrServerAuth},
		{"long", "auth", func(right string, _ map[string]string) string { return "rspauth=" + right + "0" }, digest.ErrServerAuth},
		{"empty", "auth", always(`rspauth=""`), digest.ErrServerAuth},
		{"the client's own", "auth", func(_ string, a map[string]string) string { return "rspauth=" + a["response"] }, digest.ErrServerAuth},
		{"of the body", "auth", always(`qop=auth-int, rspauth="0"`), nil},
		{"of the body, asked for", "auth-int", always(`qop=auth-int, rspauth="0"`), nil},
		{"of the body, asked for, not said", "auth-int", always(`rspauth="0"`), nil},
		{"no value", "auth", always("rspauth="), nil},
		{"no end", "auth", always(`rspauth="`), nil},
		{"twice", "auth", always(`rspauth="0", rspauth="0"`), nil},
		{"junk", "auth", always(`, , Digest rspauth="0"`), nil},
	}
	for _, tt := range tests {
		for _, next := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, nextnonce: %v", tt.name, next == 1), func(t *testing.T) {
				g := newGuard(t)
				g.qop, g.proof, g.next = tt.qop, tt.proof, next
				rt := g.client()
				for i := range 2 {
					resp, err := rt.RoundTrip(get(t))
					if !errors.Is(err, tt.want) || (resp == nil) != (tt.want != nil) {
						t.Fatalf("request %d: got %v, %v, want %v", i, resp, err, tt.want)
					}
					if resp != nil {
						wantResponse(t, resp, http.StatusOK, "")
					}
				}
				g.wantClosed(t)
				if tt.want != nil && g.log[2] != "bare" {
					t.Errorf("after that, what came with it was used: %q", g.log)
				}
			})
		}
	}
}

// The proof is of the count and target of each request.
func TestServerAuthOfEachRequest(t *testing.T) {
	for _, algorithm := range []string{"", "MD5-sess", "SHA-256", "SHA-512-256-sess"} {
		g := newGuard(t)
		g.algorithm, g.next, g.uses = algorithm, 3, 3
		g.proof = func(right string, _ map[string]string) string { return "rspauth=" + quote(right) }
		rt := g.client()
		for i := range 5 {
			want(t, rt, newRequest(t, http.MethodPut, fmt.Sprintf(`https://api.example.com/%d?"\`, i), nil), http.StatusOK, "")
		}
		g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "n1/3 ok", "n2/1 ok", "n2/2 ok")
	}
}

// A server that was known and is suddenly another.
func TestServerAuthOfAKnownServer(t *testing.T) {
	g := newGuard(t)
	rt := g.client()
	want(t, rt, get(t), http.StatusOK, "")
	g.proof = func(string, map[string]string) string { return "rspauth=00" }
	if resp, err := rt.RoundTrip(get(t)); resp != nil || !errors.Is(err, digest.ErrServerAuth) {
		t.Errorf("got %v, %v, want %v", resp, err, digest.ErrServerAuth)
	}
	g.proof = nil
	want(t, rt, get(t), http.StatusOK, "")
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "bare", "n2/1 ok")
}

var errNoMore = errors.New("the body cannot be had again")

// payloads are the kinds of bodies that requests have.
var payloads = []struct {
	name, sent string
	make       func(t *testing.T) (*http.Request, func(*testing.T)) // and what checks that all was closed
	again      bool                                                 // whether it can be sent again
}{
	{"none", "", func(t *testing.T) (*http.Request, func(*testing.T)) { return get(t), func(*testing.T) {} }, true},
	{"NoBody", "", func(t *testing.T) (*http.Request, func(*testing.T)) {
		return newRequest(t, http.MethodPost, apiURL, http.NoBody), func(*testing.T) {}
	}, true},
	{"NoBody without GetBody", "", func(t *testing.T) (*http.Request, func(*testing.T)) {
		req := newRequest(t, http.MethodPost, apiURL, http.NoBody)
		req.GetBody = nil
		return req, func(*testing.T) {}
	}, true},
	{"GetBody", "a body", func(t *testing.T) (*http.Request, func(*testing.T)) {
		req, b := replayable(t, "a body")
		return req, func(t *testing.T) { b.wantEachClosedOnce(t) }
	}, true},
	{"stream", "a body", func(t *testing.T) (*http.Request, func(*testing.T)) {
		req, b := stream(t, "a body")
		return req, func(t *testing.T) { b.wantClosedOnce(t, "the body") }
	}, false},
	{"GetBody that fails", "a body", func(t *testing.T) (*http.Request, func(*testing.T)) {
		req, b := stream(t, "a body")
		req.GetBody = func() (io.ReadCloser, error) { return nil, errNoMore }
		return req, func(t *testing.T) { b.wantClosedOnce(t, "the body") }
	}, false},
}

func TestBodies(t *testing.T) {
	for _, p := range payloads {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, known space: %v", p.name, known), func(t *testing.T) {
				g := newGuard(t)
				rt := g.client()
				if known {
					want(t, rt, get(t), http.StatusOK, "")
					g.attempts, g.log = nil, nil
				}
				req, check := p.make(t)
				var sent, log []string
				switch {
				case known:
					sent, log = []string{p.sent}, []string{"n1/2 ok"}
				case p.again:
					sent, log = []string{p.sent, p.sent}, []string{"bare", "n1/1 ok"}
				default:
					sent, log = []string{p.sent}, []string{"bare"}
				}
				if known || p.again {
					want(t, rt, req, http.StatusOK, p.sent)
				} else {
					want(t, rt, req, http.StatusUnauthorized, refusal)
				}
				g.wantLog(t, log...)
				check(t)
				var got []string
				for i, a := range g.attempts {
					got = append(got, a.Sent)
					if first := i == 0 || p.sent == ""; first != (a.Body == req.Body) {
						t.Errorf("attempt %d: the request's own body: %v", i, !first)
					}
				}
				if diff := cmp.Diff(sent, got); diff != "" {
					t.Errorf("bodies (-want +got):\n%s", diff)
				}
				g.wantClosed(t)
				want(t, rt, get(t), http.StatusOK, "")
				g.wantCounts(t)
			})
		}
	}
}

// A request that was not sent again has been good for something: the next one is
// answered at once, with a count from 1.
func TestNotReplayableLeavesTheNonce(t *testing.T) {
	for name, change := range map[string]func(*guard){"reused": func(*guard) {}, "one-time": func(g *guard) { g.uses, g.next = 1, 1 }} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t)
			change(g)
			rt := g.client()
			for _, status := range []int{http.StatusUnauthorized, http.StatusOK} {
				req, body := stream(t, "a body")
				resp, err := rt.RoundTrip(req)
				if err != nil || resp.StatusCode != status {
					t.Fatalf("got %v, %v, want %d", resp, err, status)
				}
				resp.Body.Close()
				body.wantClosedOnce(t, "the body")
			}
			g.wantLog(t, "bare", "n1/1 ok")
			g.expire()
			req, _ := stream(t, "a body")
			want(t, rt, req, http.StatusUnauthorized, refusal)
			want(t, rt, get(t), http.StatusOK, "")
			if got := g.log[1]; !strings.HasSuffix(got, "/1 ok") {
				t.Errorf("after a stale nonce came %q", g.log)
			}
		})
	}
}

func TestIntegrity(t *testing.T) {
	integrity := func(t *testing.T) (*guard, *digest.Transport) {
		g := newGuard(t)
		g.qop = "auth-int"
		return g, g.client()
	}
	for _, p := range payloads {
		t.Run(p.name, func(t *testing.T) {
			g, rt := integrity(t)
			req, check := p.make(t)
			if p.again {
				want(t, rt, req, http.StatusOK, p.sent)
				g.wantLog(t, "bare", "n1/1 int ok")
			} else {
				want(t, rt, req, http.StatusUnauthorized, refusal)
				g.wantLog(t, "bare")
			}
			check(t)
			req, check = p.make(t)
			resp, err := rt.RoundTrip(req)
			if p.again {
				if err != nil {
					t.Fatal(err)
				}
				wantResponse(t, resp, http.StatusOK, p.sent)
				g.wantLog(t, "n1/2 int ok")
			} else {
				wantErr := digest.ErrIntegrity
				if req.GetBody != nil {
					wantErr = errNoMore
				}
				if resp != nil || !errors.Is(err, wantErr) {
					t.Errorf("got %v, %v, want %v", resp, err, wantErr)
				}
				g.wantLog(t)
			}
			check(t)
			g.wantClosed(t)
			g.wantCounts(t)
		})
	}
	t.Run("GetBody that fails half-way", func(t *testing.T) {
		g, rt := integrity(t)
		for i := range 2 {
			req, first := stream(t, "a body")
			b := &bodies{first: first}
			req.GetBody = func() (io.ReadCloser, error) {
				b.again = append(b.again, &counted{Reader: io.MultiReader(strings.NewReader("a b"), iotest.ErrReader(errNoMore))})
				return b.again[len(b.again)-1], nil
			}
			if i == 0 {
				want(t, rt, req, http.StatusUnauthorized, refusal)
			} else if resp, err := rt.RoundTrip(req); resp != nil || !errors.Is(err, errNoMore) {
				t.Errorf("got %v, %v", resp, err)
			}
			b.wantEachClosedOnce(t)
		}
		want(t, rt, get(t), http.StatusOK, "")
		g.wantLog(t, "bare", "n1/1 int ok")
	})
	t.Run("GetBody that fails at its second call", func(t *testing.T) {
		g, rt := integrity(t)
		req, b := replayable(t, "a body")
		once, calls := req.GetBody, 0
		req.GetBody = func() (io.ReadCloser, error) {
			if calls++; calls > 1 {
				return nil, errNoMore
			}
			return once()
		}
		want(t, rt, req, http.StatusUnauthorized, refusal)
		b.wantEachClosedOnce(t)
		g.wantLog(t, "bare")
	})
}

var errLost = errors.New("connection lost")

// What goes wrong below is passed on, and nothing is left open.
func TestBaseFails(t *testing.T) {
	refused := func() *http.Response {
		return &http.Response{StatusCode: http.StatusUnauthorized, Body: newBody(refusal), Header: http.Header{"Www-Authenticate": {`Digest realm="r", nonce="n", qop=auth`}}}
	}
	tests := []struct {
		name  string
		first func() (*http.Response, error)
		last  func() (*http.Response, error)
		want  error
	}{
		{"at once", nil, func() (*http.Response, error) { return nil, errLost }, errLost},
		{"at the second attempt", func() (*http.Response, error) { return refused(), nil }, func() (*http.Response, error) { return nil, errLost }, errLost},
		{"with a response", nil, func() (*http.Response, error) { return refused(), errLost }, errLost},
		{"without a response", nil, func() (*http.Response, error) { return nil, nil }, nil},
		{"without a response at the second attempt", func() (*http.Response, error) { return refused(), nil }, func() (*http.Response, error) { return nil, nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var answers []*http.Response
			rt := &digest.Transport{Username: username, Password: password, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, req.Body)
				req.Body.Close()
				f := tt.last
				if tt.first != nil && len(answers) == 0 {
					f = tt.first
				}
				resp, err := f()
				answers = append(answers, resp)
				return resp, err
			})}
			req, b := replayable(t, "a body")
			resp, err := rt.RoundTrip(req)
			if resp != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v, want %v", resp, err, tt.want)
			}
			b.wantEachClosedOnce(t)
			for _, resp := range answers {
				if resp != nil {
					resp.Body.(*counted).wantClosedOnce(t, "the body of the response")
				}
			}
		})
	}
}

// A request that was lost has used a nonce once, which may go on to serve others.
func TestBaseFailsOnce(t *testing.T) {
	for _, known := range []bool{true, false} {
		g := newGuard(t)
		rt := g.client()
		log := []string{"bare", "n1/1 ok", "n1/2 ok"}
		if known {
			want(t, rt, get(t), http.StatusOK, "")
			log = append(log, "n1/3 ok")
		}
		rt.Base = transport.Func(func(req *http.Request) (*http.Response, error) {
			resp, err := g.RoundTrip(req)
			if req.Header.Get("Authorization") != "" {
				return nil, errLost
			}
			return resp, err
		})
		if resp, err := rt.RoundTrip(get(t)); resp != nil || !errors.Is(err, errLost) {
			t.Errorf("got %v, %v, want %v", resp, err, errLost)
		}
		rt.Base = g
		want(t, rt, get(t), http.StatusOK, "")
		g.wantLog(t, log...)
	}
}

// A response without a header or body is one, too.
func TestBareResponses(t *testing.T) {
	for _, resp := range []*http.Response{
		{StatusCode: http.StatusUnauthorized},
		{StatusCode: http.StatusOK},
		{StatusCode: http.StatusOK, Header: http.Header{"Authentication-Info": {`rspauth="0", nextnonce="n"`}}},
		{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Digest realm="r", nonce="n", qop=auth`}}},
	} {
		rt := &digest.Transport{Username: username, Password: password, Base: transport.Func(func(*http.Request) (*http.Response, error) {
			r := *resp
			return &r, nil
		})}
		for range 2 {
			req := &http.Request{URL: get(t).URL} // nil Header, no Method
			got, err := rt.RoundTrip(req)
			if err != nil || got.StatusCode != resp.StatusCode || got.Request != req {
				t.Errorf("got %v, %v", got, err)
			}
		}
	}
}

// A drip is a body without an end that gives a byte every so often.
type drip struct {
	every  time.Duration
	once   sync.Once
	closed chan struct{}
}

func (d *drip) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, errLost
	default:
	}
	if d.every == 0 {
		return len(p), nil
	}
	select {
	case <-d.closed:
		return 0, errLost
	case <-time.After(d.every):
		return 1, nil
	}
}

func (d *drip) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// The 401 that is answered costs a second at most; the one that is returned is
// not touched.
func TestRefusalsBody(t *testing.T) {
	tests := []struct {
		name string
		body func() io.Reader
		took time.Duration
	}{
		{"empty", func() io.Reader { return strings.NewReader("") }, 0},
		{"huge", func() io.Reader { return strings.NewReader(strings.Repeat(".", 8<<20)) }, 0},
		{"endless", func() io.Reader { return &drip{closed: make(chan struct{})} }, 0},
		{"dripping", func() io.Reader { return &drip{every: 10 * time.Millisecond, closed: make(chan struct{})} }, time.Second},
		{"silent", func() io.Reader { return &drip{every: time.Hour, closed: make(chan struct{})} }, time.Second},
		{"failing", func() io.Reader { return io.MultiReader(strings.NewReader("who "), iotest.ErrReader(errLost)) }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t)
				g.refusal = tt.body
				rt := g.client()
				start := time.Now()
				want(t, rt, get(t), http.StatusOK, "")
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				time.Sleep(time.Minute)
				g.wantClosed(t)

				req, _ := stream(t, "a body")
				g.expire()
				start = time.Now()
				resp, err := rt.RoundTrip(req)
				if err != nil || resp.StatusCode != http.StatusUnauthorized {
					t.Fatalf("got %v, %v", resp, err)
				}
				time.Sleep(time.Minute)
				body := g.answers[2]
				if resp.Body != body || body.closed.Load() != 0 || time.Since(start) != time.Minute {
					t.Errorf("the 401 that is returned was touched: body %v, closed %d times", resp.Body, body.closed.Load())
				}
				resp.Body.Close()
			})
		})
	}
}
