// Package transport decorates an [http.RoundTripper] so that its requests carry
// bearer tokens (RFC 6750), and holds what decorators are composed with.
//
// [Bearer] sends the token that a source has. [Refresh] also has it renewed
// when a server rejects it, once for all requests, and sends each of them
// again, once. Where the tokens come from is the matter of package tokensource.
// [Choose] leaves it to the server's challenge which of several decorators, of
// this package or others, a request goes by.
//
//	client := transport.Client(nil, (&transport.Refresh{Source: session}).Wrap)
//
// A decorator is a struct with exported fields, used by pointer. The zero value of
// every field but Source is usable. Its method Wrap returns it around another base,
// and so is a [Middleware]; [Chain] composes several:
//
//	Chain(A, B)(base) == A(B(base))
//
// # The contract that decorators keep
//
// A decorator never modifies the request it is given, closes its body on every
// path, sends a new request for every attempt, and returns either a response or
// an error. The response's Request is the caller's, and everything else in it
// is the server's: bodies are not wrapped and nothing is buffered, except a
// rejection's body, up to 64 KiB, while [Refresh] has the token renewed.
//
// # Where tokens go
//
// To the origins of an [Audience] and nowhere else, on any hop of a redirect
// chain, and not over plain http. See there. [WithoutCredentials] turns every
// decorator off for one request; a request that has an Authorization field of
// its own keeps it.
package transport
