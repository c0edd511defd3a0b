// The example of a Store over database/sql, and its tests, on a real PostgreSQL: the
// files of package tokensource_test are links to those of the library, which has no
// driver among its dependencies.
package tokensource_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

const (
	holderVariable = "AUTHTRIP_SQL_HOLDER" // the name that a process of this test locks

	// nobody is the user that PostgreSQL runs as when the test is root, which it refuses.
	nobody = 65534
)

func TestMain(m *testing.M) {
	if name := os.Getenv(holderVariable); name != "" {
		hold(name)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	bin := programs()
	switch {
	case bin != "":
	case os.Getenv("AUTHTRIP_SERVERS") == "required":
		fmt.Println("PostgreSQL is not installed, and AUTHTRIP_SERVERS=required")
		return 1
	default:
		fmt.Println("PostgreSQL is not installed: nothing is tested")
		return 0
	}
	// Not below a folder of the test's user, which may be closed to nobody.
	dir, err := os.MkdirTemp("", "sqlstore")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	url, stop, err := serve(bin, dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer stop()
	if err := os.Setenv("DATABASE_URL", url); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// programs returns the folder of PostgreSQL's programs, or "". Debian has one for each
// version, outside the PATH.
func programs() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(paths) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(paths))
}

// serve starts a server on a free port, with all its files in dir.
func serve(bin, dir string) (url string, stop func(), err error) {
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return "", nil, err
		}
	}
	data := filepath.Join(dir, "data")
	create := command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
	create.Dir = dir
	if out, err := create.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Between the port being found free and the server taking it, another may.
	for try := 1; ; try++ {
		url, stop, err = listen(bin, dir, data)
		if err == nil || try == 3 {
			return url, stop, err
		}
	}
}

func listen(bin, dir, data string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	server := command(filepath.Join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", "", "-F")
	server.Dir = dir
	var output strings.Builder
	server.Stdout, server.Stderr = &output, &output
	done, err := start(server)
	if err != nil {
		return "", nil, err
	}
	stop = func() { end(server, done) }
	url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := answers(url, done); err != nil {
		stop()
		return "", nil, fmt.Errorf("postgres: %w: %s", err, output.String())
	}
	return url, stop, nil
}

// command returns a command that PostgreSQL allows, and that ends with this process.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// start starts cmd. done is closed when cmd has ended.
func start(cmd *exec.Cmd) (done chan struct{}, err error) {
	started := make(chan error)
	done = make(chan struct{})
	go func() {
		// Pdeathsig is about the thread that has started cmd, which must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(done)
		}
	}()
	return done, <-started
}

// end has the server close its connections and end.
func end(server *exec.Cmd, done chan struct{}) {
	_ = server.Process.Signal(syscall.SIGINT)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		<-done
	}
}

// answers waits until the server answers.
func answers(url string, done chan struct{}) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	deadline := time.After(30 * time.Second)
	for {
		if err = db.Ping(); err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-done:
			return errors.New("has ended")
		case <-deadline:
			return err
		}
	}
}

// hold is a process that takes the lock and never gives it up.
func hold(name string) {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err == nil {
		_, err = (&sqlStore{db: db, name: name}).Lock(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	select {}
}

// The server frees the lock of a process that was killed.
func TestSQLStoreLockEndsWithItsProcess(t *testing.T) {
	s := newSQLStores(t, 1)[0]
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.CommandContext(t.Context(), exe)
	holder.Env = append(os.Environ(), holderVariable+"="+s.name)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("the holder says %q", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx); err == nil {
		t.Fatal("two processes have the lock")
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	lockSQL(t, s)()
}

// A server that ends a connection, as an administrator or a failover does, frees its lock.
func TestSQLStoreLockIsTakenAway(t *testing.T) {
	stores := newSQLStores(t, 2)
	unlock := lockSQL(t, stores[0])
	defer unlock()
	var pid int
	if err := stores[0].held.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if _, err := stores[1].db.ExecContext(t.Context(), "SELECT pg_terminate_backend($1)", pid); err != nil {
		t.Fatal(err)
	}
	next := lockSQL(t, stores[1])
	defer next()
	if err := stores[1].Save(t.Context(), []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if err := stores[0].Save(t.Context(), []byte("older")); err == nil {
		t.Error("a store that has lost its lock has saved")
	}
	if got, err := stores[1].Load(t.Context()); err != nil || string(got) != "newer" {
		t.Errorf("Load() = %q, %v", got, err)
	}
}
