package authtrip_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// A link makes a decorator with a state of its own. What several of a chain share is
// in the jar.
type link struct {
	name string
	make func(jar *cookiejar.Jar) transport.Middleware
}

var links = []link{
	{"bearer", func(*cookiejar.Jar) transport.Middleware {
		return (&transport.Bearer{Source: tokensource.Static("static")}).Wrap
	}},
	{"refresh", func(*cookiejar.Jar) transport.Middleware { return refresh }},
	{"basic", func(*cookiejar.Jar) transport.Middleware {
		return (&basic.Transport{Username: "user", Password: "pw"}).Wrap
	}},
	{"key in a field", func(*cookiejar.Jar) transport.Middleware { return (&apikey.Transport{Key: "k1"}).Wrap }},
	{"key in Authorization", func(*cookiejar.Jar) transport.Middleware {
		return (&apikey.Transport{Key: "k2", Name: "Authorization", Prefix: "ApiKey"}).Wrap
	}},
	{"key in the query", func(*cookiejar.Jar) transport.Middleware {
		return (&apikey.Transport{Key: "k3", In: apikey.Query, Name: "key"}).Wrap
	}},
	{"other key in the query", func(*cookiejar.Jar) transport.Middleware {
		return (&apikey.Transport{Key: "k4", In: apikey.Query, Name: "other"}).Wrap
	}},
	{"key in a cookie", func(*cookiejar.Jar) transport.Middleware {
		return (&apikey.Transport{Key: "k5", In: apikey.Cookie, Name: "sid"}).Wrap
	}},
	{"cookies", func(jar *cookiejar.Jar) transport.Middleware { return (&cookiejar.Transport{Jar: jar}).Wrap }},
	{"xsrf", func(*cookiejar.Jar) transport.Middleware { return (&cookiejar.XSRF{AllMethods: true}).Wrap }},
	{"xsrf with a jar", func(jar *cookiejar.Jar) transport.Middleware {
		x := &cookiejar.XSRF{AllMethods: true, SendOrigin: true, Jar: jar, Header: "X-Csrf"}
		x.Rejected = func(resp *http.Response) bool { return resp.StatusCode == http.StatusForbidden }
		return x.Wrap
	}},
	{"login", func(*cookiejar.Jar) transport.Middleware { return login }},
	{"digest", func(*cookiejar.Jar) transport.Middleware {
		return (&digest.Transport{Username: "user", Password: "pw"}).Wrap
	}},
	{"choose", func(*cookiejar.Jar) transport.Middleware {
		return (&transport.Choose{Choices: []transport.Choice{
			{Scheme: "Digest", Middleware: (&digest.Transport{Username: "user", Password: "pw"}).Wrap},
			{Scheme: "Basic", Middleware: (&basic.Transport{Username: "user", Password: "pw"}).Wrap},
		}}).Wrap
	}},
}

// A wire is a server that answers its nth request as the source of a schedule says, and
// that notes what it was sent.
type wire struct {
	answers *rand.Rand
	log     []string
}

var random = regexp.MustCompile(`(cnonce|response)=\\"[^"]*"`)

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", req.Method, req.URL)
	names := make([]string, 0, len(req.Header))
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "\n%s: %q", name, req.Header[name])
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		fmt.Fprintf(&b, "\n\n%s %v", body, err)
		req.Body.Close()
	}
	w.log = append(w.log, random.ReplaceAllString(b.String(), "$1"))

	// It may do what it likes to a copy.
	answer := func(status int, fields ...string) (*http.Response, error) {
		resp := respond(req, status, "")
		for i := 0; i < len(fields); i += 2 {
			resp.Header.Add(fields[i], fields[i+1])
		}
		return resp, nil
	}
	switch w.answers.IntN(9) {
	case 0:
		return answer(401, "WWW-Authenticate", `Bearer error="invalid_token"`)
	case 1:
		return answer(401, "WWW-Authenticate", digestChallenge)
	case 2:
		return answer(401, "WWW-Authenticate", `Basic realm="authtest"`)
	case 3:
		return answer(403, "X-Csrf", "brought", "X-XSRF-TOKEN", "brought too")
	case 4:
		return answer(200, "Set-Cookie", fmt.Sprint("XSRF-TOKEN=", w.answers.IntN(3)), "Set-Cookie", "sid=set")
	case 5:
		return answer(302, "Location", "/elsewhere?key=k3&other=k4")
	case 6:
		return nil, io.ErrUnexpectedEOF
	}
	return answer(200)
}

// send sends three requests by a chain and returns all that can be seen of that.
func (w *wire) send(t *testing.T, chain http.RoundTripper, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 3))
	var before *http.Response
	for range 3 {
		ctx := t.Context()
		if r.IntN(10) == 0 {
			ctx = transport.WithoutCredentials(ctx)
		}
		url := "https://api.example.com/a?b=c"
		if before != nil && r.IntN(3) == 0 {
			url = "https://user:info@" + []string{"api.example.com", "elsewhere.example"}[r.IntN(2)] + "/elsewhere?key=chosen"
		} else {
			before = nil
		}
		req, err := http.NewRequestWithContext(ctx, []string{"GET", "POST"}[r.IntN(2)], url, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Response = before
		if r.IntN(3) == 0 {
			req.GetBody = nil
		}
		own := [][2]string{
			{"Authorization", "own"},
			{"authorization", ""},
			{[]string{"Cookie", "cookie"}[r.IntN(2)], "sid=own; XSRF-TOKEN=own"},
			{"x-api-key", "own"},
			{"X-Csrf", ""},
			{"Origin", "own"},
			{"Accept", "x"},
			{"X-1", ""},
			{"X-2", ""},
			{"X-3", ""},
			{"X-4", ""},
		}
		for _, f := range own {
			if r.IntN(6) == 0 {
				req.Header[f[0]] = []string{f[1]}
			}
		}
		given := req.Clone(ctx)
		resp, err := chain.RoundTrip(req)
		if err != nil {
			w.log = append(w.log, "error: "+err.Error())
			before = nil
		} else {
			if resp.Request != req {
				t.Error("the response names another request")
			}
			w.log = append(w.log, fmt.Sprint("status ", resp.StatusCode))
			before = resp
		}
		if diff := cmp.Diff(given.Header, req.Header); diff != "" || given.URL.String() != req.URL.String() {
			t.Errorf("the caller's request was modified (-before +after):\n%s", diff)
		}
	}
	return w.log
}

// Decorators in a row, which make one copy of a request, send what they would with
// strangers between them, each of which gets a request of its own.
func TestChainsInARow(t *testing.T) {
	const schedules = 3000
	inARow, again := 0, 0
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			var logs [2][]string
			var names []string
			for i := range logs {
				r := rand.New(rand.NewPCG(seed, 1))
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				w := &wire{answers: rand.New(rand.NewPCG(seed, 2))}
				names = nil
				var mws []transport.Middleware
				for range 1 + r.IntN(8) {
					l := links[r.IntN(len(links))]
					names = append(names, l.name)
					mws = append(mws, l.make(jar))
					if i == 1 {
						mws = append(mws, func(base http.RoundTripper) http.RoundTripper { return transport.Func(base.RoundTrip) })
					}
				}
				logs[i] = w.send(t, transport.Chain(mws...)(w), seed)
			}
			if diff := cmp.Diff(logs[1], logs[0]); diff != "" {
				t.Errorf("schedule %d, %s (-with strangers +in a row):\n%s", seed, strings.Join(names, " > "), diff)
			}
			if len(names) > 1 {
				inARow++
			}
			if len(logs[0]) > 6 {
				again++
			}
		})
		if t.Failed() {
			return
		}
	}
	if inARow < schedules/2 || again < schedules/20 {
		t.Errorf("of %d schedules %d had a chain, %d a request that was sent again", schedules, inARow, again)
	}
}

// An overriding decorator embeds one of ours: what it does must not be bypassed.
type overriding struct {
	*apikey.Transport
	seen int
}

func (o *overriding) RoundTrip(req *http.Request) (*http.Response, error) {
	o.seen++
	return o.Transport.RoundTrip(req)
}

func TestEmbeddedIsNotBypassed(t *testing.T) {
	base := &recorder{}
	between := &overriding{Transport: &apikey.Transport{Key: "k", Base: base}}
	rt := (&transport.Bearer{Source: tokensource.Static("static")}).Wrap(between)
	for range 3 {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://api.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	}
	if between.seen != 3 || len(base.sent) != 3 {
		t.Fatalf("it has seen %d requests, and the base %d", between.seen, len(base.sent))
	}
	want := http.Header{"Authorization": {"Bearer static"}, "X-Api-Key": {"k"}}
	if diff := cmp.Diff(want, base.sent[2].Header); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}
