package klauspost

import (
	"errors"
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// Generation is a range of versions that make the same blocks. The numbers are for ever.
type Generation uint8

const (
	// V1_15 is v1.15.15 to v1.18.0. Level 4 is that of v1.15.15 to v1.17.11.
	V1_15 Generation = 1
	// V1_18_0 is v1.18.0, which differs from those before at level 4 alone.
	V1_18_0 Generation = 2
	// V1_18_1 is v1.18.1 alone, whose headers tell no more codes than the block has.
	V1_18_1 Generation = 3
	// V1_18_2 is v1.18.2 to v1.20.3, and compress/flate of Go 1.27.
	V1_18_2 Generation = 4
)

// DefaultLevel is the level -1 of the module, and that of pgzip.
const DefaultLevel = 5

const (
	chunkSize  = 1<<16 - 1 // bytes that the original looks at together
	smallChunk = 128       // a flushed chunk of fewer bytes is not searched for matches
	tinyChunk  = 32        // and one of at most so many bytes is stored
)

// ErrLongBlock is the error of a block that has more than [deflate.MaxTokens] tokens. The originals go on with the codes of
// a block as long as they fit, without end.
var ErrLongBlock = errors.New("a block of too many tokens")

// encoder divides a stream into chunks, and makes blocks of them.
type encoder struct {
	history history
	matcher matcher
	blocks  blocks
	twin    *blocks // of NewTwins
	chunk   []byte  // that is filled, of chunkSize at most
}

// matcher looks for matches. It has tables of places that it has seen.
type matcher interface {
	// find appends the tokens of the bytes of h from start on to dst, which has room for them, or none where it finds no
	// match.
	find(h *history, start int, dst []deflate.Token) []deflate.Token
	// rebase subtracts by from all places. Those that would be less than 0 become 0.
	rebase(by int32)
}

// New returns the encoder of a level, 1 to 6. It gives its blocks to emit.
//
// Reset with dict begins a stream as NewWriterDict does. That is not what the original does in mid-stream: there the tokens
// before count, and the codes of the block before. Memory is about 2 MiB and 4 bytes for each token of a block, of which
// more than [deflate.MaxTokens] are an error, [ErrLongBlock].
func New(generation Generation, level int, emit deflate.Emit) (deflate.Encoder, error) {
	if generation < V1_15 || generation > V1_18_2 {
		return nil, fmt.Errorf("generation %d of klauspost/compress, want 1 to 4", generation)
	}
	e := &encoder{chunk: make([]byte, 0, chunkSize)}
	switch level {
	case 1:
		e.matcher = new(level1)
	case 2:
		e.matcher = new(level2)
	case 3:
		e.matcher = new(level3)
	case 4:
		e.matcher = &level4{wrongPlace: generation >= V1_18_0}
	case 5:
		e.matcher = new(level5)
	case 6:
		e.matcher = new(level6)
	default:
		return nil, fmt.Errorf("level %d of klauspost/compress, want 1 to 6", level)
	}
	e.blocks.emit, e.blocks.generation, e.blocks.most = emit, generation, deflate.MaxTokens
	e.history.init()
	return e, nil
}

func (e *encoder) Reset(dict []byte) {
	e.blocks.reset()
	if e.twin != nil {
		e.twin.reset()
	}
	e.chunk = e.chunk[:0]
	e.history.forget()
	if len(dict) > 0 {
		// Its tokens are of no use.
		e.find(dict[max(0, len(dict)-deflate.WindowSize):])
		e.blocks.drop()
	}
}

func (e *encoder) Write(p []byte) error {
	for len(p) > 0 {
		// A full chunk waits for what follows it: a flush or the end may.
		if len(e.chunk) == chunkSize {
			if err := e.encode(false); err != nil {
				return err
			}
		}
		n := min(len(p), chunkSize-len(e.chunk))
		e.chunk = append(e.chunk, p[:n]...)
		p = p[n:]
	}
	return nil
}

func (e *encoder) Flush() error {
	if err := e.encode(true); err != nil {
		return err
	}
	return e.each(func(b *blocks) error { return b.stored(nil) })
}

// Close ends the stream with an empty Fixed block.
func (e *encoder) Close() error {
	if err := e.encode(true); err != nil {
		return err
	}
	return e.each((*blocks).last)
}

// encode makes blocks of the chunk. A flush ends the block.
func (e *encoder) encode(flush bool) error {
	chunk := e.chunk
	e.chunk = e.chunk[:0]
	switch {
	case len(chunk) == 0:
		return nil
	case len(chunk) >= smallChunk || !flush:
		e.find(chunk)
		return e.each(func(b *blocks) error { return b.add(chunk, flush) })
	}
	e.history.forget()
	if len(chunk) <= tinyChunk {
		return e.each(func(b *blocks) error { return b.stored(chunk) })
	}
	return e.each(func(b *blocks) error { return b.addLiterals(chunk, flush) })
}

// find makes p part of the history and its tokens those of the next chunk.
func (e *encoder) find(p []byte) {
	if by := e.history.rebase(); by > 0 {
		e.matcher.rebase(by)
	}
	start := e.history.add(p)
	if len(p) >= shortest {
		e.blocks.tokens = e.matcher.find(&e.history, start, e.blocks.room())
	}
}
