package digest_test

import (
	"crypto/fips140"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
	"github.com/google/go-cmp/cmp"
)

// A vector is a request with the answer that somebody has published.
type vector struct {
	oracle
	opaque, extra string
	user          map[string]string // what the user is named by; nil: username
	published     string            // response
}

// wantVector sees that the oracle comes to what was published, and the Transport
// to what the oracle says of the cnonce that was chosen.
func wantVector(t *testing.T, v vector) {
	t.Helper()
	v.prime, v.cprime = v.nonce, v.cnonce
	if got := v.response(); got != v.published {
		t.Fatalf("the oracle says %q, published was %q", got, v.published)
	}
	var challenge strings.Builder
	challenge.WriteString("Digest realm=" + quote(v.realm) + ", nonce=" + quote(v.nonce) + v.extra)
	want := map[string]string{"realm": v.realm, "nonce": v.nonce, "uri": v.uri}
	maps.Copy(want, v.user)
	if v.user == nil {
		want["username"] = v.username
	}
	for name, value := range map[string]string{"algorithm": v.algorithm, "opaque": v.opaque, "qop": v.qop} {
		if value != "" {
			challenge.WriteString(", " + name + "=" + quote(value))
			want[name] = value
		}
	}
	var got map[string]string
	rt := &digest.Transport{Username: v.username, Password: v.password, Base: transport.Func(func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
		if credentials := req.Header.Get("Authorization"); credentials != "" {
			var err error
			if got, err = params(credentials); err != nil {
				t.Error(err)
			}
			return resp, nil
		}
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", challenge.String())
		return resp, nil
	})}
	req := newRequest(t, v.method, "https://example.com", nil)
	req.URL.Opaque = v.uri // as it is
	if _, err := rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if v.cnonce = got["cnonce"]; v.cnonce != "" {
		want["cnonce"] = v.cnonce
	}
	if v.qop != "" {
		want["nc"] = v.nc
	}
	v.cprime = v.cnonce
	want["response"] = v.response()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
}

func TestVectors(t *testing.T) {
	mufasa := vector{
		oracle: oracle{
			algorithm: "MD5", username: "Mufasa", realm: "http-auth@example.org", password: "Circle of Life",
			nonce:  "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
			cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", nc: "00000001", qop: "auth",
			method: "GET", uri: "/dir/index.html",
		},
		opaque: "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", published: "8ca523f5e9506fed4657c9700eebdbec",
	}
	mufasa256 := mufasa
	mufasa256.algorithm, mufasa256.published = "SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
	doe := vector{
		oracle: oracle{
			algorithm: "SHA-512-256", username: "Jäsøn Doe", realm: "api@example.org", password: "Secret, or not?",
			nonce:  "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
			cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", nc: "00000001", qop: "auth",
			method: "GET", uri: "/doe.json",
		},
		opaque: "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", extra: ", charset=UTF-8, userhash=true",
		user:      map[string]string{"username": "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b", "userhash": "true"},
		published: "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
	}
	star := doe
	star.extra, star.user = ", charset=UTF-8", map[string]string{"username*": "UTF-8''J%C3%A4s%C3%B8n%20Doe"}
	rfc2617 := vector{
		oracle: oracle{
			algorithm: "MD5", username: "Mufasa", realm: "testrealm@host.com", password: "Circle Of Life",
			nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", cnonce: "0a4f113b", nc: "00000001", qop: "auth",
			method: "GET", uri: "/dir/index.html",
		},
		opaque: "5ccc069c403ebaf9f0171e9517f40e41", published: "6629fae49393a05397450978507c4ef1",
	}
	rfc2069 := rfc2617
	rfc2069.algorithm, rfc2069.qop, rfc2069.cnonce, rfc2069.nc = "", "", "", ""
	rfc2069.password, rfc2069.published = "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"
	for name, v := range map[string]vector{
		"RFC 7616 section 3.9.1, MD5":               mufasa,
		"RFC 7616 section 3.9.1, SHA-256":           mufasa256,
		"RFC 7616 section 3.9.2, erratum 4897":      doe,
		"RFC 7616 section 3.9.2, without user hash": star,
		"RFC 2617 section 3.5":                      rfc2617,
		"RFC 2069 section 2.4, erratum 749":         rfc2069,
	} {
		t.Run(name, func(t *testing.T) { wantVector(t, v) })
	}
}

func TestCorpusVectors(t *testing.T) {
	data, err := os.ReadFile("../../shared/corpus/challenges/digest-vectors.json")
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	// What cannot hold, and why.
	exceptions := map[string]string{
		"apache-userhash-as-hashed-name": "A1 is made of the hashed user name there, against RFC 7616 section 3.4.4",
	}
	var corpus struct {
		Vectors []struct {
			ID, Algorithm, Username, Realm, Password, Nonce, Opaque, Cnonce, NC, Qop, Method, URI, Response, Charset string
			Userhash                                                                                                 bool
			UsernameHash                                                                                             string `json:"username_hash"`
		}
	}
	if err := json.Unmarshal(data, &corpus); err != nil || len(corpus.Vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(corpus.Vectors), err)
	}
	for _, c := range corpus.Vectors {
		t.Run(c.ID, func(t *testing.T) {
			if why, ok := exceptions[c.ID]; ok {
				t.Skip(why)
			}
			v := vector{
				oracle: oracle{
					algorithm: c.Algorithm, username: c.Username, realm: c.Realm, password: c.Password,
					nonce: c.Nonce, cnonce: c.Cnonce, nc: c.NC, qop: c.Qop, method: c.Method, uri: c.URI,
				},
				opaque: c.Opaque, published: c.Response,
			}
			if c.Charset != "" {
				v.extra += ", charset=" + c.Charset
			}
			if c.Userhash {
				v.extra += ", userhash=true"
				v.user = map[string]string{"username": c.UsernameHash, "userhash": "true"}
			}
			wantVector(t, v)
		})
	}
}

// ask returns a Base that asks with these fields until there is an answer, and
// what it was sent.
func ask(fields ...string) (base http.RoundTripper, answers *[]string) {
	answers = new([]string)
	return transport.Func(func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": fields}, Body: newBody(refusal)}
		if *answers = append(*answers, req.Header.Get("Authorization")); len(*answers)%2 == 0 {
			resp.StatusCode, resp.Body = http.StatusOK, newBody("")
		}
		return resp, nil
	}), answers
}

func TestChoice(t *testing.T) {
	const (
		md5    = `Digest realm="r", nonce="md5", qop="auth", algorithm=MD5`
		sha256 = `Digest realm="r", nonce="sha256", qop="auth", algorithm=SHA-256`
		sha512 = `Digest realm="r", nonce="sha512", qop="auth", algorithm=SHA-512-256`
	)
	nonce := func(more string) string { return `Digest realm="r", nonce="n"` + more }
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name   string
		fields []string
		want   string // the nonce and the quality of protection; "" for no answer
	}{
		{"one", []string{md5}, "md5 auth"},
		{"another scheme", []string{md5, `Digestive realm="r", nonce="n", qop=auth, algorithm=SHA-256`}, "md5 auth"},
		{"strongest last", []string{md5, sha256, sha512}, "sha512 auth"},
		{"strongest first", []string{sha512, sha256, md5}, "sha512 auth"},
		{"in one field", []string{md5 + ", " + sha256}, "sha256 auth"},
		{"among others", []string{`Negotiate, Basic realm="a, Digest b"`, "NTLM", md5, `Bearer error="x", ` + sha256, "Negotiate YWJj"}, "sha256 auth"},
		{"the server's order", []string{nonce(", qop=auth"), md5}, "n auth"},
		{"session or not is no strength", []string{nonce(", qop=auth, algorithm=MD5-sess"), md5}, "n auth"},
		{"letter case", []string{`dIGEST REALM="r", Nonce="n", QOP="AUTH", ALGORITHM=sha-256-SESS`, md5}, "n auth"},
		{"algorithm in quotes", []string{md5, nonce(`, qop=auth, algorithm="SHA-256"`)}, "n auth"},
		{"auth before auth-int", []string{nonce(`, qop="auth-int,auth"`)}, "n auth"},
		{"auth-int if need be", []string{nonce(`, qop="auth-conf, auth-int"`)}, "n auth-int"},
		{"any quality of protection before none", []string{nonce(""), nonce(", qop=auth-int")}, "n auth-int"},
		{"a stronger hash before quality", []string{sha256, nonce(", algorithm=SHA-512-256")}, "n"},
		{"RFC 2069", []string{nonce("")}, "n"},
		{"spaces instead of commas", []string{nonce(`, qop="auth-int auth"`)}, "n auth"},
		{"tabs instead of commas", []string{nonce(", qop=\"auth-int\tauth\"")}, "n auth"},
		{"a list without quotes", []string{nonce(", qop=auth,auth-int")}, "n auth"},
		{"unknown quality", []string{nonce(", qop=auth-conf, algorithm=SHA-256"), md5}, "md5 auth"},
		{"unknown quality alone", []string{nonce(`, qop="auth-conf authority"`)}, ""},
		{"unknown algorithm", []string{nonce(", algorithm=SHA-1"), nonce(", algorithm=SHA-512"), nonce(", algorithm=SHA-256x"), md5}, "md5 auth"},
		{"unknown algorithm alone", []string{nonce(", algorithm=SHA-512-256-sess-sess")}, ""},
		{"a session of nothing", []string{nonce(`, algorithm="-sess"`)}, ""},
		{"letters that fold to ASCII", []string{nonce(`, algorithm="ſHA-256"`)}, ""},
		{"no nonce", []string{`Digest realm="r", qop="auth", algorithm=SHA-256`, md5}, "md5 auth"},
		{"no nonce, alone", []string{`Digest realm="r"`, "Digest", "Digest YWJj", `Digest nonce=""`}, ""},
		{"a parameter twice", []string{nonce(`, algorithm=SHA-256, nonce="m"`), md5}, "md5 auth"},
		{"an unterminated quote", []string{md5 + `, Digest realm="r, nonce="`, sha256}, "sha256 auth"},
		{"a control character in the nonce", []string{"Digest realm=\"r\", algorithm=SHA-256, nonce=\"\x01\"", md5}, "md5 auth"},
		{"a control character in the realm", []string{"Digest realm=\"\r\n\", algorithm=SHA-256, nonce=\"n\"", md5}, "md5 auth"},
		{"a control character in the opaque", []string{nonce(", algorithm=SHA-256, opaque=\"\\\x00\""), md5}, "md5 auth"},
		{"no realm", []string{"Digest nonce=n, qop=auth"}, "n auth"},
		{"quality of nothing", []string{nonce(`, qop=""`)}, "n"},
		{"quality of commas", []string{nonce(`, qop=", ,	"`)}, "n"},
		{"junk", []string{"", ",,,", "=", `"`, "Digest ,=", "\x00", "Digest\x80"}, ""},
		{"no field", nil, ""},
		{"long nonce", []string{`Digest realm="r", algorithm=SHA-256, nonce="` + long + `"`, md5}, "md5 auth"},
		{"not too long", []string{`Digest realm="r", algorithm=SHA-256, nonce="` + long[:4095] + `"`, md5}, long[:4095]},
		{"just too long", []string{`Digest realm="r", algorithm=SHA-256, nonce="` + long[:4096] + `"`, md5}, "md5 auth"},
		{"long realm", []string{nonce(", algorithm=SHA-256"), `Digest algorithm=SHA-512-256, nonce="m", realm="` + long + `"`}, "n"},
		{"long opaque", []string{nonce(`, algorithm=SHA-256, opaque="` + long + `"`), md5}, "md5 auth"},
		{"nonce of a megabyte", []string{md5, `Digest realm="r", algorithm=SHA-256, nonce="` + strings.Repeat("x", 1<<20) + `"`}, "md5 auth"},
		{"nonce of a megabyte, alone", []string{`Digest realm="r", nonce="` + strings.Repeat("x", 1<<20) + `"`}, ""},
		{"10,000 challenges", []string{md5 + strings.Repeat(", Basic", 10000)}, "md5 auth"},
		{"10,000 long challenges", []string{strings.Repeat(md5+", ", 10000)}, ""},
		{"10,000 fields", append([]string{sha256}, strings.Split(strings.Repeat("Basic,", 10000), ",")...), "sha256 auth"},
		{"a megabyte of commas", []string{strings.Repeat(",", 1<<20)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, answers := ask(tt.fields...)
			rt := &digest.Transport{Username: username, Password: password, Base: base}
			if tt.want == "" {
				want(t, rt, get(t), http.StatusUnauthorized, refusal)
				if diff := cmp.Diff([]string{""}, *answers); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				return
			}
			want(t, rt, get(t), http.StatusOK, "")
			p, err := params((*answers)[1])
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(p["nonce"] + " " + p["qop"]); got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
		})
	}
}

// Where MD5 is not allowed, it is unknown.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFIPS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for _, tt := range []struct {
		fields []string
		status int
	}{
		{[]string{`Digest realm="r", nonce="n"`, `Digest realm="r", nonce="n", algorithm=MD5-sess`}, http.StatusUnauthorized},
		{[]string{`Digest realm="r", nonce="n"`, `Digest realm="r", nonce="n", algorithm=SHA-256`}, http.StatusOK},
	} {
		base, _ := ask(tt.fields...)
		resp, err := (&digest.Transport{Username: username, Password: password, Base: base}).RoundTrip(get(t))
		if err != nil || resp.StatusCode != tt.status {
			t.Errorf("%q: got %v, %v, want %d", tt.fields, resp, err, tt.status)
		}
	}
}

// What a guard may ask for, in all combinations, and what users are called.
func TestAnswers(t *testing.T) {
	names := []string{username, `a "quoted\ name`, "", "Jäsøn Doe", "王小明+*'()%", "\xe9", "\x80"}
	for _, algorithm := range []string{"", "MD5", "md5-Sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"} {
		for _, qop := range []string{"", "auth", "auth-int", "auth-int, auth"} {
			for _, extra := range []string{"", ", userhash=true", ", charset=UTF-8", ", charset=UTF-8, userhash=true", ", userhash=false, charset=us-ascii"} {
				t.Run(fmt.Sprint(algorithm, " ", qop, extra), func(t *testing.T) {
					for _, name := range names {
						g := &guard{
							t: t, realm: `the "realm\`, algorithm: algorithm, qop: qop, extra: extra, opaque: `o"\`, salt: `\"`,
							users: map[string]string{name: `pass:"\word`},
						}
						rt := &digest.Transport{Username: name, Password: `pass:"\word`, Base: g}
						for range 3 {
							req, b := replayable(t, "a body")
							want(t, rt, req, http.StatusOK, "a body")
							b.wantEachClosedOnce(t)
						}
						what := ""
						if qop == "auth-int" {
							what = "int "
						}
						g.wantLog(t, "bare", `\"n1/1 `+what+"ok", `\"n1/2 `+what+"ok", `\"n1/3 `+what+"ok")
						g.wantClosed(t)
					}
				})
			}
		}
	}
}

// A nonce is counted with the method and target of each request.
func TestAnswersAreForOneRequest(t *testing.T) {
	g := newGuard(t)
	rt := g.client()
	for _, method := range []string{"GET", "", "HEAD", "DELETE", "PROPFIND", "get"} {
		req := get(t)
		req.Method = method
		req.URL = &url.URL{Scheme: "https", Host: "api.example.com", Path: "/" + method, RawQuery: "q"}
		want(t, rt, req, http.StatusOK, "")
	}
	g.wantLog(t, "bare", "n1/1 ok", "n1/2 ok", "n1/3 ok", "n1/4 ok", "n1/5 ok", "n1/6 ok")
}
