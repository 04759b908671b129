package bundle

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Turns bounds how many blobs that are not [Bundle.Direct] are open at a time, in all bundles that share it: each of them
// takes a decoder of up to 131 MiB, or encoders. Who wants another waits, the longest waiting is next.
type Turns struct{ places chan struct{} }

// NewTurns returns Turns of n blobs at a time, at least 1.
func NewTurns(n int) *Turns { return &Turns{make(chan struct{}, max(1, n))} }

// open waits for a turn, and opens a blob that has it until it is closed.
func (t *Turns) open(ctx context.Context, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	select {
	case t.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, err := open()
	if err != nil {
		<-t.places
		return nil, err
	}
	return &turn{ReadCloser: r, over: sync.OnceFunc(func() { <-t.places })}, nil
}

// turn is a blob whose turn it is.
type turn struct {
	io.ReadCloser
	over func()
}

func (t *turn) Close() error {
	defer t.over()
	return t.ReadCloser.Close()
}

// Direct reports whether the blob d can be read from any offset on at once. Other blobs are re-created, or decoded, from
// somewhere before it, with much more work and memory: they are gzip layers and tars of compact bundles. A blob that is not
// in the bundle is Direct, as saying so takes no work.
func (b *Bundle) Direct(d digest.Digest) bool {
	i, ok := b.blobs[d]
	return !ok || b.direct(i)
}

// direct is Direct by the number of the blob.
func (b *Bundle) direct(i int) bool {
	return i < len(b.layout.head.Members) && !b.inLongFrame(b.layout.head.Members[i])
}
