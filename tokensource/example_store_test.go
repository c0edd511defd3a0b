package tokensource_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A keychain is a Store over some place where secrets may be kept, here a map.
type keychain struct {
	account string

	mu    sync.Mutex
	items map[string][]byte
}

func (k *keychain) Load(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.items[k.account], nil
}

func (k *keychain) Save(ctx context.Context, record []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.items[k.account] = record
	return nil
}

// A token outlives the process that has obtained it.
func ExampleStore() {
	store := &keychain{account: "gopher", items: map[string][]byte{}}
	ctx := context.Background()

	before := &tokensource.Session{Store: store}
	if err := before.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}

	after := &tokensource.Session{Store: store} // in another process
	token, err := after.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}
