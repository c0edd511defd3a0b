//go:build !linux

package redistest

import "os/exec"

func isolate(*exec.Cmd) {}
