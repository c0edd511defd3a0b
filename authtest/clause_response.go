package authtest

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
)

func (p *probe) responseXorError() {
	check := func(when string, resp *http.Response, err error) {
		if (resp == nil) == (err == nil) {
			p.errorf("%s: the response is %v, the error %v", when, status(resp), err)
		}
	}
	for _, s := range []struct {
		when   string
		answer func(int, *http.Request) (*http.Response, error)
	}{
		{"accepted", accept},
		{"rejected once", p.rejectFirst},
		{"always rejected", func(_ int, req *http.Request) (*http.Response, error) { return p.reject(req, http.NoBody), nil }},
		{"status 500", func(_ int, req *http.Request) (*http.Response, error) { return respond(req, 500, ""), nil }},
		{"the base has failed", fails},
	} {
		req, _ := p.post()
		resp, err := p.roundTrip(p.wrap(&recorder{answer: s.answer}), req)
		check(s.when, resp, err)
	}
	for _, r := range p.refusals() {
		check(r.when, r.resp, r.err)
	}
}

func status(resp *http.Response) any {
	if resp == nil {
		return nil
	}
	return resp.Status
}

func (p *probe) anyStatus() {
	for _, code := range []int{200, 204, 206, 301, 302, 307, 400, 401, 403, 404, 407, 409, 429, 500, 502, 503} {
		var inner *http.Response
		rt := p.decorator(&recorder{answer: func(_ int, req *http.Request) (*http.Response, error) {
			inner = respond(req, code, "content")
			inner.Header.Set("X-Field", "value")
			inner.Header.Set("WWW-Authenticate", `Unknown realm="authtest"`)
			inner.Header.Set("Location", "/elsewhere")
			inner.Uncompressed = true
			return inner, nil
		}})
		req, _ := p.post()
		resp, err := p.roundTrip(rt, req)
		if err != nil {
			p.errorf("status %d: RoundTrip returned an error: %v", code, err)
			continue
		}
		if resp.StatusCode != code || resp.Status != inner.Status || resp.ContentLength != 7 || !resp.Uncompressed {
			p.errorf("status %d: returned %q, ContentLength %d, Uncompressed %v", code, resp.Status, resp.ContentLength, resp.Uncompressed)
		}
		if !reflect.DeepEqual(resp.Header, inner.Header) {
			p.errorf("status %d: Header is %v, and came as %v", code, resp.Header, inner.Header)
		}
		content, err := io.ReadAll(resp.Body)
		if string(content) != "content" || err != nil {
			p.errorf("status %d: the body is %q, error %v, and came as %q", code, content, err, "content")
		}
		if err := resp.Body.Close(); err != nil {
			p.errorf("status %d: closing the body: %v", code, err)
		}
	}
}

func (p *probe) responseRequest() {
	req, _ := p.post()
	if resp := p.must(p.wrap(&recorder{answer: p.rejectFirst}), req); resp.Request != req {
		p.errorf("the response's Request is another than the caller's")
	}
}

// A connection is the Body of a 101.
type connection struct {
	*body
	written strings.Builder
}

func (c *connection) Write(b []byte) (int, error) { return c.written.Write(b) }

func (p *probe) upgrade() {
	c := &connection{body: newBody(strings.NewReader("hello"))}
	rt := p.decorator(&recorder{answer: func(_ int, req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusSwitchingProtocols, "")
		resp.Header.Set("Upgrade", "authtest")
		resp.Body = c
		return resp, nil
	}})
	req := p.request(http.MethodGet, "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "authtest")
	resp := p.must(rt, req)
	w, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		p.fatalf("the Body of the 101 is a %T and cannot be written to", resp.Body)
	}
	if _, err := io.WriteString(w, "hello yourself"); err != nil || c.written.String() != "hello yourself" {
		p.errorf("%q was written to the Body of the 101, and %q arrived, error %v", "hello yourself", c.written.String(), err)
	}
	if got := p.read(resp); got != "hello" {
		p.errorf("%q was read from the Body of the 101, and %q was sent", got, "hello")
	}
}

// firstHalf reads n bytes of the response's body, if they come in time.
func (p *probe) firstHalf(resp *http.Response, want string) {
	var err error
	got, done := make([]byte, len(want)), make(chan struct{})
	go func() {
		defer close(done)
		_, err = io.ReadFull(resp.Body, got)
	}()
	switch {
	case !p.within(done, 1):
		p.fatalf("the response's body does not come before its end")
	case string(got) != want:
		p.fatalf("the response's body begins with %q, error %v, and was sent as %q", got, err, want)
	}
}

func (p *probe) streamedResponse() {
	from, to := io.Pipe()
	defer context.AfterFunc(p.ctx, func() { from.CloseWithError(errClosed) })()
	defer to.Close()
	rt := p.decorator(&recorder{answer: func(_ int, req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength, resp.Body = -1, from
		return resp, nil
	}})
	go func() { _, _ = io.WriteString(to, "first") }()
	resp := p.must(rt, p.request(http.MethodGet, "/", nil))
	p.firstHalf(resp, "first")
	go func() {
		_, _ = io.WriteString(to, "second")
		to.Close()
	}()
	if got := p.read(resp); got != "second" {
		p.errorf("the second half of the response's body is %q", got)
	}
}

func (p *probe) streamedRequest() {
	from, to := io.Pipe()
	defer context.AfterFunc(p.ctx, func() { from.CloseWithError(errClosed) })()
	defer to.Close()
	// As HTTP/2 does: the response is there when the first half has arrived,
	// and its body is what else arrives.
	rt := p.decorator(base(func(req *http.Request) (*http.Response, error) {
		first := make([]byte, len("first"))
		if _, err := io.ReadFull(req.Body, first); err != nil {
			req.Body.Close()
			return nil, err
		}
		echo, rest := io.Pipe()
		go func() {
			_, err := io.Copy(rest, req.Body)
			req.Body.Close()
			rest.CloseWithError(err)
		}()
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength, resp.Body = -1, echo
		return resp, nil
	}))
	req := p.request(http.MethodPost, "/", nil)
	req.Body, req.ContentLength = from, -1
	go func() { _, _ = io.WriteString(to, "first") }()
	late := start(rt, req)
	resp, err := p.wait(late)
	if err != nil {
		p.fatalf("RoundTrip returned an error: %v", err)
	}
	go func() {
		_, _ = io.WriteString(to, "second")
		to.Close()
	}()
	if got := p.read(resp); got != "second" {
		p.errorf("of the second half of the request's body, %q arrived", got)
	}
}
