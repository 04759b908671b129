package deflate

import (
	"bufio"
	"io"
	"slices"
)

const (
	// MaxTokens is how many tokens a block can have that a [Reader] takes. Encoders with blocks of a fixed size have 65,535
	// at most; those of klauspost/compress and Go 1.27 go on as long as the codes of a block are good enough.
	MaxTokens = 4 << 20
	// MaxBlockSize is how many plain bytes such a block can have: four times the 32,767 longest matches of zlib.
	MaxBlockSize = 32 << 20

	inputSize = 64 << 10 // bytes that are read at once
	plainSize = 256 << 10
)

// Reader reads the blocks of a stream, and what they stand for. It takes the streams that zlib takes, and those with 31 or
// 32 distances, of which the last two never occur; RFC 1951 and other decoders allow these.
//
// Memory is about 500 KiB, and for the largest block 70 MiB.
type Reader struct {
	bits bitReader
	own  *bufio.Reader // for sources that are none
	err  error         // of Next, for ever

	block  Block
	tables tables
	// lengths has room for those of a header.
	lengths [MaxLiterals + MaxDistances]uint8

	// plain[:end] are plain bytes, of which the block has those from start on. Those before are all of the stream, or
	// WindowSize at least.
	plain      []byte
	start, end int
	padding    uint8
}

// NewReader returns a Reader of the stream that src begins with. See [Reader.Reset] for how much of src it reads.
func NewReader(src io.Reader) *Reader {
	r := new(Reader)
	r.Reset(src)
	return r
}

// Reset makes r read the stream that src begins with.
//
// If src is a *bufio.Reader, it is left right after what the blocks so far needed: after io.EOF from Next, its next byte is
// the first one that does not belong to the stream. Of any other src more may be read; r then reads from a bufio.Reader of
// its own.
func (r *Reader) Reset(src io.Reader) {
	buffered, ok := src.(*bufio.Reader)
	if !ok {
		if r.own == nil {
			r.own = bufio.NewReaderSize(nil, inputSize)
		}
		buffered = r.own
		buffered.Reset(src)
	}
	r.bits.reset(buffered)
	r.err, r.block.Final = nil, false
	r.start, r.end, r.padding = 0, 0, 0
}

// Next returns the next block, which is valid until the next call, and io.EOF after the Final one. An error in the stream
// is a [*StreamError], and stays.
func (r *Reader) Next() (*Block, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.block.Final {
		r.err = io.EOF
		return nil, r.err
	}
	r.start = r.end
	if r.err = r.readBlock(); r.err != nil {
		return nil, r.err
	}
	if r.block.Final {
		r.padding = uint8(r.bits.take(r.bits.n % 8))
	}
	r.bits.release()
	return &r.block, nil
}

// Plain returns the plain bytes of the block that Next returned last. They are valid until the next call of
// Next.
func (r *Reader) Plain() []byte { return r.plain[r.start:r.end:r.end] }

// Window returns the bytes before [Reader.Plain] that a match of the block can reach: [WindowSize], or all of the stream if
// these are less. They are valid until the next call of Next.
func (r *Reader) Window() []byte { return r.plain[max(0, r.start-WindowSize):r.start:r.start] }

// BitOffset returns how many bits the blocks so far take, and after the Final one the whole stream, which ends with a whole
// byte.
func (r *Reader) BitOffset() int64 { return r.bits.offset() }

// InputSize returns how many bytes of the source the blocks so far take, the last of them perhaps in part.
func (r *Reader) InputSize() int64 { return (r.BitOffset() + 7) / 8 }

// Padding returns the bits between the Final block and the end of its last byte, the first one lowest. Encoders write zeros.
func (r *Reader) Padding() uint8 { return r.padding }

func (r *Reader) readBlock() error {
	head, err := r.bits.read(3, "head of a block")
	if err != nil {
		return err
	}
	b := &r.block
	*b = Block{
		Kind: Kind(head >> 1), Final: head&1 != 0,
		Tokens: b.Tokens[:0], Header: Header{Lengths: b.Header.Lengths[:0]},
	}
	switch b.Kind {
	case Stored:
		return r.readStored()
	case Fixed:
		return r.readTokens(fixedTables())
	case Dynamic:
		if err := r.readHeader(); err != nil {
			return err
		}
		return r.readTokens(&r.tables)
	}
	return r.bits.corrupt("a block of kind 3")
}

func (r *Reader) readStored() error {
	b := &r.bits
	r.block.Padding = uint8(b.take(b.n % 8))
	if !b.need(32) {
		return b.fail("length of a stored block")
	}
	size, inverse := b.take(16), b.take(16)
	if size != inverse^0xffff {
		return b.corrupt("the two lengths of a stored block differ")
	}
	r.room(int(size))
	b.release()
	n, err := io.ReadFull(b.src, r.plain[r.end:r.end+int(size)])
	b.base += int64(n)
	if err != nil {
		b.err = err
		return b.fail("bytes of a stored block")
	}
	r.end += n
	r.block.Raw = r.Plain()
	return nil
}

// readHeader reads the header of a Dynamic block and makes its codes.
func (r *Reader) readHeader() error {
	b, h := &r.bits, &r.block.Header
	if !b.need(14) {
		return b.fail("header of a block")
	}
	h.Literals, h.Distances, h.Codes = int(b.take(5))+257, int(b.take(5))+1, int(b.take(4))+4
	if err := h.checkCounts(); err != nil {
		return b.corrupt(err.Error())
	}
	for _, symbol := range CodeLengthOrder[:h.Codes] {
		n, err := b.read(3, "header of a block")
		if err != nil {
			return err
		}
		h.CodeLengths[symbol] = uint8(n)
	}
	if err := h.checkCodeLengths(); err != nil {
		return b.corrupt(err.Error())
	}
	if err := r.readLengths(); err != nil {
		return err
	}
	literals, distances := r.lengths[:h.Literals], r.lengths[h.Literals:h.Literals+h.Distances]
	if err := checkLengths(literals, distances); err != nil {
		return b.corrupt(err.Error())
	}
	r.tables.build(literals, distances)
	return nil
}

// readLengths reads the code lengths of a header.
func (r *Reader) readLengths() error {
	b, h := &r.bits, &r.block.Header
	var table [1 << maxHeaderLength]entry
	buildTable(table[:], h.CodeLengths[:], maxHeaderLength, &headerEntries)
	if h.Lengths == nil {
		h.Lengths = make([]LengthSymbol, 0, len(r.lengths))
	}
	for lengths, total := r.lengths[:0], h.Literals+h.Distances; len(lengths) < total; {
		e := table[b.word&(1<<b.n-1)&(1<<maxHeaderLength-1)]
		if e.bits() > b.n {
			if !b.need(b.n + 1) {
				return b.fail("code lengths of a block")
			}
			continue // with a true bit in place of a zero
		}
		b.take(e.code())
		l := LengthSymbol{Symbol: uint8(e.value()), Extra: uint8(b.take(e.bits() - e.code()))}
		value, count, err := l.run(lengths)
		if err == nil && len(lengths)+count > total {
			err = errTooManyLengths
		}
		if err != nil {
			return b.corrupt(err.Error())
		}
		for range count {
			lengths = append(lengths, value)
		}
		h.Lengths = append(h.Lengths, l)
	}
	return nil
}

// room makes plain have room for n bytes behind its end. It keeps the window.
func (r *Reader) room(n int) {
	if len(r.plain)-r.end >= n {
		return
	}
	// What precedes the block is needed as a window only.
	if drop := r.start - WindowSize; drop > 0 {
		copy(r.plain, r.plain[drop:r.end])
		r.start -= drop
		r.end -= drop
	}
	if len(r.plain)-r.end < n {
		r.plain = slices.Grow(r.plain[:r.end], max(n, plainSize))
		r.plain = r.plain[:cap(r.plain)]
	}
}
