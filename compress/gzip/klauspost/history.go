package klauspost

import (
	"encoding/binary"
	"math/bits"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	// historySize is how many bytes of the past there are at most. Level 4 of some versions compares with what lies at the
	// begin of them, so that they have to be those of the original.
	historySize = 5 * chunkSize

	window   = deflate.WindowSize
	margin   = 11         // no search begins in the last bytes
	shortest = margin + 2 // bytes that are searched

	firstBase = 1 << 16 // more than a window
	lastBase  = 1 << 30
)

// history has the last bytes of a stream. A place in the tables of a matcher is base and the index of its byte, so that
// places of what was forgotten are out of reach.
type history struct {
	bytes []byte // historySize at most
	base  int32
}

func (h *history) init() { h.bytes, h.base = make([]byte, 0, historySize), firstBase }

// forget puts all places so far out of reach.
func (h *history) forget() {
	h.base += window + int32(len(h.bytes))
	h.bytes = h.bytes[:0]
}

// add appends p and returns its index. Where there is no room, only the last window of the bytes before is kept.
func (h *history) add(p []byte) int {
	if len(h.bytes)+len(p) > historySize {
		drop := len(h.bytes) - window
		copy(h.bytes, h.bytes[drop:])
		h.bytes = h.bytes[:window]
		h.base += int32(drop)
	}
	h.bytes = append(h.bytes, p...)
	return len(h.bytes) - len(p)
}

// rebase makes base small where it is too large, and returns how much is to be subtracted from all places.
func (h *history) rebase() int32 {
	if h.base < lastBase {
		return 0
	}
	by := h.base - firstBase
	h.base = firstBase
	return by
}

// place is one of a table: of a byte, as history says. The place 0 is out of reach.
type place = int32

// places has the last place of a hash and the one before.
type places struct{ last, previous place }

func (p *places) push(q place) { p.last, p.previous = q, p.last }

func rebase(table []place, by int32) {
	for i, p := range table {
		table[i] = max(0, p-by)
	}
}

func rebasePairs(table []places, by int32) {
	for i, p := range table {
		table[i] = places{max(0, p.last-by), max(0, p.previous-by)}
	}
}

func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

// The hashes of the first 4, 5 and 7 bytes of v, in so many bits.
func hash4(v uint64, size uint) uint32 { return uint32(v) * 2654435761 >> (32 - size) }
func hash5(v uint64, size uint) uint32 { return uint32(v << 24 * 889523592379 >> (64 - size)) }
func hash7(v uint64, size uint) uint32 { return uint32(v << 8 * 58295818150454627 >> (64 - size)) }

// common returns how many bytes from s and from t on, which is less, are equal. Most often these are few.
func common(b []byte, s, t int) int {
	if s+8 <= len(b) {
		if d := load64(b, s) ^ load64(b, t); d != 0 {
			return bits.TrailingZeros64(d) >> 3
		}
	}
	return commonLong(b, s, t)
}

// commonLong is common for any number of bytes.
func commonLong(b []byte, s, t int) int {
	x := b[s:]
	y := b[t:][:len(x)]
	for len(x) >= 8 && len(y) >= 8 {
		if d := binary.LittleEndian.Uint64(x) ^ binary.LittleEndian.Uint64(y); d != 0 {
			return len(b) - s - len(x) + bits.TrailingZeros64(d)>>3
		}
		x, y = x[8:], y[8:]
	}
	for i := range x {
		if x[i] != y[i] {
			return len(b) - s - len(x) + i
		}
	}
	return len(b) - s
}

// matchLength returns the length of the match of s and t, whose first four bytes are known to be equal.
func matchLength(b []byte, s, t int) int { return 4 + common(b, s+4, t+4) }

// oneMatch is matchLength for at most [deflate.MaxMatch] bytes.
func oneMatch(b []byte, s, t int) int {
	return matchLength(b[:min(len(b), s+deflate.MaxMatch)], s, t)
}

// appendLiterals appends p to dst, which has room for it.
func appendLiterals(dst []deflate.Token, p []byte) []deflate.Token {
	n := len(dst)
	dst = dst[:n+len(p)]
	for i, t := 0, dst[n:]; i < len(p) && i < len(t); i++ {
		t[i] = deflate.Literal(p[i])
	}
	return dst
}

// appendMatch appends a match of any length, in parts. No part is shorter than a match can be.
func appendMatch(dst []deflate.Token, length, distance int) []deflate.Token {
	for length > deflate.MaxMatch {
		part := deflate.MaxMatch
		if length <= deflate.MaxMatch+deflate.MinMatch {
			part -= deflate.MinMatch
		}
		dst = append(dst, deflate.Match(part, distance))
		length -= part
	}
	return append(dst, deflate.Match(length, distance))
}

// appendRest appends what remains after the last match, and nothing where there was none.
func appendRest(dst []deflate.Token, none int, p []byte) []deflate.Token {
	if len(dst) == none {
		return dst
	}
	return appendLiterals(dst, p)
}
