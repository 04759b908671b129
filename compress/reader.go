package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Reader gives ranges of the plain stream from a file that is read in place. All methods may be called from many
// goroutines.
type Reader struct {
	r       io.ReaderAt
	t       *Table
	layout  layout
	decoder *Decoder
	cache   *frameCache
	raws    sync.Pool // of *[]byte: compressed frames
	windows sync.Pool // of *[]byte: see storedRun
}

// NewReader returns a Reader of the file r with the table t.
func NewReader(r io.ReaderAt, t *Table, o ReaderOptions) *Reader {
	o = o.complete()
	largest := int64(0)
	for _, f := range t.Frames {
		largest = max(largest, f.PlainSize)
	}
	zr := &Reader{
		r: r, t: t, layout: layoutOf(t.Format), decoder: NewDecoder(t.Format, o), cache: newFrameCache(o, largest),
	}
	zr.cache.decode = zr.decode
	return zr
}

// Open returns the n plain bytes from off on. Reading gives exactly those or an error: a *FrameError where the file
// is damaged or cannot be read, or that of ctx. A stored frame is checked against its checksum when it is read
// from its first byte to its last; what is read of one in parts has to be proved by other means. Nothing is read
// before the first Read. Close must be called; what Open returns is for one goroutine.
func (r *Reader) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 || off > r.t.PlainSize || n > r.t.PlainSize-off {
		return nil, fmt.Errorf("%d plain bytes at %d: the stream has %d", n, off, r.t.PlainSize)
	}
	return &rangeReader{Reader: r, ctx: ctx, pos: off, end: off + n}, nil
}

// decode reads and decodes one frame.
func (r *Reader) decode(ctx context.Context, f Frame, dst []byte) ([]byte, error) {
	if f.Size > maxEncoded(f.PlainSize) {
		return nil, f.corrupt("%d bytes in the file for %d plain bytes", f.Size, f.PlainSize)
	}
	buf := pooled(&r.raws, int(f.Size))
	defer r.raws.Put(buf)
	raw := (*buf)[:f.Size]
	if err := readFullAt(r.r, raw, f.Offset); err != nil {
		return nil, f.fail("reading it", err)
	}
	return r.decoder.Decode(ctx, dst, f, raw)
}

// pooled returns memory of at least n bytes from pool.
func pooled(pool *sync.Pool, n int) *[]byte {
	if b, ok := pool.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]byte, n)
	return &b
}

// A rangeReader is what Reader.Open returns.
type rangeReader struct {
	*Reader
	ctx      context.Context // of Open; a reader is waited for like the call that opened it
	pos, end int64           // plain offsets
	frame    Frame           // with the byte at pos, when it has been looked up
	run      *storedRun      // of frame, when it is stored
	closed   bool
}

// Read gives the next bytes of the range.
func (r *rangeReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, ErrClosed
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.pos == r.end {
		return 0, io.EOF
	}
	if r.pos >= r.frame.plainEnd() || r.pos < r.frame.PlainOffset {
		if err := r.nextFrame(); err != nil {
			return 0, err
		}
	}
	p = p[:min(int64(len(p)), r.end-r.pos)]
	n, err := r.read(p)
	r.pos += int64(n)
	return n, err
}

// nextFrame looks up the frame with the byte at pos.
func (r *rangeReader) nextFrame() error {
	f, err := r.t.frameAt(r.pos)
	if err != nil {
		return err
	}
	r.endRun()
	r.frame = f
	if storedCandidate(r.t.Format, f) {
		r.run = r.newRun(f, r.pos-f.PlainOffset)
	}
	return nil
}

// read gives the next bytes of the frame.
func (r *rangeReader) read(p []byte) (int, error) {
	if r.t.Format == None {
		return r.readPlain(p)
	}
	if r.run != nil {
		n, err := r.run.read(p, min(r.end, r.frame.plainEnd())-r.frame.PlainOffset)
		if !errors.Is(err, errNotStored) {
			return n, err
		}
		r.endRun()
	}
	e, err := r.cache.hold(r.ctx, r.frame)
	if err != nil {
		return 0, err
	}
	defer r.cache.release(e)
	return copy(p, e.plain[r.pos-r.frame.PlainOffset:]), nil
}

func (r *rangeReader) readPlain(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.frame.plainEnd()-r.pos)]
	n, err := r.r.ReadAt(p, r.pos)
	if n == len(p) {
		return n, nil
	}
	return n, r.frame.fail("reading it", err)
}

// endRun gives back the memory of the run.
func (r *rangeReader) endRun() {
	if r.run != nil {
		r.windows.Put(r.run.window)
		r.run = nil
	}
}

// Close ends the reading.
func (r *rangeReader) Close() error {
	r.closed = true
	r.endRun()
	return nil
}
