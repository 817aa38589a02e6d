// Package forgetest stands in for Atlassian Forge: it signs invocation tokens and serves the keys to verify them with.
//
//	issuer, err := forgetest.New()
//	defer issuer.Close()
//	verifier, err := forge.NewVerifier(ctx, forge.Config{AppIDs: []string{forgetest.AppID}, JWKSURL: issuer.URL})
//	invocation, err := verifier.Verify(ctx, issuer.Token())
//	forged := issuer.Token(forgetest.WithForeignKey())
//
// The embedded server takes faults, so that the keys can't be read: OnRequest with a Status, Hang or HTML.
package forgetest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"sync"

	"mergegate/internal/standin"
)

// Fault is how a request for the keys is answered instead of properly.
type Fault = standin.Fault

const keyBits = 2048

// foreignKey is a key that is in no issuer's set.
var foreignKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) })

// Issuer is a running stand-in. Its methods are safe for concurrent use.
type Issuer struct {
	*standin.Server // URL, at any path of which the keys are; Close, OnRequest, Requests

	mu   sync.Mutex
	made int
	keys []key // the last one signs
	raw  []any
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

// New starts an issuer with one key.
func New() (*Issuer, error) {
	i := &Issuer{}
	if _, err := i.AddKey(keyBits); err != nil {
		return nil, err
	}
	var err error
	if i.Server, err = standin.Start(http.HandlerFunc(i.serveKeys)); err != nil {
		return nil, fmt.Errorf("start the stand-in for Forge: %w", err)
	}
	return i, nil
}

// AddKey adds a key of so many bits (Atlassian's have 2048) to the set, with which tokens are signed from now on, and
// answers its id.
func (i *Issuer) AddKey(bits int) (string, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	id := fmt.Sprintf("key-%d", i.made)
	i.keys = append(i.keys, key{id: id, private: private})
	return id, nil
}

// RemoveKey takes a key out of the set. The last one that is left can't be: tokens could not be signed.
func (i *Issuer) RemoveKey(id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(i.keys), func(k key) bool { return k.id == id })
	if len(left) == 0 {
		return errors.New("the only key can't be removed")
	}
	i.keys = left
	return nil
}

// Rotate replaces all keys with a new one and answers its id.
func (i *Issuer) Rotate() (string, error) {
	id, err := i.AddKey(keyBits)
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
	return id, nil
}

// AddJWK adds anything to the set, such as a key of another kind.
func (i *Issuer) AddJWK(jwk any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.raw = append(i.raw, jwk)
}

func (i *Issuer) signingKey() key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	set := slices.Clone(i.raw)
	for _, k := range i.keys {
		set = append(set, k.public())
	}
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": set})
}

func (k key) public() any {
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
		"n": encode(k.private.N.Bytes()),
		"e": encode(big.NewInt(int64(k.private.E)).Bytes()),
	}
}
