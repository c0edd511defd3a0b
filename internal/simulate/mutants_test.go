package simulate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutants", false, "break the library in each known way, and see that schedules find it")

// A mutant is a way to break the library: new in the place of old.
type mutant struct{ file, about, old, new string }

// Every one of these has to be found, or an invariant is only written down.
var mutants = []mutant{
	{
		"tokensource/renewal.go", "the flight does not look again at what it is to replace",
		"case st.token != r.seen:\n", "case false:\n",
	},
	{
		"tokensource/renewal.go", "a token is published before it is saved",
		"\t\tsaveErr = r.saveDetached(token)\n\t\tnow = time.Now()\n\t\tnext = st.after",
		"\t\t_, _ = r.swap(st.epoch, func(s *state) *state { return s.after(token, r.skew(), time.Now()) })\n" +
			"\t\tsaveErr = r.saveDetached(token)\n\t\tnow = time.Now()\n\t\tnext = st.after",
	},
	{
		"tokensource/session.go", "a rejected token is compared by its text",
		"case rejected == nil || st.token != rejected:", "case rejected == nil || st.token == nil || st.token.AccessToken != rejected.AccessToken:",
	},
	{
		"tokensource/renewal.go", "a renewal that a sign-in has made void is saved",
		"\tif r.load().epoch != st.epoch {\n\t\treturn false", "\tif false {\n\t\treturn false",
	},
	{
		"tokensource/session.go", "a sign-in does not make the renewal under way void",
		"\t\tnext.epoch++\n", "",
	},
	{
		"tokensource/renewal.go", "nothing is adopted from the store",
		"\tif r.Store == nil || st.unsaved && st.token == nil {", "\tif r != nil {",
	},
	{
		"tokensource/renewal.go", "a refusal is forgotten",
		"next.err, next.dead, next.renewal = cause, true,", "next.err, next.dead, next.renewal = cause, false,",
	},
	{
		"tokensource/renewal.go", "there is no wait after a failure",
		"next.err, next.renewal = err, at.UnixNano()", "next.err, next.renewal = err, r.start.UnixNano()",
	},
	{
		"tokensource/state.go", "Retry-After is not honoured",
		"return max(d, min(retryAfter(err, time.Now()), maxRetry))", "return d",
	},
	{
		"tokensource/renewal.go", "a renewal ends with the caller that began it",
		"marks.WithRenewal(context.WithoutCancel(caller), r.Session)", "marks.WithRenewal(caller, r.Session)",
	},
	{
		"tokensource/session.go", "who waits for a renewal waits beyond its deadline",
		"\tcase <-ctx.Done():\n\t\treturn nil, waited(ctx, \"a renewal\")", "\tcase <-context.WithoutCancel(ctx).Done():\n\t\treturn nil, waited(ctx, \"a renewal\")",
	},
	{
		"tokensource/renewal.go", "a token that could not be saved is not saved later",
		"if st.unsaved && now >= st.saving && (good || st.token == nil) {", "if false {",
	},
	{
		"tokensource/renewal.go", "that a save has failed is forgotten",
		"return next.saved(saveErr, now)", "return next.saved(nil, now)",
	},
	{
		"tokensource/state.go", "what the store has of old is taken for news",
		"case token == nil, slices.ContainsFunc(s.past, func(p *oauth2.Token) bool { return same(token, p) }):", "case token == nil:",
	},
	{
		"tokensource/session.go", "what the store had before a sign-in is taken for news",
		"next.unknown = true", "next.unknown = false",
	},
	{
		"tokensource/renewal.go", "the store is not locked",
		"unlock, err := r.lock(r.ctx)", "unlock, err := func() {}, error(nil)",
	},
	{
		"tokensource/session.go", "every caller renews for itself",
		`return s.flight.DoChan("", func`, `return s.flight.DoChan(fmt.Sprintf("%p", ctx), func`,
	},
	{
		"tokensource/state.go", "an expired token is handed out",
		"usable = expiry - int64(min(skew, lifetime/20))", "usable = expiry + int64(time.Minute)",
	},
	{
		"tokensource/state.go", "a token is renewed long before it expires",
		"window := min(lifetime/2, maxAhead)", "window := lifetime * 9 / 10",
	},
	{
		"tokensource/renewal.go", "any number of tokens is replaced that were rejected",
		"if len(r.replaced) < limit {", "if len(r.replaced) < 1000 {",
	},
	{
		"tokensource/renewal.go", "an exchange is not bounded in time",
		"ctx, cancel := context.WithTimeout(detached, r.timeout())", "ctx, cancel := context.WithCancel(detached)",
	},
	{
		"tokensource/renewal.go", "a failure that may pass is final",
		"case !final(err, st.token):", "case false:",
	},
	{
		"tokensource/session.go", "a sign-out while OnEvent runs is not noticed",
		"if r.Err == nil && token != s.load().token {", "if false {",
	},
	{
		"transport/refresh.go", "a request is sent again with the body that was read",
		"body, err := hop.Replay(l.Request)", "body, err := l.Request.Body, error(nil)",
	},
	{
		"transport/refresh.go", "a rejection that could not be answered is forgotten",
		"t.owed.add(r)", "_ = r",
	},
	{
		"transport/refresh.go", "the body of a request that is not sent is left open",
		"\tcase err != nil:\n\t\thop.CloseBody(req)\n\t\treturn nil, err\n\tcase token == nil:", "\tcase err != nil:\n\t\treturn nil, err\n\tcase token == nil:",
	},
	{
		"transport/refresh.go", "a rejection is returned although it can be answered",
		"if errors.Is(err, tokensource.ErrUnchanged) {\n\t\te.Kind", "if err != nil {\n\t\te.Kind",
	},
	{
		"transport/held.go", "the body of a rejection is left open",
		"\tif h.release() {\n\t\tbody.Close()\n\t} else {", "\tif h.release() {\n\t} else {",
	},
	{
		"transport/replay.go", "a body is cut where the buffer ends",
		"io.LimitReader(req.Body, limit+1)", "io.LimitReader(req.Body, limit)",
	},
	{
		"transport/decorator.go", "the field of one token is sent for all",
		"token != nil && a.token == token.AccessToken && a.scheme == token.TokenType", "token != nil && a.scheme == token.TokenType",
	},
	{
		"tokensource/renewal.go", "another process's token is overwritten late",
		"\t\tadopted, err = r.adopt(st)\n", "\t\tadopted = st\n",
	},
	{
		"tokensource/state.go", "a failure does not keep the next attempt",
		"return s.err != nil && now < s.renewal && s.renewal-now <= int64(maxRetry)", "return false",
	},
	{
		"tokensource/renewal.go", "a token has only the exchange's time to be saved",
		"context.WithTimeout(context.WithoutCancel(r.ctx), r.timeout())", "context.WithTimeout(r.ctx, r.timeout())",
	},
	{
		"tokensource/session.go", "a sign-out leaves the store as it is",
		"return s.Store.Clear(ctx)", "return nil",
	},
	{
		"tokensource/session.go", "a rejected token is given back by a renewal for another reason",
		"case err == nil && token == rejected:", "case false:",
	},
}

const mutantSchedules = 1000

// TestMutants checks that every mutant can be made, and if asked to, that it is
// found.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.about, func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join("../..", m.file))
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%s has this %d times, want once:\n%s", m.file, n, m.old)
			}
			if !*mutate {
				return
			}
			dir := t.TempDir()
			mutated, overlay, bin := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "test")
			write(t, mutated, strings.Replace(string(source), m.old, m.new, 1))
			j, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
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
			}
			var found []string
			for line := range strings.Lines(string(out)) {
				if line = strings.TrimSpace(line); strings.Contains(line, "seed") || len(found) == 1 {
					found = append(found, line)
				}
			}
			if _, panicked, ok := strings.Cut(string(out), "panic: "); ok { // or it goes round for ever
				found = []string{"panic:", panicked}
			}
			if err != nil && len(found) < 2 {
				t.Errorf("it ended otherwise:\n%.2000s", out)
				return
			}
			t.Logf("%.200s", strings.Join(found[:min(2, len(found))], " "))
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
