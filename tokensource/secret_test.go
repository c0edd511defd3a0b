package tokensource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authtrip/authtrip/tokensource"
	"golang.org/x/oauth2"
)

// printed is v in all the ways that people print things.
func printed(v any) []string {
	texts := []string{fmt.Sprint(v), fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v), fmt.Sprintf("%x", v)}
	if b, err := json.Marshal(v); err != nil {
		texts = append(texts, err.Error())
	} else {
		texts = append(texts, string(b))
	}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("", "value", v)
		texts = append(texts, b.String())
	}
	return texts
}

func TestNothingPrintsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "hunter2"
		token := &oauth2.Token{AccessToken: secret, RefreshToken: secret}
		cfg := refreshConfig()
		cfg.ClientSecret = secret
		var all events
		session := &tokensource.Session{Grant: tokensource.RefreshToken(cfg), Store: &fakeStore{}, OnEvent: all.on}
		first := signedIn(t, session, token)
		ctx := (&tokenEndpoint{answer: respond(400, "application/json", `{"error":"invalid_grant","error_description":"hunter2"}`)}).context(t.Context())
		_, dead := session.Renew(ctx, first)
		good := &tokensource.Session{Grant: tokensource.RefreshToken(cfg)}
		signedIn(t, good, token)
		src := oauth2.StaticTokenSource(token)
		panicky := &tokensource.Session{Grant: func(context.Context, *oauth2.Token) (*oauth2.Token, error) { panic(token) }}
		_, panicked := panicky.Token(t.Context())
		_, oauthPanicked := tokensource.FromOAuth2(oauth2Func(func() (*oauth2.Token, error) { panic(secret) })).Token(t.Context())
		values := map[string]any{
			"Session":               good,
			"Sessions":              manySecrets(t, secret),
			"FileSource":            fileSecret(t, secret),
			"Session in a struct":   struct{ S *tokensource.Session }{good},
			"Session in a slice":    []*tokensource.Session{good, session},
			"Session as a Source":   tokensource.Source(good),
			"Static":                tokensource.Static(secret),
			"Static in a struct":    struct{ S tokensource.Source }{tokensource.Static(secret)},
			"SourceFunc":            tokensource.SourceFunc(func(context.Context) (*oauth2.Token, error) { return token, nil }),
			"FromOAuth2":            tokensource.FromOAuth2(src),
			"ToOAuth2":              tokensource.ToOAuth2(t.Context(), tokensource.Static(secret)),
			"ToOAuth2 of a Session": tokensource.ToOAuth2(t.Context(), good),
			"RefreshToken":          tokensource.RefreshToken(cfg),
			"dead":                  dead,
			"panic":                 panicked,
			"panic in a source":     oauthPanicked,
		}
		record, err := tokensource.ParseRecord(tokensource.NewRecord(token.WithExtra(map[string]any{"id_token": secret})))
		if err != nil {
			t.Fatal(err)
		}
		key := bytes.Repeat([]byte(secret), 5)[:32]
		values["Record"], values["Record by value"] = record, *record
		values["Sealed"] = tokensource.Sealed(&fakeStore{}, "name", key)
		values["Sealed with a lock"] = tokensource.Sealed(newLockedStore(nil), "name", key)
		for i, e := range all.list() {
			values[fmt.Sprintf("event %d", i)] = e
			values[fmt.Sprintf("pointer to event %d", i)] = &e
		}
		synctest.Wait() // fmt reads what a renewal may still be writing
		for name, v := range values {
			if v == nil {
				t.Errorf("%s is nil", name)
			}
			for _, text := range printed(v) {
				// In hexadecimal too, as %x has it.
				if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
					t.Errorf("%s is printed as %s", name, text)
				}
			}
		}
	})
}

func manySecrets(t *testing.T, secret string) tokensource.Renewer {
	t.Helper()
	s := &tokensource.Sessions{New: func(string) *tokensource.Session { return new(tokensource.Session) }}
	if err := s.Set(t.Context(), secret, &oauth2.Token{AccessToken: secret}); err != nil {
		t.Fatal(err)
	}
	return s.Source(func(context.Context) (string, error) { return secret, nil })
}

func fileSecret(t *testing.T, secret string) *tokensource.FileSource {
	t.Helper()
	f := tokensource.NewFileSource(filepath.Join(t.TempDir(), "token"))
	if err := os.WriteFile(f.Path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := access(f.Token(t.Context())); got != secret {
		t.Fatalf("Token = %s", got)
	}
	return f
}
