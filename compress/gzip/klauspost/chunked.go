package klauspost

import (
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

const (
	// DefaultChunk is the chunk size of pgzip, in bytes, that podman, buildah, skopeo and apko use, and UmociChunk that of
	// umoci up to v0.4.
	DefaultChunk = 1 << 20
	UmociChunk   = 256 << 10

	// ChunkDictionary is how many bytes of a chunk the next one can refer to. A chunk has to be larger.
	ChunkDictionary = 16 << 10
)

// chunked makes the chunks of pgzip. Each one is a stream of its own but for the last bytes of the one before, if that was
// large enough, and ends with a flush.
type chunked struct {
	*encoder
	size int
	n    int    // bytes of this chunk
	tail []byte // its last ones, ChunkDictionary and perhaps more
}

// NewChunked returns the encoder of pgzip, with chunks of size bytes.
//
// Reset with dict begins a chunk: with the plain bytes before a chunk, what follows equals that of one long stream, however
// long that is, if the chunk before was larger than [ChunkDictionary]; all are but those that a flush ends. So chunks can be
// made in parallel.
func NewChunked(generation Generation, level, size int, emit deflate.Emit) (deflate.Encoder, error) {
	e, err := New(generation, level, emit)
	if err != nil {
		return nil, err
	}
	return newChunked(e.(*encoder), size)
}

func newChunked(e *encoder, size int) (deflate.Encoder, error) {
	if size <= ChunkDictionary {
		return nil, fmt.Errorf("chunks of %d bytes, want more than %d", size, ChunkDictionary)
	}
	return &chunked{encoder: e, size: size}, nil
}

func (c *chunked) Reset(dict []byte) {
	c.n, c.tail = 0, c.tail[:0]
	c.encoder.Reset(dict[max(0, len(dict)-ChunkDictionary):])
}

func (c *chunked) Write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), c.size-c.n)
		if err := c.encoder.Write(p[:n]); err != nil {
			return err
		}
		c.keep(p[:n])
		c.n += n
		p = p[n:]
		if c.n == c.size {
			if err := c.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush ends the chunk.
func (c *chunked) Flush() error {
	if err := c.encoder.Flush(); err != nil {
		return err
	}
	var dict []byte
	if c.n > ChunkDictionary {
		dict = c.tail
	}
	c.Reset(dict)
	return nil
}

// Close ends the stream after the last chunk, which is empty where the one before was whole.
func (c *chunked) Close() error {
	if err := c.encoder.Flush(); err != nil {
		return err
	}
	return c.encoder.Close()
}

// keep makes p the last bytes of the chunk.
func (c *chunked) keep(p []byte) {
	p = p[max(0, len(p)-ChunkDictionary):]
	if len(c.tail)+len(p) > 2*ChunkDictionary {
		c.tail = c.tail[:copy(c.tail, c.tail[len(c.tail)-ChunkDictionary:])]
	}
	c.tail = append(c.tail, p...)
}
