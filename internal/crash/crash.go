// Package crash kills processes that write to a file, for tests of what is left
// in it.
package crash

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

const (
	processes = 4
	longest   = 150 * time.Millisecond // from what a process first prints to its end

	// variable names the file, in the environment of a process that is to be killed.
	variable = "AUTHTRIP_CRASH"
)

// Main is a TestMain. A process that Kill has started does not test but work on
// path, which prints a line for each thing done and ends only by an error.
func Main(m *testing.M, work func(path string) error) {
	if path := os.Getenv(variable); path != "" {
		fmt.Fprintln(os.Stderr, work(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Kill has four processes at once work on path, kills each at some moment after
// its first line, and starts another in its place, until ended says that it is
// enough. ended is given the lines of each process that was killed, one at a time.
func Kill(t *testing.T, path string, ended func(lines []string) (enough bool)) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu     sync.Mutex // guards the fields below
		enough bool
		kills  int
		all    sync.WaitGroup
	)
	goOn := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return !enough && !t.Failed()
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for p := range processes {
		r := rand.New(rand.NewPCG(seed, uint64(p)))
		all.Go(func() {
			for goOn() {
				lines, err := life(t, exe, path, r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				kills++
				enough = ended(lines) || enough
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d processes killed", kills)
}

// life runs one process until it is killed, and returns what it has printed.
func life(t *testing.T, exe, path string, r *rand.Rand) (lines []string, err error) {
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), variable+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// From its first line on, wherever it is then.
	scanner := bufio.NewScanner(out)
	var kill *time.Timer
	for scanner.Scan() {
		if lines = append(lines, scanner.Text()); kill == nil {
			kill = time.AfterFunc(time.Duration(r.Int64N(int64(longest))), func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if kill == nil || stderr.Len() > 0 {
		return lines, fmt.Errorf("it has ended by itself: %w: %s", err, &stderr)
	}
	return lines, nil
}
