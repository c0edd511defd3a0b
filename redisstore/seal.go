package redisstore

import (
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealed is the first byte of what is sealed, which no JSON begins with. A nonce and the
// ciphertext follow.
const sealed = 1

var (
	errNotSealed = errors.New("it is not sealed; save it anew")
	errNoKey     = errors.New("it is sealed, and Seal has no key")
	errWrongKey  = errors.New("no key of Seal unseals it")
)

// seal encrypts text by the first of keys, if there is any, for name.
func seal(keys [][]byte, name string, text []byte) ([]byte, error) {
	if len(keys) == 0 {
		return text, nil
	}
	aead, err := chacha20poly1305.NewX(keys[0])
	if err != nil {
		return nil, badKey(0, keys[0])
	}
	box := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(text)+aead.Overhead())
	box[0] = sealed
	_, _ = rand.Read(box[1:]) // never fails
	return aead.Seal(box, box[1:], text, []byte(name)), nil
}

// unseal is for what seal returned, with the same key anywhere in keys.
func unseal(keys [][]byte, name string, box []byte) ([]byte, error) {
	isSealed := len(box) > 0 && box[0] == sealed
	switch {
	case len(keys) == 0 && isSealed:
		return nil, errNoKey
	case len(keys) == 0:
		return box, nil
	case !isSealed || len(box) < 1+chacha20poly1305.NonceSizeX:
		return nil, errNotSealed
	}
	nonce, ciphertext := box[1:1+chacha20poly1305.NonceSizeX], box[1+chacha20poly1305.NonceSizeX:]
	for i, key := range keys {
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, badKey(i, key)
		}
		if text, err := aead.Open(nil, nonce, ciphertext, []byte(name)); err == nil {
			return text, nil
		}
	}
	return nil, errWrongKey
}

func badKey(i int, key []byte) error {
	return fmt.Errorf("key %d of Seal has %d bytes, want %d", i+1, len(key), chacha20poly1305.KeySize)
}
