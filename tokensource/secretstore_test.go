package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// A vault answers like one secret of Vault's key-value engine, version 2.
type vault struct {
	mu      sync.Mutex // guards the fields below
	version int
	record  string
	deleted bool
	status  int // if not 0, what every request gets
	body    string
}

func newVault() *vault { return new(vault) }

// client returns a client whose requests are v's, without a network.
func (v *vault) client() *http.Client {
	return &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		v.ServeHTTP(w, req)
		return w.Result(), req.Context().Err()
	})}
}

func (v *vault) store() *secretStore {
	return &secretStore{
		client: v.client(),
		url:    "https://vault.example.com/v1/secret/data/billing",
		token:  func() string { return "s.vault" },
	}
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.status != 0:
		answerJSON(w, v.status, json.RawMessage(v.body))
	case r.Header.Get("X-Vault-Token") != "s.vault":
		answerJSON(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
	case r.Method == http.MethodPost:
		v.write(w, r)
	case v.version == 0:
		answerJSON(w, http.StatusNotFound, map[string]any{"errors": []string{}})
	case v.deleted:
		answerJSON(w, http.StatusNotFound, v.secret(nil))
	default:
		answerJSON(w, http.StatusOK, v.secret(map[string]string{"record": v.record}))
	}
}

func (v *vault) secret(data any) any {
	return map[string]any{"data": map[string]any{"data": data, "metadata": map[string]any{"version": v.version, "destroyed": false}}}
}

func (v *vault) write(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Options struct{ CAS *int }
		Data    struct{ Record string }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Options.CAS == nil || *body.Options.CAS != v.version {
		answerJSON(w, http.StatusBadRequest, map[string]any{"errors": []string{"check-and-set parameter did not match the current version"}})
		return
	}
	v.record, v.deleted = body.Data.Record, false
	v.version++
	answerJSON(w, http.StatusOK, map[string]any{"data": map[string]any{"version": v.version}})
}

func (v *vault) set(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func TestSecretStoreKeepsRecords(t *testing.T) {
	v := newVault()
	s := v.store()
	ctx := t.Context()
	expect := func(s *secretStore, want string) {
		t.Helper()
		if got, err := s.Load(ctx); err != nil || string(got) != want {
			t.Errorf("Load() = %q, %v, want %q", got, err, want)
		}
	}
	save := func(s *secretStore, record string) {
		t.Helper()
		if err := s.Save(ctx, []byte(record)); err != nil {
			t.Error(err)
		}
	}
	expect(s, "")
	save(s, `{"access_token":"<&>"}`+"\n")
	expect(s, `{"access_token":"<&>"}`+"\n")
	save(s, "two")
	save(s, "three") // without a Load in between
	expect(v.store(), "three")

	v.set(func() { v.deleted = true })
	expect(s, "")
	save(s, "four")
	expect(v.store(), "four")
}

func TestSecretStoreReplacesOnlyWhatItHasSeen(t *testing.T) {
	v := newVault()
	a, b := v.store(), v.store()
	for _, s := range []*secretStore{a, b} {
		if _, err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Save(t.Context(), []byte("of b")); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(t.Context(), []byte("of a")); err == nil {
		t.Error("a has replaced a record that it has not seen")
	}
	if v.record != "of b" {
		t.Errorf("the secret is %q", v.record)
	}
	if _, err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(t.Context(), []byte("of a")); err != nil {
		t.Errorf("after Load: %v", err)
	}
}

func TestSecretStoreFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
	}{
		{"denied", http.StatusForbidden, `{"errors":["permission denied"]}`},
		{"sealed", http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`},
		{"not JSON", http.StatusOK, `"hunter2"`},
		{"of another type", http.StatusOK, `{"data":{"data":{"record":{"access_token":"hunter2"}}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVault()
			v.status, v.body = tt.status, tt.body
			s := v.store()
			_, loadErr := s.Load(t.Context())
			for _, err := range []error{loadErr, s.Save(t.Context(), []byte("{}"))} {
				if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want one line without the answer", err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newVault().store().Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Load() = %v, want context.Canceled", err)
	}
}

// A renewal and a sign-out in two processes meet without a lock. The sign-out wins,
// whichever of them saves first.
func TestSecretStoreKeepsASignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		ctx := t.Context()
		other := &tokensource.Session{Store: v.store()}
		session := &tokensource.Session{Store: v.store(), Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) {
			if err := other.Reload(ctx); err != nil {
				return nil, err
			}
			return &oauth2.Token{AccessToken: "access-2"}, other.Clear(ctx)
		}}
		if err := session.Set(ctx, &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh"}); err != nil {
			t.Fatal(err)
		}
		rejected, err := session.Token(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := session.Renew(ctx, rejected); !errors.Is(err, tokensource.ErrNoToken) {
			t.Errorf("Renew() = %v, %v, want ErrNoToken", access(token, nil), err)
		}
		record, err := tokensource.ParseRecord([]byte(v.record))
		if err != nil || record.Change != tokensource.ChangeSignOut {
			t.Errorf("the secret is %v, %v, want a sign-out", record, err)
		}
	})
}

// The newest of three sign-ins is saved first. The Saves of the others are refused, and
// their Sessions go by the newest.
func TestSecretStoreSessionsAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		ctx := t.Context()
		var sessions []*tokensource.Session
		for i := range 3 {
			sessions = append(sessions, &tokensource.Session{Store: &slowSave{v.store(), time.Duration(3-i) * time.Second}})
		}
		refused := make([]bool, len(sessions))
		var all sync.WaitGroup
		for i, session := range sessions {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				refused[i] = session.Set(ctx, sqlToken(i)) != nil
			})
		}
		all.Wait()
		if diff := cmp.Diff([]bool{true, true, false}, refused); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
		for i, session := range sessions {
			if err := session.Wait(ctx); err != nil {
				t.Error(err)
			}
			token, err := session.Token(ctx)
			if got := access(token, err); got != "access-2" {
				t.Errorf("session %d has %s, want access-2", i, got)
			}
		}
		if got := access(stored(ctx, v.store())); got != "access-2" {
			t.Errorf("Vault has %s, want access-2", got)
		}
	})
}

// A slowSave takes a while between the Session's Load and its own Save.
type slowSave struct {
	*secretStore
	delay time.Duration
}

func (s *slowSave) Save(ctx context.Context, record []byte) error {
	time.Sleep(s.delay)
	return s.secretStore.Save(ctx, record)
}
