package deflate

import (
	"bufio"
	"errors"
	"io"
)

// bitReader gives the bits of a stream, the lowest one of each byte first.
type bitReader struct {
	src  *bufio.Reader
	base int64  // bytes of the stream before in
	in   []byte // what src has at hand
	pos  int    // in in, of the next byte that is not in word
	word uint64 // the next bits; those from n on mean nothing
	n    uint   // how many of them there are
	err  error  // of src
}

func (b *bitReader) reset(src *bufio.Reader) { *b = bitReader{src: src} }

// offset returns how many bits were used.
func (b *bitReader) offset() int64 { return (b.base+int64(b.pos))*8 - int64(b.n) }

// need makes word have at least n bits, at most 56, and reports whether there are so many. It reads no byte of the source
// that is not needed for that.
func (b *bitReader) need(n uint) bool {
	for b.n < n {
		if b.pos == len(b.in) && !b.more() {
			return false
		}
		b.word = b.word&(1<<b.n-1) | uint64(b.in[b.pos])<<b.n
		b.pos++
		b.n += 8
	}
	return true
}

// take returns the next n bits, which need has got.
func (b *bitReader) take(n uint) uint {
	v := uint(b.word & (1<<n - 1))
	b.word >>= n
	b.n -= n
	return v
}

// read returns the next n bits, at most 16.
func (b *bitReader) read(n uint, what string) (uint, error) {
	if !b.need(n) {
		return 0, b.fail(what)
	}
	return b.take(n), nil
}

// release gives whole bytes of word back, and to the source what was not used.
func (b *bitReader) release() {
	b.pos -= int(b.n / 8)
	b.n %= 8
	b.word &= 1<<b.n - 1
	b.base += int64(b.pos)
	_, _ = b.src.Discard(b.pos) // of what Peek gave
	b.in, b.pos = nil, 0
}

// more gets bytes of the source behind those that it has, and reports whether there are any.
func (b *bitReader) more() bool {
	if b.err != nil {
		return false
	}
	held := int(b.n / 8) // which are given back
	b.release()
	if _, err := b.src.Peek(held + 1); err != nil {
		b.err = err
	}
	b.in, _ = b.src.Peek(b.src.Buffered())
	return len(b.in) > held
}

// fail returns the error of bits that did not come.
func (b *bitReader) fail(what string) error {
	err := b.err
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &StreamError{Bit: b.offset(), Reason: what, Err: err}
}

// corrupt returns the error of bits that are wrong.
func (b *bitReader) corrupt(reason string) error {
	return &StreamError{Bit: b.offset(), Reason: reason}
}
