package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sort"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// runReader gives a range of the tar that lies in long frames: headers, contents and padding of members.
type runReader struct {
	writer *Writer
	all    context.Context // of WriteAll
	frame  context.Context // of the frame
	open   OpenFunc
	at     int64       // plain offset of the next byte
	end    int64       // plain offset of the end of the range
	part   io.Reader   // what of a member is read now
	blob   *provenBlob // its content, when that is it
	limit  int64       // plain offset of its end
}

func (r *runReader) Read(p []byte) (int, error) {
	if err := cmp.Or(r.all.Err(), r.frame.Err()); err != nil {
		return 0, err
	}
	if r.part == nil {
		if r.at == r.end {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.part.Read(p[:min(int64(len(p)), r.limit-r.at)])
	r.at += int64(n)
	if errors.Is(err, io.EOF) && r.at < r.limit {
		return n, io.ErrUnexpectedEOF // no part does
	}
	if r.at == r.limit && (err == nil || errors.Is(err, io.EOF)) {
		err = r.leave()
	}
	return n, err
}

// next begins the part of the tar at r.at.
func (r *runReader) next() (err error) {
	l := r.writer.layout
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end() > r.at })
	s := l.segments[i]
	switch offset := r.at - s.body(); {
	case offset < 0:
		h := tarHeader(s.name, s.size, l.head.mtime())
		r.part, r.limit = bytes.NewReader(h[blockSize+offset:]), s.body()
	case offset < s.size:
		d := l.head.Members[s.member].Descriptor()
		r.blob, err = r.enter(d, offset)
		r.part, r.limit = r.blob, s.body()+s.size
	default:
		r.part, r.limit = bytes.NewReader(zeroBlock[:s.end()-r.at]), s.end()
	}
	r.limit = min(r.limit, r.end)
	return err
}

// enter begins the content of the blob d at offset.
func (r *runReader) enter(d oci.Descriptor, offset int64) (*provenBlob, error) {
	if offset > 0 {
		if blob := r.writer.splits.enter(r.at); blob != nil {
			blob.attach(r.frame)
			return blob, nil
		}
	}
	blob, err := openProven(r.all, r.frame, d, r.open)
	if err != nil || offset == 0 {
		return blob, err
	}
	if _, err := io.CopyN(io.Discard, blob, offset); err != nil {
		return blob, err
	}
	return blob, r.writer.splits.passed(r.at, blob)
}

// leave ends the part that was read.
func (r *runReader) leave() error {
	blob := r.blob
	r.part, r.blob = nil, nil
	switch {
	case blob == nil:
		return nil
	case blob.n < blob.want.Size: // the frame ends inside of it
		return r.writer.splits.leave(r.at, blob)
	}
	return blob.Close()
}

func (r *runReader) Close() error {
	if r.blob == nil {
		return nil
	}
	return r.blob.Close()
}

// provenBlob gives the content of a blob and proves it on its way: with the last byte comes an error if it is another one.
type provenBlob struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	detach func() bool // from the frame that it is read for
	want   oci.Descriptor
	sum    hash.Hash
	n      int64 // bytes read
}

// openProven opens the blob d for a frame. What open returns may outlive the frame, but not all.
func openProven(all, frame context.Context, d oci.Descriptor, open OpenFunc) (*provenBlob, error) {
	b := &provenBlob{want: d, sum: sha256.New()}
	b.ctx, b.cancel = context.WithCancel(all)
	b.attach(frame)
	r, err := open(b.ctx, d)
	if err != nil {
		b.detach()
		b.cancel()
		return nil, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	b.ReadCloser = r
	return b, nil
}

// attach lets the blob end with frame, until detach is called.
func (b *provenBlob) attach(frame context.Context) { b.detach = context.AfterFunc(frame, b.cancel) }

func (b *provenBlob) Close() error {
	b.detach()
	b.cancel()
	return b.ReadCloser.Close()
}

func (b *provenBlob) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.want.Size-b.n)])
	b.sum.Write(p[:n])
	b.n += int64(n)
	switch {
	case b.n == b.want.Size && (err == nil || errors.Is(err, io.EOF)):
		return n, b.prove()
	case err != nil:
		return n, shortBlob(b.want, b.n, err)
	}
	return n, nil
}

// prove is called when all bytes are read.
func (b *provenBlob) prove() error {
	if n, err := io.ReadFull(b.ReadCloser, make([]byte, 1)); n > 0 {
		return &oci.DigestError{Want: b.want, GotSize: b.want.Size + 1}
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("blob %s: %w", b.want.Digest, err)
	}
	if got := digest.NewDigest(digest.SHA256, b.sum); got != b.want.Digest {
		return &oci.DigestError{Want: b.want, Got: got, GotSize: b.want.Size}
	}
	return nil
}

// splits are the places at which a long frame ends inside of a blob, by plain offset. Whoever writes the frame behind one goes
// on with the reader of the frame before, if that is there already; else it reads the blob from its begin. Then both
// have to have read the same, so that the proof at the blob's end is one of all frames.
type splits struct {
	mu     sync.Mutex
	places map[int64]*split
}

type split struct {
	sum     []byte // of the blob's bytes before the place; nil as long as nobody has come there
	parked  *provenBlob
	entered bool // somebody writes the frame behind it
}

func (s *splits) at(place int64) *split {
	if s.places == nil {
		s.places = map[int64]*split{}
	}
	if s.places[place] == nil {
		s.places[place] = &split{}
	}
	return s.places[place]
}

// enter returns the reader that stands at place, the plain offset at which a frame begins, or nil when there is none.
func (s *splits) enter(place int64) *provenBlob {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.at(place)
	blob := sp.parked
	sp.parked, sp.entered = nil, true
	return blob
}

// leave takes the reader of a frame that ends at place.
func (s *splits) leave(place int64, blob *provenBlob) error {
	if err := s.passed(place, blob); err != nil {
		return errors.Join(err, blob.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.at(place); !sp.entered {
		blob.detach()
		sp.parked = blob
		return nil
	}
	return blob.Close()
}

// passed compares what two have read before place.
func (s *splits) passed(place int64, blob *provenBlob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp, sum := s.at(place), blob.sum.Sum(nil)
	if sp.sum != nil && !bytes.Equal(sp.sum, sum) {
		return fmt.Errorf("blob %s: its content has changed while it was read: %w", blob.want.Digest, oci.ErrCorrupt)
	}
	sp.sum = sum
	return nil
}

// close closes what nobody goes on with.
func (s *splits) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.places {
		if sp.parked != nil {
			sp.parked.Close()
			sp.parked = nil
		}
	}
}
