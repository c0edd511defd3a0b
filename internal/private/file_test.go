package private_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/private"
	"github.com/google/go-cmp/cmp"
)

func newFile(t *testing.T) private.File {
	t.Helper()
	f, err := private.Resolve(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// names returns what is in f's folder.
func names(t *testing.T, f private.File) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(string(f)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, f private.File) string {
	t.Helper()
	text, err := f.Read(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReplace(t *testing.T) {
	f := newFile(t)
	if text, err := f.Read(1 << 20); text != nil || err != nil {
		t.Errorf("without a file: %q, %v", text, err)
	}
	// As one that was killed while it wrote leaves it.
	if err := os.WriteFile(string(f)+".new", []byte("half a te"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "another"} {
		if err := f.Replace([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, f); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	name, err := f.Aside()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Base(name)}, names(t, f)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := f.Remove(); err != nil {
			t.Errorf("removing what is not there: %v", err)
		}
	}
}

func TestReadBounds(t *testing.T) {
	f := newFile(t)
	if err := f.Replace(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if text, err := f.Read(1 << 20); len(text) != 1<<20 || err != nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if err := f.Replace(make([]byte, 1<<20+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(1 << 20); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("too large: %v", err)
	}
}

// What cannot be written leaves what was there, and nothing beside it.
func TestReplaceFails(t *testing.T) {
	f := newFile(t)
	if err := os.MkdirAll(filepath.Join(string(f), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Replace([]byte("text")); err == nil || !strings.Contains(err.Error(), string(f)) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if diff := cmp.Diff([]string{"file"}, names(t, f)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	gone := private.File(filepath.Join(filepath.Dir(string(f)), "none", "file"))
	if err := gone.Replace([]byte("text")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := gone.Lock(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locking without a folder: %v", err)
	}
}

func TestLock(t *testing.T) {
	f := newFile(t)
	unlock, err := f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	unlock, err = f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestResolve(t *testing.T) {
	f := newFile(t)
	if err := f.Replace([]byte("text")); err != nil {
		t.Fatal(err)
	}
	link := string(f) + ".link"
	if err := os.Symlink(string(f), link); err != nil {
		t.Skip(err)
	}
	got, err := private.Resolve(link)
	if err != nil {
		t.Fatal(err)
	}
	want, err := filepath.EvalSymlinks(string(f))
	if err != nil || string(got) != want {
		t.Errorf("%s, want %s (%v)", got, want, err)
	}
	if err := errors.Join(os.Remove(string(f)), os.Remove(link), os.Symlink(link, link)); err != nil {
		t.Fatal(err)
	}
	if got, err := private.Resolve(link); err == nil {
		t.Errorf("a link to itself leads to %s", got)
	}
}
