package webserver

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 5 * time.Second
)

// A process is a server with all that it has forked.
type process struct {
	cmd  *exec.Cmd
	dir  string
	done chan struct{} // closed when cmd is no more
}

// start starts a server, which is stopped with the test. configure writes what
// it needs into the site's directory and returns its arguments.
func start(tb testing.TB, name string, configure func(*site) []string) *Server {
	tb.Helper()
	path := find(tb, name)
	dir := directory(tb)
	// Between the port being found free and the server taking it, another may.
	for try := 1; ; try++ {
		s := &site{tb: tb, name: name, Dir: dir, Port: freePort(tb), APIKey: APIKey}
		p, err := run(path, configure(s), s)
		if err == nil {
			tb.Cleanup(func() { p.stop(tb) })
			return &Server{Name: name, URL: fmt.Sprintf("http://127.0.0.1:%d", s.Port), dir: dir}
		}
		if try == 3 {
			tb.Fatalf("%s: %v\n%s", name, err, logs(dir))
		}
	}
}

// find returns the path of a program. Those of servers are often not in the
// PATH of an ordinary user.
func find(tb testing.TB, name string) string {
	tb.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	missing(tb, name)
	return ""
}

// missing ends the test for want of a server.
func missing(tb testing.TB, name string) {
	tb.Helper()
	if os.Getenv("AUTHTRIP_SERVERS") == "required" {
		tb.Fatalf("%s is not installed, and AUTHTRIP_SERVERS=required", name)
	}
	tb.Skipf("%s is not installed", name)
}

// directory makes a directory for a server to run in. It is not tb.TempDir,
// whose parent is closed to the user that the server may run as.
func directory(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "webserver")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := hand(dir); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func (s *site) write(name, content string) {
	s.tb.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o644); err != nil {
		s.tb.Fatal(err)
	}
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

// run starts a server and returns when it listens.
func run(path string, args []string, s *site) (*process, error) {
	output, err := os.Create(filepath.Join(s.Dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p := &process{cmd: exec.Command(path, args...), dir: s.Dir, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.Dir, output, output
	isolate(p.cmd)
	started := make(chan error)
	go func() {
		// The server is told to end when the thread does that has started it, as
		// it does when the test dies of a timeout; so it must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if err := p.listens(s.Port); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// listens waits until somebody does on the port.
func (p *process) listens(port int) error {
	deadline := time.After(startTimeout)
	for {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("ended as it started: %v", p.cmd.ProcessState)
		case <-deadline:
			return fmt.Errorf("does not answer within %v", startTimeout)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) stop(tb testing.TB) {
	p.end()
	if tb.Failed() {
		tb.Logf("%s\n%s", p.cmd, logs(p.dir))
	}
}

// logs returns the end of every log in dir.
func logs(dir string) string {
	const most = 8 << 10
	var b bytes.Buffer
	paths, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	slices.Sort(paths)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			content = []byte(err.Error())
		}
		if len(content) > 0 {
			fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(path), content[max(0, len(content)-most):])
		}
	}
	return b.String()
}
