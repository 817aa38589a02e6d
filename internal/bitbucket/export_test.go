package bitbucket

import "time"

// SetClock has the client judge tokens by another clock.
func (c *Client) SetClock(now func() time.Time) { c.judges.now = now }
