//go:build unix

package private

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign reports whether info is of a file that belongs to another user, who
// could read and change it whatever its mode is.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) != os.Geteuid()
}
