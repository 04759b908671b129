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

// ReferrerCache is a [Cache] that keeps, too, what was found about a manifest.
type ReferrerCache interface {
	// Referrers returns what PutReferrers has kept for subject, a repository and a digest.
	Referrers(subject Reference) ([]FoundReferrer, bool)
	PutReferrers(subject Reference, list []FoundReferrer) error
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
	busy  locks[digest.Digest]
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

// locks has a lock for each key.
type locks[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{} // closed when the lock is free again
}

func (l *locks[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	for {
		free, ok := l.tryLock(key)
		if ok {
			return func() { l.unlock(key) }, nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *locks[K]) tryLock(key K) (free <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if free, held := l.held[key]; held {
		return free, false
	}
	if l.held == nil {
		l.held = map[K]chan struct{}{}
	}
	l.held[key] = make(chan struct{})
	return nil, true
}

func (l *locks[K]) unlock(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[key])
	delete(l.held, key)
}

// NewMemoryCache returns a cache in memory, which several plans can share.
func NewMemoryCache() Cache { return &memoryCache{} }

type memoryCache struct {
	blobs sync.Map // digest.Digest to []byte
	refs  sync.Map // Reference to Descriptor
	found sync.Map // Reference with a digest to []FoundReferrer
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

func (c *memoryCache) Referrers(subject Reference) ([]FoundReferrer, bool) {
	list, ok := c.found.Load(subject)
	if !ok {
		return nil, false
	}
	return list.([]FoundReferrer), true
}

func (c *memoryCache) PutReferrers(subject Reference, list []FoundReferrer) error {
	c.found.Store(subject, list)
	return nil
}
