//go:build unix

package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authtrip/authtrip/internal/private"
)

const stranger = 65534

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("for root only")
	}
}

func fifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no FIFOs here: ", err)
	}
}

// Opening one of these could wait forever, or have effects.
func TestSpecialFiles(t *testing.T) {
	t.Run("FIFO", func(t *testing.T) {
		f := newFile(t)
		fifo(t, f.Path)
		checkAll(t, f, f.Path+" is not a regular file")
		checkNames(t, filepath.Dir(f.Path), "file")
	})
	t.Run("link to a FIFO", func(t *testing.T) {
		f := newFile(t)
		fifo(t, f.Path)
		symlink(t, "file", f.Path+".link")
		checkAll(t, &private.File{Path: f.Path + ".link"}, f.Path+" is not a regular file")
		checkNames(t, filepath.Dir(f.Path), "file", "file.link")
	})
	t.Run("device", func(t *testing.T) {
		checkAll(t, &private.File{Path: "/dev/zero"}, "/dev/zero is not a regular file")
	})
	t.Run("link to a device", func(t *testing.T) {
		f := newFile(t)
		symlink(t, "/dev/tty", f.Path)
		checkAll(t, f, "/dev/tty is not a regular file")
	})
	t.Run("FIFO for a lock", func(t *testing.T) {
		f := newFile(t)
		fifo(t, f.Path+".lock")
		if _, err := f.Lock(t.Context()); err == nil || !strings.Contains(err.Error(), f.Path+".lock is not a regular file") {
			t.Errorf("got %v, want an error that names it", err)
		}
		checkNames(t, filepath.Dir(f.Path), "file.lock")
	})
	t.Run("FIFO for a temporary", func(t *testing.T) {
		f := newFile(t)
		fifo(t, f.Path+".new")
		if err := f.Replace(t.Context(), []byte("text")); err != nil {
			t.Error(err)
		}
		checkText(t, f, "text")
		checkNames(t, filepath.Dir(f.Path), "file")
	})
}

// Another file may come in the place of one that has been looked at. Opening it neither
// waits nor follows a link.
func TestOpen(t *testing.T) {
	f := newFile(t)
	fifo(t, f.Path+".fifo")
	put(t, f.Path, "text")
	symlink(t, f.Path, f.Path+".link")
	for suffix, want := range map[string]string{".fifo": "not a regular file", ".link": ""} {
		err := private.Open(t.Context(), f.Path+suffix)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error", suffix, err)
		}
	}
	if err := private.Open(t.Context(), f.Path); err != nil {
		t.Error(err)
	}
}

// A link that somebody has planted leads nowhere.
func TestPlantedLinks(t *testing.T) {
	for _, exists := range []bool{false, true} {
		f := newFile(t)
		victim := filepath.Join(folder(t), "victim")
		if exists {
			put(t, victim, "precious")
		}
		for _, suffix := range []string{".lock", ".new"} {
			symlink(t, victim, f.Path+suffix)
		}
		if _, err := f.Lock(t.Context()); err == nil || !strings.Contains(err.Error(), f.Path+".lock is not a regular file") {
			t.Errorf("got %v, want an error that names the link", err)
		}
		if err := f.Replace(t.Context(), []byte("text")); err != nil {
			t.Error(err)
		}
		checkText(t, f, "text")
		checkNames(t, filepath.Dir(f.Path), "file", "file.lock")
		if exists {
			checkText(t, &private.File{Path: victim}, "precious")
		} else {
			checkNames(t, filepath.Dir(victim))
		}
	}
}

func TestFileModes(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o777} {
		f := newFile(t)
		put(t, f.Path, "text")
		if err := os.Chmod(f.Path, mode); err != nil {
			t.Fatal(err)
		}
		checkAll(t, f, "chmod 600")
		checkNames(t, filepath.Dir(f.Path), "file")
	}
	f := newFile(t)
	put(t, f.Path, "text")
	if err := os.Chmod(f.Path, 0o400); err != nil {
		t.Fatal(err)
	}
	checkText(t, f, "text")
	if err := f.Replace(t.Context(), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestSharedFolder(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		path string
		want string
	}{
		{0o777, "file", "(mode 0777): chmod go-w, or choose another folder"},
		{0o770, "file", "(mode 0770): chmod go-w"},
		{0o702, "file", "(mode 0702): chmod go-w"},
		{0o777 | fs.ModeSticky, "file", "(mode 0777): choose another folder"},
		{0o777, "a/file", "(mode 0777): chmod go-w"},
		{0o777 | fs.ModeSticky, "a/b/file", "(mode 0777): choose another folder"},
	} {
		dir := folder(t)
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		f := &private.File{Path: filepath.Join(dir, tt.path), MakeFolder: true}
		checkAll(t, f, "others can write to "+dir+" "+tt.want, "Read", "Remove")
		checkNames(t, dir)
		if tt.path != "file" {
			continue
		}
		// What is there can be read, and removed as a secret should be.
		put(t, f.Path, "text")
		checkAll(t, f, "others can write to "+dir, "Read", "Remove")
		checkText(t, f, "text")
		checkNames(t, dir, "file")
		if err := f.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// Nobody can write there but the owner.
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock(t, &private.File{Path: filepath.Join(dir, "a", "file"), MakeFolder: true})()
	lock(t, &private.File{Path: filepath.Join(dir, "file")})()
}

func TestFolderIsAFile(t *testing.T) {
	f := newFile(t)
	put(t, f.Path, "text")
	inside := &private.File{Path: filepath.Join(f.Path, "file"), MakeFolder: true}
	for _, op := range operations {
		if err := op.call(t.Context(), inside); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", op.name, err)
		}
	}
	checkText(t, f, "text")
}

// Root could use another user's file and folder. The other user could not use a file that
// root leaves there, and could plant links.
func TestForeignOwner(t *testing.T) {
	asRoot(t)
	t.Run("file", func(t *testing.T) {
		f := newFile(t)
		put(t, f.Path, "text")
		if err := os.Chown(f.Path, stranger, stranger); err != nil {
			t.Fatal(err)
		}
		checkAll(t, f, f.Path+" belongs to another user")
		checkNames(t, filepath.Dir(f.Path), "file")
	})
	for _, path := range []string{"file", "a/b/file"} {
		t.Run("folder of "+path, func(t *testing.T) {
			dir := folder(t)
			if err := os.Chown(dir, stranger, stranger); err != nil {
				t.Fatal(err)
			}
			f := &private.File{Path: filepath.Join(dir, path), MakeFolder: true}
			checkAll(t, f, dir+" belongs to another user: choose another folder", "Read", "Remove")
			checkNames(t, dir)
		})
	}
	t.Run("folder behind a link", func(t *testing.T) {
		f, dir := newFile(t), folder(t)
		symlink(t, filepath.Join(dir, "file"), f.Path)
		if err := os.Chown(dir, stranger, stranger); err != nil {
			t.Fatal(err)
		}
		checkAll(t, f, dir+" belongs to another user", "Read", "Remove")
		checkNames(t, dir)
	})
}
