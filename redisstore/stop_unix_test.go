//go:build unix

package redisstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/redis/go-redis/v9"
)

// stoppable names the Redis of a process that takes the lock, and saves when it is
// told to.
const stoppable = "AUTHTRIP_STOPPABLE"

func init() {
	addr := os.Getenv(stoppable)
	if addr == "" {
		return
	}
	ctx := context.Background()
	s := &redisstore.Store{Client: redis.NewClient(&redis.Options{Addr: addr}), Key: "alice", LockTTL: 200 * time.Millisecond}
	unlock, err := s.Lock(ctx)
	fmt.Println("locked", err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	err = s.Save(ctx, record(1))
	fmt.Println("fenced", errors.Is(err, redisstore.ErrFenced))
	unlock()
	os.Exit(0)
}

// A process that was stopped with the lock in its hands, for longer than that lasts,
// and goes on as if nothing had happened, overwrites nothing.
func TestStoppedProcess(t *testing.T) {
	_, client := start(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), stoppable+"="+client.Options().Addr)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	said := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("it says %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
	}
	said("locked <nil>")
	held := func() bool { return client.Exists(t.Context(), lockKey).Val() == 1 }
	if !held() {
		t.Error("it does not have the lock")
	}
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	until(t, "the lock's time is over", func() bool { return !held() })
	other := &redisstore.Store{Client: client, Key: "alice"}
	unlock := lock(t, other)
	if err := other.Save(t.Context(), record(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(stdin, "save"); err != nil {
		t.Fatal(err)
	}
	signal(syscall.SIGCONT)
	said("fenced true")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !held() {
		t.Error("it has unlocked what is another's")
	}
	unlock()
	expect(t, other, record(2))
}
