package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var (
	_ tokensource.Store  = (*tokensource.FileStore)(nil)
	_ tokensource.Locker = (*tokensource.FileStore)(nil)
)

func newFileStore(t *testing.T) *tokensource.FileStore {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return &tokensource.FileStore{Path: filepath.Join(dir, "app", "token.json")}
}

func put(t *testing.T, s *tokensource.FileStore, text string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(s.Path), 0o700), os.WriteFile(s.Path, []byte(text), 0o600), os.Chmod(s.Path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestFileStore(t *testing.T) {
	s, ctx := newFileStore(t), t.Context()
	if text, err := s.Load(ctx); len(text) != 0 || err != nil {
		t.Errorf("Load without a file: %q, %v, want nothing", text, err)
	}
	for _, want := range []string{"{\"a\":1}\n", "authtrip-sealed:1:xyz", "{}"} {
		if err := s.Save(ctx, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("loaded (-want +got):\n%s", diff)
		}
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{s.Path: 0o600, filepath.Dir(s.Path): 0o700} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %v, want %v", path, got, want)
			}
		}
	}
}

// A file is shared with code that uses x/oauth2 alone. A renewal keeps what that adds.
func TestFileStoreKeepsStrangersFields(t *testing.T) {
	s := newFileStore(t)
	put(t, s, `{"access_token": "old", "refresh_token": "spent", "expires_in": 5, "expiry": "2001-01-01T00:00:00Z",
		"account": {"id": 12345678901234567890, "name": "<alice>"}}`, 0o600)
	g := &fakeGrant{}
	if _, err := (&tokensource.Session{Grant: g.grant, Store: s}).Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(got))
	if diff := cmp.Diff([]string{"access_token", "account", "authtrip", "refresh_token"}, names); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	for _, part := range []string{"12345678901234567890", "<alice>", `"access-1"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%q is not in the file:\n%s", part, text)
		}
	}
}

// What is neither a record nor nothing is set aside when there is something to write.
func TestFileStoreCorrupt(t *testing.T) {
	for name, text := range map[string]string{
		"brace": "{", "torn": `{"access_token":"s3cret`, "list": `["s3cret"]`, "zeros": "\x00\x00\x00", "two": "{}{}", "number": "1",
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newFileStore(t), t.Context()
			for n := 1; n <= 2; n++ {
				put(t, s, text, 0o600)
				if _, err := stored(ctx, s); !errors.Is(err, tokensource.ErrUnreadable) || !strings.Contains(err.Error(), s.Path) || strings.Contains(err.Error(), "s3cret") {
					t.Fatalf("got %v, want ErrUnreadable that names the file, and nothing of what is in it", err)
				}
				if err := s.Save(ctx, []byte("{}")); err != nil {
					t.Fatal(err)
				}
				kept, err := os.ReadFile(fmt.Sprint(s.Path, ".corrupt-", n))
				if err != nil || string(kept) != text {
					t.Errorf("kept aside: %q, %v; want %q", kept, err, text)
				}
			}
		})
	}
	for name, text := range map[string]string{"empty": "", "white space": " \n\t", "null": "null", "an object": `{"x":1}`} {
		t.Run(name, func(t *testing.T) {
			s := newFileStore(t)
			put(t, s, text, 0o600)
			if err := s.Save(t.Context(), []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(s.Path + ".corrupt-1"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it was set aside: %v", err)
			}
		})
	}
}

func TestFileStoreRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing here")
	}
	const text = `{"access_token":"old"}`
	tests := []struct {
		name string
		set  func(t *testing.T, s *tokensource.FileStore)
		want string
	}{
		{"no path", func(_ *testing.T, s *tokensource.FileStore) { s.Path = "" }, "Path is empty"},
		{"readable by others", func(t *testing.T, s *tokensource.FileStore) { put(t, s, text, 0o640) }, "can be read or written by others"},
		{"a folder", func(t *testing.T, s *tokensource.FileStore) { _ = os.MkdirAll(s.Path, 0o700) }, "is not a regular file"},
		{"a link to itself", func(t *testing.T, s *tokensource.FileStore) {
			_ = os.MkdirAll(filepath.Dir(s.Path), 0o700)
			_ = os.Symlink(s.Path, s.Path)
		}, "the links form a loop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, ctx := newFileStore(t), t.Context()
			tt.set(t, s)
			_, err := s.Load(ctx)
			for what, err := range map[string]error{"Load": err, "Save": s.Save(ctx, []byte("{}"))} {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", what, err, tt.want)
				}
			}
		})
	}
	t.Run("others write to the folder", func(t *testing.T) {
		s := newFileStore(t)
		put(t, s, text, 0o600)
		if err := os.Chmod(filepath.Dir(s.Path), 0o777); err != nil {
			t.Fatal(err)
		}
		_, err := s.Lock(t.Context())
		for what, err := range map[string]error{"Lock": err, "Save": s.Save(t.Context(), []byte("{}"))} {
			if err == nil || !strings.Contains(err.Error(), "others can write to") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A file that is too large is set aside like any that holds no token.
func TestFileStoreTooLarge(t *testing.T) {
	for name, size := range map[string]int64{"by a byte": 1<<20 + 1, "by far": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newFileStore(t), t.Context()
			fill := func() {
				put(t, s, `{"access_token":"old"}`, 0o600)
				if err := os.Truncate(s.Path, size); err != nil {
					t.Skip(err)
				}
			}
			fill()
			if _, err := s.Load(ctx); !errors.Is(err, tokensource.ErrUnreadable) || !strings.Contains(err.Error(), "larger than") || !strings.Contains(err.Error(), s.Path) {
				t.Errorf("Load: %v, want an error that says so", err)
			}
			for range 2 {
				fill()
				if err := s.Save(ctx, []byte("{}")); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Load(ctx); err != nil || string(got) != "{}" {
					t.Errorf("saved: %q, %v", got, err)
				}
			}
			for _, name := range []string{".corrupt-1", ".corrupt-2"} {
				if info, err := os.Stat(s.Path + name); err != nil || info.Size() != size {
					t.Errorf("set aside: %v, %v", info, err)
				}
			}
		})
	}
}

// What could not be loaded again is not saved, and nothing is lost for it.
func TestFileStoreSavesNoLargeToken(t *testing.T) {
	large := []byte(`{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`)
	for _, text := range []string{`{"access_token":"old"}`, "garbage"} {
		s := newFileStore(t)
		put(t, s, text, 0o600)
		if err := s.Save(t.Context(), large); err == nil || !strings.Contains(err.Error(), "larger than") || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%.200v, want an error without the token", err)
		}
		if got, err := os.ReadFile(s.Path); string(got) != text || err != nil {
			t.Errorf("the file has %.100q, %v", got, err)
		}
	}
	s := newFileStore(t)
	if err := s.Save(t.Context(), large); err == nil {
		t.Error("saved")
	}
	if _, err := os.Stat(filepath.Dir(s.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestFileStoreEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newFileStore(t)
	_, loaded := s.Load(ctx)
	_, locked := s.Lock(ctx)
	for what, err := range map[string]error{
		"Load": loaded, "Lock": locked, "Save": s.Save(ctx, []byte("{}")),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", what, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(s.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestFileStoreFollowsLinks(t *testing.T) {
	for name, text := range map[string]string{"to a file": `{"old":1}`, "to no file": ""} {
		t.Run(name, func(t *testing.T) {
			s, target := newFileStore(t), newFileStore(t)
			if text != "" {
				put(t, target, text, 0o600)
			}
			if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target.Path, s.Path); err != nil {
				t.Skip(err)
			}
			unlock, err := s.Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			if err := s.Save(t.Context(), []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(s.Path); err != nil || info.Mode().Type() != fs.ModeSymlink {
				t.Errorf("the link is %v, %v", info, err)
			}
			got, err := target.Load(t.Context())
			if err != nil || string(got) != "{}" {
				t.Errorf("the link's target has %q, %v", got, err)
			}
		})
	}
}

func TestFileStoreLock(t *testing.T) {
	s := newFileStore(t)
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	other := &tokensource.FileStore{Path: s.Path}
	if _, err := other.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock while it is held: %v, want the context's error", err)
	}
	unlock()
	unlock, err = other.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestDefaultPath(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	if runtime.GOOS == "linux" {
		got, err := tokensource.DefaultPath("app")
		if want := filepath.Join(config, "app", "token.json"); got != want || err != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	for _, app := range []string{"", ".", "..", "a/b", `a\b`, "C:", "../x"} {
		if got, err := tokensource.DefaultPath(app); err == nil {
			t.Errorf("DefaultPath(%q) = %s, want an error", app, got)
		}
	}
}

// Two processes share an identity by the file that both name.
func ExampleFileStore() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "token.json") // or DefaultPath("myapp")

	ctx := context.Background()
	first := &tokensource.Session{Store: &tokensource.FileStore{Path: path}}
	if err := first.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	second := &tokensource.Session{Store: &tokensource.FileStore{Path: path}}
	token, err := second.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}
