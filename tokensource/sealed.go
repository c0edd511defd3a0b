package tokensource

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	sealPrefix = "authtrip-sealed:1:"
	sealInfo   = "authtrip record"
	keySize    = 32
	saltSize   = 24

	// maxSealed bounds what is sealed, so that the line is no longer than a record may be.
	maxSealed = maxRecord/4*3 - 1<<10
)

var errWrongKey = fmt.Errorf("%w: no key of Sealed unseals it", ErrUnreadable)

// Sealed returns a [Store] that encrypts and authenticates what store keeps. It is a
// [Locker] if store is.
//
//	store := tokensource.Sealed(&redisstore.Store{Client: client, Key: "billing"}, "billing", key)
//
// Each key has 32 bytes from a secure source, not a password. The first seals, all of them
// unseal. To change keys in a fleet, append the new key in each process, then put it
// first in each process, and drop the old key once the token has been saved again. Without
// keys, or with one of another length, each call returns an error.
//
// The name is authenticated with the record: whoever can write to the store cannot
// put the record of another name in its place. An older record of the same name can
// be put there.
//
// A record of up to 767 KiB becomes one line of ASCII, a third longer. It is encrypted by
// AES-256-GCM, under a key of its own by HKDF-SHA256 (RFC 5869) from 24 random bytes.
//
// The Store is safe for concurrent use by multiple goroutines if store is. It prints
// without its keys.
func Sealed(store Store, name string, keys ...[]byte) Store {
	// A closure, since fmt prints the fields of a struct, exported or not.
	kept := make([][]byte, len(keys))
	for i, key := range keys {
		kept[i] = slices.Clone(key)
	}
	s := &sealed{store, name, func() [][]byte { return kept }}
	if locker, ok := store.(Locker); ok {
		return &sealedLocker{s, locker}
	}
	return s
}

type sealed struct {
	store Store
	name  string
	keys  func() [][]byte
}

// A sealedLocker is another type, so that a sealed Store has Lock only if the Store
// beneath has it.
type sealedLocker struct {
	*sealed
	Locker
}

// Load unseals what the Store beneath holds.
func (s *sealed) Load(ctx context.Context) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	text, err := s.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0 || string(text) == "null":
		return nil, nil
	case !isSealed(text):
		return nil, fmt.Errorf("%w: it is not sealed: sign in again to seal it", ErrUnreadable)
	}
	box, err := base64.RawURLEncoding.AppendDecode(nil, text[len(sealPrefix):])
	if err != nil || len(box) < saltSize {
		return nil, fmt.Errorf("%w: what was sealed is cut off", ErrUnreadable)
	}
	salt, ciphertext := box[:saltSize], box[saltSize:]
	for _, key := range s.keys() {
		if text, err := s.aead(key, salt).Open(nil, make([]byte, 12), ciphertext, []byte(s.name)); err == nil {
			return text, nil
		}
	}
	return nil, errWrongKey
}

// Save seals record, and has the Store beneath save that.
func (s *sealed) Save(ctx context.Context, record []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	if len(record) > maxSealed {
		return fmt.Errorf("tokensource: the record is larger than %d KiB, and too large to be sealed", maxSealed>>10)
	}
	box := make([]byte, saltSize, saltSize+len(record)+16)
	_, _ = rand.Read(box) // never fails
	box = s.aead(s.keys()[0], box).Seal(box, make([]byte, 12), record, []byte(s.name))
	return s.store.Save(ctx, base64.RawURLEncoding.AppendEncode([]byte(sealPrefix), box))
}

func (s *sealed) check() error {
	switch keys := s.keys(); {
	case s.store == nil:
		return errors.New("tokensource: Sealed has a nil Store")
	case len(keys) == 0:
		return fmt.Errorf("tokensource: Sealed needs a key of %d bytes", keySize)
	default:
		for i, key := range keys {
			if len(key) != keySize {
				return fmt.Errorf("tokensource: key %d of Sealed has %d bytes, want %d", i+1, len(key), keySize)
			}
		}
		return nil
	}
}

// aead returns the cipher for one record. Its key is for that record alone, so that the
// nonce can be zero.
func (s *sealed) aead(key, salt []byte) cipher.AEAD {
	derived, err := hkdf.Key(sha256.New, key, salt, sealInfo, keySize)
	if err != nil {
		panic(err) // only if keySize were too large
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // only by a wrong keySize
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only by a wrong block size
	}
	return aead
}

func isSealed(text []byte) bool { return bytes.HasPrefix(text, []byte(sealPrefix)) }

// Format implements [fmt.Formatter], for every verb without keys.
func (s *sealed) Format(f fmt.State, _ rune) { io.WriteString(f, "tokensource.Sealed("+s.name+")") }

// Format implements [fmt.Formatter], for every verb without keys.
func (s *sealedLocker) Format(f fmt.State, verb rune) { s.sealed.Format(f, verb) }
