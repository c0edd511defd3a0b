// Package redistest runs redis-server and Sentinel, as Debian packages them, inside
// a test: on free ports of loopback, in folders of their own, and gone with the test.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const startTimeout = 15 * time.Second

// Installed returns what the redis-server in the PATH says of itself, and "" if there
// is none.
func Installed() string {
	version, _ := exec.Command("redis-server", "--version").Output()
	return strings.TrimSpace(string(version))
}

// A Server is a process of redis-server.
type Server struct {
	Addr string // 127.0.0.1:port

	tb      testing.TB
	dir     string
	args    []string
	process *os.Process
	done    chan struct{} // closed when the process is no more
}

// Start starts a server with options, lines of its configuration.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	return start(tb, nil, append([]string{"save \"\"", "appendonly yes", "appendfsync always"}, options...))
}

// Replica starts a replica of s.
func (s *Server) Replica(tb testing.TB, options ...string) *Server {
	tb.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	return Start(tb, append([]string{"replicaof 127.0.0.1 " + port, "repl-diskless-sync-delay 0"}, options...)...)
}

// Sentinel starts a Sentinel that watches s by name, and alone decides on what is
// to become of it.
func (s *Server) Sentinel(tb testing.TB, name string) *Server {
	tb.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	return start(tb, []string{"--sentinel"}, []string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 1", name, port),
		"sentinel down-after-milliseconds " + name + " 500",
		"sentinel failover-timeout " + name + " 5000",
	})
}

func start(tb testing.TB, args, lines []string) *Server {
	tb.Helper()
	s := &Server{tb: tb, dir: tb.TempDir()}
	conf := filepath.Join(s.dir, "redis.conf")
	s.args = append([]string{conf}, args...)
	// Between the port being found free and the server taking it, another may.
	for try := 1; ; try++ {
		port := freePort(tb)
		s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
		text := strings.Join(append([]string{fmt.Sprint("port ", port), "bind 127.0.0.1", "dir " + s.dir, "logfile " + filepath.Join(s.dir, "log")}, lines...), "\n")
		if err := os.WriteFile(conf, []byte(text+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		err := s.run()
		if err == nil {
			break
		}
		if try == 3 {
			tb.Fatalf("redis-server: %v\n%s", err, s.log())
		}
	}
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("redis-server at %s:\n%s", s.Addr, s.log())
		}
	})
	return s
}

// Stop kills the server.
func (s *Server) Stop() {
	_ = s.process.Kill()
	<-s.done
}

// Restart starts the server again after Stop, with what it has on its disk.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatalf("redis-server again: %v\n%s", err, s.log())
	}
}

// Do sends a command as one would type it, and returns the first line of the
// answer.
func (s *Server) Do(command string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

// run starts the process and returns when it answers.
func (s *Server) run() error {
	cmd := exec.Command("redis-server", s.args...)
	isolate(cmd)
	s.done = make(chan struct{})
	started, done := make(chan error), s.done
	go func() {
		// The server is told to end when the thread does that has started it, as it
		// does when the test dies of a timeout; so it must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process = cmd.Process
	deadline := time.After(startTimeout)
	for {
		// One that asks for a password answers too; one that loads is not yet there.
		if answer, err := s.Do("PING"); err == nil && !strings.HasPrefix(answer, "-LOADING") {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("ended as it started: %v", cmd.ProcessState)
		case <-deadline:
			s.Stop()
			return fmt.Errorf("does not answer within %v", startTimeout)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Server) log() string {
	const most = 8 << 10
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text[max(0, len(text)-most):])
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
