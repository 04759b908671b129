package zstdlong

// parser divides blocks into literals and matches.
type parser struct {
	repeats  [3]uint32 // distances used last
	seqs     []sequence
	literals []byte
}

func (p *parser) begin() { p.repeats = [3]uint32{1, 4, 8} }

// margins are by how much a match one and two bytes later has to be better than the one at hand.
var margins = [...]int{0, 3, 6}

// block parses buf[start:end] of the history.
func (p *parser) block(h *history, start, end int) {
	p.seqs, p.literals = p.seqs[:0], p.literals[:0]
	h.scan(start, end)
	anchor, i := start, start
	for limit := end - longLength; i <= limit; {
		h.insertTo(i)
		m := h.find(i, anchor, end, &p.repeats)
		if m.score <= 0 {
			i += 1 + (i-anchor)>>8
			continue
		}
		m = p.lazy(h, m, i, anchor, end)
		p.emit(h, anchor, m)
		i, anchor = m.end(), m.end()
		h.insertTo(min(i, limit+1))
	}
	p.literals = append(p.literals, h.buf[anchor:end]...)
}

// lazy returns m, which was found at i, or a better match that was found after it.
func (p *parser) lazy(h *history, m match, i, anchor, end int) match {
	for ahead := 1; ahead < len(margins) && m.length < enough; {
		j := i + ahead
		if j > end-longLength {
			break
		}
		h.insertTo(j)
		next := h.find(j, anchor, end, &p.repeats)
		if next.score > m.score+margins[ahead] {
			m, i, ahead = next, j, 1
		} else {
			ahead++
		}
	}
	return m
}

// emit takes the literals from anchor on and the match that follows them.
func (p *parser) emit(h *history, anchor int, m match) {
	n := uint32(m.start - anchor)
	p.literals = append(p.literals, h.buf[anchor:m.start]...)
	p.seqs = append(p.seqs, sequence{literals: n, match: uint32(m.length - minMatch), offset: p.offset(n, m.distance)})
}

// offset returns the offset value of a distance, as RFC 8878 tells it in section 3.1.1.5, and takes note of the distance.
func (p *parser) offset(literals, d uint32) uint32 {
	r := &p.repeats
	shift := 0
	if literals == 0 {
		shift = 1
	}
	switch {
	case shift == 0 && d == r[0]:
		return 1
	case d == r[1]:
		r[0], r[1] = r[1], r[0]
		return uint32(2 - shift)
	case d == r[2]:
		r[0], r[1], r[2] = r[2], r[0], r[1]
		return uint32(3 - shift)
	}
	value := d + 3
	if shift == 1 && d == r[0]-1 {
		value = 3
	}
	r[0], r[1], r[2] = d, r[0], r[1]
	return value
}
