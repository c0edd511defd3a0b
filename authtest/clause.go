package authtest

// A Clause is one obligation of a RoundTripper that decorates another. It is
// the name of its subtest.
type Clause string

// The clauses.
const (
	// The request.

	// RequestUnmodified: the caller's request is as before, deeply.
	RequestUnmodified Clause = "request unmodified"
	// NilHeader: a request whose Header is nil is sent, and its Header stays nil.
	NilHeader Clause = "nil header"
	// RequestForwarded: what is sent is the caller's request but for credentials:
	// method, URL, host, fields, framing; a body that is none stays none.
	RequestForwarded Clause = "request forwarded"

	// The request's body.

	// BodyClosedOnSuccess: Body, and what GetBody gives, is closed exactly once.
	BodyClosedOnSuccess Clause = "body closed on success"
	// BodyClosedOnBaseError is that where the base returns an error.
	BodyClosedOnBaseError Clause = "body closed on base error"
	// BodyClosedOnOwnError is that where the decorator returns an error and
	// sends nothing.
	BodyClosedOnOwnError Clause = "body closed on own error"
	// BodyClosedOnEarlyResponse is that where the response comes before the
	// body has been read; another attempt leaves it alone.
	BodyClosedOnEarlyResponse Clause = "body closed on early response"

	// Attempts.

	// NewRequestPerAttempt: no two attempts share a Request or its Header.
	NewRequestPerAttempt Clause = "new request per attempt"
	// BodyComplete: each attempt has the whole body.
	BodyComplete Clause = "body complete on every attempt"
	// DiscardedResponse: a response that is not returned is closed.
	DiscardedResponse Clause = "discarded response closed"
	// EndlessRejection: a rejection whose body does not end holds up nobody.
	EndlessRejection Clause = "endless rejection"

	// The response.

	// ResponseXorError: there is either a response or an error.
	ResponseXorError Clause = "response or error"
	// AnyStatus: a response is returned as it came, whatever its status.
	AnyStatus Clause = "any status"
	// ResponseRequest: the response names the caller's request.
	ResponseRequest Clause = "response names the request"
	// Upgrade: the Body of a 101 can be written to.
	Upgrade Clause = "upgrade"
	// Trailers: of the request, filled in while the body is read, and of the response.
	Trailers Clause = "trailers"

	// The wire.

	// StreamedResponse: the response is returned before its body has ended.
	StreamedResponse Clause = "streamed response"
	// StreamedRequest: the server can answer before the request's body has ended.
	StreamedRequest Clause = "streamed request"
	// HTTP2: requests and responses go over HTTP/2.
	HTTP2 Clause = "HTTP/2"
	// ExpectContinue: with Expect: 100-continue, no body is sent before the
	// server wants it, on any attempt.
	ExpectContinue Clause = "100-continue"

	// The context.

	// ContextBefore: a context that has ended before RoundTrip ends it.
	ContextBefore Clause = "context cancelled before"
	// ContextDuring: one that ends while the base is at work ends that.
	ContextDuring Clause = "context cancelled during"
	// ContextAfter: the response's body can be read after RoundTrip until the
	// context ends, and not after.
	ContextAfter Clause = "context cancelled after"
	// ContextValues: every attempt has the values of the caller's context,
	// among them the hooks of net/http/httptrace.
	ContextValues Clause = "context values"
	// ClientTimeout: the Timeout of an http.Client is an error that says so.
	ClientTimeout Clause = "client timeout"

	// The decorator.

	// CloseIdleConnections is forwarded to the base.
	CloseIdleConnections Clause = "CloseIdleConnections"
	// NilBase: a nil base is a working default.
	NilBase Clause = "nil base"
	// ConcurrentUse: many goroutines can use it. Run with -race.
	ConcurrentUse Clause = "concurrent use"
	// PanicInBase: a panic in the base leaves no lock held.
	PanicInBase Clause = "panic in base"

	// Credentials.

	// Redirects: a redirect to another origin takes no credential there, nor
	// brings one back.
	Redirects Clause = "credentials on redirects"
	// PlainHTTP: no credential is sent over plain http, loopback aside.
	PlainHTTP Clause = "credentials over plain http"
	// SecretInErrors: no error's text has a secret in it.
	SecretInErrors Clause = "no secret in errors"
	// SecretInPrinting: nor has what package fmt, encoding/json and log/slog
	// make of the decorator.
	SecretInPrinting Clause = "no secret in printing"
)

// Clauses returns all clauses in the order of their checks.
func Clauses() []Clause {
	names := make([]Clause, len(clauses))
	for i, c := range clauses {
		names[i] = c.name
	}
	return names
}

// A clause is a Clause and how to check it.
type clause struct {
	name     Clause
	requires string // where it is required
	how      string // what is done to find out
	run      func(*probe)
}

// clauses is set by init, since the checks refer to it by Skip.
var clauses []clause

func init() {
	const (
		roundTripper = "net/http.RoundTripper: "
		request      = "net/http.Request: "
		response     = "net/http.Response: "
	)
	clauses = []clause{
		{
			RequestUnmodified, roundTripper + `"RoundTrip should not modify the request, except for consuming and closing the Request's Body"`,
			"comparing a request that has something in every field with a copy from before, after it was accepted, after it was rejected once, and after an error", (*probe).requestUnmodified,
		},
		{
			NilHeader, `net/http.Client and net/http.Transport, which take a Request{Method, URL}`,
			"sending a request whose Header is nil", (*probe).nilHeader,
		},
		{
			RequestForwarded, request + "the meaning of its fields; RFC 9110 section 9.2",
			"comparing what arrives at the base with what was sent, on every attempt after a rejection, with a body, without one, and with NoBody", (*probe).requestForwarded,
		},
		{
			BodyClosedOnSuccess, roundTripper + `"RoundTrip must always close the body"`,
			"counting the calls of Close after a request that was accepted, one that was rejected once, and one whose GetBody then failed", (*probe).bodyClosedOnSuccess,
		},
		{
			BodyClosedOnBaseError, roundTripper + `"RoundTrip must always close the body, including on errors"`,
			"counting the calls of Close after the base has closed the body and returned an error", (*probe).bodyClosedOnBaseError,
		},
		{
			BodyClosedOnOwnError, roundTripper + `"RoundTrip must always close the body, including on errors"`,
			"counting the calls of Close after errors that came before anything was sent: Failing, plain http, a context that has ended", (*probe).bodyClosedOnOwnError,
		},
		{
			BodyClosedOnEarlyResponse, roundTripper + `"depending on the implementation may do so in a separate goroutine even after RoundTrip returns"`,
			"a base that rejects before it has read the body, and reads and closes it later", (*probe).bodyClosedOnEarlyResponse,
		},
		{
			NewRequestPerAttempt, roundTripper + `"Callers should not mutate or reuse the request until the Response's Body has been closed"`,
			"comparing the requests of two attempts, after a rejection", (*probe).newRequestPerAttempt,
		},
		{
			BodyComplete, request + `GetBody "defines an optional func to return a new copy of Body"`,
			"reading the body of each attempt, after a rejection, with and without GetBody", (*probe).bodyComplete,
		},
		{
			DiscardedResponse, response + `"it is the caller's responsibility to close Body"`,
			"watching the body of a rejection that was followed by another attempt", (*probe).discardedResponse,
		},
		{
			EndlessRejection, "RFC 9110 section 17.5: what is discarded is read within a bound",
			"a rejection whose body gives a megabyte and then nothing, without an end", (*probe).endlessRejection,
		},
		{
			ResponseXorError, roundTripper + `"must return err == nil if it obtained a response", "a non-nil err should be reserved for failure to obtain a response"`,
			"looking at both results after success, rejection, server error, and errors of the base and of its own", (*probe).responseXorError,
		},
		{
			AnyStatus, roundTripper + `"RoundTrip should not attempt to interpret the response"; "must return err == nil if it obtained a response, regardless of the response's HTTP status code"`,
			"comparing status, fields and body of what is returned with what the base gave", (*probe).anyStatus,
		},
		{
			ResponseRequest, response + `Request "is the request that was sent to obtain this Response": the caller knows its own, and a copy shows the credential`,
			"comparing resp.Request with the request given", (*probe).responseRequest,
		},
		{
			Upgrade, response + `"As of Go 1.12, the Body will also implement io.Writer on a successful 101 Switching Protocols response"`,
			"a base that answers 101 with a Body that can be written to", (*probe).upgrade,
		},
		{
			Trailers, request + `Trailer: "While Body is being read, the client may set values of existing keys"; the same of net/http.Response`,
			"setting the request's trailer at the end of its body, and the response's at the end of its", (*probe).trailers,
		},
		{
			StreamedResponse, response + `"The response body is streamed on demand as the Body field is read"`,
			"reading the first half of a response whose second half waits for that", (*probe).streamedResponse,
		},
		{
			StreamedRequest, roundTripper + "the response may come before the body has been read; RFC 9113 section 8.1",
			"a request whose second half is written when the response has come", (*probe).streamedRequest,
		},
		{
			HTTP2, "RFC 9113; net/http.Transport speaks it",
			"20 requests with bodies at once to a server over TLS that speaks HTTP/2 only", (*probe).http2,
		},
		{
			ExpectContinue, "RFC 9110 section 10.1.1; net/http.Transport.ExpectContinueTimeout",
			"a server over HTTP/1.1 that rejects once without asking for the body, then asks for it", (*probe).expectContinue,
		},
		{
			ContextBefore, request + `"the context controls the entire lifetime of a request and its response"`,
			"sending with a context that has been cancelled", (*probe).contextBefore,
		},
		{
			ContextDuring, request + `"the context controls the entire lifetime of a request and its response"`,
			"cancelling the context while the base waits for that", (*probe).contextDuring,
		},
		{
			ContextAfter, request + `"the context controls the entire lifetime of a request and its response: obtaining a connection, sending the request, and reading the response headers and body"`,
			"reading half of the response's body after RoundTrip, cancelling, and reading on", (*probe).contextAfter,
		},
		{
			ContextValues, "net/http/httptrace: the hooks are in the request's context",
			"looking for a value in the context of each attempt, after a rejection", (*probe).contextValues,
		},
		{
			ClientTimeout, `net/http.Client.Timeout: "the returned error's Timeout method will return true"; net/http.Request.Cancel`,
			"an http.Client with a Timeout around a base that waits for it, and a request with a Cancel channel", (*probe).clientTimeout,
		},
		{
			CloseIdleConnections, `net/http.Client.CloseIdleConnections: "If Transport does not have a CloseIdleConnections method then this method does nothing"`,
			"calling that of an http.Client, and counting at the base", (*probe).closeIdleConnections,
		},
		{
			NilBase, "net/http.Client.Transport, where nil means DefaultTransport",
			"a request through the decorator around nil to a server on 127.0.0.1", (*probe).nilBase,
		},
		{
			ConcurrentUse, roundTripper + `"must be safe for concurrent use by multiple goroutines"`,
			"50 requests with paths of their own at once, of which the first Authorization seen is rejected", (*probe).concurrentUse,
		},
		{
			PanicInBase, "net/http.Server, which recovers the panics of its handlers and goes on",
			"a request after one in which the base panicked", (*probe).panicInBase,
		},
		{
			Redirects, "RFC 9110 sections 11.5 and 17.16.3, a credential belongs to its protection space; section 15.4 on redirects",
			"an http.Client that follows redirects to other hosts, ports, schemes and subdomains, and back", (*probe).redirects,
		},
		{
			PlainHTTP, "RFC 6750 section 5.3, RFC 7617 section 4",
			"sending a request for the same host by http", (*probe).plainHTTP,
		},
		{
			SecretInErrors, "RFC 9110 section 17.16.1, confidentiality of credentials: errors are logged",
			"looking for the credential in the texts of errors of the base, the context, http.Client, and its own", (*probe).secretInErrors,
		},
		{
			SecretInPrinting, "RFC 9110 section 17.16.1, confidentiality of credentials: what is printed or logged in passing",
			"looking for the credential in what %v, %+v, %#v, %s, JSON and slog print", (*probe).secretInPrinting,
		},
	}
}
