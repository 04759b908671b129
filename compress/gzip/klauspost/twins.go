package klauspost

import "github.com/ferry-oci/ferry/compress/deflate"

// NewTwins returns an encoder that makes the streams of [V1_18_1] and of [V1_18_2] at once, of which one search finds the
// matches. Chunk is that of pgzip, and 0 is none. The blocks of the one go to emit[0], and those of the other to emit[1].
func NewTwins(level, chunk int, emit [2]deflate.Emit) (deflate.Encoder, error) {
	e, err := New(V1_18_1, level, emit[0])
	if err != nil {
		return nil, err
	}
	first := e.(*encoder)
	first.twin = &blocks{emit: emit[1], generation: V1_18_2, most: deflate.MaxTokens}
	if chunk == 0 {
		return first, nil
	}
	return newChunked(first, chunk)
}

// each does f with the blocks of the encoder, and with those of its twin, which get the tokens of the chunk.
func (e *encoder) each(f func(*blocks) error) error {
	if t := e.twin; t != nil {
		t.tokens = append(t.tokens[:t.open], e.blocks.tokens[e.blocks.open:]...)
		if err := f(t); err != nil {
			return err
		}
	}
	return f(&e.blocks)
}
