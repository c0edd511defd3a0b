// Package carry lets a Source of transport.Refresh put its credential
// elsewhere than into the Authorization field, so that what is renewed and sent
// again like a bearer token need not be one.
package carry

import (
	"github.com/authtrip/authtrip/internal/hop"
	"golang.org/x/oauth2"
)

// A Carrier is a Source that does.
type Carrier interface {
	// Carry returns what the attempt is to send, with the credential on it.
	Carry(Attempt) hop.Leg
}

// An Attempt is one of at most two to send a request.
type Attempt struct {
	hop.Leg // the caller's, or one like it whose body can be had again
	Token   *oauth2.Token
	Again   bool // it is the second
}
