package cookiejar_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
)

// crashing names the file, in the environment of a process that is to be killed.
const crashing = "AUTHTRIP_COOKIEJAR_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashing); path != "" {
		if err := saveForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// saveForEver saves a cookie with one value after the other, and tells what it has.
func saveForEver(path string) error {
	f, err := cookiejar.OpenFile(path, &cookiejar.FileOptions{Debounce: -1})
	if err != nil {
		return err
	}
	name := fmt.Sprint("c", os.Getpid())
	// A domain of its own: there is a limit to what one has.
	u := &url.URL{Scheme: "https", Host: name + ".example.com"}
	for n := 1; ; n++ {
		f.Jar().Receive(u, []string{fmt.Sprintf("%s=%d; Max-Age=3600", name, n)})
		if err := f.Save(context.Background()); err != nil {
			return err
		}
		fmt.Println(name, n)
	}
}

// Four processes save at once and are killed at any moment, 500 saves long. The
// file is whole all the time, and has what a Save has confirmed.
func TestFileSurvivesKill(t *testing.T) {
	const (
		processes = 4
		saves     = 500
	)
	path := filepath.Join(t.TempDir(), "cookies.json")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu        sync.Mutex             // guards the fields below
		confirmed = make(map[string]int) // the last value of each cookie
		count     int
		kills     int
		all       sync.WaitGroup
	)
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return count >= saves
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for p := range processes {
		r := rand.New(rand.NewPCG(seed, uint64(p)))
		all.Go(func() {
			for !enough() && !t.Failed() {
				lines, err := lifeOf(t, exe, path, r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, line := range lines {
					var name string
					var n int
					if _, err := fmt.Sscan(line, &name, &n); err != nil {
						t.Errorf("%q: %v", line, err)
					}
					confirmed[name] = n
				}
				count += len(lines)
				kills++
				mu.Unlock()
				text, err := os.ReadFile(path)
				if err == nil {
					err = new(cookiejar.Jar).Decode(bytes.NewReader(text))
				}
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the file is not whole: %v", err)
				}
			}
		})
	}
	all.Wait()
	have := make(map[string]int)
	for c := range open(t, path, manual).Jar().All() {
		if have[c.Name], err = strconv.Atoi(c.Value); err != nil {
			t.Error(err)
		}
	}
	for name, n := range confirmed {
		if have[name] < n {
			t.Errorf("%s=%d was saved, and there is %d", name, n, have[name])
		}
	}
	t.Logf("%d saves, %d processes killed", count, kills)
}

// lifeOf runs one process until it is killed, and returns what it has confirmed.
func lifeOf(t *testing.T, exe, path string, r *rand.Rand) (lines []string, err error) {
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
		if lines = append(lines, scanner.Text()); kill == nil {
			kill = time.AfterFunc(time.Duration(r.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if kill == nil || stderr.Len() > 0 {
		return lines, fmt.Errorf("it has ended by itself: %w: %s", err, &stderr)
	}
	return lines, nil
}
