package simulate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutants", false, "break the library in each known way, and see that schedules find it")

// A mutant is a way to break the library where a comment states an invariant:
//
//	// invariant: a newer record counts
//	case found == news:
//
// The code below that comment changes: the condition, if that is an if or a case, or
// else the statement or the expression.
type mutant struct {
	invariant string
	about     string
	code      string // what takes the place; never is for a condition, drop for a statement
}

const (
	never = "false && (%s)"
	drop  = ""
)

// Every one of these has to be found, or an invariant is only written down.
var mutants = []mutant{
	// The order of records.
	{
		"a sign-in or sign-out is newer than every renewal before it", "serial counts before signed",
		"cmp.Compare(r.Serial, old.Serial), %s",
	},
	{"a sign-in or sign-out is newer than every renewal before it", "signed is ignored", "0"},
	{"of two renewals of one record, the later one is newer", "at is ignored", "0"},
	{"a sign-in is newer than each record seen, whatever the clock says", "a sign-in goes by the clock alone", "_ = above"},
	{
		"a renewal keeps Signed and raises Serial", "a renewal raises signed",
		"return &Record{Token: token, Change: ChangeRenewal, Signed: above(r.Signed, start), Serial: r.Serial + 1, At: above(r.At, start), rest: r.rest}",
	},
	{
		"a renewal keeps Signed and raises Serial", "a renewal does not raise serial",
		"return &Record{Token: token, Change: ChangeRenewal, Signed: r.Signed, Serial: r.Serial, At: above(r.At, start), rest: r.rest}",
	},

	// Loading and saving.
	{"each save follows a load", "a save follows no load", "stored, err := &Record{}, error(nil)"},
	{"no save replaces a newer record", "a renewal is saved over a newer record", never},
	{"what is saved late does not replace what is newer", "another process's token is overwritten late", "adopted = st"},
	{"a newer record counts", "a sign-out elsewhere is not adopted", "found == news && stored.Change != ChangeSignOut"},
	{"a newer record counts", "nothing is adopted from the store", never},
	{
		"a sign-out keeps nothing of the record before", "a sign-out keeps the token",
		"if r.Change = ChangeSignOut; len(seen) > 0 && seen[0] != nil { r.Token = seen[0].Token }",
	},
	{
		"a sign-out keeps nothing of the record before", "a sign-out keeps unknown members",
		"r.Change, r.rest = ChangeSignOut, map[string]any{\"tenant\": \"kept\"}",
	},
	{"a Store that has lost its record says nothing of a sign-out", "a lost record is a sign-out", "stored.Change = ChangeSignOut; return news"},
	{"a Store that has lost its record says nothing of a sign-out", "a lost record is not saved again", "return inStep"},
	{"nothing overwrites the record of a newer version", "the record of a newer version is overwritten", never},
	{
		"what cannot be read starts no renewal that spends a refresh token", "what cannot be read counts as nothing",
		"func() bool { if errors.Is(err, ErrUnreadable) { stored, err = new(Record), nil }; return err != nil }()",
	},
	{"what could not be saved is saved later", "a token that could not be saved is not saved later", never},
	{"a save that failed is tried again", "that a save has failed is forgotten", "return next.saved(nil, now)"},
	{"saving has a Timeout of its own", "a token has only the exchange's time to be saved", "return context.WithTimeout(r.ctx, r.timeout())"},
	{"extra fields outlive a renewal", "extra fields are lost in a renewal", "maps.Copy(map[string]any{}, extra.Fields(old))"},

	// Other programs.
	{"what another program wrote counts", "another program's token is older", "return behind"},
	{"what another program wrote is news once, and only if it is not known here", "the current token is adopted again", never},
	{"the previous token does not come back", "the previous token is adopted", never},
	{"what another program wrote before a sign-in is older", "what a sign-in has seen is adopted if saving fails", drop},
	{
		"another program has not signed in, as far as is known", "another program's record ranks as a sign-in now",
		"r.Signed, r.Serial, r.At = utc(time.Now()), 0, utc(time.Now())",
	},

	// Sign-ins and sign-outs.
	{"a sign-in or sign-out makes a renewal under way void", "a renewal that a sign-in has made void is saved", "return false"},
	{"whatever began before a sign-in or sign-out is void", "a sign-in does not make the renewal under way void", drop},
	{"whatever began before a sign-in or sign-out is void", "SignOut lets a renewal under way publish", "if d == nil { next.epoch++ }"},
	{"a sign-in or sign-out ends the exchange under way", "Set does not cancel the exchange", never},
	{"no exchange begins after a sign-in or sign-out", "the epoch is not looked at before an exchange", never},
	{"a sign-in is not undone before its save was tried", "a load undoes a sign-in that waits to be saved", "r.Store == nil"},
	{
		"a sign-in or sign-out is saved", "a sign-out leaves the store as it is",
		"if err = nil; st.record.Change != ChangeSignOut { %s }",
	},
	{"what a renewal brings after SignOut is revoked", "what a renewal brings after SignOut is not revoked", never},
	{"a sign-out during OnEvent counts", "a sign-out while OnEvent runs is not noticed", never},
	{"a look may find a sign-out", "a look that finds a sign-out panics", "found == nil"},
	{"of several processes one signs in", "a lease is ignored", "s.signedIn()"},
	{
		"a lease lasts for as long as its owner signs in", "a lease is not extended",
		"if r.lease = stored.lease; r.lease == nil || r.lease.owner != c.owner { %s }",
	},
	{"a lease brings no older record back", "a lease is written onto an older record", "known.none()"},

	// Renewals.
	{"who spends a refresh token holds the lock", "the store is not locked", "locker, ok := Locker(nil), false"},
	{"a refresh token is spent under the lock", "a refresh token found after the lock has failed is spent", never},
	{"a refresh token is sent for its own client only", "the client ID is not compared", never},
	{"a renewal replaces what was seen, and nothing newer", "the flight does not look again at what it is to replace", never},
	{
		"a token is saved before it is given to anybody", "a token is published before it is saved",
		"_, _ = r.swap(st.epoch, func(s *state) *state { return s.after(record, r.skew(), time.Now()) }); %s",
	},
	{
		"a token is told from another by identity, not by its text", "a rejected token is compared by its text",
		"rejected == nil || st.token == nil || st.token.AccessToken != rejected.AccessToken",
	},
	{"the rejected token is not given again", "a rejected token is given back by a renewal for another reason", never},
	{
		"a refusal is final", "a refusal is forgotten",
		"next.err, next.dead, next.renewal = cause, false, time.Now().Add(signInLook).UnixNano()",
	},
	{"a failure is remembered until the next attempt", "there is no wait after a failure", "next.err, next.renewal = err, r.start.UnixNano()"},
	{"after a failure there is a wait", "a failure does not keep the next attempt", "return false"},
	{"Retry-After is honoured", "Retry-After is not honoured", "return d"},
	{"a temporary failure ends no session", "a failure that may pass is final", never},
	{
		"a renewal outlives the caller that began it", "a renewal ends with the caller that began it",
		"detached, end := marks.WithRenewal(caller, r.Session)",
	},
	{"a renewal ends within Timeout", "an exchange is not bounded in time", "ctx, cancel := context.WithCancel(detached)"},
	{"a caller leaves on time", "who waits for a renewal waits beyond its deadline", "<-context.WithoutCancel(ctx).Done()"},
	{
		"all callers share one renewal", "every caller renews for itself",
		`return s.flight.DoChan(fmt.Sprintf("%p", ctx), func() (any, error) { return s.renew(ctx, seen, forced) })`,
	},
	{"an expired token is given to nobody", "an expired token is handed out", "usable = expiry + int64(time.Minute)"},
	{"a token is renewed no earlier than needed", "a token is renewed long before it expires", "window := lifetime * 9 / 10"},
	{"rejected tokens are replaced only so often", "any number of tokens is replaced that were rejected", "len(r.replaced) < 1000"},

	// Requests.
	{"what is sent again has the whole body", "a request is sent again with the body that was read", "body, err := l.Request.Body, error(nil)"},
	{"a rejection that could not be answered is answered later", "a rejection that could not be answered is forgotten", "_ = r"},
	{"a request that is not sent has its body closed", "the body of a request that is not sent is left open", drop},
	{"a rejection is returned only if there is nothing newer", "a rejection is returned although it can be answered", "err != nil"},
	{"the body of a rejection is closed", "the body of a rejection is left open", "h.release() && body == nil"},
	{
		"a body is not cut where the buffer ends", "a body is cut where the buffer ends",
		"read, err := io.ReadAll(io.LimitReader(req.Body, limit))",
	},
	{
		"each token has its own field", "the field of one token is sent for all",
		"token != nil && a != nil && a.scheme == token.TokenType",
	},
}

const (
	mutantSchedules = 1000
	mark            = "// invariant: "
)

// A spot is the code below a mark.
type spot struct {
	path       string
	source     []byte
	from, to   int
	conditions []string
}

// spots returns the code below each mark in the packages that are tested.
func spots(t *testing.T) map[string][]spot {
	found := make(map[string][]spot)
	for _, dir := range []string{"../../tokensource", "../../transport"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				spotsOf(t, path, found)
			}
		}
	}
	return found
}

func spotsOf(t *testing.T, path string, found map[string][]spot) {
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			invariant, ok := strings.CutPrefix(c.Text, mark)
			if !ok {
				continue
			}
			// The line below the comment begins the code, unless the comment goes on.
			line := set.Position(group.End()).Line + 1
			s := spot{path: path, source: source}
			s.find(set, file, line)
			if s.to == 0 {
				t.Errorf("%s:%d: no code below %q", path, line-1, c.Text)
			}
			found[invariant] = append(found[invariant], s)
		}
	}
}

// find finds the outermost code that begins in line.
func (s *spot) find(set *token.FileSet, file *ast.File, line int) {
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil || s.to != 0 {
			return false
		}
		if set.Position(n.Pos()).Line != line {
			return true
		}
		nodes := []ast.Node{n}
		switch n := n.(type) {
		case *ast.IfStmt:
			nodes = []ast.Node{n.Cond}
		case *ast.CaseClause:
			nodes = nil
			for _, e := range n.List {
				nodes = append(nodes, e)
			}
		case *ast.CommClause:
			nodes = []ast.Node{n.Comm}
		}
		offset := func(p token.Pos) int { return set.Position(p).Offset }
		for _, n := range nodes {
			s.conditions = append(s.conditions, string(s.source[offset(n.Pos()):offset(n.End())]))
		}
		s.from, s.to = offset(nodes[0].Pos()), offset(nodes[len(nodes)-1].End())
		return false
	})
}

// mutate returns the source with code in the spot's place.
func (s *spot) mutate(code string) string {
	old := string(s.source[s.from:s.to])
	if code == never {
		old = strings.Join(s.conditions, ") || (")
	}
	code = strings.ReplaceAll(code, "%s", old)
	return string(s.source[:s.from]) + code + string(s.source[s.to:])
}

// TestMutants checks that each invariant is stated once and has a mutant, and if asked
// to, that each mutant is found.
func TestMutants(t *testing.T) {
	found := spots(t)
	mutated := make(map[string]bool)
	for _, m := range mutants {
		mutated[m.invariant] = true
		t.Run(m.about, func(t *testing.T) {
			spots := found[m.invariant]
			if len(spots) != 1 {
				t.Fatalf("%q stands %d times, want once", mark+m.invariant, len(spots))
			}
			if *mutate {
				seek(t, spots[0], m)
			}
		})
	}
	for invariant := range found {
		if !mutated[invariant] {
			t.Errorf("%q has no mutant", mark+invariant)
		}
	}
}

var firstSeed = regexp.MustCompile(`seed (\d+):\s*(.*)`)

// seek runs schedules until one finds m.
func seek(t *testing.T, s spot, m mutant) {
	dir := t.TempDir()
	mutated, overlay, bin := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "test")
	write(t, mutated, s.mutate(m.code))
	j, err := json.Marshal(map[string]any{"Replace": map[string]string{s.path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, overlay, string(j))
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, "-test.run=^TestSchedules$", "-test.timeout=1m",
		fmt.Sprint("-schedules=", mutantSchedules)).CombinedOutput()
	if err == nil {
		t.Errorf("%d schedules have not found it", mutantSchedules)
		return
	}
	if match := firstSeed.FindStringSubmatch(string(out)); match != nil {
		t.Logf("schedule %s: %.200s", match[1], match[2])
	} else if _, panicked, ok := strings.Cut(string(out), "panic: "); ok { // or it goes round for ever
		t.Logf("panic: %.100s", panicked)
	} else {
		t.Errorf("it ended otherwise:\n%.2000s", out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
