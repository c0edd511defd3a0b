package private_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authtrip/authtrip/internal/private"
	"github.com/google/go-cmp/cmp"
)

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("for root only")
	}
}

// Root could read it, but would leave the owner one that is root's.
func TestForeignOwner(t *testing.T) {
	asRoot(t)
	f := newFile(t)
	if err := errors.Join(f.Replace([]byte("text")), os.Chown(string(f), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if text, err := f.Read(1 << 20); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("got %q, %v", text, err)
	}
}

// A disk that is full loses nothing of what is on it.
func TestFullDisk(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f := private.File(filepath.Join(dir, "file"))
	if err := f.Replace([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := f.Replace(bytes.Repeat([]byte("x"), 1<<20)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), string(f)) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if got := read(t, f); got != "text" {
		t.Errorf("read %q, want what was there", got)
	}
	if diff := cmp.Diff([]string{"file"}, names(t, f)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
