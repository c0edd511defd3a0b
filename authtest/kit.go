package authtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A Verdict is how a decorator fared with a [Clause].
type Verdict string

// The verdicts.
const (
	// Pass: the clause is kept.
	Pass Verdict = "pass"
	// Fail: it is broken.
	Fail Verdict = "fail"
	// NotApplicable: there was nothing to check, or [Skip] said so.
	NotApplicable Verdict = "n/a"
)

// A Result is what became of one [Clause].
type Result struct {
	Clause  Clause
	Verdict Verdict
	// Detail says what was broken, where that is required, and what was done
	// to find out; or why there was nothing to check. It is empty for Pass.
	// What [Secret] named is not in it.
	Detail string
}

// TestTransport checks a decorator against every [Clause] of the contract, each
// in a subtest of its name.
//
// wrap returns the decorator around base, a new one each time, ready to send
// credentials; a nil base stands for the decorator's own default. The kit has
// the only server that it will talk to, and that server accepts every
// credential. wrap is called, and the decorator used, from several goroutines.
//
// The decorator should answer a rejection, which is status 401 if [Rejection]
// does not say otherwise, as it would in production: where it obtains new
// tokens, wrap should give it a source that has some.
func TestTransport(t *testing.T, wrap func(base http.RoundTripper) http.RoundTripper, opts ...Option) {
	t.Helper()
	k := newKit(wrap, opts)
	for _, c := range clauses {
		t.Run(string(c.name), func(t *testing.T) {
			switch r := k.check(c); r.Verdict {
			case Fail:
				t.Error(r.Detail)
			case NotApplicable:
				t.Skip(r.Detail)
			}
		})
	}
}

// Check does what [TestTransport] does, and returns the results in the order of
// [Clauses].
func Check(wrap func(base http.RoundTripper) http.RoundTripper, opts ...Option) []Result {
	k := newKit(wrap, opts)
	results := make([]Result, len(clauses))
	for i, c := range clauses {
		results[i] = k.check(c)
	}
	return results
}

// A kit is what the options made of it.
type kit struct {
	wrap      func(http.RoundTripper) http.RoundTripper
	failing   func(http.RoundTripper) http.RoundTripper
	secrets   []string
	skip      map[Clause]string
	challenge string
	rejection rejection
	origin    string
	patience  time.Duration
}

func newKit(wrap func(http.RoundTripper) http.RoundTripper, opts []Option) *kit {
	some := func(base http.RoundTripper) http.RoundTripper {
		if rt := wrap(base); rt != nil {
			return rt
		}
		return missing{}
	}
	k := &kit{wrap: some, skip: make(map[Clause]string), origin: defaultOrigin, patience: defaultPatience}
	for _, o := range opts {
		o(k)
	}
	if k.rejection.status == 0 {
		k.rejection = rejection{http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Bearer realm="authtest", error="invalid_token"`}}}
		if k.challenge != "" {
			k.rejection.header.Set("WWW-Authenticate", k.challenge)
		}
	}
	return k
}

// check runs one clause.
func (k *kit) check(c clause) Result {
	if reason, ok := k.skip[c.name]; ok {
		return Result{c.name, NotApplicable, reason}
	}
	p := newProbe(k)
	defer p.end()
	p.run(c.run)
	switch {
	case len(p.broken) > 0:
		var detail strings.Builder
		for _, b := range p.broken {
			detail.WriteString(b + "\n")
		}
		return Result{c.name, Fail, fmt.Sprintf("%s\trequired by: %s\n\tfound by: %s", p.redact(detail.String()), c.requires, c.how)}
	case p.inapplicable != "":
		return Result{c.name, NotApplicable, p.inapplicable}
	}
	return Result{Clause: c.name, Verdict: Pass}
}

// missing stands for the decorator that wrap has not returned. http.Client takes
// nil for http.DefaultTransport, by which a clause would call out to the network.
type missing struct{}

func (missing) RoundTrip(*http.Request) (*http.Response, error) { panic("wrap returned nil") }
