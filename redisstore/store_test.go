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

	"github.com/authtrip/authtrip/internal/redistest"
	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

const hash = "authtrip:{alice}"

var (
	key1 = bytes.Repeat([]byte{1}, 32)
	key2 = bytes.Repeat([]byte{2}, 32)
)

func token(n int) *oauth2.Token {
	return &oauth2.Token{AccessToken: fmt.Sprint("access-", n), RefreshToken: fmt.Sprint("refresh-", n)}
}

// expect fails the test unless s has want; nil is none.
func expect(t *testing.T, s *redisstore.Store, want *oauth2.Token) {
	t.Helper()
	got, err := s.Load(t.Context())
	if want == nil && errors.Is(err, tokensource.ErrNoToken) {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(oauth2.Token{})); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestStore(t *testing.T) {
	for name, keys := range map[string][][]byte{"plain": nil, "sealed": {key1}} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newStore(t), t.Context()
			s.Seal = keys
			expect(t, s, nil)
			if err := s.Clear(ctx); err != nil {
				t.Errorf("clearing what is not there: %v", err)
			}
			want := &oauth2.Token{
				AccessToken: "access", TokenType: "Bearer", RefreshToken: "refresh",
				Expiry: time.Date(2026, 11, 26, 12, 0, 0, 5, time.UTC), ExpiresIn: 60,
			}
			if err := s.Save(ctx, want); err != nil {
				t.Fatal(err)
			}
			expect(t, another(s), want)
			if left := s.Client.PTTL(ctx, hash).Val(); left != -1 {
				t.Errorf("what is saved lasts for %v", left)
			}
			stored := s.Client.HGet(ctx, hash, "token").Val()
			if sealed := !strings.Contains(stored, "refresh"); sealed != (keys != nil) {
				t.Errorf("stored %q", stored)
			}
			if err := s.Clear(ctx); err != nil {
				t.Fatal(err)
			}
			expect(t, s, nil)
			if left := s.Client.PTTL(ctx, hash).Val(); left <= 0 {
				t.Errorf("what is left of it lasts for %v", left)
			}
			if err := s.Save(ctx, token(2)); err != nil {
				t.Fatal(err)
			}
			expect(t, s, token(2))
			if left := s.Client.PTTL(ctx, hash).Val(); left != -1 {
				t.Errorf("what is saved again lasts for %v", left)
			}
		})
	}
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
		if err := s.Save(ctx, token(1)); err != nil {
			t.Error(err)
		}
		if n := s.Client.Exists(ctx, tt.want, tt.want+":lock").Val(); n != 2 {
			t.Errorf("Key %q is not in %s and %[2]s:lock; there are %v", tt.key, tt.want, s.Client.Keys(ctx, "*").Val())
		}
		unlock()
	}
}

func TestSealRotation(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	s.Seal = [][]byte{key1}
	if err := s.Save(ctx, token(1)); err != nil {
		t.Fatal(err)
	}
	both := another(s)
	both.Seal = [][]byte{key2, key1}
	expect(t, both, token(1))
	if err := both.Save(ctx, token(2)); err != nil {
		t.Fatal(err)
	}
	second := another(s)
	second.Seal = [][]byte{key2}
	expect(t, second, token(2))
	if _, err := s.Load(ctx); err == nil || !strings.Contains(err.Error(), "no key of Seal unseals it") {
		t.Errorf("by the old key: %v", err)
	}
	// One sealing never looks like another.
	before := s.Client.HGet(ctx, hash, "token").Val()
	if err := second.Save(ctx, token(2)); err != nil {
		t.Fatal(err)
	}
	if after := s.Client.HGet(ctx, hash, "token").Val(); after == before {
		t.Error("sealed twice alike")
	}
}

// What is in Redis is not trusted further than it goes, and not printed.
func TestLoadRefuses(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	sealedBy := func(key string) string {
		other := &redisstore.Store{Client: s.Client, Key: key, Seal: [][]byte{key1}}
		if err := other.Save(ctx, &oauth2.Token{AccessToken: "s3cret"}); err != nil {
			t.Fatal(err)
		}
		return s.Client.HGet(ctx, "authtrip:{"+key+"}", "token").Val()
	}
	own, bobs := sealedBy("alice"), sealedBy("bob")
	tests := []struct {
		name, stored string
		keys         [][]byte
		want         string
	}{
		{"empty", "", nil, "no token in JSON"},
		{"not JSON", "s3cret", nil, "no token in JSON"},
		{"not a token", `{"access_token":{"s3cret":1}}`, nil, "no token in JSON"},
		{"huge", `{"access_token":"s3cret` + strings.Repeat("x", 1<<20) + `"}`, nil, "longer than 1048576 bytes"},
		{"sealed", own, nil, "Seal has no key"},
		{"not sealed", `{"access_token":"s3cret"}`, [][]byte{key1}, "not sealed"},
		{"sealed by another key", own, [][]byte{key2}, "no key of Seal unseals it"},
		{"another's", bobs, [][]byte{key1}, "no key of Seal unseals it"},
		{"cut off", own[:len(own)-1], [][]byte{key1}, "no key of Seal unseals it"},
		{"nonce cut off", own[:20], [][]byte{key1}, "not sealed"},
		{"changed", own[:len(own)-1] + "x", [][]byte{key1}, "no key of Seal unseals it"},
		{"short key", own, [][]byte{key2, key1[:16]}, "key 2 of Seal has 16 bytes, want 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := another(s)
			s.Seal = tt.keys
			if err := s.Client.HSet(ctx, hash, "token", tt.stored).Err(); err != nil {
				t.Fatal(err)
			}
			got, err := s.Load(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), hash) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, %v; want %q", got, err, tt.want)
			}
			if errors.Is(err, tokensource.ErrNoToken) {
				t.Error("it counts as none")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	if err := s.Client.Set(ctx, "authtrip:{string}", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		store *redisstore.Store
		want  string
	}{
		{"no client", &redisstore.Store{Key: "alice"}, "Store.Client is nil"},
		{"no key", &redisstore.Store{Client: s.Client}, "Store.Key is empty"},
		{"another type", &redisstore.Store{Client: s.Client, Key: "string"}, "WRONGTYPE"},
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
			for what, err := range map[string]error{"Lock": err, "Save": tt.store.Save(ctx, token(1)), "Clear": tt.store.Clear(ctx)} {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s: %v, want %q", what, err, tt.want)
				}
			}
		})
	}
	s.Seal = [][]byte{key1[:31]}
	if err := s.Save(ctx, token(1)); err == nil || !strings.Contains(err.Error(), "key 1 of Seal has 31 bytes, want 32") {
		t.Errorf("short key: %v", err)
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
		"Load":  func(ctx context.Context) error { _, err := s.Load(ctx); return err },
		"Lock":  func(ctx context.Context) error { _, err := s.Lock(ctx); return err },
		"Save":  func(ctx context.Context) error { return s.Save(ctx, token(1)) },
		"Clear": s.Clear,
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
	s.Seal = [][]byte{[]byte("s3cret-s3cret-s3cret-s3cret-s3c-")}
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
	// It takes a moment to become one.
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.Save(t.Context(), token(1))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	expect(t, s, token(1))
	replica.Stop()
	if err := s.Save(t.Context(), token(2)); err == nil || !strings.Contains(err.Error(), "0 of 1 replicas have confirmed it") {
		t.Errorf("without a replica: %v", err)
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": master.Addr}})
	defer ring.Close()
	s.Client = ring
	if err := s.Save(t.Context(), token(3)); err == nil || !strings.Contains(err.Error(), "a *redis.Ring does not tell of replicas") {
		t.Errorf("by a Ring: %v", err)
	}
}

// lockLater takes the lock when it is free, and gives it up.
func lockLater(t *testing.T, s *redisstore.Store) <-chan error {
	done := make(chan error)
	go func() {
		unlock, err := s.Lock(t.Context())
		if err == nil {
			unlock()
		}
		done <- err
	}()
	return done
}

func TestCluster(t *testing.T) {
	onlyReal(t)
	node := redistest.Start(t, "cluster-enabled yes")
	if _, err := node.Do("CLUSTER ADDSLOTSRANGE 0 16383"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if answer, err := node.Do("SET x y"); err == nil && answer == "+OK" {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(answer, err)
		}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{node.Addr}, RouteRandomly: true})
	defer client.Close()
	for _, key := range []string{"alice", "{", "}", "{}", "a}b{c"} {
		s := &redisstore.Store{Client: client, Key: key}
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting := lockLater(t, another(s))
		if err := s.Save(t.Context(), token(1)); err != nil {
			t.Error(err)
		}
		unlock()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		expect(t, s, token(1))
	}
	s := &redisstore.Store{Client: client, Key: "alice", Replicas: 1}
	if err := s.Save(t.Context(), token(2)); err == nil || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("without a replica: %v", err)
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
		if err := s.Save(t.Context(), token(1)); err != nil {
			t.Error(err)
		}
		expect(t, s, token(1))
		if err := s.Clear(t.Context()); err != nil {
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

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"access_token":"x"}`), false)
	f.Add(append([]byte{1}, make([]byte, 60)...), true)
	var stored []byte
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
	defer client.Close()
	client.AddHook(answers(func() []byte { return stored }))
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		stored = b
		s := &redisstore.Store{Client: client, Key: "alice"}
		if sealed {
			s.Seal = [][]byte{key1}
		}
		got, err := s.Load(t.Context())
		if (got == nil) == (err == nil) {
			t.Errorf("%v, %v", got, err)
		}
		if err == nil && sealed {
			t.Errorf("unsealed %q", b)
		}
	})
}

// answers has every command answered by what it returns.
type answers func() []byte

func (answers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a answers) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.(*redis.Cmd).SetVal(string(a()))
		return nil
	}
}

func (answers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
