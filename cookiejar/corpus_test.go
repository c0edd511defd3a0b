package cookiejar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
)

// corpus reads cases of public suites, which are no part of the project.
func corpus[T any](t *testing.T, name string) (cases []T) {
	t.Helper()
	content, err := os.ReadFile("../../shared/corpus/cookies/" + name)
	if err != nil {
		t.Skipf("the corpus is not there: %v", err)
	}
	if err := json.Unmarshal(content, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	return cases
}

// at sleeps until a time, in a bubble.
func at(t *testing.T, when time.Time) {
	t.Helper()
	if d := time.Until(when); d > 0 {
		time.Sleep(d)
	}
	if !time.Now().Equal(when) {
		t.Fatalf("it is %v", time.Now())
	}
}

func parseURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newJar(t testing.TB, o *cookiejar.Options) *cookiejar.Jar {
	t.Helper()
	j, err := cookiejar.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// A stateCase is one of http-state.
type stateCase struct {
	Name      string
	SetURL    string   `json:"set_url"`
	SetCookie []string `json:"set_cookie"`
	GetURL    string   `json:"get_url"`
	Expected  string   `json:"expected_cookie"`
	ByDraft   *string  `json:"expected_cookie_rfc6265bis"`
}

// notMet are the expectations of the suite that the draft has overtaken.
var notMet = map[string]string{
	"disabled-chromium0022": "a field with NUL is ignored (section 5.6, step 1)",
	"disabled-chromium0023": "a field with a bare CR is ignored (section 5.6, step 1)",
	"disabled-path0029":     "paths are compared as they are encoded (section 5.1.4)",
}

func TestHTTPState(t *testing.T) {
	cases := corpus[stateCase](t, "http-state.cases.json")
	for _, nameless := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			at(t, time.Date(2011, 4, 1, 0, 0, 0, 0, time.UTC))
			met := 0
			for _, tt := range cases {
				want := tt.Expected
				if nameless && tt.ByDraft != nil {
					want = *tt.ByDraft
				}
				j := newJar(t, &cookiejar.Options{RFC6265: !nameless})
				var fields []string
				for _, f := range tt.SetCookie {
					fields = append(fields, strings.Trim(f, " \t\r")) // as net/textproto does
				}
				j.Receive(parseURL(t, tt.SetURL), fields)
				got := j.Header(parseURL(t, tt.GetURL))
				reason, known := notMet[tt.Name]
				switch known = known && !nameless; {
				case got == want:
					met++
					if known {
						t.Errorf("%s is met", tt.Name)
					}
				case known:
					t.Logf("%s: got %q, the suite has %q: %s", tt.Name, got, want, reason)
				default:
					t.Errorf("%s: %q\ngot  %q\nwant %q", tt.Name, tt.SetCookie, got, want)
				}
			}
			t.Logf("nameless %v: %d of %d", nameless, met, len(cases))
		})
	}
}

func TestDates(t *testing.T) {
	type dateCase struct {
		Date     string
		Expected *string
	}
	cases := corpus[dateCase](t, "http-state-dates.cases.json")
	for _, tt := range cases {
		want := "none"
		if tt.Expected != nil {
			want = *tt.Expected
		}
		got := "none"
		if d, ok := cookiejar.ParseDate(tt.Date); ok {
			got = d.Format(http.TimeFormat)
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", tt.Date, got, want)
		}
	}
	t.Logf("%d dates", len(cases))
}

// A goCase is one of Go's own tables.
type goCase struct {
	Table, Description string
	FromURL            string   `json:"from_url"`
	SetCookies         []string `json:"set_cookies"`
	Content            string
	Queries            []struct {
		ToURL string `json:"to_url"`
		Want  string
	}
	Continues bool `json:"continues_previous_jar"`
}

// goSuffixes is the list that Go's tables use.
type goSuffixes struct{}

func (goSuffixes) String() string { return "for Go's tables" }

func (goSuffixes) PublicSuffix(d string) string {
	switch {
	case d == "co.uk" || strings.HasSuffix(d, ".co.uk"):
		return "co.uk"
	case d == "www.buggy.psl":
		return "xy"
	case d == "www2.buggy.psl":
		return "com"
	}
	return d[strings.LastIndex(d, ".")+1:]
}

// differs are Go's cases that are not met, by their descriptions.
var differs = map[string]string{
	"Secure cookies are not returned to http.": insecure,
	"Localhost only if it's a segment":         insecure,
	"Set initial cookies.":                     insecure,
	"Update value via http.":                   insecure,
	"Clear Secure flag from an http.":          "goes on from a jar that has one that was set Secure from plain http",
}

const insecure = "sets a Secure cookie from plain http, which the draft has no longer (section 5.7)"

// trimmed is not met by the interface that loses nothing.
const trimmed = "Retrieval of cookies with quoted values"

func TestGoTables(t *testing.T) {
	cases := corpus[goCase](t, "go-jar_test.cases.json")
	t.Run("raw", func(t *testing.T) {
		testGoTables(t, cases, (*cookiejar.Jar).Receive,
			func(j *cookiejar.Jar, u *url.URL) string { return strings.ReplaceAll(j.Header(u), "; ", " ") },
			trimmed, "has a value that begins with a space, which the draft takes away (section 5.6)")
	})
	t.Run("net/http", func(t *testing.T) {
		testGoTables(t, cases, func(j *cookiejar.Jar, u *url.URL, fields []string) {
			j.SetCookies(u, (&http.Response{Header: http.Header{"Set-Cookie": fields}}).Cookies())
		}, func(j *cookiejar.Jar, u *url.URL) string {
			var all []string
			for _, c := range j.Cookies(u) {
				all = append(all, c.String())
			}
			return strings.Join(all, " ")
		}, "", "")
	})
}

func testGoTables(t *testing.T, cases []goCase, receive func(*cookiejar.Jar, *url.URL, []string),
	send func(*cookiejar.Jar, *url.URL) string, another, why string,
) {
	synctest.Test(t, func(t *testing.T) {
		at(t, time.Date(2013, 1, 1, 12, 0, 0, 0, time.UTC))
		var j *cookiejar.Jar
		met := 0
		for _, tt := range cases {
			if !tt.Continues {
				j = newJar(t, &cookiejar.Options{PublicSuffixList: goSuffixes{}})
			}
			receive(j, parseURL(t, tt.FromURL), tt.SetCookies)
			var content, problems []string
			for c := range j.All() {
				if strings.ContainsAny(c.Value, " ,") && !strings.HasPrefix(c.Value, `"`) {
					c.Value = `"` + c.Value + `"` // as Go's table has it
				}
				content = append(content, c.Name+"="+c.Value)
			}
			slices.Sort(content)
			if diff := cmp.Diff(tt.Content, strings.Join(content, " ")); diff != "" {
				problems = append(problems, "content (-want +got):\n"+diff)
			}
			for i, q := range tt.Queries {
				if got := send(j, parseURL(t, q.ToURL)); got != q.Want {
					problems = append(problems, fmt.Sprintf("query %d, %s: got %q, want %q", i, q.ToURL, got, q.Want))
				}
			}
			reason := differs[tt.Description]
			if tt.Description == another {
				reason = why
			}
			switch {
			case problems == nil && reason == "":
				met++
			case problems == nil:
				t.Errorf("%s: is met", tt.Description)
			case reason != "":
				t.Logf("%s: differs, as it %s", tt.Description, reason)
			default:
				t.Errorf("%s: %s %q\n%s", tt.Description, tt.FromURL, tt.SetCookies, strings.Join(problems, "\n"))
			}
		}
		t.Logf("%d of %d", met, len(cases))
	})
}
