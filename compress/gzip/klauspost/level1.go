package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

const (
	level1Bits = 15
	level2Bits = 17
)

// level1 looks at the last place of a hash of five bytes, at pairs of places that are farther apart the longer nothing is
// found.
type level1 struct{ table [1 << level1Bits]place }

func (m *level1) rebase(by int32) { rebase(m.table[:], by) }

func (m *level1) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start // the first byte that has no token
	s, v := start, load64(b, start)
	for {
		var t, next int
		for {
			hash := hash5(v, level1Bits)
			t = int(m.table[hash]) - base
			next = s + 2 + (s-done)>>5
			if next > limit {
				return appendRest(dst, none, b[done:])
			}
			m.table[hash] = place(base + s)
			ahead := load64(b, next)
			hash = hash5(ahead, level1Bits)
			if s-t < window && uint32(v) == load32(b, t) {
				m.table[hash] = place(base + next)
				break
			}

			s, v = next, ahead
			next++
			t = int(m.table[hash]) - base
			m.table[hash] = place(base + s)
			if s-t < window && uint32(v) == load32(b, t) {
				m.table[hash] = place(base + next) // which is not the hash of that place
				break
			}
			s, v = next, ahead>>8
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
				if s+length+8 < len(b) {
					m.table[hash5(load64(b, s), level1Bits)] = place(base + s)
				}
				return appendRest(dst, none, b[done:])
			}

			// A match may follow at once, and it may be a byte farther back than others.
			v = load64(b, s-2)
			m.table[hash5(v, level1Bits)] = place(base + s - 2)
			v >>= 16
			hash := hash5(v, level1Bits)
			t = int(m.table[hash]) - base
			m.table[hash] = place(base + s)
			if s-t > window || uint32(v) != load32(b, t) {
				s, v = s+1, v>>8
				break
			}
		}
	}
}

// level2 is as level1, with a larger table and more places in it.
type level2 struct{ table [1 << level2Bits]place }

func (m *level2) rebase(by int32) { rebase(m.table[:], by) }

func (m *level2) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start
	s, v := start, load64(b, start)
	for {
		var t, next int
		for {
			hash := hash5(v, level2Bits)
			next = s + 2 + (s-done)>>5
			if next > limit {
				return appendRest(dst, none, b[done:])
			}
			t = int(m.table[hash]) - base
			m.table[hash] = place(base + s)
			ahead := load64(b, next)
			hash = hash5(ahead, level2Bits)
			if s-t < window && uint32(v) == load32(b, t) {
				m.table[hash] = place(base + next)
				break
			}

			s, v = next, ahead
			next++
			t = int(m.table[hash]) - base
			m.table[hash] = place(base + s)
			if s-t < window && uint32(v) == load32(b, t) {
				break
			}
			s, v = next, ahead>>8
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
				if s+length+8 < len(b) {
					m.table[hash5(load64(b, s), level2Bits)] = place(base + s)
				}
				return appendRest(dst, none, b[done:])
			}

			t, v = m.index(b, base, s, length)
			if s-t > window || uint32(v) != load32(b, t) {
				s, v = s+1, v>>8
				break
			}
		}
	}
}

// index puts places of the match that ends before s into the table, and those up to s. It returns the place that it found
// for s, and the bytes there.
func (m *level2) index(b []byte, base, s, length int) (t int, v uint64) {
	for i := s - length + 2; i < s-5; i += 7 {
		v = load64(b, i)
		m.table[hash5(v, level2Bits)] = place(base + i)
		m.table[hash5(v>>16, level2Bits)] = place(base + i + 2)
		m.table[hash5(v>>32, level2Bits)] = place(base + i + 4) // a hash of four bytes and a zero
	}
	v = load64(b, s-2)
	m.table[hash5(v, level2Bits)] = place(base + s - 2)
	m.table[hash5(v>>8, level2Bits)] = place(base + s - 1)
	v >>= 16
	hash := hash5(v, level2Bits)
	t = int(m.table[hash]) - base
	m.table[hash] = place(base + s)
	return t, v
}
