package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"
)

const (
	// fanWindow is how far those who read a blob together may be apart, in bytes: what a fan keeps in memory.
	fanWindow = 1 << 20
	// defaultPatience is how long a host may hold up the others, see CopyOptions.Patience.
	defaultPatience = 10 * time.Second
	// idleWindows is how much all windows have together that are kept for groups which have not begun yet, in bytes. Hosts
	// differ in pace; the more is kept, the further one may be behind until it has to read by itself.
	idleWindows = 32 << 20
)

// fan lets several hosts of the sink read a blob together, so that the source gives it once. Each takes the bytes at its
// own pace, as far as the window reaches: the source is read on when the slowest has room for it.
//
// Nobody has to stay together. A host that comes late, or again at another place after its upload broke, reads with the
// others where the window has its place, and else by itself; one that holds the others up for too long is left behind and
// goes on by itself from where it is; one that fails is gone, and the others do not notice.
type fan struct {
	c *copier
	d Descriptor

	mu      sync.Mutex
	changed *sync.Cond
	waiting map[string]bool // groups that may yet begin to read
	now     *reading        // nil when nobody reads
}

// fans is what the fans of one copy share.
type fans struct {
	readings sync.WaitGroup

	mu        sync.Mutex
	lagging   map[string]bool // groups that were left behind last time, and are not waited for
	idle      []*fan          // that nobody reads, and that keep what they have for a group that may; the oldest first
	idleBytes int64
}

func newFan(c *copier, b *blobTask) *fan {
	f := &fan{c: c, d: b.Descriptor, waiting: map[string]bool{}}
	f.changed = sync.NewCond(&f.mu)
	for _, g := range b.groups {
		f.waiting[g.host] = true
	}
	return f
}

// source returns the source from which the group reads.
func (f *fan) source(group string) Source { return fanSource{f, group} }

type fanSource struct {
	f     *fan
	group string
}

func (s fanSource) Open(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	if m := s.f.join(ctx, s.group, from, offset); m != nil {
		return m, nil
	}
	return s.f.alone().Open(ctx, from, d, offset)
}

// alone returns the source for those who read by themselves.
func (f *fan) alone() Source { return counted{f.c, f.c.src} }

// join returns a reader that reads with the others, or nil when the group is to read by itself.
func (f *fan) join(ctx context.Context, group string, from Repository, offset int64) *fanReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.changed.Broadcast() // there may be room now
	delete(f.waiting, group)
	if f.now == nil {
		if len(f.waiting) == 0 {
			return nil
		}
		f.begin(ctx, from, offset)
	}
	r := f.now
	if r.from != from || r.err != nil || offset < r.base || offset > r.head {
		return nil
	}
	m := &fanReader{f: f, r: r, ctx: ctx, group: group, pos: offset}
	r.readers[m] = true
	m.unwatch = context.AfterFunc(ctx, f.wake)
	return m
}

func (f *fan) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// leave tells that the group is not going to read, as far as is known. The nil fan takes it.
func (f *fan) leave(group string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	delete(f.waiting, group)
	idle := f.tidy()
	f.mu.Unlock()
	f.c.fans.keep(f, idle)
}

// tidy ends a reading that nobody needs, and reports whether there is one that only those need who have not begun. The
// caller holds f.mu.
func (f *fan) tidy() (idle bool) {
	f.changed.Broadcast()
	if f.now == nil || len(f.now.readers) > 0 {
		return false
	}
	if len(f.waiting) > 0 && f.now.err == nil && f.now.base == f.now.start { // else it is of no use to them
		return true
	}
	f.now.cancel()
	f.now = nil
	return false
}

// keep notes a fan that keeps its window for others, when it is idle. When there are too many, the oldest give theirs up.
func (s *fans) keep(f *fan, idle bool) {
	if !idle {
		return
	}
	s.mu.Lock()
	s.idle = append(s.idle, f)
	s.idleBytes += f.windowSize()
	var old []*fan
	for s.idleBytes > idleWindows {
		old = append(old, s.idle[0])
		s.idleBytes -= s.idle[0].windowSize()
		s.idle = s.idle[1:]
	}
	s.mu.Unlock()
	for _, f := range old {
		f.forgetIdle()
	}
}

// windowSize returns how large the window of the fan is at the most, in bytes.
func (f *fan) windowSize() int64 { return min(f.d.Size, fanWindow) }

// forgetIdle waits for nobody any more, unless somebody has begun to read meanwhile.
func (f *fan) forgetIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil && len(f.now.readers) == 0 {
		clear(f.waiting)
		f.tidy()
	}
}

func (s *fans) lags(group string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lagging[group]
}

func (s *fans) setLagging(group string, lags bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lagging == nil {
		s.lagging = map[string]bool{}
	}
	s.lagging[group] = lags
}

// closeFans ends all readings and waits for their ends.
func (c *copier) closeFans() {
	for _, b := range c.blobs {
		if b.fan != nil {
			b.fan.close()
		}
	}
	c.fans.readings.Wait()
}

// close ends what still reads, whoever needs it.
func (f *fan) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.waiting)
	if f.now != nil {
		f.now.cancel()
	}
	f.changed.Broadcast()
}

// reading is one reading of the content of a fan from one repository. It is guarded by the mutex of the fan.
type reading struct {
	f       *fan
	from    Repository
	cancel  context.CancelFunc
	readers map[*fanReader]bool

	window     []byte // byte i of the blob is at i modulo its length
	start      int64  // where it began
	base, head int64  // the window has what stands between them
	err        error  // that the source ended with, early

	began time.Time
	held  map[string]time.Duration // how long each group has held up others, in all
	still map[string]time.Duration // and since it has read anything
}

// begin starts to read. The caller holds f.mu.
func (f *fan) begin(ctx context.Context, from Repository, offset int64) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the reader that came first
	r := &reading{
		f: f, from: from, cancel: cancel, readers: map[*fanReader]bool{},
		window: make([]byte, min(f.d.Size-offset, fanWindow)), start: offset, base: offset, head: offset,
		began: time.Now(), held: map[string]time.Duration{}, still: map[string]time.Duration{},
	}
	f.now = r
	f.c.fans.readings.Go(func() { r.run(ctx) })
}

// run reads the source to its end, or until nobody needs it.
func (r *reading) run(ctx context.Context) {
	src, err := r.f.alone().Open(ctx, r.from, r.f.d, r.start)
	if err != nil {
		r.end(err)
		return
	}
	defer src.Close()
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	for at := r.start; at < r.f.d.Size; {
		n, err := src.Read((*chunk)[:min(chunkSize, r.f.d.Size-at)])
		at += int64(n)
		if !r.put(ctx, (*chunk)[:n]) {
			return
		}
		if err != nil && (err != io.EOF || at < r.f.d.Size) {
			r.end(err)
			return
		}
	}
}

func (r *reading) end(err error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.err = err
	r.f.changed.Broadcast()
}

// put adds bytes to the window as there is room, and reports whether anybody wants more.
func (r *reading) put(ctx context.Context, p []byte) bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	for len(p) > 0 {
		if ctx.Err() != nil { // it may have ended while the source was read, and nobody tells of it again
			return false
		}
		room := r.room()
		if room == 0 {
			r.wait()
			continue
		}
		for part := p[:min(int64(len(p)), room)]; len(part) > 0; {
			n := copy(r.window[r.head%int64(len(r.window)):], part)
			part, p = part[n:], p[n:]
			r.head += int64(n)
			r.base = max(r.base, r.head-int64(len(r.window)))
			r.f.changed.Broadcast()
		}
	}
	return true
}

// slowest returns the place that the window must not pass, and the groups that are there. Those that lag do not count,
// unless nobody else is there.
func (r *reading) slowest() (low int64, groups []string) {
	at := map[string]int64{}
	for group := range r.f.waiting {
		at[group] = r.start
	}
	for m := range r.readers {
		if pos, ok := at[m.group]; !ok || m.pos < pos {
			at[m.group] = m.pos
		}
	}
	for _, lagging := range []bool{false, true} {
		low = r.head
		for group, pos := range at {
			if pos < r.base || r.f.c.fans.lags(group) != lagging { // what the window has passed is lost already
				continue
			}
			if pos < low {
				low, groups = pos, nil
			}
			if pos == low {
				groups = append(groups, group)
			}
		}
		if len(groups) > 0 {
			return low, groups
		}
	}
	return low, nil
}

// room returns how many bytes can be added to the window.
func (r *reading) room() int64 {
	low, groups := r.slowest()
	if len(groups) == 0 { // for whom?
		return 0
	}
	return int64(len(r.window)) - (r.head - low)
}

// wait waits for room. Groups that have held up others for too long are left behind.
func (r *reading) wait() {
	_, slow := r.slowest()
	if !r.starves() {
		r.f.changed.Wait()
		return
	}
	left := r.f.c.o.Patience
	for _, group := range slow {
		left = min(left, r.left(group))
	}
	timer := time.AfterFunc(left, r.f.wake)
	defer timer.Stop()
	began := time.Now()
	r.f.changed.Wait()
	for _, group := range slow {
		r.hold(group, time.Since(began))
		if r.left(group) <= 0 {
			r.leaveBehind(group)
		}
	}
}

// starves reports whether somebody who does not lag has read all that there is.
func (r *reading) starves() bool {
	for m := range r.readers {
		if m.pos == r.head && !r.f.c.fans.lags(m.group) {
			return true
		}
	}
	return false
}

// hold notes that the group has held up others.
func (r *reading) hold(group string, d time.Duration) {
	r.held[group] += d
	r.still[group] += d
}

// left returns how much longer the group may hold up others: no longer than Patience when it stands still, and in all
// that and three times as long as everything else has taken.
func (r *reading) left(group string) time.Duration {
	patience, held := r.f.c.o.Patience, r.held[group]
	return min(patience-r.still[group], patience+3*(time.Since(r.began)-held)-held)
}

func (r *reading) leaveBehind(group string) {
	r.f.c.fans.setLagging(group, true)
	delete(r.f.waiting, group)
	for m := range r.readers {
		if m.group == group {
			delete(r.readers, m)
			m.left = true
		}
	}
	r.f.changed.Broadcast() // those who starve are still there
	r.f.c.emit(Event{Kind: EventLeftBehind, Descriptor: r.f.d, Repository: Repository{Host: group}})
}

// fanReader is the content of a fan as one group reads it.
type fanReader struct {
	f       *fan
	r       *reading
	ctx     context.Context // of the call to Open, which ends with the reader
	group   string
	unwatch func() bool

	// guarded by f.mu
	pos    int64
	left   bool          // it reads by itself
	own    io.ReadCloser // then
	closed bool
}

func (m *fanReader) Read(p []byte) (int, error) {
	n, err := m.share(p)
	if err != errLeftBehind {
		return n, err
	}
	own, err := m.alone()
	if err != nil {
		return 0, err
	}
	n, err = own.Read(p)
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.pos += int64(n)
	return n, err
}

// errLeftBehind tells a reader that the others have gone on without it.
var errLeftBehind = errors.New("left behind")

// share reads what the window has, or waits for it.
func (m *fanReader) share(p []byte) (int, error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	for r := m.r; ; m.f.changed.Wait() {
		switch {
		case m.closed:
			return 0, fs.ErrClosed
		case m.ctx.Err() != nil:
			return 0, context.Cause(m.ctx)
		case m.left, m.pos < r.base:
			m.left = true
			delete(r.readers, m)
			m.f.tidy()
			return 0, errLeftBehind
		case m.pos < r.head:
			at := m.pos % int64(len(r.window))
			n := copy(p, r.window[at:min(int64(len(r.window)), at+r.head-m.pos)])
			m.pos += int64(n)
			r.still[m.group] = 0
			m.f.changed.Broadcast()
			return n, nil
		case r.err != nil:
			return 0, r.err
		case m.pos == m.f.d.Size:
			return 0, io.EOF
		}
	}
}

// alone returns the content from where the reader is.
func (m *fanReader) alone() (io.ReadCloser, error) {
	m.f.mu.Lock()
	own, pos := m.own, m.pos
	m.f.mu.Unlock()
	if own != nil {
		return own, nil
	}
	own, err := m.f.alone().Open(m.ctx, m.r.from, m.f.d, pos)
	if err != nil {
		return nil, err
	}
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if m.closed {
		own.Close()
		return nil, fs.ErrClosed
	}
	m.own = own
	return own, nil
}

// Close may come while a Read is under way.
func (m *fanReader) Close() error {
	m.unwatch()
	m.f.mu.Lock()
	m.closed = true
	own := m.own
	if m.pos == m.f.d.Size && !m.left {
		m.f.c.fans.setLagging(m.group, false)
	}
	delete(m.r.readers, m)
	idle := m.f.tidy()
	m.f.mu.Unlock()
	m.f.c.fans.keep(m.f, idle)
	if own != nil {
		return own.Close()
	}
	return nil
}
