package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// runCompact writes a compact bundle. Its head says how each layer is re-created, so it begins after the last proof, when
// all is in the store.
func (s *sealer) runCompact(ctx context.Context) (*sealedBundle, error) {
	if s.consumer != nil {
		s.consumer.end() // nothing is dropped while blobs still come, so that none need wait for room
	}
	if err := s.prover.run(ctx, s.arrivals); err != nil {
		return nil, err
	}
	if err := s.arrivals.waitEnd(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.contents.Compact, err = s.prover.contents(ctx); err != nil {
		return nil, err
	}
	spool, err := s.store.Spool("frames") // never beside the output, which is on the small disk
	if err != nil {
		return nil, err
	}
	s.options.Spool = compress.TempSpool(spool)
	w, err := s.output.Begin(ctx, s.contents, s.options)
	if err != nil {
		return nil, err
	}
	sayResumed(s.std, s.output)
	if s.options.Format == compress.None { // of which the size is known now, and may be a multiple of that of the blobs
		err = s.fits(w.Head().Size)
	}
	if err == nil {
		err = s.writeAll(ctx, w)
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return &sealedBundle{head: w.Head(), contentID: w.ContentID()}, nil
}

// writeAll writes all blobs and closes w, since what is wrong with a blob in a long frame may be known only then.
func (s *sealer) writeAll(ctx context.Context, w *bundle.Writer) error {
	defer s.limitHeap()()
	o := &opener{store: s.store, w: w, consumer: s.consumer, shown: map[digest.Digest]int64{}}
	if s.consumer != nil {
		s.consumer.queue = o.stored()
	}
	total := int64(0)
	for _, d := range w.Blobs()[w.Resumed():] {
		total += d.Size
	}
	o.progress = s.prover.std.progress("sealing", total)
	defer o.progress.end()
	if err := w.WriteAll(ctx, o.open); err != nil {
		return &sealError{err}
	}
	if err := w.Close(); err != nil {
		return &sealError{err}
	}
	return nil
}

// limitHeap keeps garbage from adding as much again to the memory of the encoders, until the function that it returns. The
// library for xz takes more than that anyway.
func (s *sealer) limitHeap() (restore func()) {
	if s.options.Format == compress.XZ || heapLimited() {
		return func() {}
	}
	debug.FreeOSMemory() // what the proof has left
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := debug.SetMemoryLimit(int64(m.HeapAlloc) + s.options.MaxMemory + spareHeap)
	return func() { debug.SetMemoryLimit(before) }
}

// spareHeap is for stacks, and for what is soon garbage, in bytes.
const spareHeap = 40 << 20

// opener gives a compact bundle its content from the store. Several goroutines open blobs, and some blobs are opened more than
// once.
type opener struct {
	store    *oci.Store
	w        *bundle.Writer
	consumer *consumer
	progress *progress

	mu    sync.Mutex
	shown map[digest.Digest]int64 // bytes of each blob that were read, and counted
}

// open opens a member: plain bytes are un-gzipped from the layer that has them.
func (o *opener) open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if err := o.drop(); err != nil {
		return nil, err
	}
	zipped, isPlain := o.w.GzipOf(d.Digest)
	if !isPlain {
		zipped = d
	}
	f, err := o.store.OpenBlob(zipped)
	if err != nil {
		return nil, err
	}
	b := &openBlob{Reader: f, Closer: f, o: o, blob: d}
	if isPlain {
		b.Reader = gzip.NewPlainReader(f, d.Size)
	}
	return b, nil
}

// openBlob is a blob that is read.
type openBlob struct {
	io.Reader
	io.Closer
	o    *opener
	blob oci.Descriptor
	n    int64 // bytes read
}

func (b *openBlob) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.n += int64(n)
	b.o.count(b.blob.Digest, b.n)
	var disk *fs.PathError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &disk) { // it was un-gzipped when it was proven
		err = fmt.Errorf("blob %s: %w: %w", b.blob.Digest, oci.ErrCorrupt, err)
	}
	return n, err
}

// count shows that the first n bytes of a blob were read.
func (o *opener) count(d digest.Digest, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if more := n - o.shown[d]; more > 0 {
		o.shown[d] = n
		o.progress.add(more)
	}
}

// drop drops what is in the output, see consumer.
func (o *opener) drop() error {
	if o.consumer == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.consumer.drop(o.w, o.consumer.sizes.step)
}

// stored returns the blobs of the store with where in the tar the member ends that has their content.
func (o *opener) stored() []sealedBlob {
	h := o.w.Head()
	var list []sealedBlob
	for i, m := range h.Members {
		d := m.Descriptor()
		if zipped, ok := o.w.GzipOf(d.Digest); ok {
			d = zipped
		}
		if oci.IsManifest(d.MediaType) || d.MediaType == bundle.RecipeMediaType {
			continue
		}
		end := h.Tail
		if i+1 < len(h.Members) {
			end = h.Members[i+1].Offset
		}
		list = append(list, sealedBlob{d, end})
	}
	return list
}
