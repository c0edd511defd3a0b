package tokensource_test

import (
	"context"
	"encoding/json"
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

func (k *keychain) Load(ctx context.Context) (*oauth2.Token, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	item, ok := k.items[k.account]
	if !ok {
		return nil, tokensource.ErrNoToken
	}
	var token oauth2.Token
	if err := json.Unmarshal(item, &token); err != nil {
		return nil, err
	}
	return &token, nil
}

func (k *keychain) Save(ctx context.Context, token *oauth2.Token) error {
	item, err := json.Marshal(token)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.items[k.account] = item
	return nil
}

func (k *keychain) Clear(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.items, k.account)
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
