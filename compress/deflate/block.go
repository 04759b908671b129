package deflate

import (
	"bytes"
	"slices"
)

const (
	// WindowSize is how far back a match can reach, in bytes.
	WindowSize = 32 << 10

	MinMatch = 3   // bytes of the shortest match
	MaxMatch = 258 // bytes of the longest match
)

// Token is a literal byte or a match: the bytes 0 to 255 are literals.
type Token uint32

const (
	matchFlag Token = 1 << 31
	longFlag  Token = 1 << 30 // 258 bytes are written as code 284 and 31, and not as code 285

	matchUnused Token = 0x3f<<24 | 1<<15
)

// Literal returns the token of one byte.
func Literal(b byte) Token { return Token(b) }

// Match returns the token of a match of length bytes, [MinMatch] to [MaxMatch], that lie distance bytes back, 1 to
// [WindowSize]. Other values give another token or none: the caller checks.
func Match(length, distance int) Token {
	return matchFlag | Token(length-MinMatch)<<16 | Token(distance-1)
}

// LongMatch returns the token of a match of [MaxMatch] bytes that is written as code 284 with 31 in its extra bits, in
// place of code 285. No known encoder writes it, and decoders take it.
func LongMatch(distance int) Token { return Match(MaxMatch, distance) | longFlag }

// IsLong reports whether t is a [LongMatch].
func (t Token) IsLong() bool { return t&longFlag != 0 }

// IsMatch reports whether t is a match.
func (t Token) IsMatch() bool { return t&matchFlag != 0 }

// Byte returns the byte of a literal.
func (t Token) Byte() byte { return byte(t) }

// Length returns the length of a match in bytes.
func (t Token) Length() int { return int(t>>16&0xff) + MinMatch }

// Distance returns how many bytes back a match begins.
func (t Token) Distance() int { return int(t&0xffff) + 1 }

// Size returns how many plain bytes t stands for.
func (t Token) Size() int {
	if t.IsMatch() {
		return t.Length()
	}
	return 1
}

// Kind is how a block is coded, with the number that it has in the stream.
type Kind uint8

const (
	Stored  Kind = 0
	Fixed   Kind = 1
	Dynamic Kind = 2
)

// Block is one block of a stream.
type Block struct {
	Kind  Kind
	Final bool // it is the last one of the stream

	Tokens []Token // of a Fixed or Dynamic block, without the end of the block
	Header Header  // of a Dynamic block
	Raw    []byte  // of a Stored block, at most 65,535 bytes
	// Padding has the bits between the head of a Stored block and its length, the first one lowest. Encoders write zeros.
	Padding uint8
}

// Equal reports whether b and other are written with the same bits at the same place. Fields that the kind of a block does
// not have do not count.
func (b *Block) Equal(other *Block) bool {
	if b.Kind != other.Kind || b.Final != other.Final {
		return false
	}
	switch b.Kind {
	case Stored:
		return b.Padding == other.Padding && bytes.Equal(b.Raw, other.Raw)
	case Dynamic:
		return b.Header.Equal(&other.Header) && slices.Equal(b.Tokens, other.Tokens)
	default:
		return slices.Equal(b.Tokens, other.Tokens)
	}
}

// Header is how a dynamic block tells the lengths of its codes. It keeps what was written and not what it means, as there
// are many ways to write one thing.
type Header struct {
	Literals  int // HLIT + 257: how many of Lengths are those of literals, the end of the block, and match lengths; 257 to 286
	Distances int // HDIST + 1: how many are those of distances; 1 to 30, and 31 and 32 where a stream has them
	// CodeLengths are the lengths of the codes in which Lengths is written, by symbol, 0 to 7; Codes (HCLEN + 4) of them
	// are told, in the order of RFC 1951, 3.2.7.
	CodeLengths [19]uint8
	Codes       int
	// Lengths are the symbols of the code lengths as they were written, run lengths included.
	Lengths []LengthSymbol
}

// LengthSymbol is one symbol in which code lengths are written: 0 to 15 is a length, 16 to 18 a run, with Extra as the
// value of its extra bits.
type LengthSymbol struct {
	Symbol, Extra uint8
}

// Encoder gives the blocks that a certain program makes of plain bytes: the same ones on every machine, however the bytes
// are cut into calls of Write.
//
// The blocks go to the function that the encoder was made with, in order. What such a block points to is the encoder's and
// changes after the call.
type Encoder interface {
	// Reset begins a stream whose plain bytes follow those of dict, of which the last [WindowSize] count: the encoder goes
	// on as one that has just encoded them and stands at the begin of a block, after a token that was a match where that
	// makes a difference. Nil is a stream of its own.
	Reset(dict []byte)
	// Write takes the next plain bytes. An error is one of the function that takes the blocks; then the encoder is of no
	// further use until Reset.
	Write(p []byte) error
	// Flush does what the program's own sync flush does: all bytes so far are in blocks, and the last block is empty and
	// Stored, unless the program does otherwise.
	Flush() error
	// Close ends the stream as the program does, with a Final block.
	Close() error
}

// Emit takes a block that an [Encoder] gives.
type Emit func(*Block) error
