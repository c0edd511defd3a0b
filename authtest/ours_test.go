package authtest_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/authtest"
	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/tokensource"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// Every decorator and its endpoint, over both protocols.
func TestEndpointsMeetDecorators(t *testing.T) {
	for _, secure := range []bool{false, true} {
		opts := []authtest.ServerOption{authtest.InMemory()}
		if secure {
			opts = append(opts, authtest.TLS())
		}
		s := authtest.NewServer(t, opts...)
		session := &tokensource.Session{Grant: tokensource.ClientCredentials(s.ClientCredentials())}
		base := s.Client().Transport
		for _, tt := range []struct {
			path string
			mw   transport.Middleware
			want string // the credentials of the last request
		}{
			{"/bearer", (&transport.Bearer{Source: tokensource.Static(s.SignIn().AccessToken)}).Wrap, "access 1"},
			{"/bearer", (&transport.Refresh{Source: session}).Wrap, "access 2"},
			{"/basic", (&basic.Transport{Username: s.Username, Password: s.Password}).Wrap, "basic alice"},
			{"/digest", (&digest.Transport{Username: s.Username, Password: s.Password}).Wrap, "digest alice"},
			{"/apikey", (&apikey.Transport{Key: s.APIKey}).Wrap, "api key in the header"},
			{"/apikey", (&apikey.Transport{Key: s.APIKey, In: apikey.Query, Name: "api_key"}).Wrap, "api key in the query"},
			{"/apikey", (&apikey.Transport{Key: s.APIKey, In: apikey.Cookie, Name: "api_key"}).Wrap, "api key in the cookie"},
		} {
			t.Run(fmt.Sprint(tt.path, " TLS ", secure), func(t *testing.T) {
				c := &http.Client{Transport: transport.Chain(tt.mw)(base)}
				for range 3 {
					req, _ := http.NewRequestWithContext(s.Context(t.Context()), "POST", s.URL+tt.path, strings.NewReader("hello"))
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					log := s.Transcript()
					got := fmt.Sprint(resp.StatusCode, string(body), err, log[len(log)-1].Credentials)
					if want := fmt.Sprint(200, "hello", error(nil), tt.want); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				}
			})
		}
	}
}

// The answers to /digest's challenges, computed here by RFC 7616 section 3.4.1.
func TestDigestEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.NewServer(t, authtest.InMemory())
		first := send(t, s, "GET", "/digest", "")
		challenges, err := challenge.Parse(first.header["Www-Authenticate"])
		if err != nil || first.status != 401 {
			t.Fatal(first.status, err)
		}
		offered := map[string]string{} // nonces by algorithm
		for _, c := range challenges {
			value := func(name string) string { v, _ := c.Param(name); return v }
			if c.Scheme != "Digest" || value("realm") != "authtest" || value("qop") != "auth" || value("stale") != "" {
				t.Errorf("%+v", c)
			}
			offered[value("algorithm")] = value("nonce")
		}
		hashes := map[string]func(string) string{
			"MD5":     func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) },
			"SHA-256": func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) },
		}
		type parts struct{ algorithm, user, password, realm, uri, qop, nc, cnonce, extra string }
		answerTo := func(nonce string, p parts) (field, rspauth string) {
			h := hashes[p.algorithm]
			secret := h(p.user + ":authtest:" + p.password)
			respond := func(method string) string {
				return h(strings.Join([]string{secret, nonce, p.nc, p.cnonce, "auth", h(method + ":" + p.uri)}, ":"))
			}
			return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=%s, nc=%s, cnonce="%s", algorithm=%s, response="%s"%s`,
				p.user, p.realm, nonce, p.uri, p.qop, p.nc, p.cnonce, p.algorithm, respond("GET"), p.extra), respond("")
		}
		good := parts{"SHA-256", s.Username, s.Password, "authtest", "/digest/x?y=1", "auth", "00000001", `c"n`, ""}
		good.cnonce = "cn"
		for _, tt := range []struct {
			name   string
			change func(*parts)
			nonce  string // not the one offered
			status int
			stale  bool
		}{
			{"right", func(*parts) {}, "", 200, false},
			{"again", func(*parts) {}, "", 401, true},
			{"the next count", func(p *parts) { p.nc = "00000002" }, "", 200, false},
			{"a count out of order", func(p *parts) { p.nc = "0000ffff" }, "", 200, false},
			{"MD5", func(p *parts) { p.algorithm = "MD5" }, "", 200, false},
			{"a nonce not given", func(*parts) {}, "abc", 401, true},
			{"a wrong password", func(p *parts) { p.password = "x" }, "", 401, false},
			{"a wrong user", func(p *parts) { p.user = "bob" }, "", 401, false},
			{"another realm", func(p *parts) { p.realm = "x" }, "", 401, false},
			{"another uri", func(p *parts) { p.uri = "/digest/z" }, "", 401, false},
			{"another qop", func(p *parts) { p.qop = "auth-int" }, "", 401, false},
			{"a short count", func(p *parts) { p.nc = "1" }, "", 401, false},
			{"no count", func(p *parts) { p.nc = "0000000g" }, "", 401, false},
			{"no cnonce", func(p *parts) { p.cnonce = "" }, "", 401, false},
			{"bad syntax", func(p *parts) { p.extra = `, x="` }, "", 401, false},
		} {
			p := good
			tt.change(&p)
			nonce := tt.nonce
			if nonce == "" {
				nonce = offered[p.algorithm]
			}
			field, rspauth := answerTo(nonce, p)
			a := send(t, s, "GET", "/digest/x?y=1", "", field)
			stale := strings.Contains(a.header.Get("WWW-Authenticate"), "stale=true")
			if diff := cmp.Diff([]any{tt.status, tt.stale}, []any{a.status, stale}); diff != "" {
				t.Errorf("%s: status, stale (-want +got):\n%s", tt.name, diff)
			}
			if want := fmt.Sprintf(`rspauth="%s"`, rspauth); tt.status == 200 && !strings.Contains(a.header.Get("Authentication-Info"), want) {
				t.Errorf("%s: Authentication-Info %q has no %s", tt.name, a.header.Get("Authentication-Info"), want)
			}
		}
		time.Sleep(5*time.Minute + 1)
		p := good
		p.nc = "00000003"
		field, _ := answerTo(offered["SHA-256"], p)
		if a := send(t, s, "GET", p.uri, "", field); a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "stale=true") {
			t.Errorf("after five minutes: %d", a.status)
		}
	})
}

// A body of any bytes comes back as it was.
func TestEcho(t *testing.T) {
	s := authtest.NewServer(t)
	body := bytes.Repeat([]byte{0, 1, 255, '\n'}, 1<<18)
	if a := send(t, s, "PUT", "/open", string(body)); a.body != string(body) {
		t.Errorf("%d bytes", len(a.body))
	}
	if r := s.Transcript()[0]; r.BodySize != 1<<20 || r.BodySHA256 != fmt.Sprintf("%x", sha256.Sum256(body)) {
		t.Error(r)
	}
}
