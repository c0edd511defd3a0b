package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxHeld is how much of a rejection's body is kept while the token is
	// renewed, so that it can be returned if the renewal brings nothing.
	maxHeld = 64 << 10

	// maxHold is how long a longer or slower body may keep its connection. With
	// MaxConnsPerHost the renewal, or the second attempt, may be waiting for it.
	maxHold = time.Second
)

var errGivenUp = errors.New("transport: the rest of the rejection's body was given up so that its connection could serve the renewal")

// A held is a rejection set aside during a renewal. In the end it is either
// restored or discarded.
type held struct {
	resp *http.Response
	kept []byte
	err  error       // what reading met after kept; nil if there is more to read
	hold *time.Timer // closes what there is more to read
}

// hold reads what it may of resp's body, and closes it if that was all.
func hold(resp *http.Response) *held {
	h := &held{resp: resp}
	if resp.Body == nil || resp.Body == http.NoBody {
		h.err = io.EOF
		return h
	}
	body := resp.Body
	h.hold = time.AfterFunc(maxHold, func() { body.Close() })
	var kept bytes.Buffer
	_, h.err = io.CopyN(&kept, body, maxHeld+1)
	h.kept = kept.Bytes()
	if h.err == nil {
		return h // for there is more
	}
	// invariant: the body of a rejection is closed
	if h.release() {
		body.Close()
	} else {
		h.err = errGivenUp // even if it looked like the end
	}
	return h
}

// release ends the hold. It reports whether the body is still open.
func (h *held) release() bool { return h.hold != nil && h.hold.Stop() }

// discard drops the rejection.
func (h *held) discard() {
	if h.err == nil && h.release() {
		h.resp.Body.Close()
	}
}

// restore returns the rejection as it came.
func (h *held) restore() *http.Response {
	if h.hold == nil {
		return h.resp
	}
	body := &restored{Closer: io.NopCloser(nil)}
	rest := io.Reader(failing{h.err})
	if h.err == nil {
		if h.release() {
			rest, body.Closer = h.resp.Body, h.resp.Body
		} else {
			rest = failing{errGivenUp}
		}
	}
	body.Reader = io.MultiReader(bytes.NewReader(h.kept), rest)
	h.resp.Body = body
	return h.resp
}

type restored struct {
	io.Reader
	io.Closer
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
