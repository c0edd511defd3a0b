package apikey_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/apikey"
)

// leaks reports whether s tells the word secret, plainly or in a code that fmt
// would put it in.
func leaks(s string) bool {
	for _, code := range []string{"secret", hex.EncodeToString([]byte("secret")), strings.Trim(fmt.Sprint([]byte("secret")), "[]")} {
		if strings.Contains(strings.ToLower(s), code) {
			return true
		}
	}
	return false
}

func TestPrintsAsItsName(t *testing.T) {
	s := &server{}
	var k apikey.Key
	k.Set("secret")
	printed := []struct {
		name string
		v    any
	}{{"apikey.Key", &k}}
	for _, p := range places {
		rt := &apikey.Transport{Key: "secret", In: p.in, Name: p.as, Base: s}
		if _, err := s.roundTrip(t, rt, newRequest(t, apiURL)); err != nil { // which leaves what is sent built
			t.Fatal(err)
		}
		printed = append(printed, struct {
			name string
			v    any
		}{"apikey.Transport", rt})
	}
	for _, p := range printed {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			if got := fmt.Sprintf(format, p.v); got != p.name {
				t.Errorf("%s prints %s", format, got)
			}
			// As a part of something else, where fmt can call methods.
			if got := fmt.Sprintf(format, struct{ Field any }{p.v}); !strings.Contains(got, p.name) || leaks(got) {
				t.Errorf("%s prints a field as %s", format, got)
			}
		}
		if got, err := json.Marshal(p.v); leaks(string(got)) || err != nil {
			t.Errorf("JSON is %s, %v", got, err)
		}
		var text, other bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("", "v", p.v)
		slog.New(slog.NewJSONHandler(&other, nil)).Info("", "v", p.v)
		if got := text.String(); !strings.Contains(got, p.name) || leaks(got+other.String()) {
			t.Errorf("logged as %s%s", got, &other)
		}
	}
}
