// Package memnet is a network inside the process, for tests: listeners without
// sockets, which work under the fake time of testing/synctest, and certificates
// for whatever host they are asked for.
package memnet

import (
	"context"
	"net"
	"sync"
)

// A Listener accepts the connections that its DialContext makes. One made in a
// synctest bubble belongs to it.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once // closes closed
}

// Listen returns a new Listener.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. Connections that are open stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return addr{} }

// DialContext connects to l, whatever address it is given. It is for
// [net/http.Transport].
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	var err error
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &net.OpError{Op: "dial", Net: "memory", Addr: addr{}, Err: err}
}

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }
