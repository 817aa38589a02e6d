package policy

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"mergegate/internal/mergecheck"
)

// maxCached is how many workspaces' documents are kept.
const maxCached = 128

// Cache keeps documents that were read, so that a merge check reads one only when
// its workspace's policy has changed. The zero value is ready. It is safe for
// concurrent use.
type Cache struct {
	mu         sync.Mutex
	workspaces map[string]cached
}

// cached is a workspace's document, known by what it says: after a failover that
// lost a version, another document can have the same number.
type cached struct {
	sum      [sha256.Size]byte // of the document's text
	document *Document
	err      error
}

// For is the policy of a repository and branch by a workspace's document. Version
// 0 stands for none, which is the defaults. A document that can't be read is an
// error, and never a policy: the question then has no answer that passes.
func (c *Cache) For(workspaceUUID string, version int64, document, repository, branch string) (mergecheck.Policy, error) {
	if version == 0 {
		return mergecheck.Policy{}, nil
	}
	entry := c.read(workspaceUUID, document)
	if entry.err != nil {
		return mergecheck.Policy{}, fmt.Errorf("policy version %d can't be read: %w", version, entry.err)
	}
	p := entry.document.For(repository, branch)
	p.Version = version
	return p, nil
}

// read reads outside the lock: others need not wait for a large document, and one
// that is read twice at once is the same twice.
func (c *Cache) read(workspaceUUID, document string) cached {
	sum := sha256.Sum256([]byte(document))
	c.mu.Lock()
	entry, ok := c.workspaces[workspaceUUID]
	c.mu.Unlock()
	if ok && entry.sum == sum {
		return entry
	}
	entry = cached{sum: sum}
	entry.document, entry.err = Parse([]byte(document))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workspaces == nil {
		c.workspaces = map[string]cached{}
	}
	if _, ok := c.workspaces[workspaceUUID]; !ok && len(c.workspaces) >= maxCached {
		for other := range c.workspaces {
			delete(c.workspaces, other)
			break
		}
	}
	c.workspaces[workspaceUUID] = entry
	return entry
}
