package main

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// A series is the longest latency of each 5 ms of one row.
type series struct {
	name  string
	peaks []time.Duration
}

// What is drawn: the second second, since the first has what is done once.
const (
	width, height = 760, 320
	left, right   = 62, 16
	top, bottom   = 40, 44
	from, until   = time.Second, 2 * time.Second
)

// draw returns an SVG of the latencies of the rows, the first of which is ours. It
// has no colours of its own but for the lines, which can be read on light and dark.
func draw(all []series) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title">
<title id="title">The longest latency of each 5 ms while tokens expire every 200 ms</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.a { stroke: #0969da } .b { stroke: #cf222e }
text.a { fill: #0969da; stroke: none } text.b { fill: #cf222e; stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d }
.a { stroke: #58a6ff } .b { stroke: #ff7b72 }
text.a { fill: #58a6ff } text.b { fill: #ff7b72 }
}
</style>
`, width, height, width, height)
	low, high := math.Log10(1e3), math.Log10(100e6) // ns
	y := func(d time.Duration) float64 {
		log := min(max(math.Log10(float64(max(d, 1))), low), high)
		return top + (high-log)/(high-low)*(height-top-bottom)
	}
	x := func(at time.Duration) float64 {
		return left + float64(at-from)/float64(until-from)*(width-left-right)
	}
	for _, d := range []time.Duration{time.Microsecond, 10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%v</text>`+"\n",
			left, width-right, y(d), y(d), left-6, y(d)+4, d)
	}
	for at := from; at <= until; at += tokenLife {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%v</text>`+"\n", x(at), height-bottom+18, at)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%d requests/s, a token lives %v, an exchange takes %v</text>`+"\n",
		(left+width-right)/2, height-8, rate, tokenLife, exchangeTime)
	// Ours is drawn last, on top.
	for i := len(all) - 1; i >= 0; i-- {
		class, s := "ab"[min(i, 1):min(i, 1)+1], all[i]
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, left+i*300, top-18, s.name)
		fmt.Fprintf(&b, `<path class="line %s" d="`, class)
		command := "M"
		for n, d := range s.peaks {
			at := time.Duration(n) * peak
			if d == 0 || at < from || at >= until {
				continue
			}
			fmt.Fprintf(&b, "%s%.1f %.1fH%.1f", command, x(at), y(d), x(at+peak))
			command = "L"
		}
		fmt.Fprint(&b, `"/>`+"\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
