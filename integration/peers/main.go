package main

import (
	_ "embed"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/authtest"
)

// The lines around the table in a file.
const (
	begin = "<!-- The table below is written by `make peers`. -->\n"
	end   = "<!-- The table ends here. -->\n"
)

//go:embed go.mod
var goMod string

func main() {
	log.SetFlags(0)
	details := len(os.Args) == 2 && os.Args[1] == "-v"
	table, found := render(time.Now())
	switch {
	case details:
		fmt.Print(found)
	case len(os.Args) == 1:
		fmt.Print(table)
	case len(os.Args) == 2:
		if err := write(os.Args[1], table); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("usage: peers [-v | file]")
	}
}

func write(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, both := strings.Cut(rest, end)
	if !ok || !both {
		return fmt.Errorf("%s has no place for the table", file)
	}
	return os.WriteFile(file, []byte(before+begin+table+end+after), 0o644)
}

// render runs the kit and returns the table, and what was found in detail.
func render(now time.Time) (table, details string) {
	log.SetOutput(io.Discard) // net/http and the peers have their say there
	defer log.SetOutput(os.Stderr)
	marks := map[authtest.Verdict]string{authtest.Pass: "✓", authtest.Fail: "✗", authtest.NotApplicable: "–"}
	results := make([][]authtest.Result, len(peers))
	var all sync.WaitGroup
	for i, p := range peers { // at once, for what is broken is mostly waited for
		all.Go(func() { results[i] = authtest.Check(p.wrap, append(p.options, authtest.Patience(3*time.Second))...) })
	}
	all.Wait()
	var found strings.Builder
	for i, p := range peers {
		for _, r := range results[i] {
			if r.Verdict != authtest.Pass {
				fmt.Fprintf(&found, "%s %s: %s: %s: %s\n", p.module, p.what, r.Clause, r.Verdict, r.Detail)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Checked on %s by `authtest.Check`: ✓ kept, ✗ broken, – not applicable.\n\n", now.Format(time.DateOnly))
	for i, p := range peers {
		fmt.Fprintf(&b, "%d. %s%s, `%s`\n", i+1, p.module, version(p.module), p.what)
	}
	b.WriteString("\n| clause |")
	for i := range peers {
		fmt.Fprintf(&b, " %d |", i+1)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" :-: |", len(peers)) + "\n")
	for c, clause := range authtest.Clauses() {
		fmt.Fprintf(&b, "| %s |", clause)
		for i := range peers {
			fmt.Fprintf(&b, " %s |", marks[results[i][c].Verdict])
		}
		b.WriteString("\n")
	}
	return b.String(), found.String()
}

// version returns that of a module in go.mod; ours has none there.
func version(module string) string {
	m := regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(module) + ` (v\S+)`).FindStringSubmatch(goMod)
	if m == nil || strings.HasPrefix(module, "github.com/authtrip/") {
		return ""
	}
	return " " + m[1]
}
