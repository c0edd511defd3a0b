package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// README.md's table is what the kit finds today, but for the date.
func TestTable(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), begin)
	in, _, both := strings.Cut(rest, end)
	if !ok || !both {
		t.Fatal("README.md has no place for the table")
	}
	table, details := render(time.Now())
	if diff := cmp.Diff(undated(table), undated(in)); diff != "" {
		t.Errorf("make peers mends README.md (-found +written):\n%s\n%s", diff, details)
	}
}

// undated returns a table's lines from the second on.
func undated(table string) []string {
	_, rest, _ := strings.Cut(table, "\n")
	return strings.Split(rest, "\n")
}
