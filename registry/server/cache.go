package server

import (
	"container/list"
	"sync"

	"github.com/opencontainers/go-digest"
)

// manifestCache keeps manifests that were proven, those that were wanted last, up to a number of bytes.
type manifestCache struct {
	limit int64

	mu    sync.Mutex
	size  int64
	order *list.List // of cached, the last wanted first
	at    map[digest.Digest]*list.Element
}

type cached struct {
	digest digest.Digest
	raw    []byte
}

func newManifestCache(limit int64) *manifestCache {
	return &manifestCache{limit: limit, order: list.New(), at: map[digest.Digest]*list.Element{}}
}

func (c *manifestCache) get(d digest.Digest) (raw []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.at[d]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached).raw, true
}

func (c *manifestCache) put(d digest.Digest, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.at[d]; ok {
		return
	}
	c.at[d] = c.order.PushFront(cached{d, raw})
	c.size += int64(len(raw))
	for c.size > c.limit {
		last := c.order.Remove(c.order.Back()).(cached)
		delete(c.at, last.digest)
		c.size -= int64(len(last.raw))
	}
}
