package challenge_test

import (
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/challenge"
)

func ExampleFromResponse() {
	resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}}
	resp.Header.Add("WWW-Authenticate", `Newauth realm="apps", type=1, title="Login to \"apps\""`)
	resp.Header.Add("WWW-Authenticate", `Basic realm="simple", charset=UTF-8`)
	for _, c := range challenge.FromResponse(resp) {
		realm, _ := c.Param("realm")
		fmt.Println(c.Scheme, realm)
	}
	// Output:
	// Newauth apps
	// Basic simple
}

// What is well-formed is returned, beside an error for what is not.
func ExampleParse() {
	challenges, err := challenge.Parse([]string{`Digest realm="x", realm="y", Bearer error="invalid_token"`})
	for _, c := range challenges {
		if c.Is("bearer") {
			reason, _ := c.Param("error")
			fmt.Println(reason)
		}
	}
	fmt.Println(err)
	// Output:
	// invalid_token
	// challenge: field value 0, byte 27: a parameter occurs twice
}

func ExampleParseParams() {
	header := http.Header{}
	header.Set("Authentication-Info", `nextnonce="47364c23432d2e131a5fb210812c", qop=auth`)
	params, err := challenge.ParseParams(header.Values("Authentication-Info"))
	nonce, ok := challenge.Find(params, "nextnonce")
	fmt.Println(nonce, ok, err)
	// Output:
	// 47364c23432d2e131a5fb210812c true <nil>
}

// A server's side: what Parse reads.
func ExampleChallenge_String() {
	c := challenge.Challenge{Scheme: "Basic", Params: []challenge.Param{{Name: "realm", Value: `the "inner" circle`}}}
	fmt.Println(c)
	// Output:
	// Basic realm="the \"inner\" circle"
}
