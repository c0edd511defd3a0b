package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

const (
	// maxToken bounds what is taken for a token, ID token included.
	maxToken = 1 << 20

	replicasTimeout = time.Second
)

// ErrFenced says that nothing was saved, since another process has taken the lock
// and saved something newer: this one was stopped, or cut off from Redis, for longer
// than LockTTL.
var ErrFenced = errors.New("redisstore: another process has saved since")

// A Store is a [tokensource.Store] and a [tokensource.Locker] over Redis. It must
// not be copied after first use. All methods are safe for concurrent use by multiple
// goroutines, and return by the end of their context even if the client does not; the
// fields must not be modified after the first call of one.
type Store struct {
	// Client is one for a single server, Sentinel or Cluster. It is required, and
	// stays the caller's to close.
	Client redis.UniversalClient

	// Key names the identity. It is required. It is no secret: it is in the names
	// of Redis's keys, and in errors.
	Key string

	// Seal, if there is any, is keys of 32 bytes by which the token is encrypted
	// and authenticated (XChaCha20-Poly1305), together with Key: whoever can write to
	// Redis can then put an old token of the same Key in its place, but no other. The
	// first seals, all unseal: a new key goes first, and the old one may go
	// once all processes have the new one and the token was saved again. What
	// is there unsealed is refused until it is saved anew.
	Seal [][]byte

	// LockTTL is after how long the lock of a process that was killed is free for
	// others; zero means 5 seconds. While a process lives it keeps its lock.
	LockTTL time.Duration

	// Replicas is how many replicas must have confirmed what is saved before
	// Save returns. Zero is none: what was saved last may then be lost when a replica
	// takes over. It needs a client for a single server, Sentinel or Cluster.
	Replicas int

	once   sync.Once
	locked chan struct{} // holds a value while this Store waits for the lock or has it

	mu    sync.Mutex
	fence string // the number of the lock that is held; empty: none
}

var (
	_ tokensource.Store  = (*Store)(nil)
	_ tokensource.Locker = (*Store)(nil)
)

// Load returns what is saved, and [tokensource.ErrNoToken] if there is nothing.
func (s *Store) Load(ctx context.Context) (*oauth2.Token, error) {
	return do(ctx, s, "loading", func(ctx context.Context) (*oauth2.Token, error) {
		text, err := loadScript.Run(ctx, s.Client, []string{s.name()}).Text()
		switch {
		case errors.Is(err, redis.Nil):
			return nil, tokensource.ErrNoToken
		case err != nil:
			return nil, err
		case len(text) > maxToken:
			return nil, fmt.Errorf("it is longer than %d bytes", maxToken)
		}
		return s.decode([]byte(text))
	})
}

// decode's errors say nothing of what is in text.
func (s *Store) decode(text []byte) (*oauth2.Token, error) {
	text, err := unseal(s.Seal, s.name(), text)
	if err != nil {
		return nil, err
	}
	token := new(oauth2.Token)
	if json.Unmarshal(text, token) != nil {
		return nil, errors.New("it holds no token in JSON")
	}
	return token, nil
}

// Save replaces what is saved. It is done under the Lock that this Store holds;
// without one, it counts as the newest. The error is [ErrFenced] if it is not.
func (s *Store) Save(ctx context.Context, token *oauth2.Token) error {
	text, err := json.Marshal(token)
	if err == nil {
		text, err = seal(s.Seal, s.name(), text)
	}
	if err != nil {
		return s.failed("saving", err)
	}
	return s.write(ctx, "saving", text)
}

// Clear removes what is saved, by Save's rules. What is left for a day is the
// fencing number.
func (s *Store) Clear(ctx context.Context) error { return s.write(ctx, "clearing") }

// write has value saved, or none.
func (s *Store) write(ctx context.Context, what string, value ...any) error {
	s.mu.Lock()
	args := append([]any{s.fence}, value...)
	s.mu.Unlock()
	done, err := do(ctx, s, what, func(ctx context.Context) (int, error) {
		if s.Replicas > 0 {
			return s.writeAndWait(ctx, args)
		}
		return saveScript.Run(ctx, s.Client, []string{s.name()}, args...).Int()
	})
	if err == nil && done == 0 {
		return ErrFenced
	}
	return err
}

func (s *Store) writeAndWait(ctx context.Context, args []any) (done int, err error) {
	node, err := s.master(ctx)
	if err != nil {
		return 0, err
	}
	// WAIT is for what its own connection has written.
	pipe := node.Pipeline()
	save := saveScript.Eval(ctx, pipe, []string{s.name()}, args...)
	wait := pipe.Do(ctx, "WAIT", s.Replicas, replicasTimeout.Milliseconds())
	_, _ = pipe.Exec(ctx) // each has its own error
	if done, err = save.Int(); done == 0 || err != nil {
		return done, err
	}
	n, err := wait.Int()
	if err == nil && n < s.Replicas {
		err = fmt.Errorf("%d of %d replicas have confirmed it", n, s.Replicas)
	}
	return done, err
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

func (s *Store) name() string     { return "authtrip:{" + inTag.Replace(s.Key) + "}" }
func (s *Store) lockName() string { return s.name() + ":lock" }

// do returns what f does, and stops waiting for it when ctx ends: by default, go-redis
// goes by timeouts of its own, and tries again and again.
func do[T any](ctx context.Context, s *Store, what string, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		T   T
		err error
	}
	var none T
	switch {
	case s.Client == nil:
		return none, errors.New("redisstore: Store.Client is nil")
	case s.Key == "":
		return none, errors.New("redisstore: Store.Key is empty")
	case ctx.Err() != nil:
		return none, s.failed(what, ctx.Err())
	}
	done := make(chan outcome, 1)
	go func() {
		t, err := f(ctx)
		done <- outcome{t, err}
	}()
	select {
	case o := <-done:
		if o.err != nil && !errors.Is(o.err, tokensource.ErrNoToken) {
			o.err = s.failed(what, o.err)
		}
		return o.T, o.err
	case <-ctx.Done():
		return none, s.failed(what, ctx.Err())
	}
}

func (s *Store) failed(what string, err error) error {
	return fmt.Errorf("redisstore: %s %s: %w", what, s.name(), err)
}

// Format implements [fmt.Formatter], for every verb without keys.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, s.text()) }

// MarshalText implements [encoding.TextMarshaler], the same way.
func (s *Store) MarshalText() ([]byte, error) { return []byte(s.text()), nil }

func (s *Store) text() string { return "redisstore.Store(" + s.name() + ")" }
