package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

const level3Bits = 16

// level3 looks at the last two places of a hash of five bytes.
type level3 struct{ table [1 << level3Bits]places }

func (m *level3) rebase(by int32) { rebasePairs(m.table[:], by) }

func (m *level3) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start
	s, v := start, load64(b, start)
	for {
		var t int
		next := s
		for {
			hash := hash5(v, level3Bits)
			s = next
			next = s + 1 + (s-done)>>7
			if next > limit {
				return appendRest(dst, none, b[done:])
			}
			found := m.table[hash]
			m.table[hash].push(place(base + s))
			var ok bool
			if t, ok = longer(b, base, s, uint32(v), found); ok {
				break
			}
			v = load64(b, next)
		}

		for {
			length := matchLength(b, s, t)
			for t > 0 && s > done && b[t-1] == b[s-1] {
				s, t, length = s-1, t-1, length+1
			}
			dst = appendLiterals(dst, b[done:s])
			dst = appendMatch(dst, length, s-t)
			done = s + length
			s = max(done, next+1)
			if s >= limit {
				if t += length; t+8 < len(b) && t > 0 {
					m.push(load64(b, t), place(base+t))
				}
				return appendRest(dst, none, b[done:])
			}

			var found places
			found, v = m.index(b, base, s, length)
			// The previous place does not count where the last one is too far back.
			least := base + s - (window - 4)
			last, previous := int(found.last), int(found.previous)
			if last > least && uint32(v) == load32(b, last-base) {
				t = last - base
				continue
			}
			if last > least && previous > least && uint32(v) == load32(b, previous-base) {
				t = previous - base
				continue
			}
			s, v = s+1, v>>8
			break
		}
	}
}

// longer returns the place of the longer match of two, the last one where they are equal.
func longer(b []byte, base, s int, v uint32, found places) (t int, ok bool) {
	least := base + s - (window - 4)
	last, previous := int(found.last), int(found.previous)
	if last < least {
		return 0, false // the previous one is farther back
	}
	if v != load32(b, last-base) {
		ok = previous > least && v == load32(b, previous-base)
		return previous - base, ok
	}
	if previous >= least && v == load32(b, previous-base) &&
		common(b, s+4, previous-base+4) > common(b, s+4, last-base+4) {
		return previous - base, true
	}
	return last - base, true
}

func (m *level3) push(v uint64, p place) { m.table[hash5(v, level3Bits)].push(p) }

// index puts places of the match that ends before s into the table, and those up to s. It returns what it found for s, and
// the bytes there.
func (m *level3) index(b []byte, base, s, length int) (found places, v uint64) {
	for i := s - length + 2; i < s-5; i += 6 {
		m.push(load64(b, i), place(base+i))
	}
	v = load64(b, s-2)
	m.push(v, place(base+s-2))
	m.push(v>>8, place(base+s-1))
	v >>= 16
	found = m.table[hash5(v, level3Bits)]
	m.push(v, place(base+s))
	return found, v
}
