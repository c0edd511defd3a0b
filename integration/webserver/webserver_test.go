package webserver

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// client is one without cookies, redirects and connections to be kept.
func client(proxy *url.URL, b *Backend) *http.Client {
	t := &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}
	if b != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: b.Roots}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send posts what into url, and returns the answer with its body.
func send(t *testing.T, c *http.Client, url, what string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(what))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestBasic(t *testing.T) {
	b := NewBackend(t)
	for _, s := range []*Server{Apache(t, b), Lighttpd(t, b), Nginx(t, b)} {
		t.Run(s.Name, func(t *testing.T) {
			c := client(nil, nil)
			if resp, _ := send(t, c, s.URL+"/basic/x", "", nil); resp.StatusCode != 401 {
				t.Errorf("without a password: %s", resp.Status)
			}
			for _, u := range Users {
				resp, body := send(t, c, s.URL+"/basic/x?y", "a body", basic("Authorization", u))
				if resp.StatusCode != 200 {
					t.Fatalf("%s: %s", u.Name, resp.Status)
				}
				got, err := EchoOf(resp)
				if err != nil {
					t.Fatal(err)
				}
				got.Host, got.Header = "", nil
				if diff := cmp.Diff(Echo{Method: "POST", URI: "/basic/x?y"}, got); diff != "" || body != "a body" {
					t.Errorf("what the backend got (-want +got):\n%s\nand %q", diff, body)
				}
			}
		})
	}
}

func basic(field string, u User) http.Header {
	var r http.Request
	r.Header = make(http.Header)
	r.SetBasicAuth(u.Name, u.Password)
	return http.Header{field: r.Header["Authorization"]}
}

// answer makes what answers a challenge in Digest with qop=auth, as curl does:
// the user name in UTF-8 whatever the charset.
func answer(challenge string, u User, uri, nc string) string {
	param := func(name string) string {
		m := regexp.MustCompile(`[ ,]` + name + `="?([^",]*)`).FindStringSubmatch(challenge)
		if m == nil {
			return ""
		}
		return m[1]
	}
	h := map[string]func() hash.Hash{"": md5.New, "MD5": md5.New, "SHA-256": sha256.New, "SHA-512-256": sha512.New512_256}[param("algorithm")]
	realm, nonce := param("realm"), param("nonce")
	response := sum(h(), sum(h(), u.Name, realm, u.Password), nonce, nc, "c", "auth", sum(h(), "POST", uri))
	name := u.Name
	if param("userhash") == "true" {
		name = sum(h(), name, realm)
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	params := []string{
		`username="` + quoted.Replace(name) + `"`, `realm="` + realm + `"`, `nonce="` + nonce + `"`, `uri="` + uri + `"`,
		`response="` + response + `"`, "qop=auth", "nc=" + nc, `cnonce="c"`,
	}
	for _, name := range []string{"algorithm", "opaque", "userhash"} {
		if v := param(name); v != "" {
			params = append(params, name+"="+v)
		}
	}
	return "Digest " + strings.Join(params, ", ")
}

func TestDigest(t *testing.T) {
	b := NewBackend(t)
	apache, lighttpd := Apache(t, b), Lighttpd(t, b)
	tests := []struct {
		server *Server
		path   string
		want   string // in the challenge
	}{
		{apache, "/digest/", "algorithm=MD5"},
		{apache, "/reflected/digest/", `domain="/reflected/digest/ /digest/"`},
		{apache, "/once/", `opaque="`},
		{apache, "/reflected/once/", `opaque="`},
		{apache, "/short/", ""},
		{apache, "/reflected/short/", ""},
		{apache, "/counted/", `opaque="`},
		{lighttpd, "/md5/", `charset="UTF-8", algorithm=MD5`},
		{lighttpd, "/sha256/", "algorithm=SHA-256"},
		{lighttpd, "/sha512/", "algorithm=SHA-512-256"},
		{lighttpd, "/many/", "algorithm=SHA-256"},
		{lighttpd, "/hashed/", "userhash=true"},
	}
	for _, test := range tests {
		t.Run(test.server.Name+test.path, func(t *testing.T) {
			c, url := client(nil, nil), test.server.URL+test.path
			for _, u := range Users {
				resp, _ := send(t, c, url, "a body", nil)
				challenge := resp.Header.Get("WWW-Authenticate")
				if !strings.Contains(challenge, test.want) {
					t.Fatalf("%s: %s; want one with %s", resp.Status, challenge, test.want)
				}
				header := http.Header{"Authorization": {answer(challenge, u, test.path, "00000001")}}
				if resp, _ := send(t, c, url, "a body", header); resp.StatusCode != 200 {
					t.Errorf("%s: %s", u.Name, resp.Status)
				}
				wrong := User{u.Name, "wrong"}
				header = http.Header{"Authorization": {answer(challenge, wrong, test.path, "00000002")}}
				if resp, body := send(t, c, url, "a body", header); resp.StatusCode != 401 || body == "" {
					t.Errorf("wrong password: %s, %q", resp.Status, body)
				}
			}
		})
	}
}

// What Apache says of a nonce, in each of its ways with them.
func TestNonces(t *testing.T) {
	s := Apache(t, NewBackend(t))
	c, u := client(nil, nil), Users[0]
	// try answers challenge, with the nonce that a request was answered with
	// before.
	try := func(path, challenge, nc string) *http.Response {
		header := http.Header{"Authorization": {answer(challenge, u, path, nc)}}
		resp, _ := send(t, c, s.URL+path, "", header)
		return resp
	}
	const stale = "stale=true"
	for _, test := range []struct {
		path, nc    string // of the second request
		after       time.Duration
		info, again string // in Authentication-Info, in the second challenge
	}{
		{"/reflected/digest/", "00000002", 0, "rspauth", ""},
		{"/digest/", "00000001", 0, "", ""}, // nobody looks at nc
		{"/reflected/once/", "00000002", 0, "nextnonce", stale},
		{"/once/", "00000002", 0, "", stale},
		{"/reflected/short/", "00000002", 0, "nextnonce", ""},
		{"/reflected/short/", "00000002", 2 * time.Second, "nextnonce", stale},
		{"/counted/", "00000002", 0, "", ""},
		{"/counted/", "00000003", 0, "", ""},
		{"/counted/", "00000001", 0, "", "Digest"},
	} {
		resp, _ := send(t, c, s.URL+test.path, "", nil)
		challenge := resp.Header.Get("WWW-Authenticate")
		first := try(test.path, challenge, "00000001")
		if info := first.Header.Get("Authentication-Info"); first.StatusCode != 200 || !strings.Contains(info, test.info) {
			t.Errorf("%s: first %s, %q; want 200 with %s", test.path, first.Status, info, test.info)
		}
		time.Sleep(test.after)
		second := try(test.path, challenge, test.nc)
		got := second.Header.Get("WWW-Authenticate")
		if !strings.Contains(got, test.again) || (test.again == "") != (second.StatusCode == 200) {
			t.Errorf("%s: nc=%s after %v: %s, %s; want one with %q", test.path, test.nc, test.after, second.Status, got, test.again)
		}
	}
}

func TestAPIKey(t *testing.T) {
	s := Nginx(t, NewBackend(t))
	c := client(nil, nil)
	for _, test := range []struct {
		path, header, value, location string
		want                          int
	}{
		{path: "/header/x", header: "X-Api-Key", value: "other", want: 401},
		{path: "/header/x", header: "X-Api-Key", value: APIKey, want: 200},
		{path: "/query/x?api_key=other", want: 401},
		{path: "/query/x?a=b&api_key=" + APIKey, want: 200},
		{path: "/cookie/x", header: "Cookie", value: "a=b; api_key=" + APIKey, want: 200},
		{path: "/moved/x", want: 401},
		{path: "/moved/x?api_key=" + APIKey, location: s.URL + "/query/moved/x?api_key=" + APIKey, want: 301},
	} {
		header := http.Header{}
		if test.header != "" {
			header.Set(test.header, test.value)
		}
		resp, _ := send(t, c, s.URL+test.path, "", header)
		if got := resp.Header.Get("Location"); resp.StatusCode != test.want || got != test.location {
			t.Errorf("%s: %s to %q, want %d to %q", test.path, resp.Status, got, test.want, test.location)
		}
	}
}

func TestSquid(t *testing.T) {
	plain, secure := NewBackend(t), NewTLSBackend(t)
	for _, schemes := range [][]string{{"basic"}, {"digest"}, {"digest", "basic"}} {
		t.Run(strings.Join(schemes, "+"), func(t *testing.T) {
			t.Parallel()
			s := Squid(t, schemes...)
			proxy, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := client(proxy, secure)
			resp, body := send(t, c, plain.URL+"/x", "a body", nil)
			challenges := resp.Header["Proxy-Authenticate"]
			if resp.StatusCode != 407 || len(challenges) != len(schemes) || body == "" {
				t.Fatalf("%s, %q, %q", resp.Status, challenges, body)
			}
			for _, u := range Users {
				header := basic("Proxy-Authorization", u)
				if schemes[0] == "digest" {
					resp, _ := send(t, c, plain.URL+"/x", "a body", nil)
					header = http.Header{"Proxy-Authorization": {answer(resp.Header.Get("Proxy-Authenticate"), u, plain.URL+"/x", "00000001")}}
				}
				if resp, _ := send(t, c, plain.URL+"/x", "a body", header); resp.StatusCode != 200 {
					t.Errorf("%s: %s", u.Name, resp.Status)
				}
			}
			if slices.Contains(schemes, "basic") {
				proxy.User = url.UserPassword(Users[0].Name, Users[0].Password)
				if resp, _ := send(t, client(proxy, secure), secure.URL+"/x", "a body", nil); resp.StatusCode != 200 {
					t.Errorf("CONNECT: %s", resp.Status)
				}
			}
		})
	}
}

func TestSquidServer(t *testing.T) {
	s := SquidServer(t, NewBackend(t), "digest", "basic")
	c := client(nil, nil)
	resp, _ := send(t, c, s.URL+"/x", "a body", nil)
	challenges := resp.Header["Www-Authenticate"]
	if resp.StatusCode != 401 || len(challenges) != 2 {
		t.Fatalf("%s, %q", resp.Status, challenges)
	}
	for _, u := range Users {
		if resp, _ := send(t, c, s.URL+"/x", "a body", basic("Authorization", u)); resp.StatusCode != 200 {
			t.Errorf("%s: %s", u.Name, resp.Status)
		}
		resp, _ := send(t, c, s.URL+"/x", "a body", nil)
		header := http.Header{"Authorization": {answer(resp.Header.Get("WWW-Authenticate"), u, "/x", "00000001")}}
		if resp, body := send(t, c, s.URL+"/x", "a body", header); resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", u.Name, resp.Status, body)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	var all []*Server
	t.Run("run", func(t *testing.T) {
		b := NewBackend(t)
		all = []*Server{Apache(t, b), Lighttpd(t, b), Nginx(t, b), Squid(t, "basic", "digest")}
		for _, s := range all {
			if len(using(t, s.dir)) == 0 {
				t.Errorf("%s: no process to be found", s.Name)
			}
		}
	})
	for _, s := range all {
		// A helper ends some time after its server, when its input does.
		deadline := time.Now().Add(stopTimeout)
		for {
			left := using(t, s.dir)
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: left over: %q", s.Name, left)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
			t.Errorf("%s: %s is left over: %v", s.Name, s.dir, err)
		}
	}
	if left, _ := filepath.Glob("/dev/shm/webserver*"); len(left) > 0 {
		t.Errorf("shared memory is left over: %q", left)
	}
}

// using returns the command lines of the processes that have to do with dir.
func using(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc")
	}
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		cmdline, _ := os.ReadFile(process + "/cmdline")
		uses := bytes.Contains(cmdline, []byte(dir))
		links, _ := filepath.Glob(process + "/fd/*")
		for _, link := range append(links, process+"/cwd") {
			if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) {
				uses = true
			}
		}
		if uses {
			found = append(found, string(cmdline))
		}
	}
	return found
}
