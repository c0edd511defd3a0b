package basic_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/basic"
)

// leaks reports whether s tells the word secret, plainly or in a code that fmt or
// the scheme would put it in.
func leaks(s string) bool {
	for _, code := range []string{
		"secret", hex.EncodeToString([]byte("secret")),
		base64.StdEncoding.EncodeToString([]byte("secret:secret")), fmt.Sprint([]byte("secret")),
	} {
		if strings.Contains(strings.ToLower(s), strings.ToLower(strings.Trim(code, "[]"))) {
			return true
		}
	}
	return false
}

func TestPrintsAsItsName(t *testing.T) {
	s := &server{}
	rt := &basic.Transport{Username: "secret", Password: "secret", Base: s}
	if _, err := s.roundTrip(t, rt, newRequest(t)); err != nil { // which leaves a field built
		t.Fatal(err)
	}
	const name = "basic.Transport"
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		if got := fmt.Sprintf(format, rt); got != name {
			t.Errorf("%s prints %s", format, got)
		}
		// As a part of something else, where fmt can call methods.
		if got := fmt.Sprintf(format, struct{ Field any }{rt}); !strings.Contains(got, name) || leaks(got) {
			t.Errorf("%s prints a field as %s", format, got)
		}
	}
	if got, err := json.Marshal(rt); string(got) != `"`+name+`"` || err != nil {
		t.Errorf("JSON is %s, %v", got, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "v", rt)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "v", rt)
	if got := log.String(); strings.Count(got, name) != 2 || leaks(got) {
		t.Errorf("logged as %s", got)
	}
}
