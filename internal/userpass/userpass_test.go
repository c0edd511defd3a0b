package userpass_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/internal/userpass"
)

func answer(username, password string, err error) userpass.Func {
	return func(context.Context) (string, string, error) { return username, password, err }
}

func TestForAndAsk(t *testing.T) {
	const (
		neither  = "digest: neither a user name nor a password"
		username = "digest: the user name has a control character"
		password = "digest: the password has a control character"
	)
	tests := []struct {
		name               string
		username, password string
		ask                userpass.Func
		want               [2]string
		err                string // its beginning
	}{
		{"fields", "user", "secret", nil, [2]string{"user", "secret"}, ""},
		{"user name alone", "user", "", nil, [2]string{"user"}, ""},
		{"password alone", "", "secret", nil, [2]string{"", "secret"}, ""},
		{"neither", "", "", nil, [2]string{}, neither},
		{"control in both", "\n", "\n", nil, [2]string{}, username},
		{"control in the password", "", "\x7f", nil, [2]string{}, password},
		{"colon and what is not ASCII", "a:é", "\xff", nil, [2]string{"a:é", "\xff"}, ""},
		{"asked", "user", "secret", answer("a", "b", nil), [2]string{"a", "b"}, ""},
		{"asked, neither", "user", "secret", answer("", "", nil), [2]string{}, neither},
		{"asked, control", "user", "secret", answer("a\x00", "", nil), [2]string{}, username},
		{"asked, control in the password", "user", "secret", answer("a", "\t", nil), [2]string{}, password},
		{"asked, error", "user", "secret", answer("a", "b", io.EOF), [2]string{}, "EOF"},
		{"asked, panic", "user", "secret", func(context.Context) (string, string, error) { panic("secret") }, [2]string{}, "digest: Credentials panicked at userpass_test.go:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, call := range map[string]func() (string, string, error){
				"For": func() (string, string, error) {
					return userpass.For("digest", &http.Request{}, tt.username, tt.password, tt.ask)
				},
				"Ask": func() (string, string, error) {
					return userpass.Ask("digest", t.Context(), tt.username, tt.password, tt.ask)
				},
			} {
				username, password, err := call()
				if username != tt.want[0] || password != tt.want[1] {
					t.Errorf("%s: got %q and %q, want %q", how, username, password, tt.want)
				}
				switch {
				case (err != nil) != (tt.err != ""), err != nil && !strings.HasPrefix(err.Error(), tt.err):
					t.Errorf("%s: error is %v, want %s", how, err, tt.err)
				case tt.err == "EOF" && err != io.EOF: //nolint:errorlint // the very same
					t.Errorf("%s: error is %#v, want the function's own", how, err)
				case err != nil && strings.Contains(err.Error(), "secret"):
					t.Errorf("%s: error repeats a secret: %v", how, err)
				}
			}
		})
	}
}

// What is asked is asked with the context given, or with the request's, which
// ends as soon as Request.Cancel is closed.
func TestContext(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked []context.Context
	ask := func(ctx context.Context) (string, string, error) {
		asked = append(asked, ctx)
		return "user", "", ctx.Err()
	}
	userpass.Ask("digest", ctx, "", "", ask)
	userpass.For("digest", req, "", "", ask)
	cancel := make(chan struct{})
	req.Cancel = cancel //lint:ignore SA1019 deprecated, and still in use
	userpass.For("digest", req, "", "", ask)
	for i, ctx := range asked {
		if ctx.Value(key{}) == nil {
			t.Errorf("context %d is another", i)
		}
	}
	if len(asked) != 3 || asked[2].Err() == nil {
		t.Fatalf("%d contexts, or the last one outlives its call", len(asked))
	}
	close(cancel)
	if _, _, err := userpass.For("digest", req, "", "", ask); !errors.Is(err, context.Canceled) {
		t.Errorf("after Cancel: %v", err)
	}
}
