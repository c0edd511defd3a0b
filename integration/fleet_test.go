package integration_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authtrip/authtrip/integration/authserver"
	"github.com/authtrip/authtrip/internal/redistest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/redis/go-redis/v9"
)

const (
	fleetSize = 8
	lifetimes = 100

	// lifetime is that of an access token, unless it is replaced before, as it is at
	// half of it. A request that is refused has until then to be sent again.
	lifetime = 4 * time.Second
)

// A fleet is processes that share one identity, whose refresh token is good for
// one use: using it again ends the grant.
type fleet struct {
	t      *testing.T
	server *authserver.Server
	store  store
	began  time.Time

	mu        sync.Mutex // guards the fields below
	members   map[string]*process
	started   int
	killed    map[string]time.Time
	tokens    map[string]bool
	events    map[tokensource.EventKind]int
	failures  []failure
	outages   []outage
	accepted  int // by those that have ended
	signedOut int // requests of theirs

	// Of the test's goroutine: the sign-ins that were explained, those of them by a request
	// that came late, and the exchanges up to the last.
	signIns, late, seen int
}

// A failure is a request's, or what else a member cannot do.
type failure struct {
	at   time.Time
	what string
}

// An outage is a time in which requests fail that a reason is known for.
type outage struct {
	why      string // a part of what they fail with
	from, to time.Time
}

type process struct {
	*exec.Cmd
	stdin io.Closer
	done  chan struct{}
}

// newFleet signs in and starts the members.
func newFleet(t *testing.T, server *authserver.Server, s store) *fleet {
	t.Helper()
	f := &fleet{
		t: t, server: server, store: s,
		members: make(map[string]*process), killed: make(map[string]time.Time),
		tokens: make(map[string]bool), events: make(map[tokensource.EventKind]int),
	}
	f.signIn()
	f.began = time.Now()
	for range fleetSize {
		f.start()
	}
	t.Cleanup(f.stop)
	return f
}

// signIn is what an operator does, in a process of their own.
func (f *fleet) signIn() {
	f.t.Helper()
	token, err := f.server.Login(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := (&tokensource.Session{Store: f.store.open()}).Set(f.t.Context(), token); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	name := fmt.Sprint("member-", f.started)
	config, err := json.Marshal(member{
		Name: name, Config: *f.server.Config(), APIURL: f.server.APIURL, Store: f.store,
		Callers: 50, Pause: 3 * time.Second / 2, Deadline: 20 * time.Second,
	})
	if err != nil {
		f.t.Error(err)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		f.t.Error(err)
		return
	}
	p := &process{Cmd: exec.Command(exe), done: make(chan struct{})}
	p.Env = append(os.Environ(), memberVariable+"="+string(config))
	p.Stderr = os.Stderr
	p.stdin, err = p.StdinPipe()
	if err != nil {
		f.t.Error(err)
		return
	}
	out, err := p.StdoutPipe()
	if err != nil {
		f.t.Error(err)
		return
	}
	if err := p.Start(); err != nil {
		f.t.Error(err)
		return
	}
	f.members[name] = p
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f.hear(lines.Text())
		}
		_ = p.Wait()
	}()
}

func (f *fleet) hear(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "token":
		f.tokens[rest] = true
	case "event":
		f.events[tokensource.EventKind(rest)]++
	case "signed":
		f.signedOut++
	case "ended":
		n, _ := strconv.Atoi(rest)
		f.accepted += n
	default:
		f.failures = append(f.failures, failure{time.Now(), line})
	}
}

// kill kills one of the members, by chance, and starts another in its place.
func (f *fleet) kill() {
	f.mu.Lock()
	names := slices.Sorted(maps.Keys(f.members))
	name := names[rand.IntN(len(names))]
	p := f.members[name]
	delete(f.members, name)
	// Before, so that whoever is refused since finds it here.
	f.killed[name] = time.Now()
	f.mu.Unlock()
	_ = p.Process.Kill()
	<-p.done
	f.start()
}

// stop has the members end, and waits.
func (f *fleet) stop() {
	f.mu.Lock()
	members := maps.Clone(f.members)
	clear(f.members)
	f.mu.Unlock()
	for _, p := range members {
		_ = p.stdin.Close()
	}
	for name, p := range members {
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			f.t.Errorf("%s does not end", name)
			_ = p.Process.Kill()
			<-p.done
		}
		if code := p.ProcessState.ExitCode(); code != 0 {
			f.t.Errorf("%s has ended with %d", name, code)
		}
	}
}

// explain signs in again if the server has refused the refresh token, as it does to
// one member after the other until then. It is an error unless somebody was killed
// who had just exchanged it, so that nobody has the new one, or whose request has come so
// late that the next had exchanged it: that ends what this one got.
func (f *fleet) explain() {
	f.t.Helper()
	exchanges := f.server.Stats().Exchanges
	refused := slices.IndexFunc(exchanges[f.seen:], func(e authserver.Exchange) bool { return !e.Granted })
	if refused < 0 {
		return
	}
	refused += f.seen
	last := refused - 1
	for last >= 0 && !exchanges[last].Granted {
		last--
	}
	var at time.Time
	f.mu.Lock()
	if last >= 0 {
		at = f.killed[exchanges[last].By]
	}
	late := exchanges[refused]
	if killed, ok := f.killed[late.By]; ok && at.IsZero() && late.At.After(killed) {
		at = killed
		f.late++
	}
	f.mu.Unlock()
	if at.IsZero() {
		f.t.Errorf("signed out, although neither who had exchanged the refresh token before was killed, nor, by then, who was refused: %v", exchanges[max(0, last):refused+1])
	}
	f.signIn() // under the lock: whoever comes after that has the new token
	f.signIns++
	f.mu.Lock()
	// The lost exchange has ended the access token of before too, until the members
	// have found the sign-in.
	f.outages = append(f.outages, outage{"failed 401 Unauthorized", at.Add(-time.Second), time.Now().Add(5 * time.Second)})
	f.mu.Unlock()
	f.seen = len(f.server.Stats().Exchanges)
}

// report checks that there was one exchange for each lifetime of a token.
func (f *fleet) report() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.server.Stats()
	f.t.Logf("%v: %d processes, %d killed; %d exchanges, %d tokens, %d refused; %d requests accepted, %d rejected and sent again; %d explained sign-ins, %d by late requests, %d requests meanwhile; events %v",
		time.Since(f.began).Round(time.Millisecond), f.started, len(f.killed), s.Refreshes, len(f.tokens), s.RefusedRefreshes["invalid_grant"],
		s.Accepted, s.Unauthorized, f.signIns, f.late, f.signedOut, f.events)
	all := len(f.failures)
	f.failures = slices.DeleteFunc(f.failures, func(failure failure) bool {
		return slices.ContainsFunc(f.outages, func(o outage) bool {
			return strings.Contains(failure.what, o.why) && failure.at.After(o.from) && failure.at.Before(o.to)
		})
	})
	if n := len(f.failures); n > 0 {
		f.t.Errorf("%d requests failed, the first after %v with: %s", n, f.failures[0].at.Sub(f.began), f.failures[0].what)
		for _, o := range f.outages {
			f.t.Logf("outage after %v, until %v: %s", o.from.Sub(f.began), o.to.Sub(f.began), o.why)
		}
	}
	f.t.Logf("%d requests more failed during outages", all-len(f.failures))
	since := slices.ContainsFunc(s.Exchanges[f.seen:], func(e authserver.Exchange) bool { return !e.Granted })
	if since || len(s.RefusedRefreshes) > 1 || s.RefusedRefreshes["invalid_grant"] > 0 && f.signIns == 0 {
		f.t.Errorf("refused: %v, which %d sign-ins do not explain", s.RefusedRefreshes, f.signIns)
	}
	if f.signIns == 0 && f.signedOut > 0 {
		f.t.Errorf("%d requests failed since somebody had to sign in", f.signedOut)
	}
	// What was signed in with is a lifetime too, but no exchange. Each sign-in after the
	// first makes up for an exchange whose token nobody has seen.
	if lived := len(f.tokens) - 1; !within(s.Refreshes, lived, .02) {
		f.t.Errorf("%d exchanges for %d lifetimes", s.Refreshes, lived)
	}
}

// within reports whether a and b differ by a share of b at most, or by one.
func within(a, b int, share float64) bool {
	return float64(max(a-b, b-a)) <= max(1, share*float64(b))
}

// eachStore runs test with a file and with Redis.
func eachStore(t *testing.T, test func(t *testing.T, s store)) {
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		test(t, store{File: filepath.Join(dir, "token.json")})
	})
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		needRedis(t)
		test(t, store{Redis: redistest.Start(t).Addr})
	})
}

func needRedis(t *testing.T) {
	t.Helper()
	switch {
	case redistest.Installed() != "":
	case os.Getenv("AUTHTRIP_SERVERS") == "required":
		t.Fatal("redis-server is not installed, and AUTHTRIP_SERVERS=required")
	default:
		t.Skip("redis-server is not installed")
	}
}

// Eight processes of fifty callers each, through a hundred lifetimes of one token:
// one exchange for each, and nobody notices. Each exchange ends the token of
// before, so the others learn of it by being refused.
func TestFleet(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		f := newFleet(t, authserver.Fosite(t, lifetime), s)
		for f.server.Stats().Refreshes < lifetimes {
			time.Sleep(50 * time.Millisecond)
			if time.Since(f.began) > 8*time.Minute {
				t.Fatalf("%d exchanges in 8 minutes", f.server.Stats().Refreshes)
			}
		}
		f.stop()
		f.report()
	})
}

// The same, while one of them is killed each second. Whoever has to sign in again
// does so since the one who was killed had the only answer.
func TestFleetSurvivesKill(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		f := newFleet(t, authserver.Fosite(t, lifetime), s)
		for next := time.Now(); f.server.Stats().Refreshes < lifetimes; time.Sleep(50 * time.Millisecond) {
			if time.Since(f.began) > 8*time.Minute {
				t.Fatalf("%d exchanges in 8 minutes", f.server.Stats().Refreshes)
			}
			f.explain()
			if time.Now().After(next) {
				f.kill()
				next = next.Add(time.Second)
			}
		}
		f.explain()
		f.stop()
		f.report()
	})
}

// Redis goes away when the next renewal is about to be due, and comes back, or a
// replica takes over. The token is good all the while: requests go on, and nobody is
// signed out.
func TestFleetOutlivesRedis(t *testing.T) {
	needRedis(t)
	const lifetime = 20 * time.Second // renewed after ten seconds, or eleven
	for name, start := range map[string]func(*testing.T) (s store, fail func()){
		"restarted": func(t *testing.T) (store, func()) {
			r := redistest.Start(t)
			return store{Redis: r.Addr}, func() {
				r.Stop()
				time.Sleep(4 * time.Second)
				r.Restart()
			}
		},
		"failed over": func(t *testing.T) (store, func()) {
			master := redistest.Start(t)
			for range 2 {
				master.Replica(t)
			}
			sentinel := master.Sentinel(t, "fleet")
			client := redis.NewClient(&redis.Options{Addr: master.Addr})
			defer client.Close()
			// Until it knows them, it has nobody to take over. Until they are in step, they
			// confirm nothing.
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				n, err := sentinel.Do("SENTINEL REPLICAS fleet")
				online := strings.Count(client.Info(t.Context(), "replication").Val(), "state=online")
				if err == nil && n == "*2" && online == 2 {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("Sentinel knows %s replicas, %v; %d are in step", n, err, online)
				}
			}
			return store{Sentinel: sentinel.Addr, Replicas: 1}, master.Stop
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, fail := start(t)
			f := newFleet(t, authserver.Fosite(t, lifetime), s)
			renewed := func(n int) {
				t.Helper()
				for deadline := time.Now().Add(2 * lifetime); f.server.Stats().Refreshes < n; time.Sleep(50 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%d exchanges after %v, want %d", f.server.Stats().Refreshes, 2*lifetime, n)
					}
				}
			}
			renewed(1)
			time.Sleep(9400 * time.Millisecond)
			fail()
			renewed(2)
			time.Sleep(time.Second) // so that all have it
			f.stop()
			f.report()
			// It is where the token was saved that nobody has lost.
			text, err := s.open().Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			record, err := tokensource.ParseRecord(text)
			if err != nil {
				t.Fatal(err)
			}
			if !f.tokens[fmt.Sprintf("%x", sha256.Sum256([]byte(record.Token.AccessToken)))] {
				t.Error("what Redis has is nobody's token")
			}
		})
	}
}
