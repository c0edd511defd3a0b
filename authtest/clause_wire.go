package authtest

import (
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/authtrip/authtrip/internal/memnet"
)

// wire starts a server over TLS, and returns an http.Transport that reaches it
// under any name, and speaks the one protocol.
func (p *probe) wire(protocols http.Protocols, handler http.HandlerFunc) (base *http.Transport, stop func()) {
	ca, err := memnet.NewAuthority()
	if err != nil {
		p.fatalf("%v", err)
	}
	l := memnet.Listen()
	srv := &http.Server{
		Handler: handler, Protocols: &protocols, ReadHeaderTimeout: p.patience,
		TLSConfig: &tls.Config{GetCertificate: ca.Certificate}, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = srv.ServeTLS(l, "", "") }()
	base = &http.Transport{
		DialContext: l.DialContext, Protocols: &protocols,
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ExpectContinueTimeout: p.patience,
	}
	return base, func() {
		base.CloseIdleConnections()
		srv.Close()
	}
}

func (p *probe) http2() {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport, stop := p.wire(protocols, func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, r.Proto+" "+string(sent))
	})
	defer stop()
	rt := p.decorator(transport)
	var all [20]chan outcome
	for i := range all {
		req, _ := p.post()
		all[i] = start(rt, req)
	}
	for _, c := range all {
		resp := p.response(c)
		if got := p.read(resp); got != "HTTP/2.0 "+payload || resp.ProtoMajor != 2 {
			p.errorf("the response is %s %q", resp.Proto, got)
		}
	}
}

func (p *probe) expectContinue() {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	var attempts atomic.Int32
	transport, stop := p.wire(protocols, func(w http.ResponseWriter, r *http.Request) {
		n := attempts.Add(1)
		if r.Header.Get("Expect") != "100-continue" {
			p.errorf("attempt %d has no Expect: 100-continue", n)
		}
		if n == 1 {
			maps.Copy(w.Header(), p.rejection.header)
			w.WriteHeader(p.rejection.status)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	defer stop()
	req, b := p.post()
	var read atomic.Int32 // bodies
	for _, body := range b.all() {
		body.Reader = first{body.Reader, sync.OnceFunc(func() { read.Add(1) })}
	}
	req.Header.Set("Expect", "100-continue")
	resp := p.must(p.wrap(transport), req)
	content := p.read(resp)
	if read.Load() > 0 {
		p.errorf("the body was read although the server rejected the request without asking for it")
	}
	if attempts.Load() > 1 && (resp.StatusCode != http.StatusOK || content != payload) {
		p.errorf("the second attempt came to status %d, and the server got the body %q", resp.StatusCode, content)
	}
}

// first tells of the first Read.
type first struct {
	io.Reader
	tell func()
}

func (f first) Read(to []byte) (int, error) {
	f.tell()
	return f.Reader.Read(to)
}
