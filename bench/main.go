// Command bench measures authtrip beside other modules that put credentials on
// requests, and writes what it found as a page and a plot.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/authtrip/authtrip/bench/internal/measure"
	"github.com/authtrip/authtrip/bench/internal/rows"
)

var (
	page  = flag.String("page", "", "the `file` to write the tables to, if not to standard output")
	plot  = flag.String("plot", "", "the `file` to draw the latencies at rollover to, in SVG")
	only  = flag.String("only", "", "the `name` of the one section to measure: hot, alone, processors, chains, headers, digest, crowds, rollover, wire, jars or idle")
	quick = flag.Bool("quick", false, "take a small part of the time, to see that everything runs")
)

func main() {
	flag.Parse()
	r := &report{}
	r.head()
	for _, s := range []struct {
		name string
		add  func(*report)
	}{
		{"hot", hotPath},
		{"alone", hotAlone},
		{"processors", processors},
		{"chains", inChains},
		{"headers", byHeaders},
		{"digest", byDigest},
		{"crowds", crowds},
		{"rollover", rollovers},
		{"wire", overTheWire},
		{"jars", jars},
		{"idle", idles},
	} {
		if *only == "" || *only == s.name {
			s.add(r)
		}
	}
	if err := r.write(*page); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// rounds returns a stint of n rounds, or what is left of it when it has to be quick.
func rounds(length time.Duration, n int) measure.Stint {
	if *quick {
		return measure.Stint{Length: length / 4, Rounds: max(1, n/5)}
	}
	return measure.Stint{Length: length, Rounds: n}
}

func hotPath(r *report) {
	r.section("Hot path", "One request with 6 header fields, over a base that does nothing. Times are medians of rounds in which each row has its turn, long enough for dozens of garbage collections, "+
		"and ratios medians of those to the floor, which has a turn just before each row's. "+
		"The process has every module's code and tables in it, which the garbage collector has to go through.")
	all := append(rows.Alone(), peers...)
	r.hot(all, measure.Rows(rounds(200*time.Millisecond, 25), 1, rows.Loads(all, rows.Template(6))))
}

func hotAlone(r *report) {
	r.section("Hot path, alone", fmt.Sprintf("The same in processes that no other module is linked into, medians of %d of them. "+
		"What authtrip does beyond the floor is mostly to see that the caller has no credential of its own: RFC 9110 has names without case, and a Go map has them with it. "+
		"The second row goes through the map for that; authtrip remembers the names of the headers that it has seen.", processes))
	samples, err := alone()
	if err != nil {
		r.fail(err)
		return
	}
	r.hot(rows.Alone(), samples)
}

func (r *report) hot(all []rows.Row, samples []measure.Sample) {
	r.table("|ns|of the floor|allocations|bytes")
	for i, s := range samples {
		r.row(all[i].Name, all[i].Ours, all[i].Note, ns(s.NS), ratio(s.Ratio), whole(s.Allocs), whole(s.Bytes))
	}
}

func processors(r *report) {
	r.section("More goroutines", "The same by as many goroutines at once as GOMAXPROCS says, on a machine with "+fmt.Sprint(runtime.NumCPU())+
		" processors. Nanoseconds of the clock on the wall for each request.")
	all := append([]rows.Row{rows.Floor}, append(rows.Ours[:1:1], peers...)...)
	counts := []int{1, 2, 8, 64}
	columns := make([][]measure.Sample, len(counts))
	var title strings.Builder
	for c, n := range counts {
		fmt.Fprintf(&title, "|%d", n)
		before := runtime.GOMAXPROCS(n)
		columns[c] = measure.Rows(rounds(50*time.Millisecond, 15), n, rows.Loads(all, rows.Template(6)))
		runtime.GOMAXPROCS(before)
	}
	r.table(title.String())
	for i, p := range all {
		var cells []string
		for c := range counts {
			cells = append(cells, ns(columns[c][i].NS))
		}
		r.row(p.Name, p.Ours, "", cells...)
	}
}

func inChains(r *report) {
	r.section("Chains of four", "Four round trippers, one around the other, on a request that has eight fields in the end, which is what a map "+
		"holds without growing.")
	var all []func() measure.Workload
	all = append(all, rows.Loads([]rows.Row{rows.Floor}, bare())...)
	for _, c := range chains {
		all = append(all, rows.Sending(bare(), func(base http.RoundTripper) rows.Do { return c.make(base, &rows.Issuer{}).RoundTrip }))
	}
	r.table("|ns|of the floor|allocations|bytes")
	for i, s := range measure.Rows(rounds(100*time.Millisecond, 31), 1, all) {
		name, our := rows.Floor.Name, false
		if i > 0 {
			name, our = chains[i-1].name, chains[i-1].ours
		}
		r.row(name, our, "", ns(s.NS), ratio(s.Ratio), whole(s.Allocs), whole(s.Bytes))
	}
}

func byHeaders(r *report) {
	r.section("By the number of header fields", "Nanoseconds and allocations for a request that has so many before.")
	all := []rows.Row{rows.Floor, rows.Ours[0], peers[0]}
	r.table("|" + all[0].Name + "|" + all[1].Name + "|" + all[2].Name)
	for n := 2; n <= 20; n += 2 {
		var cells []string
		for _, s := range measure.Rows(rounds(50*time.Millisecond, 15), 1, rows.Loads(all, rows.Template(n))) {
			cells = append(cells, ns(s.NS)+" ns, "+whole(s.Allocs))
		}
		r.row(fmt.Sprint(n), false, "", cells...)
	}
}

func byDigest(r *report) {
	r.section("Digest", "The same request, after the first challenge, with MD5 and qop=auth.")
	r.table("|ns|allocations|bytes")
	for i, s := range measure.Rows(rounds(100*time.Millisecond, 31), 1, rows.Loads(digests, rows.Template(6))) {
		r.row(digests[i].Name, digests[i].Ours, "", ns(s.NS), whole(s.Allocs), whole(s.Bytes))
	}
}

func renewing() (all []rows.Row) {
	for _, p := range append(rows.Ours[:1:1], peers...) {
		if p.Renews {
			all = append(all, p)
		}
	}
	return all
}

func crowds(r *report) {
	r.section("A herd", fmt.Sprintf("%d requests meet the 401 of one revoked token at the same time; an exchange takes 20 ms. Late: "+
		"every other 401 comes 60 ms after the first. Failed is what does not end with 200.", herdSize))
	r.table("|exchanges|failed|late: exchanges|late: failed|ms, late: ms")
	for _, p := range append(renewing(), peers[2]) {
		at, late := herd(p, 0), herd(p, 60*time.Millisecond)
		r.row(p.Name, p.Ours, "", fmt.Sprint(at.exchanges), fmt.Sprint(at.failed), fmt.Sprint(late.exchanges), fmt.Sprint(late.failed),
			fmt.Sprintf("%d, %d", at.took.Milliseconds(), late.took.Milliseconds()))
	}
	r.section("Waiting for an exchange", fmt.Sprintf("%d callers need a new token. An exchange hangs: how many are back within 150 ms of their deadlines of 50 ms? "+
		"And one that takes 100 ms, when the caller that began it gives up after 20: how many of the others fail by that, and how many exchanges are there?", waiting))
	r.table("|back in time|failed with the first caller|exchanges")
	for _, p := range renewing() {
		inTime := stall(p)
		failed, exchanges := leader(p)
		r.row(p.Name, p.Ours, "", fmt.Sprintf("%d of %d", inTime, waiting), fmt.Sprintf("%d of %d", failed, waiting), fmt.Sprint(exchanges))
	}
}

func rollovers(r *report) {
	d := 10 * time.Second
	if *quick {
		d = 2 * time.Second
	}
	r.section("Rollover", fmt.Sprintf("%d requests a second for %v, over a base that does nothing, while each token lives %v and an exchange takes %v. "+
		"A request has waited if it took more than %v. Only those are here that can be told when to renew, %v before expiry, or for x/oauth2, whose callers "+
		"wait for that, 10 ms; others do so minutes before, or never.",
		rate, d, tokenLife, exchangeTime, waited, early))
	r.table("|requests|waited|failed|exchanges|median|99 %|99.9 %|longest")
	var drawn []series
	for _, p := range renewing() {
		if !p.Early {
			continue
		}
		o := roll(p, d)
		r.row(p.Name, p.Ours, "", fmt.Sprint(o.requests), fmt.Sprint(o.waited), fmt.Sprint(o.failed), fmt.Sprint(o.exchanges),
			short(o.p50), short(o.p99), short(o.p999), short(o.longest))
		if p.Ours || p.Name == peers[0].Name {
			drawn = append(drawn, series{p.Name, o.peaks})
		}
	}
	if *plot != "" {
		r.fail(os.WriteFile(*plot, draw(drawn), 0o644))
	}
}

func overTheWire(r *report) {
	r.section("End to end", "Microseconds for one request of an http.Client to a server in the same process, over loopback, its answer read.")
	r.table("|HTTP/1.1|of the first|HTTP/2, TLS|of the first")
	all := wired()
	var columns [2][]measure.Sample
	for two := range columns {
		s, base := serve(two == 1)
		var loads []func() measure.Workload
		for _, p := range all {
			loads = append(loads, getting(s.URL, base, p))
		}
		columns[two] = measure.Rows(rounds(50*time.Millisecond, 41), 1, loads)
		base.CloseIdleConnections()
		s.Close()
	}
	for i, p := range all {
		r.row(p.Name, p.Ours, "", micro(columns[0][i].NS), ratio(columns[0][i].Ratio), micro(columns[1][i].NS), ratio(columns[1][i].Ratio))
	}
}

func jars(r *report) {
	r.section("Cookie jars", "A jar with so many cookies, ten for each site. Reading is what a request to one of the sites is to have: by http.CookieJar's method "+
		"Cookies, or as the one header field that cookiejar.Transport takes from its Jar. Writing replaces one cookie.")
	r.table("|net/http/cookiejar, Cookies|authtrip, Cookies|authtrip, Header|net/http/cookiejar, SetCookies|authtrip, SetCookies")
	for _, n := range []int{10, 100, 300, 1000, 3000} {
		read, write := jarRows(n)
		var cells []string
		for _, loads := range [][]func() measure.Workload{read, write} {
			for _, s := range measure.Rows(rounds(10*time.Millisecond, 15), 1, loads) {
				cells = append(cells, ns(s.NS)+" ns, "+whole(s.Allocs))
			}
		}
		r.row(fmt.Sprint(n), false, "", cells...)
	}
}

func idles(r *report) {
	r.section("An identity that nobody asks", fmt.Sprintf("Bytes of memory for each of %d, with its token and its round tripper, and the goroutines of all.", identities))
	r.table("|bytes|goroutines")
	for _, p := range renewing() {
		if p.Module == "github.com/google/go-containerregistry" || p.Module == "github.com/bradleyfalzon/ghinstallation/v2" {
			continue // what they keep of their endpoints is another matter
		}
		o := idling(p)
		r.row(p.Name, p.Ours, p.Note, whole(o.bytes), fmt.Sprint(o.goroutines))
	}
}
