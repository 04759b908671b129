package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// Defaults and limits of WriterOptions.
const (
	DefaultFrameSize = 4 << 20
	MinFrameSize     = 1 << 10
	MaxFrameSize     = 8 << 20
	DefaultMaxMemory = 128 << 20
)

// WriterOptions are how a file is written. The zero value writes plain bytes.
//
// MaxMemory lowers how many frames are encoded at a time, short ones first, one of each kind being encoded always. A
// long one at Best takes 300 MiB with the window that is the default, and one of the zstd program as much.
type WriterOptions struct {
	Format    Format
	Level     Level
	FrameSize int      // plain bytes in a frame; 0 is DefaultFrameSize
	Jobs      int      // frames that are encoded at a time; 0 is the number of processors
	MaxMemory int64    // bytes for encoders and buffers, see below; 0 is DefaultMaxMemory
	ContentID [32]byte // goes into the stamps, see also SetContentID
	XZProgram string   // path of the xz program; "" encodes in this process

	// Resume are the frames that the file has already, as OnFrame was told of them by a Writer with the same options: the Writer
	// goes on behind the last one, in the file and in the plain stream.
	Resume []FrameEntry
	// OnFrame is called when a frame was written to the file below, for one after the other. Its error is one of that file.
	OnFrame func(FrameEntry) error

	Long        LongOptions           // how WriteLong writes
	ZstdProgram string                // path of the zstd program, for long frames at Max; "" is as Best
	Spool       func() (Spool, error) // for long frames that wait; nil is TempSpool("")
}

// complete checks o and fills in the defaults.
func (o WriterOptions) complete() (WriterOptions, error) {
	if o.FrameSize == 0 {
		o.FrameSize = DefaultFrameSize
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	switch {
	case !o.Format.valid():
		return o, fmt.Errorf("%v: %w", o.Format, ErrFormat)
	case !o.Level.valid():
		return o, fmt.Errorf("%v is not a level", o.Level)
	case o.FrameSize < MinFrameSize || o.FrameSize > MaxFrameSize:
		return o, fmt.Errorf("frame size %d: must be %d to %d", o.FrameSize, MinFrameSize, MaxFrameSize)
	case o.Jobs < 0:
		return o, fmt.Errorf("jobs %d: must not be negative", o.Jobs)
	case o.MaxMemory < 0:
		return o, fmt.Errorf("memory limit %d: must not be negative", o.MaxMemory)
	}
	if o.Jobs == 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	var err error
	if o.Long, err = o.Long.complete(); err != nil {
		return o, err
	}
	if o.Spool == nil {
		o.Spool = TempSpool("")
	}
	return o.fit(), nil
}

// fit sets how much is encoded at a time, so that it fits in MaxMemory.
func (o WriterOptions) fit() WriterOptions {
	jobs := int64(o.Jobs)
	buffers := 2 * maxEncoded(int64(o.FrameSize))
	room := o.MaxMemory - spareFrames*buffers
	each := encoderMemory(o) + buffers
	o.Jobs = int(max(1, min(jobs, room/each)))
	if o.Format != None {
		room -= int64(o.Jobs) * each
		o.Long.jobs = int(max(1, min(jobs, room/longEncoderMemory(o))))
	}
	return o
}

// spareFrames are in flight beside those that are encoded: one is filled, one is written.
const spareFrames = 2

// A Writer cuts a plain stream into frames and writes them to a file. Its methods are for one goroutine. An error of
// the file below, or of an encoder, comes back from the next call and from all that follow.
type Writer struct {
	w       io.Writer
	o       WriterOptions
	layout  layout
	encoder encoder
	trailer trailer

	cur    *piece // being filled
	stored bool   // mode of the next piece
	number int    // of the piece that is or will be filled
	offset int64  // plain bytes taken
	closed bool

	free  chan *piece
	work  chan *piece // to the encoders
	order chan queued // to emit
	longs *longs      // nil before the first long frame
	group sync.WaitGroup
	ctx   context.Context // of frames, which outlive the call that begins them; ends with the first error and Abort
	stop  context.CancelFunc

	written atomic.Int64 // plain bytes whose frames were written to w
	end     int64        // file offset behind what was written to w; of who emits

	mu  sync.Mutex
	err error
}

// NewWriter returns a Writer to w, which it does not close. Close or Abort must be called.
func NewWriter(w io.Writer, o WriterOptions) (*Writer, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	enc, err := newEncoder(o, o.Jobs)
	if err != nil {
		return nil, err
	}
	inFlight := o.Jobs + spareFrames
	zw := &Writer{
		w: w, o: o, layout: layoutOf(o.Format), encoder: enc, trailer: newTrailer(o.Format, xzCheckCRC32),
		free: make(chan *piece, inFlight), work: make(chan *piece, inFlight),
		order: make(chan queued, inFlight+placesPerJob*o.Long.jobs),
	}
	for range inFlight {
		zw.free <- newPiece(zw.layout, o.FrameSize)
	}
	if err := zw.resume(o.Resume); err != nil {
		return nil, err
	}
	zw.ctx, zw.stop = context.WithCancel(context.Background())
	for range o.Jobs {
		zw.group.Go(zw.encodeAll)
	}
	zw.group.Go(zw.emitAll)
	return zw, nil
}

// Offset returns how many plain bytes were taken so far.
func (w *Writer) Offset() int64 { return w.offset }

// Written returns how many of the plain bytes are in frames that were written to the file below. It may be called from
// any goroutine.
func (w *Writer) Written() int64 { return w.written.Load() }

// SetContentID sets the content id that goes into the stamps. It must come before the second frame ends.
func (w *Writer) SetContentID(id [32]byte) error {
	if w.number > 1 {
		return errors.New("content id: the second frame has gone without it")
	}
	w.o.ContentID = id
	return nil
}

// SetStored says whether what follows is compressed already, and ends the frame when that changes.
func (w *Writer) SetStored(stored bool) error {
	if stored == w.stored {
		return w.failed()
	}
	err := w.Cut()
	w.stored = stored
	return err
}

// Cut ends the frame. Without any bytes since the last frame it does nothing.
func (w *Writer) Cut() error {
	if err := w.failed(); err != nil || w.cur == nil {
		return err
	}
	w.submit()
	return nil
}

// Write takes the next bytes of the plain stream.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		room, err := w.room()
		if err != nil {
			return n, err
		}
		k := copy(room, p[n:])
		w.filled(k)
		n += k
	}
	return n, w.failed()
}

// maxEmptyReads is how often in a row a reader may give nothing.
const maxEmptyReads = 100

// ReadFrom takes the next bytes of the plain stream from r until io.EOF, straight into the frame.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	for empty := 0; empty < maxEmptyReads; empty++ {
		room, err := w.room()
		if err != nil {
			return n, err
		}
		k, err := r.Read(room)
		if k < 0 || k > len(room) {
			return n, errors.New("a reader returned a count outside of its buffer")
		}
		if k > 0 {
			w.filled(k)
			n += int64(k)
			empty = -1
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, w.failed()
		case err != nil:
			return n, err
		}
	}
	return n, io.ErrNoProgress
}

var errTooManyFrames = fmt.Errorf("the stream has more than %d frames", MaxFrames)

// room returns where the next bytes go.
func (w *Writer) room() ([]byte, error) {
	if err := w.failed(); err != nil {
		return nil, err
	}
	if w.cur == nil {
		if w.number >= MaxFrames {
			return nil, errTooManyFrames
		}
		w.cur = <-w.free
		w.cur.begin(w.number, w.offset, w.stored)
	}
	return w.cur.room(), nil
}

// filled takes note of n bytes that were put into room.
func (w *Writer) filled(n int) {
	w.cur.plain += int64(n)
	w.offset += int64(n)
	if w.cur.full() {
		w.submit()
	}
}

// queued is a frame in the order of the file, one of the two.
type queued struct {
	piece *piece
	long  *longFrame
}

// submit sends the frame on its way. Neither channel can be full, because there are no more pieces than places.
func (w *Writer) submit() {
	p := w.cur
	w.cur = nil
	if p.plain == 0 { // the reader had nothing for the room that it was given
		w.free <- p
		return
	}
	w.number++
	p.id = w.o.ContentID
	w.order <- queued{piece: p}
	w.work <- p
}

// Close writes what is left and the table of frames. It does not close the file below. Only after it returned nil is
// the file whole.
func (w *Writer) Close() error {
	if err := w.Cut(); err != nil {
		w.Abort()
		return err
	}
	w.finish(ErrClosed)
	if w.err != ErrClosed {
		return w.err
	}
	if w.number == 0 { // no frame was there to bring it
		if err := w.emit(w.trailer.start()); err != nil {
			return err
		}
	}
	return w.emit(w.trailer.finish())
}

// Abort gives the file up: it stops the encoders and waits until the last write to the file below has returned.
func (w *Writer) Abort() {
	w.fail(ErrClosed)
	w.finish(ErrClosed)
}

// finish waits for all goroutines and leaves err behind when there was none.
func (w *Writer) finish(err error) {
	if !w.closed {
		w.closed = true
		close(w.work)
		close(w.order)
		w.group.Wait()
		w.stop()
	}
	w.fail(err)
}

// failed returns what went wrong.
func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// fail sets what went wrong, the first time, and stops the encoders.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.stop()
	}
}

// encodeAll encodes pieces until there are no more.
func (w *Writer) encodeAll() {
	for p := range w.work {
		if err := w.ctx.Err(); err != nil {
			p.err = err
		} else {
			p.encode(w.ctx, w.encoder)
		}
		p.done <- struct{}{}
	}
}

// emitAll writes the frames in their order. After an error it only lets them go.
func (w *Writer) emitAll() {
	for q := range w.order {
		if q.long != nil {
			w.emitLong(q.long)
			continue
		}
		p := q.piece
		<-p.done
		if w.failed() == nil {
			if err := w.emitPiece(p); err != nil {
				w.fail(err)
			}
		}
		w.free <- p
	}
}

func (w *Writer) emitPiece(p *piece) error {
	if p.err != nil {
		return fmt.Errorf("frame %d: %w", p.number, p.err)
	}
	if p.number == 0 {
		if err := w.emit(w.trailer.start()); err != nil {
			return err
		}
	}
	size, sum := w.trailer.add(p.frame, p.plain)
	if err := w.emit(p.withLead(w.trailer)); err != nil {
		return err
	}
	return w.frameDone(FrameEntry{Size: size, Plain: p.plain, Sum: sum})
}

// emit writes b to the file.
func (w *Writer) emit(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.w.Write(b)
	w.end += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
