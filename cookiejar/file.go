package cookiejar

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/authtrip/authtrip/internal/private"
)

const (
	defaultDebounce = time.Second
	saveTimeout     = 30 * time.Second
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
// Save replaces the file as a whole, under a lock beside it (name.lock). Whenever a
// process or the machine stops, the file has either the old content or the new. Only a
// single file that is mounted into a container cannot be replaced, and is written in
// place.
//
// Only the owner can read the file. A file is refused if it belongs to another user, if
// others can read or write it, or if it is larger than 64 MiB. A folder is refused if it
// belongs to a user other than this one and root, or if others can write to it, as in
// /tmp. On Windows, owners and modes are not checked. A symbolic link is followed.
//
// All methods are safe for concurrent use by multiple goroutines.
type File struct {
	jar  *Jar
	file private.File
	o    FileOptions

	saving chan struct{} // holds one value while somebody saves

	mu     sync.Mutex // guards the fields below
	timer  *time.Timer
	failed int // saves after a change, in a row
	closed bool
}

// OpenFile returns a File for a path, with the cookies that are there now. Where
// there is no file yet, Save makes it; its folder must exist. nil options are the
// zero options. A file that does not answer within 30 seconds is an error.
func OpenFile(path string, o *FileOptions) (*File, error) {
	f := &File{
		jar:    new(Jar),
		file:   private.File{Path: path, Limit: maxDocument},
		saving: make(chan struct{}, 1),
	}
	if o != nil {
		f.o = *o
	}
	f.jar.o = f.o.Options
	f.jar.book = &book{changed: f.changed, graves: make(map[graveKey]int64)}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	unlock, err := f.file.Lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	defer unlock()
	text, err := f.file.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("cookiejar: %w", err)
	}
	if err := f.merge(text); err != nil {
		return nil, err
	}
	return f, nil
}

// Jar returns the Jar, the same each time.
func (f *File) Jar() *Jar { return f.jar }

// String names the file.
func (f *File) String() string { return "cookiejar.File(" + f.file.Path + ")" }

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
	unlock, err := f.file.Lock(ctx)
	if err != nil {
		return fmt.Errorf("cookiejar: %w", err)
	}
	defer unlock()
	before, err := f.file.Read(ctx)
	if err != nil {
		return fmt.Errorf("cookiejar: %w", err)
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
	if err := f.file.Replace(ctx, after.Bytes()); err != nil {
		return fmt.Errorf("cookiejar: %w", err)
	}
	return nil
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

// merge takes up what the file has. A file that is not ours stays as it is.
func (f *File) merge(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	d, err := readDocument(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%w, in %s", err, f.file.Path)
	}
	f.jar.merge(d)
	return nil
}
