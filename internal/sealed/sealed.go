// Package sealed encrypts what has to be kept but must not be readable in the
// database: the Forge app's tokens, and the secrets of outgoing webhooks.
//
//	box, err := sealed.New(keys)
//	kept := box.Seal(workspaceUUID, []byte(token))
//	token, err := box.Open(workspaceUUID, kept)
//
// What is sealed for one place opens for no other: a row that is copied elsewhere
// is worth nothing there.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// KeySize is how many bytes a key has: AES-256.
const KeySize = 32

// ErrNotOpened says that something was sealed with another key, or for another
// place.
var ErrNotOpened = errors.New("it was encrypted with another MERGEGATE_SECRET_KEY")

// Box seals with the first of its keys and opens with any. The zero value has no
// keys: it opens nothing.
type Box struct{ keys []cipher.AEAD }

// New returns a box of keys, each of [KeySize] bytes.
func New(keys [][]byte) (Box, error) {
	var b Box
	for _, key := range keys {
		if len(key) != KeySize {
			return Box{}, fmt.Errorf("a key has %d bytes, not %d", len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return Box{}, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return Box{}, err
		}
		b.keys = append(b.keys, aead)
	}
	return b, nil
}

// Usable reports whether there is a key to seal with.
func (b Box) Usable() bool { return len(b.keys) > 0 }

// Seal encrypts text for a place. It needs a key: see [Box.Usable].
func (b Box) Seal(place string, text []byte) []byte {
	nonce := make([]byte, b.keys[0].NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return b.keys[0].Seal(nonce, nonce, text, []byte(place))
}

// Open decrypts what was sealed for a place, or returns [ErrNotOpened].
func (b Box) Open(place string, sealed []byte) ([]byte, error) {
	for _, key := range b.keys {
		if len(sealed) < key.NonceSize() {
			break
		}
		nonce, text := sealed[:key.NonceSize()], sealed[key.NonceSize():]
		if opened, err := key.Open(nil, nonce, text, []byte(place)); err == nil {
			return opened, nil
		}
	}
	return nil, ErrNotOpened
}
