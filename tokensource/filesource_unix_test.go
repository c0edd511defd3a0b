//go:build unix

package tokensource_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
)

// What is not a regular file is an error, whether or not there is a token to fall back
// on. Nobody waits for the other end of a FIFO.
func TestFileIsNoRegularFile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"FIFO": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link to a FIFO": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".fifo", 0o600), os.Symlink(path+".fifo", path))
		},
		"link to a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"folder":           func(path string) error { return os.Mkdir(path, 0o700) },
		"socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "source") // short enough for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			source := &tokensource.FileSource{Path: filepath.Join(dir, "token"), Interval: -1}
			if err := make(source.Path); err != nil {
				t.Skip(err)
			}
			inTime(t, func() {
				if token, err := source.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
					t.Errorf("Token = %s", access(token, err))
				}
			})
			if err := errors.Join(os.Remove(source.Path), os.WriteFile(source.Path, []byte(object("one")), 0o600)); err != nil {
				t.Fatal(err)
			}
			one, err := source.Renew(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(source.Path); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(source.Path + ".fifo")
			if err := make(source.Path); err != nil {
				t.Fatal(err)
			}
			inTime(t, func() {
				if token, err := source.Renew(t.Context(), one); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
					t.Errorf("Renew = %s", access(token, err))
				}
				if token, err := source.Token(t.Context()); token != one {
					t.Errorf("Token = %s", access(token, err))
				}
			})
		})
	}
}

// inTime fails the test if f does not return.
func inTime(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("blocked for 30 seconds")
	}
}
