package zstdlong

import "encoding/binary"

// sequence is some literals and the match that follows them.
type sequence struct {
	literals uint32
	match    uint32 // length, less minMatch
	offset   uint32 // offset value: 1 to 3 for one that was used before, and else the distance plus 3
}

// coder encodes one of the three kinds of codes of sequences, block after block.
type coder struct {
	preset  distribution
	presets fseTable
	maxLog  uint8

	table    fseTable
	last     distribution // of table
	lastNorm [maxSymbols]int16
	valid    bool // it is the one that was used last

	newNorm [maxSymbols]int16

	count [maxSymbols]uint32
	codes []uint8
}

// Modes of RFC 8878, section 3.1.1.3.2.1.
const (
	modePredefined = iota
	modeRLE
	modeCompressed
	modeRepeat
)

func (c *coder) init(preset distribution, maxLog uint8) {
	c.preset, c.maxLog = preset, maxLog
	c.presets.build(preset)
}

// begin forgets the table, for a new frame.
func (c *coder) begin() { c.valid = false }

// choose picks the cheapest table for the codes, and appends what a decoder has to know of it.
func (c *coder) choose(dst []byte) (mode uint8, t *fseTable, out []byte, err error) {
	clear(c.count[:])
	for _, code := range c.codes {
		c.count[code]++
	}
	first, total := c.codes[0], uint32(len(c.codes))
	if c.count[first] == total && total > 2 {
		c.valid = false
		return modeRLE, nil, append(dst, first), nil
	}
	preset := c.preset.cost(c.count[:])
	repeat := int64(never)
	if c.valid {
		repeat = c.last.cost(c.count[:])
	}
	fresh := int64(never)
	var d distribution
	var header []byte
	if c.count[first] != total {
		d = normalize(c.newNorm[:], c.count[:], total, c.maxLog)
		var room [128]byte
		if header, err = d.appendTo(room[:0]); err != nil {
			return 0, nil, dst, err
		}
		fresh = d.cost(c.count[:]) + int64(8*len(header))*logScale
	}
	switch {
	case preset <= repeat && preset <= fresh:
		c.valid = false
		return modePredefined, &c.presets, dst, nil
	case repeat <= fresh:
		return modeRepeat, &c.table, dst, nil
	}
	c.lastNorm = c.newNorm
	c.last = distribution{c.lastNorm[:len(d.norm)], d.tableLog}
	c.table.build(c.last)
	c.valid = true
	return modeCompressed, &c.table, append(dst, header...), nil
}

// encoder of the sequences of a frame.
type sequenceCoder struct {
	literals, matches, offsets coder
}

func (e *sequenceCoder) init() {
	e.literals.init(defaultLiterals, 9)
	e.matches.init(defaultMatches, 9)
	e.offsets.init(defaultOffsets, 8)
}

func (e *sequenceCoder) begin() {
	e.literals.begin()
	e.matches.begin()
	e.offsets.begin()
}

// appendTo appends the sequences section of a block.
func (e *sequenceCoder) appendTo(dst []byte, seqs []sequence) ([]byte, error) {
	switch n := len(seqs); {
	case n == 0:
		return append(dst, 0), nil
	case n < 128:
		dst = append(dst, byte(n))
	case n < 0x7f00:
		dst = append(dst, byte(n>>8)+128, byte(n))
	default:
		dst = append(dst, 255)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n-0x7f00))
	}
	e.literals.codes, e.matches.codes, e.offsets.codes = e.literals.codes[:0], e.matches.codes[:0], e.offsets.codes[:0]
	for _, s := range seqs {
		e.literals.codes = append(e.literals.codes, literalCode(s.literals))
		e.matches.codes = append(e.matches.codes, matchCode(s.match))
		e.offsets.codes = append(e.offsets.codes, offsetCode(s.offset))
	}
	modes := len(dst)
	dst = append(dst, 0)
	lm, lt, dst, err := e.literals.choose(dst)
	if err != nil {
		return dst, err
	}
	om, ot, dst, err := e.offsets.choose(dst)
	if err != nil {
		return dst, err
	}
	mm, mt, dst, err := e.matches.choose(dst)
	if err != nil {
		return dst, err
	}
	dst[modes] = lm<<6 | om<<4 | mm<<2
	return e.encode(dst, seqs, lt, ot, mt), nil
}

// encode writes the bits of the sequences, the last one first. A table that is nil takes no bits.
func (e *sequenceCoder) encode(dst []byte, seqs []sequence, lt, ot, mt *fseTable) []byte {
	w := bitWriter{out: dst}
	var ls, ms, os uint32
	for i := len(seqs) - 1; i >= 0; i-- {
		s := seqs[i]
		lc, mc, oc := e.literals.codes[i], e.matches.codes[i], e.offsets.codes[i]
		if i == len(seqs)-1 {
			ms, os, ls = begin(mt, mc), begin(ot, oc), begin(lt, lc)
		} else {
			if ot != nil {
				os = ot.encode(&w, os, oc)
			}
			if mt != nil {
				ms = mt.encode(&w, ms, mc)
			}
			if lt != nil {
				ls = lt.encode(&w, ls, lc)
			}
			w.carry()
		}
		w.add(uint64(s.literals-literalBase[lc]), uint32(literalBits[lc]))
		w.add(uint64(s.match-matchBase[mc]), uint32(matchBits[mc]))
		w.carry()
		w.add(uint64(s.offset)&(1<<oc-1), uint32(oc))
		w.carry()
	}
	if mt != nil {
		mt.flush(&w, ms)
	}
	if ot != nil {
		ot.flush(&w, os)
	}
	if lt != nil {
		lt.flush(&w, ls)
	}
	w.carry()
	w.add(1, 1)
	return w.flush()
}

func begin(t *fseTable, code uint8) uint32 {
	if t == nil {
		return 0
	}
	return t.start(code)
}
