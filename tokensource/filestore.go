package tokensource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/authtrip/authtrip/internal/extra"
	"github.com/authtrip/authtrip/internal/private"
)

// A FileStore is a [Store] and a [Locker] over a file, which the processes of one
// machine share. The file is what encoding/json makes of an [oauth2.Token]; other
// fields in it stay as they are.
//
// The file is replaced as a whole, under a lock beside it (name.lock), and Save
// returns when it is on the disk: whenever a process or the machine stops, it is
// what it was before or after. A process that is killed lets go of the lock. A
// network file system may promise neither.
//
// It is readable by its owner only, and one that belongs to somebody else, or that
// others could read or write, is refused, as is a folder that others can write to;
// Windows has other means for that. The folder is made if it is not there. What is not a token is an error of
// Load; Save and Clear move it aside, to name.corrupt-1 and so on, and never
// overwrite it. A symbolic link is followed.
//
// All methods are safe for concurrent use by multiple goroutines.
type FileStore struct {
	// Path names the file. See [DefaultPath]. An empty Path is an error.
	Path string
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

// Load returns what is in the file, and nothing if there is no file. The error wraps
// [ErrUnreadable] if the file is too large for a record.
func (s *FileStore) Load(context.Context) ([]byte, error) {
	f, err := s.file()
	if err != nil {
		return nil, named(err)
	}
	text, err := f.Read(maxRecord)
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
	f, err := s.folder()
	if err != nil {
		return named(err)
	}
	text, err := f.Read(maxRecord)
	if err == nil && !isRecord(text) {
		_, err = f.Aside()
	}
	if err != nil {
		return named(err)
	}
	return named(f.Replace(record))
}

// isRecord reports whether text may be overwritten.
func isRecord(text []byte) bool {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if len(text) == 0 || string(text) == "null" || isSealed(text) {
		return true
	}
	_, err := extra.Decode(text)
	return err == nil
}

// Lock implements [Locker], for all processes of the machine.
func (s *FileStore) Lock(ctx context.Context) (unlock func(), err error) {
	f, err := s.folder()
	if err == nil {
		unlock, err = f.Lock(ctx)
	}
	return unlock, named(err)
}

func (s *FileStore) file() (private.File, error) {
	if s.Path == "" {
		return "", errors.New("FileStore.Path is empty")
	}
	return private.Resolve(s.Path)
}

// folder is file, in a folder that is there and where nobody else can put another
// file in its place.
func (s *FileStore) folder() (private.File, error) {
	f, err := s.file()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", err
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0:
		return "", fmt.Errorf("others can write to %s (mode %v, want 0700)", dir, info.Mode().Perm())
	}
	return f, nil
}
