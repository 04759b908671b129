package oci

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

const (
	// heldBack is how much of a blob's end a verifying reader keeps until the digest is proven, in bytes.
	heldBack = 32 << 10
	// chunkSize is the size of the buffers that blobs move through, in bytes.
	chunkSize = 256 << 10
)

// chunks holds buffers of chunkSize bytes for reuse.
var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// Verify returns a reader that passes the bytes of r through and proves that they are the content of d. When the size
// or the digest is off it ends in a [*DigestError], never in io.EOF; an error of r ends it as it is.
//
// It reads r up to the promised size and one byte more, which tells whether there is a surplus. The last bytes, up to
// 32 KiB, are held back until the digest is proven, so that what is made from it, such as the body of a request, is
// never complete when the content is wrong; content of up to 32 KiB comes only as a whole. The digest is sha256 or
// sha512; another one, and a negative size, is the first read's error.
func Verify(r io.Reader, d Descriptor) io.Reader {
	c, err := newChecker(d)
	if err != nil {
		return errReader{err}
	}
	return &verifier{r: r, c: c}
}

// VerifyFrom is [Verify] for content that is read from byte offset on: h has hashed what stands before it.
func VerifyFrom(r io.Reader, d Descriptor, h hash.Hash, offset int64) io.Reader {
	if _, err := NewHash(d); err != nil {
		return errReader{err}
	}
	if offset < 0 || offset > d.Size {
		return errReader{fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)}
	}
	return &verifier{r: r, c: &checker{d: d, h: h, n: offset}}
}

// ReadSmall returns the content of d as held in from, proven. More than [MaxManifestSize] bytes are an error and are not read. Other
// errors: those of src, and a [*DigestError].
func ReadSmall(ctx context.Context, src Source, from Repository, d Descriptor) (_ []byte, err error) {
	if d.Size > MaxManifestSize {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", d.Digest, d.Size, MaxManifestSize)
	}
	r, err := src.Open(ctx, from, d, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(Verify(r, d))
}

// NewHash returns the hash that d's digest is made with: sha256 or sha512. A malformed digest, and one of another
// kind, is an error.
func NewHash(d Descriptor) (hash.Hash, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	switch d.Digest.Algorithm() {
	case digest.SHA256:
		return sha256.New(), nil
	case digest.SHA512:
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("digest %q: %w", d.Digest, digest.ErrDigestUnsupported)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// checker counts and hashes the bytes of a blob.
type checker struct {
	d Descriptor
	h hash.Hash
	n int64 // bytes hashed so far
}

func newChecker(d Descriptor) (*checker, error) {
	h, err := NewHash(d)
	if err != nil {
		return nil, err
	}
	if d.Size < 0 {
		return nil, fmt.Errorf("blob %s: size %d", d.Digest, d.Size)
	}
	return &checker{d: d, h: h}, nil
}

// left returns how many bytes of the promised size have not come yet.
func (c *checker) left() int64 { return c.d.Size - c.n }

func (c *checker) add(p []byte) {
	c.h.Write(p) // a hash never fails
	c.n += int64(len(p))
}

func (c *checker) reset() {
	c.h.Reset()
	c.n = 0
}

// result compares size and digest of what has been added.
func (c *checker) result() error {
	if c.n != c.d.Size {
		return &DigestError{Want: c.d, GotSize: c.n}
	}
	if got := digest.NewDigest(c.d.Digest.Algorithm(), c.h); got != c.d.Digest {
		return &DigestError{Want: c.d, Got: got, GotSize: c.n}
	}
	return nil
}

// finish ends the reading of r, which gave all promised bytes: it looks for a surplus and compares the digest.
func (c *checker) finish(r io.Reader) error {
	var one [1]byte
	// An error other than EOF says nothing about the bytes that were promised: they are here, and their digest decides.
	if n, _ := readFull(r, one[:]); n > 0 {
		return &DigestError{Want: c.d, GotSize: c.n + 1}
	}
	return c.result()
}

// copyFrom adds what r gives until end bytes of the blob are there, in chunks that it hands to sink before it counts
// them; a nil sink is fine. It returns a [*DigestError] when r ends early, else the first error.
func (c *checker) copyFrom(ctx context.Context, r io.Reader, end int64, sink func([]byte) error) error {
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	for c.n < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := *chunk
		n, rerr := readFull(r, buf[:min(int64(len(buf)), end-c.n)])
		if n > 0 && sink != nil {
			if err := sink(buf[:n]); err != nil {
				return err
			}
		}
		c.add(buf[:n])
		if rerr != nil && c.n < end {
			return c.early(rerr)
		}
	}
	return nil
}

// early is the error of content that ended before its promised size with err.
func (c *checker) early(err error) error {
	if err == io.EOF { // bare: a wrapped one is the error of a request
		return &DigestError{Want: c.d, GotSize: c.n}
	}
	return err
}

// readFull fills p from r. Unlike io.ReadFull it returns r's own error, so that io.EOF, the end of the content, can be
// told from io.ErrUnexpectedEOF, a connection that was cut.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if m > 0 {
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// verifier is the reader of [Verify].
type verifier struct {
	r    io.Reader
	c    *checker
	tail []byte // proven bytes that have not been read yet
	err  error  // what comes after tail
}

// through returns how many bytes may pass before the digest is proven.
func (v *verifier) through() int64 { return v.c.left() - heldBack }

func (v *verifier) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if v.err == nil && v.through() > 0 {
		return v.pass(p)
	}
	if v.err == nil {
		v.tail, v.err = v.prove()
	}
	n := copy(p, v.tail)
	v.tail = v.tail[n:]
	if n > 0 {
		return n, nil
	}
	return 0, v.err
}

// pass reads into p what may pass before the proof.
func (v *verifier) pass(p []byte) (int, error) {
	n, err := v.r.Read(p[:min(int64(len(p)), v.through())])
	v.c.add(p[:n])
	if err != nil {
		v.err = v.c.early(err)
	}
	return n, v.err
}

// prove reads the rest and returns it with io.EOF when all is as promised, else nothing and the error.
func (v *verifier) prove() ([]byte, error) {
	tail := make([]byte, v.c.left()) // at most heldBack
	n, err := readFull(v.r, tail)
	v.c.add(tail[:n])
	if n < len(tail) {
		return nil, v.c.early(err)
	}
	if err := v.c.finish(v.r); err != nil {
		return nil, err
	}
	return tail, io.EOF
}

// WriteTo writes all of it to w, in larger pieces than most callers of Read ask for.
func (v *verifier) WriteTo(w io.Writer) (written int64, err error) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := v.Read(*buf)
		if n > 0 {
			m, werr := w.Write((*buf)[:n])
			written += int64(m)
			if werr != nil {
				return written, werr
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}
