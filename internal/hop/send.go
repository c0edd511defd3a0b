package hop

import (
	"errors"
	"io"
	"net/http"
	"time"
)

var errNoResult = errors.New("authtrip: Base returned neither a response nor an error")

// Base returns what a decorator sends by: nil means http.DefaultTransport at
// the time of the call.
func Base(base http.RoundTripper) http.RoundTripper {
	if base != nil {
		return base
	}
	return http.DefaultTransport
}

// CloseIdle closes the idle connections of base.
func CloseIdle(base http.RoundTripper) {
	if c, ok := Base(base).(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Send makes one attempt on behalf of the caller's request. Whatever base
// does, the result is a response or an error, and the response names the
// caller's request: that keeps the redirect chain walkable.
func Send(base http.RoundTripper, attempt, caller *http.Request) (*http.Response, error) {
	resp, err := Base(base).RoundTrip(attempt)
	switch {
	case err != nil:
		if resp != nil {
			CloseResponse(resp)
		}
		return nil, err
	case resp == nil:
		return nil, errNoResult
	}
	resp.Request = caller
	return resp, nil
}

// CloseResponse closes resp's body.
func CloseResponse(resp *http.Response) {
	if resp.Body != nil {
		resp.Body.Close()
	}
}

const (
	// maxDiscard is how much of a body is read so that its connection can be
	// used again; reading more costs more than a new connection.
	maxDiscard = 64 << 10
	// maxUnread is how much of a request's body a server is trusted to have
	// read when it has answered. A length that is not known, -1, is more.
	maxUnread = 32 << 10
	// maxDiscardTime is how long that may take.
	maxDiscardTime = time.Second
)

// Discard drops the response to req, which the caller does not get to see. If
// req had a long body the server may not have read it, and servers exist that
// never do: a connection that is used again after that hangs. So it is not.
func Discard(req *http.Request, resp *http.Response) {
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	if HasBody(req) && uint64(req.ContentLength) > maxUnread {
		resp.Body.Close()
		return
	}
	late := time.AfterFunc(maxDiscardTime, func() { resp.Body.Close() })
	_, _ = io.CopyN(io.Discard, resp.Body, maxDiscard)
	if late.Stop() {
		resp.Body.Close()
	}
}
