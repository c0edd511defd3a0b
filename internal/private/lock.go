package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// grace is how long unlock waits for the file system.
const grace = 100 * time.Millisecond

// Lock keeps other processes, and other callers in this one, from the file. The lock is
// a file beside the target (target.lock), which stays there. A process that ends in any
// way gives up its lock.
//
// unlock may be called more than once. If an operation whose caller has left is still
// under way, unlock returns and the lock is given up when the operation has ended: it
// cannot overwrite what others have written since.
func (f *File) Lock(ctx context.Context) (unlock func(), err error) {
	name, err := run(ctx, f, func() (string, error) {
		path, _, err := f.prepare(ctx)
		return path + ".lock", err
	}, nil)
	for err == nil {
		var lock *flock.Flock
		// The turn is not kept between two attempts: who has the lock needs it.
		lock, err = run(ctx, f, func() (*flock.Flock, error) { return tryLock(name) }, release)
		if lock != nil {
			return sync.OnceFunc(func() { f.unlock(lock) }), nil
		}
		if err == nil {
			err = pause(ctx)
		}
	}
	return nil, f.explain("locking", err)
}

// tryLock returns the lock, or nil if somebody else has it.
func tryLock(name string) (*flock.Flock, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lock := flock.New(name, flock.SetFlag(os.O_RDWR|os.O_CREATE|careful), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if isBusy(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	if !locked {
		return nil, nil
	}
	ok, err := isNamed(lock, name)
	if !ok || err != nil {
		release(lock)
		return nil, err
	}
	return lock, nil
}

// isNamed reports whether the lock is that of the file that has the name now. If the file
// was removed meanwhile, others lock another one.
func isNamed(lock *flock.Flock, name string) (bool, error) {
	opened, err := lock.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !opened.Mode().IsRegular():
		return false, notRegular(name)
	}
	return os.SameFile(opened, named), nil
}

func release(lock *flock.Flock) {
	if lock != nil {
		_ = lock.Close()
	}
}

func (f *File) unlock(lock *flock.Flock) {
	released := make(chan struct{})
	go func() {
		defer close(released)
		f.turn <- struct{}{} // when an operation under this lock has ended
		defer f.give()
		release(lock)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-released:
	case <-timer.C:
	}
}
