package redisstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/redistest"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

const (
	name   = "authtrip:{alice}"
	ledger = name + ":ledger"
)

func record(n int) []byte { return fmt.Append(nil, "record ", n) }

// expect fails the test unless s has want; nil is none.
func expect(t *testing.T, s *redisstore.Store, want []byte) {
	t.Helper()
	got, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// signingOut is the context in which a Session saves the record of a sign-out.
func signingOut(t *testing.T) context.Context { return marks.WithSignOut(t.Context()) }

func TestStore(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	expect(t, s, nil)
	for _, want := range [][]byte{record(1), []byte("\x00\xff"), bytes.Repeat([]byte("x"), 1<<20), nil, record(2)} {
		if err := s.Save(ctx, want); err != nil {
			t.Fatal(err)
		}
		expect(t, another(s), want)
	}
	if got := s.Client.Get(ctx, name).Val(); got != string(record(2)) {
		t.Errorf("in Redis is %q, want the record as it is", got)
	}
	if err := s.Save(ctx, make([]byte, 1<<20+1)); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("too large a record: %v", err)
	}
	expect(t, s, record(2))
}

// The record of a sign-out goes after 30 days, any other stays, and numbers are there for
// as long as there is a record.
func TestExpiry(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	const days = 24 * time.Hour
	left := func(key string) time.Duration { return s.Client.PTTL(ctx, key).Val() }
	save := func(ctx context.Context) {
		t.Helper()
		if err := s.Save(ctx, record(1)); err != nil {
			t.Fatal(err)
		}
	}
	const forever = -1
	check := func(when string, record, numbers time.Duration) {
		t.Helper()
		for key, want := range map[string]time.Duration{name: record, ledger: numbers} {
			if got := left(key); got != want && (got > want || got < want-time.Hour) {
				t.Errorf("%s: %s lasts for %v, want %v", when, key, got, want)
			}
		}
	}
	lock(t, s)()
	check("before there is a record", -2, days)
	save(ctx)
	check("a record", forever, forever)
	lock(t, s)()
	check("a lock later", forever, forever)
	save(signingOut(t))
	check("a sign-out", 30*days, 31*days)
	if _, err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	lock(t, s)()
	check("a load and a lock later", 30*days, 31*days)
	save(ctx)
	check("a sign-in", forever, forever)
	unlock := lock(t, s)
	defer unlock()
	save(signingOut(t))
	check("a sign-out under the lock", 30*days, 31*days)
	if err := s.Client.Del(ctx, ledger).Err(); err != nil {
		t.Fatal(err)
	}
	save(ctx)
	check("numbers were lost", forever, forever)
}

// The names are a part of the interface: whoever sets up Redis goes by them.
func TestNames(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	tests := []struct{ key, want string }{
		{"alice", "authtrip:{alice}"},
		{"{a}b%c", "authtrip:{%7Ba%7Db%25c}"},
		{"}", "authtrip:{%7D}"},
	}
	for _, tt := range tests {
		s := &redisstore.Store{Client: s.Client, Key: tt.key}
		unlock, err := s.Lock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Save(ctx, record(1)); err != nil {
			t.Error(err)
		}
		if n := s.Client.Exists(ctx, tt.want, tt.want+":lock").Val(); n != 2 {
			t.Errorf("Key %q is not in %s and %[2]s:lock; there are %v", tt.key, tt.want, s.Client.Keys(ctx, "*").Val())
		}
		unlock()
	}
}

// What is in Redis is not trusted further than it goes, and not printed.
func TestLoadRefuses(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	if err := s.Client.Set(ctx, name, "s3cret"+strings.Repeat("x", 1<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load(ctx)
	if !errors.Is(err, tokensource.ErrUnreadable) || !strings.Contains(err.Error(), "larger than 1 MiB") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	// It can be replaced.
	if err := s.Save(ctx, record(1)); err != nil {
		t.Fatal(err)
	}
	expect(t, s, record(1))
	// A value of another type is another program's, and stays.
	if err := s.Client.Del(ctx, name).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.HSet(ctx, name, "a", "s3cret").Err(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Load(ctx)
	for what, err := range map[string]error{"Load": err, "Save": s.Save(ctx, record(2)), "Save of a sign-out": s.Save(signingOut(t), record(2))} {
		if err == nil || errors.Is(err, tokensource.ErrUnreadable) || !strings.Contains(err.Error(), "WRONGTYPE") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := s.Client.HGet(ctx, name, "a").Val(); got != "s3cret" {
		t.Errorf("the other program's value is %q", got)
	}
}

func TestErrors(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for _, key := range []string{"authtrip:{other}", "authtrip:{other}:ledger"} {
		if err := s.Client.HSet(ctx, key, "a", "b").Err(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		store *redisstore.Store
		want  string
	}{
		{"no client", &redisstore.Store{Key: "alice"}, "Store.Client is nil"},
		{"no key", &redisstore.Store{Client: s.Client}, "Store.Key is empty"},
		{"another type", &redisstore.Store{Client: s.Client, Key: "other"}, "WRONGTYPE"},
	}
	if real != "" {
		locked := redistest.Start(t, "requirepass s3cret")
		master := redistest.Start(t)
		tests = append(tests, []struct {
			name  string
			store *redisstore.Store
			want  string
		}{
			{"no password", &redisstore.Store{Client: connect(t, &redis.Options{Addr: locked.Addr}), Key: "alice"}, "NOAUTH"},
			{"wrong password", &redisstore.Store{Client: connect(t, &redis.Options{Addr: locked.Addr, Password: "wr0ng"}), Key: "alice"}, "WRONGPASS"},
			{"read-only", &redisstore.Store{Client: connect(t, &redis.Options{Addr: master.Replica(t, "replica-serve-stale-data yes").Addr}), Key: "alice"}, "READONLY"},
		}...)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.store.Lock(ctx)
			_, loadErr := tt.store.Load(ctx)
			for what, err := range map[string]error{"Lock": err, "Load": loadErr, "Save": tt.store.Save(ctx, record(1))} {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s: %v, want %q", what, err, tt.want)
				}
			}
		})
	}
}

// A server that does not answer holds nobody past the end of their context, although
// the client has a patience of its own.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &redisstore.Store{Client: connect(t, &redis.Options{Addr: l.Addr().String(), ReadTimeout: time.Hour}), Key: "alice"}
	calls := map[string]func(context.Context) error{
		"Load": func(ctx context.Context) error { _, err := s.Load(ctx); return err },
		"Lock": func(ctx context.Context) error { _, err := s.Lock(ctx); return err },
		"Save": func(ctx context.Context) error { return s.Save(ctx, record(1)) },
		"Watch": func(ctx context.Context) error {
			return s.Watch(ctx, func(context.Context) error { t.Error("heard something"); return nil })
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	s := newStore(t)
	if err := s.Save(t.Context(), []byte("s3cret")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%x", s), string(text)} {
		if strings.Trim(got, `"`) != "redisstore.Store(authtrip:{alice})" {
			t.Errorf("printed as %s", got)
		}
	}
}

func TestReplicas(t *testing.T) {
	onlyReal(t)
	master := redistest.Start(t)
	replica := master.Replica(t)
	s := &redisstore.Store{Client: connect(t, &redis.Options{Addr: master.Addr}), Key: "alice", Replicas: 1}
	until(t, "the replica has become one", func() bool { return s.Save(t.Context(), record(1)) == nil })
	expect(t, s, record(1))
	replica.Stop()
	if err := s.Save(t.Context(), record(2)); err == nil || !strings.Contains(err.Error(), "0 of 1 replicas have confirmed it") {
		t.Errorf("without a replica: %v", err)
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": master.Addr}})
	defer ring.Close()
	s.Client = ring
	if err := s.Save(t.Context(), record(3)); err == nil || !strings.Contains(err.Error(), "a *redis.Ring does not tell of replicas") {
		t.Errorf("by a Ring: %v", err)
	}
}

// lockLater takes the lock when it is free, and gives it up.
func lockLater(t *testing.T, s *redisstore.Store) <-chan error {
	done := make(chan error)
	go func() {
		for {
			unlock, err := s.Lock(t.Context())
			if errors.Is(err, tokensource.ErrChanged) {
				continue
			}
			if err == nil {
				unlock()
			}
			done <- err
			return
		}
	}()
	return done
}

// do sends a command to a server of a test until it answers with want.
func do(t *testing.T, s *redistest.Server, command, want string) {
	t.Helper()
	until(t, command+" answers "+want, func() bool {
		answer, err := s.Do(command)
		return err == nil && strings.HasPrefix(answer, want)
	})
}

// In a Redis Cluster all keys are in one slot. The master answers, whatever the client
// prefers.
func TestCluster(t *testing.T) {
	onlyReal(t)
	master, replica := redistest.Start(t, "cluster-enabled yes"), redistest.Start(t, "cluster-enabled yes")
	do(t, master, "CLUSTER ADDSLOTSRANGE 0 16383", "+OK")
	do(t, master, "SET x y", "+OK")
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{master.Addr}, RouteRandomly: true})
	defer client.Close()
	id := client.ClusterMyID(t.Context()).Val()
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	do(t, replica, "CLUSTER MEET "+host+" "+port, "+OK")
	do(t, replica, "CLUSTER REPLICATE "+id, "+OK")
	until(t, "the client knows the replica", func() bool {
		client.ReloadState(t.Context())
		n := 0
		err := client.ForEachSlave(t.Context(), func(context.Context, *redis.Client) error { n++; return nil })
		return err == nil && n == 1
	})
	for _, key := range []string{"alice", "{", "}", "{}", "a}b{c"} {
		s := &redisstore.Store{Client: client, Key: key, Replicas: 1}
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting := lockLater(t, another(s))
		until(t, "a replica has confirmed", func() bool { return s.Save(t.Context(), record(1)) == nil })
		unlock()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		for range 20 {
			expect(t, s, record(1))
		}
	}
	other := connect(t, &redis.Options{Addr: replica.Addr})
	for _, command := range []string{"get", "getex", "evalsha", "eval"} {
		if stats := other.Info(t.Context(), "commandstats").Val(); strings.Contains(stats, "cmdstat_"+command+":") {
			t.Errorf("the replica has answered %s:\n%s", command, stats)
		}
	}
	s := &redisstore.Store{Client: client, Key: "alice", Replicas: 2}
	if err := s.Save(t.Context(), record(2)); err == nil || !strings.Contains(err.Error(), "1 of 2 replicas") {
		t.Errorf("with one replica: %v", err)
	}
}

// The user whom the documentation describes can do all of it.
func TestLeastPrivilege(t *testing.T) {
	onlyReal(t)
	server := redistest.Start(t)
	answer, err := server.Do("ACL SETUSER authtrip on >s3cret resetkeys ~authtrip:* resetchannels &authtrip:* -@all " +
		"+eval +evalsha +get +set +del +pttl +pexpire +persist +hget +hset +hdel +hexists +time " +
		"+publish +subscribe +unsubscribe +ping +hello +wait")
	if err != nil || answer != "+OK" {
		t.Fatal(answer, err)
	}
	s := &redisstore.Store{Client: connect(t, &redis.Options{Addr: server.Addr, Username: "authtrip", Password: "s3cret"}), Key: "alice", LockTTL: time.Minute}
	cycle := func(s *redisstore.Store) {
		t.Helper()
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting := lockLater(t, another(s))
		if err := s.Save(t.Context(), record(1)); err != nil {
			t.Error(err)
		}
		expect(t, s, record(1))
		if err := s.Save(signingOut(t), record(2)); err != nil {
			t.Error(err)
		}
		unlock()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	}
	cycle(s)
	log, err := server.Do("ACL LOG")
	if err != nil || log != "*0" {
		t.Errorf("Redis has refused something: %s, %v", log, err)
	}
	if err := s.Client.Get(t.Context(), "other").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another's key: %v", err)
	}
	// Where it may not subscribe nor publish, it looks from time to time.
	if answer, err := server.Do("ACL SETUSER authtrip resetchannels -subscribe -publish"); err != nil || answer != "+OK" {
		t.Fatal(answer, err)
	}
	cycle(s)
}
