// Package challenge reads and writes the challenges by which a server asks for
// authentication (RFC 9110 section 11): the WWW-Authenticate and
// Proxy-Authenticate fields.
//
//	for _, c := range challenge.FromResponse(resp) {
//		realm, _ := c.Param("realm")
//		fmt.Println(c.Scheme, realm)
//	}
//
// What a server sends is not to be trusted, so reading takes time linear in the
// length of the fields and stops at bounds far beyond what servers in use
// send: 128 KiB in all, 64 challenges, 64 parameters in each.
package challenge

import (
	"net/http"
	"strings"
)

// A Challenge is one scheme by which the server would authenticate the client.
// Either Token68 or Params may be set, or none of them.
type Challenge struct {
	// Scheme is the authentication scheme as it was spelled. Letter case plays
	// no part in it: compare it by [strings.EqualFold] or [Challenge.Is].
	Scheme string
	// Token68 is the one value of schemes such as Negotiate.
	Token68 string
	// Params are the parameters in the order they came in. No two have the
	// same name.
	Params []Param
}

// A Param is a parameter of a challenge (auth-param in RFC 9110 section 11.2).
type Param struct {
	// Name is as it was spelled; letter case plays no part in it.
	Name string
	// Value is the value without quotes and with escapes undone.
	Value string
}

// Is reports whether c is for scheme, whatever the letter case.
func (c Challenge) Is(scheme string) bool { return strings.EqualFold(c.Scheme, scheme) }

// Param returns the value of the parameter of that name, whatever the letter
// case, and whether there is one.
func (c Challenge) Param(name string) (value string, ok bool) { return Find(c.Params, name) }

// Find returns the value of the first of params that has the name, whatever the
// letter case, and whether there is one.
func Find(params []Param, name string) (value string, ok bool) {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}

// String returns c as a server would send it, every parameter as a
// quoted-string. Parse reads it back as it was, if c is a challenge that Parse
// could have returned and within its bounds.
func (c Challenge) String() string {
	if c.Token68 != "" {
		return c.Scheme + " " + c.Token68
	}
	b := []byte(c.Scheme)
	for i, p := range c.Params {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, ' ')
		b = append(b, p.Name...)
		b = append(b, '=')
		b = AppendQuoted(b, p.Value)
	}
	return string(b)
}

// AppendQuoted appends s to b as a quoted-string (RFC 9110 section 5.6.4).
// There is no way to write a control character in one; s must have none.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// FromResponse returns the well-formed challenges of resp: those of its
// Proxy-Authenticate fields if the status is 407, else of WWW-Authenticate,
// which comes with a 401 and may come with others, such as 403 (RFC 6750
// section 3.1).
func FromResponse(resp *http.Response) []Challenge {
	name := "Www-Authenticate"
	if resp.StatusCode == http.StatusProxyAuthRequired {
		name = "Proxy-Authenticate"
	}
	challenges, _ := Parse(resp.Header[name])
	return challenges
}
