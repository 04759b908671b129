package deflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	maxStored  = 1<<16 - 1 // bytes of a Stored block
	outputSize = 64 << 10
	// writeRoom is how many bytes a token can take, and those that are stored with it.
	writeRoom = 16
	// blockRoom is more than the head of a block takes: 318 code lengths of at most 14 bits, in the main.
	blockRoom = 1 << 10
)

// Writer writes blocks as the bits of a stream. It refuses what no valid stream has, but does not look at what matches
// point to: one that reaches back before the begin of the stream is written.
//
// After an error the Writer is of no further use until Reset.
type Writer struct {
	dst io.Writer
	err error

	buf   []byte // all of its length
	at    int    // in buf, of the first free byte
	word  uint64 // bits that are not in buf yet
	n     uint   // how many of them there are, less than 8 between blocks
	final bool   // the Final block was written

	codes   writerCodes
	lengths [MaxLiterals + MaxDistances]uint8
}

// NewWriter returns a Writer of a stream to dst.
func NewWriter(dst io.Writer) *Writer {
	w := new(Writer)
	w.Reset(dst)
	return w
}

// Reset makes w begin a stream to dst.
func (w *Writer) Reset(dst io.Writer) {
	w.dst, w.err, w.final = dst, nil, false
	w.at, w.word, w.n = 0, 0, 0
	if w.buf == nil {
		w.buf = make([]byte, outputSize)
	}
}

// ResetAt makes w go on in the midst of a stream, whose last byte so far has its lowest n bits, 0 to 7, in bits. That byte
// is the first one that w writes.
func (w *Writer) ResetAt(dst io.Writer, bits uint8, n uint) {
	w.Reset(dst)
	w.n = n & 7
	w.word = uint64(bits) & (1<<w.n - 1)
}

// WriteBlock writes b, and nothing but errors comes after a Final one.
func (w *Writer) WriteBlock(b *Block) error {
	if w.err != nil {
		return w.err
	}
	if w.final {
		w.err = errors.New("a block after the final one")
		return w.err
	}
	if w.err = w.writeBlock(b); w.err != nil {
		w.err = fmt.Errorf("block cannot be written: %w", w.err)
		return w.err
	}
	w.final = b.Final
	return nil
}

// Flush passes on all whole bytes, and returns the bits of the last one that is not whole, the first bit lowest, for
// [Writer.ResetAt]. Other bits may follow.
func (w *Writer) Flush() (bits uint8, n uint, err error) {
	if w.err == nil {
		w.err = w.flush()
	}
	return uint8(w.word), w.n, w.err
}

// Close ends the stream after the Final block, with padding as the rest of its last byte, and passes everything on. It does
// not close what w writes to.
func (w *Writer) Close(padding uint8) error {
	switch free := -w.n & 7; {
	case w.err != nil:
		return w.err
	case !w.final:
		w.err = errors.New("a stream without a final block")
	case padding>>free != 0:
		w.err = fmt.Errorf("padding %#x of %d bits", padding, free)
	default:
		w.put(uint64(padding), free)
		w.err = w.flush()
	}
	return w.err
}

func (w *Writer) writeBlock(b *Block) error {
	head := uint64(b.Kind) << 1
	if b.Final {
		head |= 1
	}
	switch b.Kind {
	case Stored:
		return w.writeStored(b, head)
	case Fixed:
		w.put(head, 3)
		return w.writeTokens(b.Tokens, fixedCodes())
	case Dynamic:
		literals, distances, err := b.Header.Expand(w.lengths[:0])
		if err != nil {
			return err
		}
		w.put(head, 3)
		if err := w.writeHeader(&b.Header); err != nil {
			return err
		}
		w.codes.build(literals, distances)
		return w.writeTokens(b.Tokens, &w.codes)
	}
	return fmt.Errorf("a block of kind %d", b.Kind)
}

func (w *Writer) writeStored(b *Block, head uint64) error {
	free := -(w.n + 3) & 7
	switch {
	case len(b.Raw) > maxStored:
		return fmt.Errorf("%d stored bytes, want at most %d", len(b.Raw), maxStored)
	case b.Padding>>free != 0:
		return fmt.Errorf("padding %#x of %d bits", b.Padding, free)
	}
	w.put(head, 3)
	w.put(uint64(b.Padding), free)
	w.put(uint64(len(b.Raw))|uint64(^len(b.Raw)&0xffff)<<16, 32)
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.dst.Write(b.Raw)
	return err
}

// writeHeader writes h, which Expand takes.
func (w *Writer) writeHeader(h *Header) error {
	w.put(uint64(h.Literals-257)|uint64(h.Distances-1)<<5|uint64(h.Codes-4)<<10, 14)
	for _, symbol := range CodeLengthOrder[:h.Codes] {
		w.put(uint64(h.CodeLengths[symbol]), 3)
	}
	var codes [len(h.CodeLengths)]uint16
	if err := Codes(h.CodeLengths[:], codes[:]); err != nil {
		return err
	}
	for _, l := range h.Lengths {
		n := uint(h.CodeLengths[l.Symbol])
		w.put(uint64(codes[l.Symbol])|uint64(l.Extra)<<n, n+uint(LengthSymbolExtraBits(int(l.Symbol))))
	}
	return nil
}

// put writes the lowest n bits of v, at most 32, which has no others. There is room in buf, as encode and
// writeTokens see to.
func (w *Writer) put(v uint64, n uint) {
	w.word |= v << w.n
	w.n += n
	for ; w.n >= 8; w.n -= 8 {
		w.buf[w.at] = byte(w.word)
		w.at++
		w.word >>= 8
	}
}

// flush passes on all whole bytes.
func (w *Writer) flush() error {
	_, err := w.dst.Write(w.buf[:w.at])
	w.at = 0
	return err
}

// writeTokens writes tokens and the end of the block.
func (w *Writer) writeTokens(tokens []Token, codes *writerCodes) error {
	for len(tokens) > 0 {
		if w.at > len(w.buf)-writeRoom {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n := w.encode(tokens, codes)
		if n == 0 {
			return tokenError(tokens[0])
		}
		tokens = tokens[n:]
	}
	end := codes.literal[EndOfBlock]
	w.put(end.bits(), end.size())
	if w.at > len(w.buf)-blockRoom {
		return w.flush()
	}
	return nil
}

func tokenError(t Token) error {
	switch {
	case t&(matchFlag|longFlag|matchUnused) == matchFlag || t&^(WindowSize-1) == LongMatch(1):
		return fmt.Errorf("no code for a match of %d bytes, %d bytes back", t.Length(), t.Distance())
	case t < EndOfBlock:
		return fmt.Errorf("no code for literal %d", t)
	}
	return fmt.Errorf("token %#x is none", uint32(t))
}

// encode writes tokens while there is room in buf, and returns how many. A token that cannot be written ends it.
func (w *Writer) encode(tokens []Token, codes *writerCodes) int {
	buf, at, word, n := w.buf, w.at, w.word, w.n
	done := 0
	for _, t := range tokens {
		if at > len(buf)-writeRoom {
			break
		}
		var c literalCode
		if t < EndOfBlock {
			c = codes.literal[t]
		} else if t&(matchFlag|longFlag|matchUnused) == matchFlag {
			c = codes.length[t>>16&0xff]
		} else if t&^(WindowSize-1) == LongMatch(1) {
			c = codes.long
		}
		if c == 0 {
			break
		}
		// At most 7 bits from before, 20, and 28 of a distance.
		word |= c.bits() << (n & 63)
		n += c.size()
		if t >= EndOfBlock {
			distance := uint32(t) & (WindowSize - 1)
			d := codes.distance[distanceSymbol(distance)&31]
			if d == 0 {
				break // word is of no use any more
			}
			word |= (d.code() | uint64(distance-d.distance())<<(d.codeSize()&63)) << (n & 63)
			n += d.size()
		}
		binary.LittleEndian.PutUint64(buf[at:], word)
		at += int(n >> 3)
		word >>= n &^ 7 & 63
		n &= 7
		done++
	}
	w.at, w.word, w.n = at, word, n
	return done
}
