package golang

import "github.com/ferry-oci/ferry/compress/deflate"

// largestStored is how many bytes a stored block can have, and how many an encoder without chains gathers for a block.
const largestStored = 1<<16 - 1

// plain is the encoder of NoCompression and HuffmanOnly.
type plain struct {
	blocks
	level int
	buf   [largestStored]byte
	n     int // bytes in buf
}

func newPlain(level int, emit deflate.Emit) *plain {
	return &plain{blocks: blocks{emit: emit}, level: level}
}

// Reset begins a stream. It makes no difference what was before.
func (e *plain) Reset([]byte) { e.n = 0 }

// Write takes the next plain bytes.
func (e *plain) Write(p []byte) error {
	for len(p) > 0 {
		n := copy(e.buf[e.n:], p)
		e.n += n
		p = p[n:]
		if e.n == len(e.buf) {
			if err := e.block(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush ends the block and adds an empty stored one.
func (e *plain) Flush() error {
	if err := e.block(); err != nil {
		return err
	}
	return e.stored(nil, false)
}

// Close ends the block and adds an empty stored one, which is final.
func (e *plain) Close() error {
	if err := e.block(); err != nil {
		return err
	}
	return e.stored(nil, true)
}

func (e *plain) block() error {
	raw := e.buf[:e.n]
	e.n = 0
	switch {
	case len(raw) == 0:
		return nil
	case e.level == NoCompression:
		return e.stored(raw, false)
	}
	return e.literalsOnly(raw)
}
