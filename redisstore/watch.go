package redisstore

import (
	"cmp"
	"context"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"time"

	"github.com/authtrip/authtrip/internal/rescue"
	"github.com/redis/go-redis/v9"
)

const (
	// silence is how long nothing is heard before the connection is tested.
	silence = 30 * time.Second

	// Watch waits between two attempts for firstRetry, and longer each time, up to
	// lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Watch calls changed whenever a process has saved a record, until ctx ends. Use it to
// learn at once that somebody has signed in or out in another process:
//
//	go store.Watch(ctx, session.Reload)
//
// Without Watch, a Session learns of it when it needs its next token.
//
// Watch also calls changed when it begins to listen, and when it listens again after an
// interruption: a change may have gone unheard. Calls do not overlap. Changes during a
// call lead to one more call. If changed returns an error, Watch calls it again after a
// second, and then at growing intervals of up to a minute.
//
// Watch needs a connection of its own while it runs. It connects again if that
// fails. The error is that of ctx, unless listening is impossible: a field of the Store is
// missing, the client is closed, or Redis does not allow to subscribe (NOPERM).
func (s *Store) Watch(ctx context.Context, changed func(context.Context) error) error {
	if err := s.check(); err != nil {
		return err
	}
	if changed == nil {
		return errors.New("redisstore: Watch: changed is nil")
	}
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	news := make(chan struct{}, 1)
	go func() { stop(s.listenAlways(watching, news)) }()
	again := time.NewTimer(0)
	again.Stop()
	for retry := firstRetry; ; {
		select {
		case <-watching.Done():
			return s.failed("watching", cmp.Or(ctx.Err(), context.Cause(watching)))
		case <-news:
		case <-again.C:
		}
		if changed(watching) == nil {
			retry = firstRetry
			again.Stop()
			continue
		}
		again.Reset(retry)
		retry = min(2*retry, lastRetry)
	}
}

// listenAlways announces each save on news, and connects again whenever that fails. It
// returns why it cannot go on.
func (s *Store) listenAlways(ctx context.Context, news chan<- struct{}) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := s.listen(ctx, func(message string) {
			retry = firstRetry
			if message == "free" {
				return
			}
			select {
			case news <- struct{}{}:
			default: // changed is still to be called for an earlier one
			}
		})
		if errors.Is(err, redis.ErrClosed) || redis.IsPermissionError(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry/2 + mathrand.N(retry/2)): // not all at one moment
		}
	}
}

// listen subscribes, and passes each message to heard until ctx ends or the connection
// fails. The first is an empty one, when the subscription stands. listen may return
// later than ctx ends, by the client's timeouts.
func (s *Store) listen(ctx context.Context, heard func(message string)) error {
	return rescue.Do("redisstore: subscribing", func() error { // a Ring panics if it has no server
		sub := s.Client.Subscribe(ctx, s.name())
		// Closing is also how to end a subscription. UNSUBSCRIBE would be one more command.
		defer sub.Close()
		defer context.AfterFunc(ctx, func() { sub.Close() })()
		for tested := false; ; {
			message, err := sub.ReceiveTimeout(ctx, silence)
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !tested {
				tested, err = true, sub.Ping(ctx)
			} else {
				tested = false
			}
			if err != nil {
				return err
			}
			switch m := message.(type) {
			case *redis.Subscription:
				heard("")
			case *redis.Message:
				heard(m.Payload)
			}
		}
	})
}
