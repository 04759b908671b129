package deflate

import (
	"math/bits"
	"sync"
)

// An entry is what the next bits of a stream begin with. From the lowest bit on:
//
//	8 bits   how many bits it takes, extra bits included
//	4 bits   how many of these are the code
//	4 bits   flags
//	16 bits  the byte of a literal; the least length or distance, as a token has it; the place of a further table
type entry uint32

const (
	entryMatch   entry = 1 << 12 // the length of a match
	entryFurther entry = 1 << 13 // the code is longer than the bits that the table is looked up with
	entryEnd     entry = 1 << 14 // the end of the block
	entryInvalid entry = 1 << 15 // no code, or one of a symbol that means nothing

	entryNoLiteral = entryMatch | entryFurther | entryEnd | entryInvalid
)

func (e entry) bits() uint  { return uint(e & 0xff) }
func (e entry) code() uint  { return uint(e >> 8 & 0xf) }
func (e entry) value() uint { return uint(e >> 16) }

// extra returns the value of the extra bits of e in word, which begins with its code.
func (e entry) extra(word uint64) uint {
	return uint(word & (1<<(e.bits()&63) - 1) >> e.code())
}

// ending returns what e ends the tokens with, if it does.
func (e entry) ending() ending {
	switch {
	case e&entryEnd != 0:
		return endBlock
	case e&entryInvalid != 0:
		return endLiteral
	}
	return endRoom
}

const (
	literalBits  = 11 // the tables are looked up with so many bits, and then with the rest of at most 15
	distanceBits = 8

	literalFurther  = 1 << (maxCodeLength - literalBits)
	distanceFurther = 1 << (maxCodeLength - distanceBits)
	// In a further table of a complete code are two codes at least, and of distances these are longer than distanceBits.
	literalTableSize  = 1<<literalBits + fixedLiterals/2*literalFurther
	distanceTableSize = 1<<distanceBits + MaxDistances/2*distanceFurther
)

// tables are the codes of a block.
type tables struct {
	literal  [literalTableSize]entry
	distance [distanceTableSize]entry
}

// fixedTables returns the codes of a Fixed block.
var fixedTables = sync.OnceValue(func() *tables {
	literals, distances := FixedLiteralLengths(), FixedDistanceLengths()
	t := new(tables)
	t.build(literals[:], distances[:])
	return t
})

// build makes t of code lengths that checkLengths takes.
func (t *tables) build(literals, distances []uint8) {
	buildTable(t.literal[:], literals, literalBits, &literalEntries)
	buildTable(t.distance[:], distances, distanceBits, &distanceEntries)
}

// literalEntries and distanceEntries have the entry of each symbol, without its code.
var literalEntries, distanceEntries = symbolEntries()

// headerEntries has those of the symbols in which code lengths are written.
var headerEntries = func() (entries [fixedLiterals]entry) {
	for s := range entries[:len(CodeLengthOrder)] {
		entries[s] = entry(s)<<16 | entry(LengthSymbolExtraBits(s))
	}
	return entries
}()

func symbolEntries() (literals, distances [fixedLiterals]entry) {
	for s := range literals {
		switch {
		case s < EndOfBlock:
			literals[s] = entry(s) << 16
		case s == EndOfBlock:
			literals[s] = entryEnd
		case s-257 < LengthCodes:
			literals[s] = entryMatch | entry(lengthBase[s-257])<<16 | entry(lengthExtra[s-257])
		default:
			literals[s] = entryInvalid
		}
		distances[s] = entryInvalid
		if s < DistanceCodes {
			distances[s] = entry(distanceBase[s])<<16 | entry(distanceExtra[s])
		}
	}
	return literals, distances
}

// buildTable makes the table of a code in dst, of which 1<<width entries are looked up first. symbols has the entry of each
// symbol, to which its code is added.
func buildTable(dst []entry, lengths []uint8, width uint, symbols *[fixedLiterals]entry) {
	counts, _ := countLengths(lengths)
	next := firstCodes(&counts)
	clear(dst[:1<<width])
	if roomLeft(&counts) > 0 {
		for i := range dst[:1<<width] {
			dst[i] = entryInvalid | 1 // there is one code of one bit, or none
		}
	}
	free := uint(1) << width // where the next further table begins
	for s, n := range lengths {
		if n == 0 {
			continue
		}
		code := uint(bits.Reverse16(next[n]) >> (16 - n))
		next[n]++
		e := symbols[s] + entry(n)<<8 + entry(n)
		if uint(n) <= width {
			fill(dst[:1<<width], code, uint(n), e)
			continue
		}
		further := &dst[code&(1<<width-1)]
		if *further&entryFurther == 0 {
			*further = entryFurther | entry(free)<<16
			free += 1 << (maxCodeLength - width)
		}
		at := further.value()
		fill(dst[at:at+1<<(maxCodeLength-width)], code>>width, uint(n)-width, e)
	}
}

// fill sets all entries of table whose number ends in the n bits of code.
func fill(table []entry, code, n uint, e entry) {
	for i := code; i < uint(len(table)); i += 1 << n {
		table[i] = e
	}
}
