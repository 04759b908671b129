package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// ringSize is how many bytes of a blob are kept for a reader that has to begin again. Half of it may lie ahead of the
// reader, so at least the last half is there to be repeated. Tests lower it.
var ringSize int64 = 4 << 20

// rings give blobs that come in order to those who want them. Small blobs are held whole until they are released, so that
// several can be under way at once.
type rings struct {
	mu    sync.Mutex
	wake  *sync.Cond
	all   map[digest.Digest]*ring
	err   error // what ended the reading
	ended bool
	quit  bool
}

// ring holds the last bytes of one blob.
type ring struct {
	size     int64 // of the blob
	buf      []byte
	written  int64  // bytes that have come
	read     int64  // bytes that the reader has taken
	reached  bool   // it is the blob's turn, or was
	opened   bool   // somebody wants it
	released bool   // nobody wants it any more
	readers  int    // that were not closed
	err      error  // why no more of it comes
	release  func() // called when it is released, unless nil
}

func newRings(blobs []oci.Descriptor) *rings {
	s := &rings{all: map[digest.Digest]*ring{}}
	s.wake = sync.NewCond(&s.mu)
	for _, d := range blobs {
		s.all[d.Digest] = &ring{size: d.Size}
	}
	return s
}

// errClosed ends the reading of a bundle that was closed.
var errClosed = errors.New("the bundle was closed")

// turn says that it is the turn of the blob d, waits until somebody has said what becomes of it, and reports whether it is
// wanted.
func (s *rings) turn(d digest.Digest) (wanted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.all[d]
	r.reached = true
	s.wake.Broadcast()
	for !s.quit && !r.released && !r.opened {
		s.wake.Wait()
	}
	if s.quit {
		return false, errClosed
	}
	return !r.released, nil
}

// onRelease makes fn be called when the blob d is not wanted any more, which may be at once. fn must not call the rings.
func (s *rings) onRelease(d digest.Digest, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.all[d]; r.released {
		fn()
	} else {
		r.release = fn
	}
}

// give hands p to the reader of blob d, and waits as long as the ring is full. When nobody wants more, it returns errOver.
func (s *rings) give(d digest.Digest, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.all[d]
	for len(p) > 0 {
		for !s.quit && !r.released && r.written-r.read >= ringSize/2 {
			s.wake.Wait()
		}
		if s.quit {
			return errClosed
		}
		if r.released {
			return errOver
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
	return nil
}

// fail says that no more of the blob d will come, and why.
func (s *rings) fail(d digest.Digest, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[d].err = err
	s.wake.Broadcast()
}

// end says that nothing will come any more; err is nil when all has come.
func (s *rings) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.ended = err, true
	s.wake.Broadcast()
}

// open waits for the turn of d and returns its content from offset on. Bytes that are not in its ring are oci.ErrGone; a
// ring has only one reader when alone is set.
func (s *rings) open(ctx context.Context, d digest.Digest, offset int64, alone bool) (io.ReadCloser, error) {
	defer s.wakeOn(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.all[d]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w in the bundle", d, oci.ErrNotFound)
	}
	r.opened = true
	s.wake.Broadcast()
	for !r.reached && !r.released && !s.ended && !s.quit && ctx.Err() == nil {
		s.wake.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.quit:
		return nil, errClosed
	case !r.reached && s.ended:
		return nil, cmp.Or(s.err, io.ErrUnexpectedEOF)
	case r.released || offset < r.written-ringSize || offset > r.written || alone && r.readers > 0:
		return nil, fmt.Errorf("blob %s: offset %d: %w", d, offset, oci.ErrGone)
	}
	r.read = offset
	r.readers++
	s.wake.Broadcast()
	return &ringReader{rings: s, ring: r, at: offset}, nil
}

// wakeOn wakes all who wait when ctx ends, until the function that it returns is called.
func (s *rings) wakeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake.Broadcast()
	})
}

// Release says that the blob d is not wanted, or not wanted any more. It must be said of every blob.
func (s *rings) Release(d oci.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.all[d.Digest]
	if !ok || r.released {
		return
	}
	r.released = true
	r.buf = nil
	if r.release != nil {
		r.release()
	}
	s.wake.Broadcast()
}

// abandon releases the blob d unless somebody reads it.
func (s *rings) abandon(d oci.Descriptor) {
	s.mu.Lock()
	busy := s.all[d.Digest].readers > 0
	s.mu.Unlock()
	if !busy {
		s.Release(d)
	}
}

// wait waits until all has come, or ctx ends, and returns what was wrong with any of it.
func (s *rings) wait(ctx context.Context) error {
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

// close gives the reading up.
func (s *rings) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quit = true
	s.wake.Broadcast()
}

// ringReader is the content of a blob as its ring has it.
type ringReader struct {
	rings  *rings
	ring   *ring
	at     int64
	closed bool
}

func (r *ringReader) Read(p []byte) (int, error) {
	s := r.rings
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.at == r.ring.size {
		return 0, io.EOF
	}
	for !r.closed && !s.ended && !s.quit && !r.ring.released && r.ring.err == nil && r.at == r.ring.written {
		s.wake.Wait()
	}
	switch {
	case r.closed || r.ring.released || s.quit:
		return 0, errClosed
	case r.at == r.ring.written: // the reading has ended before this blob did
		return 0, cmp.Or(r.ring.err, s.err, io.ErrUnexpectedEOF)
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

// Close lets the bytes that were not read stay for another open.
func (r *ringReader) Close() error {
	r.rings.mu.Lock()
	defer r.rings.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.ring.readers--
	}
	r.rings.wake.Broadcast()
	return nil
}
