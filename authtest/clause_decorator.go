package authtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

func (p *probe) closeIdleConnections() {
	base := &recorder{answer: accept}
	(&http.Client{Transport: p.wrap(base)}).CloseIdleConnections()
	base.mu.Lock()
	defer base.mu.Unlock()
	if base.idle == 0 {
		p.errorf("the base was not told")
	}
}

func (p *probe) nilBase() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.skipf("no loopback: %v", err)
	}
	srv := &http.Server{ReadHeaderTimeout: p.patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.challenge != "" && r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", p.challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "http://"+l.Addr().String()+"/", nil)
	if err != nil {
		p.fatalf("%v", err)
	}
	if resp := p.must(p.wrap(nil), req); resp.StatusCode != http.StatusOK {
		p.errorf("the status is %d", resp.StatusCode)
	} else {
		p.read(resp)
	}
}

func (p *probe) concurrentUse() {
	const callers = 50
	var (
		mu       sync.Mutex
		inside   int
		revoked  string // the first credential seen
		together = make(chan struct{})
	)
	rt := p.decorator(&recorder{answer: func(_ int, req *http.Request) (*http.Response, error) {
		mu.Lock()
		if inside++; inside == callers {
			close(together)
		}
		credential := req.Header.Get("Authorization")
		if inside == 1 {
			revoked = credential
		}
		rejected := credential != "" && credential == revoked
		mu.Unlock()
		// They meet here, unless the decorator lets in one at a time.
		meeting := time.NewTimer(100 * time.Millisecond)
		defer meeting.Stop()
		select {
		case <-together:
		case <-meeting.C:
		}
		if rejected {
			return p.reject(req, strings.NewReader("rejected "+req.URL.Path)), nil
		}
		return respond(req, http.StatusOK, "accepted "+req.URL.Path), nil
	}})
	var all sync.WaitGroup
	for i := range callers {
		path := fmt.Sprintf("/caller/%d", i)
		req, _ := p.post()
		req.URL.Path = path
		c := start(rt, req)
		all.Go(func() {
			late := time.NewTimer(p.patience)
			defer late.Stop()
			select {
			case o := <-c:
				p.ownAnswer(path, o)
			case <-late.C:
				p.errorf("%s: RoundTrip has not returned after %v", path, p.patience)
			}
		})
	}
	all.Wait()
}

func (p *probe) ownAnswer(path string, o outcome) {
	if problem := o.problem(); problem != "" {
		p.errorf("%s: %s", path, problem)
		return
	}
	content, _ := io.ReadAll(io.LimitReader(o.resp.Body, 100))
	o.resp.Body.Close()
	if _, whose, _ := strings.Cut(string(content), " "); whose != path {
		p.errorf("%s: the response is that of %q", path, whose)
	}
}

func (p *probe) panicInBase() {
	base := &recorder{answer: func(n int, req *http.Request) (*http.Response, error) {
		if n == 0 {
			panic("authtest: a panic in the base")
		}
		return accept(n, req)
	}}
	rt := p.decorator(base)
	req, _ := p.post()
	if !p.settled(start(rt, req)) {
		p.fatalf("RoundTrip has not returned after %v", p.patience)
	}
	req, _ = p.post()
	ctx, cancel := context.WithTimeout(p.ctx, p.patience)
	defer cancel()
	if !p.settled(start(rt, req.WithContext(ctx))) || ctx.Err() != nil {
		p.fatalf("the request after the panic has not returned after %v", p.patience)
	}
	if len(base.list()) < 2 {
		p.errorf("the request after the panic has not been sent")
	}
}

// settled reports whether an outcome came in time, whatever it is.
func (p *probe) settled(c <-chan outcome) bool {
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case <-c:
		return true
	case <-late.C:
		return false
	}
}
