package golang

import (
	"encoding/binary"
	"math/bits"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	fastHashBits = 14
	fastMargin   = 15  // bytes at the end of a block in which no match begins
	fastLeast    = 128 // bytes of a block that matches are looked for in
	fastStored   = 16  // bytes up to which a block is stored
)

// fast is the encoder of BestSpeed. It remembers the last place of each hash, and looks at fewer places the longer it finds
// nothing.
type fast struct {
	blocks
	queue [largestStored]deflate.Token

	n     int    // bytes of the block in buf
	past  int    // bytes before the block that a match can go on in: those of the block before it
	base  uint32 // number of the first byte of the block: places are counted from somewhere before the stream
	swept uint32 // number up to which places were forgotten
	// table has the last place of a hash: its four bytes in the higher half and its number in the lower one.
	table [1 << fastHashBits]uint64
	// buf has what a match can reach back to, and the block behind it, and room for a load at its end.
	buf [deflate.WindowSize + largestStored + 8]byte
}

func newFast(emit deflate.Emit) *fast {
	return &fast{blocks: blocks{emit: emit}, base: never}
}

// Reset begins a stream. What was before it is not looked at.
func (e *fast) Reset([]byte) {
	e.n = 0
	e.leave()
}

// leave makes all places so far be out of reach.
func (e *fast) leave() {
	e.past = 0
	e.advance(never)
}

// advance counts n bytes, and moves the numbers of places that are out of reach for ever before they are out of count.
func (e *fast) advance(n int) {
	e.base += uint32(n)
	if e.base-e.swept < forget {
		return
	}
	e.swept = e.base
	for i, entry := range e.table {
		if e.base-uint32(entry) > windowSize {
			e.table[i] = uint64(e.base - never)
		}
	}
}

// Write takes the next plain bytes.
func (e *fast) Write(p []byte) error {
	for len(p) > 0 {
		n := copy(e.buf[deflate.WindowSize+e.n:deflate.WindowSize+largestStored], p)
		e.n += n
		p = p[n:]
		if e.n == largestStored {
			if err := e.block(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush ends the block and adds an empty stored one.
func (e *fast) Flush() error {
	if err := e.block(); err != nil {
		return err
	}
	return e.stored(nil, false)
}

// Close ends the block and adds an empty stored one, which is final.
func (e *fast) Close() error {
	if err := e.block(); err != nil {
		return err
	}
	return e.stored(nil, true)
}

// block gives the block that is in buf, if there is any. A small one is made without matches, and the next one then begins
// without a past.
func (e *fast) block() error {
	raw := e.buf[deflate.WindowSize : deflate.WindowSize+e.n]
	var err error
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) <= fastStored:
		err = e.stored(raw, false)
	case len(raw) < fastLeast:
		err = e.literalsOnly(raw)
	default:
		return e.matched(raw)
	}
	e.n = 0
	e.leave()
	return err
}

// matched gives a block with matches, or without where they save less than one token in 16, and makes it the past of the
// next one.
func (e *fast) matched(raw []byte) error {
	tokens := e.queue[:e.match(len(raw))]
	var err error
	if len(tokens) > len(raw)-len(raw)>>4 {
		err = e.literalsOnly(raw)
	} else {
		err = e.worthwhile(tokens, raw)
	}
	copy(e.buf[:deflate.WindowSize], e.buf[e.n:])
	e.past = e.n
	e.advance(e.n)
	e.n = 0
	return err
}

func fastHash(v uint32) uint32 { return v * hashMultiplier >> (32 - fastHashBits) }

// load returns 8 bytes of the block from place i on, which can be less than 0.
func (e *fast) load(i int) uint64 {
	return binary.LittleEndian.Uint64(e.buf[deflate.WindowSize+i:])
}

// swap makes place i, with the four bytes v, the last one of its hash, and returns how far back the one before it is if it
// has the same bytes and is in reach, and else 0.
func (e *fast) swap(i int, v uint32) int {
	slot := &e.table[fastHash(v)]
	entry := *slot
	number := e.base + uint32(i)
	*slot = uint64(v)<<32 | uint64(number)
	if distance := number - uint32(entry); uint32(entry>>32) == v && distance <= deflate.WindowSize {
		return int(distance)
	}
	return 0
}

// match queues the tokens of the n bytes of the block, and returns how many.
func (e *fast) match(n int) int {
	queued, done := 0, 0 // tokens, and the bytes that they stand for
	limit := n - fastMargin
	for at := 0; ; {
		i, distance := e.next(at, limit)
		if distance == 0 {
			return e.literals(queued, done, n)
		}
		queued = e.literals(queued, done, i)
		for distance > 0 {
			length := e.length(i, distance, n)
			e.queue[queued] = deflate.Match(length, distance)
			queued++
			i += length
			done = i
			if i >= limit {
				return e.literals(queued, done, n)
			}
			word := e.load(i - 1)
			e.swap(i-1, uint32(word))
			distance = e.swap(i, uint32(word>>8))
		}
		at = i + 1
	}
}

// next looks for a match at place i and those behind it up to limit, and returns where it is and its distance, which is 0
// if there is none. For each 32 places that were looked at or passed over it takes a longer step.
func (e *fast) next(i, limit int) (at, distance int) {
	for skip := 32; ; {
		step := skip >> 5
		if i+step > limit {
			return 0, 0
		}
		if distance := e.swap(i, uint32(e.load(i))); distance > 0 {
			return i, distance
		}
		i += step
		skip += step
	}
}

// literals queues the bytes from from up to to, behind queued tokens, and returns how many tokens there are then.
func (e *fast) literals(queued, from, to int) int {
	bytes := e.buf[deflate.WindowSize+from : deflate.WindowSize+to]
	tokens := e.queue[queued:][:len(bytes)]
	for i, b := range bytes {
		tokens[i] = deflate.Literal(b)
	}
	return queued + len(bytes)
}

// length returns how long the match at place i is, whose first four bytes are known to be equal. If these lie before the
// past, it has no more.
func (e *fast) length(i, distance, n int) int {
	from := i - distance + 4
	if from < -e.past {
		return 4
	}
	limit := min(deflate.MaxMatch, n-i) - 4
	return 4 + commonPrefix(e.buf[deflate.WindowSize+from:], e.buf[deflate.WindowSize+i+4:], limit)
}

// commonPrefix returns how many of the first bytes of a and b are equal, at most limit. Both have 8 bytes more than that.
func commonPrefix(a, b []byte, limit int) int {
	for n := 0; n < limit; n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return min(n+bits.TrailingZeros64(x)>>3, limit)
		}
	}
	return limit
}
