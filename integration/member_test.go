package integration_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authtrip/authtrip/redisstore"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2"
)

// A member is one process of a fleet that shares an identity. It calls the API from
// many goroutines until its standard input ends, and says on its standard output what
// has happened, a line each:
//
//	token HASH	it has another token
//	event KIND	of its Session
//	failed ERROR	a request
//	signed out	a request has failed since somebody has to sign in
//	ended N		N requests were accepted, and it ends
type member struct {
	Name     string // what it calls itself at the token endpoint
	Config   oauth2.Config
	APIURL   string
	Store    store
	Callers  int
	Pause    time.Duration // of each caller, between requests
	Deadline time.Duration // of each request
}

// A store says where the members of a fleet keep their token.
type store struct {
	File     string
	Redis    string // address
	Sentinel string // address, of a master named fleet
	Replicas int
}

func (s store) open() tokensource.Store {
	if s.File != "" {
		return &tokensource.FileStore{Path: s.File}
	}
	var client redis.UniversalClient
	if s.Sentinel != "" {
		client = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "fleet", SentinelAddrs: []string{s.Sentinel}})
	} else {
		client = redis.NewClient(&redis.Options{Addr: s.Redis})
	}
	return &redisstore.Store{Client: client, Key: "fleet", Replicas: s.Replicas}
}

const memberVariable = "AUTHTRIP_MEMBER"

func TestMain(m *testing.M) {
	if config := os.Getenv(memberVariable); config != "" {
		var member member
		if err := json.Unmarshal([]byte(config), &member); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		member.run()
		os.Exit(0)
	}
	if config := os.Getenv(puppetVariable); config != "" {
		var puppet puppetConfig
		if err := json.Unmarshal([]byte(config), &puppet); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		puppet.obey()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// named has the token endpoint know who asks.
type named struct {
	name string
	base http.RoundTripper
}

func (n named) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", n.name)
	return n.base.RoundTrip(req)
}

func (m member) run() {
	grant := tokensource.RefreshToken(&m.Config)
	client := &http.Client{Transport: named{m.Name, http.DefaultTransport}}
	changed := make(chan struct{}, 1)
	session := &tokensource.Session{
		Grant: func(ctx context.Context, current *oauth2.Token) (*oauth2.Token, error) {
			return grant(context.WithValue(ctx, oauth2.HTTPClient, client), current)
		},
		Store:     m.Store.open(),
		MaxForced: -1,
		OnEvent: func(_ context.Context, e tokensource.Event) {
			say("event %s", e.Kind)
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	}
	api := transport.Client(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: m.Callers}}, (&transport.Refresh{Source: session}).Wrap)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		stop()
	}()
	go func() {
		for range changed {
			if token, err := session.Token(ctx); err == nil {
				say("token %x", sha256.Sum256([]byte(token.AccessToken)))
			}
		}
	}()
	var accepted atomic.Int64
	var callers sync.WaitGroup
	for range m.Callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				err := m.call(api)
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, tokensource.ErrReauthRequired):
					say("signed out")
				default:
					say("failed %s", strings.ReplaceAll(err.Error(), "\n", " "))
				}
				select {
				case <-time.After(m.Pause):
				case <-ctx.Done():
				}
			}
		})
	}
	callers.Wait()
	last, cancel := context.WithTimeout(context.Background(), m.Deadline)
	defer cancel()
	if err := session.Wait(last); err != nil {
		say("failed to wait: %v", err)
	}
	say("ended %d", accepted.Load())
}

// call makes one request. It is not given up when the member is to end.
func (m member) call(api *http.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), m.Deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.APIURL, strings.NewReader("message"))
	if err != nil {
		return err
	}
	resp, err := api.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

var saying sync.Mutex

func say(format string, args ...any) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Printf(format+"\n", args...)
}
