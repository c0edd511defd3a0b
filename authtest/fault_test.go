package authtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// Which faults act, on which requests, and in which order.
func TestInject(t *testing.T) {
	s := authtest.NewServer(t)
	answer := func(status int) authtest.Fault { return authtest.Answer(status, nil, "") }
	statuses := func(paths ...string) (got []int) {
		for _, p := range paths {
			got = append(got, send(t, s, "POST", p, "").status)
		}
		return got
	}
	check := func(about string, want, got []int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", about, diff)
		}
	}
	removeA := s.Inject("/open/a", answer(501))
	check("a path", []int{501, 501, 200, 200}, statuses("/open/a", "/open/a/b", "/open/ab", "/open"))
	remove := s.Inject("/", answer(502))
	check("all paths", []int{502, 502, 502}, statuses("/open/a", "/open", "/nothing"))
	s.Inject("/open", authtest.Times(2, answer(503)))
	check("a number of times", []int{503, 503, 502}, statuses("/open", "/open/a", "/open"))
	remove()
	remove()
	check("one removed", []int{501, 200}, statuses("/open/a", "/open"))
	removeA()
	check("none left", []int{200, 200}, statuses("/open/a", "/open"))
}

func TestAnswer(t *testing.T) {
	s := authtest.NewServer(t)
	header := http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope"`, "Hoba"}, "Retry-After": {"7"}}
	s.Inject("/bearer", authtest.Answer(401, header, "no"))
	header.Set("Retry-After", "8") // the fault has a copy
	a := send(t, s, "POST", "/bearer", "hello", bearer(s.SignIn().AccessToken))
	got := []any{a.status, a.header["Www-Authenticate"], a.header.Get("Retry-After"), a.body}
	want := []any{401, header["Www-Authenticate"], "7", "no"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What arrived is known all the same.
	if r := s.Transcript()[0]; r.Credentials != "access 1" || r.BodySize != 5 || r.Status != 401 {
		t.Error(r)
	}
	if st := s.Stats(); st.Unauthorized != 0 {
		t.Errorf("%+v", st)
	}
	s.Inject("/token", authtest.Answer(503, nil, ""))
	if _, err := tokensource.RefreshToken(s.Config())(s.Context(t.Context()), s.SignIn()); err == nil {
		t.Error("no error")
	}
	if log := s.Transcript(); log[1].Credentials != "client authtest, refresh 2" || log[1].Grant != "refresh_token" {
		t.Error(log[1])
	}
}

func TestRedirectTo(t *testing.T) {
	s := authtest.NewServer(t)
	const odd = "https://evil.example/%zz?\tx"
	s.Inject("/open", authtest.RedirectTo(308, odd))
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/open", nil)
	resp, err := s.Client().Transport.RoundTrip(req) // a client would refuse it
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != 308 || got != odd {
		t.Errorf("status %d, Location %q", resp.StatusCode, got)
	}
}

func TestHuge(t *testing.T) {
	s := authtest.NewServer(t)
	remove := s.Inject("/token", authtest.Huge(100))
	if a := send(t, s, "POST", "/token", ""); len(a.body) != 100 || a.object(t)["access_token"] == "" {
		t.Errorf("%d bytes: %s", len(a.body), a.body)
	}
	remove()
	s.Inject("/token", authtest.Huge(1<<40))
	_, err := tokensource.RefreshToken(s.Config())(s.Context(t.Context()), s.SignIn())
	if err == nil {
		t.Error("a token of a terabyte")
	}
}

// The endpoint does its work, and the answer is cut where it was said.
func TestDropAfter(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, tt := range []struct {
			n    int
			http string // what has arrived
		}{
			{0, "nothing"}, {5, "the head's beginning"}, {150, "some of the body"},
		} {
			synctest.Test(t, func(t *testing.T) {
				opts := []authtest.ServerOption{authtest.InMemory()}
				if proto == "HTTP/2.0" {
					opts = append(opts, authtest.TLS())
				}
				s := authtest.NewServer(t, opts...)
				remove := s.Inject("/token", authtest.DropAfter(tt.n))
				first := s.SignIn()
				grant := tokensource.RefreshToken(s.Config())
				_, err := grant(s.Context(t.Context()), first)
				if err == nil {
					t.Fatal("no error")
				}
				if _, refused := errors.AsType[*oauth2.RetrieveError](err); refused {
					t.Error(err)
				}
				remove()
				// It has been spent.
				_, err = grant(s.Context(t.Context()), first)
				if e, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || e.ErrorCode != "invalid_grant" {
					t.Error(err)
				}
				if st := s.Stats(); st.Granted != 1 || st.Reused != 1 {
					t.Errorf("%+v", st)
				}
				if log := s.Transcript(); log[0].Proto != proto {
					t.Error(log[0])
				}
			})
		}
	}
}

// A cut answer has its bytes up to there, and no more.
func TestDropAfterBytes(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var opts []authtest.ServerOption
		if secure {
			opts = append(opts, authtest.TLS())
		}
		s := authtest.NewServer(t, opts...)
		body := strings.Repeat("0123456789", 100)
		s.Inject("/open", authtest.DropAfter(500))
		req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/open", strings.NewReader(body))
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || len(got) == 0 || len(got) > 500 || !strings.HasPrefix(body, string(got)) || secure == (len(got) < 500) {
			t.Errorf("TLS %v: %d bytes, error %v", secure, len(got), err)
		}
		if resp.ContentLength != 1000 {
			t.Errorf("Content-Length %d", resp.ContentLength)
		}
	}
}

func TestCloseConnection(t *testing.T) {
	s := authtest.NewServer(t)
	reused := func() (reused bool) {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused },
		})
		if a, err := try(ctx, s, "GET", "/open", ""); err != nil || a.status != 200 {
			t.Fatal(a.status, err)
		}
		return reused
	}
	got := []bool{reused(), reused()}
	remove := s.Inject("/", authtest.CloseConnection())
	got = append(got, reused(), reused(), reused())
	remove()
	got = append(got, reused(), reused())
	if diff := cmp.Diff([]bool{false, true, true, false, false, false, true}, got); diff != "" {
		t.Errorf("whether the connection was used before (-want +got):\n%s", diff)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		s.Inject("/open", authtest.Latency(time.Minute))
		start := time.Now()
		a := send(t, s, "POST", "/open", "hello")
		if d := time.Since(start); a.body != "hello" || d != time.Minute {
			t.Errorf("body %q after %v", a.body, d)
		}
		// Who goes before that has asked nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := try(ctx, s, "POST", "/open", "hello"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		if st, log := s.Stats(), s.Transcript(); st.Accepted != 1 || len(log) != 2 || log[1].Status != 0 {
			t.Errorf("%+v %v", st, log)
		}
	})
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		s.Inject("/token", authtest.Times(1, authtest.Hang()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		grant := tokensource.RefreshToken(s.Config())
		first := s.SignIn()
		if _, err := grant(s.Context(ctx), first); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// The refresh token is not spent.
		if _, err := grant(s.Context(t.Context()), first); err != nil {
			t.Error(err)
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		gate := s.Hold("/open")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if a := send(t, s, "POST", "/open", "hello"); a.body != "hello" {
					t.Errorf("%+v", a)
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := try(ctx, s, "POST", "/open", "x"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		if err := gate.Wait(t.Context(), 4); err != nil {
			t.Error(err)
		}
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		err := gate.Wait(short, 5)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 requests") {
			t.Error(err)
		}
		// Who goes is not held any more, and has asked nothing.
		cancel()
		synctest.Wait()
		if n := gate.Waiting(); n != 3 {
			t.Errorf("%d are waiting", n)
		}
		// Elsewhere, nothing is held.
		if a := send(t, s, "GET", "/basic", ""); a.status != 401 {
			t.Error(a.status)
		}
		if n := s.Stats().Accepted; n != 0 {
			t.Errorf("%d have passed", n)
		}
		gate.Release()
		gate.Release()
		wg.Wait()
		if a := send(t, s, "GET", "/open", ""); a.status != 200 || s.Stats().Accepted != 4 || gate.Waiting() != 0 {
			t.Errorf("status %d, %+v, %d waiting", a.status, s.Stats(), gate.Waiting())
		}
	})
}

// A handler of one's own is a Fault too, and a body that breaks off is no reason
// for it not to be called.
func TestFaultOfOnesOwn(t *testing.T) {
	s := authtest.NewServer(t)
	s.Inject("/open", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Fault", "1")
			next.ServeHTTP(w, r)
			_, _ = io.WriteString(w, "!")
		})
	})
	if a := send(t, s, "POST", "/open", "hello"); a.body != "hello!" || a.header.Get("X-Fault") != "1" {
		t.Errorf("%+v", a)
	}
	gate := s.Hold("/open")
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), errReader{})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/open", broken)
	if resp, err := s.Client().Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("status %d", resp.StatusCode)
	}
	gate.Release()
	if a := send(t, s, "POST", "/open", "hello"); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if st := s.Stats(); st.Accepted != 2 {
		t.Errorf("%+v", st)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("the body breaks off") }
