package cookiejar_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var exampleURL = &url.URL{Scheme: "https", Host: "www.example.com", Path: "/dir/page"}

func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		"a=b", "=x", "a", "; ;=", "a=b; Path=/; Domain=example.com; Secure; HttpOnly; SameSite=None; Max-Age=60", "__Host-a=b; Secure; Path=/",
		"a=b; Expires=Wed, 09 Jun 2100 10:18:14 GMT", "a=\xff\t\"; Domain=.", "a=b; Max-Age=-9999999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		var events []cookiejar.Event
		j := newJar(t, &cookiejar.Options{OnEvent: func(e cookiejar.Event) { events = append(events, e) }})
		j.Receive(exampleURL, []string{field})
		var has []cookiejar.Cookie
		for c := range j.All() {
			has = append(has, c)
		}
		switch {
		case len(has) > 1 || len(events) > 1:
			t.Fatalf("%d cookies, %d events", len(has), len(events))
		case len(has) == 0:
			if got := j.Header(exampleURL); got != "" {
				t.Errorf("it has no cookie, and sends %q", got)
			}
			return
		}
		c := has[0]
		for i := range len(c.Name + c.Value) {
			if b := (c.Name + c.Value)[i]; b < ' ' && b != '\t' || b == 0x7f || b == ';' {
				t.Errorf("there is %q in %q=%q", b, c.Name, c.Value)
			}
		}
		if len(c.Name)+len(c.Value) > 4096 || strings.Contains(c.Name, "=") || !strings.HasPrefix(c.Path, "/") || len(c.Path) > 1024 {
			t.Errorf("%d and %d octets, name %q, path %q", len(c.Name), len(c.Value), c.Name, c.Path)
		}
		if c.Domain != "www.example.com" && (c.Domain != "example.com" || c.HostOnly) {
			t.Errorf("domain %q, host-only %v", c.Domain, c.HostOnly)
		}
		// What is sent reads as what it is.
		pair := c.Name + "=" + c.Value
		sent := j.Header(&url.URL{Scheme: "https", Host: c.Domain, RawPath: c.Path, Path: c.Path})
		if sent != "" && sent != pair && (c.Name != "" || sent != c.Value) {
			t.Errorf("%q is sent as %q", pair, sent)
		}
		again := newJar(t, nil)
		again.Receive(exampleURL, []string{pair + "; Secure; HttpOnly; Path=/"})
		if a, ok := again.Get(exampleURL, c.Name); ok && a.Value != c.Value {
			t.Errorf("%q reads as %q", pair, a.Value)
		}
		roundTrip(t, j)
	})
}

// roundTrip checks that what a jar has comes back from what it writes.
func roundTrip(t *testing.T, j *cookiejar.Jar) {
	t.Helper()
	var text, list bytes.Buffer
	if err := j.Encode(&text); err != nil {
		t.Fatal(err)
	}
	again := newJar(t, nil)
	if err := again.Decode(&text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all(j), all(again)); diff != "" {
		t.Errorf("JSON (-encoded +decoded):\n%s", diff)
	}
	if err := j.EncodeNetscape(&list); err != nil {
		return // for a tab
	}
	again = newJar(t, nil)
	if err := again.DecodeNetscape(&list); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all(j), all(again), seconds, cmpopts.IgnoreFields(cookiejar.Cookie{}, "SameSite", "Created", "Updated", "Accessed")); diff != "" {
		t.Errorf("cookies.txt (-encoded +decoded):\n%s", diff)
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "1 jan 70 0:0:0x", "29 feb 2001 1:1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := cookiejar.ParseDate(s)
		if !ok {
			return
		}
		if d.Year() < 1601 || d.Year() > 9999 {
			t.Errorf("%q is %v", s, d)
		}
		if again, ok := cookiejar.ParseDate(d.Format("Mon, 02 Jan 2006 15:04:05 GMT")); !ok || !again.Equal(d) {
			t.Errorf("%q is %v, and that is %v", s, d, again)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(saved("")))
	f.Add([]byte(saved(`,"name":{"base64":"/w=="},"expires":"2100-01-01T00:00:00Z","same_site":"Lax"`)))
	f.Add([]byte(`{"format":"authtrip cookies","version":1,"deleted":[{"name":"a","domain":"b","path":"/","at":"2020-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		j := newJar(t, nil)
		if j.Decode(bytes.NewReader(text)) != nil {
			if len(all(j)) > 0 {
				t.Error("an error, and cookies")
			}
			return
		}
		roundTrip(t, j)
	})
}

func FuzzDecodeNetscape(f *testing.F) {
	f.Add([]byte("# Netscape HTTP Cookie File\n\n#HttpOnly_.example.com\tTRUE\t/\tTRUE\t4102444800\ta\tb\n"))
	f.Add([]byte("example.com\tFALSE\t/\tFALSE\t0\ta\r\nx\n127.0.0.1\tFALSE\t/\tFALSE\t0.5\t\tb"))
	f.Fuzz(func(t *testing.T, text []byte) {
		j := newJar(t, nil)
		_ = j.DecodeNetscape(bytes.NewReader(text))
		roundTrip(t, j)
	})
}
