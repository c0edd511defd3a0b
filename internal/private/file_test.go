package private_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/private"
	"github.com/google/go-cmp/cmp"
)

// folder returns a folder for this user alone, whatever the umask is.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func newFile(t *testing.T) *private.File {
	t.Helper()
	return &private.File{Path: filepath.Join(folder(t), "file")}
}

// again returns another File of the path, as another process has it.
func again(f *private.File) *private.File { return &private.File{Path: f.Path} }

// names returns all that is in a folder.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+string(filepath.Separator)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no links here: ", err)
	}
}

func checkText(t *testing.T, f *private.File, want string) {
	t.Helper()
	if text, err := f.Read(t.Context()); string(text) != want || err != nil {
		t.Errorf("read %.100q, %v; want %q", text, err, want)
	}
}

// lock returns with the lock, or fails the test.
func lock(t *testing.T, f *private.File) (unlock func()) {
	t.Helper()
	unlock, err := f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

// soon returns a context that ends soon.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// operations are all that a File has.
var operations = []struct {
	name string
	call func(ctx context.Context, f *private.File) error
}{
	{"Lock", func(ctx context.Context, f *private.File) error {
		unlock, err := f.Lock(ctx)
		if err == nil {
			unlock()
		}
		return err
	}},
	{"Read", func(ctx context.Context, f *private.File) error { _, err := f.Read(ctx); return err }},
	{"Replace", func(ctx context.Context, f *private.File) error { return f.Replace(ctx, []byte("new")) }},
	{"Aside", func(ctx context.Context, f *private.File) error { _, err := f.Aside(ctx); return err }},
	{"Remove", func(ctx context.Context, f *private.File) error { return f.Remove(ctx) }},
}

// checkAll calls all operations, of a File each, but for those that are left out. Each
// error must contain want.
func checkAll(t *testing.T, f *private.File, want string, except ...string) {
	t.Helper()
	for _, op := range operations {
		left := false
		for _, name := range except {
			left = left || name == op.name
		}
		if left {
			continue
		}
		fresh := &private.File{Path: f.Path, MakeFolder: f.MakeFolder}
		if err := op.call(t.Context(), fresh); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", op.name, err, want)
		}
	}
}

func TestReplace(t *testing.T) {
	f := newFile(t)
	ctx, dir := t.Context(), filepath.Dir(f.Path)
	if text, err := f.Read(ctx); text != nil || err != nil {
		t.Errorf("without a file: %q, %v", text, err)
	}
	put(t, f.Path+".new", "half a te") // as a process that was killed leaves it
	for _, want := range []string{"one text", "another", ""} {
		if err := f.Replace(ctx, []byte(want)); err != nil {
			t.Fatal(err)
		}
		checkText(t, f, want)
		checkNames(t, dir, "file")
	}
	if text, err := f.Read(ctx); text == nil || err != nil {
		t.Errorf("an empty file: %v, %v; want a text that is not nil", text, err)
	}
	for n := 1; n <= 2; n++ {
		text := fmt.Sprint("text ", n)
		if err := f.Replace(ctx, []byte(text)); err != nil {
			t.Fatal(err)
		}
		name, err := f.Aside(ctx)
		if want := f.Path + ".corrupt-" + strconv.Itoa(n); name != want || err != nil {
			t.Fatalf("set aside as %s, %v; want %s", name, err, want)
		}
		checkText(t, &private.File{Path: name}, text)
	}
	checkNames(t, dir, "file.corrupt-1", "file.corrupt-2")
	if _, err := f.Aside(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("setting nothing aside: %v", err)
	}
	put(t, f.Path, "text")
	for range 2 {
		if err := f.Remove(ctx); err != nil {
			t.Error(err)
		}
	}
	checkNames(t, dir, "file.corrupt-1", "file.corrupt-2")
}

func TestLimit(t *testing.T) {
	for _, limit := range []int64{0, 1, 10, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			f := newFile(t)
			f.Limit = limit
			if limit == 0 {
				limit = 1 << 20
			}
			ctx, text := t.Context(), make([]byte, limit+1)
			if err := f.Replace(ctx, text[:limit]); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Read(ctx); int64(len(got)) != limit || err != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			for what, err := range map[string]error{"Fits": f.Fits(text), "Replace": f.Replace(ctx, text)} {
				if !errors.Is(err, private.ErrTooLarge) || !strings.Contains(err.Error(), f.Path) {
					t.Errorf("%s: %v, want ErrTooLarge with the file's name", what, err)
				}
			}
			if got, err := f.Read(ctx); int64(len(got)) != limit || err != nil {
				t.Errorf("after Replace was refused: %d bytes, %v", len(got), err)
			}
			for _, size := range []int64{limit + 1, 1 << 40} {
				if err := os.Truncate(f.Path, size); err != nil {
					t.Skip(err)
				}
				if _, err := f.Read(ctx); !errors.Is(err, private.ErrTooLarge) || !strings.Contains(err.Error(), f.Path) {
					t.Errorf("Read: %v, want ErrTooLarge with the file's name", err)
				}
			}
			if _, err := f.Aside(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNotAFile(t *testing.T) {
	f := newFile(t)
	if err := os.Mkdir(f.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	checkAll(t, f, f.Path+" is not a regular file")
	checkNames(t, filepath.Dir(f.Path), "file")
	checkAll(t, &private.File{}, "is not a regular file") // it is the working directory
}

// Nothing takes a folder away, not even an empty one.
func TestFolderInTheWay(t *testing.T) {
	for suffix, calls := range map[string][]string{".new": {"Replace"}, ".lock": {"Lock"}} {
		f := newFile(t)
		put(t, f.Path, "old")
		if err := os.Mkdir(f.Path+suffix, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, op := range operations {
			if op.name != calls[0] {
				continue
			}
			if err := op.call(t.Context(), f); err == nil || !strings.Contains(err.Error(), f.Path+suffix) {
				t.Errorf("%s: %v, want an error that names the folder", op.name, err)
			}
		}
		checkText(t, f, "old")
		checkNames(t, filepath.Dir(f.Path), "file", "file"+suffix)
	}
}

func TestNoFolder(t *testing.T) {
	ctx, dir := t.Context(), folder(t)
	f := &private.File{Path: filepath.Join(dir, "a", "b", "file")}
	checkAll(t, f, "a", "Read", "Remove")
	for _, op := range operations {
		if err := op.call(ctx, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want fs.ErrNotExist", op.name, err)
		}
	}
	checkNames(t, dir)
	f = &private.File{Path: f.Path, MakeFolder: true}
	if err := f.Replace(ctx, []byte("text")); err != nil {
		t.Fatal(err)
	}
	checkText(t, f, "text")
	for _, name := range []string{"a", "a/b"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	lock(t, f)() // makes it again
	checkNames(t, dir, "a", filepath.Join("a", "b"), filepath.Join("a", "b", "file.lock"))
}

// Goroutines, some with a File of their own, count in a file.
func TestLock(t *testing.T) {
	first := newFile(t)
	second := again(first)
	const each = 5
	var all sync.WaitGroup
	for _, f := range []*private.File{first, first, second, again(first)} {
		all.Go(func() {
			for range each {
				unlock, err := f.Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				text, err := f.Read(t.Context())
				n, _ := strconv.Atoi(string(text))
				if err = errors.Join(err, f.Replace(t.Context(), []byte(strconv.Itoa(n+1)))); err != nil {
					t.Error(err)
				}
				unlock()
				unlock()
			}
		})
	}
	all.Wait()
	checkText(t, first, strconv.Itoa(4*each))
	checkNames(t, filepath.Dir(first.Path), "file", "file.lock")
}

func TestLockIsHeld(t *testing.T) {
	f := newFile(t)
	unlock := lock(t, f)
	for _, f := range []*private.File{f, again(f)} {
		if _, err := f.Lock(soon(t)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("locked twice: %v", err)
		}
	}
	if err := f.Replace(t.Context(), []byte("text")); err != nil {
		t.Errorf("with the lock, while others wait for it: %v", err)
	}
	unlock()
	lock(t, again(f))()
	unlock() // is not the lock of another
	unlock = lock(t, f)
	unlock()
}

// Callers that leave while they get the lock do not keep it.
func TestLeaveLock(t *testing.T) {
	f := newFile(t)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if unlock, err := f.Lock(ctx); err == nil {
				unlock()
			}
		}()
		for tried := false; !tried; {
			select {
			case <-gone:
				tried = true
			default:
				_, err := os.Lstat(f.Path + ".lock")
				tried = err == nil
			}
		}
		cancel()
		<-gone
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		unlock, err := again(f).Lock(ctx)
		if err != nil {
			t.Fatal("nobody has the lock: ", err)
		}
		unlock()
		cancel()
		if err := os.Remove(f.Path + ".lock"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := folder(t)
	for _, op := range operations {
		f := &private.File{Path: filepath.Join(dir, "a", "file"), MakeFolder: true}
		if err := op.call(ctx, f); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("%s: %v, want the context's error", op.name, err)
		}
	}
	checkNames(t, dir)
}

func TestRelativePath(t *testing.T) {
	f := newFile(t)
	t.Chdir(filepath.Dir(f.Path))
	relative := &private.File{Path: "file"}
	if err := relative.Replace(t.Context(), []byte("text")); err != nil {
		t.Fatal(err)
	}
	// A ".." is that of the link's target.
	symlink(t, folder(t), "link")
	other := &private.File{Path: "link/../file"}
	checkText(t, other, "")
	t.Chdir(folder(t))
	checkText(t, relative, "text")
	checkText(t, f, "text")
}

// A slowDisk is a context whose operation stops where it looks at the context for the
// nth time after it has written the temporary file.
type slowDisk struct {
	context.Context
	temporary string
	nth       int32
	looks     atomic.Int32
	reached   chan struct{}
	goOn      chan struct{}
}

func newSlowDisk(t *testing.T, f *private.File, nth int32) (disk *slowDisk, leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return &slowDisk{Context: ctx, temporary: f.Path + ".new", nth: nth, reached: make(chan struct{}), goOn: make(chan struct{})}, cancel
}

func (d *slowDisk) Err() error {
	if _, err := os.Lstat(d.temporary); err == nil && d.looks.Add(1) == d.nth {
		close(d.reached)
		<-d.goOn
	}
	return d.Context.Err()
}

// abandon starts a Replace under the lock, and returns when its caller has left. It goes
// on when the disk does.
func abandon(t *testing.T, f *private.File, nth int32) *slowDisk {
	t.Helper()
	unlock := lock(t, f)
	disk, leave := newSlowDisk(t, f, nth)
	failed := make(chan error, 1)
	go func() { failed <- f.Replace(disk, []byte("abandoned")) }()
	select {
	case <-disk.reached:
	case err := <-failed:
		t.Fatalf("Replace does not stop: %v", err)
	}
	leave()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Replace: %v, want the context's error", err)
	}
	unlock() // returns, although the lock stays
	return disk
}

// A Replace whose caller has left keeps the lock until it ends, and changes nothing.
func TestAbandonedReplace(t *testing.T) {
	f := newFile(t)
	put(t, f.Path, "old")
	disk := abandon(t, f, 1)
	other := again(f)
	if _, err := other.Lock(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("others have the lock while Replace goes on: %v", err)
	}
	checkText(t, other, "old")
	close(disk.goOn)
	unlock := lock(t, other)
	checkText(t, other, "old")
	checkNames(t, filepath.Dir(f.Path), "file", "file.lock")
	if err := other.Replace(t.Context(), []byte("new")); err != nil {
		t.Error(err)
	}
	unlock()
	checkText(t, f, "new")
}

// The folder may vanish at any moment. The error is one line.
func TestFolderVanishes(t *testing.T) {
	f := newFile(t)
	disk, _ := newSlowDisk(t, f, 1)
	failed := make(chan error, 1)
	go func() { failed <- f.Replace(disk, []byte("text")) }()
	<-disk.reached
	if err := os.RemoveAll(filepath.Dir(f.Path)); err != nil {
		t.Error(err)
	}
	close(disk.goOn)
	if err := <-failed; !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), f.Path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// While an operation goes on without its caller, others wait, and leave nothing behind.
func TestWaitForAbandoned(t *testing.T) {
	f := newFile(t)
	disk := abandon(t, f, 1)
	for _, op := range operations {
		if err := op.call(soon(t), f); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want the context's error", op.name, err)
		}
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for n := range 10_000 {
		all.Go(func() {
			if err := operations[n%len(operations)].call(ctx, f); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want the context's error", operations[n%len(operations)].name, err)
			}
		})
	}
	cancel()
	all.Wait()
	// A goroutine that has called Done may not have ended yet.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, and there were %d", runtime.NumGoroutine(), before)
		}
	}
	close(disk.goOn)
	lock(t, f)()
	if err := f.Replace(t.Context(), []byte("text")); err != nil {
		t.Error(err)
	}
}

func TestLinks(t *testing.T) {
	chain := func(n int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			to := "target/file"
			for i := range n {
				link := fmt.Sprint("link", i)
				if i == n-1 {
					link = "file"
				}
				symlink(t, to, filepath.Join(dir, link))
				to = link
			}
		}
	}
	for _, tt := range []struct {
		name string
		path string // in a folder that has a folder "target"
		link func(t *testing.T, dir string)
		want string // where the file is; "": the links form a loop
	}{
		{"absolute", "file", func(t *testing.T, dir string) {
			symlink(t, filepath.Join(dir, "target", "file"), filepath.Join(dir, "file"))
		}, "target/file"},
		{"relative", "file", chain(1), "target/file"},
		{"three hops", "file", chain(3), "target/file"},
		{"forty hops", "file", chain(40), "target/file"},
		{"too many hops", "file", chain(41), ""},
		{"of a folder", "folder/file", func(t *testing.T, dir string) { symlink(t, "target", filepath.Join(dir, "folder")) }, "target/file"},
		{"of a folder that does not exist", "folder/a/file", func(t *testing.T, dir string) {
			symlink(t, "target/b", filepath.Join(dir, "folder"))
		}, "target/b/a/file"},
		{"relative, in a linked folder", "folder/file", func(t *testing.T, dir string) {
			symlink(t, "target", filepath.Join(dir, "folder"))
			symlink(t, "../other", filepath.Join(dir, "target", "file"))
		}, "other"},
		{"back out of a linked folder", "folder/../file", func(t *testing.T, dir string) {
			symlink(t, "target/b", filepath.Join(dir, "folder"))
		}, "target/file"},
		{"back out of the root", "file", func(t *testing.T, dir string) {
			symlink(t, "/.."+filepath.Join(dir, "target", "file"), filepath.Join(dir, "file"))
		}, "target/file"},
		{"needless slashes", "./folder//file", func(t *testing.T, dir string) { symlink(t, ".//target/.", filepath.Join(dir, "folder")) }, "target/file"},
		{"to itself", "file", func(t *testing.T, dir string) { symlink(t, "file", filepath.Join(dir, "file")) }, ""},
		{"in a circle", "file", func(t *testing.T, dir string) {
			symlink(t, "other", filepath.Join(dir, "file"))
			symlink(t, filepath.Join(dir, "file"), filepath.Join(dir, "other"))
		}, ""},
		{"of a folder, in a circle", "folder/file", func(t *testing.T, dir string) { symlink(t, "folder/x", filepath.Join(dir, "folder")) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("paths have other forms here")
			}
			dir := folder(t)
			if err := os.Mkdir(filepath.Join(dir, "target"), 0o700); err != nil {
				t.Fatal(err)
			}
			tt.link(t, dir)
			f := &private.File{Path: dir + "/" + tt.path, MakeFolder: true}
			before := names(t, dir)
			if tt.want == "" {
				checkAll(t, f, "the links form a loop")
				checkNames(t, dir, before...)
				return
			}
			target := filepath.Join(dir, tt.want)
			lock(t, f)()
			for _, text := range []string{"one", "two"} { // to no file, and to one
				if err := f.Replace(t.Context(), []byte(text)); err != nil {
					t.Fatal(err)
				}
				checkText(t, f, text)
				if got, err := os.ReadFile(target); string(got) != text || err != nil {
					t.Errorf("the target has %q, %v", got, err)
				}
			}
			info, err := os.Lstat(target)
			if err != nil || !info.Mode().IsRegular() {
				t.Errorf("the target is %v, %v", info, err)
			}
			if _, err := os.Stat(target + ".lock"); err != nil {
				t.Errorf("no lock beside the target: %v", err)
			}
			if err := errors.Join(f.Remove(t.Context()), os.Remove(target+".lock"), os.RemoveAll(filepath.Join(dir, "target", "b"))); err != nil {
				t.Error(err)
			}
			checkNames(t, dir, before...)
		})
	}
}
