package compress

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A frameCache holds the plain bytes of frames that were decoded last, so that many small members of one frame cost
// one decoding. Whoever wants a frame that is being decoded waits for it. Frames are held by those who copy from them
// and, while there is room, after that.
//
// Where more want different frames than there is room for, each would drop the frame that another is about to go on with. So
// who has read a part of a frame claims it: for frameTurn it is not dropped for others, who wait.
type frameCache struct {
	decode func(ctx context.Context, f Frame, dst []byte) ([]byte, error)
	room   *semaphore.Weighted // bytes of plain frames
	slots  chan struct{}       // one for each frame that is being decoded
	bufs   sync.Pool           // of *[]byte

	mu      sync.Mutex
	frames  map[int]*cached
	idle    *list.List // of *cached that nobody holds, the longest idle first
	waiting int        // how many wait for room
}

// cached is a frame in the cache. plain and err are set when ready is closed.
type cached struct {
	frame Frame
	ready chan struct{}
	plain []byte
	err   error
	refs  int
	place *list.Element // in idle

	claims  int       // how many have read a part of it and go on
	decoded time.Time // when that was done
}

// frameTurn is how long after its decoding a frame is left to those who read it when others wait for its room.
const frameTurn = 2 * time.Second

// spared reports whether e is not dropped for others.
func (e *cached) spared() bool { return e.claims > 0 && time.Since(e.decoded) < frameTurn }

// newFrameCache returns a cache of at most o.MaxMemory bytes of plain frames, of which none has more than largest.
func newFrameCache(o ReaderOptions, largest int64) *frameCache {
	return &frameCache{
		room:   semaphore.NewWeighted(max(o.MaxMemory, largest)),
		slots:  make(chan struct{}, o.Jobs),
		frames: map[int]*cached{},
		idle:   list.New(),
	}
}

// hold returns frame f decoded. The caller gives it back with release, soon: it must not wait for anything else of
// this cache before that.
func (c *frameCache) hold(ctx context.Context, f Frame) (*cached, error) {
	for {
		e, mine := c.entry(f)
		if mine {
			c.fill(ctx, e)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			c.release(e)
			return nil, ctx.Err()
		}
		if e.err == nil {
			return e, nil
		}
		err := e.err
		c.release(e)
		// Another's context may have ended where mine goes on.
		if canceled := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded); mine || !canceled {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// entry returns the entry of f, held, and whether it is for the caller to fill it.
func (c *frameCache) entry(f Frame) (e *cached, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.frames[f.Number]; e == nil {
		e = &cached{frame: f, ready: make(chan struct{})}
		c.frames[f.Number] = e
		mine = true
	}
	if e.place != nil {
		c.idle.Remove(e.place)
		e.place = nil
	}
	e.refs++
	return e, mine
}

// fill decodes the frame of e.
func (c *frameCache) fill(ctx context.Context, e *cached) {
	e.plain, e.err = c.load(ctx, e.frame)
	e.decoded = time.Now()
	if e.err != nil {
		c.mu.Lock()
		delete(c.frames, e.frame.Number) // the next one tries again
		c.mu.Unlock()
	}
	close(e.ready)
}

func (c *frameCache) load(ctx context.Context, f Frame) ([]byte, error) {
	if err := c.acquire(ctx, f.PlainSize); err != nil {
		return nil, err
	}
	plain, err := c.decodeOne(ctx, f)
	if err != nil {
		c.room.Release(f.PlainSize)
	}
	return plain, err
}

func (c *frameCache) decodeOne(ctx context.Context, f Frame) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.decode(ctx, f, c.buffer(int(f.PlainSize)+decodeRoom))
}

// acquire waits for room for n bytes; idle frames make it.
func (c *frameCache) acquire(ctx context.Context, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.room.TryAcquire(n) {
		if e := c.spare(); e != nil {
			c.drop(e)
			continue
		}
		if c.wait(ctx, n) == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// wait waits, without the lock, for room for n bytes, but not longer than until what is there now may be dropped.
func (c *frameCache) wait(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, frameTurn)
	defer cancel()
	c.waiting++
	c.mu.Unlock()
	err := c.room.Acquire(ctx, n)
	c.mu.Lock()
	c.waiting--
	return err
}

// spare returns an idle frame that can be dropped: one that nobody claims rather than another, or nil.
func (c *frameCache) spare() (claimed *cached) {
	for at := c.idle.Front(); at != nil; at = at.Next() {
		e := at.Value.(*cached)
		if e.claims == 0 {
			return e
		}
		if claimed == nil && !e.spared() {
			claimed = e
		}
	}
	return claimed
}

// claim says that who holds e goes on with it, until unclaim.
func (c *frameCache) claim(e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.claims++
}

func (c *frameCache) unclaim(e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.claims--; e.claims == 0 && e.place != nil && c.waiting > 0 {
		c.drop(e)
	}
}

// release gives e back.
func (c *frameCache) release(e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.refs--; e.refs > 0 || e.plain == nil {
		return
	}
	e.place = c.idle.PushBack(e)
	if c.waiting > 0 && !e.spared() {
		c.drop(e)
	}
}

// drop takes the idle frame e out of the cache.
func (c *frameCache) drop(e *cached) {
	c.idle.Remove(e.place)
	e.place = nil
	delete(c.frames, e.frame.Number)
	c.room.Release(e.frame.PlainSize)
	c.bufs.Put(&e.plain)
}

// buffer returns memory of at least n bytes.
func (c *frameCache) buffer(n int) []byte {
	if b, ok := c.bufs.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:0]
	}
	return make([]byte, 0, n)
}
