package private_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/internal/private"
)

// A lease, such as a file server takes for a client that writes, delays Peek and does
// not make it fail.
func TestPeekWaitsForALease(t *testing.T) {
	const setLease = 1024 // F_SETLEASE
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), setLease, syscall.F_WRLCK); e != 0 {
		t.Skip("no leases here: ", e)
	}
	// A non-blocking open fails for as long as the lease is held.
	if f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		f.Close()
		t.Skip("the lease has no effect here")
	}
	done := make(chan error, 1)
	var text []byte
	go func() {
		var err error
		text, _, err = private.Peek(path, mebibyte)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("got %q, %v while the lease was held", text, err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := file.WriteString(" and half"); err != nil {
		t.Error(err)
	}
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), setLease, syscall.F_UNLCK); e != 0 {
		t.Fatal(e)
	}
	promptly(t, func() {
		if err := <-done; string(text) != "half and half" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	})
}
