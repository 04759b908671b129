package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// minLongWindow is the smallest window of a long frame.
const minLongWindow = 1 << 10

// LongOptions are how WriteLong writes its frames.
type LongOptions struct {
	// Window is how many bytes back a frame may refer, a power of two of 1 KiB to MaxWindow; 0 is MaxWindow.
	// It is most of the memory that an encoder takes, and readers need as much.
	Window int

	jobs int // encoders that fit in MaxMemory
}

// complete checks o and fills in the default.
func (o LongOptions) complete() (LongOptions, error) {
	if o.Window == 0 {
		o.Window = MaxWindow
	}
	if o.Window < minLongWindow || o.Window > MaxWindow || o.Window&(o.Window-1) != 0 {
		return o, fmt.Errorf("window %d: must be a power of two from %d to %d", o.Window, minLongWindow, MaxWindow)
	}
	return o, nil
}

// longs are the encoders of a Writer for long frames and the room for frames that wait for their turn.
type longs struct {
	idle   chan longEncoder
	places chan struct{}
}

// placesPerJob is how many long frames there are for each encoder: one that is encoded, one that waits in its spool.
const placesPerJob = 2

func newLongs(o WriterOptions) (*longs, error) {
	l := &longs{
		idle:   make(chan longEncoder, o.Long.jobs),
		places: make(chan struct{}, placesPerJob*o.Long.jobs),
	}
	for range o.Long.jobs {
		enc, err := newLongEncoder(o)
		if err != nil {
			return nil, err
		}
		l.idle <- enc
	}
	return l, nil
}

// A longFrame is one on its way through a Writer.
type longFrame struct {
	number      int
	plainOffset int64
	plain       int64
	id          [32]byte
	open        func(ctx context.Context) (io.ReadCloser, error)

	out  *relay
	done chan struct{} // closed when what follows is set and the encoder no longer writes
	size int64         // bytes that went to out
	sum  uint32        // checksum of the plain bytes
}

// WriteLong ends the frame and writes a long one of its own, of exactly size plain bytes, 1 to [MaxLongFrame], which
// open gives. It returns before that is done: open is called in another goroutine, and several long frames are
// encoded at a time, as many as MaxMemory has room for, one always. They come into the file in their order; those
// that have to wait do so in a spool. What open returns is closed by the Writer, and read in one goroutine. Open and
// its reader have to return when ctx ends, which is at the first error of the Writer and at Abort.
//
// An error of open or of its reader, and a content that is shorter or longer than size, end the Writer: they come
// back from the next call and from all that follow.
//
// In a file of format [None] the bytes are copied before WriteLong returns.
func (w *Writer) WriteLong(size int64, open func(ctx context.Context) (io.ReadCloser, error)) error {
	if size < 1 || size > MaxLongFrame {
		return fmt.Errorf("long frame of %d bytes: must be 1 to %d", size, MaxLongFrame)
	}
	if err := w.Cut(); err != nil {
		return err
	}
	f := &longFrame{
		number: w.number, plainOffset: w.offset, plain: size, id: w.o.ContentID,
		open: open, done: make(chan struct{}),
	}
	if w.o.Format == None {
		return w.copyLong(f)
	}
	if w.number >= MaxFrames {
		return errTooManyFrames
	}
	enc, err := w.longEncoder()
	if err != nil {
		return err
	}
	f.out = newRelay(w.ctx, w.spoolOf())
	w.number++
	w.offset += size
	w.order <- queued{long: f}
	w.group.Go(func() {
		defer close(f.done)
		if err := f.encode(w.ctx, enc, w.layout.newSum()); err != nil {
			w.fail(fmt.Errorf("frame %d: %w", f.number, err))
		}
		w.longs.idle <- enc
	})
	return nil
}

// longEncoder waits for an encoder that is idle and for a place in the row.
func (w *Writer) longEncoder() (longEncoder, error) {
	if w.longs == nil {
		l, err := newLongs(w.o)
		if err != nil {
			return nil, err
		}
		w.longs = l
	}
	select {
	case w.longs.places <- struct{}{}:
	case <-w.ctx.Done():
		return nil, w.failed()
	}
	select {
	case enc := <-w.longs.idle:
		return enc, nil
	case <-w.ctx.Done():
		return nil, w.failed()
	}
}

// spoolOf returns what makes the spools of long frames, nil where frames can wait for their turn instead: a single
// encoder has nothing better to do, if the frame can be written from its begin.
func (w *Writer) spoolOf() func() (Spool, error) {
	if w.o.Long.jobs == 1 && w.o.Format == Zstd {
		return nil
	}
	return w.o.Spool
}

// copyLong copies the bytes of f into the file.
func (w *Writer) copyLong(f *longFrame) error {
	err := f.read(w.ctx, nil, func(c *content) error {
		_, err := w.ReadFrom(c)
		return err
	})
	if err != nil {
		w.fail(fmt.Errorf("long frame at plain byte %d: %w", f.plainOffset, err))
	}
	return w.failed()
}

// encode sends the encoded frame to f.out.
func (f *longFrame) encode(ctx context.Context, enc longEncoder, sum checksum) error {
	out := &sink{w: f.out}
	err := f.read(ctx, sum, func(c *content) error { return enc.encode(ctx, out, c) })
	if out.err != nil {
		return out.err // a program only tells that nobody listens, and ulikunitz tells nothing
	}
	f.size, f.sum = out.n, sum.Sum32()
	return err
}

// read opens the content, gives it to take, and proves that this took all of it.
func (f *longFrame) read(ctx context.Context, sum checksum, take func(*content) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.Close(); err == nil {
			err = cerr
		}
	}()
	c := &content{ctx: ctx, r: r, size: f.plain, left: f.plain, sum: sum}
	err = take(c)
	switch {
	case c.err != nil && c.err != io.EOF:
		return c.err // what came of it is of no interest
	case err != nil:
		return err
	case c.err == nil:
		return fmt.Errorf("the encoder took %d of %d bytes", c.size-c.left, c.size)
	}
	return nil
}

// emitLong writes a long frame, which may be encoded meanwhile, and returns when its encoder is done.
func (w *Writer) emitLong(f *longFrame) {
	if w.failed() == nil {
		if err := w.beginLong(f); err != nil {
			w.fail(err)
		}
	}
	<-f.done
	if w.failed() == nil {
		if err := w.endLong(f); err != nil {
			w.fail(err)
		}
	}
	if err := f.out.close(); err != nil {
		w.fail(err)
	}
	<-w.longs.places
}

// beginLong writes what stands before the frame and, if its begin is known before its end, as much of it as there is.
func (w *Writer) beginLong(f *longFrame) error {
	if f.number == 0 {
		if err := w.emit(w.trailer.start()); err != nil {
			return err
		}
	}
	if err := w.emit(w.trailer.lead(nil, f.number, f.plainOffset, f.id)); err != nil {
		return err
	}
	if w.o.Format == XZ {
		return nil
	}
	return f.out.begin(emitter{w})
}

// endLong completes the frame.
func (w *Writer) endLong(f *longFrame) error {
	size := f.size
	if w.o.Format == XZ {
		header := appendBlockHeader(nil, f.size, f.plain, longDictCode(w.o, f.plain))
		if err := w.emit(header); err != nil {
			return err
		}
		if err := f.out.begin(emitter{w}); err != nil {
			return err
		}
		size += int64(len(header)) + xzCheckSize
		if err := w.emit(appendBlockEnd(nil, f.size, f.sum)); err != nil {
			return err
		}
	}
	w.trailer.addSizes(size, f.plain, f.sum)
	return w.frameDone(FrameEntry{Size: size, Plain: f.plain, Sum: f.sum})
}

// emitter is the file below a Writer. After an error nothing is written any more.
type emitter struct{ *Writer }

func (e emitter) Write(p []byte) (int, error) {
	err := e.failed()
	if err == nil {
		err = e.emit(p)
	}
	if err != nil {
		e.fail(err)
		return 0, err
	}
	return len(p), nil
}

// sink counts what is written, up to the first error.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.w.Write(p)
		s.n += int64(n)
	}
	return n, s.err
}

// content gives exactly size bytes of r and proves that it ends there.
type content struct {
	ctx   context.Context
	r     io.Reader
	size  int64
	left  int64
	sum   checksum // of what was read; may be nil
	empty int      // reads in a row that gave nothing
	ended bool     // r is at its end
	err   error    // what Read returned: io.EOF after the whole content and nothing else
}

// Read returns io.EOF after size bytes, and only if r ends there too.
func (c *content) Read(p []byte) (n int, err error) {
	if c.err == nil {
		n, c.err = c.read(p)
	}
	return n, c.err
}

func (c *content) read(p []byte) (n int, err error) {
	switch {
	case c.ctx.Err() != nil:
		return 0, c.ctx.Err()
	case c.left == 0:
		return 0, c.end()
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), c.left)]
	n, err = c.r.Read(p)
	if n < 0 || n > len(p) {
		return 0, errors.New("a reader returned a count outside of its buffer")
	}
	c.left -= int64(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	switch {
	case errors.Is(err, io.EOF) && c.left > 0:
		return n, fmt.Errorf("its content ends after %d of %d bytes: %w", c.size-c.left, c.size, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		c.ended = true
		return n, nil
	case err != nil:
		return n, err
	}
	return n, c.progress(n)
}

// end returns io.EOF if nothing follows the content.
func (c *content) end() error {
	var more [1]byte
	for !c.ended {
		n, err := c.r.Read(more[:])
		switch {
		case n != 0:
			return fmt.Errorf("its content is longer than the %d bytes that were announced", c.size)
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		}
		if err := c.progress(0); err != nil {
			return err
		}
	}
	return io.EOF
}

// progress counts reads that gave nothing and returns an error when there were too many in a row.
func (c *content) progress(n int) error {
	if n > 0 {
		c.empty = 0
	} else if c.empty++; c.empty >= maxEmptyReads {
		return io.ErrNoProgress
	}
	return nil
}
