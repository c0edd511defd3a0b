package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
)

const (
	// maxRecord bounds a record, in bytes.
	maxRecord = 1 << 20

	// signOutTTL is how long the record of a sign-out is kept. A process that has not
	// asked for a token for longer than that does not learn of the sign-out here.
	signOutTTL = 30 * 24 * time.Hour

	replicasTimeout = time.Second
)

// ErrFenced says that Save has saved nothing. Another process has taken the lock and
// saved a record since: this process was stopped, or cut off from Redis, for longer than
// LockTTL.
var ErrFenced = errors.New("redisstore: another process has saved since")

// A Store is a [tokensource.Store] and a [tokensource.Locker] over Redis.
//
//	store := &redisstore.Store{Client: client, Key: "billing"}
//
// Wrap it in [tokensource.Sealed] to encrypt the record.
//
// A Store must not be copied after first use. All methods are safe for concurrent use
// by multiple goroutines. They return by the end of their context even if the client
// does not. Fields must not be modified after the first call of a method.
type Store struct {
	// Client is for a single server, Sentinel or Cluster. It is required. The Store does
	// not close it.
	Client redis.UniversalClient

	// Key names the identity. It is required. It is not a secret: it is a part of the
	// names in Redis, and of errors.
	Key string

	// LockTTL is how long the lock outlives a process that was killed. Zero means 5
	// seconds. A process that is alive keeps its lock.
	LockTTL time.Duration

	// Replicas is how many replicas must confirm a record before Save returns. With
	// zero, a record that was just saved can be lost when a replica takes over. Replicas
	// needs a client for a single server, Sentinel or Cluster.
	Replicas int

	once   sync.Once
	locked chan struct{} // holds a value while this Store waits for the lock or has it

	mu     sync.Mutex
	number string // of the lock that this Store has; empty: none
}

var (
	_ tokensource.Store  = (*Store)(nil)
	_ tokensource.Locker = (*Store)(nil)
)

// Load returns the record, or nothing if there is none. The master answers, even if
// Client reads from replicas. A value of more than 1 MiB is not a record: the error then
// wraps [tokensource.ErrUnreadable].
func (s *Store) Load(ctx context.Context) ([]byte, error) {
	return do(ctx, s, "loading", func(ctx context.Context) ([]byte, error) {
		text, err := s.get(ctx, s.name())
		if len(text) > maxRecord {
			return nil, fmt.Errorf("%w: it is larger than %d MiB", tokensource.ErrUnreadable, maxRecord>>20)
		}
		return text, err
	})
}

// get returns the value of key, nil if there is none. GETEX is a command that may write,
// so each client sends it to the master. Without an option it writes nothing.
func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	const noOption = -1
	text, err := s.Client.GetEx(ctx, key, noOption).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return text, err
}

// Save replaces the record, under the number of the lock that this Store has. Without
// the lock, the record counts as the newest. If another process has saved under a higher
// number, the error is [ErrFenced].
//
// The record of a sign-out expires after 30 days. Any other record does not expire.
func (s *Store) Save(ctx context.Context, record []byte) error {
	if len(record) > maxRecord {
		return s.failed("saving", fmt.Errorf("the record is larger than %d MiB", maxRecord>>20))
	}
	var ttl time.Duration
	if marks.SignOut(ctx) {
		ttl = signOutTTL
	}
	s.mu.Lock()
	args := []any{s.number, record, ttl.Milliseconds(), day}
	s.mu.Unlock()
	saved, err := do(ctx, s, "saving", func(ctx context.Context) (int, error) {
		if s.Replicas > 0 {
			return s.saveAndWait(ctx, args)
		}
		return saveScript.Run(ctx, s.Client, s.saveKeys(), args...).Int()
	})
	if err == nil && saved == 0 {
		return ErrFenced
	}
	return err
}

func (s *Store) saveAndWait(ctx context.Context, args []any) (saved int, err error) {
	node, err := s.master(ctx)
	if err != nil {
		return 0, err
	}
	// WAIT is for what its own connection has written.
	pipe := node.Pipeline()
	save := saveScript.Eval(ctx, pipe, s.saveKeys(), args...)
	wait := pipe.Do(ctx, "WAIT", s.Replicas, replicasTimeout.Milliseconds())
	_, _ = pipe.Exec(ctx) // each has its own error
	if saved, err = save.Int(); saved == 0 || err != nil {
		return saved, err
	}
	n, err := wait.Int()
	if err == nil && n < s.Replicas {
		err = fmt.Errorf("%d of %d replicas have confirmed it", n, s.Replicas)
	}
	return saved, err
}

// master returns a client for the one server that writes Key.
func (s *Store) master(ctx context.Context) (*redis.Client, error) {
	switch c := s.Client.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, s.name())
	}
	return nil, fmt.Errorf("a %T does not tell of replicas", s.Client)
}

// inTag is for what would end the part of a name by which Redis Cluster chooses the
// slot, or begin it.
var inTag = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

// name is the name of the record, and of the channel.
func (s *Store) name() string       { return "authtrip:{" + inTag.Replace(s.Key) + "}" }
func (s *Store) lockName() string   { return s.name() + ":lock" }
func (s *Store) ledgerName() string { return s.name() + ":ledger" }

func (s *Store) saveKeys() []string { return []string{s.name(), s.ledgerName()} }

// check returns what is wrong with the fields.
func (s *Store) check() error {
	switch {
	case s.Client == nil:
		return errors.New("redisstore: Store.Client is nil")
	case s.Key == "":
		return errors.New("redisstore: Store.Key is empty")
	}
	return nil
}

// do returns what f does, and stops waiting for it when ctx ends: by default, go-redis
// goes by timeouts of its own, and tries again and again.
func do[T any](ctx context.Context, s *Store, what string, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		T   T
		err error
	}
	var none T
	if err := s.check(); err != nil {
		return none, err
	}
	if ctx.Err() != nil {
		return none, s.failed(what, ctx.Err())
	}
	done := make(chan outcome, 1)
	go func() {
		t, err := f(ctx)
		done <- outcome{t, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return none, s.failed(what, o.err)
		}
		return o.T, nil
	case <-ctx.Done():
		return none, s.failed(what, ctx.Err())
	}
}

func (s *Store) failed(what string, err error) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return fmt.Errorf("redisstore: %s %s: another program uses its keys; remove them or choose another Key: %w", what, s.name(), err)
	}
	return fmt.Errorf("redisstore: %s %s: %w", what, s.name(), err)
}

// Format implements [fmt.Formatter], for every verb with the names in Redis alone.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, s.text()) }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (s *Store) MarshalText() ([]byte, error) { return []byte(s.text()), nil }

func (s *Store) text() string { return "redisstore.Store(" + s.name() + ")" }
