package tokensource_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/authtrip/authtrip/internal/crash"
	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { crash.Main(m, rotateForEver) }

// rotateForEver replaces the token by its successor, by a Locker's rules, and
// tells each that is saved.
func rotateForEver(path string) error {
	s := &tokensource.FileStore{Path: path}
	ctx := context.Background()
	rotate := func() (n int, err error) {
		unlock, err := s.Lock(ctx)
		if err != nil {
			return 0, err
		}
		defer unlock()
		token, err := stored(ctx, s)
		if err == nil && token != nil {
			n, err = strconv.Atoi(token.RefreshToken)
		}
		if err != nil {
			return 0, err
		}
		n++
		return n, s.Save(ctx, tokensource.NewRecord(&oauth2.Token{RefreshToken: strconv.Itoa(n)}))
	}
	for {
		n, err := rotate()
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// Four processes rotate one token and are killed at any moment, 500 saves long. The
// file is whole all the time, no two have held the lock at once, and what a Save
// has confirmed is not lost.
func TestFileStoreSurvivesKill(t *testing.T) {
	const saves = 500
	s := newFileStore(t)
	confirmed := make(map[int]bool)
	newest := 0
	crash.Kill(t, s.Path, func(lines []string) (enough bool) {
		for _, line := range lines {
			n, err := strconv.Atoi(line)
			if err != nil {
				t.Error(err)
			}
			if confirmed[n] {
				t.Errorf("two processes have saved token %d", n)
			}
			confirmed[n] = true
			newest = max(newest, n)
		}
		if _, err := stored(t.Context(), s); err != nil {
			t.Errorf("the file is not whole: %v", err)
		}
		return len(confirmed) >= saves
	})
	token, err := stored(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(token.RefreshToken); n < newest || err != nil {
		t.Errorf("the file has token %d, %v; %d was saved", n, err, newest)
	}
	t.Logf("%d saves", len(confirmed))
}
