package authtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A probe is the check of one clause under way.
type probe struct {
	*kit
	ctx context.Context // of the requests; ends with the probe
	end context.CancelFunc

	mu           sync.Mutex
	broken       []string // guarded by mu
	inapplicable string   // guarded by mu
	learned      []string // credentials seen on their way; guarded by mu
}

func newProbe(k *kit) *probe {
	p := &probe{kit: k}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// run runs f, which may end by fatalf or skipf, and waits for it within reason.
func (p *probe) run(f func(*probe)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				p.errorf("panic: %v", v)
			}
		}()
		f(p)
	}()
	if !p.within(done, 10) {
		p.errorf("the check has not come to its end")
	}
}

// errorf notes what was broken.
func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, fmt.Sprintf(format, args...))
}

// fatalf is errorf, and the end of the clause. Like skipf, it is for the
// goroutine of the clause alone.
func (p *probe) fatalf(format string, args ...any) {
	p.errorf(format, args...)
	runtime.Goexit()
}

// skipf ends a clause that has nothing to check.
func (p *probe) skipf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inapplicable = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// within reports whether done is closed in time.
func (p *probe) within(done <-chan struct{}, times int) bool {
	late := time.NewTimer(time.Duration(times) * p.patience)
	defer late.Stop()
	select {
	case <-done:
		return true
	case <-late.C:
		return false
	}
}

// An outcome is what RoundTrip came to.
type outcome struct {
	resp     *http.Response
	err      error
	panicked any
}

// problem says why o is not a response that can be read.
func (o outcome) problem() string {
	switch {
	case o.panicked != nil:
		return fmt.Sprintf("RoundTrip panicked: %v", o.panicked)
	case o.err != nil:
		return fmt.Sprintf("RoundTrip returned an error: %v", o.err)
	case o.resp == nil:
		return "RoundTrip returned neither a response nor an error"
	case o.resp.Body == nil:
		return "RoundTrip returned a response without a Body"
	}
	return ""
}

// start calls RoundTrip on a goroutine of its own.
func start(rt http.RoundTripper, req *http.Request) chan outcome {
	c := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			c <- o
		}()
		o.resp, o.err = rt.RoundTrip(req)
	}()
	return c
}

// wait returns the outcome; one that does not come, or is a panic, ends the
// clause.
func (p *probe) wait(c <-chan outcome) (*http.Response, error) {
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case o := <-c:
		if o.panicked != nil {
			p.fatalf("RoundTrip panicked: %v", o.panicked)
		}
		return o.resp, o.err
	case <-late.C:
		p.fatalf("RoundTrip has not returned after %v", p.patience)
		return nil, nil
	}
}

// roundTrip sends req and returns what came of it.
func (p *probe) roundTrip(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	return p.wait(start(rt, req))
}

// must is a roundTrip that has no reason to fail.
func (p *probe) must(rt http.RoundTripper, req *http.Request) *http.Response {
	return p.response(start(rt, req))
}

// response is the outcome, if it can be read.
func (p *probe) response(c <-chan outcome) *http.Response {
	resp, err := p.wait(c)
	if problem := (outcome{resp: resp, err: err}).problem(); problem != "" {
		p.fatalf("%s", problem)
	}
	return resp
}

// read returns the rest of a response's body.
func (p *probe) read(resp *http.Response) string {
	if problem := (outcome{resp: resp}).problem(); problem != "" {
		p.fatalf("%s", problem)
	}
	var (
		content []byte
		err     error
		done    = make(chan struct{})
	)
	go func() {
		defer close(done)
		content, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}()
	if !p.within(done, 1) {
		p.fatalf("the response's body has not come to its end after %v", p.patience)
	}
	if err != nil {
		p.fatalf("reading the response's body: %v", err)
	}
	return string(content)
}

// request returns a request of the kit's origin.
func (p *probe) request(method, path string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(p.ctx, method, p.origin+path, body)
	if err != nil {
		panic(err)
	}
	return req
}

const payload = "the request's body"

// post returns a request whose body can be sent again, and its bodies.
func (p *probe) post() (*http.Request, *bodies) {
	b := newBodies(payload)
	req := p.request(http.MethodPost, "/items?b=2&a=1", b.first)
	req.ContentLength = int64(len(payload))
	req.GetBody = b.again
	return req, b
}

// decorator returns a new decorator around base that has met the Challenge, if
// there is one.
func (p *probe) decorator(base http.RoundTripper) http.RoundTripper {
	if p.challenge == "" {
		return p.wrap(base)
	}
	rt := p.wrap(&demanding{base: base, challenge: p.challenge})
	p.read(p.must(rt, p.request(http.MethodGet, introduction, nil)))
	return rt
}

// credential names the place of a credential in sent that is not in asked, what
// the decorator was given; it is empty if there is none.
func (p *probe) credential(asked, sent *http.Request) string {
	for name, values := range sent.Header {
		for _, v := range values {
			if contains(asked.Header[name], v) {
				continue
			}
			switch http.CanonicalHeaderKey(name) {
			case "Authorization", "Proxy-Authorization", "Cookie":
			default:
				if !p.tells(v) {
					continue
				}
			}
			p.learn(v)
			return name
		}
	}
	if u := sent.URL.String(); p.tells(u) && !p.tells(asked.URL.String()) {
		return "the URL"
	}
	return ""
}

func contains(values []string, v string) bool {
	return slices.Contains(values, v)
}

// learn remembers a credential that has been seen.
func (p *probe) learn(value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned = append(p.learned, value)
	if _, credentials, ok := strings.Cut(value, " "); ok {
		p.learned = append(p.learned, credentials)
	}
}

// known returns all that must not be seen, in every form.
func (p *probe) known() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var known []string
	for _, s := range append(p.learned, p.secrets...) {
		if s != "" {
			known = append(known, s, url.QueryEscape(s), url.PathEscape(s), fmt.Sprintf("%q", s), fmt.Sprint([]byte(s)))
		}
	}
	return known
}

// tells reports whether text has a secret in it.
func (p *probe) tells(text string) bool {
	known := p.known()
	for _, s := range known {
		if strings.Contains(text, s) {
			return true
		}
	}
	for word := range strings.FieldsSeq(text) {
		if decoded, err := base64.StdEncoding.DecodeString(word); err == nil {
			for _, s := range known {
				if bytes.Contains(decoded, []byte(s)) {
					return true
				}
			}
		}
	}
	return false
}

const redaction = "[secret]"

// redact takes the secrets out of text.
func (p *probe) redact(text string) string {
	for _, s := range p.known() {
		text = strings.ReplaceAll(text, s, redaction)
	}
	return text
}
