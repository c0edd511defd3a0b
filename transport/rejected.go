package transport

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
)

// maxPeek is how much of a body RejectedIf shows.
const maxPeek = 16 << 10

// RejectedIf returns a function for [Refresh.Rejected], for servers that do not
// say 401: it reports whether a response has one of the statuses and, if match
// is not nil, whether match accepts the beginning of its body.
//
//	transport.RejectedIf(nil, 401, 403, 419, 440)
//	transport.RejectedIf(func(body []byte) bool { return bytes.Contains(body, []byte(`"token_expired"`)) }, 200)
//
// match is given the body, or the first 16 KiB of a longer one, which it must not
// keep. The response keeps its whole body. Reading so much delays what streams a
// response of such a status. A text/event-stream, or what follows a 101, is not
// looked at, and so no rejection by its body.
func RejectedIf(match func(body []byte) bool, statuses ...int) func(*http.Response) bool {
	statuses = slices.Clone(statuses)
	return func(resp *http.Response) bool {
		if !slices.Contains(statuses, resp.StatusCode) {
			return false
		}
		return match == nil || !endless(resp) && match(peek(resp))
	}
}

func endless(resp *http.Response) bool {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media == "text/event-stream" || resp.StatusCode == http.StatusSwitchingProtocols
}

// peek returns the beginning of resp's body, which can be read whole after.
func peek(resp *http.Response) []byte {
	if resp.Body == nil || resp.Body == http.NoBody {
		return nil
	}
	body := resp.Body
	beginning, err := io.ReadAll(io.LimitReader(body, maxPeek))
	rest := io.Reader(body)
	if err != nil {
		rest = failing{err}
	}
	resp.Body = &restored{io.MultiReader(bytes.NewReader(beginning), rest), body}
	return beginning
}
