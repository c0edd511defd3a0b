package tokensource

import (
	"context"
	"errors"
)

// A Store keeps one [Record] of a [Session] where it outlives the process. To the Store
// a record is opaque: at most 1 MiB of text, which it returns as it was saved.
//
// A Session calls these methods one at a time, with a context bounded by its
// Timeout. They must return by the end of the context. None of them is called on the
// way to a token that is still good. A Session loads right before each Save.
type Store interface {
	// Load returns what Save last stored, in whichever process. Where there is nothing, it
	// returns no bytes and no error, or [ErrNoToken].
	Load(ctx context.Context) (record []byte, err error)
	// Save replaces what is stored. The record must not be modified. It must not be kept
	// where it can be printed.
	Save(ctx context.Context, record []byte) error
}

// A Locker is a [Store] shared by several processes. While one process holds the lock,
// it alone exchanges and saves. The others then find the new record, and exchange
// nothing. Load needs no lock.
type Locker interface {
	// Lock waits for the lock until ctx ends. Calls may overlap. unlock is called once.
	//
	// If the lock is held, and somebody has saved since the call began or since this Store
	// last loaded, Lock may return an error that wraps [ErrChanged]. The Session then
	// loads, and asks again for the lock if it still needs it. A crowd need not wait for
	// the lock one by one.
	Lock(ctx context.Context) (unlock func(), err error)
}

// ErrChanged says that a [Locker] has not waited for the lock until the end, because the
// record has changed.
var ErrChanged = errors.New("tokensource: the record has changed")
