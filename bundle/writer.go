package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// sniffSize is how much of a blob is looked at to tell whether it is compressed already.
const sniffSize = 512

// Writer writes a bundle: the head at once, then each blob in the order of Blobs, one by one with WriteBlob or all of
// them with WriteAll, then the tail. Its methods are for one goroutine.
type Writer struct {
	out    *compress.Writer
	layout *layout
	next   int   // segment to be written
	skip   int64 // bytes from its begin that the file has already
	err    error
	splits *splits

	resumed int // blobs that were in the file before
}

// NewWriter plans the bundle of c and writes its head to w, which the caller closes. o is the compressor and its
// options; the content id in it is set here. Close must be called, or Abort after an error.
func NewWriter(w io.Writer, c Contents, o compress.WriterOptions) (*Writer, error) {
	l, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	return newWriter(w, l, o)
}

// newWriter writes the head of the layout l, or goes on behind the frames of o.Resume.
func newWriter(w io.Writer, l *layout, o compress.WriterOptions) (*Writer, error) {
	o.ContentID = l.id
	out, err := compress.NewWriter(w, o)
	if err != nil {
		return nil, err
	}
	bw := &Writer{out: out, layout: l, splits: &splits{}}
	bw.next, bw.skip = l.resumeAt(out.Offset())
	bw.resumed = len(l.blobsBefore(bw.next))
	for bw.next < l.blobs {
		if err := bw.writeRaw(); err != nil {
			out.Abort()
			return nil, err
		}
	}
	if err := out.Cut(); err != nil {
		out.Abort()
		return nil, err
	}
	return bw, nil
}

// Blobs returns the blobs in the order in which WriteBlob or WriteAll wants them: all members but those that the Writer
// makes itself, the plain twins and recipes of a compact bundle.
func (w *Writer) Blobs() []oci.Descriptor { return w.layout.blobsBefore(w.layout.tail) }

// Resumed returns how many of the first of the blobs are in the file already. They are not written again.
func (w *Writer) Resumed() int { return w.resumed }

// Head returns ferry.json as it was written. It is not to be changed.
func (w *Writer) Head() *Head { return w.layout.head }

// ContentID returns the content id, see FORMAT.md section 3.
func (w *Writer) ContentID() string { return w.layout.contentID() }

// Offset returns the plain offset up to which the tar was given to the writer: after WriteBlob, the end of that blob.
func (w *Writer) Offset() int64 { return w.out.Offset() }

// Written returns the plain offset up to which the tar has come to the file; what follows is on its way still.
func (w *Writer) Written() int64 { return w.out.Written() }

// WriteBlob writes the next blob, d, from r. With prove it is hashed on its way, for content that was not checked
// since it came; else its size alone is checked. After an error the bundle cannot be finished. A bundle with
// Contents.Compact is written by WriteAll alone.
func (w *Writer) WriteBlob(d oci.Descriptor, r io.Reader, prove bool) error {
	if w.err != nil {
		return w.err
	}
	if w.layout.compact != nil {
		return errors.New("bundle: a compact bundle is written by WriteAll")
	}
	if w.next >= w.layout.tail {
		return fmt.Errorf("blob %s: the bundle has all its blobs", d.Digest)
	}
	s := w.layout.segments[w.next]
	if s.name != blobPrefix+d.Digest.Encoded() {
		return fmt.Errorf("blob %s: the bundle wants %s next", d.Digest, s.name)
	}
	want := w.layout.head.Members[s.member].Descriptor()
	w.err = w.writeBlob(s, want, r, prove)
	return w.err
}

func (w *Writer) writeBlob(s segment, d oci.Descriptor, r io.Reader, prove bool) error {
	var sum hash.Hash
	if prove {
		sum = sha256.New()
		r = io.TeeReader(r, sum)
	}
	start := make([]byte, min(sniffSize, d.Size))
	if n, err := io.ReadFull(r, start); err != nil {
		return shortBlob(d, int64(n), err)
	}
	stored := !oci.IsManifest(d.MediaType) && compress.IsCompressed(start)
	if err := w.out.SetStored(stored); err != nil {
		return err
	}
	if err := w.writeHeader(s); err != nil {
		return err
	}
	body := io.MultiReader(bytes.NewReader(start), io.LimitReader(r, d.Size-int64(len(start))))
	gone, err := io.CopyN(io.Discard, body, min(w.skip, d.Size))
	if err != nil {
		return shortBlob(d, gone, err)
	}
	w.skip -= gone
	if n, err := w.out.ReadFrom(body); err != nil || gone+n != d.Size {
		return shortBlob(d, gone+n, err)
	}
	if n, _ := r.Read(make([]byte, 1)); n > 0 {
		return &oci.DigestError{Want: d, GotSize: d.Size + 1}
	}
	if prove {
		if got := digest.NewDigest(digest.SHA256, sum); got != d.Digest {
			return &oci.DigestError{Want: d, Got: got, GotSize: d.Size}
		}
	}
	return w.writePadding(s)
}

// shortBlob turns the end of a reader that gave n bytes into an error.
func shortBlob(d oci.Descriptor, n int64, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &oci.DigestError{Want: d, GotSize: n}
	}
	return fmt.Errorf("blob %s: %w", d.Digest, err)
}

// writeRaw writes the next segment, whose content the layout has.
func (w *Writer) writeRaw() error {
	s := w.layout.segments[w.next]
	if err := w.writeHeader(s); err != nil {
		return err
	}
	if err := w.put(s.raw); err != nil {
		return err
	}
	return w.writePadding(s)
}

// put writes b, but what of it the file has already.
func (w *Writer) put(b []byte) error {
	gone := min(w.skip, int64(len(b)))
	w.skip -= gone
	_, err := w.out.Write(b[gone:])
	return err
}

func (w *Writer) writeHeader(s segment) error {
	h := tarHeader(s.name, s.size, w.layout.head.mtime())
	return w.put(h[:])
}

func (w *Writer) writePadding(s segment) error {
	w.next++
	return w.put(zeroBlock[:padding(s.size)])
}

// Close writes the tail and the table of frames. All blobs must have been written.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.finish()
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	w.err = errors.New("bundle: writer is closed")
	defer w.splits.close()
	return w.out.Close()
}

// Abort gives the writer up; what it has written is no bundle.
func (w *Writer) Abort() {
	w.out.Abort()
	w.splits.close()
}

func (w *Writer) finish() error {
	if w.next < w.layout.tail {
		return fmt.Errorf("bundle: %d blobs were not written", w.layout.tail-w.next)
	}
	if err := w.out.Cut(); err != nil {
		return err
	}
	if err := w.out.SetStored(false); err != nil {
		return err
	}
	for w.next < len(w.layout.segments) {
		if err := w.writeRaw(); err != nil {
			return err
		}
	}
	return w.put(make([]byte, endSize))
}
