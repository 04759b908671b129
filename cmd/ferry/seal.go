package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// errNotFetched ends a seal whose next blob will not come.
var errNotFetched = errors.New("not fetched")

// sealer writes a bundle from the store, blob after blob in the bundle's order, each as soon as it is there. So sealing
// overlaps with fetching, which follows the same order.
type sealer struct {
	std      *stdio
	store    *oci.Store
	output   *bundle.Output
	contents bundle.Contents
	options  compress.WriterOptions
	arrivals *arrivals
	prover   *prover                // of a compact bundle, else nil
	fits     func(size int64) error // whether the output can become so large; of a compact bundle
	afterAll bool                   // begin when all that can be fetched is there
	consumer *consumer              // drops what is sealed; nil keeps it
}

// sealError is content of the store that could not be sealed.
type sealError struct{ err error }

func (e *sealError) Error() string { return fmt.Sprintf("seal: %v", e.err) }
func (e *sealError) Unwrap() error { return e.err }

// run writes the whole bundle to the output, which it does not commit.
func (s *sealer) run(ctx context.Context) (*sealedBundle, error) {
	if s.consumer != nil {
		defer s.consumer.end()
	}
	if s.prover != nil {
		return s.runCompact(ctx)
	}
	if s.afterAll {
		if err := s.arrivals.waitEnd(ctx); err != nil {
			return nil, err
		}
	}
	w, err := s.output.Begin(ctx, s.contents, s.options)
	if err != nil {
		return nil, err
	}
	sayResumed(s.std, s.output)
	blobs := w.Blobs()
	if s.consumer != nil {
		err = s.consumer.begin(blobs, w.Resumed())
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	for _, d := range blobs[w.Resumed():] {
		if err := s.seal(ctx, w, d); err != nil {
			w.Abort()
			return nil, &sealError{err}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &sealedBundle{head: w.Head(), contentID: w.ContentID()}, nil
}

// seal writes one blob. A blob that an earlier run left in the store is hashed on its way; those of this run were
// hashed when they came.
func (s *sealer) seal(ctx context.Context, w *bundle.Writer, d oci.Descriptor) error {
	if err := s.await(ctx, w, d); err != nil {
		return err
	}
	if err := s.write(w, d); err != nil || s.consumer == nil {
		return err
	}
	return s.consumer.took(w, d)
}

// await returns when the store has d.
func (s *sealer) await(ctx context.Context, w *bundle.Writer, d oci.Descriptor) error {
	has, err := s.store.Has(ctx, oci.Repository{}, d)
	if has || err != nil {
		return err
	}
	if s.consumer != nil {
		if err := s.consumer.want(w, d); err != nil {
			return err
		}
	}
	return s.arrivals.wait(ctx, d)
}

func (s *sealer) write(w *bundle.Writer, d oci.Descriptor) error {
	f, err := s.store.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.WriteBlob(d, f, !s.store.Fresh(d))
}

// arrivals tells the sealer which blobs the store has got.
type arrivals struct {
	mu   sync.Mutex
	wake *sync.Cond
	have map[digest.Digest]bool
	over bool // nothing more will come
}

func newArrivals() *arrivals {
	a := &arrivals{have: map[digest.Digest]bool{}}
	a.wake = sync.NewCond(&a.mu)
	return a
}

// add says that the blob is in the store.
func (a *arrivals) add(d digest.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have[d] = true
	a.wake.Broadcast()
}

// end says that no blob will come any more.
func (a *arrivals) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.wake.Broadcast()
}

// wait returns nil as soon as d has been added, and errNotFetched when that will not be.
func (a *arrivals) wait(ctx context.Context, d oci.Descriptor) error {
	_, err := a.waitAny(ctx, []oci.Descriptor{d})
	return err
}

// waitAny returns the position of the first of the blobs that has been added, as soon as there is one, and errNotFetched when
// none will be.
func (a *arrivals) waitAny(ctx context.Context, blobs []oci.Descriptor) (at int, err error) {
	err = a.waitUntil(ctx, func() bool {
		at = slices.IndexFunc(blobs, func(d oci.Descriptor) bool { return a.have[d.Digest] })
		return at >= 0 || a.over
	})
	if err == nil && at < 0 {
		err = fmt.Errorf("blob %s: %w", blobs[0].Digest, errNotFetched)
	}
	return at, err
}

// waitEnd returns nil when no blob will come any more.
func (a *arrivals) waitEnd(ctx context.Context) error {
	return a.waitUntil(ctx, func() bool { return a.over })
}

// waitUntil returns nil as soon as done says so, which is called with a.mu held, unless ctx has ended.
func (a *arrivals) waitUntil(ctx context.Context, done func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.wake.Broadcast()
	})
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.wake.Wait()
	}
	return ctx.Err()
}
