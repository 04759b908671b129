package golang

import (
	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip/huffman"
)

// blocks makes blocks of tokens.
type blocks struct {
	emit  deflate.Emit
	block deflate.Block

	literals  [deflate.MaxLiterals]uint32                        // how often a symbol of the literal code occurs
	distances [deflate.DistanceCodes]uint32                      // how often one of the distance code does
	lengths   [deflate.MaxLiterals + deflate.DistanceCodes]uint8 // code lengths: of the literals, and right behind them those of distances
	tree      huffman.Builder
	tokens    []deflate.Token // of literalsOnly
}

// stored gives a stored block.
func (b *blocks) stored(raw []byte, final bool) error {
	b.block.Kind, b.block.Final, b.block.Raw, b.block.Tokens = deflate.Stored, final, raw, nil
	return b.emit(&b.block)
}

// coded gives a block of tokens.
func (b *blocks) coded(kind deflate.Kind, tokens []deflate.Token) error {
	b.block.Kind, b.block.Final, b.block.Raw, b.block.Tokens = kind, false, nil, tokens
	return b.emit(&b.block)
}

// smallest gives the block of tokens that has the fewest bits. It is not stored where the bytes are not known: raw is nil.
func (b *blocks) smallest(tokens []deflate.Token, raw []byte) error {
	dynamic := b.dynamicBits(b.count(tokens))
	kind, size := deflate.Fixed, b.fixedBits()
	if dynamic < size {
		kind, size = deflate.Dynamic, dynamic
	}
	// Where there is no match, the size has the distance that is counted nevertheless.
	if storable(raw) && storedBits(raw) < size+b.extraBits() {
		return b.stored(raw, false)
	}
	return b.coded(kind, tokens)
}

// worthwhile gives the dynamic block of tokens, or a stored one where that has at most 1/16 more bits.
func (b *blocks) worthwhile(tokens []deflate.Token, raw []byte) error {
	if b.hardlySmaller(raw, b.count(tokens)) {
		return b.stored(raw, false)
	}
	return b.coded(deflate.Dynamic, tokens)
}

// literalsOnly gives the dynamic block of literals, or a stored one where that has at most 1/16 more bits.
func (b *blocks) literalsOnly(raw []byte) error {
	clear(b.literals[:])
	clear(b.distances[:])
	for _, c := range raw {
		b.literals[c]++
	}
	if b.hardlySmaller(raw, b.used()) {
		return b.stored(raw, false)
	}
	if b.tokens == nil {
		b.tokens = make([]deflate.Token, largestStored)
	}
	tokens := b.tokens[:len(raw)]
	for i, c := range raw {
		tokens[i] = deflate.Literal(c)
	}
	return b.coded(deflate.Dynamic, tokens)
}

// hardlySmaller makes the header of a dynamic block of what was counted, and reports whether a stored block of raw has at
// most 1/16 more bits. The extra bits of matches are left out of the account.
func (b *blocks) hardlySmaller(raw []byte, told symbols) bool {
	size := b.dynamicBits(told)
	return storable(raw) && storedBits(raw) < size+size>>4
}

func storable(raw []byte) bool  { return raw != nil && len(raw) <= largestStored }
func storedBits(raw []byte) int { return (5 + len(raw)) * 8 }

// symbols is how many of each code a header tells.
type symbols struct{ literals, distances int }

// count counts the symbols of tokens and the end of the block.
func (b *blocks) count(tokens []deflate.Token) symbols {
	deflate.CountSymbols(&b.literals, &b.distances, tokens)
	return b.used()
}

// used counts the end of the block, and a distance if there is none, and returns what is to be told.
func (b *blocks) used() symbols {
	b.literals[deflate.EndOfBlock] = 1
	told := symbols{len(b.literals), len(b.distances)}
	for b.literals[told.literals-1] == 0 {
		told.literals--
	}
	for told.distances > 0 && b.distances[told.distances-1] == 0 {
		told.distances--
	}
	if told.distances == 0 {
		b.distances[0] = 1
		told.distances = 1
	}
	return told
}

// dynamicBits makes the header of a dynamic block of what was counted, and returns how many bits such a block has without
// the extra bits of matches.
func (b *blocks) dynamicBits(told symbols) int {
	all := b.lengths[:told.literals+told.distances]
	lit, dist := all[:told.literals], all[told.literals:]
	b.tree.Lengths(lit, b.literals[:], huffman.MaxBits)
	b.tree.Lengths(dist, b.distances[:], huffman.MaxBits)
	b.tree.Header(&b.block.Header, all)
	b.block.Header.Literals, b.block.Header.Distances = told.literals, told.distances

	size := 3 + b.block.Header.Size()
	for s, n := range lit {
		size += int(n) * int(b.literals[s])
	}
	for s, n := range dist {
		size += int(n) * int(b.distances[s])
	}
	return size
}

// fixedBits returns how many bits a fixed block has without the extra bits of matches.
func (b *blocks) fixedBits() int {
	size := 3
	for s, n := range b.literals {
		size += int(fixedLengths[s]) * int(n)
	}
	for _, n := range b.distances {
		size += 5 * int(n)
	}
	return size
}

var fixedLengths = deflate.FixedLiteralLengths()

// extraBits returns how many extra bits the matches have.
func (b *blocks) extraBits() int {
	size := 0
	for s := deflate.EndOfBlock + 1; s < len(b.literals); s++ {
		size += deflate.LiteralExtraBits(s) * int(b.literals[s])
	}
	for s, n := range b.distances {
		size += deflate.DistanceExtraBits(s) * int(n)
	}
	return size
}
