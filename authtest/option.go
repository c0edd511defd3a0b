package authtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// An Option tells [TestTransport] and [Check] about the decorator.
type Option func(*kit)

// A rejection is how the kit's server refuses.
type rejection struct {
	status int
	header http.Header
}

const (
	defaultOrigin   = "https://api.example.com"
	defaultPatience = 10 * time.Second
)

// Secret names what must never be seen where it does not belong: the token, the
// key, the password. Credentials in Authorization, Proxy-Authorization and
// Cookie fields are found without; those in other fields, or in the URL, are
// not. A decorator with a Secret has to send credentials.
func Secret(values ...string) Option {
	return func(k *kit) { k.secrets = append(k.secrets, values...) }
}

// Skip says that a clause does not apply, and why. It panics if that is no
// clause, or no reason.
func Skip(c Clause, reason string) Option {
	if !slices.Contains(Clauses(), c) {
		panic(fmt.Sprintf("authtest: Skip: there is no clause %q", c))
	}
	if reason == "" {
		panic("authtest: Skip: the reason is missing")
	}
	return func(k *kit) { k.skip[c] = reason }
}

// Challenge is for decorators that send their credential when a server has
// asked: the server answers requests without an Authorization field with status
// 401 and this WWW-Authenticate field. Before the checks that need it, the
// decorator gets to know that by a GET.
func Challenge(field string) Option {
	return func(k *kit) { k.challenge = field }
}

// Rejection is an answer after which the decorator sends a request again;
// the default is 401 with the [Challenge], or with a Bearer challenge of
// invalid_token.
func Rejection(status int, header http.Header) Option {
	return func(k *kit) { k.rejection = rejection{status, header.Clone()} }
}

// Failing gives the decorator in a state in which it returns an error without
// sending anything, as when there is no credential to be had. Without it,
// some checks rely on the decorator refusing plain http or a context that has ended.
func Failing(wrap func(base http.RoundTripper) http.RoundTripper) Option {
	return func(k *kit) { k.failing = wrap }
}

// Origin is where the decorator sends its credentials to, an https URL without
// a path; the default is https://api.example.com. Nothing is sent to the
// real host. It panics if it is none.
func Origin(rawURL string) Option {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" {
		panic("authtest: Origin: not an https URL without a path")
	}
	return func(k *kit) { k.origin = rawURL }
}

// Patience is how long the kit waits for what should happen at once, before it
// calls it broken; the default is 10 seconds.
func Patience(d time.Duration) Option {
	return func(k *kit) { k.patience = d }
}
