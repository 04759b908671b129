package compress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Scanner reads a file in order, as from a pipe, and gives its frames as they are in the file. It needs no table and
// proves the one at the end. Its methods are for one goroutine, but for Decode and Release.
type Scanner struct {
	format  Format
	in      *bufio.Reader
	cursor  streamCursor
	trailer trailer // what has been seen
	check   byte    // check type of the xz stream
	decoder *Decoder
	free    chan []byte
	long    *scannedLong // the long frame that Next returned last

	number int
	plain  int64
	id     [32]byte
	hasID  bool
	err    error

	ctx  context.Context // of decoders, which outlive the call of Next; ends with Close
	stop context.CancelFunc
}

// scanBuffer is the size of the buffer before the frames, which saves a system call for each small header.
const scanBuffer = 64 << 10

// NewScanner returns a Scanner of r, a file of format f from its first byte on. Close must be called; it does not
// close r.
func NewScanner(r io.Reader, f Format, o ReaderOptions) *Scanner {
	s := &Scanner{format: f, in: bufio.NewReaderSize(r, scanBuffer), decoder: NewDecoder(f, o)}
	s.cursor.r = s.in
	s.free = make(chan []byte, o.complete().Jobs+spareFrames)
	// Frames are decoded after the call that read them; what ends them all is Close.
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Next returns the next frame and its bytes in the file, which are the caller's until it gives them to Release. For a
// long frame it returns no bytes, see Stream, and Size and Sum are 0 where the file does not state them beforehand.
// What was not read of a long frame is passed over by the next call.
// io.EOF comes back only after a complete file, table included; a file that ends earlier is io.ErrUnexpectedEOF, any
// damage ErrCorrupt, in a *FrameError. The content of the frame is not proved, see Decode.
func (s *Scanner) Next() (Frame, []byte, error) {
	if s.err == nil {
		s.err = s.endLong()
	}
	if s.err != nil {
		return Frame{}, nil, s.err
	}
	f, raw, err := s.next()
	if err != nil {
		s.err = err
		return Frame{}, nil, err
	}
	s.number++
	s.plain += f.PlainSize
	return f, raw, nil
}

// Decode returns the plain bytes of a frame that Next returned, as Decoder.Decode does. It may be called from many
// goroutines. Close ends it.
func (s *Scanner) Decode(dst []byte, f Frame, raw []byte) ([]byte, error) {
	return s.decoder.Decode(s.ctx, dst, f, raw)
}

// Stream returns the plain bytes of the long frame that Next returned last, as Decoder.Stream does, until the next call
// of Next. They are read while they are decoded, a little ahead of the caller.
func (s *Scanner) Stream() io.Reader {
	if s.long == nil {
		return strings.NewReader("")
	}
	return s.long.read(s.ctx, s.decoder)
}

// Release takes back memory that Next returned, to be used again. It may be called from many goroutines.
func (s *Scanner) Release(raw []byte) {
	select {
	case s.free <- raw:
	default:
	}
}

// ContentID returns the content id of the stamps; ok is false as long as none was seen, and in formats that have none.
func (s *Scanner) ContentID() (id [32]byte, ok bool) { return s.id, s.hasID }

// Close ends the Scanner and what it decodes. It does not wait for a long frame whose bytes are being waited for.
func (s *Scanner) Close() error {
	s.stop()
	if s.long != nil {
		go s.long.halt() // which may wait for the file
		s.long = nil
	}
	if s.err == nil {
		s.err = ErrClosed
	}
	return nil
}

func (s *Scanner) next() (Frame, []byte, error) {
	if s.trailer == nil && s.format != XZ {
		s.trailer = newTrailer(s.format, 0)
	}
	s.cursor.raw = s.buffer()
	switch s.format {
	case Zstd:
		return s.nextZstd()
	case XZ:
		return s.nextXZ()
	default:
		return s.nextPlain()
	}
}

// buffer returns memory for the next frame.
func (s *Scanner) buffer() []byte {
	select {
	case b := <-s.free:
		return b[:0]
	default:
		return nil
	}
}

// frame begins a frame at the next byte, of which lead bytes went before.
func (s *Scanner) frame(lead int64) Frame {
	return Frame{Number: s.number, Offset: s.cursor.off, Lead: lead, PlainOffset: s.plain, check: s.check}
}

// nextPlain returns the next piece of a plain file.
func (s *Scanner) nextPlain() (Frame, []byte, error) {
	f := s.frame(0)
	s.cursor.raw = growAmortized(s.cursor.raw, noneFrameSize)
	n, err := io.ReadFull(s.in, s.cursor.raw)
	s.cursor.off += int64(n)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return f, nil, io.EOF
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return f, nil, f.fail("reading it", err)
	}
	return plainFrame(f.Number, f.Offset, int64(n)), s.cursor.raw[:n], nil
}

// nextZstd returns the next zstd frame, after its stamp.
func (s *Scanner) nextZstd() (Frame, []byte, error) {
	f := s.frame(0)
	magic, err := s.in.Peek(zstdMagicSize)
	switch {
	case err != nil:
		return f, nil, f.fail("reading its magic", err)
	case binary.LittleEndian.Uint32(magic) == seekTableMagic:
		return f, nil, s.finish()
	}
	if s.number > 0 {
		if err := s.readStamp(f); err != nil {
			return f, nil, err
		}
		f = s.frame(stampSize)
	}
	magic, err = s.cursor.next(zstdMagicSize)
	if err != nil {
		return f, nil, f.fail("reading its magic", err)
	}
	if !isZstdMagic(magic) {
		return f, nil, f.corrupt("it begins with %x, not with the magic of zstd", magic)
	}
	z, err := walkZstdHeader(&s.cursor)
	if err == nil && isLong(z.plain) {
		return s.beginLong(f, z.plain, &zstdBlocks{cursor: &s.cursor, frame: z, part: zstdBlock, rest: s.cursor.raw})
	}
	if err == nil {
		err = z.walkBody(&s.cursor)
	}
	if err != nil {
		return f, nil, s.walkError(f, err)
	}
	return s.done(f, z.size, z.plain, z.sum)
}

// done completes the frame that the cursor went through.
func (s *Scanner) done(f Frame, size, plain int64, sum uint32) (Frame, []byte, error) {
	f.Size, f.PlainSize, f.Sum = size, plain, sum
	if f.Number >= MaxFrames {
		return f, nil, f.corrupt("more than %d frames", MaxFrames)
	}
	s.trailer.add(s.cursor.raw, plain)
	return f, s.cursor.raw, nil
}

// beginLong returns the long frame f, whose bytes in the file are raw.
func (s *Scanner) beginLong(f Frame, plain int64, raw frameBytes) (Frame, []byte, error) {
	f.PlainSize = plain
	if f.Number >= MaxFrames {
		return f, nil, f.corrupt("more than %d frames", MaxFrames)
	}
	s.long = &scannedLong{frame: f, raw: raw}
	return f, nil, nil
}

// endLong goes to the end of the long frame, if there is one, and takes it into the table.
func (s *Scanner) endLong() error {
	l := s.long
	if l == nil {
		return nil
	}
	s.long = nil
	if err := l.end(); err != nil {
		return s.walkError(l.frame, err)
	}
	s.trailer.addSizes(l.raw.sizes())
	return nil
}

// scannedLong is a long frame in a pipe.
type scannedLong struct {
	frame   Frame
	raw     frameBytes
	stream  *stream    // when it is wanted
	plain   *readAhead // of stream
	decoder *Decoder
}

// read returns the plain bytes of the frame.
func (l *scannedLong) read(ctx context.Context, d *Decoder) io.Reader {
	if l.plain == nil {
		l.decoder, l.stream = d, d.stream()
		l.stream.startRaw(ctx, l.frame, l.raw)
		l.plain = newReadAhead(l.stream)
	}
	return l.plain
}

// end reads the bytes in the file up to the end of the frame.
func (l *scannedLong) end() error {
	l.halt()
	_, err := io.Copy(io.Discard, l.raw)
	return err
}

// halt ends the decoding.
func (l *scannedLong) halt() {
	if l.plain != nil {
		l.plain.rest()
		l.stream.engine.end()
		l.decoder.streams.Put(l.stream)
	}
}

// walkError tells what the bytes of a frame say wrong from what reading them said.
func (s *Scanner) walkError(f Frame, err error) error {
	f.Size = s.cursor.off - f.Offset
	if s.cursor.err != nil {
		return f.fail("reading it", s.cursor.err)
	}
	return f.corrupt("%v", err)
}

// readStamp reads the stamp before frame f.
func (s *Scanner) readStamp(f Frame) error {
	var p [stampSize]byte
	n, err := io.ReadFull(s.in, p[:])
	s.cursor.off += int64(n)
	if err != nil {
		return f.fail("reading its stamp", err)
	}
	st, err := parseStamp(p[:])
	if err == nil {
		err = st.matches(f.Number, f.PlainOffset)
	}
	if err == nil && s.hasID && st.id != s.id {
		err = fmt.Errorf("its content id is %x, want %x", st.id, s.id)
	}
	if err != nil {
		return f.corrupt("its stamp: %v", err)
	}
	s.id, s.hasID = st.id, true
	return nil
}

// nextXZ returns the next block, after the header of the stream if it is the first.
func (s *Scanner) nextXZ() (Frame, []byte, error) {
	if s.trailer == nil {
		if err := s.readXZHeader(); err != nil {
			return Frame{}, nil, err
		}
	}
	f := s.frame(0)
	if s.number == 0 {
		f.Lead = xzHeaderSize
	}
	first, err := s.in.Peek(1)
	switch {
	case err != nil:
		return f, nil, f.fail("reading its header", err)
	case first[0] == 0: // where a block has the size of its header, the index has a zero
		return f, nil, s.finish()
	}
	if first, err = s.cursor.next(1); err != nil {
		return f, nil, f.fail("reading its header", err)
	}
	b, err := walkXZHeader(&s.cursor, first[0])
	if err == nil && isLong(b.plain) {
		raw := &xzBytes{cursor: &s.cursor, check: s.check}
		raw.begin(b)
		f.Size = b.size(s.check)
		return s.beginLong(f, b.plain, raw)
	}
	if err == nil {
		err = s.cursor.skip(b.size(s.check) - b.header)
	}
	if err != nil {
		return f, nil, s.walkError(f, unexpected(err))
	}
	return s.done(f, b.size(s.check), b.plain, 0)
}

func (s *Scanner) readXZHeader() error {
	var p [xzHeaderSize]byte
	n, err := io.ReadFull(s.in, p[:])
	s.cursor.off += int64(n)
	if err != nil {
		return readError(0, "header of the xz stream", err)
	}
	if s.check, err = parseXZHeader(p[:]); err != nil {
		return tableError(0, "header of the xz stream: %v", err)
	}
	s.trailer = newTrailer(XZ, s.check)
	return nil
}

// finish proves that the rest of the file is the table of what has been seen. It returns io.EOF if so.
func (s *Scanner) finish() error {
	start := s.cursor.off
	want := s.trailer.finish()
	// Piece by piece: what comes is not believed to be as long as what is expected.
	for len(want) > 0 {
		p := s.cursor.raw[:0]
		p = growAmortized(p, min(len(want), scanBuffer))
		n, err := io.ReadFull(s.in, p)
		s.cursor.off += int64(n)
		if !bytes.Equal(p[:n], want[:n]) {
			return tableError(start, "the table does not agree with the %d frames before it", s.number)
		}
		if err != nil {
			return readError(start, fmt.Sprintf("table of the %d frames before it", s.number), err)
		}
		want = want[n:]
	}
	switch _, err := s.in.Peek(1); {
	case err == nil:
		return tableError(s.cursor.off, "bytes after the end of the file")
	case !errors.Is(err, io.EOF):
		return readError(s.cursor.off, "after the end of the file", err)
	}
	return io.EOF
}
