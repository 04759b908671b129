package zstdlong

// Far matches are found by hashes of 64 bytes. Only those are looked at, and kept, whose hash ends in some zeros, so that the
// same content is looked at wherever it stands, and the table reaches back over the whole window.

const (
	farLength  = 64 // bytes of a hash
	farRate    = 7  // one in 2^farRate positions has a hash that counts
	farBits    = 18 // buckets
	farEntries = 4  // of a bucket
)

// farEntry is a position, in the high half, and some bits of the hash before it.
type farEntry uint64

type farTable struct {
	all     [][farEntries]farEntry
	buckets [][farEntries]farEntry // the part of all that is in use
	rolling uint64                 // hash of the last 64 bytes

	found []farMatch // of the block, in order
	next  int        // in found: those before it have ended
}

// farMatch is a range of a block that stands elsewhere, too.
type farMatch struct {
	start, end int // in the buffer
	distance   uint32
}

func newFarTable() farTable {
	return farTable{all: make([][farEntries]farEntry, 1<<farBits)}
}

func (t *farTable) begin(bits int) {
	t.buckets = t.all[:1<<bits]
	clear(t.buckets)
	t.rolling = 0
}

// gear has a random number for each byte.
var gear = func() (g [256]uint64) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range g { // splitmix64
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		g[i] = z ^ z>>31
	}
	return g
}()

// scan goes through a block of the buffer, finds what of it was there before, and keeps what it has.
func (h *history) scan(start, end int) {
	t := &h.far
	t.found, t.next = t.found[:0], 0
	rolling := t.rolling
	for i, b := range h.buf[start:end] {
		rolling = rolling<<1 + gear[b]
		if rolling>>(64-farRate) != 0 {
			continue
		}
		if at := start + i + 1 - farLength; at >= 0 {
			h.sample(rolling, at, start, end)
		}
	}
	t.rolling = rolling
}

// sample looks for the 64 bytes at position i of the buffer, whose hash is given, and keeps them.
func (h *history) sample(hash uint64, i, start, end int) {
	t := &h.far
	hash *= 0x9fb21c651e98df25
	hash ^= hash >> 32
	bucket := &t.buckets[hash>>8&uint64(len(t.buckets)-1)]
	check := farEntry(hash >> 32)
	at := h.base + uint32(i)
	if last := len(t.found) - 1; last < 0 || t.found[last].end < i+farLength {
		var best farMatch
		for _, e := range bucket {
			if e&0xffffffff != check || e == 0 {
				continue
			}
			if d := at - uint32(e>>32); d > 0 && d <= min(h.window, uint32(i)) {
				if m := h.farMatch(i, d, start, end); m.end-m.start > best.end-best.start {
					best = m
				}
			}
		}
		if best.end-best.start >= farLength/2 {
			t.found = append(t.found, best)
		}
	}
	copy(bucket[1:], bucket[:farEntries-1])
	bucket[0] = farEntry(at)<<32 | check
}

// farMatch returns the match at i with the distance d, as far as it goes in the block.
func (h *history) farMatch(i int, d uint32, start, end int) farMatch {
	i = max(i, start)
	m := farMatch{i, i, d}
	if m.end += matchLength(h.buf, i-int(d), i, end); m.end == i {
		return m
	}
	for m.start > start && m.start > int(d) && h.buf[m.start-1] == h.buf[m.start-1-int(d)] {
		m.start--
	}
	return m
}

// at returns the distance of the far match that has position i of the buffer, or 0. Calls come in the order of i.
func (t *farTable) at(i int) uint32 {
	for t.next < len(t.found) && t.found[t.next].end < i+leastMatch {
		t.next++
	}
	if t.next == len(t.found) || t.found[t.next].start > i {
		return 0
	}
	return t.found[t.next].distance
}
