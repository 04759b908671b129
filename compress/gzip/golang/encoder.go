package golang

import (
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// Levels that have a name in compress/flate. Those from 2 to 9 look for matches in chains of places with the same hash:
// 2 and 3 take the first one, and the others look whether the next byte begins a longer one.
const (
	HuffmanOnly        = -2 // no matches
	DefaultCompression = -1 // level 6
	NoCompression      = 0  // stored blocks
	BestSpeed          = 1  // one place for each hash, blocks of 65,535 bytes
	BestCompression    = 9
)

// Resumer is an encoder that can go on in the midst of a stream. Those of levels 4 to 9 are.
type Resumer interface {
	deflate.Encoder
	// ResetAt is Reset, with dict before the byte at position of the stream: what is found near the end of the window
	// depends on it. Position 0 is a stream of its own, whatever dict is.
	//
	// What follows equals that of one long stream when a token ends at position and the stream was not flushed in the
	// [deflate.WindowSize] bytes before. After a flush it may differ, as its last three bytes were passed over.
	ResetAt(position int64, dict []byte)
}

// New returns the encoder of a level, -2 to 9. It gives its blocks to emit.
//
// Reset with dict is ResetAt the length of dict, for a Resumer. At levels 1 to 3 what is found depends on the tokens
// before, so no restart in mid-stream equals the whole: level 1 begins without a past and the others as
// flate.NewWriterDict does, but that they know the last three bytes of dict. Levels 0 and -2 have no past, and all blocks
// but those before a flush are of 65,535 bytes.
func New(level int, emit deflate.Emit) (deflate.Encoder, error) {
	if level == DefaultCompression {
		level = 6
	}
	switch {
	case level == NoCompression || level == HuffmanOnly:
		return newPlain(level, emit), nil
	case level == BestSpeed:
		return newFast(emit), nil
	case level == 2 || level == 3:
		return &greedy{newChains(level, emit)}, nil
	case level >= 4 && level <= BestCompression:
		e := &lazy{chains: newChains(level, emit)}
		e.Reset(nil)
		return e, nil
	}
	return nil, fmt.Errorf("level %d of compress/flate, want -2 to 9", level)
}
