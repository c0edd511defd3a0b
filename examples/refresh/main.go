// Command refresh shows what a client does while its tokens end. An
// authorization server whose refresh tokens can be used once, and an API, run
// on loopback; 500 goroutines keep posting to the API while access tokens
// expire and one is revoked. The same load runs through transport.Refresh and
// through golang.org/x/oauth2's Transport at the same time.
//
// It exits with status 1 if transport.Refresh has lost a request, or made more
// or fewer renewals than tokens ended.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"golang.org/x/oauth2"
)

func main() {
	duration := flag.Duration("duration", 7500*time.Millisecond, "how long to call")
	callers := flag.Int("callers", 500, "goroutines that call, on each side")
	every := flag.Duration("every", 250*time.Millisecond, "pause of a goroutine between calls, on average")
	flag.Parse()
	if err := run(*duration, *callers, *every); err != nil {
		fmt.Fprintln(os.Stderr, "refresh:", err)
		os.Exit(1)
	}
}

// A side is one client with a server of its own.
type side struct {
	name   string
	server *server
	load   *load
}

func newSide(name string, client func(*server, http.RoundTripper) (*http.Client, error)) (*side, error) {
	// expires_in is in whole seconds; 2 s is the shortest lifetime with something to see in it.
	s := newServer(2*time.Second, 50*time.Millisecond)
	c, err := client(s, &http.Transport{MaxIdleConnsPerHost: 1000})
	if err != nil {
		s.Close()
		return nil, err
	}
	return &side{name, s, &load{client: c, url: s.URL + "/bearer"}}, nil
}

// ours is all that a program has to do.
func ours(s *server, base http.RoundTripper) (*http.Client, error) {
	session := &tokensource.Session{Grant: tokensource.RefreshToken(s.Config())}
	if err := session.Set(context.Background(), s.SignIn()); err != nil {
		return nil, err
	}
	return &http.Client{Transport: &transport.Refresh{Source: session, Base: base}}, nil
}

// theirs sets the expiry delta, since the default of 10 s would make every
// request renew a token of 2 s.
func theirs(s *server, base http.RoundTripper) (*http.Client, error) {
	token := s.SignIn()
	source := s.Config().TokenSource(context.Background(), token)
	source = oauth2.ReuseTokenSourceWithExpiry(token, source, 100*time.Millisecond)
	return &http.Client{Transport: &oauth2.Transport{Source: source, Base: base}}, nil
}

func run(duration time.Duration, callers int, every time.Duration) error {
	us, err := newSide("authtrip", ours)
	if err != nil {
		return err
	}
	defer us.server.Close()
	them, err := newSide("x/oauth2", theirs)
	if err != nil {
		return err
	}
	defer them.server.Close()
	sides := []*side{us, them}

	fmt.Printf("%d goroutines a side post to an API for %v. Tokens live 2 s, renewing one takes 50 ms,\n", callers, duration)
	fmt.Printf("and one token is revoked after a third of the time. Lost is what the caller did not get answered.\n\n")
	for _, s := range sides {
		fmt.Printf("       %-44s", s.name)
	}
	fmt.Println()
	for range sides {
		fmt.Printf("%5s%9s%6s%9s%6s%8s%8s  ", "", "requests", "401s", "renewals", "lost", "p50", "p99")
	}
	fmt.Println()

	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range sides {
		wg.Go(func() { s.load.run(ctx, callers, every) })
		time.AfterFunc(duration/3, s.server.revoke)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for start := time.Now(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-tick.C:
			for _, s := range sides {
				s.print(fmt.Sprintf("%3.0f s", time.Since(start).Seconds()))
			}
			fmt.Println()
		}
	}
	wg.Wait()
	fmt.Println()
	return verdict(us, them)
}

func (s *side) print(when string) {
	sum := s.load.summarize(s.server)
	exchanges, _, _ := s.server.settled()
	fmt.Printf("%5s%9d%6d%9d%6d%8s%8s  ", when, sum.requests, s.server.Stats().Unauthorized, exchanges, sum.lost, ms(sum.p50), ms(sum.p99))
}

// verdict prints what came of us and the others, and says what went wrong with
// us.
func verdict(us *side, others ...*side) error {
	// A token that was renewed ahead at the very end is to be seen in use.
	us.server.settled()
	us.load.call([]byte("last"))
	for _, s := range append([]*side{us}, others...) {
		sum := s.load.summarize(s.server)
		exchanges, ended, reused := s.server.settled()
		fmt.Printf("%s: %d requests, %d lost; %d tokens ended, %d renewals, %d refresh tokens used twice;\n",
			s.name, sum.requests, sum.lost, ended, exchanges, reused)
		fmt.Printf("%*s  slowest request while a token was renewed: %s on expiry, %s after the revocation\n",
			len(s.name), "", ms(sum.rollover), ms(sum.rejected))
		if s.load.first != nil {
			fmt.Printf("%*s  the first request lost: %v\n", len(s.name), "", s.load.first)
		}
	}
	sum := us.load.summarize(us.server)
	switch exchanges, ended, reused := us.server.settled(); {
	case sum.lost > 0:
		return fmt.Errorf("%d requests were lost", sum.lost)
	case exchanges != ended || reused != 0:
		return fmt.Errorf("%d tokens ended, but there were %d renewals and %d refresh tokens used twice", ended, exchanges, reused)
	}
	return nil
}

// ms prints a duration in milliseconds, with one digit below ten.
func ms(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1fms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.0fms", d.Seconds()*1000)
}
