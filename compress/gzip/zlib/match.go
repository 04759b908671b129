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
	chain, nice := e.chain, e.nice
	if best >= e.good {
		chain /= 4
	}
	if !e.seesBehind {
		nice = min(nice, e.end-pos)
	}
	limit := max(pos-maxDistance, 0)
	buf, prev := &e.buf, &e.prev

	// A longer match has the same last bytes up to best, of four or, where there are no four, three.
	last, mask := best-3, ^uint32(0)
	if best < 3 {
		last, mask = 0, 1<<24-1
	}
	tail := load32(buf, pos+last)
	for {
		if (load32(buf, place+last)^tail)&mask == 0 {
			if n := matchLength(buf, place, pos); n > best {
				best, start = n, place
				if n >= nice {
					break
				}
				last, mask = best-3, ^uint32(0)
				tail = load32(buf, pos+last)
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
