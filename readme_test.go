package authtrip_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What README.md offers for copying must build.
func TestReadmePrograms(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	built := 0
	for i, block := range strings.Split(string(readme), "```go\n")[1:] {
		program, _, closed := strings.Cut(block, "```")
		if !closed {
			t.Errorf("block %d is not closed", i)
		}
		if !strings.HasPrefix(program, "package main") {
			continue
		}
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("block %d: %v\n%s", i, err, out)
		}
		built++
	}
	if built == 0 {
		t.Error("README.md has no program")
	}
}
