package redistest

import (
	"os/exec"
	"syscall"
)

// isolate has cmd end with this process.
func isolate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
