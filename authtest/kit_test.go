package authtest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/authtest"
	"github.com/google/go-cmp/cmp"
)

// verdicts returns the clauses that failed, and the details of them.
func failed(results []authtest.Result) (clauses []authtest.Clause, details string) {
	for _, r := range results {
		if r.Verdict == authtest.Fail {
			clauses = append(clauses, r.Clause)
			details += string(r.Clause) + ": " + r.Detail + "\n"
		}
	}
	return clauses, details
}

func TestSound(t *testing.T) {
	authtest.TestTransport(t, sound, authtest.Secret("secret-1", "secret-2"))
}

// Each flaw is found by exactly the clause that it breaks. Fake time lets the
// kit wait for what does not come.
func TestFlaws(t *testing.T) {
	covered := map[authtest.Clause]bool{}
	for _, f := range flaws {
		covered[f.clause] = true
		t.Run(string(f.clause)+"/"+f.about, func(t *testing.T) {
			check := func(t *testing.T, opts ...authtest.Option) {
				got, details := failed(authtest.Check(f.wrap, append(opts, authtest.Secret("secret-1", "secret-2"))...))
				if diff := cmp.Diff([]authtest.Clause{f.clause}, got); diff != "" {
					t.Errorf("clauses that failed (-want +got):\n%s\n%s", diff, details)
				}
				for _, part := range []string{"required by: ", "found by: "} {
					if !strings.Contains(details, part) {
						t.Errorf("%q is not in the details: %s", part, details)
					}
				}
				if strings.Contains(details, "secret-") {
					t.Errorf("the details have the secret in them: %s", details)
				}
			}
			if f.clause == authtest.NilBase {
				check(t)
				return
			}
			synctest.Test(t, func(t *testing.T) {
				check(t, authtest.Skip(authtest.NilBase, "it opens a socket, which is not of the bubble"))
			})
		})
	}
	for _, c := range authtest.Clauses() {
		if !covered[c] {
			t.Errorf("no flaw breaks %q", c)
		}
	}
}
