package bundle

import (
	"context"
	"errors"
	"io"

	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// openRecreated returns the content of a recreated blob, by its position in Head.Recreated, from offset on.
func (b *Bundle) openRecreated(ctx context.Context, n int, offset int64) (io.ReadCloser, error) {
	i := b.layout.head.Recreated[n].Plain
	recipe, err := b.recipes.of(n)
	if err != nil {
		return nil, err
	}
	plain, err := b.openMember(ctx, i, 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out, in := io.Pipe()
	r := &recreatedReader{PipeReader: out, skip: offset, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		err := gzip.Recreate(ctx, recipe, plain, in, b.again)
		plain.Close()
		if err != nil && ctx.Err() == nil {
			err = b.blobError(i, err)
		}
		in.CloseWithError(err)
	}()
	return r, nil
}

// recreatedReader is the content of a blob while it is re-created.
type recreatedReader struct {
	*io.PipeReader
	skip   int64 // how much is passed over before the first Read
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing is made any more
}

func (r *recreatedReader) Read(p []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.PipeReader, r.skip)
		if r.skip -= n; err != nil {
			return 0, err
		}
	}
	return r.PipeReader.Read(p)
}

// Close returns when all that the reading took has been given back.
func (r *recreatedReader) Close() error {
	r.cancel()
	r.PipeReader.Close()
	<-r.ended
	return nil
}

// Pass is one reading of an open bundle from begin to end, for a copy of many of its blobs: an oci.OrderedSource. Blobs that have
// to be re-created, and members of long frames, come in the order of the file, so that each frame is decoded once, and
// not at all where none of them is wanted. All other blobs can be opened at any time, and so can those whose turn is over, but
// these are read, and re-created, anew.
//
// It holds the last 4 MiB of each blob that is under way, and what re-creating blobs takes.
type Pass struct {
	*ordered
	bundle  *Bundle
	members []int // that are read in order
	cancel  context.CancelFunc
	ended   chan struct{}
}

var _ oci.OrderedSource = (*Pass)(nil)

// NewPass begins to read the bundle in order. Close must be called.
func (b *Bundle) NewPass() *Pass {
	// The pass is read between calls; what ends it is Close.
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pass{bundle: b, cancel: cancel, ended: make(chan struct{})}
	for i, m := range b.layout.head.Members {
		if _, ok := b.layout.head.recreatedFrom(i); ok || !oci.IsManifest(m.MediaType) && b.inLongFrame(m) {
			p.members = append(p.members, i)
		}
	}
	p.ordered = &ordered{
		rings: newRings(p.InOrder()), recipes: b.recipes, again: newEncodings(b.again), blame: b.blobError,
	}
	go func() {
		defer close(p.ended)
		p.finish(p.read(ctx))
	}()
	return p
}

// inLongFrame reports whether some of the member is in a frame that is not decoded as a whole.
func (b *Bundle) inLongFrame(m Member) bool {
	for _, f := range b.table.Frames[b.table.Find(m.Offset):] {
		if f.PlainOffset >= m.Offset+span(m.Size) {
			break
		}
		if f.Long() {
			return true
		}
	}
	return false
}

// InOrder returns the blobs that are read in order.
func (p *Pass) InOrder() []oci.Descriptor {
	all := make([]oci.Descriptor, len(p.members))
	for n, i := range p.members {
		all[n] = p.bundle.layout.head.made(i)
	}
	return all
}

// read reads the members. One that cannot be read is damage of its own, and the next ones are read on.
func (p *Pass) read(ctx context.Context) error {
	buf := make([]byte, aheadChunk)
	for _, i := range p.members {
		to, err := p.outlet(ctx, i)
		if err != nil {
			return err
		}
		if _, unwanted := to.(noOutlet); unwanted {
			continue
		}
		err = p.readMember(ctx, i, to, buf)
		if errors.Is(err, errOver) {
			err = nil
		}
		to.end(err)
	}
	return nil
}

func (p *Pass) readMember(ctx context.Context, i int, to io.Writer, buf []byte) error {
	r, err := p.bundle.openMember(ctx, i, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.CopyBuffer(to, struct{ io.Reader }{r}, buf)
	return err
}

// Open waits until it is the turn of d, when it is read in order, and returns its content from offset on.
func (p *Pass) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if _, ok := p.all[d.Digest]; !ok {
		return p.bundle.Open(ctx, from, d, offset)
	}
	r, err := p.open(ctx, d.Digest, offset, true)
	if errors.Is(err, oci.ErrGone) {
		p.abandon(d) // so that the blobs behind it do not wait for somebody who reads elsewhere
		return p.bundle.Open(ctx, from, d, offset)
	}
	return r, err
}

// EndSeen reports that the frame of the bundle was proven when it was opened.
func (p *Pass) EndSeen() bool { return true }

// Finish has nothing to wait for: what is wrong with a blob, whoever reads it is told.
func (p *Pass) Finish(context.Context) error { return nil }

// Close ends the reading, and returns when it has ended.
func (p *Pass) Close() error {
	p.close()
	p.cancel()
	<-p.ended
	return nil
}
