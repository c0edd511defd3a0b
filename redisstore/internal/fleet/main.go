// Command fleet measures what many processes that share one identity cost in Redis. It
// starts a redis-server, and plays each process by a Session with a client and a Store of
// its own.
//
// It fails unless there is about one exchange for each lifetime of a token, no request
// fails, and the processes send at most -most commands for each renewal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

type options struct {
	n                       int
	life, run, every, takes time.Duration
	reject                  time.Duration
	watch                   bool
	most                    float64
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 1000, "processes")
	flag.DurationVar(&o.life, "life", 5*time.Second, "lifetime of a token")
	flag.DurationVar(&o.run, "run", 30*time.Second, "how long")
	flag.DurationVar(&o.every, "every", 200*time.Millisecond, "between two requests of a process")
	flag.DurationVar(&o.takes, "exchange", 50*time.Millisecond, "how long an exchange takes")
	flag.DurationVar(&o.reject, "reject", 0, "how often the API rejects the token of all processes at once; 0 is never")
	flag.BoolVar(&o.watch, "watch", false, "all processes watch the Store")
	flag.Float64Var(&o.most, "most", 2.5, "commands for each renewal and process")
	flag.Parse()
	if err := measure(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o options) (err error) {
	socket, stop, err := startRedis()
	if err != nil {
		return err
	}
	defer stop()
	connect := func() *redis.Client {
		return redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: 2})
	}
	admin := connect()
	defer admin.Close()
	for deadline := time.Now().Add(10 * time.Second); admin.Ping(ctx).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("redis-server does not answer")
		}
	}
	auth := &authorizationServer{life: o.life, takes: o.takes}
	first := auth.next()
	seed := &tokensource.Session{Store: &redisstore.Store{Client: admin, Key: "fleet"}}
	if err := seed.Set(ctx, first); err != nil {
		return err
	}
	if err := admin.ConfigResetStat(ctx).Err(); err != nil {
		return err
	}
	api := newAPI(o)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var fleet sync.WaitGroup
	for i := range o.n {
		client := connect()
		defer client.Close()
		store := &redisstore.Store{Client: client, Key: "fleet"}
		session := &tokensource.Session{Grant: auth.grant, Store: store}
		if o.watch {
			go func() { _ = store.Watch(watching, session.Reload) }()
		}
		fleet.Go(func() {
			time.Sleep(time.Duration(i) * o.every / time.Duration(o.n))
			api.use(ctx, session)
		})
	}
	fleet.Wait()
	commands, err := commands(ctx, admin)
	if err != nil {
		return err
	}
	return report(o, auth, api, commands)
}

// startRedis starts a redis-server on a socket in a folder of its own.
func startRedis() (socket string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "redis.sock")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--maxclients", "20000")
	if err := cmd.Start(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return socket, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}, nil
}

// An authorizationServer rotates its refresh token, and refuses one that was used.
type authorizationServer struct {
	life, takes time.Duration

	mu                 sync.Mutex // guards the fields below
	exchanges, refused int
	token              *oauth2.Token
}

// next issues the next token. a.mu is held, or nobody else uses a yet.
func (a *authorizationServer) next() *oauth2.Token {
	a.token = &oauth2.Token{
		AccessToken: fmt.Sprint("access-", a.exchanges), RefreshToken: fmt.Sprint("refresh-", a.exchanges),
		Expiry: time.Now().Add(a.life),
	}
	return a.token
}

func (a *authorizationServer) grant(_ context.Context, current *oauth2.Token) (*oauth2.Token, error) {
	time.Sleep(a.takes)
	a.mu.Lock()
	defer a.mu.Unlock()
	if current == nil || current.RefreshToken != a.token.RefreshToken {
		a.refused++
		return nil, fmt.Errorf("%w: the refresh token was used before", tokensource.ErrReauthRequired)
	}
	a.exchanges++
	return a.next(), nil
}

// An api is what the processes call.
type api struct {
	o          options
	began, end time.Time

	mu       sync.Mutex // guards the fields below
	requests int
	failed   map[string]int
	waits    []time.Duration // for a token, those over a millisecond
}

func newAPI(o options) *api {
	now := time.Now()
	return &api{o: o, began: now, end: now.Add(o.run), failed: make(map[string]int)}
}

// use sends the requests of one process.
func (a *api) use(ctx context.Context, s *tokensource.Session) {
	round := 0
	for time.Now().Before(a.end) {
		began := time.Now()
		token, err := s.Token(ctx)
		if due := a.round(); due > round && err == nil {
			round = due
			_, err = s.Renew(ctx, token)
		}
		a.note(time.Since(began), err)
		time.Sleep(a.o.every)
	}
}

// round counts how often the API has rejected the token of all.
func (a *api) round() int {
	if a.o.reject == 0 {
		return 0
	}
	return int(time.Since(a.began) / a.o.reject)
}

func (a *api) note(wait time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	if wait > time.Millisecond {
		a.waits = append(a.waits, wait)
	}
	if err != nil {
		a.failed[err.Error()]++
	}
}

// commands returns how often Redis has run each command, also those that scripts call.
func commands(ctx context.Context, admin *redis.Client) (map[string]int, error) {
	text, err := admin.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	calls := make(map[string]int)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok || strings.HasPrefix(name, "config") || name == "info" {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		if calls[name], err = strconv.Atoi(n); err != nil {
			return nil, err
		}
	}
	return calls, nil
}

func report(o options, auth *authorizationServer, a *api, calls map[string]int) error {
	total := 0
	for _, n := range calls {
		total += n
	}
	each := float64(total) / float64(max(1, auth.exchanges)) / float64(o.n)
	// Half a lifetime ahead is when a token is renewed.
	lifetimes := int(o.run / (o.life - min(o.life/2, 5*time.Minute)))
	fmt.Printf("%d processes for %v: %d requests, %v failed\n", o.n, o.run, a.requests, a.failed)
	fmt.Printf("%d exchanges, %d refused; a token is in use for half its %v, %d times\n", auth.exchanges, auth.refused, o.life, lifetimes)
	fmt.Printf("%d commands, %.2f for each renewal and process:", total, each)
	names := slices.SortedFunc(maps.Keys(calls), func(a, b string) int { return calls[b] - calls[a] })
	for _, name := range names {
		fmt.Printf(" %s %d", name, calls[name])
	}
	fmt.Println()
	if n := len(a.waits); n > 0 {
		slices.Sort(a.waits)
		fmt.Printf("%d requests waited for a token for more than 1 ms: median %v, 99 %% %v, longest %v\n",
			n, a.waits[n/2].Round(time.Millisecond), a.waits[n*99/100].Round(time.Millisecond), a.waits[n-1].Round(time.Millisecond))
	}
	switch {
	case len(a.failed) > 0:
		return errors.New("requests have failed")
	case auth.refused > 0:
		return errors.New("a refresh token was used twice")
	case o.reject == 0 && auth.exchanges > lifetimes+1:
		return fmt.Errorf("%d exchanges for %d lifetimes", auth.exchanges, lifetimes)
	case each > o.most:
		return fmt.Errorf("%.2f commands for each renewal and process, want %v at most", each, o.most)
	}
	return nil
}
