package compress

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

// A Spool holds the bytes of a long frame as long as other frames are before it. It is written from its begin to its
// end, read at any place meanwhile, and closed once, which gives its room back.
type Spool interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// TempSpool returns a function that makes spools of temporary files in dir, "" being os.TempDir. They are gone when
// they are closed and, where the system allows it, when the process ends in whatever way.
func TempSpool(dir string) func() (Spool, error) {
	return func() (Spool, error) {
		f, err := os.CreateTemp(dir, ".ferry-spool-*")
		if err != nil {
			return nil, err
		}
		// Windows does not remove an open file; there Close does it.
		return &tempSpool{File: f, removed: os.Remove(f.Name()) == nil}, nil
	}
}

type tempSpool struct {
	*os.File
	removed bool
}

// Close closes the file and removes it.
func (s *tempSpool) Close() error {
	err := s.File.Close()
	if !s.removed {
		if rerr := os.Remove(s.Name()); err == nil {
			err = rerr
		}
	}
	return err
}

// relayStep is how many bytes of a spool are copied at a time.
const relayStep = 256 << 10

// A relay takes the bytes of one long frame from its encoder: into a spool until it is the turn of the frame, and
// straight into the file from then on. Without a spool the encoder waits for the turn.
type relay struct {
	ctx  context.Context       // ends the waiting
	open func() (Spool, error) // nil without a spool
	turn chan struct{}         // closed when the turn has come

	mu    sync.Mutex
	spool Spool
	size  int64     // bytes in spool
	file  io.Writer // set when the turn has come
}

func newRelay(ctx context.Context, open func() (Spool, error)) *relay {
	return &relay{ctx: ctx, open: open, turn: make(chan struct{})}
}

// Write is for the encoder.
func (r *relay) Write(p []byte) (int, error) {
	if r.open == nil {
		select {
		case <-r.turn:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		return r.file.Write(p)
	}
	if r.spool == nil {
		s, err := r.open()
		if err != nil {
			return 0, fmt.Errorf("spool: %w", err)
		}
		r.spool = s
	}
	n, err := r.spool.Write(p)
	r.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("spool: %w", err)
	}
	return n, nil
}

// begin gives the frame its turn: it writes to w what is spooled and lets the encoder write there from then on.
func (r *relay) begin(w io.Writer) error {
	for done := int64(0); ; {
		r.mu.Lock()
		if r.size == done {
			r.file = w
			close(r.turn)
			r.mu.Unlock()
			return r.close()
		}
		size := r.size
		r.mu.Unlock() // the encoder goes on while this copies
		if err := r.copyTo(w, done, size); err != nil {
			return err
		}
		done = size
	}
}

// copyTo writes to w the bytes of the spool from off to end.
func (r *relay) copyTo(w io.Writer, off, end int64) error {
	buf := make([]byte, min(relayStep, end-off))
	for off < end {
		p := buf[:min(int64(len(buf)), end-off)]
		if err := readFullAt(r.spool, p, off); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// close gives the spool back, if there is one.
func (r *relay) close() error {
	r.mu.Lock()
	s := r.spool
	r.spool = nil
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}
