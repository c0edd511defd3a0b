package hop

import (
	"errors"
	"net/http"
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
