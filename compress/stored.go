package compress

import (
	"bytes"
	"errors"
)

// errNotStored says that a frame which has the size of a stored one is none, or is damaged: the decoder will tell.
var errNotStored = errors.New("not a stored frame")

// windowSize is about how many bytes of a stored frame are read at a time.
const windowSize = 256 << 10

// A storedRun reads a stored frame from some place on, without a decoder: what lies before that place is not touched.
type storedRun struct {
	*Reader
	frame  Frame
	next   int64    // offset in the frame of the next plain byte to be loaded
	window *[]byte  // raw bytes
	ready  [][]byte // plain bytes in window that were not read yet
	sum    checksum // of all so far, nil when the run did not begin with the frame
}

// newRun returns a run of frame f from plain offset next of it on.
func (r *Reader) newRun(f Frame, next int64) *storedRun {
	l := r.layout
	chunks := windowSize / l.chunkSize()
	most := l.headSize() + chunks*(l.chunkSize()+chunkHeaderSize) + l.tailSize(f.PlainSize)
	s := &storedRun{Reader: r, frame: f, next: next}
	s.window = pooled(&r.windows, int(min(f.Size, int64(most))))
	if next == 0 {
		s.sum = l.newSum()
	}
	return s
}

// read gives the next bytes. Those from offset limit of the frame on are not wanted.
func (s *storedRun) read(p []byte, limit int64) (n int, err error) {
	if len(s.ready) == 0 {
		if err := s.load(limit); err != nil {
			return 0, err
		}
	}
	for n < len(p) && len(s.ready) > 0 {
		k := copy(p[n:], s.ready[0])
		n += k
		if s.ready[0] = s.ready[0][k:]; len(s.ready[0]) == 0 {
			s.ready = s.ready[1:]
		}
	}
	return n, nil
}

// load reads the next chunks, as many as fit in the window.
func (s *storedRun) load(limit int64) error {
	chunk := int64(s.layout.chunkSize())
	if s.next%chunk != 0 {
		if err := s.checkHeader(); err != nil {
			return err
		}
	}
	stop := min(limit, (s.next/chunk+windowSize/chunk)*chunk)
	raw := (*s.window)[:s.rawEnd(stop)-s.rawStart()]
	if err := readFullAt(s.r, raw, s.frame.Offset+s.rawStart()); err != nil {
		return s.frame.fail("reading it", err)
	}
	if s.next == 0 {
		head := s.layout.appendHead(nil, s.frame.PlainSize)
		if !bytes.HasPrefix(raw, head) {
			return errNotStored
		}
		raw = raw[len(head):]
	}
	return s.take(raw, stop)
}

// rawStart returns where in the frame the bytes for next are read from: with the header before them, if they begin a
// chunk, and with the head of the frame if they are the first.
func (s *storedRun) rawStart() int64 {
	chunk := int64(s.layout.chunkSize())
	in := s.next % chunk
	switch {
	case s.next == 0:
		return 0
	case in == 0:
		return chunkStart(s.layout, s.next/chunk)
	}
	return chunkStart(s.layout, s.next/chunk) + chunkHeaderSize + in
}

// rawEnd returns where in the frame the plain bytes before stop end: with the tail of the frame if they are the last.
func (s *storedRun) rawEnd(stop int64) int64 {
	if stop == s.frame.PlainSize {
		return s.frame.Size
	}
	last := (stop - 1) / int64(s.layout.chunkSize())
	return chunkStart(s.layout, last) + chunkHeaderSize + stop - last*int64(s.layout.chunkSize())
}

// checkHeader checks the header of a chunk whose begin is not wanted.
func (s *storedRun) checkHeader() error {
	n := s.next / int64(s.layout.chunkSize())
	var got [chunkHeaderSize]byte
	if err := readFullAt(s.r, got[:], s.frame.Offset+chunkStart(s.layout, n)); err != nil {
		return s.frame.fail("reading it", err)
	}
	if got != headerOf(s.layout, n*int64(s.layout.chunkSize()), s.frame.PlainSize) {
		return errNotStored
	}
	return nil
}

// take makes the plain bytes in raw ready, which are those up to stop.
func (s *storedRun) take(raw []byte, stop int64) error {
	chunk := int64(s.layout.chunkSize())
	ready := s.ready[:0]
	next := s.next
	for next < stop {
		if next%chunk == 0 {
			want := headerOf(s.layout, next, s.frame.PlainSize)
			if !bytes.HasPrefix(raw, want[:]) {
				return errNotStored
			}
			raw = raw[chunkHeaderSize:]
		}
		n := min(chunk-next%chunk, stop-next)
		if s.sum != nil {
			s.sum.Write(raw[:n])
		}
		ready = append(ready, raw[:n])
		raw = raw[n:]
		next += n
	}
	if stop == s.frame.PlainSize && s.sum != nil && !s.sumFits(raw) {
		return s.frame.corrupt("the checksum of its content is wrong")
	}
	s.ready, s.next = ready, next
	return nil
}

// sumFits proves the checksum of the frame, whose tail is given.
func (s *storedRun) sumFits(tail []byte) bool {
	sum := s.sum.Sum32()
	if s.t.Format == Zstd && sum != s.frame.Sum {
		return false
	}
	return bytes.Equal(tail, s.layout.appendTail(nil, s.frame.PlainSize, sum))
}
