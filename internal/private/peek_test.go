package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/private"
)

const mebibyte = 1 << 20

func TestPeek(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		mode          fs.FileMode
		want          string // part of the error; empty: none
	}{
		{"empty", "", 0o600, ""},
		{"text", "s3cret", 0o600, ""},
		{"readable by others", "s3cret", 0o644, ""},
		{"as large as allowed", strings.Repeat("x", mebibyte), 0o600, ""},
		{"too large", strings.Repeat("x", mebibyte+1), 0o600, "is larger than 1 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			modified := time.Now().Add(-time.Hour)
			if err := errors.Join(os.WriteFile(path, []byte(tc.content), tc.mode), os.Chtimes(path, modified, modified)); err != nil {
				t.Fatal(err)
			}
			text, info, err := private.Peek(path, mebibyte)
			if tc.want != "" {
				expectRefused(t, path, err, tc.want)
				return
			}
			if err != nil || string(text) != tc.content {
				t.Fatalf("%d bytes, %v, want %d bytes", len(text), err, len(tc.content))
			}
			if diff := info.ModTime().Sub(modified).Abs(); diff > 2*time.Second { // FAT counts in those
				t.Errorf("modified at %v, want %v", info.ModTime(), modified)
			}
		})
	}
}

func TestPeekFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Skip(err)
	}
	if text, _, err := private.Peek(link, mebibyte); string(text) != "text" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestPeekAtNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, _, err := private.Peek(path, mebibyte); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err := private.Peek(path, mebibyte)
	expectRefused(t, path, err, "is not a regular file")
}

func expectRefused(t *testing.T, path string, err error, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), path+" "+want) {
		t.Errorf("got %v, want an error that %s %s", err, path, want)
	}
}
