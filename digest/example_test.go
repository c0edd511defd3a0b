package digest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/authtrip/authtrip/challenge"
	"github.com/authtrip/authtrip/digest"
	"github.com/authtrip/authtrip/transport"
)

// shown returns what of Digest credentials is the same every time.
func shown(credentials string) string {
	if credentials == "" {
		return "no credentials"
	}
	var s []string
	list, _ := challenge.Parse([]string{credentials})
	for _, name := range []string{"username", "realm", "uri", "nc"} {
		value, _ := list[0].Param(name)
		s = append(s, name+"="+value)
	}
	return strings.Join(s, " ")
}

// The server is asked once what it wants. From then on each request has an
// answer.
func ExampleTransport() {
	server := transport.Func(func(req *http.Request) (*http.Response, error) {
		credentials := req.Header.Get("Authorization")
		fmt.Println(req.Method, req.URL.Path, "with", shown(credentials))
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
		if credentials == "" {
			resp.StatusCode = http.StatusUnauthorized
			resp.Header.Set("WWW-Authenticate", `Digest realm="files", nonce="5TsQWLVdgBdm", qop="auth", algorithm=SHA-256`)
		}
		return resp, nil
	})
	client := &http.Client{Transport: &digest.Transport{Username: "Mufasa", Password: "Circle of Life", Base: server}}

	for _, path := range []string{"/a", "/b"} {
		resp, err := client.Get("https://files.example.com" + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// GET /a with no credentials
	// GET /a with username=Mufasa realm=files uri=/a nc=00000001
	// 200
	// GET /b with username=Mufasa realm=files uri=/b nc=00000002
	// 200
}

// Plain http and tunnels to https servers through a proxy that asks for
// authentication.
func ExampleProxy() {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials := r.Header.Get("Proxy-Authorization")
		fmt.Println(r.Method, "with", shown(credentials))
		switch {
		case credentials == "":
			w.Header().Set("Proxy-Authenticate", `Digest realm="proxy", nonce="7ypf/xlj9XXw", qop="auth", algorithm=SHA-256`)
			w.WriteHeader(http.StatusProxyAuthRequired)
		case r.Method == http.MethodConnect: // no tunnels through this one
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer proxy.Close()
	proxyURL, _ := url.Parse(proxy.URL)

	p := &digest.Proxy{Username: "Mufasa", Password: "Circle of Life"}
	p.Base = &http.Transport{
		Proxy:                  http.ProxyURL(proxyURL),
		GetProxyConnectHeader:  p.GetProxyConnectHeader,
		OnProxyConnectResponse: p.OnProxyConnectResponse,
	}
	client := &http.Client{Transport: p}

	resp, err := client.Get("http://www.example.com/a")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)

	_, err = client.Get("https://www.example.com/b")
	fmt.Println(err)
	// Output:
	// GET with no credentials
	// GET with username=Mufasa realm=proxy uri=http://www.example.com/a nc=00000001
	// 200
	// CONNECT with username=Mufasa realm=proxy uri=www.example.com:443 nc=00000002
	// Get "https://www.example.com/b": Forbidden
}
