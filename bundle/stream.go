package bundle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// ringSize is how many bytes of a blob a Stream keeps for a reader that has to begin again. Half of it may lie ahead of
// the reader, so at least the last half is there to be repeated.
const ringSize = 4 << 20

// maxManifestBytes bounds the manifests that a Stream holds, all together.
const maxManifestBytes = 256 << 20

// Stream is a bundle that is read once, in order, as from a pipe. It is an oci.Source whose blobs come in the order of InOrder:
// each must be opened, or released unread, before the ones behind it are reached. Small blobs are held whole until they are released, so that
// several can be under way at once.
//
// Nothing of what a Stream gives may be named at a target before Finish has seen the end of the bundle.
type Stream struct {
	layout    *layout
	frames    *frameReader
	manifests map[digest.Digest][]byte
	blobs     map[digest.Digest]int // number, see Head.Blob
	first     int                   // segment of the first blob that is not a manifest

	mu    sync.Mutex
	wake  *sync.Cond
	rings map[digest.Digest]*ring
	err   error // what ended the pump
	ended bool
	quit  bool
}

var _ oci.OrderedSource = (*Stream)(nil)

// ring holds the last bytes of one blob.
type ring struct {
	size     int64 // of the blob
	buf      []byte
	written  int64 // bytes that came from the stream
	read     int64 // bytes that the reader has taken
	reached  bool  // the stream has come to the blob
	opened   bool  // somebody wants it
	released bool  // nobody wants it any more
}

// OpenStream reads the head and all manifests from r. Close must be called.
func OpenStream(r io.Reader, o Options) (*Stream, error) {
	frames, err := newFrameReader(r, o)
	if err != nil {
		return nil, err
	}
	s := &Stream{frames: frames, manifests: map[digest.Digest][]byte{}, rings: map[digest.Digest]*ring{}}
	s.wake = sync.NewCond(&s.mu)
	if s.layout, err = readFour(s.frames, ""); err == nil {
		err = s.readManifests()
	}
	if err != nil {
		s.frames.Close()
		return nil, err
	}
	s.blobs = s.layout.head.positions()
	for _, d := range s.InOrder() {
		s.rings[d.Digest] = &ring{size: d.Size}
	}
	go s.pump()
	return s, nil
}

// Head returns ferry.json. It is not to be changed.
func (s *Stream) Head() *Head { return s.layout.head }

// ContentID returns the content id in hex.
func (s *Stream) ContentID() string { return s.layout.contentID() }

// InOrder returns the blobs that are not manifests in the order in which they come.
func (s *Stream) InOrder() []oci.Descriptor {
	var all []oci.Descriptor
	for _, m := range s.layout.head.Members[s.first-s.layout.blobs:] {
		all = append(all, m.Descriptor())
	}
	return all
}

// readManifests reads the members up to the first that is not a manifest.
func (s *Stream) readManifests() error {
	total := int64(0)
	for s.first = s.layout.blobs; s.first < s.layout.tail; s.first++ {
		m := s.layout.head.Members[s.layout.segments[s.first].member]
		if !oci.IsManifest(m.MediaType) {
			return nil
		}
		if total += m.Size; total > maxManifestBytes {
			return corrupt(m.Name(), "more than %d MiB of manifests", maxManifestBytes>>20)
		}
		raw, err := readMember(s.frames, m.Name(), oci.MaxManifestSize)
		if err != nil {
			return err
		}
		if err := oci.CheckBytes(m.Descriptor(), raw); err != nil {
			return corrupt(m.Name(), "%v", err)
		}
		s.manifests[m.Digest] = raw
	}
	return nil
}

// pump reads the rest of the bundle and fills the rings.
func (s *Stream) pump() {
	err := s.readBlobs()
	if err == nil {
		err = s.readTail()
	}
	s.frames.Close()
	s.mu.Lock()
	s.err, s.ended = err, true
	s.mu.Unlock()
	s.wake.Broadcast()
}

func (s *Stream) readBlobs() error {
	buf := make([]byte, 256<<10)
	for _, seg := range s.layout.segments[s.first:s.layout.tail] {
		m := s.layout.head.Members[seg.member]
		if err := s.expect(seg, buf[:blockSize]); err != nil {
			return s.damage(m, err)
		}
		s.reach(m.Digest)
		for left := seg.size; left > 0; {
			n, err := io.ReadFull(s.frames, buf[:min(left, int64(len(buf)))])
			if err != nil {
				return s.damage(m, err)
			}
			left -= int64(n)
			if err := s.give(m.Digest, buf[:n]); err != nil {
				return err
			}
		}
		if err := s.give(m.Digest, nil); err != nil { // an empty blob waits for its reader too
			return err
		}
		pad := buf[:padding(seg.size)]
		if _, err := io.ReadFull(s.frames, pad); err != nil {
			return s.damage(m, err)
		}
		if !bytes.Equal(pad, zeroBlock[:len(pad)]) {
			return s.damage(m, errors.New("its padding is not zero"))
		}
	}
	return nil
}

// expect reads the header of seg.
func (s *Stream) expect(seg segment, h []byte) error {
	if _, err := io.ReadFull(s.frames, h); err != nil {
		return err
	}
	if want := tarHeader(seg.name, seg.size, s.layout.head.mtime()); !bytes.Equal(h, want[:]) {
		return errors.New("its tar header is damaged")
	}
	return nil
}

// readTail reads what follows the blobs, up to the end of the file.
func (s *Stream) readTail() error {
	tail, err := readFour(s.frames, tailPrefix)
	if err != nil {
		return err
	}
	if !s.layout.equal(tail) {
		return corrupt(tailPrefix+headName, "it is not equal to the head")
	}
	rest, err := io.ReadAll(io.LimitReader(s.frames, endSize+1))
	if err != nil {
		return &DamageError{Damage: Damage{Member: tableName, Reason: err.Error()}, Err: err}
	}
	if !bytes.Equal(rest, make([]byte, endSize)) {
		return corrupt("tar", "it does not end in two blocks of zeros")
	}
	return nil
}

func (s *Stream) damage(m Member, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the bundle ends inside of it: %w", err)
	}
	d := Damage{Member: m.Name(), Digest: m.Digest, Images: s.layout.head.ImagesWith(m.Digest), Reason: err.Error()}
	var frame *compress.FrameError
	if errors.As(err, &frame) {
		d.Offset, d.Length = frame.Offset, frame.Size
	}
	return &DamageError{Damage: d, Err: err}
}

// errClosed ends the pump of a Stream that was closed.
var errClosed = errors.New("the stream was closed")

// give hands p to the reader of blob d, and waits as long as the ring is full or nobody has said what becomes of the blob.
func (s *Stream) give(d digest.Digest, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rings[d]
	for {
		for !s.quit && !r.released && (!r.opened || len(p) > 0 && r.written-r.read >= ringSize/2) {
			s.wake.Wait()
		}
		if s.quit {
			return errClosed
		}
		if r.released || len(p) == 0 {
			return nil
		}
		if r.buf == nil {
			r.buf = make([]byte, min(ringSize, r.size))
		}
		at := int(r.written % ringSize)
		n := copy(r.buf[at:], p[:min(int64(len(p)), ringSize/2-(r.written-r.read))])
		r.written += int64(n)
		p = p[n:]
		s.wake.Broadcast()
	}
}

// reach lets those go on who wait in Open for the blob d.
func (s *Stream) reach(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rings[d].reached = true
	s.wake.Broadcast()
}

// Open waits until the stream has reached d and returns its content from offset on. Bytes that have left the ring are
// oci.ErrGone.
func (s *Stream) Open(ctx context.Context, _ oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if raw, ok := s.manifests[d.Digest]; ok && offset >= 0 && offset <= int64(len(raw)) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
	defer s.wakeOn(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rings[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w in the bundle", d.Digest, oci.ErrNotFound)
	}
	r.opened = true
	for !r.reached && !r.released && !s.ended && !s.quit && ctx.Err() == nil {
		s.wake.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !r.reached && s.ended:
		return nil, cmp.Or(s.err, io.ErrUnexpectedEOF)
	case r.released || offset < r.written-ringSize || offset > r.written:
		return nil, fmt.Errorf("blob %s: offset %d: %w", d.Digest, offset, oci.ErrGone)
	}
	r.read = offset
	s.wake.Broadcast()
	return &ringReader{stream: s, ring: r, at: offset}, nil
}

// wakeOn wakes all who wait when ctx ends, until the function that it returns is called.
func (s *Stream) wakeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake.Broadcast()
	})
}

// Release says that the blob d is not wanted, or not wanted any more. It must be said of every blob.
func (s *Stream) Release(d oci.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.rings[d.Digest]; ok {
		r.released = true
		r.buf = nil
		s.wake.Broadcast()
	}
}

// Finish waits for the end of the bundle and returns what was wrong with any part of it. All blobs must have been released.
func (s *Stream) Finish(ctx context.Context) error {
	defer s.wakeOn(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended && ctx.Err() == nil {
		s.wake.Wait()
	}
	if !s.ended {
		return ctx.Err()
	}
	return s.err
}

// Close gives the stream up. It does not close the reader below; who waits in that reader goes on waiting.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.quit = true
	s.mu.Unlock()
	s.wake.Broadcast()
	return nil
}

type ringReader struct {
	stream *Stream
	ring   *ring
	at     int64
	closed bool
}

func (r *ringReader) Read(p []byte) (int, error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.at == r.ring.size {
		return 0, io.EOF
	}
	for !r.closed && !s.ended && !s.quit && !r.ring.released && r.at == r.ring.written {
		s.wake.Wait()
	}
	switch {
	case r.closed || r.ring.released || s.quit:
		return 0, errClosed
	case r.at == r.ring.written: // the pump has ended before this blob did
		return 0, cmp.Or(s.err, io.ErrUnexpectedEOF)
	case r.at < r.ring.written-ringSize:
		return 0, oci.ErrGone
	}
	at := int(r.at % ringSize)
	n := copy(p, r.ring.buf[at:min(ringSize, int64(at)+r.ring.written-r.at)])
	r.at += int64(n)
	r.ring.read = r.at
	s.wake.Broadcast()
	return n, nil
}

// Close lets the bytes that were not read stay for another Open.
func (r *ringReader) Close() error {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.closed = true
	r.stream.wake.Broadcast()
	return nil
}

// frameReader gives the plain bytes of a file that is read in order.
type frameReader struct {
	scanner *compress.Scanner
	buf     []byte    // memory of the last frame
	plain   []byte    // what of it was not read yet
	long    io.Reader // of a long frame instead
	err     error
}

// newFrameReader tells the format of r by its first bytes.
func newFrameReader(r io.Reader, o Options) (*frameReader, error) {
	start := make([]byte, blockSize)
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	format, err := compress.Sniff(start[:n])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrNotBundle)
	}
	scanner := compress.NewScanner(io.MultiReader(bytes.NewReader(start[:n]), r), format, o.Reader)
	return &frameReader{scanner: scanner}, nil
}

func (r *frameReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.long == nil {
			r.next()
			continue
		}
		n, err := r.long.Read(p)
		if errors.Is(err, io.EOF) {
			r.long = nil
		} else if err != nil {
			r.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

func (r *frameReader) next() {
	f, raw, err := r.scanner.Next()
	switch {
	case err != nil:
	case f.Long():
		r.long = r.scanner.Stream()
		return
	default:
		r.buf, err = r.scanner.Decode(r.buf, f, raw)
		r.plain = r.buf
		r.scanner.Release(raw)
	}
	if err != nil {
		r.err, r.plain = err, nil
	}
}

func (r *frameReader) Close() error { return r.scanner.Close() }
