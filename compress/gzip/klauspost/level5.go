package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

// level5 looks at the last two places of a hash of seven bytes, and then at that of four bytes, unless a longer match
// begins at the next byte.
type level5 struct{ tables }

// tables are those of levels 5 and 6.
type tables struct {
	short [1 << tableBits]place
	long  [1 << tableBits]places
}

func (m *tables) rebase(by int32) {
	rebase(m.short[:], by)
	rebasePairs(m.long[:], by)
}

func (m *tables) put(v uint64, p place) {
	m.short[hash4(v, tableBits)] = p
	m.long[hash7(v, tableBits)].push(p)
}

func (m *level5) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start
	s, v := start, load64(b, start)
	for {
		var t, length int
		next := s
		short, long := &m.short[hash4(v, tableBits)], &m.long[hash7(v, tableBits)]
		for {
			s = next
			next = s + 1 + (s-done)>>6
			if next > limit {
				return appendRest(dst, none, b[done:])
			}
			t4, found := int(*short)-base, *long
			*short = place(base + s)
			long.push(place(base + s))

			ahead := load64(b, next)
			short, long = &m.short[hash4(ahead, tableBits)], &m.long[hash7(ahead, tableBits)]
			if t = int(found.last) - base; s-t < window {
				previous := int(found.previous) - base
				reach := s-previous < window && uint32(v) == load32(b, previous)
				if uint32(v) == load32(b, t) {
					if reach {
						length = oneMatch(b, s, t)
						if n := oneMatch(b, s, previous); n > length {
							t, length = previous, n
						}
					}
					*short = place(base + next)
					long.push(place(base + next))
					break
				}
				if reach {
					t = previous
					*short = place(base + next)
					long.push(place(base + next))
					break
				}
			}
			if t = t4; s-t < window && uint32(v) == load32(b, t) {
				found = *long
				*short = place(base + next)
				long.push(place(base + next))
				length = oneMatch(b, s, t)
				if t2, n := longerAt(b, base, next, uint32(ahead), found, length); n > 0 {
					s, t, length = next, t2, n
				}
				break
			}
			v = ahead
		}

		if length == 0 {
			length = matchLength(b, s, t)
		} else if length == deflate.MaxMatch {
			length += common(b, s+length, t+length)
		}
		if end := s + length; length < 30 && end < limit {
			s, t, length = m.byEnd(b, base, s, t, length)
		}
		for t > 0 && s > done && b[t-1] == b[s-1] {
			s, t, length = s-1, t-1, length+1
		}
		dst = appendLiterals(dst, b[done:s])
		dst = appendMatch(dst, length, s-t)
		done = s + length
		s = max(done, next+1)
		if s >= limit {
			return appendRest(dst, none, b[done:])
		}
		m.index(b, base, s-length+1, s-1)
		v = load64(b, s-1)
		m.put(v, place(base+s-1))
		v >>= 8
	}
}

// longerAt returns the first of two places where a match of s is longer than length, and its length, and 0 where there is
// none.
func longerAt(b []byte, base, s int, v uint32, found places, length int) (t, n int) {
	if t = int(found.last) - base; s-t >= window {
		return 0, 0 // the previous one is farther back
	}
	if v == load32(b, t) {
		if n = oneMatch(b, s, t); n > length {
			return t, n
		}
	}
	if t = int(found.previous) - base; s-t < window && v == load32(b, t) {
		if n = oneMatch(b, s, t); n > length {
			return t, n
		}
	}
	return 0, 0
}

// skipped bytes at the begin of a match need not be equal in one that is found by its end.
const skipped = 2

// byEnd looks for a longer match that goes on where this one ends.
func (m *level5) byEnd(b []byte, base, s, t, length int) (int, int, int) {
	t2 := int(m.long[hash7(load64(b, s+length), tableBits)].last) - base - length + skipped
	s2 := s + skipped
	if t2 < 0 || t2 >= s2 || s2-t2 >= window {
		return s, t, length
	}
	if n := common(b, s2, t2); n > length {
		return s2, t2, n
	}
	return s, t, length
}

// index puts about every third place from i up to end into the tables.
func (m *level5) index(b []byte, base, i, end int) {
	if i >= end {
		return
	}
	v := load64(b, i)
	m.put(v, place(base+i))
	m.long[hash7(v>>8, tableBits)].push(place(base + i + 1))
	m.short[hash4(v>>16, tableBits)] = place(base + i + 2)
	for i += 4; i < end; i += 3 {
		v := load64(b, i)
		m.long[hash7(v, tableBits)].push(place(base + i))
		m.short[hash4(v>>8, tableBits)] = place(base + i + 1)
	}
}
