package tokensource_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A disk that is full costs neither the new token nor the old file, and the new
// token is saved as soon as there is room.
func TestFileStoreFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	store := &tokensource.FileStore{Path: filepath.Join(dir, "token.json")}
	events := make(chan tokensource.Event, 100)
	session := &tokensource.Session{
		Store: store,
		Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			return &oauth2.Token{AccessToken: "access-2", RefreshToken: "refresh-2"}, nil
		},
		OnEvent: func(_ context.Context, e tokensource.Event) { events <- e },
	}
	ctx := t.Context()
	old := &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1"}
	if err := session.Set(ctx, old); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte("x"), 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	current, err := session.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if current, err = session.Renew(ctx, current); err != nil || current.AccessToken != "access-2" {
		t.Fatalf("renewed: %v, %v", current, err)
	}
	if kept, err := stored(ctx, store); err != nil || kept.RefreshToken != "refresh-1" {
		t.Errorf("the file has %v, %v; want what was there", kept, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	seen := make(map[tokensource.EventKind]bool)
	for deadline := time.After(10 * time.Second); !seen[tokensource.EventSaved]; {
		select {
		case e := <-events:
			seen[e.Kind] = true
			if e.Kind == tokensource.EventSaveFailed && !errors.Is(e.Err, syscall.ENOSPC) {
				t.Errorf("saving failed with %v, want the disk's error", e.Err)
			}
		case <-time.After(5 * time.Millisecond): // it is asked for now and then
			if _, err := session.Token(ctx); err != nil {
				t.Error(err)
			}
		case <-deadline:
			t.Fatalf("not saved within 10 seconds; %v", seen)
		}
	}
	if !seen[tokensource.EventSaveFailed] {
		t.Error("nobody was told that saving has failed")
	}
	if kept, err := stored(ctx, store); err != nil || kept.RefreshToken != "refresh-2" {
		t.Errorf("the file has %v, %v; want the new token", kept, err)
	}
}
