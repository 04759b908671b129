package gzip

import (
	"context"
	"errors"
	"fmt"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// chunkWriter passes on what is written in chunks of outputChunk, or a little more.
type chunkWriter struct {
	ctx context.Context
	out chan<- []byte
	buf []byte
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	if len(w.buf) < outputChunk {
		return len(p), nil
	}
	return len(p), w.flush()
}

func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	select {
	case w.out <- w.buf:
		w.buf = make([]byte, 0, outputChunk)
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// maker makes a piece.
type maker struct {
	*recreation
	*piece
	out    *chunkWriter
	stream *deflate.Writer
	blocks int64 // that are missing, in a part of a member that does not end with it
}

// work makes a piece of the plain bytes that it gets.
func (w *recreation) work(ctx context.Context, p *piece) error {
	m := &maker{recreation: w, piece: p, out: &chunkWriter{ctx: ctx, out: p.out}, stream: deflate.NewWriter(nil)}
	for i := p.first; i <= p.last; i++ {
		if err := m.member(i); err != nil {
			return err
		}
	}
	return m.out.flush()
}

// member makes the member of number i, or the part of it that the piece has.
func (m *maker) member(i int) error {
	member := &m.recipe.Members[i]
	if m.from.Plain == 0 {
		if _, err := m.out.Write(m.recipe.Headers[member.Header]); err != nil {
			return err
		}
	}
	engine := m.recipe.Engines[member.Engine]
	if engine.ID == Verbatim {
		return m.verbatim(member)
	}
	c, err := m.coders.take(engine, Engine{})
	if err != nil {
		return err
	}
	m.stream.ResetAt(m.out, 0, uint(m.from.Bits))
	m.blocks = m.to.Blocks
	c.begin(m.from.Plain, m.dict, m.block)
	crc, err := m.encode(c, member)
	switch {
	case errors.Is(err, errDone):
		if err = m.part(); err != nil {
			return err
		}
	case err != nil:
		return err
	case !m.end:
		return fmt.Errorf("%w: member %d: a checkpoint has too many blocks", ErrMismatch, i)
	default:
		if err := m.trailer(member, crc); err != nil {
			return err
		}
	}
	m.coders.put(c)
	return nil
}

// block writes a block that the encoder gives.
func (m *maker) block(b *deflate.Block) error {
	if err := m.stream.WriteBlock(b); err != nil {
		return err
	}
	if !m.end {
		if m.blocks--; m.blocks == 0 {
			return errDone
		}
	}
	return nil
}

// encode gives the plain bytes of the member to c, and returns their checksum. errDone ends a part of it.
func (m *maker) encode(c *coder, member *Member) (uint32, error) {
	position, flushes := m.from.Plain, member.Flushes
	for {
		chunk, ok := <-m.in
		if !ok {
			if err := m.out.ctx.Err(); err != nil {
				return 0, err
			}
			return 0, fmt.Errorf("%w: a checkpoint is too early", ErrMismatch)
		}
		data := chunk.data
		for len(flushes) > 0 && flushes[0] <= position+int64(len(data)) {
			n := flushes[0] - position
			if err := write(c, data[:n]); err != nil {
				return 0, err
			}
			if err := c.Flush(); err != nil {
				return 0, err
			}
			position, data, flushes = position+n, data[n:], flushes[1:]
		}
		if err := write(c, data); err != nil {
			return 0, err
		}
		position += int64(len(data))
		if chunk.ends {
			return chunk.crc, c.Close()
		}
	}
}

func write(c *coder, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return c.Write(p)
}

// part ends a part in the midst of a member.
func (m *maker) part() error {
	bits, n, err := m.stream.Flush()
	if err == nil && n != uint(m.to.Bits) {
		err = fmt.Errorf("%w: a checkpoint has %d bits, want %d", ErrMismatch, m.to.Bits, n)
	}
	m.bits = bits
	return err
}

func (m *maker) trailer(member *Member, crc uint32) error {
	if err := m.stream.Close(member.Padding); err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	_, err := m.out.Write(appendTrailer(nil, crc, member.Size))
	return err
}

// verbatim writes the stream that the recipe has.
func (m *maker) verbatim(member *Member) error {
	if _, err := m.out.Write(member.Stream); err != nil {
		return err
	}
	for {
		chunk, ok := <-m.in
		if !ok {
			return m.out.ctx.Err()
		}
		if chunk.ends {
			_, err := m.out.Write(appendTrailer(nil, chunk.crc, member.Size))
			return err
		}
	}
}
