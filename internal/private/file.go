// Package private reads and writes files that hold secrets. Such a file is readable by
// its owner only, several processes may share it, and a process that is killed leaves
// either the old content or the new.
package private

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const defaultLimit = 1 << 20

// ErrTooLarge says that a file, or the text for one, has more bytes than File.Limit.
var ErrTooLarge = errors.New("larger than the limit")

// A File is a file that holds secrets. A File with a Path is ready for use:
//
//	f := &private.File{Path: path}
//	unlock, err := f.Lock(ctx)
//	...
//	defer unlock()
//	err = f.Replace(ctx, text)
//
// Every method returns by the end of its context, even if the file system has stopped
// answering. It returns the error of a context that has ended already without touching
// the file. The operations of one File run one at a time. An operation whose caller has
// left still counts: until it ends, later calls wait.
//
// Symbolic links are followed, also to a target that does not exist yet. The lock and
// all other files are made beside the target.
//
// A target that is not a regular file, that belongs to another user, or that others can
// read or write is refused. So is making a file in a folder that others control. Windows
// has other means for that.
//
// Errors name paths, and never contain what is in a file. A File must not be copied
// after first use. All methods are safe for concurrent use by multiple goroutines;
// fields must not be modified after the first call of one.
type File struct {
	// Path names the file. A relative Path counts from the working directory of the
	// first call.
	Path string

	// Limit is the number of bytes that the file may have. Zero means 1 MiB.
	Limit int64

	// MakeFolder has Lock and Replace make the target's folder, for the owner only, if
	// it does not exist. Otherwise that is an error, fs.ErrNotExist.
	MakeFolder bool

	once     sync.Once
	turn     chan struct{} // holds one value while an operation runs
	absolute string        // Path; guarded by turn
}

// Read returns what is in the file, or nil if there is no file. The text of an empty
// file is empty and not nil.
func (f *File) Read(ctx context.Context) ([]byte, error) {
	text, err := run(ctx, f, func() ([]byte, error) { return f.read(ctx) }, nil)
	return text, f.explain("reading", err)
}

func (f *File) read(ctx context.Context) ([]byte, error) {
	path, info, err := f.target()
	if info == nil || err != nil {
		return nil, err
	}
	file, info, err := open(ctx, path, os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed just now
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer file.Close()
	if info.Size() > f.limit() { // no buffer of this size
		return nil, f.tooLarge(path)
	}
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := text.ReadFrom(io.LimitReader(file, f.limit()+1)); err != nil {
		return nil, err
	}
	if int64(text.Len()) > f.limit() {
		return nil, f.tooLarge(path)
	}
	return text.Bytes(), nil
}

// Fits returns an ErrTooLarge if Replace would refuse text, which Read could not return.
func (f *File) Fits(text []byte) error {
	if int64(len(text)) > f.limit() {
		return f.tooLarge(fmt.Sprintf("what is to be written to %s (%d bytes)", f.Path, len(text)))
	}
	return nil
}

func (f *File) limit() int64 {
	if f.Limit == 0 {
		return defaultLimit
	}
	return f.Limit
}

func (f *File) tooLarge(what string) error {
	return fmt.Errorf("%s is %w of %d bytes", what, ErrTooLarge, f.limit())
}

// Replace makes text the content of the file, and returns when it is on the disk. It
// needs the Lock. text must not be modified afterwards, because an operation whose
// caller has left still reads it.
//
// An operation whose context has ended changes nothing from then on, except for a
// system call that has already begun. The Lock is kept until that call ends.
//
// The file is replaced as a whole. Only a file that is a mount of its own cannot be
// replaced, and is written in place: a reader without the Lock may see a part of the
// text, and a machine that stops meanwhile leaves a part of it.
func (f *File) Replace(ctx context.Context, text []byte) error {
	if err := f.Fits(text); err != nil {
		return err
	}
	_, err := run(ctx, f, func() (struct{}, error) { return struct{}{}, f.replace(ctx, text) }, nil)
	return f.explain("writing", err)
}

func (f *File) replace(ctx context.Context, text []byte) (err error) {
	path, _, err := f.prepare(ctx)
	if err != nil {
		return err
	}
	temporary := path + ".new"
	if err := makeWay(temporary); err != nil {
		return err
	}
	if err := create(temporary, func(file *os.File) error { _, err := file.Write(text); return err }); err != nil {
		return err
	}
	if err = ctx.Err(); err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		return syncFolder(filepath.Dir(path))
	}
	if isMount(err) {
		err = overwrite(ctx, path, text)
	}
	return both(err, os.Remove(temporary))
}

// makeWay removes what a process that was killed has left at a temporary name. The Lock
// allows one writer at a time, so that nobody uses it.
func makeWay(temporary string) error {
	info, err := os.Lstat(temporary)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder: remove it", temporary)
	}
	return os.Remove(temporary)
}

// create makes a file that does not exist yet, and syncs what fill writes to it. If that
// fails, there is no file.
func create(name string, fill func(*os.File) error) error {
	// O_EXCL does not follow a link.
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = fill(file); err == nil {
		err = file.Sync()
	}
	if err = both(err, file.Close()); err != nil {
		return both(err, os.Remove(name))
	}
	return nil
}

// both returns two errors, in one line, or the one that is not nil.
func both(err, also error) error {
	switch {
	case also == nil:
		return err
	case err == nil:
		return also
	}
	return fmt.Errorf("%w; %w", err, also)
}

// overwrite writes text into the file itself.
func overwrite(ctx context.Context, path string, text []byte) error {
	file, _, err := open(ctx, path, os.O_WRONLY)
	if err != nil {
		return err
	}
	if err = ctx.Err(); err == nil {
		_, err = file.Write(text)
	}
	if err == nil {
		err = file.Truncate(int64(len(text)))
	}
	if err == nil {
		err = file.Sync()
	}
	return both(err, file.Close())
}

// Aside moves the file to a name that does not exist yet, the target's with .corrupt-1
// and so on, and returns this name. It needs the Lock. A file that is a mount of its own
// is copied there and then emptied.
func (f *File) Aside(ctx context.Context) (name string, err error) {
	name, err = run(ctx, f, func() (string, error) { return f.aside(ctx) }, nil)
	return name, f.explain("setting aside", err)
}

func (f *File) aside(ctx context.Context) (string, error) {
	path, info, err := f.prepare(ctx)
	if err == nil && info == nil {
		err = fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return "", err
	}
	name, err := freeName(path + ".corrupt-")
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", err
	}
	if err = os.Rename(path, name); isMount(err) {
		if info.Size() > maxCopy {
			return "", fmt.Errorf("it is a mount of its own and larger than %d MiB: empty it", maxCopy>>20)
		}
		err = empty(ctx, path, name)
	}
	if err != nil {
		return "", err
	}
	return name, syncFolder(filepath.Dir(path))
}

func freeName(prefix string) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprint(prefix, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

// maxCopy bounds what is copied, which might fill the disk.
const maxCopy = 64 << 20

// empty copies the file to the name, and then empties it.
func empty(ctx context.Context, path, name string) error {
	file, _, err := open(ctx, path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	read := readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return file.Read(p)
	})
	if err := create(name, func(to *os.File) error { _, err := io.Copy(to, read); return err }); err != nil {
		return err
	}
	return overwrite(ctx, path, nil)
}

type readerFunc func([]byte) (int, error)

func (read readerFunc) Read(p []byte) (int, error) { return read(p) }

// Remove removes the file. It needs the Lock. Removing a file that does not exist is not
// an error. A file that is a mount of its own is emptied.
func (f *File) Remove(ctx context.Context) error {
	_, err := run(ctx, f, func() (struct{}, error) { return struct{}{}, f.remove(ctx) }, nil)
	return f.explain("removing", err)
}

func (f *File) remove(ctx context.Context) error {
	path, info, err := f.target()
	if info == nil || err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = os.Remove(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case isMount(err):
		return overwrite(ctx, path, nil)
	case err != nil:
		return err
	}
	return syncFolder(filepath.Dir(path))
}
