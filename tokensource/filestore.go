package tokensource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/authtrip/authtrip/internal/private"
)

// A FileStore is a [Store] and a [Locker] over a file, which the processes of one
// machine share:
//
//	store := &tokensource.FileStore{Path: path}
//
// The file holds a [Record] in JSON, which programs that use golang.org/x/oauth2 can read
// too, or a record that [Sealed] has sealed.
//
// Save replaces the file as a whole, under a lock beside it (name.lock), and returns when
// it is on the disk. Whenever a process or the machine stops, the file has either the old
// content or the new. A process that is killed gives up its lock. A network file system
// may promise neither. A single file that is mounted into a container cannot be replaced,
// and is written in place: if the machine stops meanwhile, a part of the content is
// lost.
//
// Only the owner can read the file. A file is refused if it belongs to another user or if
// others can read or write it. A folder is refused if it belongs to a user other than this
// one and root, or if others can write to it, as in /tmp. On Windows, neither is checked.
// If the folder does not exist, Save and Lock make it, unless they would have to make it
// in a folder that is refused. A symbolic link is followed, also to a file that does not
// exist yet.
//
// If the file is larger than 1 MiB, or neither a JSON object nor sealed, Load returns an
// error that wraps [ErrUnreadable]. Save moves such a file to name.corrupt-1 and so on, and
// does not overwrite it. An empty file counts as none. Save refuses a record of more than
// 1 MiB.
//
// All methods return by the end of their context. While the file system does not answer,
// a call waits for the one before it.
//
// A FileStore must not be copied after first use. All methods are safe for concurrent use
// by multiple goroutines; Path must not be modified after the first call of one.
type FileStore struct {
	// Path names the file. See [DefaultPath]. An empty Path is an error.
	Path string

	once sync.Once
	file private.File
}

// DefaultPath returns where the token of an application belongs: token.json in a
// folder named app, in [os.UserConfigDir].
func DefaultPath(app string) (string, error) {
	if app == "" || app == "." || strings.ContainsAny(app, `/\:`) || !filepath.IsLocal(app) {
		return "", fmt.Errorf("tokensource: DefaultPath: %q is not the name of a folder", app)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("tokensource: DefaultPath: %w", err)
	}
	return filepath.Join(dir, app, "token.json"), nil
}

// Load returns what is in the file, and nothing if there is no file.
func (s *FileStore) Load(ctx context.Context) ([]byte, error) {
	f, err := s.open()
	if err != nil {
		return nil, named(err)
	}
	text, err := f.Read(ctx)
	switch {
	case errors.Is(err, private.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	case err == nil && !isRecord(text):
		return nil, fmt.Errorf("%w: %s is neither a JSON object nor sealed", ErrUnreadable, s.Path)
	}
	return text, named(err)
}

// named says whose error err is.
func named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tokensource: %w", err)
}

// Save replaces what is in the file. It needs the Lock where other processes write.
func (s *FileStore) Save(ctx context.Context, record []byte) error {
	f, err := s.open()
	if err == nil {
		err = f.Fits(record)
	}
	if err != nil {
		return named(err)
	}
	text, err := f.Read(ctx)
	if errors.Is(err, private.ErrTooLarge) || err == nil && !isRecord(text) {
		_, err = f.Aside(ctx)
	}
	if err == nil {
		err = f.Replace(ctx, record)
	}
	return named(err)
}

// isRecord reports whether text may be overwritten.
func isRecord(text []byte) bool {
	doc := document(text)
	if len(doc) == 0 || string(doc) == "null" || isSealed(doc) {
		return true
	}
	_, err := extra.Decode(doc)
	return err == nil
}

// Lock implements [Locker], for all processes of the machine.
func (s *FileStore) Lock(ctx context.Context) (unlock func(), err error) {
	f, err := s.open()
	if err == nil {
		unlock, err = f.Lock(ctx)
	}
	return unlock, named(err)
}

func (s *FileStore) open() (*private.File, error) {
	if s.Path == "" {
		return nil, errors.New("FileStore.Path is empty")
	}
	s.once.Do(func() { s.file.Path, s.file.Limit, s.file.MakeFolder = s.Path, maxRecord, true })
	return &s.file, nil
}
