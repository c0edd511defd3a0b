package tokensource_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/tokensource"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/oauth2"
)

var ignoreExtra = cmpopts.IgnoreUnexported(oauth2.Token{})

// What other programs write is read, as far as it says who is signed in.
func TestParseRecordOfOtherPrograms(t *testing.T) {
	const pair = `"access_token":"a","refresh_token":"r"`
	at := time.Date(2026, 11, 27, 12, 30, 0, 0, time.UTC)
	token := func(expiry time.Time, expiresIn int64) *oauth2.Token {
		return &oauth2.Token{AccessToken: "a", RefreshToken: "r", Expiry: expiry, ExpiresIn: expiresIn}
	}
	none := time.Time{}
	for name, tc := range map[string]struct {
		text string
		want *oauth2.Token
	}{
		"no bytes":                    {"", nil},
		"white space":                 {" \r\n\t", nil},
		"null":                        {"null\n", nil},
		"byte order mark alone":       {"\xef\xbb\xbf", nil},
		"empty object":                {"{}", nil},
		"other object":                {`{"x":1}`, nil},
		"x/oauth2":                    {`{` + pair + `,"expiry":"2026-11-27T12:30:00Z","expires_in":5}`, token(at, 5)},
		"null members":                {`{` + pair + `,"token_type":null,"expiry":null,"expires_in":null}`, token(none, 0)},
		"byte order mark":             {"\xef\xbb\xbf{" + pair + "}", token(none, 0)},
		"expires_in as text":          {`{` + pair + `,"expires_in":" 3600 "}`, token(none, 3600)},
		"expires_in as a fraction":    {`{` + pair + `,"expires_in":3599.9}`, token(none, 3599)},
		"expires_in as text fraction": {`{` + pair + `,"expires_in":"3599.9"}`, token(none, 3599)},
		"expires_in with an exponent": {`{` + pair + `,"expires_in":3.6e3}`, token(none, 3600)},
		"expires_in that is huge":     {`{` + pair + `,"expires_in":1e400}`, token(none, 1<<31-1)},
		"expires_in that is nonsense": {`{` + pair + `,"expires_in":{"n":[]}}`, token(none, 0)},
		"expiry without a zone":       {`{` + pair + `,"expiry":"2026-11-27T12:30:00"}`, token(at, 0)},
		"expiry of Python":            {`{` + pair + `,"expiry":"2026-11-27 12:30:00.000000"}`, token(at, 0)},
		"expiry with an offset":       {`{` + pair + `,"expiry":"2026-11-27T13:30:00+01:00"}`, token(at, 0)},
		"expiry without a colon":      {`{` + pair + `,"expiry":"2026-11-27T13:30:00+0100"}`, token(at, 0)},
		"expiry that is empty":        {`{` + pair + `,"expiry":""}`, token(none, 0)},
		"expiry of a zero time":       {`{` + pair + `,"expiry":"0001-01-01T00:00:00Z"}`, token(none, 0)},
		"expiry that is nonsense":     {`{` + pair + `,"expiry":"soon"}`, token(none, 0)},
		"expiry of the year 9999":     {`{` + pair + `,"expiry":"9999-12-31T23:59:59Z"}`, token(none, 0)},
		"refresh token alone":         {`{"refresh_token":"r"}`, &oauth2.Token{RefreshToken: "r"}},
		"authtrip is no object":       {`{` + pair + `,"authtrip":7}`, token(none, 0)},
		"authtrip without a version":  {`{` + pair + `,"authtrip":{"serial":1}}`, token(none, 0)},
		"authtrip of another token":   {`{` + pair + `,"authtrip":{"version":1,"of":"0000000000000000","change":"sign_out"}}`, token(none, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tokensource.ParseRecord([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, r.Token, ignoreExtra); diff != "" {
				t.Errorf("token (-want +got):\n%s", diff)
			}
			if r.Change != "" || !r.Signed.IsZero() || r.Serial != 0 {
				t.Errorf("it has a rank: %v", r)
			}
		})
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"torn":                  `{"access_token":"s3cret","refre`,
		"zeros":                 "\x00\x00\x00\x00",
		"list":                  `["s3cret"]`,
		"string":                `"s3cret"`,
		"two objects":           `{"access_token":"s3cret"}{}`,
		"bytes after":           `{"access_token":"s3cret"} s3cret`,
		"UTF-16":                "\xff\xfe{\x00}\x00",
		"bare token":            "s3cret",
		"access token a number": `{"access_token":5,"x":"s3cret"}`,
		"refresh token a list":  `{"refresh_token":["s3cret"]}`,
		"type an object":        `{"access_token":"a","token_type":{"s3cret":1}}`,
		"line break in a token": `{"access_token":"s3cret\r\nX: y"}`,
		"NUL in a token":        `{"access_token":"a","refresh_token":"s3cret\u0000"}`,
		"sealed":                "authtrip-sealed:1:s3cret",
		"10 MB":                 `{"access_token":"s3cret","x":"` + strings.Repeat("x", 10<<20) + `"}`,
		"deep":                  strings.Repeat(`{"x":`, 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokensource.ParseRecord([]byte(text))
			if !errors.Is(err, tokensource.ErrUnreadable) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line of ErrUnreadable, and nothing of what was read", err)
			}
		})
	}
}

// edit changes the member authtrip of a record.
func edit(t *testing.T, text []byte, change func(member map[string]any)) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	change(all["authtrip"].(map[string]any))
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A rank that cannot be believed counts as none: then another program wrote the record.
func TestParseRecordWithoutARank(t *testing.T) {
	whole := tokensource.NewRecord(&oauth2.Token{AccessToken: "a"})
	if r, err := tokensource.ParseRecord(whole); err != nil || r.Change != tokensource.ChangeSignIn {
		t.Fatal(r, err)
	}
	for name, change := range map[string]func(map[string]any){
		"of is missing":              func(m map[string]any) { delete(m, "of") },
		"of is of another token":     func(m map[string]any) { m["of"] = "6e340b9cffb37a98" },
		"of is a number":             func(m map[string]any) { m["of"] = 5 },
		"version is missing":         func(m map[string]any) { delete(m, "version") },
		"version is 0":               func(m map[string]any) { m["version"] = 0 },
		"version is text":            func(m map[string]any) { m["version"] = "1" },
		"serial is 2^53":             func(m map[string]any) { m["serial"] = json.Number("9007199254740992") },
		"serial is 2^64-1":           func(m map[string]any) { m["serial"] = json.Number("18446744073709551615") },
		"serial is 1e400":            func(m map[string]any) { m["serial"] = json.Number("1e400") },
		"serial is negative":         func(m map[string]any) { m["serial"] = -1 },
		"serial is a fraction":       func(m map[string]any) { m["serial"] = 1.5 },
		"serial is text":             func(m map[string]any) { m["serial"] = "1" },
		"signed is a number":         func(m map[string]any) { m["signed"] = 1764246600 },
		"signed is nonsense":         func(m map[string]any) { m["signed"] = "yesterday" },
		"signed is the year 9999":    func(m map[string]any) { m["signed"] = "9999-12-31T23:59:59Z" },
		"at is nonsense":             func(m map[string]any) { m["at"] = "now" },
		"change is of another world": func(m map[string]any) { m["change"] = "merge" },
		"change is missing":          func(m map[string]any) { delete(m, "change") },
		"issuer is a list":           func(m map[string]any) { m["issuer"] = []string{"x"} },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tokensource.ParseRecord(edit(t, whole, change))
			if err != nil {
				t.Fatal(err)
			}
			if r.Change != "" || !r.Signed.IsZero() || r.Token == nil || r.Token.AccessToken != "a" {
				t.Errorf("got %v with %v, want the token without a rank", r, r.Token)
			}
		})
	}
	largest, err := tokensource.ParseRecord(edit(t, whole, func(m map[string]any) { m["serial"] = json.Number("9007199254740991") }))
	if err != nil || largest.Serial != 1<<53-1 {
		t.Errorf("the largest serial: %v, %v", largest, err)
	}
}

func TestParseRecordOfANewerVersion(t *testing.T) {
	whole := tokensource.NewRecord(&oauth2.Token{AccessToken: "s3cret"})
	for _, version := range []string{"2", "1.5", "1e400"} {
		// A newer version may say everything else in its own way.
		text := edit(t, whole, func(m map[string]any) { m["version"] = json.Number(version); delete(m, "of") })
		_, err := tokensource.ParseRecord(text)
		if err == nil || errors.Is(err, tokensource.ErrUnreadable) || !strings.Contains(err.Error(), "newer version of authtrip") {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

// The record in full: x/oauth2's own fields, the extra fields, and the member authtrip.
func TestRecordInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := &fakeGrant{lifetime: time.Hour}
		s := &tokensource.Session{Store: store, Grant: g.grant, Extra: []string{"shop"}}
		signIn := (&oauth2.Token{AccessToken: "access-0", TokenType: "Bearer", RefreshToken: "refresh-0", Expiry: time.Now().Add(time.Minute)}).
			WithExtra(map[string]any{"id_token": "<id>", "shop": "s1", "unlisted": "x", "refresh_expires_in": 7200.0})
		signIn = tokensource.Bind(signIn, tokensource.Binding{
			Issuer: "https://as.example", ClientID: "client", Requested: []string{"a", "b"}, Granted: []string{"a"}, Thumbprint: "jkt",
		})
		if err := s.Set(t.Context(), signIn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(store.text, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"access_token": "access-1", "refresh_token": "refresh-1", "expiry": "2000-01-01T01:01:00Z",
			"id_token": "<id>", "refresh_expires_in": 7200.0,
			"authtrip": map[string]any{
				"version": 1.0, "change": "renewal", "signed": "2000-01-01T00:00:00Z", "serial": 1.0, "at": "2000-01-01T00:01:00Z",
				"issuer": "https://as.example", "client_id": "client", "requested_scope": "a b", "scope": "a", "jkt": "jkt",
				"refresh_expiry": "2000-01-01T02:00:00Z", "of": fmt.Sprintf("%x", sha256.Sum256([]byte("access-1\x00refresh-1")))[:16],
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		r := store.record()
		if r.Change != tokensource.ChangeRenewal || r.Token.Extra("id_token") != "<id>" {
			t.Errorf("read back: %v", r)
		}
		wantBinding := tokensource.Binding{
			Issuer: "https://as.example", ClientID: "client", Requested: []string{"a", "b"}, Granted: []string{"a"}, Thumbprint: "jkt",
			RefreshExpiry: time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC),
		}
		if diff := cmp.Diff(wantBinding, tokensource.BindingOf(r.Token)); diff != "" {
			t.Errorf("binding (-want +got):\n%s", diff)
		}
	})
}

// A token with fields that can be listed prints like any other token.
func TestTokenOfARecordPrints(t *testing.T) {
	r, err := tokensource.ParseRecord(tokensource.NewRecord((&oauth2.Token{AccessToken: "a"}).WithExtra(map[string]any{"scope": "x"})))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, r.Token); len(text) > 1000 {
			t.Errorf("%s: %d bytes", format, len(text))
		}
	}
}

// A server's answer names its fields as it likes. None of them gets into the Binding.
func TestAnswerIsNotABinding(t *testing.T) {
	endpoint := &tokenEndpoint{answer: respondJSON(`{"access_token":"a","refresh_token":"r","authtrip":{"version":9,"change":"sign_out"},
		"issuer":"https://evil.example","client_id":"evil","jkt":"evil","\u0000authtrip bound":{"Issuer":"evil"},"\u0000authtrip fields":{"x":1},"id_token":"id"}`)}
	store := &fakeStore{}
	s := &tokensource.Session{Store: store, Grant: tokensource.RefreshToken(refreshConfig())}
	if err := s.Set(t.Context(), &oauth2.Token{RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(endpoint.context(t.Context())); err != nil {
		t.Fatal(err)
	}
	r := store.record()
	if diff := cmp.Diff(tokensource.Binding{ClientID: "client"}, tokensource.BindingOf(r.Token)); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
	if r.Change != tokensource.ChangeRenewal || r.Token.Extra("issuer") != "https://evil.example" || r.Token.Extra("id_token") != "id" {
		t.Errorf("record %v with %v", r, r.Token.Extra("issuer"))
	}
}

// What JSON cannot hold is an error, and no loss of the token in use.
func TestTokenThatCannotBeSaved(t *testing.T) {
	for name, value := range map[string]any{
		"a channel":         make(chan int),
		"a panic":           panicky{},
		"more than 1 MiB":   strings.Repeat("x", 1<<20),
		"a map in a circle": circle(),
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{}
			s := &tokensource.Session{Store: store, Extra: []string{"extra"}}
			token := (&oauth2.Token{AccessToken: "s3cret"}).WithExtra(map[string]any{"extra": value})
			err := s.Set(t.Context(), token)
			if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
				t.Errorf("Set = %v, want one line of an error", err)
			}
			if got := access(s.Token(t.Context())); got != "s3cret" {
				t.Errorf("Token = %s", got)
			}
			if store.text != nil {
				t.Errorf("saved %d bytes", len(store.text))
			}
		})
	}
	if text := tokensource.NewRecord(nil); text != nil {
		t.Errorf("NewRecord(nil) = %s", text)
	}
	text := tokensource.NewRecord((&oauth2.Token{AccessToken: "a"}).WithExtra(map[string]any{"scope": make(chan int)}))
	if r, err := tokensource.ParseRecord(text); err != nil || r.Token.AccessToken != "a" {
		t.Errorf("NewRecord: %v, %v", r, err)
	}
}

type panicky struct{}

func (panicky) MarshalJSON() ([]byte, error) { panic("boom") }

func circle() any {
	m := make(map[string]any)
	m["m"] = m
	return m
}

// Whatever a Store holds, there is either a record that can be used or an error.
func FuzzParseRecord(f *testing.F) {
	whole := string(tokensource.NewRecord((&oauth2.Token{AccessToken: "a", RefreshToken: "r"}).WithExtra(map[string]any{"scope": "x"})))
	for _, text := range []string{
		"", "null", "{}", whole, strings.Replace(whole, `"version":1`, `"version":2`, 1), whole[:len(whole)/2], "\xef\xbb\xbf" + whole,
		`{"access_token":"a","expires_in":"3.5e3","expiry":"2026-11-27 12:30:00"}`, `{"access_token":"a\u0000"}`, `{"authtrip":{"version":1}}`,
		strings.Replace(whole, "sign_in", "sign_out", 1), strings.Replace(whole, `"version"`, `"serial":18446744073709551615,"version"`, 1),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := tokensource.ParseRecord(text)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v and %v: want exactly one of record and error", r, err)
		}
		if err != nil {
			if len(err.Error()) > 300 || hasControl(err.Error()) {
				t.Errorf("error is unfit for a log: %q", err)
			}
			return
		}
		switch {
		case r.Token != nil && (r.Token.AccessToken == "" && r.Token.RefreshToken == "" || hasControl(r.Token.AccessToken+r.Token.RefreshToken)):
			t.Errorf("a token that is none: %q", r.Token.AccessToken+r.Token.RefreshToken)
		case r.Change == tokensource.ChangeSignOut && r.Token != nil:
			t.Error("a sign-out with a token")
		case r.Change == "" && (r.Serial != 0 || !r.Signed.IsZero()), r.Serial > 1<<53-1:
			t.Errorf("a rank that cannot be: %v", r)
		}
		// Whoever signs in over it is above it.
		store := &fakeStore{text: text}
		s := &tokensource.Session{Store: store}
		if err := s.Set(t.Context(), &oauth2.Token{AccessToken: "new"}); err != nil {
			t.Fatal(err)
		}
		if got := store.record(); got.Token.AccessToken != "new" || !got.Signed.After(r.Signed) {
			t.Errorf("after a sign-in over %v there is %v", r, got)
		}
	})
}

// Times that a record cannot hold mean "never", and do no harm to the rest of it.
func TestRecordWithoutEnd(t *testing.T) {
	for _, year := range []int{9000, 9999, 10000} {
		never := time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
		token := &oauth2.Token{AccessToken: "access", Expiry: never}
		text := tokensource.NewRecord(tokensource.Bind(token, tokensource.Binding{ClientID: "client", RefreshExpiry: never}))
		r, err := tokensource.ParseRecord(text)
		if err != nil || r.Token == nil {
			t.Fatalf("%d: %v, %v", year, r, err)
		}
		if b := tokensource.BindingOf(r.Token); r.Change != tokensource.ChangeSignIn || b.ClientID != "client" || !b.RefreshExpiry.IsZero() || !r.Token.Expiry.IsZero() {
			t.Errorf("%d: %v with %+v, expiry %v", year, r, b, r.Token.Expiry)
		}
	}
}
