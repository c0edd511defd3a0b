package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"github.com/authtrip/authtrip/bench/internal/measure"
	"github.com/authtrip/authtrip/bench/internal/rows"
)

// processes is how many times the program alone runs.
const processes = 15

// alone returns what the program alone measures of each of rows.Alone.
func alone() ([]measure.Sample, error) {
	n := processes
	if *quick {
		n = 1
	}
	all := make([][]measure.Sample, n)
	for i := range all {
		cmd := exec.Command("go", "run", "./alone")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%v: %w", cmd, err)
		}
		if err := json.Unmarshal(out, &all[i]); err != nil {
			return nil, fmt.Errorf("%v: %w", cmd, err)
		}
		if got, want := len(all[i]), len(rows.Alone()); got != want {
			return nil, fmt.Errorf("%v has %d samples, want %d", cmd, got, want)
		}
	}
	return measure.Merge(all), nil
}
