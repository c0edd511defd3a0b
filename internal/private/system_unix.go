//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// careful has opening neither follow a link in the last place nor wait for the other end
// of a FIFO.
const careful = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// ownerOf returns the user that a file belongs to. ok says that owner and mode decide
// who can read and write it.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// isBusy reports whether opening a file has failed for a moment because of a lease.
func isBusy(err error) bool { return errors.Is(err, syscall.EAGAIN) }

// isMount reports whether a name could not be moved or removed because something is
// mounted on it.
func isMount(err error) bool { return errors.Is(err, syscall.EBUSY) }

// syncFolder makes a change of names in a folder last.
func syncFolder(dir string) error {
	file, err := os.OpenFile(dir, os.O_RDONLY|careful, 0)
	if err != nil {
		return err
	}
	if err = file.Sync(); isUnsupported(err) {
		err = nil
	}
	return both(err, file.Close())
}

// isUnsupported reports whether a file system cannot sync folders. Such a file system
// has its own rules for when a change lasts.
func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}
