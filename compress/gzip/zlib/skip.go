package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

const (
	// longChain is the length of chains from which on it pays to pass over places of them.
	longChain = 1024
	// aheadMost is how many strings ahead are tried for a better chain.
	aheadMost = 32
)

// longestOfMany returns what longest does, without a look at every place of the chain.
//
// A match of more than best bytes has each string of three bytes that is among the first best+1. So it is enough to follow
// the chain of one of them, which lies at an offset: the one whose next place is the farthest back. Ranks tell whether
// longest would have come to a place. When the chains that are followed turn out longer than that of pos, longest goes on.
func (e *encoder) longestOfMany(pos, place, best int) (length, start int) {
	chain, nice := e.effortAt(pos, best)
	limit := max(pos-maxDistance, 0)
	ahead, aheadAt := e.rarestAhead(pos, best)
	offset, at := 0, place
	switched := false
	tail := newTail(&e.buf, pos, best)
	for steps := chain; steps > 0; steps-- {
		if ahead > 0 && at <= pos-ahead {
			// Places nearer than that have their string behind pos, where none is in a chain yet.
			offset, at, ahead, switched = ahead, aheadAt, 0, true
		}
		candidate := at - offset
		if candidate <= limit && candidate != place {
			return best, start
		}
		if tail.fits(&e.buf, candidate) {
			if n := matchLength(&e.buf, candidate, pos); n > best {
				if int(e.rank[pos&(windowSize-1)]-e.rank[candidate&(windowSize-1)]) > chain {
					return best, start
				}
				best, start = n, candidate
				if n >= nice {
					return best, start
				}
				tail = newTail(&e.buf, pos, best)
				offset, at = e.rarestBehind(pos, candidate, best)
				ahead, switched = 0, true
				continue
			}
		}
		at = int(e.prev[at&(windowSize-1)])
	}
	if !switched {
		return best, start
	}
	if n, match := e.follow(pos, place, best, chain, nice); n > best {
		return n, match
	}
	return best, start
}

// rarestAhead returns the offset of the string behind pos, among the first best+1 bytes, whose last place is the farthest
// back, and that place. Offset 0 is none.
func (e *encoder) rarestAhead(pos, best int) (offset, at int) {
	least := pos
	for o := max(1, best-aheadMost); o <= best+1-deflate.MinMatch; o++ {
		if next := int(e.head[e.hash(pos+o)]); next-o < least {
			offset, at, least = o, next, next-o
		}
	}
	return offset, at
}

// rarestBehind returns the offset of the string in a match of best bytes whose next place is the farthest back, and that
// place.
func (e *encoder) rarestBehind(pos, match, best int) (offset, at int) {
	least := pos
	for o := 0; o <= min(best-deflate.MinMatch, pos-match); o++ {
		if next := int(e.prev[(match+o)&(windowSize-1)]); next-o < least {
			offset, at, least = o, next, next-o
		}
	}
	return offset, at
}
