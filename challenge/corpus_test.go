package challenge_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/challenge"
	"github.com/google/go-cmp/cmp"
)

const corpus = "../../shared/corpus/challenges/"

// ours are the cases in which sources disagree and Parse differs from the one at
// hand, with what it returns and why. It returns an error in all of them.
var ours = map[string]struct {
	want []challenge.Challenge
	why  string
}{
	"panva-2":  {[]challenge.Challenge{{Scheme: "scheme"}}, "a scheme alone is well-formed; what follows it is not"},
	"panva-14": {nil, "a parameter that occurs twice drops its challenge: which one holds is anybody's guess"},
	"panva-49": {nil, "as panva-14"},
	"panva-43": {[]challenge.Challenge{{Scheme: "bearer", Params: []challenge.Param{{Name: "error", Value: "ok"}}}}, "junk does not take the challenge before it along"},
	"panva-47": {[]challenge.Challenge{{Scheme: "negotiate", Token68: "abc123=="}}, "a token68 is kept, and parameters after it passed over"},
}

func TestCorpus(t *testing.T) {
	files := map[string]int{"rfc": 9, "ktor": 27, "okhttp": 31, "oauth4webapi": 54}
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	compared := 0
	for file, count := range files {
		data, err := os.ReadFile(corpus + "challenges-" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var suite struct {
			Cases []struct {
				ID      string
				Input   []string
				Outcome string
				Expect  []struct {
					Scheme  string
					Token68 string
					Params  [][2]string
				}
			}
		}
		if err := json.Unmarshal(data, &suite); err != nil || len(suite.Cases) != count {
			t.Fatalf("%s: %d cases, want %d; %v", file, len(suite.Cases), count, err)
		}
		for _, c := range suite.Cases {
			t.Run(c.ID, func(t *testing.T) {
				var want []challenge.Challenge
				for _, e := range c.Expect {
					w := challenge.Challenge{Scheme: e.Scheme, Token68: e.Token68}
					for _, p := range e.Params {
						w.Params = append(w.Params, challenge.Param{Name: p[0], Value: p[1]})
					}
					want = append(want, w)
				}
				wantError := c.Outcome != "ok"
				if o, ok := ours[c.ID]; ok {
					t.Log(o.why)
					want, wantError = o.want, true
					compared++
				}
				got, err := challenge.Parse(c.Input)
				for i := range got {
					got[i].Scheme = strings.ToLower(got[i].Scheme)
					for j := range got[i].Params {
						got[i].Params[j].Name = strings.ToLower(got[i].Params[j].Name)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" || (err != nil) != wantError {
					t.Errorf("%q: error %v, challenges (-want +got):\n%s", c.Input, err, diff)
				}
			})
		}
	}
	if compared != len(ours) {
		t.Errorf("%d cases of ours, want %d", compared, len(ours))
	}
}
