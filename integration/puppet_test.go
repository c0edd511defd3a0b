package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A puppet is a process with a Session that does what it is told on its standard input, a
// word a line, and answers each word by a line:
//
//	token	what Token says: an access token, or what is wrong
//	renew	the same of Renew
//	reload	"done", or what is wrong
//	await	how long it took to get a token, asking each 20 milliseconds
type puppet struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

// A puppetConfig is what a puppet is started with.
type puppetConfig struct {
	Config oauth2.Config
	Store  store
}

const puppetVariable = "AUTHTRIP_PUPPET"

// obey is the whole life of a puppet.
func (c puppetConfig) obey() {
	session := &tokensource.Session{Grant: tokensource.RefreshToken(&c.Config), Store: c.Store.open(), MaxForced: -1}
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		switch words.Text() {
		case "token":
			say("%s", outcome(session.Token(ctx)))
		case "renew":
			current, _ := session.Current()
			say("%s", outcome(session.Renew(ctx, current)))
		case "reload":
			said := "done"
			if err := session.Reload(ctx); err != nil {
				said = outcome(nil, err)
			}
			say("%s", said)
		case "await":
			start := time.Now()
			for ctx.Err() == nil {
				if _, err := session.Token(ctx); err == nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			say("%d", time.Since(start))
		}
		cancel()
	}
}

func outcome(token *oauth2.Token, err error) string {
	switch {
	case err == nil:
		return token.AccessToken
	case errors.Is(err, tokensource.ErrNoToken):
		return "no token"
	}
	return "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
}

// newPuppet starts one, which ends with the test.
func newPuppet(t *testing.T, c puppetConfig) *puppet {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), puppetVariable+"="+string(config))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process has ended with %v", err)
		}
	})
	return &puppet{t: t, in: in, out: bufio.NewScanner(out)}
}

// tell gives the puppet a word. heard returns its answer.
func (p *puppet) tell(word string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, word); err != nil {
		p.t.Fatal(err)
	}
}

func (p *puppet) heard() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatal("a process has ended: ", p.out.Err())
	}
	return p.out.Text()
}

func (p *puppet) ask(word string) string {
	p.t.Helper()
	p.tell(word)
	return p.heard()
}
