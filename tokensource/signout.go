package tokensource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authtrip/authtrip/internal/marks"
	"github.com/authtrip/authtrip/internal/rescue"
	"golang.org/x/oauth2"
)

// farewell bounds what SignOut does after its context has ended: it leaves no session
// behind that nobody has revoked.
const farewell = 5 * time.Second

// SignOut ends the session, here and in the Store, and has revoke revoke its tokens at
// the authorization server (RFC 7009). A nil revoke revokes nothing.
//
// The Session is signed out here at once. A renewal under way runs to its end, and
// what it brings is revoked. SignOut then waits for the Store's lock, until ctx ends
// or Timeout is over. It passes the newest token of all processes to revoke, and
// leaves a record in the Store that says "signed out". Other processes find it when
// they next need a new token, and return [ErrNoToken].
//
// Without the lock in time, SignOut saves that record, has the token known here
// revoked, and returns an error that says so. It also returns the errors of revoke and
// of the Store. The Session is signed out in each case.
func (s *Session) SignOut(ctx context.Context, revoke func(context.Context, *oauth2.Token) error) error {
	if marks.Of(ctx).Renewal(s) {
		return errReentry
	}
	d := &departure{revoke: revoke}
	start := time.Now()
	known, st := s.turn(nil, start, d)
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	err := s.leave(bounded, known, d)
	if idleErr := s.idle(bounded); idleErr == nil {
		err = joined(err, d.late)
	} else if err == nil {
		err = idleErr
	}
	s.settled(ctx, st.epoch, EventCleared, start, err)
	return err
}

// leave brings the sign-out into the Store, and has the newest token revoked. known is
// the state before.
func (s *Session) leave(ctx context.Context, known *state, d *departure) error {
	newest := known.token
	_, locks := s.Store.(Locker)
	unlock, lockErr := s.lock(ctx)
	if lockErr != nil {
		locks, lockErr = false, fmt.Errorf("tokensource: signed out without the lock, so that a renewal elsewhere may outlast this: %w", lockErr)
	} else {
		defer unlock()
	}
	if locks {
		stored, err := s.readAlone(ctx)
		switch {
		case errors.Is(err, ErrUnreadable):
			err = nil // what is in there cannot be revoked
		case err != nil:
			err = fmt.Errorf("tokensource: signed out, but the Store's token may not be revoked: %w", err)
		default:
			s.outrank(d.epoch, stored)
			if stored.Token != nil && (known.token == nil || stored.foreign() || stored.compare(known.record) > 0) {
				newest = stored.Token
			}
		}
		// Under the lock nobody exchanges: a token is revoked before it is forgotten.
		return joined(err, d.call(ctx, newest), s.tombstone(ctx, d.epoch))
	}
	return joined(lockErr, s.tombstone(ctx, d.epoch), d.call(ctx, newest))
}

// tombstone has the Store say "signed out", for a while also after ctx has ended.
func (s *Session) tombstone(ctx context.Context, epoch uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return s.overtake(ctx, epoch)
}

// idle waits until no renewal is under way.
func (s *Session) idle(ctx context.Context) error {
	select {
	case <-s.flight.DoChan("", func() (any, error) { return nil, errAgain }):
		return nil
	case <-ctx.Done():
		return waited(ctx, "a renewal")
	}
}

// call has token revoked. If ctx has ended, there is a while left for that.
func (d *departure) call(ctx context.Context, token *oauth2.Token) error {
	if d.revoke == nil || token == nil {
		return nil
	}
	if ctx.Err() != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		ctx = late
	}
	done := make(chan error, 1)
	go func() {
		done <- rescue.Do("revoke", func() error { return clean(d.revoke(ctx, clone(token))) })
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("tokensource: signed out, but the token was not revoked: %w", err)
	}
	return nil
}

// joined is errors.Join with a text of one line.
func joined(errs ...error) (all error) {
	for _, err := range errs {
		switch {
		case all == nil:
			all = err
		case err != nil:
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}
