package zstdlong

import (
	"errors"
	"math"
	"math/bits"
)

// FSE as in RFC 8878, section 4.1. A distribution has, for each symbol, its share of the states of a table: 0 for one
// that does not occur, and -1 for one that gets a state at the end of the table and less than its share.

const (
	minTableLog = 5
	maxTableLog = 9
	maxSymbols  = matchCodes
)

// distribution is how often symbols occur.
type distribution struct {
	norm     []int16
	tableLog uint8
}

// The predefined distributions of RFC 8878, section 3.1.1.3.2.2.
var (
	defaultLiterals = distribution{[]int16{
		4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
	}, 6}
	defaultMatches = distribution{[]int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
	}, 6}
	defaultOffsets = distribution{[]int16{
		1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
	}, 5}
)

// fseTable encodes symbols. It is the inverse of the table that a decoder builds.
type fseTable struct {
	tableLog uint8
	state    [1 << maxTableLog]uint16
	symbols  [maxSymbols]struct {
		deltaBits  uint32
		deltaState int32
	}
}

// build makes the table for a distribution.
func (t *fseTable) build(d distribution) {
	size := uint32(1) << d.tableLog
	t.tableLog = d.tableLog
	var spread [1 << maxTableLog]uint8
	var next [maxSymbols + 1]uint32 // first state of each symbol
	high := size - 1                // above are the symbols of the share -1
	for s, n := range d.norm {
		next[s+1] = next[s] + uint32(max(n, -n))
		if n < 0 {
			spread[high] = uint8(s)
			high--
		}
	}
	step, pos := size>>1+size>>3+3, uint32(0)
	for s, n := range d.norm {
		for range max(n, 0) {
			spread[pos] = uint8(s)
			for pos = (pos + step) & (size - 1); pos > high; {
				pos = (pos + step) & (size - 1)
			}
		}
	}
	total := int32(0)
	for s, n := range d.norm {
		sym := &t.symbols[s]
		switch n {
		case 0:
			sym.deltaBits = (uint32(d.tableLog)+1)<<16 - size
		case -1, 1:
			sym.deltaBits = uint32(d.tableLog)<<16 - size
			sym.deltaState = total - 1
			total++
		default:
			most := uint32(d.tableLog) - uint32(bits.Len16(uint16(n-1))-1)
			sym.deltaBits = most<<16 - uint32(n)<<most
			sym.deltaState = total - int32(n)
			total += int32(n)
		}
	}
	for u := range size {
		s := spread[u]
		t.state[next[s]] = uint16(size + u)
		next[s]++
	}
}

// start returns the state from which the last symbol, which is encoded first, is decoded.
func (t *fseTable) start(symbol uint8) uint32 {
	s := t.symbols[symbol]
	n := (s.deltaBits + 1<<15) >> 16
	v := n<<16 - s.deltaBits
	return uint32(t.state[int32(v>>n)+s.deltaState])
}

// encode writes the bits that lead from the state of symbol to the one after it, and returns the former.
func (t *fseTable) encode(w *bitWriter, state uint32, symbol uint8) uint32 {
	s := t.symbols[symbol]
	n := (state + s.deltaBits) >> 16
	w.add(uint64(state)&(1<<n-1), n)
	return uint32(t.state[int32(state>>n)+s.deltaState])
}

// flush writes the state that a decoder begins with.
func (t *fseTable) flush(w *bitWriter, state uint32) {
	w.add(uint64(state)&(1<<t.tableLog-1), uint32(t.tableLog))
}

// normalize returns the distribution of symbols that occur so often, total times in all, more than one of them. The slice
// is that of norm, as long as it has to be.
func normalize(norm []int16, count []uint32, total uint32, maxLog uint8) distribution {
	last := len(count) - 1
	for count[last] == 0 {
		last--
	}
	norm = norm[:last+1]
	log := uint8(max(minTableLog, min(int(maxLog), bits.Len32(total-1)-3)))
	for log < maxLog && 1<<log < 2*(last+1) { // there must be a state for each
		log++
	}
	size := int32(1) << log
	left, largest := size, 0
	for s, n := range count[:last+1] {
		switch share := uint64(n) << log; {
		case n == 0:
			norm[s] = 0
		case share < uint64(total)*3/4:
			norm[s] = -1
			left--
		default:
			norm[s] = int16(max(1, roundShare(share, uint64(total))))
			left -= int32(norm[s])
		}
		if norm[s] > norm[largest] {
			largest = s
		}
	}
	for left != 0 {
		s := correctable(norm, count, left, largest)
		if left > 0 {
			norm[s]++
			left--
		} else {
			norm[s]--
			left++
		}
	}
	return distribution{norm, log}
}

// roundShare rounds share/total so that the code of the symbol is shortest on average: between two small numbers that is at
// their geometric mean.
func roundShare(share, total uint64) uint64 {
	low := share / total
	if low > 0 && low < 8 {
		if share*share > low*(low+1)*total*total {
			return low + 1
		}
		return low
	}
	if 2*(share%total) >= total {
		return low + 1
	}
	return low
}

// correctable returns the symbol whose share is to be changed by one: the one for which that costs least.
func correctable(norm []int16, count []uint32, left int32, largest int) int {
	best, cost := largest, int64(math.MaxInt64)
	for s, n := range norm {
		to := n + 1
		if left < 0 {
			to = n - 1
		}
		if n < 1 || to < 1 {
			continue
		}
		if c := int64(count[s]) * (log2(n) - log2(to)); c < cost {
			best, cost = s, c
		}
	}
	return best
}

// logScale is what a bit is in the unit of costs. They are whole numbers, so that they are the same on all processors.
const logScale = 1 << 8

// logs has the logarithms of the shares that there can be.
var logs = func() (t [1<<maxTableLog + 1]int64) {
	for n := range t[1:] {
		t[n+1] = logOf(uint64(n + 1))
	}
	return t
}()

// logOf returns the logarithm of n to the base 2, in units of 1/logScale, by squaring: each square gives one bit.
func logOf(n uint64) int64 {
	whole := bits.Len64(n) - 1
	log, x := int64(whole), n<<31>>whole // x is from 1 to 2, times 2^31
	for range bits.Len(logScale) - 1 {
		x = x * x >> 31
		log <<= 1
		if x >= 2<<31 {
			x >>= 1
			log++
		}
	}
	return log
}

// log2 returns the logarithm of a share, of which -1 counts as 1.
func log2(n int16) int64 { return logs[max(n, -n)] }

// never is the cost of what cannot be.
const never = math.MaxInt64

var errShares = errors.New("zstdlong: shares do not fill their table")

// appendTo writes the distribution as RFC 8878 tells it in section 4.1.1.
func (d distribution) appendTo(dst []byte) ([]byte, error) {
	w := bitWriter{out: dst}
	w.add(uint64(d.tableLog-minTableLog), 4)
	remaining := int32(1)<<d.tableLog + 1
	threshold, n := int32(1)<<d.tableLog, uint32(d.tableLog)+1
	zero := false // the symbol before has no share
	for s := 0; s < len(d.norm) && remaining > 1; {
		if zero {
			first := s
			for s < len(d.norm) && d.norm[s] == 0 {
				s++
			}
			run := s - first
			for ; run >= 3; run -= 3 {
				w.add(3, 2)
				w.carry()
			}
			w.add(uint64(run), 2)
			w.carry()
			if s == len(d.norm) {
				break
			}
		}
		v := int32(d.norm[s])
		s++
		spare := 2*threshold - 1 - remaining
		remaining -= max(v, -v)
		v++
		if v >= threshold {
			v += spare
		}
		used := n
		if v < spare {
			used--
		}
		w.add(uint64(v), used)
		w.carry()
		zero = v == 1
		for remaining < threshold {
			n--
			threshold >>= 1
		}
	}
	if remaining != 1 {
		return dst, errShares
	}
	return w.flush(), nil
}

// cost returns how many bits symbols that occur so often take, times logScale, or never when one has no share.
func (d distribution) cost(count []uint32) int64 {
	total := int64(0)
	for s, n := range count {
		if n == 0 {
			continue
		}
		if s >= len(d.norm) || d.norm[s] == 0 {
			return never
		}
		total += int64(n) * (int64(d.tableLog)*logScale - log2(d.norm[s]))
	}
	return total
}

// bitWriter appends bits to out, the first one lowest.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint32
}

// add takes n bits. There must be room: carry makes some, so that 56 bits can be taken.
func (w *bitWriter) add(v uint64, n uint32) {
	w.bits |= v << w.n
	w.n += n
}

// carry moves whole bytes to out.
func (w *bitWriter) carry() {
	for ; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

// flush moves all bits to out, with zeros to the end of the last byte.
func (w *bitWriter) flush() []byte {
	w.carry()
	if w.n > 0 {
		w.out = append(w.out, byte(w.bits))
		w.bits, w.n = 0, 0
	}
	return w.out
}
