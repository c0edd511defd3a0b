package basic_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/basic"
	"github.com/authtrip/authtrip/transport"
)

// api stands for the network in these examples: it says who has called.
var api = transport.Func(func(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
	if req.URL.Path == "/away" {
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", "https://elsewhere.example.net/")
	}
	username, password, ok := req.BasicAuth()
	fmt.Printf("%s as %q with %q: %t\n", req.URL, username, password, ok)
	return resp, nil
})

func ExampleTransport() {
	client := &http.Client{Transport: &basic.Transport{
		Username: "aladdin",
		Password: "open sesame",
		Base:     api,
	}}
	client.Get("https://api.example.com/")

	// The caller's own credentials win.
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	req.SetBasicAuth("genie", "lamp")
	client.Do(req)

	// Where a redirect leads elsewhere, the password stays behind.
	client.Get("https://api.example.com/away")

	// Nor does it go over plain http.
	_, err := client.Get("http://api.example.com/")
	fmt.Println(errors.Is(err, transport.ErrInsecureOrigin))
	// Output:
	// https://api.example.com/ as "aladdin" with "open sesame": true
	// https://api.example.com/ as "genie" with "lamp": true
	// https://api.example.com/away as "aladdin" with "open sesame": true
	// https://elsewhere.example.net/ as "" with "": false
	// true
}

// A service that calls on behalf of many tenants, whichever the context is for.
func ExampleTransport_credentials() {
	type tenant struct{}
	passwords := map[string]string{"ada": "1815", "grace": "1906"}
	client := &http.Client{Transport: &basic.Transport{
		Credentials: func(ctx context.Context) (username, password string, err error) {
			name, _ := ctx.Value(tenant{}).(string)
			password, ok := passwords[name]
			if !ok {
				return "", "", errors.New("who is calling?")
			}
			return name, password, nil
		},
		Base: api,
	}}
	for _, name := range []string{"ada", "grace", ""} {
		ctx := context.WithValue(context.Background(), tenant{}, name)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", nil)
		if _, err := client.Do(req); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// https://api.example.com/ as "ada" with "1815": true
	// https://api.example.com/ as "grace" with "1906": true
	// Get "https://api.example.com/": who is calling?
}

// A client of which one host alone gets the password, beside a Middleware of
// one's own.
func ExampleTransport_Wrap() {
	password := &basic.Transport{
		Username: "aladdin",
		Password: "open sesame",
		Audience: &transport.Audience{Origins: []string{"https://api.example.com"}},
	}
	userAgent := func(base http.RoundTripper) http.RoundTripper {
		return transport.Func(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.Header.Set("User-Agent", "example/1.0")
			return base.RoundTrip(req)
		})
	}
	client := &http.Client{Transport: transport.Chain(userAgent, password.Wrap)(api)}
	client.Get("https://api.example.com/")
	client.Get("https://cdn.example.com/")
	// Output:
	// https://api.example.com/ as "aladdin" with "open sesame": true
	// https://cdn.example.com/ as "" with "": false
}
