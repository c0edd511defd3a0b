package tokensource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/authtrip/authtrip/internal/private"
	"golang.org/x/oauth2"
)

// maxTokenFile bounds what is read as a token, ID token and strangers' fields
// included.
const maxTokenFile = 1 << 20

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

// errNotToken says what is wrong with a file without a word of it.
var errNotToken = errors.New("holds no token in JSON")

// Load returns the token in the file, and [ErrNoToken] if there is no file or no
// token in it.
func (s *FileStore) Load(context.Context) (*oauth2.Token, error) {
	f, err := s.file()
	if err != nil {
		return nil, named(err)
	}
	_, token, err := load(f)
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

// load returns the token and all the fields in f. If these are not what they
// should be, the error is an errNotToken.
func load(f private.File) (fields map[string]json.RawMessage, token *oauth2.Token, err error) {
	text, err := f.Read(maxTokenFile)
	if text == nil || err != nil {
		return nil, nil, err
	}
	token = new(oauth2.Token)
	if json.Unmarshal(text, &fields) != nil || fields == nil || json.Unmarshal(text, token) != nil {
		return nil, nil, fmt.Errorf("%s %w", f, errNotToken)
	}
	return fields, token, nil
}

// Save replaces the token in the file. It needs the Lock where other processes
// write.
func (s *FileStore) Save(_ context.Context, token *oauth2.Token) error {
	f, err := s.folder()
	if err != nil {
		return named(err)
	}
	fields, _, err := load(f)
	if errors.Is(err, errNotToken) {
		_, err = f.Aside()
	}
	if err != nil {
		return named(err)
	}
	text, err := merge(fields, token)
	if err != nil {
		return named(err)
	}
	return named(f.Replace(text))
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
func (s *FileStore) Clear(context.Context) error {
	f, err := s.file()
	if err != nil {
		return named(err)
	}
	_, _, err = load(f)
	switch {
	case errors.Is(err, errNotToken):
		_, err = f.Aside()
	case err == nil:
		err = f.Remove()
	}
	return named(err)
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
