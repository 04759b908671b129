package klauspost

import (
	"slices"

	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip/huffman"
)

const (
	// penalty is the logarithm of the share that codes are larger than an estimate says.
	penalty = 7
	// fewTokens is how many tokens a chunk has at least for which a Fixed block is out of question.
	fewTokens = 250
	// guessedHeader is what a header is taken to have when there is none to compare with, in bits.
	guessedHeader = 70 * 8
)

// blocks makes blocks of chunks. A block is open until the next chunk does not go into it: a chunk does when its bits with
// the codes of the block are not more than what is estimated for codes of its own.
type blocks struct {
	emit       deflate.Emit
	generation Generation
	most       int           // tokens of a block
	block      deflate.Block // what is given; its Header is that of the open block

	// tokens has those of the open block, and from open on those of the chunk that comes next.
	tokens []deflate.Token
	open   int
	// header is how many bits the header of the open block has, and 0 where there is none.
	header int
	// literalsOnly says that the codes of the open block have no matches.
	literalsOnly bool
	codes        codes // of the open block

	counts counts
	tree   huffman.Builder
	// next and nextHeader are what the next block may begin with.
	next       codes
	nextHeader deflate.Header
}

// codes are code lengths, those of distances right behind as many of those of literals as a header tells.
type codes struct {
	literals  [deflate.MaxLiterals]uint8
	distances [deflate.DistanceCodes]uint8
}

func (b *blocks) reset() {
	b.tokens, b.open, b.header, b.literalsOnly = b.tokens[:0], 0, 0, false
}

// room returns tokens with room for a chunk.
func (b *blocks) room() []deflate.Token {
	b.tokens = slices.Grow(b.tokens, chunkSize)
	return b.tokens
}

// drop forgets the tokens of the chunk.
func (b *blocks) drop() { b.tokens = b.tokens[:b.open] }

// add makes blocks of a chunk whose tokens are there, or none where it has no match. The last one stays open, unless there
// is a flush.
func (b *blocks) add(raw []byte, flush bool) error {
	switch n := len(b.tokens) - b.open; {
	case n == 0:
		return b.stored(raw)
	case n > len(raw)-len(raw)>>4:
		b.drop()
		return b.addLiterals(raw, flush)
	default:
		return b.addTokens(raw, flush)
	}
}

// end gives the open block, if there is one. The tokens of the chunk stay.
func (b *blocks) end() error {
	if b.header == 0 {
		return nil
	}
	b.header = 0
	b.block.Kind, b.block.Final, b.block.Tokens, b.block.Raw = deflate.Dynamic, false, b.tokens[:b.open], nil
	err := b.emit(&b.block)
	b.tokens = b.tokens[:copy(b.tokens, b.tokens[b.open:])]
	b.open = 0
	return err
}

// begin opens a block with the next codes. There is none that is open.
func (b *blocks) begin(literalsOnly bool) {
	b.header, b.literalsOnly = 3+b.nextHeader.Size(), literalsOnly
	b.codes = b.next
	b.block.Header, b.nextHeader = b.nextHeader, b.block.Header
}

// join makes the tokens of the chunk part of the open block.
func (b *blocks) join(flush bool) error {
	b.open = len(b.tokens)
	if b.open > b.most {
		return ErrLongBlock
	}
	if flush {
		return b.end()
	}
	return nil
}

// stored ends the open block and gives a Stored one.
func (b *blocks) stored(raw []byte) error {
	if err := b.end(); err != nil {
		return err
	}
	b.drop()
	b.block.Kind, b.block.Final, b.block.Tokens, b.block.Raw = deflate.Stored, false, nil, raw
	return b.emit(&b.block)
}

// fixed ends the open block and gives the tokens of the chunk as a Fixed one.
func (b *blocks) fixed() error {
	if err := b.end(); err != nil {
		return err
	}
	b.block.Kind, b.block.Final, b.block.Tokens, b.block.Raw = deflate.Fixed, false, b.tokens, nil
	err := b.emit(&b.block)
	b.drop()
	return err
}

// last ends the stream with an empty Fixed block.
func (b *blocks) last() error {
	if err := b.end(); err != nil {
		return err
	}
	b.block.Kind, b.block.Final, b.block.Tokens, b.block.Raw = deflate.Fixed, true, nil, nil
	return b.emit(&b.block)
}

// addTokens makes blocks of a chunk of literals and matches.
func (b *blocks) addTokens(raw []byte, flush bool) error {
	chunk := b.tokens[b.open:]
	c := &b.counts
	c.count(chunk)
	if b.header > 0 && (b.literalsOnly || !b.codes.have(c)) {
		if err := b.end(); err != nil {
			return err
		}
	}
	n := len(chunk)
	if flush {
		n++ // the end of the block is a token then
	}
	if flush || b.generation >= V1_18_2 {
		c.literals[deflate.EndOfBlock] = 1
	}
	extra := c.extraBits()
	stored := 8 * (len(raw) + 5)

	if b.header > 0 {
		fresh := b.header + c.estimate(n)
		fresh += int(b.codes.literals[deflate.EndOfBlock]) + fresh>>penalty
		size := b.codes.bits(c) + extra
		if fresh < size {
			size = fresh
			if err := b.end(); err != nil {
				return err
			}
		}
		fixed := n < fewTokens && c.fixedBits()+extra+7 < size
		switch {
		case stored <= size:
			return b.stored(raw)
		case fixed:
			return b.fixed()
		}
		if b.header > 0 {
			return b.join(flush)
		}
	}

	c.literals[deflate.EndOfBlock] = 1
	literals, distances := deflate.MaxLiterals, deflate.DistanceCodes
	if flush || b.generation >= V1_18_1 {
		literals, distances = c.used()
	}
	b.tree.Lengths(b.next.literals[:], c.literals[:deflate.MaxLiterals], huffman.MaxBits)
	b.tree.Lengths(b.next.distances[:], c.distances[:], huffman.MaxBits)
	b.makeHeader(literals, distances)
	size := 3 + b.nextHeader.Size() + b.next.bits(c) + extra
	if n < fewTokens {
		if fixed := c.fixedBits() + extra; fixed <= size {
			if stored <= fixed {
				return b.stored(raw)
			}
			return b.fixed()
		}
	}
	if stored <= size {
		return b.stored(raw)
	}
	b.begin(false)
	return b.join(flush)
}

// addLiterals makes blocks of a chunk without its matches.
func (b *blocks) addLiterals(raw []byte, flush bool) error {
	c := &b.counts
	c.countBytes(raw)
	if len(raw) > 1024 && c.even(len(raw)) {
		return b.stored(raw)
	}
	literals := c.literals[:deflate.EndOfBlock+1]
	literals[deflate.EndOfBlock] = 1
	clear(b.next.literals[:])
	b.tree.Lengths(b.next.literals[:len(literals)], literals, huffman.MaxBits)
	fresh, _ := bitsOf(b.next.literals[:], literals)
	if b.header > 0 {
		fresh += b.header
	} else {
		fresh += guessedHeader
	}
	fresh += fresh >> penalty
	if 8*(len(raw)+5) <= fresh {
		return b.stored(raw)
	}

	if b.header > 0 {
		size, ok := bitsOf(b.codes.literals[:], literals[:deflate.EndOfBlock])
		if !ok || fresh < size {
			if err := b.end(); err != nil {
				return err
			}
		}
	}
	if b.header == 0 {
		b.next.distances = [deflate.DistanceCodes]uint8{1} // one that does not occur
		b.makeHeader(len(literals), 1)
		b.begin(true)
	}
	b.tokens = appendLiterals(b.room(), raw)
	return b.join(flush)
}

// makeHeader makes the header of the next codes.
func (b *blocks) makeHeader(literals, distances int) {
	var lengths [deflate.MaxLiterals + deflate.DistanceCodes]uint8
	copy(lengths[:], b.next.literals[:literals])
	copy(lengths[literals:], b.next.distances[:distances])
	b.tree.Header(&b.nextHeader, lengths[:literals+distances])
	b.nextHeader.Literals, b.nextHeader.Distances = literals, distances
}
