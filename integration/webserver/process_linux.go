package webserver

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// nobody is the user that servers run as when the test is root: nothing has to
// be said about users in their configurations then, nor about what each of them
// opens before it drops privileges.
const nobody = 65534

func hand(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return os.Chown(dir, nobody, nobody)
}

// isolate has cmd run in a process group of its own, and end with this process.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

// end ends the server and whatever of it is left: politely first, since servers
// have shared memory to give back, and only the server itself, which may think
// that its helpers have crashed otherwise.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}
