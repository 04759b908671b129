package gzip

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Decode returns the recipe of b. What does not keep to RECIPE.md is [ErrRecipe], and an engine that this program does not
// have is [ErrUnknownEngine]. The recipe shares the bytes of b.
func Decode(b []byte) (*Recipe, error) {
	if len(b) > MaxRecipe {
		return nil, recipeError("more than %d bytes", MaxRecipe)
	}
	switch {
	case !strings.HasPrefix(string(b[:min(len(b), len(magic))]), magic[:3]):
		return nil, recipeError("it does not begin as one")
	case len(b) < len(magic):
		return nil, recipeError("it is cut short")
	case b[3] != magic[3]:
		return nil, fmt.Errorf("recipe of version %d, want %d: %w", b[3], magic[3], ErrUnknownEngine)
	}
	d := decoder{b: b[len(magic):]}
	r := d.recipe()
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes follow it", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// decoder takes a recipe apart. After an error it gives zeros.
type decoder struct {
	b   []byte
	err error

	flushes int // so far
	changes int // of the engine
	engine  int // of the last member that has one
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = recipeError(format, args...)
	}
	d.b = nil
}

// number returns the next number, which is at most limit.
func (d *decoder) number(what string, limit int64) int64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n <= 0:
		d.fail("%s is cut short", what)
		return 0
	case n != max(1, (bits.Len64(v)+6)/7):
		d.fail("%s has more bytes than it needs", what)
		return 0
	case v > uint64(limit):
		d.fail("%s is %d, want at most %d", what, v, limit)
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// count returns the next number as one of things that have at least size bytes each.
func (d *decoder) count(what string, limit, size int) int {
	n := int(d.number(what, int64(limit)))
	if n*size > len(d.b) {
		d.fail("%d %s are cut short", n, what)
		return 0
	}
	return n
}

func (d *decoder) take(what string, n int) []byte {
	if n > len(d.b) {
		d.fail("%s is cut short", what)
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) bytes(what string, limit int) []byte {
	return d.take(what, int(d.number(what, int64(limit))))
}

func (d *decoder) recipe() *Recipe {
	r := new(Recipe)
	r.Size = d.number("the size of the blob", math.MaxInt64/MaxRatio)
	copy(r.Digest[:], d.take("the digest of the blob", len(r.Digest)))
	r.PlainSize = d.number("the plain size", r.Size*MaxRatio)
	copy(r.PlainDigest[:], d.take("the plain digest", len(r.PlainDigest)))
	d.headers(r)
	d.engines(r)
	d.members(r)
	r.Zeros = d.number("the number of zeros", r.Size)
	r.Rest = d.bytes("what follows the members", MaxRecipe)
	if len(r.Rest) > 0 && r.Rest[0] == 0 {
		d.fail("what follows the zeros begins with one")
	}
	if d.err == nil {
		d.checkSizes(r)
	}
	return r
}

func (d *decoder) headers(r *Recipe) {
	seen := make(map[string]bool)
	for range d.count("headers", maxHeaders, 11) {
		h := d.bytes("a header", MaxHeader)
		if n, err := headerSize(h); d.err == nil && (err != nil || n != len(h)) {
			d.fail("a header is none")
		}
		if d.err != nil {
			return
		}
		if seen[string(h)] {
			d.fail("a header is there twice")
		}
		seen[string(h)] = true
		r.Headers = append(r.Headers, h)
	}
}

func (d *decoder) engines(r *Recipe) {
	seen := make(map[Engine]bool)
	for range d.count("engines", maxEngines, 4) {
		e := Engine{
			ID:      EngineID(d.number("the id of an engine", math.MaxInt64)),
			Level:   int(d.number("a level", math.MaxInt32)) - levelOffset,
			Variant: int(d.number("a variant", math.MaxInt32)),
			Chunk:   int(d.number("a chunk size", math.MaxInt32)),
		}
		if d.err != nil {
			return
		}
		if err := e.check(); err != nil {
			d.err = err
			return
		}
		if seen[e] {
			d.fail("an engine is there twice")
		}
		seen[e] = true
		r.Engines = append(r.Engines, e)
	}
}

func (d *decoder) members(r *Recipe) {
	count := d.count("members", MaxMembers, 6)
	if count == 0 {
		d.fail("it has no members")
		return
	}
	r.Members = make([]Member, 0, count)
	headers, engines := 0, 0 // that were used so far
	for range count {
		m := Member{
			Header: d.first("a header", &headers, len(r.Headers)),
			Engine: d.first("an engine", &engines, len(r.Engines)),
		}
		if d.err != nil {
			return
		}
		if d.change(m.Engine, r.Engines[m.Engine]); d.changes > maxChanges {
			d.fail("the engine changes more than %d times", maxChanges)
			return
		}
		d.member(&m, r.Engines[m.Engine], r.PlainSize)
		r.Members = append(r.Members, m)
	}
	if d.err == nil && (headers < len(r.Headers) || engines < len(r.Engines)) {
		d.fail("a header or an engine is not used")
	}
}

// change counts the members whose engine is not that of the one before: making encoders is much work.
func (d *decoder) change(number int, e Engine) {
	if e.ID != Verbatim && number != d.engine {
		d.changes++
		d.engine = number
	}
}

// first returns a number below count, of which used are those that were there before: a new one is the next.
func (d *decoder) first(what string, used *int, count int) int {
	n := int(d.number("the number of "+what, int64(max(0, min(*used, count-1)))))
	if count == 0 {
		d.fail("it has not %s", what)
	}
	*used = max(*used, n+1)
	return n
}

func (d *decoder) member(m *Member, e Engine, plain int64) {
	if p := d.take("padding", 1); d.err == nil {
		m.Padding = p[0]
	}
	if m.Padding > 127 {
		d.fail("padding of more than 7 bits")
	}
	m.Size = d.number("the size of a member", plain)
	if e.ID == Verbatim {
		m.Stream = d.bytes("a stream", MaxRecipe)
		if m.Padding != 0 {
			d.fail("padding of a stream that has its own")
		}
	}
	last := int64(0)
	n := d.count("flushes", maxFlushes-d.flushes, 1)
	d.flushes += n
	for range n {
		last += d.number("a flush", m.Size-last)
		m.Flushes = append(m.Flushes, last)
	}
	if len(m.Flushes) > 0 && !e.flushes() {
		d.fail("a flush of an engine that has none")
	}
	d.checkpoints(m, e)
}

func (d *decoder) checkpoints(m *Member, e Engine) {
	last := int64(0)
	for range d.count("checkpoints", MaxRecipe, 3) {
		gap := d.number("a checkpoint", m.Size-last)
		last += gap
		c := Checkpoint{Plain: last, Blocks: d.number("a number of blocks", math.MaxInt32)}
		if p := d.take("the bits of a checkpoint", 1); d.err == nil {
			c.Bits = p[0]
		}
		if d.err == nil && (gap < checkpointGap || c.Blocks == 0 || c.Bits > 7 || !e.restarts(c)) {
			d.fail("a checkpoint that can be none")
		}
		m.Checkpoints = append(m.Checkpoints, c)
	}
	if n := len(m.Checkpoints); n > 0 && len(m.Flushes) > 0 && m.Flushes[0] < last {
		d.fail("a checkpoint after a flush")
	}
}

// checkSizes checks that what r says of sizes agrees.
func (d *decoder) checkSizes(r *Recipe) {
	plain, size := int64(0), r.Zeros+int64(len(r.Rest))
	for _, m := range r.Members {
		plain += m.Size // each is at most the whole, and there are few
		if plain > r.PlainSize {
			break
		}
		size += int64(len(r.Headers[m.Header]) + max(1, len(m.Stream)) + trailerSize)
	}
	switch {
	case plain != r.PlainSize:
		d.fail("the sizes of the members do not add up to the plain size")
	case size > r.Size:
		d.fail("it is of more than the size of the blob")
	}
}
