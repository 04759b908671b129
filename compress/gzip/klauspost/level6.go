package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

// level6 is as level5. It also tries the distance of the match before, and more places by the end of a match, and puts
// nearly all places into the tables.
type level6 struct{ tables }

func (m *level6) find(h *history, start int, dst []deflate.Token) []deflate.Token {
	b, base, none := h.bytes, int(h.base), len(dst)
	limit := len(b) - margin
	done := start
	s, v := start, load64(b, start)
	distance := 1 // of the match before
	for {
		var t, length int
		next := s
		short, long := &m.short[hash4(v, tableBits)], &m.long[hash7(v, tableBits)]
		for {
			s = next
			next = s + 1 + (s-done)>>7
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
				if again := s + 1 - distance; load32(b, again) == uint32(v>>8) {
					if n := oneMatch(b, s+1, again); n > length {
						s, t, length = s+1, again, n
						break
					}
				}
				if t2, n := longestAt(b, base, next, uint32(ahead), found, length); n > 0 {
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
		if s+length < limit {
			s, t, length = m.byEnd(b, base, s, t, length)
		}
		for t > 0 && s > done && b[t-1] == b[s-1] {
			s, t, length = s-1, t-1, length+1
		}
		dst = appendLiterals(dst, b[done:s])
		dst = appendMatch(dst, length, s-t)
		distance = s - t
		done = s + length
		s = max(done, next+1)
		if s >= limit {
			for i := next + 1; i < len(b)-8; i += 2 {
				m.put(load64(b, i), place(base+i))
			}
			return appendRest(dst, none, b[done:])
		}
		for i := next + 1; i < s-1; i += 2 {
			v := load64(b, i)
			m.put(v, place(base+i))
			m.long[hash7(v>>8, tableBits)].push(place(base + i + 1))
		}
		v = load64(b, s)
	}
}

// longestAt is longerAt, with the longer one of the two places.
func longestAt(b []byte, base, s int, v uint32, found places, length int) (t, n int) {
	last := int(found.last) - base
	if s-last >= window {
		return 0, 0
	}
	if v == load32(b, last) {
		if l := oneMatch(b, s, last); l > length {
			t, n, length = last, l, l
		}
	}
	if previous := int(found.previous) - base; s-previous < window && v == load32(b, previous) {
		if l := oneMatch(b, s, previous); l > length {
			t, n = previous, l
		}
	}
	return t, n
}

// byEnd looks for longer matches that go on where this one ends. The second one is looked for by the length of the first,
// which may not be where it is.
func (m *level6) byEnd(b []byte, base, s, t, length int) (int, int, int) {
	found := m.long[hash7(load64(b, s+length), tableBits)]
	s2 := s + skipped
	t2 := int(found.last) - base - length + skipped
	if s2-t2 >= window {
		return s, t, length
	}
	if t2 >= 0 && t2 < s2 {
		if n := common(b, s2, t2); n > length {
			s, t, length = s2, t2, n
		}
	}
	t2 = int(found.previous) - base - length + skipped
	if t2 >= 0 && t2 < s2 && s2-t2 < window {
		if n := common(b, s2, t2); n > length {
			s, t, length = s2, t2, n
		}
	}
	return s, t, length
}
