package tokensource_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// crashing names the file, in the environment of a process that is to be killed.
const crashing = "AUTHTRIP_TOKENSOURCE_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashing); path != "" {
		fmt.Fprintln(os.Stderr, rotateForEver(&tokensource.FileStore{Path: path}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// rotateForEver replaces the token by its successor, by a Locker's rules, and
// tells each that is saved.
func rotateForEver(s *tokensource.FileStore) error {
	ctx := context.Background()
	rotate := func() (n int, err error) {
		unlock, err := s.Lock(ctx)
		if err != nil {
			return 0, err
		}
		defer unlock()
		token, err := s.Load(ctx)
		switch {
		case err == nil:
			n, err = strconv.Atoi(token.RefreshToken)
		case errors.Is(err, tokensource.ErrNoToken):
			err = nil
		}
		if err != nil {
			return 0, err
		}
		n++
		return n, s.Save(ctx, &oauth2.Token{RefreshToken: strconv.Itoa(n)})
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
	const (
		processes = 4
		saves     = 500
	)
	s := newFileStore(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu        sync.Mutex // guards the fields below
		confirmed = make(map[int]bool)
		newest    int
		kills     int
		all       sync.WaitGroup
	)
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(confirmed) >= saves
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for p := range processes {
		r := rand.New(rand.NewPCG(seed, uint64(p)))
		all.Go(func() {
			for !enough() && !t.Failed() {
				numbers, err := lifeOf(t, exe, s.Path, r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, n := range numbers {
					if confirmed[n] {
						t.Errorf("two processes have saved token %d", n)
					}
					confirmed[n] = true
					newest = max(newest, n)
				}
				kills++
				mu.Unlock()
				if _, err := s.Load(t.Context()); err != nil {
					t.Errorf("the file is not whole: %v", err)
				}
			}
		})
	}
	all.Wait()
	token, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(token.RefreshToken); n < newest || err != nil {
		t.Errorf("the file has token %d, %v; %d was saved", n, err, newest)
	}
	t.Logf("%d saves, %d processes killed", len(confirmed), kills)
}

// lifeOf runs one process until it is killed, and returns what it has confirmed.
func lifeOf(t *testing.T, exe, path string, r *rand.Rand) (numbers []int, err error) {
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), crashing+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// From its first save on, wherever it is then.
	scanner := bufio.NewScanner(out)
	var kill *time.Timer
	for scanner.Scan() {
		n, err := strconv.Atoi(scanner.Text())
		if err != nil {
			t.Error(err)
		}
		if numbers = append(numbers, n); kill == nil {
			kill = time.AfterFunc(time.Duration(r.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if kill == nil || stderr.Len() > 0 {
		return numbers, fmt.Errorf("it has ended by itself: %w: %s", err, &stderr)
	}
	return numbers, nil
}
