//go:build unix

package private_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/private"
)

// promptly fails the test if f does not return.
func promptly(t *testing.T, f func()) {
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

func TestPeekAtSpecialFiles(t *testing.T) {
	dir, err := os.MkdirTemp("", "peek") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(syscall.Mkfifo(at("fifo"), 0o600), os.Symlink("fifo", at("link"))); err != nil {
		t.Skip(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Skip(err)
	}
	defer socket.Close()
	for name, path := range map[string]string{
		"FIFO":             at("fifo"),
		"a link to a FIFO": at("link"),
		"socket":           at("socket"),
		"empty device":     os.DevNull,
		"endless device":   "/dev/zero",
	} {
		t.Run(name, func(t *testing.T) {
			promptly(t, func() {
				_, _, err := private.Peek(path, mebibyte)
				expectRefused(t, path, err, "is not a regular file")
			})
		})
	}
}

// The file can become a FIFO between the check of its type and the opening.
func TestOpenToPeekDoesNotWaitForAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	promptly(t, func() {
		file, err := private.OpenToPeek(path)
		if err != nil {
			t.Error(err)
			return
		}
		file.Close()
	})
}
