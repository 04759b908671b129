package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

const (
	windowSize = deflate.WindowSize
	bufferSize = 2 * windowSize
	// lookahead is how many bytes there are behind a place before the end of the input is in sight: those of the longest
	// match, and one place more for the hash.
	lookahead = deflate.MaxMatch + deflate.MinMatch + 1
	// maxDistance is how far back matches go.
	maxDistance = windowSize - lookahead
	// slidePoint is the first place where the upper half of the buffer moves to the lower one.
	slidePoint = windowSize + maxDistance
	// roundSize is the size of an array that any place can be an index of without a check. What lies behind the buffer is
	// zero, and nothing depends on it but the length of matches that are cut.
	roundSize = 2 * bufferSize
	roundMask = roundSize - 1
)

// window is what an encoder sees of its input: a buffer of which all places but the first can be found by the hash of the
// three bytes there. Places are indices of the buffer, and 0 is none.
type window struct {
	buf   [roundSize + 8]byte
	pos   int // the next place
	end   int // of the input so far
	start int // of the block; below 0 it has left the buffer

	// unhashed is how many places before pos are not in the chains, since three bytes were not there yet.
	unhashed int

	head      [1 << 16]uint16    // the last place of each hash
	prev      [windowSize]uint16 // the place before with the same hash, by the low bits of a place
	hashMask  uint32
	hashShift uint

	ranked bool               // count and rank are kept
	count  [1 << 16]uint16    // how many places of each hash there were, modulo 65,536
	rank   [windowSize]uint16 // of each place: how many there were of its hash with it
}

// reset begins a stream behind dict, at most windowSize bytes, whose end lies at pos.
func (w *window) reset(dict []byte, pos int) {
	clear(w.buf[:bufferSize])
	clear(w.head[:w.hashMask+1])
	w.pos, w.end, w.start = pos, pos, pos
	w.unhashed = len(dict)
	copy(w.buf[pos-len(dict):], dict)
	if pos > windowSize {
		copy(w.buf[pos:bufferSize], w.buf[pos-windowSize:windowSize]) // what a slide leaves behind
	}
	w.hashMissing()
}

// fill takes bytes of p until the buffer is full, and returns how many.
func (w *window) fill(p []byte) int {
	n := copy(w.buf[w.end:bufferSize], p)
	w.end += n
	w.hashMissing()
	return n
}

// slide moves the upper half of the buffer to the lower one. Places there are none any more.
func (w *window) slide() {
	copy(w.buf[:windowSize], w.buf[windowSize:bufferSize])
	w.pos -= windowSize
	w.end -= windowSize
	w.start -= windowSize
	lower(w.head[:w.hashMask+1])
	lower(w.prev[:])
}

// lower subtracts windowSize from places, and makes 0 of those that are less.
func lower(places []uint16) {
	for i, p := range places {
		places[i] = max(p, windowSize) - windowSize
	}
}

// hashMissing puts the unhashed places into the chains while three bytes are there.
func (w *window) hashMissing() {
	n := min(w.unhashed, w.end-(w.pos-w.unhashed)-deflate.MinMatch+1)
	if n > 0 {
		w.insertAll(w.pos-w.unhashed, w.pos-w.unhashed+n)
		w.unhashed -= n
	}
}

// insert puts a place into the chains and returns the one before with its hash.
func (w *window) insert(place int) int {
	h := w.hash(place)
	first := w.head[h]
	w.prev[place&(windowSize-1)] = first
	w.head[h] = uint16(place)
	if w.ranked {
		w.count[h]++
		w.rank[place&(windowSize-1)] = w.count[h]
	}
	return int(first)
}

func (w *window) hash(place int) uint16 {
	i := place & roundMask
	h := uint32(w.buf[i])<<(2*w.hashShift&31) ^ uint32(w.buf[i+1])<<(w.hashShift&31) ^ uint32(w.buf[i+2])
	return uint16(h & w.hashMask)
}

// insertAll puts the places from from to to into the chains.
func (w *window) insertAll(from, to int) {
	if from >= to {
		return
	}
	shift, mask := w.hashShift&31, w.hashMask
	h := uint32(w.buf[from])<<shift ^ uint32(w.buf[from+1])
	next := w.buf[from+2 : to+2]
	for i, b := range next {
		place := from + i
		h = h<<shift ^ uint32(b)
		at := &w.head[uint16(h&mask)]
		w.prev[place&(windowSize-1)] = *at
		*at = uint16(place)
		if w.ranked {
			w.count[uint16(h&mask)]++
			w.rank[place&(windowSize-1)] = w.count[uint16(h&mask)]
		}
	}
}
