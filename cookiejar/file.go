package cookiejar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	defaultDebounce = time.Second
	saveTimeout     = 30 * time.Second
	lockPoll        = 5 * time.Millisecond
)

// FileOptions are those of a [File].
type FileOptions struct {
	// Options are those of its Jar.
	Options

	// KeepSession keeps session cookies in the file too.
	KeepSession bool

	// Debounce is how long after a change the Jar is saved, together with what
	// else has changed by then; zero means one second, negative that only Save
	// and Close save.
	Debounce time.Duration

	// OnError, if not nil, is told when saving after a change has failed; that is
	// tried again, after a longer time.
	OnError func(error)
}

// A File is a [Jar] that outlives the process, in a file that other processes
// may use too. What each has set and deleted is merged whenever one of them
// saves: of two cookies of one identity the newer one stays, and a deletion
// holds for what is older than it.
//
// The file is replaced as a whole, under a lock beside it (name.lock), never
// written in place: whenever a process or the machine stops, it is what it was
// before or after. It is readable by its owner only, and one that others could
// read is refused; Windows has other means for that. All methods are safe for
// concurrent use by multiple goroutines.
type File struct {
	jar  *Jar
	path string
	o    FileOptions

	saving chan struct{} // holds one value while somebody saves

	mu     sync.Mutex // guards the fields below
	timer  *time.Timer
	failed int // saves after a change, in a row
	closed bool
}

// OpenFile returns a File for a path, with the cookies that are there now. Where
// there is no file yet, Save makes it; its folder must exist. nil options are the
// zero options.
func OpenFile(path string, o *FileOptions) (*File, error) {
	f := &File{jar: new(Jar), saving: make(chan struct{}, 1)}
	if o != nil {
		f.o = *o
	}
	f.jar.o = f.o.Options
	// A link is followed now: to replace it by a file would be no use to others.
	target, err := filepath.EvalSymlinks(path)
	switch {
	case err == nil:
		path = target
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	if f.path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	f.jar.book = &book{changed: f.changed, graves: make(map[graveKey]int64)}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := f.merge(text); err != nil {
		return nil, err
	}
	return f, nil
}

// Jar returns the Jar, the same each time.
func (f *File) Jar() *Jar { return f.jar }

// String names the file.
func (f *File) String() string { return "cookiejar.File(" + f.path + ")" }

// Save merges the Jar with the file, now. When it returns nil, what the Jar held
// at the time of the call is on the disk, unless something newer is. OnEvent is
// told of what comes from the file while Save is at work, and must not call it.
func (f *File) Save(ctx context.Context) error {
	select {
	case f.saving <- struct{}{}:
		defer func() { <-f.saving }()
	case <-ctx.Done():
		return fmt.Errorf("cookiejar: waiting for another Save: %w", context.Cause(ctx))
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, err := f.read()
	if err != nil {
		return err
	}
	if err := f.merge(before); err != nil {
		return err
	}
	var after bytes.Buffer
	if err := f.jar.document(f.o.KeepSession).write(&after); err != nil {
		return err
	}
	if bytes.Equal(before, after.Bytes()) {
		return nil
	}
	return f.replace(after.Bytes())
}

// Close saves, and ends saving after changes. The Jar can still be used.
func (f *File) Close() error {
	f.mu.Lock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	return f.Save(ctx)
}

// changed has the Jar saved in a while.
func (f *File) changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.timer != nil || f.o.Debounce < 0 {
		return
	}
	d := f.o.Debounce
	if d == 0 {
		d = defaultDebounce
	}
	f.timer = time.AfterFunc(d<<min(f.failed, 6), f.background)
}

func (f *File) background() {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	f.mu.Lock()
	f.timer = nil // what changes from now on may come too late for this one
	f.mu.Unlock()
	err := f.Save(ctx)
	f.mu.Lock()
	if f.failed++; err == nil {
		f.failed = 0
	}
	f.mu.Unlock()
	if err == nil {
		return
	}
	defer f.changed()
	if f.o.OnError != nil {
		defer func() { _ = recover() }()
		f.o.OnError(err)
	}
}

// lock keeps other processes, and other Files of this one, from the file.
func (f *File) lock(ctx context.Context) (unlock func(), err error) {
	l := flock.New(f.path+".lock", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("cookiejar: locking %s.lock: %w", f.path, err)
	}
	return func() { _ = l.Close() }, nil
}

// read returns what is in the file, nil if there is none.
func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("cookiejar: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("cookiejar: %s is not a regular file", f.path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("cookiejar: %s can be read or written by others (mode %v, want 0600)", f.path, info.Mode().Perm())
	case info.Size() > maxDocument:
		return nil, fmt.Errorf("%w, %s", errLarge, f.path)
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(file, text); err != nil {
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	return text, nil
}

// merge takes up what the file has. A file that is not ours stays as it is.
func (f *File) merge(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	d, err := readDocument(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%w, in %s", err, f.path)
	}
	f.jar.merge(d)
	return nil
}

// replace puts text in the file's place.
func (f *File) replace(text []byte) (err error) {
	dir := filepath.Dir(f.path)
	defer func() {
		if err != nil {
			err = fmt.Errorf("cookiejar: writing %s: %w", f.path, err)
		}
	}()
	// There is one writer at a time, so what is in the way was left by one that
	// was killed.
	temporary := f.path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(temporary, f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncFolder(dir)
}

// syncFolder makes a rename last, where folders can be synced.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
