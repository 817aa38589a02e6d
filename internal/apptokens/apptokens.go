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
	"errors"
	"log/slog"
	"sync"
	"time"

	"mergegate/internal/bitbucket"
	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
)

const (
	// askAgain is how long a workspace without a token isn't looked up again.
	askAgain = 15 * time.Second
	// storeTimeout bounds what the store may take of a merge check's time.
	storeTimeout = 500 * time.Millisecond
)

// Tokens keeps tokens. It is safe for concurrent use.
type Tokens struct {
	memory bitbucket.SystemTokens
	store  *postgres.Store
	box    sealed.Box // without a key nothing is stored
	log    *slog.Logger

	mu      sync.Mutex
	missed  map[string]time.Time
	doubted map[string]string // tokens that their workspace refused once
}

// New returns tokens that are stored under the first of keys, each of
// [sealed.KeySize] bytes, and read under any. Without keys they are never stored.
func New(store *postgres.Store, keys [][]byte, log *slog.Logger) (*Tokens, error) {
	box, err := sealed.New(keys)
	if err != nil {
		return nil, err
	}
	return &Tokens{store: store, box: box, log: log, missed: map[string]time.Time{}, doubted: map[string]string{}}, nil
}

// Keep notes a token that Forge sent along. It is stored when it is good for
// noticeably longer than the one before: one comes with every call. Where there was
// none that works, the commit statuses that Bitbucket refused meanwhile are retried.
func (t *Tokens) Keep(ctx context.Context, workspaceUUID, token string) {
	if token == "" {
		return
	}
	before := t.Token(ctx, workspaceUUID)
	expires, newer := t.memory.Keep(workspaceUUID, token)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if newer && t.box.Usable() {
		if err := t.store.SaveAppToken(ctx, workspaceUUID, t.box.Seal(workspaceUUID, []byte(token)), expires); err != nil {
			t.log.WarnContext(ctx, "storing the app system token failed", "workspace", workspaceUUID, "error", err)
		}
	}
	if before == token || !t.wasMissing(workspaceUUID, before) {
		return
	}
	_, err := t.store.RetryRefused(ctx, postgres.CredentialArrives, postgres.Refused{WorkspaceUUID: workspaceUUID})
	if err != nil {
		t.log.WarnContext(ctx, "scheduling commit status retries failed", "workspace", workspaceUUID, "error", err)
	}
}

// wasMissing reports whether there was no token, or one that its workspace refused.
func (t *Tokens) wasMissing(workspaceUUID, before string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	doubted, ok := t.doubted[workspaceUUID]
	delete(t.doubted, workspaceUUID)
	delete(t.missed, workspaceUUID)
	return before == "" || ok && doubted == before
}

// Token returns the workspace's token, or "" when there is none that is valid.
func (t *Tokens) Token(ctx context.Context, workspaceUUID string) string {
	if token := t.memory.Token(workspaceUUID); token != "" || !t.box.Usable() || t.missedLately(workspaceUUID) {
		return token
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kept, err := t.store.AppToken(ctx, workspaceUUID)
	if err == nil {
		var token []byte
		if token, err = t.box.Open(workspaceUUID, kept); err == nil {
			t.memory.Keep(workspaceUUID, string(token))
			return string(token)
		}
	}
	if !errors.Is(err, postgres.ErrNotFound) {
		t.log.WarnContext(ctx, "reading the app system token failed", "workspace", workspaceUUID, "error", err)
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
	if !t.box.Usable() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := t.store.DeleteAppToken(ctx, workspaceUUID, nil); err != nil {
		t.log.WarnContext(ctx, "deleting the app system token failed", "workspace", workspaceUUID, "error", err)
	}
}

// Doubt is told a token that its workspace refused once. Where another replica has
// stored another one, that is the workspace's from now on.
func (t *Tokens) Doubt(ctx context.Context, workspaceUUID, token string) {
	t.mu.Lock()
	t.doubted[workspaceUUID] = token
	t.mu.Unlock()
	t.log.WarnContext(ctx, "Bitbucket rejected the app system token", "workspace", workspaceUUID)
	if stored, _ := t.stored(ctx, workspaceUUID); stored != "" && stored != token {
		t.memory.Keep(workspaceUUID, stored)
	}
}

// Reject forgets a token that its workspace refused twice. Where another replica
// has stored a newer one, that is the workspace's from now on.
func (t *Tokens) Reject(ctx context.Context, workspaceUUID, token string) {
	t.memory.Drop(workspaceUUID, token)
	t.log.WarnContext(ctx, "app system token dropped: Bitbucket rejected it twice", "workspace", workspaceUUID)
	stored, kept := t.stored(ctx, workspaceUUID)
	switch stored {
	case "": // none, or the one that is there is tried and rejected in its turn
	case token:
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := t.store.DeleteAppToken(ctx, workspaceUUID, kept); err != nil {
			t.log.WarnContext(ctx, "deleting the app system token failed", "workspace", workspaceUUID, "error", err)
		}
	default:
		t.memory.Keep(workspaceUUID, stored)
	}
}

// stored returns the token that is stored, and as it is stored; "" where there is
// none that can be read.
func (t *Tokens) stored(ctx context.Context, workspaceUUID string) (token string, kept []byte) {
	if !t.box.Usable() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kept, err := t.store.AppToken(ctx, workspaceUUID)
	if err != nil {
		return "", nil
	}
	text, err := t.box.Open(workspaceUUID, kept)
	if err != nil {
		return "", nil
	}
	return string(text), kept
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
