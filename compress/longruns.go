package compress

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// longMemory is about how many bytes the decoding of a long frame takes: a window, and buffers.
const longMemory = MaxWindow + 3<<20

// longPatience is how long a decoder that somebody has, and does not use, is left to him when others wait.
const longPatience = time.Second

// A longRun decodes a long frame and stands somewhere in it.
type longRun struct {
	holder atomic.Pointer[rangeReader] // who has it

	mu     sync.Mutex // held by the holder while he reads
	used   time.Time  // when that ended
	stream *stream
	ahead  *readAhead // of stream
	frame  Frame
	pos    int64 // in the frame, of the plain byte that comes next
}

// newLongRun returns a run that has not begun.
func (d *Decoder) newLongRun() *longRun {
	return &longRun{stream: d.newStream(), ahead: newReadAhead(nil)}
}

// lock locks the run for its holder h. It reports false when h does not have it any more.
func (r *longRun) lock(h *rangeReader) bool {
	if r.holder.Load() != h {
		return false
	}
	r.mu.Lock()
	if r.holder.Load() == h {
		return true
	}
	r.mu.Unlock()
	return false
}

// unlock ends what lock began.
func (r *longRun) unlock() {
	r.used = time.Now()
	r.mu.Unlock()
}

// start begins with frame f, whose bytes in the file come from raw. What it starts ends with ctx.
func (r *longRun) start(ctx context.Context, f Frame, raw io.Reader) {
	r.ahead.rest()
	r.stream.start(ctx, f, raw)
	r.ahead.restart(r.stream)
	r.frame, r.pos = f, 0
}

// Read gives the next bytes of the frame, and what stream.Read says at its end.
func (r *longRun) Read(p []byte) (int, error) {
	n, err := r.ahead.Read(p)
	r.pos += int64(n)
	return n, r.noted(err)
}

// skipTo goes on to the offset at of the frame, which is not behind.
func (r *longRun) skipTo(ctx context.Context, at int64) error {
	for r.pos < at {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ahead.discard(at - r.pos)
		r.pos += n
		if err != nil {
			return r.noted(err)
		}
	}
	return nil
}

// end returns what is wrong with the frame, all of whose plain bytes were read.
func (r *longRun) end() error {
	n, err := r.ahead.discard(1)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case n > 0:
		panic("a stream gave more than its frame has")
	}
	return r.noted(err)
}

// noted lets the next one begin again after an error that may not come twice.
func (r *longRun) noted(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) {
		r.frame = Frame{}
	}
	return err
}

// longRuns are the decoders of the long frames of a file. One that is given back goes on standing where it is, so that
// ranges that are read one after the other cost one decoding of their frame.
type longRuns struct {
	begin    func(*longRun, Frame)
	fresh    func() *longRun
	patience time.Duration

	mu      sync.Mutex
	room    int        // how many more runs may be made
	idle    []*longRun // the longest idle first
	taken   []*longRun
	waiting []*waiter // the longest waiting first
}

// waiter waits for a run to read frame from its offset at on.
type waiter struct {
	frame Frame
	at    int64
	run   chan *longRun
}

// take returns a run that stands at the offset at of frame f, locked for h, who gives it back with give. It waits while
// as many runs as there may be are in use.
func (l *longRuns) take(ctx context.Context, h *rangeReader, f Frame, at int64) (*longRun, error) {
	r, err := l.wait(ctx, f, at)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.holder.Store(h)
	if r.frame != f || r.pos > at {
		l.begin(r, f)
	}
	if err := r.skipTo(ctx, at); err != nil {
		l.give(r)
		return nil, err
	}
	return r, nil
}

// wait returns the run that is nearest to what is wanted. Nobody holds it.
func (l *longRuns) wait(ctx context.Context, f Frame, at int64) (*longRun, error) {
	l.mu.Lock()
	if r := l.free(f, at); r != nil {
		l.mu.Unlock()
		return r, nil
	}
	w := &waiter{f, at, make(chan *longRun, 1)}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	look := time.NewTicker(l.patience)
	defer look.Stop()
	for {
		select {
		case r := <-w.run:
			return r, nil
		case <-look.C:
			if r := l.rob(w); r != nil {
				return r, nil
			}
		case <-ctx.Done():
			if r := l.leave(w); r != nil {
				r.mu.Lock()
				l.give(r)
			}
			return nil, ctx.Err()
		}
	}
}

// leave ends the waiting of w, and returns the run that came meanwhile.
func (l *longRuns) leave(w *waiter) *longRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(o *waiter) bool { return o == w })
	select {
	case r := <-w.run:
		return r
	default:
		return nil
	}
}

// rob takes away a run whose holder has not used it for long: he may wait for the very one that waits here. When he
// goes on he has to take one again.
func (l *longRuns) rob(w *waiter) *longRun {
	if r := l.leave(w); r != nil {
		return r
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.taken {
		if !r.mu.TryLock() {
			continue
		}
		unused := r.holder.Load() != nil && time.Since(r.used) >= l.patience
		if unused {
			r.holder.Store(nil)
		}
		r.mu.Unlock()
		if unused {
			return r
		}
	}
	l.waiting = append(l.waiting, w)
	return nil
}

// free takes a run that nobody has: the nearest before what is wanted, a new one, or the one that is idle for longest.
func (l *longRuns) free(f Frame, at int64) *longRun {
	best := -1
	for i, r := range l.idle {
		if r.frame == f && r.pos <= at && (best < 0 || r.pos > l.idle[best].pos) {
			best = i
		}
	}
	var r *longRun
	switch {
	case best < 0 && l.room > 0:
		l.room--
		r = l.fresh()
	case best < 0 && len(l.idle) == 0:
		return nil
	default:
		best = max(best, 0)
		r = l.idle[best]
		l.idle = slices.Delete(l.idle, best, best+1)
	}
	l.taken = append(l.taken, r)
	return r
}

// give takes the locked run r back, for who waits for the bytes next ahead of it, or else waits for longest.
func (l *longRuns) give(r *longRun) {
	r.ahead.rest()
	r.holder.Store(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer r.mu.Unlock()
	if len(l.waiting) == 0 {
		l.taken = slices.DeleteFunc(l.taken, func(o *longRun) bool { return o == r })
		l.idle = append(l.idle, r)
		return
	}
	next := 0
	for i, w := range l.waiting {
		n := l.waiting[next]
		ahead := w.frame == r.frame && w.at >= r.pos
		if ahead && (n.frame != r.frame || n.at < r.pos || w.at < n.at) {
			next = i
		}
	}
	l.waiting[next].run <- r
	l.waiting = slices.Delete(l.waiting, next, next+1)
}
