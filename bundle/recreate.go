package bundle

import (
	"cmp"
	"context"
	"io"
	"sync"

	"github.com/ferry-oci/ferry/compress/gzip"
)

const (
	// maxAhead is how many plain bytes wait for the encoders of all blobs together, in bytes. Blobs whose engine cannot
	// be split are re-created side by side as far as this reaches.
	maxAhead = 64 << 20
	// aheadChunk is the size of the buffers in which they wait, in bytes.
	aheadChunk = 256 << 10
)

// encodings re-creates gzip blobs from plain bytes that come in order, blob after blob: while the encoders of one blob
// are busy, the plain bytes of those that follow are taken, too. What it holds is bounded by maxAhead, and by one blob more
// at a time than there are jobs.
type encodings struct {
	calls   chan struct{} // blobs under way
	options gzip.RecreateOptions
	running sync.WaitGroup
	buffers sync.Pool // of *[aheadChunk]byte

	mu    sync.Mutex
	moved *sync.Cond
	room  int64 // how many plain bytes may still be taken
}

func newEncodings(o gzip.RecreateOptions) *encodings {
	a := &encodings{calls: make(chan struct{}, o.Parallel+1), options: o, room: maxAhead}
	a.moved = sync.NewCond(&a.mu)
	a.buffers.New = func() any { return new([aheadChunk]byte) }
	return a
}

// encoding is one blob under way. It is an io.Writer of its plain bytes.
type encoding struct {
	all    *encodings
	cancel context.CancelFunc

	// guarded by all.mu
	queue []aheadBytes // plain bytes that were not read
	ended error        // why no more come: io.EOF when all have come
	over  bool         // nobody reads them any more
}

// aheadBytes are plain bytes that wait.
type aheadBytes struct {
	buf   *[aheadChunk]byte
	bytes []byte // of buf
}

// start begins to write the blob of r to dst. It waits until there is room for one more blob. done is called when it has
// come to its end, with nil when all of the blob has been written and proven. End must be called.
func (a *encodings) start(ctx context.Context, r *gzip.Recipe, dst io.Writer, done func(error)) (*encoding, error) {
	select {
	case a.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &encoding{all: a, cancel: cancel}
	stop := context.AfterFunc(ctx, one.giveUp)
	a.running.Go(func() {
		err := gzip.Recreate(ctx, r, one, dst, a.options)
		stop()
		cancel()
		one.giveUp()
		<-a.calls
		done(err)
	})
	return one, nil
}

// Write takes plain bytes of the blob. It waits while too many of them wait, but for the first of a blob: what is under way
// never depends on the blobs before it. It returns errOver when nobody needs them any more.
func (r *encoding) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		buf := r.all.buffers.Get().(*[aheadChunk]byte)
		n := copy(buf[:], p)
		if err := r.put(aheadBytes{buf, buf[:n]}); err != nil {
			r.all.buffers.Put(buf)
			return written, err
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

func (r *encoding) put(b aheadBytes) error {
	a := r.all
	a.mu.Lock()
	defer a.mu.Unlock()
	for !r.over && len(r.queue) > 0 && a.room < aheadChunk {
		a.moved.Wait()
	}
	if r.over {
		return errOver
	}
	r.queue = append(r.queue, b)
	a.room -= aheadChunk
	a.moved.Broadcast()
	return nil
}

// end says that no more plain bytes come: all have come when err is nil.
func (r *encoding) end(err error) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.ended = cmp.Or(err, io.EOF)
	r.all.moved.Broadcast()
}

// Read gives plain bytes to the encoders.
func (r *encoding) Read(p []byte) (int, error) {
	a := r.all
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(r.queue) == 0 {
		switch {
		case r.over:
			return 0, errOver
		case r.ended != nil:
			return 0, r.ended
		}
		a.moved.Wait()
	}
	first := &r.queue[0]
	n := copy(p, first.bytes)
	if first.bytes = first.bytes[n:]; len(first.bytes) == 0 {
		r.drop(1)
	}
	return n, nil
}

// drop gives the memory of the first n chunks back. The caller holds all.mu.
func (r *encoding) drop(n int) {
	for _, b := range r.queue[:n] {
		r.all.buffers.Put(b.buf)
		r.all.room += aheadChunk
	}
	r.queue = r.queue[n:]
	r.all.moved.Broadcast()
}

// giveUp says that nobody needs the plain bytes any more.
func (r *encoding) giveUp() {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.over = true
	r.drop(len(r.queue))
}
