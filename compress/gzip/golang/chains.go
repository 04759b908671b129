package golang

import (
	"encoding/binary"
	"math/bits"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	minMatch    = 4       // of this encoder
	nearMatch   = 4 << 10 // how far back a match of minMatch can be
	blockTokens = 1 << 14 // tokens of a full block

	windowSize = 2 * deflate.WindowSize
	// lookahead is how many bytes must follow a place that is looked at, but before a flush or the end.
	lookahead = minMatch + deflate.MaxMatch

	hashBits       = 17
	hashMultiplier = 0x1e35a7bd

	// never is the distance to a place that is out of reach, and none is what a link of a chain has for it.
	never = 2 * windowSize
	none  = 1<<16 - 1
	// forget is after how many bytes places that are out of reach are removed, so that none looks near again when the
	// count begins anew.
	forget = 1 << 30
)

// effort is what the levels with chains differ in.
type effort struct {
	// At levels 4 to 9, a match shorter than lazy bytes is left if the next byte begins a longer one.
	lazy int
	// At levels 2 and 3, the places inside of a match longer than skip bytes are not remembered.
	skip  int
	nice  int // bytes of a match that is good enough to end a search
	tries int // places that are looked at in a search
}

// The levels of compress/flate have one number more, for fewer tries after a good match. It takes no effect there: a search
// never knows of the match before.
var efforts = [...]effort{
	2: {skip: 5, nice: 16, tries: 8},
	3: {skip: 6, nice: 32, tries: 32},
	4: {lazy: 4, nice: 16, tries: 16},
	5: {lazy: 16, nice: 32, tries: 32},
	6: {lazy: 16, nice: 128, tries: 128},
	7: {lazy: 32, nice: 128, tries: 256},
	8: {lazy: 128, nice: 258, tries: 1024},
	9: {lazy: 258, nice: 258, tries: 4096},
}

// chains has the window of an encoder and remembers the places in it by the hash of their four bytes.
//
// Places are counted from the begin of the window, and by uint32 from somewhere before the stream, in which count a place
// keeps its number when the window slides.
type chains struct {
	effort
	blocks
	queue  [blockTokens + 1]deflate.Token
	queued int

	end     int  // bytes in the window
	pos     int  // the next place to look at
	start   int  // of the block, less than 0 when it has left the window
	known   int  // the first place that is not remembered
	flushed bool // nothing was written since the last flush

	base   uint32 // number of the begin of the window
	swept  uint32 // number up to which places were forgotten
	head   [1 << hashBits]uint32
	back   [windowSize]uint16   // for each place how far back the last one with its hash was, or none
	window [windowSize + 8]byte // and room for a load at its end
}

func newChains(level int, emit deflate.Emit) *chains {
	// What was never remembered has number 0 and is out of reach.
	return &chains{effort: efforts[level], blocks: blocks{emit: emit}, base: never}
}

// resetAt begins a stream, or goes on at a position with what is before it.
func (c *chains) resetAt(position int64, dict []byte) {
	c.base += windowSize + never
	c.forgetFar()
	c.pos = place(position)
	dict = dict[max(0, len(dict)-min(c.pos, deflate.WindowSize)):]
	copy(c.window[c.pos-len(dict):], dict)
	c.end, c.start, c.queued, c.flushed = c.pos, c.pos, 0, false
	c.known = c.pos - len(dict)
}

// place returns where in the window a byte of a stream is when it is looked at: the window slides by its half when fewer
// than lookahead bytes of it follow.
func place(position int64) int {
	const slides = windowSize - lookahead + 1
	if position < slides {
		return int(position)
	}
	return slides - deflate.WindowSize + int((position-slides)%deflate.WindowSize)
}

// slide makes room at the end of the window.
func (c *chains) slide() {
	copy(c.window[:deflate.WindowSize], c.window[deflate.WindowSize:windowSize])
	copy(c.back[:deflate.WindowSize], c.back[deflate.WindowSize:])
	c.pos -= deflate.WindowSize
	c.end -= deflate.WindowSize
	c.start -= deflate.WindowSize
	c.known -= deflate.WindowSize
	c.base += deflate.WindowSize
	c.forgetFar()
}

// forgetFar moves the numbers of places that are out of reach for ever, before they are out of count.
func (c *chains) forgetFar() {
	if c.base-c.swept < forget {
		return
	}
	c.swept = c.base
	for i, number := range c.head {
		if c.base-number > windowSize && c.base-number < 1<<31 {
			c.head[i] = c.base - never
		}
	}
}

// fill takes bytes of p into the window and returns how many. It slides the window when the encoder can go no further in
// it.
func (c *chains) fill(p []byte) int {
	if c.pos >= windowSize-lookahead && (c.end == windowSize || c.flushed) {
		c.slide()
	}
	n := copy(c.window[c.end:windowSize], p)
	c.end += n
	c.flushed = false
	return n
}

// look returns up to which place an encoder can look: the end when all is set.
func (c *chains) look(all bool) int {
	if all {
		return c.end
	}
	return c.end - lookahead + 1
}

func hash(v uint32) uint32 { return bits.ReverseBytes32(v) * hashMultiplier >> (32 - hashBits) }

// remember adds the places up to to, as far as their four bytes are there.
func (c *chains) remember(to int) {
	to = min(to, c.end-minMatch+1)
	at := c.known
	for ; at < to; at++ {
		c.link(at)
	}
	c.known = at
}

// link adds a place to the chain of its hash.
func (c *chains) link(at int) {
	number, h := c.base+uint32(at), hash(c.word(at))
	c.back[at&(windowSize-1)] = uint16(min(number-c.head[h], none))
	c.head[h] = number
}

// longest returns the longest match of more than floor bytes at pos, which is remembered, and the nearest one of several.
// It returns 0 if there is none.
func (c *chains) longest(pos, floor int) (length, distance int) {
	gap := int(c.back[pos&(windowSize-1)])
	if gap > min(pos, deflate.WindowSize) || floor >= c.end-pos {
		return 0, 0
	}
	return c.search(pos, gap, floor)
}

// search looks for a match through the chain that begins gap before pos.
func (c *chains) search(pos, gap, floor int) (length, distance int) {
	longest := min(deflate.MaxMatch, c.end-pos)
	lowest := max(0, pos-deflate.WindowSize)
	nice := min(c.nice, longest)
	best, found := floor, 0
	// A longer match has the last byte of this word, too.
	tail := c.word(pos + best - 3)
	at := pos - gap
	for tries := c.tries; ; {
		if c.word(at+best-3) == tail {
			n := c.common(at, pos, longest)
			if n > best {
				best = n
				if n > minMatch || pos-at <= nearMatch {
					found = pos - at
					if n >= nice {
						break
					}
				}
				// A match that is too far for its length is none, and so are those of that length behind it.
				tail = c.word(pos + best - 3)
			}
		}
		tries--
		at -= int(c.back[at&(windowSize-1)])
		if tries == 0 || at < lowest {
			break
		}
	}
	if found == 0 {
		return 0, 0
	}
	return best, found
}

// word returns the four bytes from a place on.
func (c *chains) word(at int) uint32 {
	return binary.LittleEndian.Uint32(c.window[at&(windowSize-1):])
}

// common returns how many bytes at two places are equal, at most limit.
func (c *chains) common(a, b, limit int) int {
	for n := 0; n < limit; n += 8 {
		x := binary.LittleEndian.Uint64(c.window[(a+n)&(windowSize-1):]) ^
			binary.LittleEndian.Uint64(c.window[(b+n)&(windowSize-1):])
		if x != 0 {
			return min(n+bits.TrailingZeros64(x)>>3, limit)
		}
	}
	return limit
}

// add queues a token.
func (c *chains) add(t deflate.Token) {
	c.queue[c.queued] = t
	c.queued++
}

// finish makes a block of the queue, which ends before place end.
func (c *chains) finish(end int) error {
	if c.queued == 0 {
		return nil
	}
	var raw []byte
	if c.start >= 0 {
		raw = c.window[c.start:end]
	}
	tokens := c.queue[:c.queued]
	c.queued, c.start = 0, end
	return c.smallest(tokens, raw)
}

// drain ends the block and adds an empty stored one. The last places, whose bytes were not there, are passed over.
func (c *chains) drain(final bool) error {
	if err := c.finish(c.pos); err != nil {
		return err
	}
	c.remember(c.end)
	c.known = c.end
	c.flushed = true
	return c.stored(nil, final)
}
