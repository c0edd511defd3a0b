package cookiejar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// A site keeps sessions in the cookie sid, and gives a new one at /login.
type site struct {
	slow  time.Duration // what any request takes
	login time.Duration // and /login

	mu      sync.Mutex // guards the fields below
	current int        // the session that is good
	issued  int
	logins  int
	refused int
	down    bool
}

func (s *site) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent strings.Builder
	if req.Body != nil {
		_, err := io.Copy(&sent, req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	d := s.slow
	if req.URL.Path == "/login" {
		d = s.login
	}
	if err := sleep(req.Context(), d); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.URL.Path == "/login" {
		if s.down {
			return respond(503), nil
		}
		s.logins++
		s.issued++
		s.current = s.issued
		return respond(200, "Set-Cookie", fmt.Sprintf("sid=%d; Path=/", s.current)), nil
	}
	if c, err := req.Cookie("sid"); err != nil || c.Value != fmt.Sprint(s.current) || s.current == 0 {
		s.refused++
		resp := respond(401)
		resp.Body = io.NopCloser(strings.NewReader("who are you?"))
		return resp, nil
	}
	resp := respond(200)
	resp.Body = io.NopCloser(strings.NewReader(sent.String()))
	return resp, nil
}

// end ends the session.
func (s *site) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signIn is a function for Login.
func signIn(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://example.com/login", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// signedIn returns a decorator for s around a jar of its own.
func signedIn(t testing.TB, s http.RoundTripper, l *cookiejar.Login) (*cookiejar.Login, *cookiejar.Jar) {
	t.Helper()
	jar := newJar(t, nil)
	l.Base = &cookiejar.Transport{Jar: jar, Base: s}
	if l.Login == nil {
		l.Login = signIn
	}
	return l, jar
}

// post sends a body and returns what came back.
func post(ctx context.Context, rt http.RoundTripper, body string) (status int, content string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://example.com/items", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(read), err
}

// herd posts from n callers at once, and reports those that fail.
func herd(t *testing.T, rt http.RoundTripper, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			body := fmt.Sprint("body ", i)
			if status, content, err := post(t.Context(), rt, body); status != 200 || content != body || err != nil {
				t.Errorf("caller %d: got status %d, %q, %v", i, status, content, err)
			}
		})
	}
	all.Wait()
}

func TestLoginOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{slow: 50 * time.Millisecond, login: time.Second}
		rt, _ := signedIn(t, s, &cookiejar.Login{})
		herd(t, rt, 200)
		if s.logins != 1 || s.refused != 200 {
			t.Errorf("%d logins, %d requests refused", s.logins, s.refused)
		}
		herd(t, rt, 200)
		s.end()
		herd(t, rt, 200)
		if s.logins != 2 || s.refused != 400 {
			t.Errorf("%d logins, %d requests refused", s.logins, s.refused)
		}
	})
}

// An answer to a request of an older session says nothing of the one since.
func TestLoginLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{login: time.Second}
		late := func(base http.RoundTripper) http.RoundTripper {
			return transport.Func(func(req *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				if err == nil && resp.StatusCode == 401 && req.Header.Get("X-Late") != "" {
					err = sleep(req.Context(), time.Minute)
				}
				return resp, err
			})
		}
		rt, _ := signedIn(t, late(s), &cookiejar.Login{})
		var all sync.WaitGroup
		all.Go(func() {
			req := request(t, "GET", "https://example.com/items")
			req.Header.Set("X-Late", "1")
			if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v, %v", resp, err)
			}
		})
		herd(t, rt, 10)
		all.Wait()
		if s.logins != 1 {
			t.Errorf("%d logins", s.logins)
		}
	})
}

func TestLoginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{down: true}
		var sessions []tokensource.EventKind
		rt, _ := signedIn(t, s, &cookiejar.Login{OnSession: func(_ context.Context, e tokensource.Event) {
			sessions = append(sessions, e.Kind)
		}})
		_, _, err := post(t.Context(), rt, "body")
		renewal, isRenewal := errors.AsType[*transport.RenewalError](err)
		_, later := errors.AsType[*tokensource.RetryError](err)
		if !isRenewal || renewal.StatusCode != 401 || !later || !strings.Contains(err.Error(), "signing in") {
			t.Errorf("got error %v", err)
		}
		s.down = false
		time.Sleep(time.Minute)
		herd(t, rt, 1)
		synctest.Wait() // for OnSession
		if diff := cmp.Diff([]tokensource.EventKind{tokensource.EventSet, tokensource.EventRenewalFailed, tokensource.EventRenewed}, sessions); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestLoginIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		wrong := true
		calls := 0
		rt, _ := signedIn(t, s, &cookiejar.Login{Login: func(ctx context.Context, client *http.Client) error {
			calls++
			if wrong {
				return fmt.Errorf("wrong password: %w", tokensource.ErrReauthRequired)
			}
			return signIn(ctx, client)
		}})
		for range 3 {
			if _, _, err := post(t.Context(), rt, "body"); !errors.Is(err, tokensource.ErrReauthRequired) {
				t.Errorf("got error %v", err)
			}
			time.Sleep(time.Hour)
		}
		if calls != 1 {
			t.Errorf("%d calls of Login", calls)
		}
		wrong = false
		if err := rt.SignIn(t.Context()); err != nil {
			t.Error(err)
		}
		herd(t, rt, 1)
		if calls != 2 || s.refused != 1 {
			t.Errorf("%d calls of Login, %d requests refused", calls, s.refused)
		}
	})
}

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		rt, jar := signedIn(t, s, &cookiejar.Login{})
		if err := rt.SignIn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := jar.Header(parseURL(t, "https://example.com/")); got != "sid=1" {
			t.Errorf("the jar has %q", got)
		}
		herd(t, rt, 10)
		if s.refused != 0 || s.logins != 1 {
			t.Errorf("%d requests refused, %d logins", s.refused, s.logins)
		}
		s.down = true
		if err := rt.SignIn(t.Context()); err == nil {
			t.Error("no error")
		}
		if err := new(cookiejar.Login).SignIn(t.Context()); err == nil {
			t.Error("no error without Login")
		}
	})
}

// Callers leave when they like; what they have started goes on.
func TestLoginHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{login: 20 * time.Second}
		rt, _ := signedIn(t, s, &cookiejar.Login{})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				patience := time.Duration(i+1) * 100 * time.Millisecond
				ctx, leave := context.WithCancel(t.Context())
				all.Go(func() {
					time.Sleep(patience)
					leave()
				})
				start := time.Now()
				_, _, err := post(ctx, rt, "body")
				if took := time.Since(start); !errors.Is(err, context.Canceled) || took != patience {
					t.Errorf("after %v, not %v: %v", took, patience, err)
				}
			})
		}
		all.Wait()
		herd(t, rt, 1)
		if s.logins != 1 {
			t.Errorf("%d logins", s.logins)
		}
	})
}

func TestLoginTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{login: time.Hour}
		rt, _ := signedIn(t, s, &cookiejar.Login{Timeout: 3 * time.Second})
		start := time.Now()
		if _, _, err := post(t.Context(), rt, "body"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// unread hides that a reader is one that can be had again.
type unread struct{ io.Reader }

func TestLoginBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, buffer := range []int64{0, 100} {
			s := &site{}
			rt, _ := signedIn(t, s, &cookiejar.Login{ReplayBuffer: buffer})
			req := request(t, "POST", "https://example.com/items")
			req.Body, req.ContentLength = io.NopCloser(unread{strings.NewReader("stream")}), -1
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := "401 who are you?"
			if buffer > 0 {
				want = "200 stream"
			}
			if got := fmt.Sprint(resp.StatusCode, " ", string(content)); got != want || err != nil {
				t.Errorf("ReplayBuffer %d: got %q, %v, want %q", buffer, got, err, want)
			}
			refused := s.refused
			herd(t, rt, 1)
			if s.refused != refused {
				t.Errorf("ReplayBuffer %d: the next request did not sign in first", buffer)
			}
		}
	})
}

func TestLoginEnded(t *testing.T) {
	answer := func(status int, location string) func(int, *http.Request) *http.Response {
		return func(_ int, req *http.Request) *http.Response {
			if req.Header.Get("Cookie") != "" {
				return respond(200)
			}
			if location == "" {
				return respond(status)
			}
			return respond(status, "Location", location)
		}
	}
	for _, tt := range []struct {
		name   string
		ended  func(*http.Response) bool
		answer func(int, *http.Request) *http.Response
		want   bool
	}{
		{"401", nil, answer(401, ""), true},
		{"403", nil, answer(403, ""), false},
		{"a predicate", transport.RejectedIf(nil, 419, 440), answer(440, ""), true},
		{"a redirect, by itself", nil, answer(302, "/login"), false},
		{"a redirect to a path", cookiejar.RedirectsTo("/login"), answer(302, "/login?next=/x"), true},
		{"a slash at its end", cookiejar.RedirectsTo("/login/"), answer(303, "/login"), true},
		{"a relative one", cookiejar.RedirectsTo("/a/login"), answer(302, "login"), true},
		{"an absolute one", cookiejar.RedirectsTo("/login"), answer(302, "https://EXAMPLE.com/login/"), true},
		{"the path on another host", cookiejar.RedirectsTo("/login"), answer(302, "https://example.net/login"), false},
		{"another host that is named", cookiejar.RedirectsTo("/login", "https://sso.example.net"), answer(302, "https://sso.example.net/?to=x"), true},
		{"another path", cookiejar.RedirectsTo("/login"), answer(302, "/login/help"), false},
		{"no Location", cookiejar.RedirectsTo("/login", "%zz"), answer(302, ""), false},
		{"no redirect", cookiejar.RedirectsTo("/login"), answer(201, "/login"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signed := false
			jar := newJar(t, nil)
			rt := &cookiejar.Login{
				Login: func(context.Context, *http.Client) error {
					signed = true
					jar.Receive(parseURL(t, "https://example.com/"), []string{"sid=1"})
					return nil
				},
				Ended: tt.ended, Base: &cookiejar.Transport{Jar: jar, Base: &server{answer: tt.answer}},
			}
			resp, err := rt.RoundTrip(request(t, "GET", "https://example.com/a/b"))
			if err != nil || signed != tt.want || (resp.StatusCode == 200) != tt.want {
				t.Errorf("signed in %v, got %v, %v", signed, resp, err)
			}
		})
	}
}

func TestLoginLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &cookiejar.Login{
			Login:     func(context.Context, *http.Client) error { return nil },
			MaxLogins: 3, Base: &server{answer: func(int, *http.Request) *http.Response { return respond(401) }},
		}
		var got []string
		for range 5 {
			status, _, err := post(t.Context(), rt, "body")
			got = append(got, fmt.Sprint(status, errors.Is(err, tokensource.ErrRenewalLimit)))
		}
		if diff := cmp.Diff([]string{"401 false", "401 false", "401 false", "0 true", "0 true"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestLoginPanics(t *testing.T) {
	rt, _ := signedIn(t, &site{}, &cookiejar.Login{Login: func(context.Context, *http.Client) error { panic("secret") }})
	if _, _, err := post(t.Context(), rt, "body"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got error %v", err)
	}
}

// What is simplest to write is right as well: requests without the context.
func TestLoginWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{login: time.Second}
		var rt *cookiejar.Login
		rt, _ = signedIn(t, s, &cookiejar.Login{Timeout: 5 * time.Second, Login: func(_ context.Context, client *http.Client) error {
			resp, err := client.Post("https://example.com/login", "", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			// The client is not the one that waits for it.
			if _, _, err := post(context.Background(), client.Transport, "body"); err != nil {
				return err
			}
			return nil
		}})
		herd(t, rt, 10)
		if s.logins != 1 {
			t.Errorf("%d logins", s.logins)
		}
		s.end()
		s.login = time.Hour
		start := time.Now()
		if _, _, err := post(t.Context(), rt, "body"); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A function that signs in by the client that waits for it would wait for ever.
func TestLoginThroughItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rt *cookiejar.Login
		rt, _ = signedIn(t, &site{}, &cookiejar.Login{Login: func(ctx context.Context, _ *http.Client) error {
			_, _, err := post(ctx, rt, "body")
			return err
		}})
		if _, _, err := post(t.Context(), rt, "body"); err == nil || !strings.Contains(err.Error(), "the renewal asks for the token that it renews") {
			t.Errorf("got error %v", err)
		}
	})
}

func TestLoginIsMissing(t *testing.T) {
	body := &closing{Reader: strings.NewReader("")}
	req := request(t, "POST", "https://example.com/")
	req.Body = body
	if resp, err := new(cookiejar.Login).RoundTrip(req); err == nil || body.closed.Load() != 1 {
		t.Errorf("got %v, %v, body closed %d times", resp, err, body.closed.Load())
	}
}

// With the jar also above, the first attempt's cookies are the client's doing, and
// stale in the second.
func TestLoginUnderClientJar(t *testing.T) {
	s := &site{}
	rt, jar := signedIn(t, s, &cookiejar.Login{})
	client := &http.Client{Transport: rt, Jar: jar}
	for range 3 {
		resp, err := client.Get("https://example.com/items")
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
		s.end()
	}
	if s.logins != 3 {
		t.Errorf("%d logins", s.logins)
	}
}

// Sessions end while requests are under way, again and again.
func TestLoginStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{slow: 20 * time.Millisecond, login: 300 * time.Millisecond}
		rt, _ := signedIn(t, s, &cookiejar.Login{MaxLogins: -1})
		ends := 0
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			for sleep(ctx, 3*time.Second) == nil {
				s.end()
				ends++
			}
		})
		for range 50 {
			herd(t, rt, 200)
			time.Sleep(700 * time.Millisecond)
		}
		stop()
		all.Wait()
		if s.logins != ends && s.logins != ends+1 || ends < 10 {
			t.Errorf("%d logins for %d sessions that have ended", s.logins, ends)
		}
	})
}

// Credentials of another kind are no reason not to sign in.
func TestLoginWithAuthorization(t *testing.T) {
	s := &site{}
	rt, _ := signedIn(t, s, &cookiejar.Login{})
	req := request(t, "GET", "https://example.com/items")
	req.Header.Set("Authorization", "Bearer own")
	if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != 200 || resp.Request != req {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestLoginIsForItsAudience(t *testing.T) {
	for _, tt := range []struct {
		name string
		ctx  func(context.Context) context.Context
		rt   *cookiejar.Login
	}{
		{"WithoutCredentials", transport.WithoutCredentials, &cookiejar.Login{}},
		{
			"another origin", func(ctx context.Context) context.Context { return ctx },
			&cookiejar.Login{Audience: &transport.Audience{Origins: []string{"https://api.example.com"}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{}
			rt, _ := signedIn(t, s, tt.rt)
			if status, content, err := post(tt.ctx(t.Context()), rt, "body"); status != 401 || content != "who are you?" || s.logins != 0 {
				t.Errorf("got status %d, %q, %v, after %d logins", status, content, err, s.logins)
			}
		})
	}
}

// What was handed on is wrapped again around another base, and starts anew there.
func TestWrapStartsAnew(t *testing.T) {
	first, second := &site{}, &site{}
	rt, _ := signedIn(t, first, &cookiejar.Login{})
	herd(t, rt, 1)
	again := rt.Wrap(&cookiejar.Transport{Jar: newJar(t, nil), Base: second})
	herd(t, again, 1)
	if first.logins != 1 || second.logins != 1 {
		t.Errorf("%d and %d logins", first.logins, second.logins)
	}
	var closed atomic.Int32
	base := idling{&closed}
	for _, rt := range []http.RoundTripper{
		&cookiejar.Login{Base: base}, &cookiejar.Transport{Base: base}, &cookiejar.XSRF{Base: base},
	} {
		(&http.Client{Transport: rt}).CloseIdleConnections()
		if got := rt.(interface{ Unwrap() http.RoundTripper }).Unwrap(); got != base {
			t.Errorf("%T unwraps to %T", rt, got)
		}
	}
	if closed.Load() != 3 {
		t.Errorf("idle connections were closed %d times", closed.Load())
	}
}

type idling struct{ closed *atomic.Int32 }

func (i idling) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("idle") }
func (i idling) CloseIdleConnections()                           { i.closed.Add(1) }

// Some servers give who has no session an empty one. Answers of that kind come late,
// and must not end the session that has begun since.
func TestLoginIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{slow: time.Millisecond, login: time.Second}
		var n, overtaken atomic.Int32
		jar := newJar(t, &cookiejar.Options{OnEvent: func(e cookiejar.Event) {
			if e.Reason == cookiejar.ReasonOvertaken {
				overtaken.Add(1)
			}
		}})
		rt := &cookiejar.Login{Login: signIn, Base: &cookiejar.Transport{Jar: jar, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
			resp, err := s.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusUnauthorized {
				resp.Header.Set("Set-Cookie", "sid=; Path=/")
				if n.Add(1) == 1 {
					resp.Header.Set("Set-Cookie", "sid=; Path=/; Max-Age=0")
				}
				err = sleep(req.Context(), time.Duration(n.Load())*300*time.Millisecond)
			} else if err == nil && req.URL.Path != "/login" {
				resp.Header.Set("Set-Cookie", "sid=1; Path=/") // as a server does that counts from the last use
			}
			return resp, err
		})}}
		herd(t, rt, 10)
		if diff := cmp.Diff("sid=1", jar.Header(parseURL(t, "https://example.com/"))); diff != "" {
			t.Errorf("the jar (-want +got):\n%s", diff)
		}
		if s.logins != 1 || overtaken.Load() == 0 {
			t.Errorf("%d logins, %d cookies rejected", s.logins, overtaken.Load())
		}
		// What comes of the session itself is welcome.
		jar.Receive(parseURL(t, "https://example.com/"), []string{"sid=; Path=/; Max-Age=0"})
		if got := jar.Header(parseURL(t, "https://example.com/")); got != "" {
			t.Errorf("the jar has %q", got)
		}
	})
}
