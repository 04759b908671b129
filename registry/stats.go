package registry

import (
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Reason is what made the client do something again.
type Reason int

const (
	// ReasonCut is a connection that broke off, or that there was none.
	ReasonCut Reason = iota
	// ReasonStalled is a transfer that stood still, see [Options.StallTimeout].
	ReasonStalled
	// ReasonTooMany is 429: too many requests, for the moment or for a quota.
	ReasonTooMany
	// ReasonServer is 408 and 5xx, an error of the server.
	ReasonServer
	// ReasonRefused is any other answer, such as that an upload is not known any more.
	ReasonRefused
)

// Stats is what a client got over since it was made, for the summary of a run.
type Stats struct {
	Retries int                      // requests that were sent again
	Resumed int                      // transfers, in either direction, that went on where they were cut
	Again   map[Reason]int           // requests that were sent again and downloads that went on, by reason; nil when there were none
	Waited  map[string]time.Duration // pauses that hosts asked for, by host[:port]; nil when there were none
	Twice   int64                    // bytes of blobs that were sent or received more than once
}

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
	s.Waited, s.Again = maps.Clone(s.Waited), maps.Clone(s.Again)
	return s
}

// count adds what an event tells.
func (c *counters) count(e Event) {
	switch e.Kind {
	case EventRetry, EventWaiting:
		c.again(e.Why)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.s.Retries++
	case EventResumed:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.s.Resumed++
	}
}

// again adds something that is done again because of why.
func (c *counters) again(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.Again == nil {
		c.s.Again = map[Reason]int{}
	}
	c.s.Again[reasonOf(why)]++
}

func reasonOf(err error) Reason {
	var status *Error
	switch {
	case errors.Is(err, errStalled):
		return ReasonStalled
	case !errors.As(err, &status):
		return ReasonCut
	case status.Status == http.StatusTooManyRequests:
		return ReasonTooMany
	case status.Status == http.StatusRequestTimeout, status.Status/100 == 5:
		return ReasonServer
	}
	return ReasonRefused
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
