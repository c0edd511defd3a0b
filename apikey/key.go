package apikey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// ErrNoKey is what a [Key] returns that has not been set.
var ErrNoKey = errors.New("apikey: there is no key yet")

// A Key holds an API key that may be replaced at any time. Its method Get serves
// as a [Transport]'s Source. The zero value has no key. A Key prints as its name
// alone. It must not be copied; it is safe for concurrent use by multiple
// goroutines.
type Key struct {
	key atomic.Pointer[string]
}

// Set replaces the key. Requests that begin afterwards have the new one. An
// empty key takes the key away.
func (k *Key) Set(key string) { k.key.Store(&key) }

// Get returns the key, or ErrNoKey.
func (k *Key) Get(context.Context) (string, error) {
	if key := k.key.Load(); key != nil && *key != "" {
		return *key, nil
	}
	return "", ErrNoKey
}

// Format implements [fmt.Formatter], for every verb without the key.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, "apikey.Key") }

// MarshalText implements [encoding.TextMarshaler], without the key.
func (k *Key) MarshalText() ([]byte, error) { return []byte("apikey.Key"), nil }
