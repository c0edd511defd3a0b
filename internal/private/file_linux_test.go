package private_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authtrip/authtrip/internal/private"
)

// A disk that is full loses nothing of what is on it.
func TestFullDisk(t *testing.T) {
	asRoot(t)
	dir := folder(t)
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f := &private.File{Path: filepath.Join(dir, "file")}
	if err := f.Replace(t.Context(), []byte("text")); err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("x"), 1<<20)
	if err := f.Replace(t.Context(), text); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), f.Path) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	checkText(t, f, "text")
	checkNames(t, dir, "file")
}

// lease has others wait for a file, as a file server has them.
func lease(t *testing.T, path string) (end func()) {
	t.Helper()
	const setLease = 1024
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	set := func(kind uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), setLease, kind)
		return errno
	}
	if errno := set(syscall.F_WRLCK); errno != 0 {
		t.Skip("no leases here: ", errno)
	}
	return func() { set(syscall.F_UNLCK) }
}

func TestLease(t *testing.T) {
	for suffix, op := range map[string]int{".lock": 0, "": 1} {
		name, call := operations[op].name, operations[op].call
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			put(t, f.Path+suffix, "")
			end := lease(t, f.Path+suffix)
			if err := call(soon(t), f); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with a lease: %v, want the context's error", err)
			}
			done := make(chan error, 1)
			go func() { done <- call(t.Context(), f) }()
			end()
			if err := <-done; err != nil {
				t.Errorf("when the lease has ended: %v", err)
			}
		})
	}
}

// stall mounts a file system that does not answer.
func stall(t *testing.T, dir string) (end func()) {
	t.Helper()
	asRoot(t)
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no FUSE here: ", err)
	}
	if err := syscall.Mount("stalled", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40700,user_id=0,group_id=0", fd)); err != nil {
		_ = syscall.Close(fd)
		t.Skip("no FUSE here: ", err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		if err := errors.Join(syscall.Close(fd), syscall.Unmount(dir, syscall.MNT_DETACH)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}

func TestStalledMount(t *testing.T) {
	for _, first := range operations {
		t.Run(first.name, func(t *testing.T) {
			dir := filepath.Join(folder(t), "mount")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			end := stall(t, dir)
			f := &private.File{Path: filepath.Join(dir, "file"), MakeFolder: true}
			if err := first.call(soon(t), f); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the context's error", err)
			}
			for _, op := range operations {
				if err := op.call(soon(t), f); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("then %s: %v, want the context's error", op.name, err)
				}
			}
			end()
			if err := f.Replace(t.Context(), []byte("text")); err != nil {
				t.Errorf("when the mount has gone: %v", err)
			}
			checkText(t, f, "text")
		})
	}
}

// mayMount runs the test again, in namespaces of its own, and reports whether it is that
// run.
func mayMount(t *testing.T) bool {
	t.Helper()
	const variable = "AUTHTRIP_MAY_MOUNT"
	if os.Getenv(variable) != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Skip("no mounts here: ", err)
		}
		return true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skip("no namespaces here: ", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("the test did not run:\n%s", out)
	}
	return false
}

// A file that is a mount of its own, as in a container, cannot be replaced.
func TestFileIsMount(t *testing.T) {
	if !mayMount(t) {
		return
	}
	f, outside := newFile(t), newFile(t)
	put(t, f.Path, "hidden")
	put(t, outside.Path, "a text that is longer than the next")
	if err := syscall.Mount(outside.Path, f.Path, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("no mounts here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(f.Path, syscall.MNT_DETACH) })
	ctx, dir := t.Context(), filepath.Dir(f.Path)
	for _, text := range []string{"short", "and a longer text", ""} {
		unlock := lock(t, f)
		if err := f.Replace(ctx, []byte(text)); err != nil {
			t.Fatal(err)
		}
		unlock()
		checkText(t, f, text)
		checkText(t, outside, text)
		checkNames(t, dir, "file", "file.lock")
	}
	if err := f.Replace(ctx, []byte("old")); err != nil {
		t.Fatal(err)
	}
	// The second look at the context is where the file itself would be written.
	disk := abandon(t, f, 2)
	if _, err := again(f).Lock(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("others have the lock while Replace goes on: %v", err)
	}
	close(disk.goOn)
	lock(t, again(f))()
	checkText(t, outside, "old")
	checkNames(t, dir, "file", "file.lock")

	name, err := f.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	checkText(t, &private.File{Path: name}, "old")
	checkText(t, f, "")
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("the copy is %v, %v", info, err)
	}
	if err := errors.Join(f.Replace(ctx, []byte("new")), f.Remove(ctx)); err != nil {
		t.Fatal(err)
	}
	checkText(t, outside, "")
	checkNames(t, dir, "file", filepath.Base(name), "file.lock")
}

// A file that is a mount, and very large, is not copied: that might fill the disk.
func TestAsideOfALargeMount(t *testing.T) {
	if !mayMount(t) {
		return
	}
	f, outside := newFile(t), newFile(t)
	put(t, f.Path, "")
	put(t, outside.Path, "text")
	if err := os.Truncate(outside.Path, 1<<30); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	if err := syscall.Mount(outside.Path, f.Path, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("no mounts here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(f.Path, syscall.MNT_DETACH) })
	if _, err := f.Aside(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("got %v, want an error that says so", err)
	}
	lock(t, f)()
	checkNames(t, filepath.Dir(f.Path), "file", "file.lock")
	if info, err := os.Stat(outside.Path); err != nil || info.Size() != 1<<30 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// The size of a file says nothing where its content is made while it is read.
func TestLimitWithoutSize(t *testing.T) {
	t.Setenv("A", "B")
	f := &private.File{Path: "/proc/self/environ", Limit: 1}
	if text, err := f.Read(t.Context()); !errors.Is(err, private.ErrTooLarge) {
		t.Errorf("%d bytes, %v; want ErrTooLarge", len(text), err)
	}
}

// A file system that cannot sync folders is used all the same.
func TestSyncFolder(t *testing.T) {
	dir := folder(t)
	const cannot = "/proc/sys"
	for _, path := range []string{dir, cannot} {
		if err := private.SyncFolder(path); err != nil {
			t.Error(err)
		}
	}
	if err := private.SyncFolder(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v", err)
	}
	if file, err := os.Open(cannot); err == nil {
		if err := errors.Join(file.Sync(), file.Close()); !errors.Is(err, syscall.EINVAL) {
			t.Skipf("%s can be synced: %v", cannot, err)
		}
	}
}
