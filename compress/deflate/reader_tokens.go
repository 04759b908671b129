package deflate

import (
	"encoding/binary"
	"slices"
)

const (
	// matchRoom is how many plain bytes are written at most for one token: those of a match, which is copied in pieces.
	matchRoom = MaxMatch + pieceSize
	pieceSize = 8

	maxTokenBits = 15 + 5 + 15 + 13

	firstTokens = 1<<15 + loopTokens // that there is room for at first

	loopTokens = 4  // that decode stores between two looks at the room for them
	loopInput  = 16 // bytes that it reads
	loopPlain  = loopTokens + matchRoom
)

// An ending is why the decoding of tokens stops.
type ending int

const (
	endRoom  ending = iota // there is not enough input, or room
	endBlock               // the end of the block
	endLiteral
	endDistance
	endTooFar
)

// wrong has the reasons of the endings that are errors.
var wrong = map[ending]string{
	endLiteral:  "no code of a literal or a match length",
	endDistance: "no code of a distance",
	endTooFar:   "a match reaches back before the begin of the stream",
}

// readTokens reads the tokens of a block up to its end.
func (r *Reader) readTokens(t *tables) error {
	for {
		if err := r.checkSize(); err != nil {
			return err
		}
		if b := &r.block; cap(b.Tokens)-len(b.Tokens) < loopTokens {
			b.Tokens = slices.Grow(b.Tokens, firstTokens)
		}
		r.room(loopPlain)
		end := r.decode(t)
		if end == endRoom {
			r.room(loopPlain) // decode may have used it
			var err error
			if end, err = r.decodeOne(t); err != nil {
				return err
			}
		}
		switch end {
		case endRoom:
		case endBlock:
			return r.checkSize()
		default:
			return r.bits.corrupt(wrong[end])
		}
	}
}

func (r *Reader) checkSize() error {
	if tokens, size := len(r.block.Tokens), r.end-r.start; tokens <= MaxTokens && size <= MaxBlockSize {
		return nil
	}
	return &StreamError{Bit: r.bits.offset(), Reason: "more tokens or plain bytes than a block is taken with", Err: ErrBlockTooLarge}
}

// decode decodes tokens while there is much input and room.
func (r *Reader) decode(t *tables) (end ending) {
	in, pos, word, n := r.bits.in, r.bits.pos, r.bits.word, r.bits.n
	tokens, count := r.block.Tokens[:cap(r.block.Tokens)], len(r.block.Tokens)
	plain, at := r.plain, r.end
	for pos <= len(in)-loopInput && count <= len(tokens)-loopTokens && at <= len(plain)-loopPlain {
		// Bits above n are those that are read again, or zeros.
		word |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		// Three literals from the first table and a code of any length take 3*11 + 15 bits.
		e := t.literal[word&(1<<literalBits-1)]
		for i := 0; i < loopTokens-1 && e&entryNoLiteral == 0; i++ {
			tokens[count], plain[at] = Token(e.value()), byte(e.value())
			count, at = count+1, at+1
			word, n = word>>(e.bits()&63), n-e.bits()
			e = t.literal[word&(1<<literalBits-1)]
		}
		if e&entryFurther != 0 {
			e = t.literal[e.value()+uint(word>>literalBits)&(literalFurther-1)]
		}
		if e&entryMatch == 0 {
			if end = e.ending(); end == endLiteral {
				break
			}
			word, n = word>>(e.bits()&63), n-e.bits()
			if end == endBlock {
				break
			}
			tokens[count], plain[at] = Token(e.value()), byte(e.value())
			count, at = count+1, at+1
			continue
		}

		if n < maxTokenBits {
			word |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		size := e.value() + e.extra(word)
		token := matchFlag | Token(size)<<16
		if size == MaxMatch-MinMatch && e.bits() != e.code() {
			token |= longFlag
		}
		word, n = word>>(e.bits()&63), n-e.bits()

		d := t.distance[word&(1<<distanceBits-1)]
		if d&entryFurther != 0 {
			d = t.distance[d.value()+uint(word>>distanceBits)&(distanceFurther-1)]
		}
		if d&entryInvalid != 0 {
			end = endDistance
			break
		}
		back := int(d.value()+d.extra(word)) + 1
		word, n = word>>(d.bits()&63), n-d.bits()
		if back > at {
			end = endTooFar
			break
		}
		tokens[count] = token | Token(back-1)
		count++

		length := int(size) + MinMatch
		if back >= pieceSize {
			for i := at; i < at+length; i += pieceSize {
				binary.LittleEndian.PutUint64(plain[i:], binary.LittleEndian.Uint64(plain[i-back:]))
			}
		} else {
			copyNear(plain, at, back, length)
		}
		at += length
	}
	r.bits.pos, r.bits.word, r.bits.n = pos, word, n
	r.block.Tokens, r.end = tokens[:count], at
	return end
}

// copyNear copies length bytes to plain[at:] from so few bytes back that pieces would overlap.
func copyNear(plain []byte, at, back, length int) {
	// What repeats after back bytes repeats after a multiple of them, too.
	far := (pieceSize + back - 1) / back * back
	i := at
	for ; i < at+far-back; i++ {
		plain[i] = plain[i-back]
	}
	for ; i < at+length; i += pieceSize {
		binary.LittleEndian.PutUint64(plain[i:], binary.LittleEndian.Uint64(plain[i-far:]))
	}
}

// decodeOne decodes a token, with no bit of input more than it has. The error is one of the source.
func (r *Reader) decodeOne(t *tables) (ending, error) {
	b := &r.bits
	e, err := b.entry(t.literal[:], literalBits)
	if err != nil {
		return endRoom, err
	}
	if end := e.ending(); end != endRoom {
		b.take(e.bits())
		return end, nil
	}
	if e&entryMatch == 0 {
		b.take(e.bits())
		r.block.Tokens = append(r.block.Tokens, Token(e.value()))
		r.plain[r.end] = byte(e.value())
		r.end++
		return endRoom, nil
	}
	size := int(e.value() + e.extra(b.word))
	b.take(e.bits())
	d, err := b.entry(t.distance[:], distanceBits)
	if err != nil {
		return endRoom, err
	}
	if d&entryInvalid != 0 {
		return endDistance, nil
	}
	back := int(d.value()+d.extra(b.word)) + 1
	b.take(d.bits())
	if back > r.end {
		return endTooFar, nil
	}
	token := Match(size+MinMatch, back)
	if size == MaxMatch-MinMatch && e.bits() != e.code() {
		token |= longFlag
	}
	r.block.Tokens = append(r.block.Tokens, token)
	for i := r.end; i < r.end+size+MinMatch; i++ {
		r.plain[i] = r.plain[i-back]
	}
	r.end += size + MinMatch
	return endRoom, nil
}

// entry returns the entry of what comes next, and makes word have all bits of it.
func (b *bitReader) entry(table []entry, width uint) (entry, error) {
	for {
		word := b.word & (1<<b.n - 1)
		e := table[word&(1<<width-1)]
		if e&entryFurther != 0 {
			e = table[e.value()+uint(word>>width)&(1<<(maxCodeLength-width)-1)]
		}
		if e.bits() <= b.n {
			return e, nil
		}
		// Bits that are not there were taken for zeros: another code may need fewer of them.
		if !b.need(b.n + 1) {
			return 0, b.fail("codes of a block")
		}
	}
}
