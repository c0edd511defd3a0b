package memnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/internal/memnet"
)

func TestListener(t *testing.T) {
	for _, secure := range []bool{false, true} {
		name := map[bool]string{false: "http", true: "https"}[secure]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := memnet.Listen()
				ca, err := memnet.NewAuthority()
				if err != nil {
					t.Fatal(err)
				}
				srv := &http.Server{
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(time.Hour)
						_, _ = io.WriteString(w, r.Proto+" "+r.Host)
					}),
					TLSConfig: &tls.Config{GetCertificate: ca.Certificate},
				}
				go func() {
					if secure {
						_ = srv.ServeTLS(l, "", "")
					} else {
						_ = srv.Serve(l)
					}
				}()
				defer srv.Close()
				client := &http.Client{Transport: &http.Transport{
					DialContext: l.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true,
				}}
				defer client.CloseIdleConnections()
				want := map[string]string{"http": "HTTP/1.1 ", "https": "HTTP/2.0 "}[name]
				for _, host := range []string{"api.example.com", "127.0.0.1", "other.example.net", "api.example.com"} {
					resp, err := client.Get(name + "://" + host + "/")
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(body) != want+host {
						t.Errorf("%s answers %q, %v", host, body, err)
					}
				}
			})
		})
	}
}

func TestDialFails(t *testing.T) {
	l := memnet.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := l.DialContext(ctx, "tcp", "x:80"); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v, %v", c, err)
	}
	l.Close()
	l.Close()
	if c, err := l.DialContext(t.Context(), "tcp", "x:80"); c != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v, %v", c, err)
	}
	if c, err := l.Accept(); c != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, %v", c, err)
	}
	if got := l.Addr().Network() + " " + l.Addr().String(); got != "memory memory" {
		t.Errorf("Addr is %s", got)
	}
}
