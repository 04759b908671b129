package gzip

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	// probeTokens and probePlain are how much of a member engines are tried on: wrong ones differ much earlier.
	probeTokens = 150_000
	probePlain  = 8 << 20
	// leastUnits are blocks after which an encoder that decides late about the end of a block has given one, whatever their
	// size, but if they have more bytes than maxProbe.
	leastUnits = 4
	maxProbe   = 64 << 20
	// leastPlain is more than the chunks that are common, so that the flush behind the first one is seen.
	leastPlain = 1<<20 + 1

	// manyMatches are matches of which no other level gives all.
	manyMatches = 10_000

	maxSurvivors = 3 // engines that a member is proven with at once, where the probe does not tell them apart
	// Of a member with so few plain bytes, maxFitting engines that fit are tried on the next one; of a larger one, maxSurvivors.
	smallMember = 64 << 10
	maxFitting  = maxCoders
)

// begin reads the begin of a member, or all of a small one. One that follows members of known engines is not small before it
// is larger than probePlain.
func (f *finder) begin(ctx context.Context, r *reading, m *Member) error {
	var last *unit
	for tokens, weight := 0, int64(0); ; {
		enough := (tokens >= probeTokens && f.size >= leastPlain || f.size >= probePlain || len(r.units) >= maxLag) &&
			len(r.units) >= leastUnits || weight >= maxProbe
		if enough && r.probe == 0 {
			r.probe = len(r.units)
		}
		if enough && (len(f.run) == 0 || f.size >= probePlain || weight >= maxProbe || len(r.units) >= maxLag) {
			break
		}
		u, err := f.next(ctx, last)
		if err != nil {
			return err
		}
		f.flushed(m, &u)
		tokens += len(u.block.Tokens)
		weight += u.weight()
		r.units = append(r.units, u)
		if u.block.Final {
			break
		}
		last = &r.units[len(r.units)-1]
	}
	r.size = f.size
	return nil
}

// identify makes run what fits the member, or its begin, too. A member that nothing fits is carried by the recipe if that is
// possible.
func (f *finder) identify(r *reading) error {
	f.number = r.number
	begin := r.probed()
	if fit := f.fitting(f.run, begin, len(f.run)); len(fit) > 0 {
		f.run = fit
		return nil
	}
	if f.searches++; f.searches > maxSearches {
		return f.fail(TooManyParts, "members of too many encoders")
	}
	limit := maxSurvivors
	if r.size <= smallMember {
		limit = maxFitting
	}
	if fit := f.fitting(candidates(r.header, begin), begin, limit); len(fit) > 0 {
		f.endRun(r.number)
		f.run, f.runFrom = fit, r.number
		return nil
	}
	if r.whole() {
		m := &f.recipe.Members[r.number]
		if stream := verbatim(begin, m.Padding); stream != nil {
			m.Stream, m.Flushes, m.Padding = stream, nil, 0 // the stream has its padding
			f.chosen[r.number] = Engine{}
			return nil
		}
	}
	return f.fail(NoEngine, "%s", describe(begin))
}

// endRun names the engine of the members of the run, which ends before member end: the first one that fits them all.
func (f *finder) endRun(end int) {
	for i := f.runFrom; i < end; i++ {
		if f.chosen[i].ID == undecided {
			f.chosen[i] = f.run[0]
		}
	}
}

// fitting returns those engines that give the blocks of begin, at most limit. Where these have many matches, one engine that
// fits leaves only those of its kin to try.
func (f *finder) fitting(engines []Engine, begin []unit, limit int) []Engine {
	var fit []Engine
	decisive := matches(begin) >= manyMatches
	for _, e := range engines {
		if len(fit) == limit {
			break
		}
		if decisive && len(fit) > 0 && !fit[0].kin(e) {
			continue
		}
		c, err := f.coders.take(e, Engine{})
		if err != nil {
			continue // an engine that is no use here is none that fits
		}
		p := newProver(c, 0, nil, 0)
		for i := range begin {
			if !p.take(&begin[i]) {
				break
			}
		}
		if !p.sides[0].failed {
			fit = append(fit, e)
			f.coders.put(c)
		}
	}
	return fit
}

// kin reports whether e and other may give the same blocks for plain bytes in which there are many matches.
func (e Engine) kin(other Engine) bool {
	return e.Level == other.Level && e.Chunk == other.Chunk && programs[e.ID].short == programs[other.ID].short
}

// matches returns how many matches there are in begin.
func matches(begin []unit) int {
	n := 0
	for i := range begin {
		for _, t := range begin[i].block.Tokens {
			if t.IsMatch() {
				n++
			}
		}
	}
	return n
}

// verbatim returns the stream of a small member.
func verbatim(units []unit, padding uint8) []byte {
	var b bytes.Buffer
	w := deflate.NewWriter(&b)
	for i := range units {
		if err := w.WriteBlock(&units[i].block); err != nil || b.Len() > maxVerbatim {
			return nil
		}
	}
	if err := w.Close(padding); err != nil || b.Len() > maxVerbatim {
		return nil
	}
	return b.Bytes()
}

// candidates returns the engines that may have made a member, the most likely ones first.
func candidates(header []byte, begin []unit) []Engine {
	var engines []Engine
	for _, id := range order(header, begin) {
		p := programs[id]
		for _, level := range levels(header[8], p.levels) {
			for variant := p.variants[0]; variant <= p.variants[1]; variant++ {
				for _, chunk := range chunks(p, begin) {
					if e := (Engine{ID: id, Level: level, Variant: variant, Chunk: chunk}); e.check() == nil && !e.repeats() {
						engines = append(engines, e)
					}
				}
			}
		}
	}
	return engines
}

// order returns the programs that fit the shortest match: only the family of zlib has matches of three bytes.
func order(header []byte, begin []unit) []EngineID {
	short := false
	for i := range begin {
		for _, t := range begin[i].block.Tokens {
			if t.IsMatch() && t.Length() == deflate.MinMatch {
				short = true
			}
		}
	}
	var ids []EngineID
	for id, p := range programs {
		if !short || p.short {
			ids = append(ids, id)
		}
	}
	// pgzip writes the zero time of Go and flushes at even places; GNU gzip and busybox tell the system.
	zeroTime, flush := bytes.Equal(header[4:8], []byte{0x00, 0x09, 0x6e, 0x88}), firstFlush(begin)
	rank := func(id EngineID) int {
		p := programs[id]
		switch n := int(id) * 4; {
		case p.chunks[1] > 0 && !p.short && (zeroTime || slices.Contains(p.common, flush)):
			return 0
		case p.unix && header[9] == unixSystem:
			return n + 1
		case p.unix:
			return n + 2000
		default:
			return n + 1000
		}
	}
	slices.SortFunc(ids, func(a, b EngineID) int { return rank(a) - rank(b) })
	return ids
}

// levels returns the levels from limits[0] to limits[1], those first that the header tells of and the default ones.
func levels(flags byte, limits [2]int) []int {
	likely := []int{6, 5, 9, 1}
	switch flags {
	case 2:
		likely = []int{9, 6}
	case 4:
		likely = []int{1, 6}
	}
	var all []int
	for level := limits[1]; level >= limits[0]; level-- {
		all = append(all, level)
	}
	slices.SortStableFunc(all, func(a, b int) int {
		rank := func(level int) int {
			if i := slices.Index(likely, level); i >= 0 {
				return i
			}
			return len(likely)
		}
		return rank(a) - rank(b)
	})
	return all
}

// chunks returns the sizes of chunks that a member can have: those that its first flush and its first short block tell, and
// those that are common.
func chunks(p program, begin []unit) []int {
	if p.chunks[1] == 0 {
		return []int{0}
	}
	sizes := slices.Clone(p.common)
	told := []int{firstFlush(begin)}
	if p.short {
		told = append(told, firstShort(begin))
	}
	for _, size := range told {
		if size >= p.chunks[0] && size <= p.chunks[1] && !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// firstShort returns how many plain bytes there are up to the end of the first block that has fewer tokens than zlib gives to
// one, or 0 if there is none. pigz leaves out the flush behind a chunk whose last block ends with a byte.
func firstShort(begin []unit) int {
	const zlibTokens = 16_383
	for i := range begin {
		if b := &begin[i].block; !b.Final && b.Kind != deflate.Stored && len(b.Tokens) < zlibTokens {
			return int(begin[i].start) + len(begin[i].plain)
		}
	}
	return 0
}

// firstFlush returns how many plain bytes precede the first empty block that follows any, or 0 if there is none.
func firstFlush(begin []unit) int {
	for i := range begin {
		if u := &begin[i]; len(u.plain) == 0 && u.start > 0 && !u.block.Final {
			return int(u.start)
		}
	}
	return 0
}

// describe says what a member looks like that no engine fits.
func describe(begin []unit) string {
	shortest := deflate.MaxMatch
	for i := range begin {
		for _, t := range begin[i].block.Tokens {
			if t.IsMatch() {
				shortest = min(shortest, t.Length())
			}
		}
	}
	return fmt.Sprintf("%d tokens in the first block, matches of %d bytes and more", len(begin[0].block.Tokens), shortest)
}
