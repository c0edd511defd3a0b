package transport

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"
)

// A rejection is what is remembered of a response that did not accept token.
type rejection struct {
	token      *oauth2.Token
	status     int
	challenges []string
}

func newRejection(token *oauth2.Token, resp *http.Response) *rejection {
	r := &rejection{token: token, status: resp.StatusCode}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		r.challenges = append(r.challenges, redact(challenge, token))
	}
	return r
}

// redact takes the token from what a server says, which may repeat what it was
// sent.
func redact(s string, token *oauth2.Token) string {
	return strings.ReplaceAll(s, token.AccessToken, "[redacted]")
}

func (r *rejection) failed(err error) error {
	return &RenewalError{StatusCode: r.status, Challenges: r.challenges, Err: err}
}

// maxOwed bounds what is remembered. A Source may have a token for each of many
// users, and one that nobody asks for again is never crossed out.
const maxOwed = 16

// owed lists the rejections that no request has answered yet by a renewal,
// because those that met them could not be sent again. Reading it takes no lock.
type owed struct {
	list atomic.Pointer[[]*rejection]
}

// of returns the rejection of token, nil if there is none.
func (o *owed) of(token *oauth2.Token) *rejection {
	if list := o.list.Load(); list != nil {
		for _, r := range *list {
			if r.token == token {
				return r
			}
		}
	}
	return nil
}

func (o *owed) add(r *rejection) {
	o.update(func(list []*rejection) []*rejection {
		list = append(slices.DeleteFunc(list, func(have *rejection) bool { return have.token == r.token }), r)
		return list[max(0, len(list)-maxOwed):]
	})
}

func (o *owed) remove(r *rejection) {
	o.update(func(list []*rejection) []*rejection {
		return slices.DeleteFunc(list, func(have *rejection) bool { return have == r })
	})
}

// update replaces the list by what f makes of a copy.
func (o *owed) update(f func([]*rejection) []*rejection) {
	for {
		old := o.list.Load()
		var list []*rejection
		if old != nil {
			list = slices.Clone(*old)
		}
		var next *[]*rejection
		if list = f(list); len(list) > 0 {
			next = &list
		}
		if o.list.CompareAndSwap(old, next) {
			return
		}
	}
}
