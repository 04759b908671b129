package zlib

import "github.com/ferry-oci/ferry/compress/deflate"

// chunked is the encoder of Pigz.
type chunked struct {
	*encoder
	chunk       int
	independent bool
	left        int // bytes of the chunk that are still to come
	dict        [windowSize]byte
	dictSize    int
}

func newChunked(e *encoder, v Variant) *chunked {
	c := &chunked{encoder: e, chunk: v.Chunk, independent: v.Independent}
	if c.chunk == 0 {
		c.chunk = DefaultChunk
	}
	c.left = c.chunk
	return c
}

// Reset begins a stream, or a chunk behind dict.
func (c *chunked) Reset(dict []byte) {
	if c.independent {
		dict = nil
	}
	c.encoder.Reset(dict)
	c.dictSize, c.left = 0, c.chunk
	c.remember(dict)
}

// remember keeps the last bytes as the dictionary of the next chunk.
func (c *chunked) remember(p []byte) {
	p = p[max(len(p)-len(c.dict), 0):]
	keep := min(c.dictSize, len(c.dict)-len(p))
	copy(c.dict[:], c.dict[c.dictSize-keep:c.dictSize])
	copy(c.dict[keep:], p)
	c.dictSize = keep + len(p)
}

// Write takes the next plain bytes. A chunk ends when one that follows it is there.
func (c *chunked) Write(p []byte) error {
	for len(p) > 0 {
		if c.left == 0 {
			if err := c.Flush(); err != nil {
				return err
			}
		}
		n := min(len(p), c.left)
		if err := c.encoder.Write(p[:n]); err != nil {
			return err
		}
		c.remember(p[:n])
		c.left -= n
		p = p[n:]
	}
	return nil
}

// Flush ends the chunk, on a whole byte.
func (c *chunked) Flush() error {
	if err := c.endBlock(); err != nil {
		return err
	}
	if err := c.align(); err != nil {
		return err
	}
	c.left = c.chunk
	if c.independent {
		c.encoder.Reset(nil)
	} else {
		c.encoder.Reset(c.dict[:c.dictSize])
	}
	return nil
}

// align adds empty blocks: stored ones after an odd number of bits and between independent chunks, else fixed ones of ten
// bits until the byte is whole.
func (c *chunked) align() error {
	if c.independent {
		if err := c.stored(nil, false); err != nil {
			return err
		}
		return c.stored(nil, false)
	}
	if c.bits%2 == 1 {
		return c.stored(nil, false)
	}
	for c.bits != 0 {
		if err := c.coded(deflate.Fixed, nil, 7, false); err != nil {
			return err
		}
	}
	return nil
}
