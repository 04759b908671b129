package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

const (
	maxTokens = 1 << 15
	maxStored = 1<<16 - 1 // bytes of a stored block
)

// blocks gathers tokens and makes blocks of them.
type blocks struct {
	emit  deflate.Emit
	block deflate.Block
	bits  uint // how many bits the blocks since the last reset have, modulo 8

	tokens [maxTokens]deflate.Token
	n      int // tokens there are
	full   int // tokens of a full block
	early  bool

	matches, distanceBits int // of the tokens that endsEarly has looked at

	literals  [deflate.MaxLiterals]uint32   // how often a symbol of the literal code occurs
	distances [deflate.DistanceCodes]uint32 // how often one of the distance code does
	lengths   [deflate.MaxLiterals + deflate.DistanceCodes]uint8
	tree      tree
}

// earlyStep is how many tokens there are between the places where a block can end early.
const earlyStep = 4096

// endsEarly says after a multiple of earlyStep tokens, which stand for plain bytes, whether the block is to end there: it
// has fewer matches than literals and is expected to shrink to less than half.
func (b *blocks) endsEarly(plain int) bool {
	for _, t := range b.tokens[b.n-earlyStep : b.n] {
		if t.IsMatch() {
			b.matches++
			b.distanceBits += 5 + deflate.DistanceExtraBits(t.DistanceSymbol())
		}
	}
	size := (8*b.n + b.distanceBits) / 8
	return b.matches < b.n/2 && size < plain/2
}

// endTokens gives the block of all tokens, of the kind that has the fewest bytes. Raw has the plain bytes; nil are bytes that
// are no longer there, and no stored block.
func (b *blocks) endTokens(raw []byte, final bool) error {
	tokens := b.tokens[:b.n]
	b.n, b.matches, b.distanceBits = 0, 0, 0
	b.count(tokens)
	literals, distances := b.makeCodes()
	fixed, dynamic := b.sizes(literals, distances)

	kind, size := deflate.Dynamic, dynamic
	if inBytes(fixed) <= inBytes(dynamic) {
		kind, size = deflate.Fixed, fixed
	}
	if raw != nil && len(raw) <= maxStored && len(raw)+4 <= inBytes(size) {
		return b.stored(raw, final)
	}
	return b.coded(kind, tokens, size, final)
}

// inBytes returns how many bytes a block of size bits has with its first three, at most.
func inBytes(size int) int { return (size + 3 + 7) / 8 }

func (b *blocks) coded(kind deflate.Kind, tokens []deflate.Token, size int, final bool) error {
	b.bits = (b.bits + 3 + uint(size)) % 8
	b.block.Kind, b.block.Final, b.block.Raw, b.block.Tokens = kind, final, nil, tokens
	return b.emit(&b.block)
}

func (b *blocks) stored(raw []byte, final bool) error {
	b.bits = 0
	b.block.Kind, b.block.Final, b.block.Raw, b.block.Tokens = deflate.Stored, final, raw, nil
	return b.emit(&b.block)
}

// count counts the symbols of tokens and the end of the block.
func (b *blocks) count(tokens []deflate.Token) {
	deflate.CountSymbols(&b.literals, &b.distances, tokens)
	b.literals[deflate.EndOfBlock] = 1
}

// makeCodes makes the codes of what was counted and the header that tells them.
func (b *blocks) makeCodes() (literals, distances []uint8) {
	literals = b.lengths[:deflate.MaxLiterals]
	distances = b.lengths[deflate.MaxLiterals:]
	literals = literals[:b.tree.lengths(literals, b.literals[:], 15)]
	distances = distances[:b.tree.lengths(distances, b.distances[:], 15)]
	b.tree.header(&b.block.Header, literals, distances)
	return literals, distances
}

// sizes returns how many bits a fixed and a dynamic block have, without the first three.
func (b *blocks) sizes(literals, distances []uint8) (fixed, dynamic int) {
	dynamic = b.block.Header.Size()
	for s, n := range literals {
		count, extra := int(b.literals[s]), deflate.LiteralExtraBits(s)
		fixed += count * (int(fixedLengths[s]) + extra)
		dynamic += count * (int(n) + extra)
	}
	for s, n := range distances {
		count, extra := int(b.distances[s]), deflate.DistanceExtraBits(s)
		fixed += count * (5 + extra)
		dynamic += count * (int(n) + extra)
	}
	return fixed, dynamic
}

var fixedLengths = deflate.FixedLiteralLengths()
