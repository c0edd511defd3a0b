// Package private keeps a file that holds secrets: whole at any moment, whatever
// is killed, shared by processes, and readable by its owner only.
package private

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

const lockPoll = 5 * time.Millisecond

// File is a path. Errors name it, and never what is in it.
type File string

// Resolve returns the File that path leads to: to replace a link by a file would
// be no use to others.
func Resolve(path string) (File, error) {
	target, err := filepath.EvalSymlinks(path)
	switch {
	case err == nil:
		path = target
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	path, err = filepath.Abs(path)
	return File(path), err
}

// Lock keeps other processes, and other callers in this one, from the file, by a
// lock beside it (name.lock). A process that ends in any way lets go of it.
func (f File) Lock(ctx context.Context) (unlock func(), err error) {
	l := flock.New(string(f)+".lock", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("locking %s.lock: %w", f, err)
	}
	return func() { _ = l.Close() }, nil
}

// Read returns what is in the file, nil if there is none. limit is in bytes, whole
// MiB.
func (f File) Read(limit int64) ([]byte, error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", f)
	case foreign(info):
		return nil, fmt.Errorf("%s belongs to another user", f)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0: // which has other means
		return nil, fmt.Errorf("%s can be read or written by others (mode %v, want 0600)", f, info.Mode().Perm())
	case info.Size() > limit:
		return nil, fmt.Errorf("%s is larger than %d MiB", f, limit>>20)
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(file, text); err != nil {
		return nil, fmt.Errorf("reading %s: %w", f, err)
	}
	return text, nil
}

// Replace puts text in the file's place, and returns when it is on the disk. It
// is called under the Lock.
func (f File) Replace(text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", f, err)
		}
	}()
	// There is one writer at a time, so what is in the way was left by one that
	// was killed.
	temporary := string(f) + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(temporary, string(f))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return f.sync()
}

// Remove removes the file. There being none is no error.
func (f File) Remove() error {
	if err := os.Remove(string(f)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return f.sync()
}

// Aside moves the file, which is not to be lost, to a name that nothing has yet,
// and returns that. It is called under the Lock.
func (f File) Aside() (name string, err error) {
	for n := 1; ; n++ {
		name = fmt.Sprintf("%s.corrupt-%d", f, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
	}
	if err := os.Rename(string(f), name); err != nil {
		return "", err
	}
	return name, f.sync()
}

// sync makes a rename last, where folders can be synced.
func (f File) sync() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(filepath.Dir(string(f)))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
