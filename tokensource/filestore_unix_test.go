//go:build unix

package tokensource_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// Opening a FIFO would wait for its other end.
func TestFileStoreIsAPipe(t *testing.T) {
	for _, suffix := range []string{"", ".lock"} {
		s := newFileStore(t)
		if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(s.Path+suffix, 0o600); err != nil {
			t.Skip(err)
		}
		session := &tokensource.Session{Store: s}
		want := s.Path + suffix + " is not a regular file"
		if err := session.Set(t.Context(), &oauth2.Token{AccessToken: "new"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Set: %v, want %q", err, want)
		}
	}
}
