package cookiejar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
)

// A cookie is known by its name; its value is nobody's to read in passing.
func TestCookiesPrintWithoutValues(t *testing.T) {
	cookie := cookiejar.Cookie{Name: "a", Value: "secret", Domain: "example.com", Path: "/x"}
	nameless := cookiejar.Cookie{Value: "secret", Domain: "example.com", Path: "/", HostOnly: true}
	event := cookiejar.Event{Kind: cookiejar.EventRejected, Cookie: cookie, Host: "www.example.com", Reason: cookiejar.ReasonDomain}
	for _, tt := range []struct {
		v    any
		want string
	}{
		{cookie, `cookiejar.Cookie("a" for *.example.com/x)`},
		{&cookie, `cookiejar.Cookie("a" for *.example.com/x)`},
		{nameless, `cookiejar.Cookie(nameless for example.com/)`},
		{event, `cookiejar.Cookie("a" for *.example.com/x)`},
		{cookiejar.Event{Kind: cookiejar.EventSet, Cookie: nameless}, `nameless`},
		{filled(t), "cookiejar.Jar(11 cookies)"},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(format, tt.v); !strings.Contains(got, tt.want) || strings.Contains(got, "secret") {
				t.Errorf("%s prints %s, want %s", format, got, tt.want)
			}
		}
		text, err := json.Marshal(tt.v)
		if err != nil || strings.Contains(string(text), "secret") {
			t.Errorf("JSON is %s, %v", text, err)
		}
		var lines bytes.Buffer
		slog.New(slog.NewJSONHandler(&lines, nil)).Info("", "v", tt.v)
		slog.New(slog.NewTextHandler(&lines, nil)).Info("", "v", tt.v)
		if strings.Contains(lines.String(), "secret") {
			t.Errorf("slog prints %s", &lines)
		}
	}
}

func TestEventInALog(t *testing.T) {
	var line bytes.Buffer
	plain := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}
	log := slog.New(slog.NewTextHandler(&line, plain))
	j := newJar(t, &cookiejar.Options{OnEvent: func(e cookiejar.Event) { log.Info("", "", e) }})
	j.Receive(parseURL(t, "https://www.example.co.uk/"), []string{"a=secret", "b=secret; Domain=co.uk"})
	j.Clear()
	want := `kind=set cookie="cookiejar.Cookie(\"a\" for www.example.co.uk/)" host=www.example.co.uk
kind=rejected cookie="cookiejar.Cookie(\"b\" for www.example.co.uk)" host=www.example.co.uk reason="domain is a public suffix"
kind=removed cookie="cookiejar.Cookie(\"a\" for www.example.co.uk/)" reason=cleared
`
	if got := line.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
