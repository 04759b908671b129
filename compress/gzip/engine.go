package gzip

import (
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// EngineID is a program whose streams can be re-created. The numbers are for ever: RECIPE.md lists them.
type EngineID uint64

const (
	Verbatim EngineID = 0 // none: the stream is in the recipe
	Golang   EngineID = 1 // compress/flate of Go 1.8 to 1.26
	Zlib     EngineID = 2
	GNU      EngineID = 3 // GNU gzip
	BusyBox  EngineID = 4
	Pigz     EngineID = 5
	PigzI    EngineID = 6 // pigz -i
	Klaus    EngineID = 7 // klauspost/compress/flate
	Pgzip    EngineID = 8 // klauspost/pgzip
)

// EngineSet grows whenever Find may find a recipe for a blob that it found none for before: with a new engine, a new model of
// one, or a limit. What was found to have no recipe by a lesser set is worth another search.
const EngineSet = 1

// levelOffset is what a level has more in a recipe, where it is not less than 0.
const levelOffset = 2

// Engine is a program with what it was called with.
type Engine struct {
	ID      EngineID
	Level   int
	Variant int // what RECIPE.md says for the ID
	Chunk   int // bytes of plain text that are compressed apart
}

// program is what there is to know of an engine.
type program struct {
	name    string
	levels  [2]int // the least and the highest
	flushes bool   // a flush of the stream is one that the program was asked for
	resumes int    // the least level from which on it can go on in mid-stream
	short   bool   // it has matches of three bytes
	unix    bool   // it tells that it ran on Unix
	// variants and chunks has the least and the highest; the size of chunks is such a number, if there are any.
	variants, chunks [2]int
	common           []int // sizes of chunks
	new              func(e Engine, emit deflate.Emit) (deflate.Encoder, error)
	// twins are the id and the variant of an engine, and those of another one that newTwins makes with it.
	twins    [2]Engine
	newTwins func(e Engine, emit [2]deflate.Emit) (deflate.Encoder, error)
}

const (
	defaultLevel = -1 // another name of one

	undecided = ^EngineID(0) // of a member whose run has not ended

	unixSystem = 3 // in the header of a member
)

// String returns the program and how it was called, such as "Go level 6".
func (e Engine) String() string {
	if e.ID == Verbatim {
		return "verbatim"
	}
	p, ok := programs[e.ID]
	if !ok {
		return fmt.Sprintf("engine %d level %d", e.ID, e.Level)
	}
	s := fmt.Sprintf("%s level %d", p.name, e.Level)
	if p.variants[1] > 0 {
		s += fmt.Sprintf(" variant %d", e.Variant)
	}
	if e.Chunk > 0 {
		s += fmt.Sprintf(" in chunks of %d KiB", e.Chunk>>10)
	}
	return s
}

// check returns ErrUnknownEngine for one that this program does not have.
func (e Engine) check() error {
	if e == (Engine{ID: Verbatim}) {
		return nil
	}
	within := func(n int, limits [2]int) bool { return limits[0] <= n && n <= limits[1] }
	p, ok := programs[e.ID]
	if !ok || !within(e.Level, p.levels) || !within(e.Variant, p.variants) || !within(e.Chunk, p.chunks) ||
		e.Level == defaultLevel {
		return fmt.Errorf("%w: id %d, level %d, variant %d, chunks of %d bytes", ErrUnknownEngine, e.ID, e.Level, e.Variant, e.Chunk)
	}
	return nil
}

// flushes reports whether the flushes of a stream are told to the engine.
func (e Engine) flushes() bool { return programs[e.ID].flushes }

// resumes reports whether the engine can go on in mid-stream, behind a match.
func (e Engine) resumes() bool {
	p, ok := programs[e.ID]
	return ok && e.Level >= p.resumes && e.Chunk == 0
}

// restarts reports whether c can be a checkpoint of the engine.
func (e Engine) restarts(c Checkpoint) bool {
	return e.resumes() || e.Chunk > 0 && c.Plain%int64(e.Chunk) == 0 && c.Bits == 0
}

// resumer is an encoder that goes on in mid-stream: see the packages that have one.
type resumer interface {
	ResetAt(position int64, dict []byte)
}

// coder is an encoder whose blocks go to sink; those of a twin of the engine go to twin.
type coder struct {
	deflate.Encoder
	engines    [2]Engine // the second one is Verbatim where there is no twin
	sink, twin deflate.Emit
}

func newCoder(e Engine) (*coder, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	c := &coder{engines: [2]Engine{e}}
	var err error
	c.Encoder, err = programs[e.ID].new(e, func(b *deflate.Block) error { return c.sink(b) })
	return c, err
}

// newTwins returns the coder of two engines at once, which are twins.
func newTwins(e, twin Engine) (*coder, error) {
	c := &coder{engines: [2]Engine{e, twin}}
	emit := [2]deflate.Emit{
		func(b *deflate.Block) error { return c.sink(b) },
		func(b *deflate.Block) error { return c.twin(b) },
	}
	var err error
	c.Encoder, err = programs[e.ID].newTwins(e, emit)
	return c, err
}

// twins reports whether an encoder can make the blocks of e and of another engine at once: where they differ seldom, one
// search does for both.
func (e Engine) twins(other Engine) bool {
	p, q := programs[e.ID].twins, e
	q.ID, q.Variant = p[1].ID, p[1].Variant
	return p[1].ID != Verbatim && e.Variant == p[0].Variant && other == q && other.check() == nil
}

// begin makes c encode from a place of the member on, with what is before it.
func (c *coder) begin(position int64, dict []byte, sink deflate.Emit) {
	c.sink = sink
	if r, ok := c.Encoder.(resumer); ok && position > 0 && c.engines[0].resumes() {
		r.ResetAt(position, dict)
		return
	}
	if position == 0 {
		dict = nil
	}
	c.Reset(dict)
}
