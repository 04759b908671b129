package gzip

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// NewPlainReader returns a reader of the first size plain bytes of a blob that [Find] takes: all members of it, with whatever
// headers, and nothing of what follows them. It proves neither the checksums of the blob nor that it has no more. A blob that
// is not valid or has fewer is io.ErrUnexpectedEOF or another error.
func NewPlainReader(blob io.Reader, size int64) io.Reader {
	return &plainReader{src: bufio.NewReaderSize(blob, MaxHeader), left: size}
}

type plainReader struct {
	src    *bufio.Reader
	member *deflate.Reader // nil before the first one
	plain  []byte          // of its last block, not given yet
	left   int64           // bytes to give
	err    error
}

func (r *plainReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 && r.left > 0 && r.err == nil {
		r.err = r.next()
	}
	switch {
	case r.left == 0:
		return 0, io.EOF
	case r.err != nil:
		return 0, r.err
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.plain)
	r.plain, r.left = r.plain[n:], r.left-int64(n)
	return n, nil
}

// next reads a block, or the header of a member before it.
func (r *plainReader) next() error {
	if r.member == nil {
		r.member = new(deflate.Reader)
		return r.header()
	}
	_, err := r.member.Next()
	if !errors.Is(err, io.EOF) {
		r.plain = r.member.Plain()
		return err
	}
	if _, err := r.src.Discard(trailerSize); err != nil {
		return unexpected(err)
	}
	return r.header()
}

func (r *plainReader) header() error {
	if _, err := readHeader(r.src); err != nil {
		return fmt.Errorf("%d plain bytes are missing: %w", r.left, unexpected(err))
	}
	r.member.Reset(r.src)
	return nil
}

// unexpected returns an error in place of io.EOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
