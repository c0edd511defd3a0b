//go:build unix

package private

import (
	"errors"
	"os"
	"syscall"
)

// openToPeek opens path without waiting for the other end of a FIFO, and without
// making a terminal the controlling one.
func openToPeek(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		// Another process has a lease on a regular file. An ordinary open waits until
		// the kernel has taken the lease back.
		return os.Open(path)
	}
	return file, err
}
