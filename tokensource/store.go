package tokensource

import (
	"context"

	"golang.org/x/oauth2"
)

// A Store keeps a [Session]'s token where it outlives the process. A Session
// calls its methods one at a time, with a context bounded by its Timeout, by
// whose end they must return, and never on the way to a token that is still
// good.
type Store interface {
	// Load returns what Save last stored, in whichever process. If there is
	// nothing, it returns ErrNoToken or neither a token nor an error.
	Load(ctx context.Context) (*oauth2.Token, error)
	// Save replaces what is stored. The token must not be modified, nor kept
	// where it can be printed.
	Save(ctx context.Context, token *oauth2.Token) error
	// Clear removes what is stored. There being nothing is no error.
	Clear(ctx context.Context) error
}

// A Locker is a [Store] that several processes share. While one of them holds
// the lock, it alone exchanges and saves; the others then find the new token and
// exchange nothing. Load needs no lock.
type Locker interface {
	// Lock waits for the lock until ctx ends. Calls may overlap. unlock is
	// called once.
	Lock(ctx context.Context) (unlock func(), err error)
}
