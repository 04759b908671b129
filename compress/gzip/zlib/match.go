package zlib

import (
	"math/bits"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// longest returns the longest match at pos that has more than best bytes, at least 2, of those at place and in the chain
// behind it, and where it begins. Of equal ones the nearest is taken. It returns best when there is none.
//
// Matches can go on behind the end of the input, into what is left in the buffer from before, but for those of zlib.
func (e *encoder) longest(pos, place, best int) (length, start int) {
	chain, nice := e.effortAt(pos, best)
	return e.follow(pos, place, best, chain, nice)
}

// effortAt returns how many places are looked at, and which length ends the search.
func (e *encoder) effortAt(pos, best int) (chain, nice int) {
	chain, nice = e.chain, e.nice
	if best >= e.good {
		chain /= 4
	}
	if !e.seesBehind {
		nice = min(nice, e.end-pos)
	}
	return chain, nice
}

// follow is longest with the effort that is to be made.
func (e *encoder) follow(pos, place, best, chain, nice int) (length, start int) {
	limit := max(pos-maxDistance, 0)
	buf, prev := &e.buf, &e.prev
	tail := newTail(buf, pos, best)
	for {
		if tail.fits(buf, place) {
			if n := matchLength(buf, place, pos); n > best {
				best, start = n, place
				if n >= nice {
					break
				}
				tail = newTail(buf, pos, best)
			}
		}
		place = int(prev[place&(windowSize-1)])
		chain--
		if place <= limit || chain == 0 {
			break
		}
	}
	return best, start
}

// tail has the last bytes, up to the one at best, that a match of more than best bytes has: four or, where there are no
// four, three.
type tail struct {
	offset      int
	bytes, mask uint32
}

func newTail(buf *[roundSize + 8]byte, pos, best int) tail {
	if best < 3 {
		return tail{0, load32(buf, pos), 1<<24 - 1}
	}
	return tail{best - 3, load32(buf, pos+best-3), 1<<32 - 1}
}

func (t tail) fits(buf *[roundSize + 8]byte, place int) bool {
	return (load32(buf, place+t.offset)^t.bytes)&t.mask == 0
}

func load32(buf *[roundSize + 8]byte, at int) uint32 {
	i := at & roundMask
	return uint32(buf[i]) | uint32(buf[i+1])<<8 | uint32(buf[i+2])<<16 | uint32(buf[i+3])<<24
}

func load64(buf *[roundSize + 8]byte, at int) uint64 {
	i := at & roundMask
	return uint64(buf[i]) | uint64(buf[i+1])<<8 | uint64(buf[i+2])<<16 | uint64(buf[i+3])<<24 |
		uint64(buf[i+4])<<32 | uint64(buf[i+5])<<40 | uint64(buf[i+6])<<48 | uint64(buf[i+7])<<56
}

// matchLength returns how many bytes are the same at a and b, at most those of the longest match.
func matchLength(buf *[roundSize + 8]byte, a, b int) int {
	for n := 0; n < deflate.MaxMatch; n += 8 {
		if diff := load64(buf, a+n) ^ load64(buf, b+n); diff != 0 {
			return min(n+bits.TrailingZeros64(diff)/8, deflate.MaxMatch)
		}
	}
	return deflate.MaxMatch
}
