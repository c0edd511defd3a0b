package tokensource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/authtrip/authtrip/internal/private"
	"golang.org/x/oauth2"
)

// maxTokenFile bounds what is read and written as a token, ID token and strangers'
// fields included.
const maxTokenFile = 1 << 20

// A FileStore is a [Store] and a [Locker] over a file, which the processes of one
// machine share:
//
//	store := &tokensource.FileStore{Path: path}
//
// The file is what encoding/json makes of an [oauth2.Token]. Save keeps other fields in
// it.
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
// Load returns an error if the file holds no token or is larger than 1 MiB. Save and Clear
// move such a file to name.corrupt-1 and so on, and never overwrite it. Save refuses a
// token that would make the file larger than 1 MiB.
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

// errNotToken says what is wrong with a file without a word of it.
var errNotToken = errors.New("holds no token in JSON")

// Load returns the token in the file, and [ErrNoToken] if there is no file or no
// token in it.
func (s *FileStore) Load(ctx context.Context) (*oauth2.Token, error) {
	_, token, err := s.load(ctx)
	switch {
	case err != nil:
		return nil, named(err)
	case token == nil || token.AccessToken == "" && token.RefreshToken == "":
		return nil, ErrNoToken
	}
	return token, nil
}

// named says whose error err is.
func named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tokensource: %w", err)
}

// load returns the token and all the fields in the file. For a file to set aside, the
// error is unusable.
func (s *FileStore) load(ctx context.Context) (fields map[string]json.RawMessage, token *oauth2.Token, err error) {
	f, err := s.open()
	if err != nil {
		return nil, nil, err
	}
	text, err := f.Read(ctx)
	if text == nil || err != nil {
		return nil, nil, err
	}
	token = new(oauth2.Token)
	if json.Unmarshal(text, &fields) != nil || fields == nil || json.Unmarshal(text, token) != nil {
		return nil, nil, fmt.Errorf("%s %w", s.Path, errNotToken)
	}
	return fields, token, nil
}

func unusable(err error) bool {
	return errors.Is(err, errNotToken) || errors.Is(err, private.ErrTooLarge)
}

// Save replaces the token in the file. It needs the Lock where other processes
// write.
func (s *FileStore) Save(ctx context.Context, token *oauth2.Token) error {
	fields, _, err := s.load(ctx)
	aside := unusable(err)
	if err != nil && !aside {
		return named(err)
	}
	text, err := merge(fields, token)
	if err == nil {
		err = s.file.Fits(text)
	}
	if err == nil && aside {
		_, err = s.file.Aside(ctx)
	}
	if err == nil {
		err = s.file.Replace(ctx, text)
	}
	return named(err)
}

// merge returns token in JSON with those of fields that are not a token's.
func merge(fields map[string]json.RawMessage, token *oauth2.Token) ([]byte, error) {
	own, err := json.Marshal(token)
	if err != nil {
		return nil, err
	}
	all := make(map[string]json.RawMessage)
	for name, value := range fields {
		switch strings.ToLower(name) { // as encoding/json finds them
		case "access_token", "token_type", "refresh_token", "expiry", "expires_in":
		default:
			all[name] = value
		}
	}
	if err := json.Unmarshal(own, &all); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(all)
	return text.Bytes(), err
}

// Clear removes the file, with all that is in it.
func (s *FileStore) Clear(ctx context.Context) error {
	_, _, err := s.load(ctx)
	switch {
	case unusable(err):
		_, err = s.file.Aside(ctx)
	case err == nil:
		err = s.file.Remove(ctx)
	}
	return named(err)
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
	s.once.Do(func() { s.file.Path, s.file.Limit, s.file.MakeFolder = s.Path, maxTokenFile, true })
	return &s.file, nil
}
