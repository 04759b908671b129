package compress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// frameBytes are the bytes of one frame in the file. What their headers say is proved while they are read, and io.EOF
// comes where the frame ends.
type frameBytes interface {
	io.Reader
	// sizes returns what trailer.addSizes takes: after io.EOF those of the frame, before it those of what was read.
	sizes() (size, plain int64, sum uint32)
	// readError returns why reading the file failed, nil when that is not why Read did.
	readError() error
}

// A streamEngine decodes frames, one after the other, each from its start.
type streamEngine interface {
	// start begins with a frame, whether or not the one before has ended. What it starts ends with ctx, or end.
	start(ctx context.Context, raw frameBytes)
	// Read gives the plain bytes. io.EOF says that the checksum of the frame agrees with them.
	io.Reader
	end()
}

// rawBuffer is the size of the buffer before the blocks of a frame that is decoded as a stream.
const rawBuffer = 256 << 10

// A stream gives the plain bytes of one frame while it is decoded, so that the frame is never held. It can begin again
// with another frame.
type stream struct {
	format Format
	engine streamEngine
	in     *bufio.Reader
	frame  Frame // its Size is 0 when that is not known
	raw    frameBytes
	given  int64 // plain bytes
	err    error
}

// newStream returns a stream that has not begun.
func (d *Decoder) newStream() *stream {
	s := &stream{format: d.format, in: bufio.NewReaderSize(nil, rawBuffer)}
	switch {
	case d.format == Zstd:
		s.engine = newZstdEngine()
	case d.xzProgram != "":
		s.engine = &xzProgramEngine{path: d.xzProgram}
	default:
		s.engine = &xzEngine{}
	}
	return s
}

// stream returns a stream that was used before, or a new one.
func (d *Decoder) stream() *stream {
	if s, ok := d.streams.Get().(*stream); ok {
		return s
	}
	return d.newStream()
}

// start begins with frame f of a table, whose bytes in the file come from r.
func (s *stream) start(ctx context.Context, f Frame, r io.Reader) {
	s.in.Reset(r)
	c := &streamCursor{r: s.in}
	if s.format == XZ {
		s.startRaw(ctx, f, &xzBytes{cursor: c, check: f.check, want: f})
	} else {
		s.startRaw(ctx, f, &zstdBlocks{cursor: c, want: f})
	}
}

// startRaw begins with frame f, whose bytes in the file are raw.
func (s *stream) startRaw(ctx context.Context, f Frame, raw frameBytes) {
	s.frame, s.raw, s.given, s.err = f, raw, 0, nil
	s.engine.start(ctx, raw)
}

// Read gives the next plain bytes. io.EOF says that the frame is proved. Damage is a *FrameError with the plain offset
// of the first byte that was not given.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	left := s.frame.PlainSize - s.given
	n, err := s.engine.Read(p)
	if int64(n) > left {
		n, err = int(left), fmt.Errorf("more than %d plain bytes", s.frame.PlainSize)
	}
	s.given += int64(n)
	switch {
	case errors.Is(err, io.EOF) && s.given < s.frame.PlainSize:
		s.err = s.failed(fmt.Errorf("it ends, want %d", s.frame.PlainSize))
	case errors.Is(err, io.EOF):
		s.err = io.EOF
	case err != nil:
		s.err = s.failed(err)
	}
	if s.err != nil {
		s.engine.end()
	}
	return n, s.err
}

// failed returns the error of the frame that err explains.
func (s *stream) failed(err error) error {
	f := s.frame
	if f.Size == 0 {
		f.Size, _, _ = s.raw.sizes()
	}
	bad := f.corrupt("after %d plain bytes: %v", s.given, err)
	var program *programError
	if readErr := s.raw.readError(); readErr != nil {
		bad = f.fail(fmt.Sprintf("after %d plain bytes: reading it", s.given), readErr)
	} else if errors.As(err, &program) && !program.exited() {
		bad = f.fail("decoder", err) // the program could not be run
	}
	bad.PlainOffset += s.given
	return bad
}

// Stream returns the plain bytes of frame f of a zstd or xz file, whose bytes in the file come from raw, without holding
// the frame: it takes memory for its window, 130 MiB at most. They are decoded in a goroutine that reads raw ahead of
// the caller. io.EOF comes after they proved to have the size and the checksums that f, and raw itself, state; what was
// read before is not proved. Damage is a *FrameError, after all plain bytes before it. Close must be called, it ends the
// goroutine; what Stream returns is for one goroutine.
func (d *Decoder) Stream(ctx context.Context, f Frame, raw io.Reader) io.ReadCloser {
	s := d.stream()
	s.start(ctx, f, raw)
	if f.Size <= 0 || f.PlainSize <= 0 || f.PlainSize > MaxLongFrame || f.Size > maxEncoded(f.PlainSize) {
		s.err = f.corrupt("%d bytes for %d plain bytes", f.Size, f.PlainSize)
	}
	return &decodedFrame{readAhead: newReadAhead(s), ctx: ctx, decoder: d, stream: s}
}

// A decodedFrame is what Decoder.Stream returns.
type decodedFrame struct {
	*readAhead
	ctx     context.Context // of Stream; a reader is waited for like the call that opened it
	decoder *Decoder
	stream  *stream // nil after Close
}

func (r *decodedFrame) Read(p []byte) (int, error) {
	if r.stream == nil {
		return 0, ErrClosed
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.readAhead.Read(p)
	if err != nil && r.ctx.Err() != nil { // which ends a program that decodes
		err = r.ctx.Err()
	}
	return n, err
}

// Close ends the decoding.
func (r *decodedFrame) Close() error {
	if r.stream != nil {
		r.rest()
		r.stream.engine.end()
		r.decoder.streams.Put(r.stream)
		r.stream = nil
	}
	return nil
}
