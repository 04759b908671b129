package compress

import (
	"io"
)

// A cursor goes through the bytes of a frame, for those who only want to know where it ends. Both methods return
// io.EOF when nothing was left and io.ErrUnexpectedEOF when too little was.
type cursor interface {
	// next returns the next n bytes, which are valid until the next call.
	next(n int) ([]byte, error)
	skip(n int64) error
}

// sliceCursor goes through bytes in memory.
type sliceCursor struct{ rest []byte }

func (c *sliceCursor) next(n int) ([]byte, error) {
	switch {
	case len(c.rest) == 0 && n > 0:
		return nil, io.EOF
	case len(c.rest) < n:
		return nil, io.ErrUnexpectedEOF
	}
	p := c.rest[:n]
	c.rest = c.rest[n:]
	return p, nil
}

func (c *sliceCursor) skip(n int64) error {
	if n > int64(len(c.rest)) {
		return io.ErrUnexpectedEOF
	}
	c.rest = c.rest[n:]
	return nil
}

// fileCursor goes through a part of a file and reads no more than it is asked for.
type fileCursor struct {
	r    io.ReaderAt
	off  int64
	size int64
	buf  [1024]byte
}

func (c *fileCursor) next(n int) ([]byte, error) {
	p := c.buf[:min(n, len(c.buf))]
	switch {
	case c.off == c.size && n > 0:
		return nil, io.EOF
	case int64(len(p)) > c.size-c.off:
		return nil, io.ErrUnexpectedEOF
	}
	if err := readFullAt(c.r, p, c.off); err != nil {
		return nil, err
	}
	c.off += int64(len(p))
	return p, nil
}

func (c *fileCursor) skip(n int64) error {
	if n > c.size-c.off {
		return io.ErrUnexpectedEOF
	}
	c.off += n
	return nil
}

// streamCursor reads from a pipe and keeps what it went through.
type streamCursor struct {
	r   io.Reader
	off int64 // bytes read from r so far
	raw []byte
	err error // what r said last, io.ErrUnexpectedEOF for an end
}

func (c *streamCursor) next(n int) ([]byte, error) {
	start := len(c.raw)
	c.raw = growAmortized(c.raw, n)
	got, err := io.ReadFull(c.r, c.raw[start:])
	c.off += int64(got)
	if err != nil {
		c.raw = c.raw[:start+got]
		c.err = unexpected(err)
		return nil, err
	}
	return c.raw[start:], nil
}

// skipStep bounds what a claimed size can make a streamCursor allocate before the bytes are there.
const skipStep = 1 << 20

func (c *streamCursor) skip(n int64) error {
	for n > 0 {
		step := min(n, skipStep)
		if _, err := c.next(int(step)); err != nil {
			return unexpected(err)
		}
		n -= step
	}
	return nil
}

// growAmortized returns b longer by n bytes of whatever content, with room for more of the same.
func growAmortized(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
	}
	return b[:len(b)+n]
}

// readFullAt reads len(p) bytes at off. A file that ends before them is io.ErrUnexpectedEOF.
func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return unexpected(err)
}
