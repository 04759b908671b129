package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ReaderOptions are how a file is read. The zero value works.
type ReaderOptions struct {
	Jobs      int    // frames that are decoded at a time; 0 is the number of processors
	MaxMemory int64  // bytes for frames that are held and decoders of long ones, one of each at least; 0 is DefaultMaxMemory
	XZProgram string // path of the xz program; "" decodes in this process
	// LongDecoders is how many long frames a Reader decodes at a time. Each takes up to 131 MiB, which then are no part of
	// MaxMemory; 0 is as many as fit in that.
	LongDecoders int
}

func (o ReaderOptions) complete() ReaderOptions {
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	return o
}

// A Decoder turns single frames back into plain bytes. It holds no state between frames and may be used from many
// goroutines.
type Decoder struct {
	format    Format
	layout    layout
	zstd      *zstd.Decoder
	xzProgram string
	streams   sync.Pool // of *stream, see Stream
}

// NewDecoder returns a Decoder for the frames of a file of format f.
func NewDecoder(f Format, o ReaderOptions) *Decoder {
	o = o.complete()
	d := &Decoder{format: f, layout: layoutOf(f), xzProgram: o.XZProgram}
	if f != Zstd {
		return d
	}
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(o.Jobs),
		zstd.WithDecoderMaxMemory(MaxWindow),
		zstd.WithDecoderMaxWindow(MaxWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are constants but for Jobs, which is positive
	}
	d.zstd = z
	return d
}

// decodeRoom is the capacity beyond the plain size that lets the zstd decoder run without bounds checks.
const decodeRoom = 16

// Decode returns the plain bytes of frame f, whose bytes in the file are raw. They have the size and the checksums that
// f, and raw itself, state. The frame must not be long, see Stream. dst gives its memory if it has the capacity; what
// it holds is lost. Errors: ErrCorrupt as a *FrameError, and that of ctx.
func (d *Decoder) Decode(ctx context.Context, dst []byte, f Frame, raw []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if int64(len(raw)) != f.Size || f.PlainSize <= 0 || f.Long() {
		return nil, f.corrupt("%d bytes for a frame of %d, with %d plain bytes", len(raw), f.Size, f.PlainSize)
	}
	if need := int(f.PlainSize) + decodeRoom; cap(dst) < need {
		dst = make([]byte, 0, need)
	}
	dst = dst[:0]
	switch {
	case d.format == None:
		return append(dst, raw...), nil
	case d.isStored(f, raw):
		return d.unstore(dst, f, raw)
	case d.format == Zstd:
		return d.decodeZstd(dst, f, raw)
	default:
		return d.decodeXZ(ctx, dst, f, raw)
	}
}

// isStored reports whether raw is a stored frame as this package writes them.
func (d *Decoder) isStored(f Frame, raw []byte) bool {
	return storedCandidate(d.format, f) && isStored(d.layout, raw, f.PlainSize)
}

// storedCandidate reports whether f may be a stored frame, going by its sizes.
func storedCandidate(format Format, f Frame) bool {
	l := layoutOf(format)
	return l != nil && !f.Long() && (format != XZ || f.check == xzCheckCRC32) && f.Size == storedSize(l, f.PlainSize)
}

func (d *Decoder) unstore(dst []byte, f Frame, raw []byte) ([]byte, error) {
	dst, sum, ok := unstore(d.layout, dst, raw, f.PlainSize)
	if !ok || d.format == Zstd && sum != f.Sum {
		return nil, f.corrupt("the checksum of its content is wrong")
	}
	return dst, nil
}

func (d *Decoder) decodeZstd(dst []byte, f Frame, raw []byte) ([]byte, error) {
	if !isZstdMagic(raw) {
		return nil, f.corrupt("not a zstd frame")
	}
	c := &sliceCursor{rest: raw[zstdMagicSize:]}
	seen, err := walkZstd(c)
	switch {
	case err != nil:
		return nil, f.corrupt("%v", err)
	case len(c.rest) > 0:
		return nil, f.corrupt("%d bytes after its end", len(c.rest))
	case seen.plain != f.PlainSize || seen.sum != f.Sum:
		return nil, f.corrupt("size and checksum are %d and %08x, want %d and %08x",
			seen.plain, seen.sum, f.PlainSize, f.Sum)
	}
	plain, err := d.zstd.DecodeAll(raw, dst)
	if err != nil {
		return nil, f.corrupt("%v", err)
	}
	return plain, nil
}

func (d *Decoder) decodeXZ(ctx context.Context, dst []byte, f Frame, raw []byte) ([]byte, error) {
	p, err := splitBlock(raw, f.check)
	if err != nil {
		return nil, f.corrupt("%v", err)
	}
	if p.plain != f.PlainSize {
		return nil, f.corrupt("it claims %d plain bytes, want %d", p.plain, f.PlainSize)
	}
	if d.xzProgram == "" {
		if dst, err = decodeLZMA2(ctx, dst, p); err == nil {
			err = checkXZ(p, dst)
		}
	} else {
		dst, err = decodeXZProgram(ctx, d.xzProgram, dst, raw, p)
	}
	var program *programError
	switch {
	case err == nil:
		return dst, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &program) && !program.exited():
		return nil, f.fail("decoder", err) // the program could not be run
	}
	return nil, f.corrupt("%v", err)
}

// decodeLZMA2 appends the plain bytes of p to dst, which has room for them.
func decodeLZMA2(ctx context.Context, dst []byte, p xzPart) ([]byte, error) {
	in := bytes.NewReader(p.lzma2)
	r, err := newLZMA2(in, p.xzBlock)
	if err != nil {
		return nil, err
	}
	dst = dst[:p.plain]
	for done := 0; done < len(dst); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := io.ReadFull(r, dst[done:min(len(dst), done+lzma2Chunk)])
		if err != nil {
			return nil, unexpected(err)
		}
		done += n
	}
	var more [1]byte
	if n, err := r.Read(more[:]); n > 0 || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it holds more than %d plain bytes, or is damaged at its end", p.plain)
	}
	if in.Len() > 0 {
		return nil, fmt.Errorf("%d bytes after its end mark", in.Len())
	}
	return dst, nil
}

// checkXZ proves the check of a block over its plain bytes.
func checkXZ(p xzPart, plain []byte) error {
	h, err := newXZSum(p.kind)
	if err != nil {
		return err
	}
	if h != nil {
		h.Write(plain)
	}
	return checkXZSum(p.kind, h, p.check)
}

// newXZSum returns the hash of a check type, nil where there is no check.
func newXZSum(kind byte) (hash.Hash, error) {
	switch kind {
	case 0:
		return nil, nil
	case xzCheckCRC32:
		return crc32.NewIEEE(), nil
	case xzCheckCRC64:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), nil
	case xzCheckSHA256:
		return sha256.New(), nil
	}
	return nil, fmt.Errorf("check type %d is not known", kind)
}

// checkXZSum compares the hash of plain bytes with the check that a block ends in.
func checkXZSum(kind byte, h hash.Hash, want []byte) error {
	if h == nil {
		return nil
	}
	sum := h.Sum(nil)
	if kind != xzCheckSHA256 { // the CRCs are little-endian in the file
		slices.Reverse(sum)
	}
	if !bytes.Equal(sum, want) {
		return errors.New("the checksum of its content is wrong")
	}
	return nil
}

// Salvage returns the plain bytes of a damaged frame as far as they can still be told, or nil: those of a stored frame
// stand where they stand, whatever its checksum says. (Those of a long frame come from Stream, up to the damage.) Bytes
// that could not be read at all may be anything in raw. The result has f.PlainSize bytes and no promise; each part of it
// has to be proved by other means. dst is used as in Decode.
func (d *Decoder) Salvage(dst []byte, f Frame, raw []byte) []byte {
	switch {
	case int64(len(raw)) != f.Size || f.PlainSize <= 0 || f.Long():
		return nil
	case d.format == None:
		return append(dst[:0], raw...)
	case !storedCandidate(d.format, f):
		return nil
	}
	// A compressed frame of the same size by chance shows next to no header where a stored one has them.
	good, all := storedHeaders(d.layout, raw, f.PlainSize), chunks(d.layout, f.PlainSize)
	whole := bytes.HasPrefix(raw, d.layout.appendHead(nil, f.PlainSize))
	if !whole && good < (all+1)/2 {
		return nil
	}
	plain, _, _ := unstore(d.layout, dst[:0], raw, f.PlainSize)
	return plain
}

// sumOf returns the checksum that a zstd frame ends in.
func sumOf(raw []byte) uint32 { return binary.LittleEndian.Uint32(raw[len(raw)-zstdSumSize:]) }
