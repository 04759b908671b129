package deflate

import "sync"

// A literalCode is the bits of a literal, or of a match length with its extra bits, at most 20, and how many there are, from
// bit 24 on. 0 is no code.
type literalCode uint32

func (c literalCode) bits() uint64 { return uint64(c & 0xfffff) }
func (c literalCode) size() uint   { return uint(c >> 24) }

// A distanceCode is, in 16 bits each, the code of a distance symbol, its size, its size with extra bits, and the least
// distance, less 1. 0 is no code.
type distanceCode uint64

func (c distanceCode) code() uint64     { return uint64(c & 0xffff) }
func (c distanceCode) codeSize() uint   { return uint(c >> 16 & 0xffff) }
func (c distanceCode) size() uint       { return uint(c >> 32 & 0xffff) }
func (c distanceCode) distance() uint32 { return uint32(c >> 48) }

// writerCodes are the codes of a block.
type writerCodes struct {
	literal  [EndOfBlock + 1]literalCode
	length   [256]literalCode // of matches, by length less MinMatch
	long     literalCode      // of LongMatch
	distance [32]distanceCode // of the symbols
}

// build makes c of code lengths that checkLengths takes.
func (c *writerCodes) build(literals, distances []uint8) {
	var codes [fixedLiterals]uint16
	_ = Codes(literals, codes[:]) // the lengths were checked
	for s := range c.literal {
		c.literal[s] = newLiteralCode(codes[s], literals[s], 0, 0)
	}
	for i := range c.length {
		s := int(lengthSymbol[i])
		c.length[i] = lengthCode(codes[:], literals, s, uint8(i)-lengthBase[s])
	}
	c.long = lengthCode(codes[:], literals, 284-257, 31)

	clear(c.distance[:])
	_ = Codes(distances, codes[:])
	for s, n := range distances[:min(len(distances), DistanceCodes)] {
		if n > 0 {
			c.distance[s] = distanceCode(codes[s]) | distanceCode(n)<<16 | distanceCode(n+distanceExtra[s])<<32 |
				distanceCode(distanceBase[s])<<48
		}
	}
}

// lengthCode returns the code of the length symbol 257+s, with the value of its extra bits.
func lengthCode(codes []uint16, literals []uint8, s int, extra uint8) literalCode {
	if 257+s >= len(literals) {
		return 0
	}
	return newLiteralCode(codes[257+s], literals[257+s], extra, lengthExtra[s])
}

func newLiteralCode(code uint16, size, extra, extraSize uint8) literalCode {
	if size == 0 {
		return 0
	}
	return literalCode(code) | literalCode(extra)<<size | literalCode(size+extraSize)<<24
}

// fixedCodes returns the codes of a Fixed block.
var fixedCodes = sync.OnceValue(func() *writerCodes {
	literals, distances := FixedLiteralLengths(), FixedDistanceLengths()
	c := new(writerCodes)
	c.build(literals[:], distances[:])
	return c
})
