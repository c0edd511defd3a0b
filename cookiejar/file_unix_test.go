//go:build unix

package cookiejar_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
)

// Opening a FIFO would wait for its other end.
func TestFileIsAPipe(t *testing.T) {
	for _, suffix := range []string{"", ".lock"} {
		path := filepath.Join(folder(t), "cookies.json")
		if err := syscall.Mkfifo(path+suffix, 0o600); err != nil {
			t.Skip(err)
		}
		want := path + suffix + " is not a regular file"
		if _, err := cookiejar.OpenFile(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}
