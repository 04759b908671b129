package zstdlong

import (
	"errors"

	"github.com/klauspost/compress/huff0"
)

// Types of the literals section, RFC 8878 section 3.1.1.3.1.1.
const (
	literalsRaw = iota
	literalsRLE
	literalsCompressed
	literalsTreeless
)

// fewLiterals are not worth a Huffman tree.
const fewLiterals = 32

// literalCoder encodes literals, block after block.
type literalCoder struct{ huff huff0.Scratch }

// begin forgets the tree, for a new frame or after a block that has not brought it.
func (c *literalCoder) begin() { c.huff.Reuse = huff0.ReusePolicyNone }

// appendTo appends the literals section of a block.
func (c *literalCoder) appendTo(dst, lits []byte) ([]byte, error) {
	if len(lits) < fewLiterals {
		return appendRawLiterals(dst, lits), nil
	}
	single := len(lits) < 1024
	encode := huff0.Compress4X
	if single {
		encode = huff0.Compress1X
	}
	out, reused, err := encode(lits, &c.huff)
	switch {
	case errors.Is(err, huff0.ErrUseRLE):
		return append(appendShortHeader(dst, literalsRLE, len(lits)), lits[0]), nil
	case errors.Is(err, huff0.ErrIncompressible):
		return appendRawLiterals(dst, lits), nil
	case err != nil:
		return dst, err
	}
	kind := uint64(literalsCompressed)
	if reused {
		kind = literalsTreeless
	}
	c.huff.Reuse = huff0.ReusePolicyAllow
	return append(appendLongHeader(dst, kind, len(lits), len(out), single), out...), nil
}

func appendRawLiterals(dst, lits []byte) []byte {
	return append(appendShortHeader(dst, literalsRaw, len(lits)), lits...)
}

// appendShortHeader appends the header of literals that are raw or one byte repeated n times.
func appendShortHeader(dst []byte, kind, n int) []byte {
	switch {
	case n < 1<<5:
		return append(dst, byte(kind|n<<3))
	case n < 1<<12:
		v := kind | 1<<2 | n<<4
		return append(dst, byte(v), byte(v>>8))
	default:
		v := kind | 3<<2 | n<<4
		return append(dst, byte(v), byte(v>>8), byte(v>>16))
	}
}

// appendLongHeader appends the header of n literals that take size bytes, in one stream or four.
func appendLongHeader(dst []byte, kind uint64, n, size int, single bool) []byte {
	format, width := uint64(1), 10
	switch {
	case n >= 1<<14 || size >= 1<<14:
		format, width = 3, 18
	case n >= 1<<10 || size >= 1<<10:
		format, width = 2, 14
	case single:
		format = 0
	}
	v := kind | format<<2 | uint64(n)<<4 | uint64(size)<<(4+width)
	for range (4 + 2*width + 7) / 8 {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}
