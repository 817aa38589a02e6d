package standin

import (
	"context"
	"fmt"
	"sync"
)

// Changes lets others wait for a state to change. The zero Changes is ready to use.
type Changes struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next change
}

// Announce wakes everyone who waits.
func (c *Changes) Announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// Wait returns nil once reached is true, which is asked now and after every change, or an error when ctx ends first.
func (c *Changes) Wait(ctx context.Context, reached func() bool) error {
	for {
		changed := c.changed()
		if reached() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a change: %w", context.Cause(ctx))
		}
	}
}

func (c *Changes) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}
