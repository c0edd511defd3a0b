package redisstore_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/authtrip/authtrip/internal/redistest"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/redis/go-redis/v9"
)

// real is what redis-server says of itself; empty if the tests use miniredis.
var real = redistest.Installed()

func TestMain(m *testing.M) {
	switch {
	case os.Getenv("AUTHTRIP_REDIS") == "miniredis":
		real = ""
	case real == "" && os.Getenv("AUTHTRIP_SERVERS") == "required":
		fmt.Println("redis-server is not installed, and AUTHTRIP_SERVERS=required")
		os.Exit(1)
	}
	if real != "" {
		fmt.Println("against", real)
	} else {
		fmt.Println("against miniredis: some tests are for a real redis-server only")
	}
	os.Exit(m.Run())
}

func onlyReal(t *testing.T) {
	t.Helper()
	if real == "" {
		t.Skip("for a real redis-server only")
	}
}

// A server is one that can go away and come back.
type server interface {
	Stop()
	Restart()
}

type mini struct {
	*miniredis.Miniredis
	t *testing.T
}

func (m mini) Stop() { m.Close() }

func (m mini) Restart() {
	m.t.Helper()
	if err := m.Miniredis.Restart(); err != nil {
		m.t.Fatal(err)
	}
}

// start returns a server and a client for it.
func start(t *testing.T) (server, *redis.Client) {
	t.Helper()
	if real != "" {
		s := redistest.Start(t)
		return s, connect(t, &redis.Options{Addr: s.Addr})
	}
	m := miniredis.RunT(t)
	m.ClockTTL(true)
	return mini{m, t}, connect(t, &redis.Options{Addr: m.Addr()})
}

func connect(t *testing.T, o *redis.Options) *redis.Client {
	t.Helper()
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newStore returns a Store on a server of its own.
func newStore(t *testing.T) *redisstore.Store {
	t.Helper()
	_, client := start(t)
	return &redisstore.Store{Client: client, Key: "alice"}
}

// another returns a Store that shares s's identity, as one of another process.
func another(s *redisstore.Store) *redisstore.Store {
	return &redisstore.Store{Client: s.Client, Key: s.Key, LockTTL: s.LockTTL}
}
