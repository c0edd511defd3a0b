package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A report is the page in the making.
type report struct {
	bytes.Buffer
	err error
}

func (r *report) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *report) write(file string) error {
	if file == "" {
		_, err := os.Stdout.Write(r.Bytes())
		r.fail(err)
	} else {
		r.fail(os.WriteFile(file, r.Bytes(), 0o644))
	}
	return r.err
}

// head says what was measured, where and when.
func (r *report) head() {
	fmt.Fprintf(r, "# Benchmarks\n\nWritten by `make bench` on %s, with %s on %s/%s, %s, %d processors.\n", time.Now().Format(time.DateOnly),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU())
	fmt.Fprint(r, "A test in `bench/` proves that each row sends the credential that it is said to.\n\n")
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			versions[dep.Path] = dep.Version
		}
	}
	var all []string
	for _, p := range append(peers[:len(peers):len(peers)], digests...) {
		if v := versions[p.Module]; v != "" {
			all = append(all, p.Module+" "+v)
			delete(versions, p.Module)
		}
	}
	fmt.Fprintf(r, "Beside authtrip: %s, and net/http/cookiejar.\n", strings.Join(all, ", "))
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "an unknown processor"
}

func (r *report) section(title, about string) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), title)
	fmt.Fprintf(r, "\n## %s\n\n%s\n", title, about)
}

// table begins a table whose columns, after the first, are given as |one|two.
func (r *report) table(columns string) {
	fmt.Fprintf(r, "\n| %s |\n|---%s|\n", columns, strings.Repeat("|---:", strings.Count(columns, "|")))
}

func (r *report) row(name string, ours bool, note string, cells ...string) {
	if ours {
		name = "**" + name + "**"
	}
	if note != "" {
		name += " (" + note + ")"
	}
	fmt.Fprintf(r, "| %s | %s |\n", name, strings.Join(cells, " | "))
}

func ns(f float64) string    { return fmt.Sprintf("%.0f", f) }
func micro(f float64) string { return fmt.Sprintf("%.1f", f/1000) }
func ratio(f float64) string { return fmt.Sprintf("%.2f", f) }
func whole(f float64) string { return fmt.Sprintf("%.0f", f) }

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}
