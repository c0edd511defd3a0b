package tokensource_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A shared Store can be locked, so that of all its users one renews.
type shared struct {
	lock chan struct{} // holds a value while it is locked

	mu     sync.Mutex
	record []byte
}

func (s *shared) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s.lock <- struct{}{}:
		return func() { <-s.lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *shared) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record, nil
}

func (s *shared) Save(_ context.Context, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = record
	return nil
}

// Two sessions, as of two processes, need a token at one time: the second waits
// for the lock and then finds what the first has stored.
func ExampleLocker() {
	store := &shared{lock: make(chan struct{}, 1)}
	exchanges := 0
	grant := func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
		exchanges++
		return &oauth2.Token{AccessToken: "access-1"}, nil
	}
	var wg sync.WaitGroup
	for range 2 {
		session := &tokensource.Session{Grant: grant, Store: store}
		wg.Go(func() {
			token, err := session.Token(context.Background())
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(token.AccessToken)
		})
	}
	wg.Wait()
	fmt.Println("exchanges:", exchanges)
	// Output:
	// access-1
	// access-1
	// exchanges: 1
}
