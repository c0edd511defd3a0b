package private

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// poll is the time between two attempts at something that gives no notice.
const poll = 5 * time.Millisecond

// explain says what f was doing when a context ended. Other errors say so themselves.
func (f *File) explain(doing string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", doing, f.Path, err)
	}
	return err
}

// run calls op when no other operation of f runs, in a goroutine of its own, because a
// system call on a file may take forever. When ctx ends, run returns and op goes on. f
// stays taken until op has ended, and a value that comes too late is given to undo.
func run[T any](ctx context.Context, f *File, op func() (T, error), undo func(T)) (T, error) {
	var none T
	if err := f.take(ctx); err != nil {
		return none, err
	}
	type result struct {
		value T
		err   error
	}
	done, left := make(chan result), make(chan struct{})
	go func() {
		defer f.give()
		value, err := op()
		select {
		case done <- result{value, err}:
		case <-left:
			if undo != nil {
				undo(value)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		close(left)
		return none, ctx.Err()
	}
}

// take waits until no operation of f runs.
func (f *File) take(ctx context.Context) error {
	f.once.Do(func() { f.turn = make(chan struct{}, 1) })
	if ctx.Err() == nil {
		select {
		case f.turn <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (f *File) give() { <-f.turn }

func pause(ctx context.Context) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
