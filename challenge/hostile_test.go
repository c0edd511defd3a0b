package challenge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/challenge"
)

// hostile are fields that have kept other parsers busy, each as long as asked
// for.
var hostile = []struct {
	name string
	make func(n int) string
}{
	{"commas", func(n int) string { return strings.Repeat(",", n) }},
	{"spaces", func(n int) string { return strings.Repeat(" ", n) }},
	{"quotes", func(n int) string { return strings.Repeat(`"`, n) }},
	{"quote and backslashes", func(n int) string { return `S a="` + strings.Repeat(`\`, n-5) }},
	{"backslashes", func(n int) string { return strings.Repeat(`\`, n) }},
	{"equals signs", func(n int) string { return "S a" + strings.Repeat("=", n-3) }},
	{"name and equals sign", func(n int) string { return strings.Repeat("a=", n/2) }},
	{"unfinished parameters", func(n int) string { return "S " + strings.Repeat("a=,", n/3) }},
	{"quotes without an end", func(n int) string { return strings.Repeat(`S a="`, n/5) }},
	{"quotes without a comma", func(n int) string { return strings.Repeat(`S a="" `, n/7) }},
	{"schemes", func(n int) string { return strings.Repeat("S,", n/2) }},
	{"words", func(n int) string { return strings.Repeat("S ", n/2) }},
	{"parameters", func(n int) string {
		b := []byte("S ")
		for i := 0; len(b) < n; i++ {
			b = fmt.Appendf(b, "p%d=v,", i)
		}
		return string(b[:n])
	}},
	{"duplicates", func(n int) string { return strings.Repeat("S a=b,a=b,", n/10) }},
	{"one scheme", func(n int) string { return strings.Repeat("S", n) }},
	{"one nonce", func(n int) string { return `Digest nonce="` + strings.Repeat("n", n-15) + `"` }},
	{"one escaped nonce", func(n int) string { return `Digest nonce="` + strings.Repeat(`\n`, n/2-8) + `"` }},
	{"one token68", func(n int) string { return "S " + strings.Repeat("x", n-2) }},
	{"long names alike", func(n int) string {
		var b strings.Builder
		b.WriteString("S ")
		for i := range 64 {
			fmt.Fprintf(&b, "%s%d=v,", strings.Repeat("x", max(n/64-8, 0)), i)
		}
		return b.String()
	}},
}

func TestHostileFields(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			for _, values := range [][]string{
				{"Basic", h.make(1 << 20)},
				{"Basic", h.make(maxBytes - len("Basic"))},
				append([]string{"Basic"}, slices.Repeat([]string{h.make(256)[:12]}, 10_000)...),
			} {
				challenges, err := challenge.Parse(values)
				size := 0
				for _, c := range challenges {
					size += len(c.Scheme) + len(c.Token68)
					for _, p := range c.Params {
						size += len(p.Name) + len(p.Value)
					}
					check(t, c.Params)
				}
				if len(challenges) < 1 || len(challenges) > 64 || challenges[0].Scheme != "Basic" || size > maxBytes {
					t.Errorf("%d challenges of %d bytes, %v", len(challenges), size, err)
				}
				params, err := challenge.ParseParams(values[1:])
				if check(t, params); err != nil && params != nil {
					t.Errorf("%d parameters beside error %v", len(params), err)
				}
			}
		})
	}
}

// MB/s do not fall with the length: the time is linear in it.
func BenchmarkHostileFields(b *testing.B) {
	for _, h := range hostile {
		for _, n := range []int{1 << 11, 1 << 14, maxBytes} {
			values := []string{h.make(n)}
			b.Run(fmt.Sprintf("%s/%d", h.name, n), func(b *testing.B) {
				b.SetBytes(int64(len(values[0])))
				for b.Loop() {
					challenge.Parse(values)
					challenge.ParseParams(values)
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, value := range map[string]string{
		"Basic":  `Basic realm="simple", charset="UTF-8"`,
		"Bearer": `Bearer realm="example", error="invalid_token", error_description="The access token expired"`,
		"Digest": `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, ` +
			`nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
		"Negotiate": "Negotiate " + strings.Repeat("YIIB", 100),
	} {
		b.Run(name, func(b *testing.B) {
			values := []string{value}
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := challenge.Parse(values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkString(b *testing.B) {
	c := of("Digest", "realm", "http-auth@example.org", "qop", "auth, auth-int", "nonce", strings.Repeat("n", 44))
	b.ReportAllocs()
	for b.Loop() {
		_ = c.String()
	}
}
