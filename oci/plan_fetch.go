package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Cache keeps what was learned for a plan, so that a registry which counts requests is asked once. It is used by many
// goroutines at a time.
type Cache interface {
	// Manifest returns the content of d: of a manifest or of an image config, up to MaxManifestSize. What comes is
	// proved by the caller. Errors: ErrNotFound; ErrCorrupt means the same.
	Manifest(ctx context.Context, d Descriptor) ([]byte, error)
	// PutManifest keeps raw, which is the content of d.
	PutManifest(ctx context.Context, d Descriptor, raw []byte) error
	// Resolved returns what ref meant when PutResolved was called for it.
	Resolved(ref Reference) (Descriptor, bool)
	// PutResolved keeps what ref means. Everything below d that the plan needs has been put by then, unless the plan is
	// shallow.
	PutResolved(ref Reference, d Descriptor) error
}

// cacheError is an error of a Cache that may keep anything from being kept, such as a full disk. It ends the plan.
type cacheError struct{ err error }

func (e *cacheError) Error() string { return e.err.Error() }
func (e *cacheError) Unwrap() error { return e.err }

// fetcher reads manifests and configs through a cache, each digest once.
type fetcher struct {
	src   Source
	cache Cache
	slots chan struct{} // one for each request that may be under way
	busy  digestLocks
}

func newFetcher(src Source, cache Cache, parallel int) *fetcher {
	if cache == nil {
		cache = NewMemoryCache()
	}
	return &fetcher{src: src, cache: cache, slots: make(chan struct{}, parallel)}
}

// fetch returns the content of d, proved. The caller has checked that its size can be held.
func (f *fetcher) fetch(ctx context.Context, repo Repository, d Descriptor) ([]byte, error) {
	unlock, err := f.busy.lock(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	defer unlock()
	raw, err := f.cache.Manifest(ctx, d)
	switch {
	case err == nil && CheckBytes(d, raw) == nil:
		return raw, nil
	case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt):
		return nil, &cacheError{fmt.Errorf("manifest %s: %w", d.Digest, err)}
	}
	err = f.request(ctx, func() error {
		raw, err = f.read(ctx, repo, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return raw, f.put(ctx, d, raw)
}

func (f *fetcher) read(ctx context.Context, repo Repository, d Descriptor) (raw []byte, err error) {
	r, err := f.src.Open(ctx, repo, d, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	raw, err = io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	return raw, CheckBytes(d, raw)
}

func (f *fetcher) put(ctx context.Context, d Descriptor, raw []byte) error {
	if err := f.cache.PutManifest(ctx, d, raw); err != nil {
		return &cacheError{fmt.Errorf("manifest %s: %w", d.Digest, err)}
	}
	return nil
}

// request calls do when there is a free slot.
func (f *fetcher) request(ctx context.Context, do func() error) error {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// digestLocks has a lock for each digest.
type digestLocks struct {
	mu   sync.Mutex
	held map[digest.Digest]chan struct{} // closed when the lock is free again
}

func (l *digestLocks) lock(ctx context.Context, d digest.Digest) (unlock func(), err error) {
	for {
		free, ok := l.tryLock(d)
		if ok {
			return func() { l.unlock(d) }, nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *digestLocks) tryLock(d digest.Digest) (free <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if free, held := l.held[d]; held {
		return free, false
	}
	if l.held == nil {
		l.held = map[digest.Digest]chan struct{}{}
	}
	l.held[d] = make(chan struct{})
	return nil, true
}

func (l *digestLocks) unlock(d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[d])
	delete(l.held, d)
}

// NewMemoryCache returns a cache in memory, which several plans can share.
func NewMemoryCache() Cache { return &memoryCache{} }

type memoryCache struct {
	blobs sync.Map // digest.Digest to []byte
	refs  sync.Map // Reference to Descriptor
}

func (c *memoryCache) Manifest(_ context.Context, d Descriptor) ([]byte, error) {
	raw, ok := c.blobs.Load(d.Digest)
	if !ok {
		return nil, ErrNotFound
	}
	return raw.([]byte), nil
}

func (c *memoryCache) PutManifest(_ context.Context, d Descriptor, raw []byte) error {
	c.blobs.Store(d.Digest, raw)
	return nil
}

func (c *memoryCache) Resolved(ref Reference) (Descriptor, bool) {
	d, ok := c.refs.Load(ref)
	if !ok {
		return Descriptor{}, false
	}
	return d.(Descriptor), true
}

func (c *memoryCache) PutResolved(ref Reference, d Descriptor) error {
	c.refs.Store(ref, d)
	return nil
}
