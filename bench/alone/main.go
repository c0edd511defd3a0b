// Command alone measures the hot path in a process that has no module in it but
// authtrip, and writes one JSON array of samples, a sample for each of rows.Alone.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/authtrip/authtrip/bench/internal/measure"
	"github.com/authtrip/authtrip/bench/internal/rows"
)

func main() {
	samples := measure.Rows(measure.Stint{Length: 100 * time.Millisecond, Rounds: 9}, 1, rows.Loads(rows.Alone(), rows.Template(6)))
	if err := json.NewEncoder(os.Stdout).Encode(samples); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
