package digest_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/google/go-cmp/cmp"
)

const (
	apiURL   = "https://api.example.com/v1/items?b=2&a=1"
	username = "Mufasa"
	password = "Circle of Life"
)

// A guard is what asks for Digest authentication: an origin server's, or a
// proxy's. It was written from RFC 7616, checks all of what a client has to do,
// and is a Base as well as something to put before a handler.
type guard struct {
	t testing.TB

	realm, algorithm, opaque string // the last two are left out if empty
	qop                      string // empty: left out, as in RFC 2069
	extra                    string // of the challenge, such as `, charset=UTF-8`
	salt                     string // what nonces begin with
	users                    map[string]string
	proxy                    bool

	uses     int  // how often a nonce may be used; 0 means any number of times
	inOrder  bool // and in no other order than that of its counts
	hasty    bool // a nonce is looked at before the password
	constant bool // every challenge has the same nonce
	notStale bool // nothing is ever said to be stale
	mute     bool // there is no challenge when credentials were refused
	next     int  // how often a nonce is used before there is a nextnonce; 0 means for ever
	// proof makes the Authentication-Info for an answer of which right is the
	// rspauth; nil means none.
	proof func(right string, answer map[string]string) string
	// refusal is the body of a refused request's response.
	refusal func() io.Reader

	mu       sync.Mutex // guards the fields below
	issued   []string
	nonces   map[string]*nonce
	log      []string // what came, in a word or two
	attempts []attempt
	answers  []*counted // bodies of the responses
}

// An attempt is what was sent to a guard as a Base.
type attempt struct {
	*http.Request
	Sent string
}

type nonce struct {
	last           uint64
	used           map[uint64]bool
	prime, cprime  string // of the session, for algorithms with -sess
	stale, hasNext bool
}

// newGuard returns a guard like most in use.
func newGuard(t testing.TB) *guard {
	return &guard{
		t: t, realm: "all of it", qop: "auth", opaque: "an opaque", algorithm: "SHA-256",
		users: map[string]string{username: password, "other": "another password"},
	}
}

// client returns a Transport with the right password.
func (g *guard) client() *digest.Transport {
	return &digest.Transport{Username: username, Password: password, Base: g}
}

func hash(algorithm, data string) string {
	switch strings.TrimSuffix(strings.ToUpper(algorithm), "-SESS") {
	case "", "MD5":
		return fmt.Sprintf("%x", md5.Sum([]byte(data)))
	case "SHA-256":
		return fmt.Sprintf("%x", sha256.Sum256([]byte(data)))
	case "SHA-512-256":
		return fmt.Sprintf("%x", sha512.Sum512_256([]byte(data)))
	}
	panic("no algorithm " + algorithm)
}

// An oracle computes what RFC 7616 section 3.4 says.
type oracle struct {
	algorithm, username, realm, password string
	nonce, prime                         string
	cnonce, cprime, nc, qop              string
	method, uri, body                    string
}

func (o oracle) response() string {
	a1 := o.username + ":" + o.realm + ":" + o.password
	if strings.HasSuffix(strings.ToLower(o.algorithm), "-sess") {
		a1 = hash(o.algorithm, a1) + ":" + o.prime + ":" + o.cprime
	}
	a2 := o.method + ":" + o.uri
	if o.qop == "auth-int" {
		a2 += ":" + hash(o.algorithm, o.body)
	}
	middle := o.nonce
	if o.qop != "" {
		middle += ":" + o.nc + ":" + o.cnonce + ":" + o.qop
	}
	return hash(o.algorithm, hash(o.algorithm, a1)+":"+middle+":"+hash(o.algorithm, a2))
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// issue returns a new nonce of the session that s is of, if any.
func (g *guard) issue(s *nonce) string {
	if g.nonces == nil {
		g.nonces = map[string]*nonce{}
	}
	value := fmt.Sprint(g.salt, "n", len(g.issued)+1)
	if g.constant && len(g.issued) > 0 {
		return g.issued[0]
	}
	n := &nonce{used: map[uint64]bool{}}
	if s != nil {
		n.prime, n.cprime = s.prime, s.cprime
	}
	g.issued, g.nonces[value] = append(g.issued, value), n
	return value
}

// expire makes all nonces stale.
func (g *guard) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.nonces {
		n.stale = true
	}
}

func (g *guard) challenge(stale bool) string {
	c := "Digest realm=" + quote(g.realm) + ", nonce=" + quote(g.issue(nil))
	if g.qop != "" {
		c += ", qop=" + quote(g.qop)
	}
	if g.algorithm != "" {
		c += ", algorithm=" + g.algorithm
	}
	if g.opaque != "" {
		c += ", opaque=" + quote(g.opaque)
	}
	if stale && !g.notStale {
		c += ", stale=TRUE"
	}
	return c + g.extra
}

var (
	paramPattern = regexp.MustCompile(`^([a-z*]+)=("(?:[^"\\]|\\.)*"|[^",\s]+)(?:, |$)`)
	quotedPair   = regexp.MustCompile(`\\(.)`)
	countPattern = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

// params reads Digest credentials, and sees that what RFC 7616 section 3.4
// wants quoted is quoted, and nothing else.
func params(credentials string) (map[string]string, error) {
	rest, ok := strings.CutPrefix(credentials, "Digest ")
	if !ok {
		return nil, fmt.Errorf("%q are not in the Digest scheme", credentials)
	}
	found := map[string]string{}
	for rest != "" {
		m := paramPattern.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("%q cannot be read from %q on", credentials, rest)
		}
		rest = rest[len(m[0]):]
		name, value := m[1], m[2]
		quoted := strings.HasPrefix(value, `"`)
		if quoted {
			value = quotedPair.ReplaceAllString(value[1:len(value)-1], "$1")
		}
		if quoted && m[2] != quote(value) {
			return nil, fmt.Errorf("%q: %s has escapes that it does not need", credentials, name)
		}
		if _, again := found[name]; again || quoted != slices.Contains([]string{"username", "realm", "nonce", "uri", "response", "cnonce", "opaque"}, name) {
			return nil, fmt.Errorf("%q: %s occurs twice or is wrongly quoted", credentials, name)
		}
		found[name] = value
	}
	return found, nil
}

// user returns whose credentials these are, and what else they have to have
// for that.
func (g *guard) user(got map[string]string) (name string, want map[string]string) {
	switch star, hasStar := got["username*"]; {
	case strings.Contains(g.extra, "userhash=true"):
		for name := range g.users {
			if hash(g.algorithm, name+":"+g.realm) == got["username"] {
				return name, map[string]string{"username": got["username"], "userhash": "true"}
			}
		}
		return "", map[string]string{"username": got["username"], "userhash": "true"}
	case hasStar && strings.Contains(g.extra, "charset=UTF-8"):
		name, err := url.PathUnescape(strings.TrimPrefix(star, "UTF-8''"))
		if err != nil || !strings.HasPrefix(star, "UTF-8''") || regexp.MustCompile(`^[ -~]*$`).MatchString(name) {
			g.t.Errorf("username* is %q, %v", star, err)
		}
		return name, map[string]string{"username*": star}
	}
	return got["username"], map[string]string{"username": got["username"]}
}

// check reports what becomes of a request: with credentials that are accepted
// the challenge is empty, and info is of the response.
func (g *guard) check(method, target string, credentials []string, body string) (challenge, info string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(credentials) == 0 {
		g.log = append(g.log, "bare")
		return g.challenge(false), ""
	}
	got, err := params(credentials[0])
	if err != nil || len(credentials) > 1 {
		g.t.Errorf("credentials %q: %v", credentials, err)
		return g.challenge(false), ""
	}
	n, known := g.nonces[got["nonce"]]
	if !known {
		if got["realm"] != g.realm { // for another space
			g.log = append(g.log, "foreign")
			return g.challenge(false), ""
		}
		g.t.Errorf("nonce %q was never issued", got["nonce"])
		return g.challenge(false), ""
	}
	sess := strings.HasSuffix(strings.ToLower(g.algorithm), "-sess")
	o := oracle{
		algorithm: g.algorithm, realm: g.realm, nonce: got["nonce"], cnonce: got["cnonce"], nc: got["nc"],
		method: method, uri: target, body: body,
	}
	var want map[string]string
	o.username, want = g.user(got)
	maps.Copy(want, map[string]string{"realm": g.realm, "nonce": got["nonce"], "uri": target, "response": got["response"]})
	if g.algorithm != "" {
		want["algorithm"] = g.algorithm
	}
	if g.opaque != "" {
		want["opaque"] = g.opaque
	}
	var count uint64
	if g.qop != "" || sess {
		want["cnonce"] = got["cnonce"]
		if len(got["cnonce"]) < 16 {
			g.t.Errorf("cnonce %q is short", got["cnonce"])
		}
	}
	if g.qop != "" {
		o.qop = "auth-int"
		if slices.Contains(regexp.MustCompile(`[, ]+`).Split(g.qop, -1), "auth") {
			o.qop = "auth"
		}
		want["qop"], want["nc"] = o.qop, got["nc"]
		count, err = strconv.ParseUint(got["nc"], 16, 32)
		if err != nil || count == 0 || !countPattern.MatchString(got["nc"]) || n.used[count] {
			g.t.Errorf("nonce %q: nc %q: %v, used: %v", got["nonce"], got["nc"], err, n.used[count])
		}
	}
	if !maps.Equal(want, got) {
		g.t.Errorf("credentials (-want +got):\n%s", cmp.Diff(want, got))
	}
	stale := n.stale || g.uses > 0 && len(n.used) >= g.uses || g.inOrder && count != n.last+1
	if g.qop == "" {
		count = uint64(len(n.used) + 1)
	}
	n.used[count], n.last = true, count
	if sess && n.prime == "" {
		n.prime, n.cprime = got["nonce"], got["cnonce"]
	}
	o.prime, o.cprime = n.prime, n.cprime
	what := got["nonce"] + "/" + fmt.Sprint(count) + " "
	if o.qop == "auth-int" {
		what += "int "
	}
	o.password, known = g.users[o.username]
	right := known && o.response() == got["response"]
	switch {
	case stale && (right || g.hasty):
		n.stale = true
		g.log = append(g.log, what+"stale")
		return g.challenge(true), ""
	case !right:
		g.log = append(g.log, what+"wrong")
		return g.challenge(false), ""
	}
	g.log = append(g.log, what+"ok")
	if g.next > 0 && len(n.used) >= g.next && !n.hasNext {
		n.hasNext = true
		info = "nextnonce=" + quote(g.issue(n))
	}
	if g.proof != nil {
		o.method = ""
		if proof := g.proof(o.response(), got); proof != "" {
			info = strings.TrimPrefix(info+", "+proof, ", ")
		}
	}
	return "", info
}

// serve checks a request and writes what there is to say into the header of
// its response.
func (g *guard) serve(method, target string, header, answer http.Header, body string) (status int) {
	field, ask, status, info := "Authorization", "Www-Authenticate", http.StatusUnauthorized, "Authentication-Info"
	if g.proxy {
		field, ask, status, info = "Proxy-Authorization", "Proxy-Authenticate", http.StatusProxyAuthRequired, "Proxy-Authentication-Info"
	}
	challenge, proof := g.check(method, target, header.Values(field), body)
	if challenge != "" {
		if !g.mute || len(header.Values(field)) == 0 {
			answer.Add(ask, challenge)
		}
		return status
	}
	if proof != "" {
		answer.Add(info, proof)
	}
	return http.StatusOK
}

// RoundTrip implements http.RoundTripper, for what needs no connection. The body
// of a request that is let through comes back.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		sent, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	header := http.Header{}
	status := g.serve(method, req.URL.RequestURI(), req.Header, header, string(sent))
	body := &counted{Reader: bytes.NewReader(sent)}
	if status != http.StatusOK {
		body.Reader = g.refused()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempts = append(g.attempts, attempt{req, string(sent)})
	g.answers = append(g.answers, body)
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: body, ContentLength: -1, Request: req}, nil
}

const refusal = "who are you?"

func (g *guard) refused() io.Reader {
	if g.refusal != nil {
		return g.refusal()
	}
	return strings.NewReader(refusal)
}

// before is g in front of handler.
func (g *guard) before(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			g.t.Errorf("reading the body: %v", err)
		}
		if status := g.serve(r.Method, r.RequestURI, r.Header, w.Header(), string(body)); status != http.StatusOK {
			w.WriteHeader(status)
			io.Copy(w, g.refused())
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler.ServeHTTP(w, r)
	})
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })

// wantLog compares what came to g so far, and forgets it.
func (g *guard) wantLog(t testing.TB, want ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if diff := cmp.Diff(want, g.log); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	g.log = nil
}

// wantCounts sees that each nonce was used from 1 on without a gap.
func (g *guard) wantCounts(t testing.TB) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for value, n := range g.nonces {
		for i := range len(n.used) {
			if !n.used[uint64(i+1)] {
				t.Errorf("nonce %q was used %d times, and not with count %d", value, len(n.used), i+1)
			}
		}
	}
}

// wantClosed sees that the body of each response was closed once.
func (g *guard) wantClosed(t testing.TB) {
	t.Helper()
	for i, body := range g.answers {
		body.wantClosedOnce(t, fmt.Sprintf("the body of response %d", i))
	}
}

// A site is a Base with a guard for each path prefix.
type site map[string]*guard

func (s site) RoundTrip(req *http.Request) (*http.Response, error) {
	longest := ""
	for prefix := range s {
		if strings.HasPrefix(req.URL.Path, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	if g := s[longest]; g != nil {
		return g.RoundTrip(req)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A counted body knows how often it was closed.
type counted struct {
	io.Reader
	closed atomic.Int32
}

func newBody(s string) *counted { return &counted{Reader: strings.NewReader(s)} }

func (b *counted) Close() error {
	b.closed.Add(1)
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (b *counted) wantClosedOnce(t testing.TB, what string) {
	t.Helper()
	if n := b.closed.Load(); n != 1 {
		t.Errorf("%s was closed %d times, want once", what, n)
	}
}

// newRequest returns a request under the test's context.
func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func get(t testing.TB) *http.Request { return newRequest(t, http.MethodGet, apiURL, nil) }

// stream returns a request whose body can be had once only.
func stream(t testing.TB, s string) (*http.Request, *counted) {
	body := newBody(s)
	return newRequest(t, http.MethodPost, apiURL, body), body
}

// bodies are those of one request: the first, and what GetBody has given.
type bodies struct {
	first *counted
	again []*counted
}

// replayable returns a request whose body can be had again.
func replayable(t testing.TB, s string) (*http.Request, *bodies) {
	req, first := stream(t, s)
	b := &bodies{first: first}
	req.ContentLength = int64(len(s))
	req.GetBody = func() (io.ReadCloser, error) {
		b.again = append(b.again, newBody(s))
		return b.again[len(b.again)-1], nil
	}
	return req, b
}

func (b *bodies) wantEachClosedOnce(t testing.TB) {
	t.Helper()
	b.first.wantClosedOnce(t, "the request's body")
	for i, again := range b.again {
		again.wantClosedOnce(t, fmt.Sprintf("body %d of GetBody", i))
	}
}

// want sends req and compares the response's status and body.
func want(t testing.TB, rt http.RoundTripper, req *http.Request, status int, body string) {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wantResponse(t, resp, status, body)
}

func wantResponse(t testing.TB, resp *http.Response, status int, body string) {
	t.Helper()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != status || string(got) != body {
		t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, status, body)
	}
}
