package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/cookiejar"
	"github.com/authtrip/authtrip/integration/webserver"
	"github.com/google/go-cmp/cmp"
)

// A browser is curl, to which all names lead to one backend for http and one for
// https.
type browser struct {
	path        string
	http, https string // their ports
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("AUTHTRIP_SERVERS") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	port := func(b *webserver.Backend) string {
		u, err := url.Parse(b.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Port()
	}
	return &browser{path, port(webserver.NewBackend(t)), port(webserver.NewTLSBackend(t))}
}

// at completes a URL with the port.
func (b *browser) at(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	port := b.http
	if u.Scheme == "https" {
		port = b.https
	}
	u.Host += ":" + port
	return u
}

// get has curl request u, and returns the Cookie field that has arrived.
func (b *browser) get(t *testing.T, u *url.URL, args ...string) string {
	t.Helper()
	args = append(args, "--silent", "--show-error", "--insecure", "--noproxy", "*", "--output", os.DevNull,
		"--resolve", fmt.Sprintf("%s:%s:127.0.0.1", u.Hostname(), u.Port()), "--write-out", "%header{x-echo}", u.String())
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), b.path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("curl: %v: %s", err, &stderr)
	}
	var e webserver.Echo
	if err := json.Unmarshal(stdout.Bytes(), &e); err != nil {
		t.Fatalf("%v: %q", err, &stdout)
	}
	return e.Header.Get("Cookie")
}

// pairs are those of a Cookie field in some order: curl has older cookies last.
func pairs(field string) []string {
	all := strings.Split(field, "; ")
	slices.Sort(all)
	return all
}

// What a server sets, and where it is sent then.
var (
	curlSets = []string{
		"host=1", "path=2; Path=/dir/sub", "root=3; Path=/", "domain=4; Domain=example.com; Path=/", "self=5; Domain=www.example.com; Path=/",
		"secure=6; Secure; Path=/", "script=7; HttpOnly; Path=/", "lasting=8; Max-Age=3600; Path=/", "dated=9; Expires=Fri, 01 Jan 2100 00:00:00 GMT; Path=/",
		"gone=10; Max-Age=0; Path=/", "empty=; Path=/", "quoted=\"a b, c\"; Path=/", "equals=a=b==; Path=/",
		"__Host-x=11; Secure; Path=/", "__Secure-x=12; Secure; Path=/", "other=13; Domain=example.net", "everybody=14; Domain=com",
	}
	curlFrom = "https://www.example.com/dir/page"
	curlTo   = []string{
		"https://www.example.com/dir/page", "https://www.example.com/dir/sub/x", "https://www.example.com/", "https://www.example.com/directory",
		"http://www.example.com/dir/page", "https://example.com/dir/page", "https://sub.www.example.com/", "https://example.net/", "https://myexample.com/",
	}
)

// What we write, curl reads.
func TestCurlReadsOurs(t *testing.T) {
	b := newBrowser(t)
	jar := new(cookiejar.Jar)
	jar.Receive(b.at(t, curlFrom), curlSets)
	file := filepath.Join(t.TempDir(), "cookies.txt")
	var text bytes.Buffer
	if err := jar.EncodeNetscape(&text); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range curlTo {
		u := b.at(t, to)
		if diff := cmp.Diff(pairs(jar.Header(u)), pairs(b.get(t, u, "--cookie", file))); diff != "" {
			t.Errorf("%s (-ours +curl's):\n%s", to, diff)
		}
	}
}

// What curl writes, of the same fields, we read.
func TestCurlWritesOurs(t *testing.T) {
	b := newBrowser(t)
	file := filepath.Join(t.TempDir(), "cookies.txt")
	from := b.at(t, curlFrom)
	from.RawQuery = url.Values{"set": curlSets}.Encode()
	b.get(t, from, "--cookie-jar", file, "--cookie", "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := new(cookiejar.Jar), new(cookiejar.Jar)
	ours.Receive(b.at(t, curlFrom), curlSets)
	if err := theirs.DecodeNetscape(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	for _, to := range curlTo {
		u := b.at(t, to)
		if diff := cmp.Diff(pairs(ours.Header(u)), pairs(theirs.Header(u))); diff != "" {
			t.Errorf("%s (-ours +curl's):\n%s\nfrom\n%s", to, diff, text)
		}
	}
}
