package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// OpenFunc gives the content of a blob from its first byte on. The reader is closed by who got it, and ends with ctx.
type OpenFunc func(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error)

// GzipOf returns the gzip layer that the plain member with this digest is the content of; ok is false for other members.
// Unlike the other methods it may be called from many goroutines.
func (w *Writer) GzipOf(plain digest.Digest) (layer oci.Descriptor, ok bool) {
	if w.layout.compact == nil {
		return layer, false
	}
	layer, ok = w.layout.compact.gzipOf[plain]
	return layer, ok
}

// WriteAll writes all blobs in their order and proves each on its way. It asks open for what Blobs returns; for a plain
// member d is that member itself, and GzipOf tells the layer to un-gzip. Open may be called in several goroutines, and
// more than once for a blob that is in several frames, until Close or Abort returns. Its ctx ends with that of WriteAll,
// and at the first error. After an error, which may come back from Close only, the bundle cannot be finished.
func (w *Writer) WriteAll(ctx context.Context, open OpenFunc) error {
	if w.err == nil {
		w.err = w.writeAll(ctx, open)
	}
	return w.err
}

func (w *Writer) writeAll(ctx context.Context, open OpenFunc) error {
	run := w.layout.long
	for w.next < w.layout.tail {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := w.layout.segments[w.next]
		if s.member >= run.from && s.member < run.to {
			if err := w.writeRun(ctx, open); err != nil {
				return err
			}
			continue
		}
		if err := w.writeMember(ctx, s, open); err != nil {
			return err
		}
	}
	return nil
}

// writeMember writes a member that lies outside of long frames.
func (w *Writer) writeMember(ctx context.Context, s segment, open OpenFunc) error {
	d := w.layout.head.Members[s.member].Descriptor()
	if raw := w.layout.own(d); raw != nil {
		return w.writeBlob(s, d, bytes.NewReader(raw), true)
	}
	r, err := open(ctx, d)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return errors.Join(w.writeBlob(s, d, r, true), r.Close())
}

// own returns the content of a member that no source has: a plain twin or a recipe; else nil.
func (l *layout) own(d oci.Descriptor) []byte {
	if l.compact == nil {
		return nil
	}
	if content := l.compact.own[d.Digest]; content != nil {
		return content()
	}
	return nil
}

// writeRun writes the members that are not compressed, in long frames.
func (w *Writer) writeRun(ctx context.Context, open OpenFunc) error {
	run := w.layout.long
	for _, m := range w.layout.head.Members[run.from:run.to] {
		if m.Size == 0 && m.Digest != digest.FromBytes(nil) { // it is not asked for
			return &oci.DigestError{Want: m.Descriptor(), Got: digest.FromBytes(nil)}
		}
	}
	if err := w.out.SetStored(false); err != nil {
		return err
	}
	next := w.layout.segments[w.next].offset + w.skip
	w.skip = 0
	for _, to := range w.layout.cuts() {
		from := next
		if to <= from {
			continue
		}
		err := w.out.WriteLong(to-from, func(frame context.Context) (io.ReadCloser, error) {
			return &runReader{writer: w, all: ctx, frame: frame, open: open, at: from, end: to}, nil
		})
		if err != nil {
			return err
		}
		next = to
	}
	w.next += run.to - run.from
	return nil
}

// cuts returns the plain offsets at which long frames end: where another repository begins if the frame can reach so far, else
// where another member does, and what is too large for one frame in equal pieces.
func (l *layout) cuts() []int64 {
	most := l.compact.longFrame()
	segments := l.segments[l.blobs+l.long.from : l.blobs+l.long.to]
	end := segments[len(segments)-1].end()
	var ends []int64
	from := segments[0].offset
	cut := func(at int64) {
		if at > from {
			ends = append(ends, at)
			from = at
		}
	}
	edges := append(l.long.edges[1:len(l.long.edges):len(l.long.edges)], l.long.to)
	for first := 0; len(edges) > 0; first, edges = edges[0]-l.long.from, edges[1:] {
		group := segments[first : edges[0]-l.long.from]
		if group[len(group)-1].end()-from <= most {
			continue
		}
		cut(group[0].offset)
		for _, s := range group {
			if s.end()-from <= most {
				continue
			}
			cut(s.offset)
			for pieces := (span(s.size) + most - 1) / most; pieces > 1; pieces-- {
				cut(from + (s.end()-from)/pieces)
			}
		}
	}
	cut(end)
	return ends
}
