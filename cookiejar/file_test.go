package cookiejar_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
)

const example = "https://example.com/"

// manual is for Files that save when they are told to.
var manual = &cookiejar.FileOptions{Debounce: -1}

// folder returns a folder for this user alone, whatever the umask is.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, path string, o *cookiejar.FileOptions) *cookiejar.File {
	t.Helper()
	f, err := cookiejar.OpenFile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func save(t testing.TB, f *cookiejar.File) {
	t.Helper()
	if err := f.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFileOutlives(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("KeepSession %v", session), func(t *testing.T) {
			path := filepath.Join(folder(t), "cookies.json")
			o := *manual
			o.KeepSession = session
			f := open(t, path, &o)
			f.Jar().Receive(parseURL(t, example), []string{"lasting=1; Max-Age=60", "session=2"})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
				t.Errorf("the file is %v, %v", info.Mode(), err)
			}
			want := "lasting"
			if session {
				want = "lasting session"
			}
			if got := names(open(t, path, &o).Jar()); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Saving comes a while after the first change, once for all until then.
func TestFileDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		f := open(t, path, &cookiejar.FileOptions{Debounce: 3 * time.Second, KeepSession: true})
		defer f.Close()
		stored := func() string { return names(open(t, path, manual).Jar()) }
		u := parseURL(t, example)
		for i := range 3 {
			f.Jar().Receive(u, []string{fmt.Sprint("c", i, "=")})
			time.Sleep(time.Second - 1)
		}
		if got := stored(); got != "" {
			t.Errorf("saved after %v: %q", 3*time.Second-3, got)
		}
		time.Sleep(3 * time.Nanosecond)
		synctest.Wait()
		if got := stored(); got != "c0 c1 c2" {
			t.Errorf("saved: %q", got)
		}
		f.Jar().Header(u)
		f.Jar().Receive(u, []string{"rejected; Domain=com"}) // neither is a change
		time.Sleep(time.Hour)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Jar().Clear()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := stored(); got != "" {
			t.Errorf("saved: %q", got)
		}
		if now, err := os.Stat(path); err != nil || os.SameFile(info, now) {
			t.Errorf("the file was written in place, %v", err)
		}
	})
}

func TestFileSavesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		var failed []time.Duration
		start := time.Now()
		f := open(t, path, &cookiejar.FileOptions{OnError: func(error) {
			failed = append(failed, time.Since(start))
			if len(failed) == 3 {
				os.Remove(path)
			}
			panic("in OnError")
		}})
		if err := os.WriteFile(path, []byte("foreign"), 0o600); err != nil {
			t.Fatal(err)
		}
		f.Jar().Receive(parseURL(t, example), []string{"a=1; Max-Age=3600"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{time.Second, 3 * time.Second, 7 * time.Second}, failed); diff != "" {
			t.Errorf("failed (-want +got):\n%s", diff)
		}
		if got := names(open(t, path, manual).Jar()); got != "a" {
			t.Errorf("saved: %q", got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		f.Jar().Clear() // is nobody's business any more
	})
}

// Several have one file, each with a jar of its own.
func TestFileMerges(t *testing.T) {
	lasting := func(s string) []string { return []string{s + "; Max-Age=3600"} }
	u := parseURL(t, example)
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, first, second *cookiejar.File)
		want   string // in both, after first, second and first have saved
	}{
		{"each sets one", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, lasting("a=1"))
			second.Jar().Receive(u, lasting("b=2"))
		}, "shared=0 a=1 b=2"},
		{"the newer one stays", func(t *testing.T, first, second *cookiejar.File) {
			second.Jar().Receive(u, lasting("shared=2"))
			first.Jar().Receive(u, lasting("shared=1"))
		}, "shared=1"},
		{"the newer one stays, whoever saves first", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, lasting("shared=1"))
			second.Jar().Receive(u, lasting("shared=2"))
		}, "shared=2"},
		{"deleted", func(t *testing.T, first, second *cookiejar.File) {
			c, _ := first.Jar().Get(u, "shared")
			first.Jar().Delete(c)
		}, ""},
		{"deleted by the other", func(t *testing.T, first, second *cookiejar.File) {
			second.Jar().Receive(u, []string{"shared=; Max-Age=0"})
		}, ""},
		{"deleted, and then set by the other", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, []string{"shared=; Max-Age=0"})
			second.Jar().Receive(u, lasting("shared=2"))
		}, "shared=2"},
		{"set, and then deleted by the other", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, lasting("shared=1"))
			second.Jar().Receive(u, []string{"shared=; Max-Age=0"})
		}, ""},
		{"deleted and set again", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, []string{"shared=; Max-Age=0"})
			first.Jar().Receive(u, lasting("shared=1"))
		}, "shared=1"},
		{"cleared", func(t *testing.T, first, second *cookiejar.File) {
			second.Jar().Receive(u, lasting("old=2"))
			first.Jar().ClearHost("example.com")
			second.Jar().Receive(u, lasting("new=2"))
		}, "new=2"},
		{"cleared by the other", func(t *testing.T, first, second *cookiejar.File) {
			first.Jar().Receive(u, lasting("old=1"))
			second.Jar().Clear()
			first.Jar().Receive(u, lasting("new=1"))
		}, "new=1"},
		{"session cookies cleared", func(t *testing.T, first, second *cookiejar.File) {
			second.Jar().Receive(u, []string{"session=2"})
			first.Jar().ClearSession()
		}, "shared=0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(folder(t), "cookies.json")
			o := &cookiejar.FileOptions{Debounce: -1, KeepSession: true}
			first := open(t, path, o)
			first.Jar().Receive(u, lasting("shared=0"))
			save(t, first)
			second := open(t, path, o)
			tt.change(t, first, second)
			for _, f := range []*cookiejar.File{first, second, first, second} {
				save(t, f)
			}
			third := open(t, path, o)
			for i, f := range []*cookiejar.File{first, second, third} {
				var pairs []string
				for c := range f.Jar().All() {
					pairs = append(pairs, c.Name+"="+c.Value)
				}
				if got := strings.Join(pairs, " "); got != tt.want {
					t.Errorf("%d has %q, want %q", i+1, got, tt.want)
				}
			}
		})
	}
}

// What a File reads back of its own is no news.
func TestFileIsQuiet(t *testing.T) {
	events := 0
	f := open(t, filepath.Join(folder(t), "cookies.json"), &cookiejar.FileOptions{
		Debounce: -1, Options: cookiejar.Options{OnEvent: func(cookiejar.Event) { events++ }},
	})
	f.Jar().Receive(parseURL(t, example), []string{"a=1; Max-Age=60"})
	for range 3 {
		save(t, f)
	}
	if events != 1 {
		t.Errorf("%d events", events)
	}
}

// A response that was on its way when another process signed out brings nothing
// back.
func TestFileClearedElsewhere(t *testing.T) {
	path := filepath.Join(folder(t), "cookies.json")
	first, second := open(t, path, manual), open(t, path, manual)
	base := &server{answer: func(int, *http.Request) *http.Response {
		first.Jar().Clear()
		save(t, first)
		save(t, second)
		return respond(200, "Set-Cookie", "sid=1")
	}}
	rt := &cookiejar.Transport{Jar: second.Jar(), Base: base}
	if _, err := rt.RoundTrip(request(t, "GET", example)); err != nil {
		t.Fatal(err)
	}
	if got := names(second.Jar()); got != "" {
		t.Errorf("got %q", got)
	}
}

// A process whose clock was ahead has cleared and deleted. What is set since, by
// clocks that are right, stays.
func TestFileOfAClockAhead(t *testing.T) {
	const gone = `{"format":"authtrip cookies","version":1,"cookies":[],` +
		`"deleted":[{"name":"a","domain":"example.com","host_only":true,"path":"/","at":"2190-01-01T00:00:00Z"}],` +
		`"cleared":[{"host":"example.com","at":"2180-01-01T00:00:00Z"}]}`
	path := filepath.Join(folder(t), "cookies.json")
	write(t, path, gone, 0o600)
	first, second := open(t, path, manual), open(t, path, manual)
	first.Jar().Receive(parseURL(t, example), []string{"a=1; Max-Age=60", "b=2; Max-Age=60"})
	for _, f := range []*cookiejar.File{first, second, first} {
		save(t, f)
	}
	for _, f := range []*cookiejar.File{first, second, open(t, path, manual)} {
		if got := names(f.Jar()); got != "a b" {
			t.Errorf("got %q", got)
		}
	}
}

func TestFileForgetsGraves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		f := open(t, path, manual)
		u := parseURL(t, example)
		for i := range 3100 {
			// One at a time: there is no room for more.
			f.Jar().Receive(u, []string{fmt.Sprint("c", i, "=; Max-Age=60"), fmt.Sprint("c", i, "=; Max-Age=0")})
		}
		f.Jar().ClearHost("example.com")
		save(t, f)
		count := func() int {
			t.Helper()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(text), `"at":`)
		}
		if n := count(); n != 3001 {
			t.Errorf("%d are remembered", n)
		}
		time.Sleep(401 * 24 * time.Hour)
		save(t, f)
		if n := count(); n != 0 {
			t.Errorf("%d are remembered after more than a year", n)
		}
	})
}

func TestOpenFileErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"readable by others", func(t *testing.T, path string) { write(t, path, saved(""), 0o644) }, "can be read or written by others (mode 0644): chmod 600"},
		{"writable by the group", func(t *testing.T, path string) { write(t, path, saved(""), 0o620) }, "can be read or written by others"},
		{"not one of ours", func(t *testing.T, path string) { write(t, path, "secret", 0o600) }, "not a document"},
		{"cut off", func(t *testing.T, path string) { write(t, path, saved("")[:80], 0o600) }, "not a document"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"huge", func(t *testing.T, path string) {
			write(t, path, "", 0o600)
			if err := os.Truncate(path, 65<<20); err != nil {
				t.Fatal(err)
			}
		}, "larger than the limit of 67108864 bytes"},
		{"a link in a circle", func(t *testing.T, path string) {
			if err := os.Symlink(path, path); err != nil {
				t.Fatal(err)
			}
		}, "the links form a loop"},
		{"in a folder that others can write to", func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
		}, "(mode 0777): chmod go-w, or choose another folder"},
		{"in a folder like /tmp", func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), 0o777|fs.ModeSticky); err != nil {
				t.Fatal(err)
			}
		}, "(mode 0777): choose another folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(folder(t), "cookies.json")
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			f, err := cookiejar.OpenFile(path, nil)
			if f != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v", f, err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := cookiejar.OpenFile(filepath.Join(folder(t), "missing", "cookies.json"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever umask says
		t.Fatal(err)
	}
}

// A link stays. Its target is read and written, and made if it does not exist.
func TestFileLink(t *testing.T) {
	for _, exists := range []bool{false, true} {
		dir := folder(t)
		target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
		if exists { // and is empty, which is a file without cookies
			write(t, target, "", 0o600)
		}
		if err := os.Symlink("target", link); err != nil {
			t.Fatal(err)
		}
		f := open(t, link, manual)
		f.Jar().Receive(parseURL(t, example), []string{"a=1; Max-Age=60"})
		save(t, f)
		if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("the link is %v, %v", info.Mode(), err)
		}
		if got := names(open(t, target, nil).Jar()); got != "a" {
			t.Errorf("got %q", got)
		}
	}
}

func TestFileSaveErrors(t *testing.T) {
	t.Run("what was left by one that was killed", func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		write(t, path+".new", "half", 0o644)
		f := open(t, path, manual)
		save(t, f)
		if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is there: %v", err)
		}
	})
	t.Run("something else is in the way", func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		f := open(t, path, manual)
		if err := os.MkdirAll(filepath.Join(path+".new", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := f.Save(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("the folder has gone", func(t *testing.T) {
		dir := filepath.Join(folder(t), "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		f := open(t, filepath.Join(dir, "cookies.json"), manual)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := f.Save(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("a folder has come in its place", func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		f := open(t, path, manual)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err == nil {
			t.Error("no error")
		}
	})
}

func TestFileWaitsForItsLock(t *testing.T) {
	path := filepath.Join(folder(t), "cookies.json")
	f := open(t, path, manual)
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Save(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := f.Save(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	both.Wait()
}

// While one Save is at work another can be given up.
func TestFileSaveIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(folder(t), "cookies.json")
		f := open(t, path, manual)
		lock := flock.New(path + ".lock")
		if err := lock.Lock(); err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() { save(t, f) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Save(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
		both.Wait()
	})
}

func TestFilePrints(t *testing.T) {
	path := filepath.Join(folder(t), "cookies.json")
	f := open(t, path, manual)
	f.Jar().Receive(parseURL(t, example), []string{"a=secret"})
	if got, want := fmt.Sprint(f), "cookiejar.File("+path+")"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, format := range []string{"%+v", "%#v"} {
		if got := fmt.Sprintf(format, f); strings.Contains(got, "secret") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
