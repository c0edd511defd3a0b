package tokensource_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// stall makes whoever opens the file wait until release is called, as on a mount whose
// server does not answer. It takes a lease.
func stall(t *testing.T, path string) (release func()) {
	t.Helper()
	const setLease = 1024 // F_SETLEASE
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), setLease, syscall.F_UNLCK)
		file.Close()
	})
	t.Cleanup(release)
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), setLease, syscall.F_WRLCK); e != 0 {
		t.Skip("no leases here: ", e)
	}
	return release
}

// newStalled returns a source that has the token "one", and whose file stalls.
func newStalled(t *testing.T) (w *watched, release func()) {
	t.Helper()
	w = newWatched(t)
	w.Interval = -1
	w.write(object("one"))
	if got := access(w.Renew(t.Context(), nil)); got != "one" {
		t.Fatalf("Renew = %s", got)
	}
	w.write(object("two"))
	return w, stall(t, w.Path)
}

func ending(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// Callers have the last good token while the file stalls, and notice when it no longer
// does. Only those that have no use for that token wait, as long as their contexts.
func TestFileStalls(t *testing.T) {
	w, release := newStalled(t)
	inTime(t, func() {
		for range 1000 {
			w.expect("one")
		}
		one, _ := w.Token(t.Context())
		for _, rejected := range []*oauth2.Token{one, nil} {
			if token, err := w.Renew(ending(t), rejected); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Renew = %s, want an error when its context ends", access(token, err))
			}
		}
		if token, err := w.Renew(t.Context(), &oauth2.Token{AccessToken: "zero"}); token != one {
			t.Errorf("Renew of an older token = %s", access(token, err))
		}
	})
	release()
	for deadline := time.Now().Add(30 * time.Second); access(w.Token(t.Context())) != "two"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file is not read any more")
		}
	}
}

func TestFileStallsFromTheStart(t *testing.T) {
	w, release := newStalled(t)
	source := tokensource.NewFileSource(w.Path)
	for name, get := range map[string]func(context.Context) (*oauth2.Token, error){
		"Token": source.Token,
		"Renew": func(ctx context.Context) (*oauth2.Token, error) { return source.Renew(ctx, nil) },
	} {
		inTime(t, func() {
			token, err := get(ending(t))
			timeout, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err)
			if !ok || !timeout.Timeout() || err.Error() != "tokensource: waiting for a file: context deadline exceeded" {
				t.Errorf("%s = %s", name, access(token, err))
			}
		})
	}
	release()
	inTime(t, func() {
		if got := access(source.Token(t.Context())); got != "two" {
			t.Errorf("Token = %s", got)
		}
	})
}

// A stalled look keeps nothing of the callers that have left.
func TestFileStallsForManyCallers(t *testing.T) {
	const callers = 100_000
	memory := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	w, _ := newStalled(t)
	without := tokensource.NewFileSource(w.Path)
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, call := range map[string]func(){
		"Token": func() {
			if got := access(w.Token(gone)); got != "one" {
				t.Errorf("Token = %s, want the last good one", got)
			}
		},
		"Token, no token so far": func() { _, _ = without.Token(gone) },
		"Renew":                  func() { _, _ = w.Renew(gone, nil) },
	} {
		inTime(t, func() {
			call()
			goroutines, before := runtime.NumGoroutine(), memory()
			for range callers {
				call()
			}
			if grown := memory() - before; grown > 10*callers {
				t.Errorf("%s: %d bytes are kept for each caller that has left", name, grown/callers)
			}
			if more := runtime.NumGoroutine() - goroutines; more > 10 {
				t.Errorf("%s: %d more goroutines", name, more)
			}
		})
	}
}
