package zstdlong

import (
	"encoding/binary"
	"math/bits"
)

const (
	longBits    = 22 // places of the table of 8 bytes, or fewer for a smaller content
	shortBits   = 20 // and of that of 5
	leastBits   = 10
	longLength  = 8
	shortLength = 5
	leastMatch  = 4 // that is looked for

	// bitsOfByte is what a byte of a match is worth, in bits; it is less than it saves, as another match may save it too.
	bitsOfByte = 4
	// enough is how long a match is that no better one is looked for.
	enough = 512
)

// place has the two latest positions with one hash, the latest first. A position is its last 28 bits, which are enough to
// tell it from any other that is no farther back than the window, and then 4 more bits of the hash: what differs in these
// need not be looked at, which saves most of the time that memory takes. What is not right shows when the bytes are compared.
type place [2]uint32

const (
	checkBits = 4
	checkMask = 1<<checkBits - 1
)

// distance returns how far the position at is from that of an entry whose check bits are those of hash; else 0.
func distance(entry, at uint32, check uint32) uint32 {
	d := (at<<checkBits | check) - entry
	if d&checkMask != 0 {
		return 0
	}
	return d >> checkBits
}

// history is what a frame has had, and the tables of what stands where.
type history struct {
	buf    []byte
	base   uint32 // position of buf[0]
	window uint32
	long   table
	short  table
	far    farTable
	next   int // in buf: all before it is in the tables
}

func newHistory() *history {
	return &history{long: newTable(longBits), short: newTable(shortBits), far: newFarTable()}
}

// begin forgets everything, for a new frame of so many bytes.
func (h *history) begin(window int, size int64) {
	most := max(leastBits, bits.Len64(uint64(size))+1)
	h.long.begin(min(longBits, most))
	h.short.begin(min(shortBits, most))
	h.far.begin(min(farBits, most))
	h.buf, h.base, h.next, h.window = h.buf[:0], 1, 0, uint32(window)
}

// table has the places of hashes.
type table struct {
	all    []place
	places []place // the part of all that is in use
	shift  int     // of a hash of 64 bits, to the number of its place and the check bits below that
}

func newTable(bits int) table { return table{all: make([]place, 1<<bits)} }

func (t *table) begin(bits int) {
	t.places, t.shift = t.all[:1<<bits], 64-bits-checkBits
	clear(t.places)
}

// at returns the place of a hash and its check bits.
func (t *table) at(hash uint64) (*place, uint32) {
	hash >>= t.shift & 63
	return &t.places[hash>>checkBits], uint32(hash & checkMask)
}

// put makes the position the latest one with the hash.
func (t *table) put(hash uint64, at uint32) {
	p, check := t.at(hash)
	p[1], p[0] = p[0], at<<checkBits|check
}

// drop forgets n bytes at the front.
func (h *history) drop(n int) {
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
	h.base += uint32(n)
	h.next -= n
}

func hashLong(v uint64) uint64  { return v * 0xcf1bbcdcb7a56463 }
func hashShort(v uint64) uint64 { return v << (64 - 8*shortLength) * 0x9e3779b185ebca87 }

// insertTo puts all positions before i into the tables.
func (h *history) insertTo(i int) {
	for j := h.next; j < i; j++ {
		v := binary.LittleEndian.Uint64(h.buf[j:])
		at := h.base + uint32(j)
		h.long.put(hashLong(v), at)
		h.short.put(hashShort(v), at)
	}
	h.next = max(h.next, i)
}

// match is a match for the bytes at start.
type match struct {
	start    int // in the buffer
	length   int
	distance uint32
	score    int
}

func (m match) end() int { return m.start + m.length }

// better takes a match at i with this distance if it is better than m. Whoever calls knows that the distance is one that
// there is.
func (m *match) better(h *history, i, anchor, end int, distance uint32, cost int) {
	from := i - int(distance)
	n := matchLength(h.buf, from, i, end)
	if n < leastMatch {
		return
	}
	start := i
	for start > anchor && from > 0 && h.buf[start-1] == h.buf[from-1] {
		start--
		from--
		n++
	}
	if score := n*bitsOfByte - cost; score > m.score {
		*m = match{start, n, distance, score}
	}
}

// newCost is what a distance costs that was not used lately.
func newCost(distance uint32) int { return bits.Len32(distance) + 2 }

// costs of distances that were used lately.
var repeatCost = [3]int{1, 3, 4}

// find returns the best match for what stands at i, whose literals begin at anchor. The score is 0 when there is none.
func (h *history) find(i, anchor, end int, repeats *[3]uint32) (m match) {
	buf := h.buf
	v := binary.LittleEndian.Uint64(buf[i:])
	most := min(h.window, uint32(i)) // distance
	for r, d := range repeats {
		if i == anchor && r == 0 {
			continue
		}
		if d <= most && uint32(v) == binary.LittleEndian.Uint32(buf[i-int(d):]) {
			m.better(h, i, anchor, end, d, repeatCost[r])
		}
	}
	if m.length >= enough {
		return m
	}
	at := h.base + uint32(i)
	place, check := h.long.at(hashLong(v))
	for _, e := range place {
		if d := distance(e, at, check); d-1 < most && v == binary.LittleEndian.Uint64(buf[i-int(d):]) {
			m.better(h, i, anchor, end, d, newCost(d))
		}
	}
	place, check = h.short.at(hashShort(v))
	for _, e := range place {
		if d := distance(e, at, check); d-1 < most && uint32(v) == binary.LittleEndian.Uint32(buf[i-int(d):]) {
			m.better(h, i, anchor, end, d, newCost(d))
		}
	}
	if d := h.far.at(i); d != 0 && d <= most {
		m.better(h, i, anchor, end, d, newCost(d))
	}
	return m
}

// matchLength returns how many bytes at i are those at from, up to end.
func matchLength(buf []byte, from, i, end int) int {
	a, b := buf[from:], buf[i:end]
	n := 0
	for len(b)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
