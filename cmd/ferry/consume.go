package main

import (
	"context"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// A pack that consumes its store (--consume) needs the disk of its bundle and little more: a blob leaves the store when it
// is in the output. Two rules make that so.
//
// A blob is dropped when all of its bytes have been written to the output and the output has been synced since, so that
// an error of its disk, which often shows only then, comes while the store still has what it had. Manifests stay: they
// are small, and registries count how often they are fetched. What is dropped is in the journal before.
//
// Fetching keeps within a window ahead of the sealer: a blob is not begun before it lies, in the order of the bundle, less
// than the window behind the first blob that has not been dropped. So the store holds no more than the window and
// one blob, also when the output is slower than the network.
//
// Nothing but the store and the journal is needed to go on after a run that ended at any moment: a bundle is written
// from its first byte by each run, from blobs that are in the store then, and what is not there is fetched. A run that
// does not end well has to fetch again what it dropped; the next one counts that by the journal, and says so.
type consumer struct {
	store   *oci.Store
	journal *oci.Journal
	output  syncer
	slots   int // pushes that can be under way at once
	sizes   consumeSizes

	mu      sync.Mutex
	wake    *sync.Cond
	places  map[digest.Digest]int64 // where each blob of the bundle begins, counted in bytes of blobs
	gone    map[digest.Digest]bool  // dropped by this very pass
	entered map[digest.Digest]bool  // whose push has begun
	waiting map[digest.Digest]bool  // whose push waits for room
	queue   []sealedBlob            // sealed and not dropped, in order
	sealed  int64                   // bytes of all blobs that are sealed
	dropped int64                   // bytes of those that are dropped, and of manifests before them
	wanted  digest.Digest           // what the sealer waits for; empty when it does not
	open    bool                    // no bundle is being written: nothing waits any more
}

// consumeSizes are in bytes.
type consumeSizes struct {
	window int64 // fetching is at most so far ahead of what is dropped
	step   int64 // the output is synced when so much waits to be dropped
	idle   int64 // and when so much does while the sealer has nothing to do
}

var defaultConsume = consumeSizes{window: 256 << 20, step: 64 << 20, idle: 1 << 20}

// sealedBlob is a blob that the bundle has, and where it ends in the tar.
type sealedBlob struct {
	oci.Descriptor
	end int64
}

func newConsumer(store *oci.Store, journal *oci.Journal, output syncer, slots int, sizes consumeSizes) *consumer {
	c := &consumer{
		store: store, journal: journal, output: output, slots: slots, sizes: sizes,
		gone: map[digest.Digest]bool{}, entered: map[digest.Digest]bool{}, waiting: map[digest.Digest]bool{},
	}
	c.wake = sync.NewCond(&c.mu)
	return c
}

// syncer is the output, as far as the consumer needs it.
type syncer interface{ Sync() error }

// tarWriter is the bundle that is written, as far as the consumer needs it: how much of the tar it was given, and how much
// of that is written to the output.
type tarWriter interface {
	Offset() int64
	Written() int64
}

// dropped returns how many blobs of the plan a run has dropped and the store lacks now, and their bytes.
func (p *packing) dropped(ctx context.Context) (n int, size int64) {
	if p.plan == nil {
		return 0, 0
	}
	_, configs, layers := oci.Blobs(p.plan.Roots()...)
	for _, d := range slices.Concat(configs, layers) {
		if !p.journal.Dropped(d) || p.held[d.Digest] {
			continue
		}
		// A blob of which it cannot be said counts as there: this is for a message.
		if has, err := p.store.Has(ctx, oci.Repository{}, d); err == nil && !has {
			n++
			size += d.Size
		}
	}
	return n, size
}

// hold is told which blobs the output has that an earlier run has written: nobody is to fetch them.
func (c *consumer) hold(blobs []oci.Descriptor) {
	for _, d := range blobs {
		if !oci.IsManifest(d.MediaType) {
			c.gone[d.Digest] = true
		}
	}
}

// begin is told which blobs the bundle has, in its order, and how many of the first ones the output has. Those are dropped.
func (c *consumer) begin(blobs []oci.Descriptor, held int) error {
	c.mu.Lock()
	at := int64(0)
	c.places = map[digest.Digest]int64{}
	for _, d := range blobs {
		c.places[d.Digest] = at
		at += d.Size
	}
	for _, d := range blobs[:held] {
		c.sealed += d.Size
	}
	c.wake.Broadcast()
	c.mu.Unlock()
	for _, d := range blobs[:held] {
		if err := c.dropBlob(d); err != nil {
			return err
		}
	}
	return nil
}

// end lets all pushes go: no blob will be sealed any more.
func (c *consumer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
	c.wake.Broadcast()
}

// consumedStore is a store whose blobs are consumed while they are pushed.
type consumedStore struct {
	*oci.Store
	c *consumer
}

// Has reports whether the blob is there, or was until it was in the bundle.
func (s *consumedStore) Has(ctx context.Context, repo oci.Repository, d oci.Descriptor) (bool, error) {
	if s.c.isGone(d) {
		return true, nil
	}
	return s.Store.Has(ctx, repo, d)
}

// Push stores the blob as soon as there is room for it.
func (s *consumedStore) Push(ctx context.Context, repo oci.Repository, d oci.Descriptor, content oci.Content) error {
	if !oci.IsManifest(d.MediaType) {
		if err := s.c.admit(ctx, d); err != nil {
			return err
		}
	}
	return s.Store.Push(ctx, repo, d, content)
}

func (c *consumer) isGone(d oci.Descriptor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[d.Digest]
}

// admit returns when there is room for the blob d.
func (c *consumer) admit(ctx context.Context, d oci.Descriptor) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entered[d.Digest], c.waiting[d.Digest] = true, true
	c.wake.Broadcast() // this may be the last one that did not wait
	for ctx.Err() == nil && !c.hasRoom(d) {
		c.wake.Wait()
	}
	delete(c.waiting, d.Digest)
	return ctx.Err()
}

// hasRoom reports whether the push of d may go on. The caller holds c.mu, as for all functions below that say so.
func (c *consumer) hasRoom(d oci.Descriptor) bool {
	switch {
	case c.open:
		return true
	case c.places == nil:
		return false
	}
	at, ok := c.places[d.Digest]
	return !ok || at <= max(c.dropped+c.sizes.window, c.sealed) || c.isStuck() && c.isFirst(at)
}

// isStuck reports whether every push that can be under way waits for room, while the sealer waits for a blob that none of
// them brings. The copy takes blobs in the order of the bundle, so that should not be; if it is, one may go, which costs
// disk and not the run. The caller holds c.mu.
func (c *consumer) isStuck() bool {
	return c.wanted != "" && !c.entered[c.wanted] && len(c.waiting) >= c.slots
}

// isFirst reports whether no push that waits has a place before at. The caller holds c.mu.
func (c *consumer) isFirst(at int64) bool {
	for d := range c.waiting {
		if c.places[d] < at {
			return false
		}
	}
	return true
}

// want is told that the sealer is going to wait for d.
func (c *consumer) want(w tarWriter, d oci.Descriptor) error {
	if err := c.drop(w, c.sizes.idle); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = d.Digest
	c.wake.Broadcast()
	return nil
}

// took is told that d has been sealed.
func (c *consumer) took(w tarWriter, d oci.Descriptor) error {
	c.mu.Lock()
	c.wanted = ""
	c.sealed += d.Size
	c.queue = append(c.queue, sealedBlob{d, w.Offset()})
	c.wake.Broadcast()
	c.mu.Unlock()
	return c.drop(w, c.sizes.step)
}

// drop drops what is in the output, if that is at least so many bytes. The queue is the sealer's alone.
func (c *consumer) drop(w tarWriter, atLeast int64) error {
	written := w.Written() // before the sync
	n, bytes := 0, int64(0)
	for n < len(c.queue) && c.queue[n].end <= written {
		bytes += c.queue[n].Size
		n++
	}
	if bytes < atLeast || n == 0 {
		return nil
	}
	if err := c.output.Sync(); err != nil {
		return err
	}
	for _, b := range c.queue[:n] {
		if err := c.dropBlob(b.Descriptor); err != nil {
			return err
		}
	}
	c.queue = c.queue[n:]
	return nil
}

func (c *consumer) dropBlob(d oci.Descriptor) error {
	if !oci.IsManifest(d.MediaType) {
		c.mu.Lock()
		c.gone[d.Digest] = true // before it is: nobody is to fetch it again
		c.mu.Unlock()
		if err := c.journal.Drop(d); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped += d.Size
	c.wake.Broadcast()
	return nil
}
