package registry

import (
	"maps"
	"sync"
	"time"
)

// counters are the Stats of a client while it works.
type counters struct {
	mu sync.Mutex
	s  Stats
}

// Stats returns what the client got over so far.
func (c *Client) Stats() Stats {
	c.stats.mu.Lock()
	defer c.stats.mu.Unlock()
	s := c.stats.s
	s.Waited = maps.Clone(s.Waited)
	return s
}

// count adds what an event tells.
func (c *counters) count(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Kind {
	case EventRetry, EventWaiting:
		c.s.Retries++
	case EventResumed:
		c.s.Resumed++
	}
}

// waited adds a pause that a host asked for. Requests that keep the same pause are one.
func (c *counters) waited(host string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.Waited == nil {
		c.s.Waited = map[string]time.Duration{}
	}
	c.s.Waited[host] += d
}

// twice adds bytes that move again.
func (c *counters) twice(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Twice += n
}
