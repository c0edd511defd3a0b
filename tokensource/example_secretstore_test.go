package tokensource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// A secretStore is a Store over the key-value engine of Vault or OpenBao, version 2. It
// has no Lock: two processes may use the same refresh token at once. Use such a Store only
// for refresh tokens that can be used again, or if one process alone renews. For others,
// take a Store with a Lock.
//
// Save is a check-and-set: it replaces only the version that the last Load has returned.
// A Session loads before each Save, so that no process overwrites a record that it has
// not seen.
//
// A Kubernetes Secret works the same way. Its resourceVersion takes the place of the
// version, and its status 409 that of 400.
type secretStore struct {
	client *http.Client
	url    string        // such as https://vault.example.com/v1/secret/data/billing
	token  func() string // returns the current token of Vault

	mu      sync.Mutex
	version int // of the secret, as Load or Save last saw it; 0: there is none
}

var _ tokensource.Store = (*secretStore)(nil)

// A secret is what Vault returns, as far as the Store needs it.
type secret struct {
	Data struct {
		Data     struct{ Record string }
		Metadata struct{ Version int }
		Version  int // in the answer to a write
	}
}

func (s *secretStore) Load(ctx context.Context) ([]byte, error) {
	var found secret
	status, err := s.do(ctx, http.MethodGet, nil, &found)
	switch {
	case err != nil:
		return nil, fmt.Errorf("secretStore: loading: %w", err)
	case status != http.StatusOK && status != http.StatusNotFound:
		return nil, fmt.Errorf("secretStore: loading: Vault answers %d", status)
	}
	// A secret whose newest version was deleted is not found, but has a version.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = found.Data.Metadata.Version
	return []byte(found.Data.Data.Record), nil
}

func (s *secretStore) Save(ctx context.Context, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := json.Marshal(map[string]any{
		"options": map[string]int{"cas": s.version},
		"data":    map[string]string{"record": string(record)},
	})
	if err != nil {
		return fmt.Errorf("secretStore: saving: %w", err)
	}
	var saved secret
	status, err := s.do(ctx, http.MethodPost, body, &saved)
	switch {
	case err != nil:
		return fmt.Errorf("secretStore: saving: %w", err)
	case status == http.StatusBadRequest:
		return fmt.Errorf("secretStore: saving: version %d is no longer the newest", s.version)
	case status != http.StatusOK:
		return fmt.Errorf("secretStore: saving: Vault answers %d", status)
	}
	s.version = saved.Data.Version
	return nil
}

func (s *secretStore) do(ctx context.Context, method string, body []byte, into *secret) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Vault-Token", s.token())
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return 0, err
	}
	if json.Unmarshal(text, into) != nil && resp.StatusCode == http.StatusOK {
		return 0, fmt.Errorf("the answer is not what Vault sends")
	}
	return resp.StatusCode, nil
}

// A command keeps its token in a secret manager. Sealed is for secret managers that many
// people can read.
func Example_secretStore() {
	ctx := context.Background()
	vault := newVault()                // a stand-in for Vault, without a network
	key := bytes.Repeat([]byte{1}, 32) // 32 bytes from crypto/rand, kept elsewhere

	open := func() tokensource.Store {
		return tokensource.Sealed(&secretStore{
			client: vault.client(),
			url:    "https://vault.example.com/v1/secret/data/billing",
			token:  func() string { return "s.vault" },
		}, "billing", key)
	}

	before := &tokensource.Session{Store: open()}
	if err := before.Set(ctx, &oauth2.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}

	after := &tokensource.Session{Store: open()} // in another process
	token, err := after.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken)
	// Output: access-1
}
