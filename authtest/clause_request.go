package authtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// full returns a request with something in every field that a decorator might
// touch, but no User-Agent: to set that is what some are for.
func (p *probe) full() (*http.Request, *bodies) {
	req, b := p.post()
	req.Header["Accept"] = append(make([]string, 0, 4), "text/plain") // with room behind
	req.Header["X-Many"] = append(make([]string, 0, 4), "one", "two")
	req.Header["x-odd"] = []string{"spelling"}
	req.URL.RawPath = "/items"
	req.URL.Fragment = "fragment"
	req.Host = "virtual.example.com"
	req.Trailer = http.Header{"X-Sum": nil}
	req.TransferEncoding = []string{"identity"}
	req.Close = true
	return req, b
}

func (p *probe) requestUnmodified() {
	for name, answer := range map[string]func(int, *http.Request) (*http.Response, error){
		"accepted": accept, "rejected once": p.rejectFirst, "failed": fails,
	} {
		req, _ := p.full()
		before, given := req.Clone(req.Context()), *req
		_, _ = p.roundTrip(p.wrap(&recorder{answer: answer}), req)
		p.compareFields(name, before, &given, req)
		for key, values := range req.Header {
			for _, v := range values[len(values):cap(values)] {
				if v != "" {
					p.errorf("%s: something was appended to the values of Header[%q], in the array that they share", name, key)
				}
			}
		}
	}
}

// compareFields compares the fields of req with those of given, a shallow copy
// from before, where they are references, and else with those of before, a deep one.
func (p *probe) compareFields(when string, before, given, req *http.Request) {
	was, is, deep := reflect.ValueOf(given).Elem(), reflect.ValueOf(req).Elem(), reflect.ValueOf(before).Elem()
	for _, f := range reflect.VisibleFields(was.Type()) {
		if !f.IsExported() {
			continue
		}
		old, now, copied := was.FieldByIndex(f.Index), is.FieldByIndex(f.Index), deep.FieldByIndex(f.Index)
		switch f.Type.Kind() {
		case reflect.Func, reflect.Chan:
			if old.Pointer() != now.Pointer() {
				p.errorf("%s: the request's %s was replaced", when, f.Name)
			}
		case reflect.Interface:
			if old.Interface() != now.Interface() {
				p.errorf("%s: the request's %s was replaced", when, f.Name)
			}
		case reflect.Map, reflect.Pointer:
			if old.Pointer() != now.Pointer() {
				p.errorf("%s: the request's %s was replaced", when, f.Name)
			}
			fallthrough
		default:
			if !reflect.DeepEqual(copied.Interface(), now.Interface()) {
				p.errorf("%s: the request's %s was modified: it is %v, and was %v", when, f.Name, now, copied)
			}
		}
	}
	if given.Context() != req.Context() {
		p.errorf("%s: the request's context was replaced", when)
	}
}

func (p *probe) nilHeader() {
	req := p.request(http.MethodGet, "/", nil)
	req.Header = nil
	p.must(p.wrap(&recorder{answer: p.rejectFirst}), req)
	if req.Header != nil {
		p.errorf("the request's Header was nil, and is %v", req.Header)
	}
}

func (p *probe) requestForwarded() {
	for _, name := range []string{"with a body", "with NoBody", "without a body"} {
		req, _ := p.full()
		switch name {
		case "with NoBody":
			req.Body, req.GetBody, req.ContentLength = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }, 0
		case "without a body":
			req.Body, req.GetBody, req.ContentLength = nil, nil, 0
		}
		base := &recorder{}
		base.answer = func(n int, sent *http.Request) (*http.Response, error) {
			p.compareForwarded(fmt.Sprintf("%s, attempt %d", name, n+1), req, base.list()[n])
			// It may do what it likes to a request that was sent to it alone.
			if sent != req && reflect.ValueOf(sent.Header).Pointer() != reflect.ValueOf(req.Header).Pointer() {
				sent.Header.Del("Accept")
				sent.Header.Set("X-Many", "spoiled")
			}
			return p.rejectFirst(n, sent)
		}
		p.must(p.wrap(base), req)
		if len(base.list()) == 0 {
			p.fatalf("%s: nothing was sent", name)
		}
	}
}

func (p *probe) compareForwarded(when string, req *http.Request, a *attempt) {
	for _, f := range []struct {
		name      string
		want, got any
	}{
		{"Method", req.Method, a.Method},
		{"Host", req.Host, a.Host},
		{"ContentLength", req.ContentLength, a.ContentLength},
		{"TransferEncoding", req.TransferEncoding, a.TransferEncoding},
		{"Close", req.Close, a.Close},
		{"Response", req.Response, a.Response},
		{"URL.Scheme", req.URL.Scheme, a.URL.Scheme},
		{"URL.Host", req.URL.Host, a.URL.Host},
		{"URL.EscapedPath()", req.URL.EscapedPath(), a.URL.EscapedPath()},
	} {
		if !reflect.DeepEqual(f.want, f.got) {
			p.errorf("%s: the base was sent %s %v, and it is %v in the request", when, f.name, f.got, f.want)
		}
	}
	// Another parameter may have come, but what there was is as it was, in its order.
	if !strings.Contains("&"+a.URL.RawQuery+"&", "&"+req.URL.RawQuery+"&") {
		p.errorf("%s: the base was sent the query %s, and it is %s in the request", when, a.URL.RawQuery, req.URL.RawQuery)
	}
	for key, values := range req.Header {
		if !reflect.DeepEqual(values, a.Header[key]) {
			p.errorf("%s: the base was sent Header[%q] %q, and it is %q in the request", when, key, a.Header[key], values)
		}
	}
	if none := req.Body == nil || req.Body == http.NoBody; none != a.noBody {
		p.errorf("%s: the base was sent Body %T, and it is %T in the request: a length that is not known means chunks", when, a.Body, req.Body)
	}
}

// A late reader tells when it has been read to its end.
type late struct {
	io.Reader
	atEnd func()
}

func (l late) Read(to []byte) (int, error) {
	n, err := l.Reader.Read(to)
	if err == io.EOF {
		l.atEnd()
	}
	return n, err
}

func (p *probe) trailers() {
	var arrived string
	responseTrailer := http.Header{"X-Sum": nil}
	rt := p.decorator(base(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		req.Body.Close()
		arrived = req.Trailer.Get("X-Sum")
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength = -1
		resp.Trailer = responseTrailer
		resp.Body = newBody(late{strings.NewReader("content"), func() { responseTrailer.Set("X-Sum", "response") }})
		return resp, nil
	}))
	req := p.request(http.MethodPost, "/", nil)
	req.Trailer = http.Header{"X-Sum": nil}
	req.Body = newBody(late{strings.NewReader(payload), func() { req.Trailer.Set("X-Sum", "request") }})
	req.ContentLength = -1
	resp := p.must(rt, req)
	if arrived != "request" {
		p.errorf("the request's Trailer, set while its body was read, is %q at the base", arrived)
	}
	p.read(resp)
	if got := resp.Trailer.Get("X-Sum"); got != "response" {
		p.errorf("the response's Trailer is %q after its body has been read", got)
	}
}

// A key is for values in contexts.
type key struct{}

func (p *probe) contextValues() {
	base := &recorder{answer: p.rejectFirst}
	req, _ := p.post()
	p.must(p.wrap(base), req.WithContext(context.WithValue(p.ctx, key{}, "value")))
	for i, a := range base.list() {
		if a.Context().Value(key{}) != "value" {
			p.errorf("the context of attempt %d lacks the values of the caller's", i+1)
		}
	}
}
