package webserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A Backend is what a server stands before. It answers every request with the
// body it came with, and with the rest in a header field, see [EchoOf]. The query's
// parameters set are Set-Cookie fields of the answer. It stops with the test that
// started it.
type Backend struct {
	URL   string
	Roots *x509.CertPool // what to trust for https

	port     int
	requests atomic.Int64
}

// An Echo is a request as it reached a Backend.
type Echo struct {
	Method, URI, Host string
	Header            http.Header
}

const echoField = "X-Echo" // in JSON

// EchoOf returns what a Backend has said of the request that resp answers.
func EchoOf(resp *http.Response) (e Echo, err error) {
	err = json.Unmarshal([]byte(resp.Header.Get(echoField)), &e)
	return e, err
}

// NewBackend starts a Backend for http.
func NewBackend(tb testing.TB) *Backend { return newBackend(tb, "http") }

// NewTLSBackend starts a Backend for https, with a certificate of its own.
func NewTLSBackend(tb testing.TB) *Backend { return newBackend(tb, "https") }

func newBackend(tb testing.TB, scheme string) *Backend {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	b := &Backend{URL: scheme + "://" + l.Addr().String(), port: l.Addr().(*net.TCPAddr).Port}
	if scheme == "https" {
		cert := certificate(tb)
		b.Roots = x509.NewCertPool()
		b.Roots.AddCert(cert.Leaf)
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	// Not an httptest.Server: as one closes, it closes the idle connections of
	// http.DefaultTransport too, on which other tests may be about to send.
	srv := &http.Server{Handler: b, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	tb.Cleanup(func() { _ = srv.Close() })
	return b
}

// Requests returns how many requests have reached b.
func (b *Backend) Requests() int { return int(b.requests.Load()) }

// ServeHTTP implements [http.Handler].
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := json.Marshal(Echo{r.Method, r.RequestURI, r.Host, r.Header})
	if err != nil {
		panic(err) // strings can be marshalled
	}
	w.Header().Set(echoField, string(e))
	for _, field := range r.URL.Query()["set"] {
		w.Header().Add("Set-Cookie", field)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(body)
}

// certificate returns one for 127.0.0.1 that is its own authority.
func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
