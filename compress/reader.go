package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
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
	runs    *longRuns
	ctx     context.Context // of the programs that decode long frames, which outlive the call that began them
	raws    sync.Pool       // of *[]byte: compressed frames
	windows sync.Pool       // of *[]byte: see storedRun
}

// NewReader returns a Reader of the file r with the table t.
func NewReader(r io.ReaderAt, t *Table, o ReaderOptions) *Reader {
	o = o.complete()
	largest, long := int64(0), int64(0)
	for _, f := range t.Frames {
		if f.Long() {
			long++
		} else {
			largest = max(largest, f.PlainSize)
		}
	}
	zr := &Reader{r: r, t: t, layout: layoutOf(t.Format), decoder: NewDecoder(t.Format, o)}
	if long > 0 {
		runs := int64(o.LongDecoders)
		if runs <= 0 {
			runs = max(1, min(long, (o.MaxMemory-largest)/longMemory))
			o.MaxMemory -= runs * longMemory
		}
		zr.runs = &longRuns{room: int(runs), fresh: zr.decoder.newLongRun, begin: zr.begin, patience: longPatience}
	}
	ctx, stop := context.WithCancel(context.Background())
	zr.ctx = ctx
	runtime.AddCleanup(zr, func(stop context.CancelFunc) { stop() }, stop)
	zr.cache = newFrameCache(o, largest)
	zr.cache.decode = zr.decode
	return zr
}

// begin lets run begin with the long frame f.
func (r *Reader) begin(run *longRun, f Frame) {
	run.start(r.ctx, f, io.NewSectionReader(r.r, f.Offset, f.Size))
}

// Open returns the n plain bytes from off on. Reading gives exactly those or an error: a *FrameError where the file
// is damaged or cannot be read, or that of ctx. A stored frame is checked against its checksum when it is read
// from its first byte to its last; what is read of one in parts has to be proved by other means. Nothing is read
// before the first Read. Close must be called; what Open returns is for one goroutine.
//
// A long frame is decoded from its start up to what is wanted, and a range that begins where another has ended, or
// behind, goes on from there. What is read of it has to be proved by other means, because its checksum comes last: it
// is checked when the end of the frame is in the range. Such a range holds one of few decoders from its first Read on
// until it was read to its end or closed. Others wait for it, unless it is not read for a second: then it may have to
// decode its frame again. A frame whose checksum is wrong is reported behind its last byte.
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
	long     *longRun        // of frame, when it is long and reading it has begun
	claimed  *cached         // of frame, when a part of it was read from the cache
	err      error           // what was wrong at the end of a long frame, after its bytes were given
	closed   bool
}

// Read gives the next bytes of the range.
func (r *rangeReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, ErrClosed
	}
	if err := cmp.Or(r.err, r.ctx.Err()); err != nil {
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
	switch {
	case r.t.Format == None:
		return r.readPlain(p)
	case r.frame.Long():
		return r.readLong(p)
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
	n := copy(p, e.plain[r.pos-r.frame.PlainOffset:])
	r.claim(e, r.pos+int64(n) < min(r.end, r.frame.plainEnd()))
	return n, nil
}

// claim claims e, if the reading goes on in it, and nothing else.
func (r *rangeReader) claim(e *cached, goesOn bool) {
	if !goesOn {
		e = nil
	}
	if r.claimed == e {
		return
	}
	if r.claimed != nil {
		r.cache.unclaim(r.claimed)
	}
	if r.claimed = e; e != nil {
		r.cache.claim(e)
	}
}

// readLong gives the next bytes of a long frame.
func (r *rangeReader) readLong(p []byte) (n int, err error) {
	if r.long == nil || !r.long.lock(r) {
		if r.long, err = r.runs.take(r.ctx, r, r.frame, r.pos-r.frame.PlainOffset); err != nil {
			return 0, err
		}
	}
	n, err = r.long.Read(p[:min(int64(len(p)), r.frame.plainEnd()-r.pos)])
	end := r.pos + int64(n)
	if err == nil && end == r.frame.plainEnd() {
		r.err = r.long.end()
	}
	if err == nil && end < r.end && end < r.frame.plainEnd() {
		r.long.unlock()
		return n, nil
	}
	r.runs.give(r.long)
	r.long = nil
	return n, err
}

func (r *rangeReader) readPlain(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.frame.plainEnd()-r.pos)]
	n, err := r.r.ReadAt(p, r.pos)
	if n == len(p) {
		return n, nil
	}
	return n, r.frame.fail("reading it", err)
}

// endRun gives back what the reading of the frame has taken.
func (r *rangeReader) endRun() {
	r.claim(nil, false)
	if r.run != nil {
		r.windows.Put(r.run.window)
		r.run = nil
	}
	if r.long != nil && r.long.lock(r) {
		r.runs.give(r.long)
	}
	r.long = nil
}

// Close ends the reading.
func (r *rangeReader) Close() error {
	r.closed = true
	r.endRun()
	return nil
}
