package apikey_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/apikey"
	"github.com/authtrip/authtrip/transport"
)

// api stands for the network in these examples: it says what it has seen.
var api = transport.Func(func(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
	if req.URL.Path == "/away" { // as some servers do, with the query it was sent
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", "https://elsewhere.example.net/?"+req.URL.RawQuery)
	}
	fmt.Println(req.URL, req.Header)
	return resp, nil
})

func ExampleTransport() {
	client := &http.Client{Transport: &apikey.Transport{Key: "k-1", Base: api}}
	client.Get("https://api.example.com/")

	// The caller's own key wins.
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	req.Header.Set("X-API-Key", "k-2")
	client.Do(req)

	// Nor does a key go over plain http.
	_, err := client.Get("http://api.example.com/")
	fmt.Println(errors.Is(err, transport.ErrInsecureOrigin))
	// Output:
	// https://api.example.com/ map[X-Api-Key:[k-1]]
	// https://api.example.com/ map[X-Api-Key:[k-2]]
	// true
}

func ExampleTransport_authorization() {
	client := &http.Client{Transport: &apikey.Transport{
		Key:    "k-1",
		Name:   "Authorization",
		Prefix: "ApiKey",
		Base:   api,
	}}
	client.Get("https://api.example.com/")
	// Output:
	// https://api.example.com/ map[Authorization:[ApiKey k-1]]
}

// In the query, where a server's redirect does not carry the key away.
func ExampleTransport_query() {
	client := &http.Client{Transport: &apikey.Transport{
		Key:  "AIza-012345",
		In:   apikey.Query,
		Name: "key",
		Base: api,
	}}
	resp, err := client.Get("https://api.example.com/away?q=go")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the caller sees", resp.Request.Response.Request.URL)
	// Output:
	// https://api.example.com/away?q=go&key=AIza-012345 map[]
	// https://elsewhere.example.net/?q=go map[Referer:[https://api.example.com/away?q=go]]
	// the caller sees https://api.example.com/away?q=go
}

func ExampleTransport_cookie() {
	client := &http.Client{Transport: &apikey.Transport{Key: "k-1", In: apikey.Cookie, Name: "sid", Base: api}}
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	req.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	client.Do(req)
	// Output:
	// https://api.example.com/ map[Cookie:[theme=dark; sid=k-1]]
}

// Of two decorators with keys of different names, each adds its own.
func ExampleTransport_Wrap() {
	client := transport.Client(
		&http.Client{Transport: api},
		(&apikey.Transport{Key: "app-1", Name: "DD-APPLICATION-KEY"}).Wrap,
		(&apikey.Transport{Key: "api-1", Name: "DD-API-KEY"}).Wrap,
	)
	client.Get("https://api.example.com/")
	// Output:
	// https://api.example.com/ map[Dd-Api-Key:[api-1] Dd-Application-Key:[app-1]]
}

// A key that is replaced while the program runs.
func ExampleKey() {
	var key apikey.Key
	client := &http.Client{Transport: &apikey.Transport{Source: key.Get, Base: api}}

	_, err := client.Get("https://api.example.com/")
	fmt.Println(err, errors.Is(err, apikey.ErrNoKey))

	key.Set("k-1")
	client.Get("https://api.example.com/")
	key.Set("k-2")
	client.Get("https://api.example.com/")
	fmt.Println(&key)
	// Output:
	// Get "https://api.example.com/": apikey: there is no key yet true
	// https://api.example.com/ map[X-Api-Key:[k-1]]
	// https://api.example.com/ map[X-Api-Key:[k-2]]
	// apikey.Key
}
