// Package tokensource says where OAuth 2.0 access tokens (RFC 6749) come from,
// for the decorators of package transport and for anything else that calls
// Token.
//
// A [Session] is one signed-in identity. It holds the token, renews it by a
// [Grant], ahead of its expiry or when [Session.Renew] says that a server has
// rejected it, and keeps it in a [Store] if it is to outlive the process.
// However many goroutines need a new token, there is one exchange. A [FileStore]
// is a Store that the processes of one machine share.
//
//	session := &tokensource.Session{Grant: tokensource.RefreshToken(config)}
//	if err := session.Set(ctx, token); err != nil { ... }
//
// [Sessions] are many identities, such as the users of a server. docs/fleet.md in
// the repository says what is guaranteed to processes that share one.
//
// A program that exits calls [Session.Wait] before: a refresh token that the server
// has rotated and nobody has saved is lost.
//
// Other sources are [Static], [Env], [NewFileSource], [SourceFunc] and [FromOAuth2];
// [ToOAuth2] leads the other way.
//
// # The token endpoint
//
// [RefreshToken] and [ClientCredentials] talk to it by rules stricter than
// golang.org/x/oauth2's, whose configuration they share: one request for each
// exchange of a refresh token, no redirects followed, https or loopback only,
// an answer of 1 MiB at most, and errors that never hold an answer's body nor
// what was sent. An expires_in that is a string or a fraction is understood.
//
// # Tokens are read-only
//
// A token that a [Source] has returned must not be modified: it is shared, and
// its identity, not its text, is what [Renewer] goes by. Servers exist that
// answer a renewal with the access token that they gave before.
package tokensource
