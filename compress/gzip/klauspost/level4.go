package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

const tableBits = 15 // of the tables of levels 4 to 6

// level4 looks at the last place of a hash of seven bytes, and then at that of four bytes, unless a longer match begins at
// the next byte.
type level4 struct {
	short, long [1 << tableBits]place
	// wrongPlace is the defect of v1.18.0 and later: the length of the match at the next byte is measured at the index that
	// is its distance.
	wrongPlace bool
}

func (m *level4) rebase(by int32) {
	rebase(m.short[:], by)
	rebase(m.long[:], by)
}

func (m *level4) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start
	s, v := start, load64(b, start)
	for {
		var t int
		next := s
		for {
			s = next
			next = s + 1 + (s-done)>>6
			if next > limit {
				return appendRest(dst, none, b[done:])
			}
			short, long := &m.short[hash4(v, tableBits)], &m.long[hash7(v, tableBits)]
			t = int(*long) - base
			t4 := int(*short) - base
			*short, *long = place(base+s), place(base+s)
			ahead := load64(b, next)
			if s-t < window && uint32(v) == load32(b, t) {
				break
			}
			if s-t4 < window && uint32(v) == load32(b, t4) {
				t = int(m.long[hash7(ahead, tableBits)]) - base
				if m.longerNext(b, s, t4, next, t, uint32(ahead)) {
					s = next
				} else {
					t = t4
				}
				break
			}
			v = ahead
		}

		length := matchLength(b, s, t)
		for t > 0 && s > done && b[t-1] == b[s-1] {
			s, t, length = s-1, t-1, length+1
		}
		dst = appendLiterals(dst, b[done:s])
		dst = appendMatch(dst, length, s-t)
		done = s + length
		s = max(done, next+1)
		if s >= limit {
			if s+8 < len(b) {
				m.put(load64(b, s), place(base+s))
			}
			return appendRest(dst, none, b[done:])
		}

		for i := next; i < s-1; i += 3 {
			v := load64(b, i)
			m.long[hash7(v, tableBits)] = place(base + i)
			m.put(v>>8, place(base+i+1))
		}
		v = load64(b, s-1)
		m.put(v, place(base+s-1))
		v >>= 8
	}
}

// longerNext reports whether the match of next and nextT is longer than that of s and t.
func (m *level4) longerNext(b []byte, s, t, next, nextT int, v uint32) bool {
	if next-nextT >= window || v != load32(b, nextT) {
		return false
	}
	at := nextT
	if m.wrongPlace {
		at = next - nextT
	}
	return common(b, next+4, at+4) > common(b, s+4, t+4)
}

func (m *level4) put(v uint64, p place) {
	m.short[hash4(v, tableBits)], m.long[hash7(v, tableBits)] = p, p
}
