package policy

import (
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

// cached is a document of a workspace: versions never change.
type cached struct {
	version  int64
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
	entry := c.get(workspaceUUID, version)
	if entry == nil {
		entry = c.put(workspaceUUID, version, document)
	}
	if entry.err != nil {
		return mergecheck.Policy{}, entry.err
	}
	p := entry.document.For(repository, branch)
	p.Version = version
	return p, nil
}

func (c *Cache) get(workspaceUUID string, version int64) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry, ok := c.workspaces[workspaceUUID]; ok && entry.version == version {
		return &entry
	}
	return nil
}

// put reads outside the lock: others need not wait for a large document, and one
// that is read twice at once is the same twice.
func (c *Cache) put(workspaceUUID string, version int64, document string) *cached {
	entry := cached{version: version}
	var err error
	if entry.document, err = Parse([]byte(document)); err != nil {
		entry.err = fmt.Errorf("policy version %d can't be read: %w", version, err)
	}
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
	return &entry
}
