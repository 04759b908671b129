package registry

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	// burst is how far back a pacer makes up for time in which it was not asked: what the sleeps of a busy machine lose.
	burst = 50 * time.Millisecond
	// leastSleep is the shortest sleep that is worth it; what is shorter adds up.
	leastSleep = 5 * time.Millisecond
	// pieceTime is how long one piece of a limited transfer may take, so that the line is used evenly.
	pieceTime  = 250 * time.Millisecond
	leastPiece = 512 // bytes
)

// pacer lets things happen one after the other, each of which takes its time.
type pacer struct {
	mu   sync.Mutex
	next time.Time // when the last one ends
}

// take adds one that takes so long, and returns how long it is until it begins, and until it ends.
func (p *pacer) take(now time.Time, long time.Duration) (begins, ends time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-burst); p.next.Before(earliest) {
		p.next = earliest
	}
	begins = p.next.Sub(now)
	p.next = p.next.Add(long)
	return begins, p.next.Sub(now)
}

// line is what all transfers of a client share: so many bytes a second in all.
type line struct {
	rate  int64 // 0 is any number
	pacer pacer
	clock clock
}

// cut returns the part of p that may be filled in one piece.
func (l *line) cut(p []byte) []byte {
	if l.rate <= 0 {
		return p
	}
	most := max(leastPiece, int(float64(l.rate)*pieceTime.Seconds()))
	return p[:min(len(p), most)]
}

// wait waits until n bytes have gone through the line, or ctx ends, as the next step then finds out.
func (l *line) wait(ctx context.Context, n int) {
	if l.rate <= 0 || n <= 0 {
		return
	}
	_, ends := l.pacer.take(l.clock.now(), time.Duration(float64(n)/float64(l.rate)*float64(time.Second)))
	if ends >= leastSleep {
		_ = l.clock.sleep(ctx, ends)
	}
}

// flow is a body, of a request or of an answer, that goes through the line. It tells its gate that something moves.
type flow struct {
	io.ReadCloser
	ctx  context.Context // of the request
	line *line
	gate *gate
	over func(error) // called when the body ended, with nil for its end; nil is fine
}

func (f *flow) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(f.line.cut(p))
	if n > 0 {
		f.gate.moved.Add(1)
		f.line.wait(f.ctx, n)
	}
	if err != nil && f.over != nil {
		if err == io.EOF {
			f.over(nil)
		} else {
			f.over(err)
		}
	}
	return n, err
}

func (f *flow) Close() error {
	err := f.ReadCloser.Close()
	if f.over != nil {
		f.over(nil)
	}
	return err
}
