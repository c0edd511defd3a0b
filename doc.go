// Package authtrip is the landing page of a module that puts credentials on
// HTTP requests: composable [net/http.RoundTripper] decorators, one for each
// authentication scheme. It has no code of its own.
//
// The main job is a client that goes on calling an API while its access tokens
// (RFC 6749, RFC 6750) expire and are revoked:
//
//	session := &tokensource.Session{Grant: tokensource.RefreshToken(config)}
//	session.Set(ctx, token)
//	client := transport.Client(nil, (&transport.Refresh{Source: session}).Wrap)
//	resp, err := client.Get("https://api.example.com/things")
//
// Every request carries the current token. When a server answers 401, the
// token is renewed once for all requests that wait, and each of them is sent
// again, once, with its body.
//
// # Packages
//
//   - [github.com/authtrip/authtrip/transport]: the decorators for bearer
//     tokens, with and without renewal, and what composes decorators.
//   - [github.com/authtrip/authtrip/basic]: user name and password (RFC 7617).
//   - [github.com/authtrip/authtrip/digest]: user name and password that are
//     not sent (RFC 7616), for servers and proxies.
//   - [github.com/authtrip/authtrip/apikey]: a key in a header field, the query
//     or a cookie.
//   - [github.com/authtrip/authtrip/cookiejar]: cookies (RFC 6265bis), below any
//     client and beyond the process, and the sessions in them.
//   - [github.com/authtrip/authtrip/tokensource]: where tokens come from: a
//     session that renews them, grants, stores, adapters for
//     [golang.org/x/oauth2].
//   - [github.com/authtrip/authtrip/challenge]: what a server asks for, read
//     and written (RFC 9110 section 11).
//   - [github.com/authtrip/authtrip/authtest]: for tests, a kit that checks any
//     RoundTripper, and an authorization server and API that can be broken.
//
// # Choosing
//
// A token that something else keeps fresh needs a
// [github.com/authtrip/authtrip/transport.Bearer]. A token that this program
// must renew needs a [github.com/authtrip/authtrip/transport.Refresh] on a
// [github.com/authtrip/authtrip/tokensource.Session]. Code that holds an
// [golang.org/x/oauth2.TokenSource] keeps it, through
// [github.com/authtrip/authtrip/tokensource.FromOAuth2]; code that wants one
// is given a Session through
// [github.com/authtrip/authtrip/tokensource.ToOAuth2]. A session that cookies
// hold is renewed by a [github.com/authtrip/authtrip/cookiejar.Login], by the same
// rules. Where the server's
// challenge is to decide between schemes, there is
// [github.com/authtrip/authtrip/transport.Choose].
//
// # Composing
//
// A decorator is a struct with the fields that it needs and the base that it
// sends by. Its method Wrap makes it a middleware:
//
//	Chain(A, B)(base) == A(B(base))
//
// so A sees the request first. [net/http.Client.Transport] is the one seam
// that every SDK offers, and the only one that is needed here.
//
// # Why a RoundTripper
//
// The comment on [net/http.RoundTripper] says that it should not attempt to
// handle authentication. That is about what a caller may expect: that a request
// is sent as it is, once, and that the response is the server's. A decorator
// breaks it knowingly, since there is no other place: [net/http.Client] has no
// hook that is called for each request, and a library that is handed a client
// can be given nothing else. What is kept is everything else in that comment.
// The caller's request is never modified. Its body is closed on every path.
// There is at most one second attempt, only after a rejection, and only with a
// body that can be sent again. Any other response is the server's, untouched.
//
// # Where credentials go
//
// A RoundTripper sees every hop of a redirect, and what net/http takes off a
// request that leaves for another host, a decorator would put back. So each
// one has an audience, and the whole chain of redirects counts: by default
// a credential goes to the origin (scheme, host and port, RFC 9110 section
// 4.3.1) of the chain's first request and nowhere else, not even back there
// once the chain has been elsewhere. It does not go over plain http, except to
// loopback. A caller's own Authorization field takes precedence. See
// [github.com/authtrip/authtrip/transport.Audience].
//
// # Errors
//
// A 401 is a response, not an error, unless its renewal failed: then there is a
// [github.com/authtrip/authtrip/transport.RenewalError], and
//
//	errors.Is(err, tokensource.ErrReauthRequired)
//
// tells that the user has to sign in again. No error, event or printed value of
// this module holds a credential.
//
// # Concurrency
//
// Everything is safe for concurrent use by multiple goroutines. Fields are set
// before first use and not changed after. Decorators, sessions and audiences
// are used by pointer and not copied.
//
// # Compatibility
//
// Before v1 names may still change, and the change log says which. Error texts
// and what events there are besides those documented are no promises.
package authtrip
