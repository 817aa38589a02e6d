// Package apptokens keeps the Forge app's system token of each workspace, with
// which pull requests are read and statuses posted where no other credential is.
//
// Forge sends one along with every call, valid for some hours. It is kept in
// memory, and where there is a secret key, encrypted in the store, so that every
// replica has it and a restart doesn't lose it:
//
//	tokens, err := apptokens.New(store, keys, log)
//	tokens.Keep(ctx, workspaceUUID, token)
//	client = client.AsApp(ctx, tokens, workspaceUUID)
package apptokens

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
)

const (
	// KeySize is how many bytes a secret key has: AES-256.
	KeySize = 32
	// askAgain is how long a workspace without a token isn't looked up again.
	askAgain = 15 * time.Second
	// storeTimeout bounds what the store may take of a merge check's time.
	storeTimeout = 500 * time.Millisecond
)

// Tokens keeps tokens. It is safe for concurrent use.
type Tokens struct {
	memory bitbucket.SystemTokens
	store  *postgres.Store
	keys   []cipher.AEAD // the first encrypts; none: nothing is stored
	log    *slog.Logger

	mu     sync.Mutex
	missed map[string]time.Time
}

// New returns tokens that are stored under the first of keys, each of KeySize
// bytes, and read under any. Without keys they are never stored.
func New(store *postgres.Store, keys [][]byte, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{store: store, log: log, missed: map[string]time.Time{}}
	for _, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("a key has %d bytes, not %d", len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		t.keys = append(t.keys, aead)
	}
	return t, nil
}

// Keep notes a token that Forge sent along. It is stored when it is good for
// noticeably longer than the one before: one comes with every call.
func (t *Tokens) Keep(ctx context.Context, workspaceUUID, token string) {
	expires, newer := t.memory.Keep(workspaceUUID, token)
	if !newer || len(t.keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := t.store.SaveAppToken(ctx, workspaceUUID, t.seal(workspaceUUID, token), expires); err != nil {
		t.log.WarnContext(ctx, "app system token not stored", "workspace", workspaceUUID, "error", err)
	}
}

// Token returns the workspace's token, or "" when there is none that is valid.
func (t *Tokens) Token(ctx context.Context, workspaceUUID string) string {
	if token := t.memory.Token(workspaceUUID); token != "" || len(t.keys) == 0 || t.missedLately(workspaceUUID) {
		return token
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sealed, err := t.store.AppToken(ctx, workspaceUUID)
	if err == nil {
		var token string
		if token, err = t.open(workspaceUUID, sealed); err == nil {
			t.memory.Keep(workspaceUUID, token)
			return token
		}
	}
	if !errors.Is(err, postgres.ErrNotFound) {
		t.log.WarnContext(ctx, "app system token not read", "workspace", workspaceUUID, "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed[workspaceUUID] = time.Now()
	return ""
}

// Drop forgets the workspace's token: the app is being uninstalled there. Other
// replicas find out when Bitbucket rejects it.
func (t *Tokens) Drop(ctx context.Context, workspaceUUID string) {
	t.memory.Drop(workspaceUUID, "")
	if len(t.keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := t.store.DeleteAppToken(ctx, workspaceUUID, nil); err != nil {
		t.log.WarnContext(ctx, "app system token not deleted", "workspace", workspaceUUID, "error", err)
	}
}

// Reject forgets a token that Bitbucket rejected. Where another replica has
// stored a newer one, that is the workspace's from now on.
func (t *Tokens) Reject(ctx context.Context, workspaceUUID, token string) {
	t.memory.Drop(workspaceUUID, token)
	t.log.WarnContext(ctx, "Bitbucket rejected the app system token", "workspace", workspaceUUID)
	if len(t.keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sealed, err := t.store.AppToken(ctx, workspaceUUID)
	if err != nil {
		return // none, or the one that is there is tried and rejected in its turn
	}
	stored, err := t.open(workspaceUUID, sealed)
	switch {
	case err != nil:
	case stored != token:
		t.memory.Keep(workspaceUUID, stored)
	default:
		if err := t.store.DeleteAppToken(ctx, workspaceUUID, sealed); err != nil {
			t.log.WarnContext(ctx, "app system token not deleted", "workspace", workspaceUUID, "error", err)
		}
	}
}

func (t *Tokens) missedLately(workspaceUUID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	on, ok := t.missed[workspaceUUID]
	if ok && time.Since(on) > askAgain {
		delete(t.missed, workspaceUUID)
		return false
	}
	return ok
}

// seal encrypts a token for one workspace: it opens as no other's.
func (t *Tokens) seal(workspaceUUID, token string) []byte {
	nonce := make([]byte, t.keys[0].NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return t.keys[0].Seal(nonce, nonce, []byte(token), []byte(workspaceUUID))
}

func (t *Tokens) open(workspaceUUID string, sealed []byte) (string, error) {
	for _, key := range t.keys {
		if len(sealed) < key.NonceSize() {
			break
		}
		nonce, text := sealed[:key.NonceSize()], sealed[key.NonceSize():]
		if token, err := key.Open(nil, nonce, text, []byte(workspaceUUID)); err == nil {
			return string(token), nil
		}
	}
	return "", errors.New("it was encrypted with another MERGEGATE_SECRET_KEY")
}
