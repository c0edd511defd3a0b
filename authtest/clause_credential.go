package authtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// meet sends a request that is accepted and returns the decorator that it went
// through, when a credential has been seen. Else the clause does not apply.
func (p *probe) meet() http.RoundTripper {
	base := &recorder{answer: accept}
	rt := p.decorator(base)
	req, _ := p.post()
	asked := req.Clone(p.ctx) // some modify the request itself
	p.read(p.must(rt, req))
	var seen strings.Builder
	for _, a := range base.list() {
		seen.WriteString(p.credential(asked, a.Request))
	}
	switch {
	case seen.String() != "":
		return rt
	case len(p.secrets) > 0:
		p.fatalf("no credential was sent to %s", p.origin)
	}
	p.skipf("no credential was seen; Secret tells what to look for")
	return nil
}

// chains returns chains of redirects. All but the first hop of each are for
// others; of the last, so is the way back.
func (p *probe) chains() []chain {
	u, _ := url.Parse(p.origin)
	host, port := u.Hostname(), "8443"
	if u.Port() == port {
		port = "9443"
	}
	return []chain{
		{"to another host", []string{"https://example.net", "https://example.net"}},
		{"to another port", []string{"https://" + host + ":" + port}},
		{"to a subdomain", []string{"https://sub." + u.Host}},
		{"to plain http", []string{"http://" + u.Host}},
		{"to a name that begins alike", []string{"https://" + host + ".example.net"}},
		{"to a URL with the host as a user", []string{"https://" + host + "@example.net"}},
		{"to a host that wants credentials", []string{"https://" + greedy}},
		{"there and back", []string{"https://example.net", p.origin}},
	}
}

type chain struct {
	name string
	hops []string
}

const greedy = "greedy.example.net"

func (p *probe) redirects() {
	p.meet()
	for _, c := range p.chains() {
		var mu sync.Mutex
		given := map[string]*http.Request{} // to the decorator, by path
		rt := p.decorator(base(func(req *http.Request) (*http.Response, error) {
			if req.Body != nil {
				req.Body.Close()
			}
			mu.Lock()
			asked := given[req.URL.Path]
			mu.Unlock()
			var n int
			if _, err := fmt.Sscanf(req.URL.Path, redirected+"%d", &n); err == nil && asked != nil {
				if place := p.credential(asked, req); place != "" {
					p.errorf("%s: redirected to %s, the request has a credential in %s", c.name, strings.Join(c.hops[:n], " and "), place)
				}
				if req.URL.Hostname() == greedy {
					return p.reject(req, http.NoBody), nil
				}
			}
			resp := respond(req, http.StatusOK, "")
			if n < len(c.hops) {
				resp.StatusCode = http.StatusFound
				resp.Header.Set("Location", fmt.Sprint(c.hops[n], redirected, n+1))
			}
			return resp, nil
		}))
		client := &http.Client{Transport: base(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			given[req.URL.Path] = req.Clone(p.ctx)
			mu.Unlock()
			return rt.RoundTrip(req)
		})}
		// What the client makes of the last answer is its own affair.
		resp, err := p.roundTrip(clientTripper{client}, p.request(http.MethodGet, "/first", nil))
		if err == nil {
			p.read(resp)
		}
	}
}

func (p *probe) plainHTTP() {
	p.meet()
	base := &recorder{answer: accept}
	rt := p.decorator(base)
	req, _ := p.post()
	req.URL.Scheme = "http"
	asked := req.Clone(p.ctx)
	_, _ = p.roundTrip(rt, req)
	for _, a := range base.list() {
		if place := p.credential(asked, a.Request); place != "" {
			p.errorf("a request for http://%s was sent with a credential in %s", req.URL.Host, place)
		}
	}
}

func (p *probe) secretInErrors() {
	p.meet()
	check := func(when string, err error) {
		if err == nil {
			return
		}
		for _, format := range []string{"%v", "%+v", "%q"} {
			if text := fmt.Sprintf(format, err); p.tells(text) {
				p.errorf("%s: the error has the credential in it: %s", when, text)
				return
			}
		}
	}
	for _, r := range p.refusals() {
		check(r.when, r.err)
	}
	req, _ := p.post()
	_, err := p.roundTrip(p.decorator(&recorder{answer: fails}), req)
	check("the base has failed", err)
	req, _ = p.post()
	_, err = p.roundTrip(clientTripper{&http.Client{Transport: p.decorator(&recorder{answer: fails})}}, req)
	check("the base of an http.Client has failed", err)
	ctx, cancel := context.WithCancel(p.ctx)
	entered := make(chan struct{}, 100)
	req, _ = p.post()
	c := start(p.decorator(hanging(entered)), req.WithContext(ctx))
	p.enter(entered, c)
	cancel()
	_, err = p.wait(c)
	check("the context has ended", err)
}

func (p *probe) secretInPrinting() {
	rt := p.meet()
	check := func(how, what string) {
		if !p.tells(what) {
			return
		}
		what = p.redact(what)
		p.errorf("%s prints the credential: %.100s", how, what[max(0, strings.Index(what, redaction)-40):])
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		check(format, fmt.Sprintf(format, rt))
	}
	if text, err := json.Marshal(rt); err == nil {
		check("encoding/json", string(text))
	}
	var text, lines bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("", "transport", rt)
	check("slog.TextHandler", text.String())
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("", "transport", rt)
	check("slog.JSONHandler", lines.String())
}
