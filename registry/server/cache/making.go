package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ferry-oci/ferry/oci"
)

// making is a blob on its way into the folder.
type making struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when err and source are set
	err    error         // why it is not kept
	source error         // why the source did not give it; nil when that is not the reason

	users int // under the lock of the cache

	mu   sync.Mutex
	news chan struct{} // closed when more bytes may be there
}

// next returns a channel that is closed when more bytes may be there than now.
func (m *making) next() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.news
}

// over reports whether the making has ended.
func (m *making) over() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

func (m *making) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.news)
	m.news = make(chan struct{})
}

// join returns the making of d, and begins it if nobody has. Whoever has it calls leave. It is nil when d is not to be
// kept.
func (s *source) join(ctx context.Context, from oci.Repository, d oci.Descriptor) (*making, error) {
	for {
		m, over := s.cache.join(s, from, d)
		if over == nil {
			return m, nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// join is join of a source, without waiting: over is closed when it can be tried again, because an earlier making that
// everybody has left is ending.
func (c *Cache) join(s *source, from oci.Repository, d oci.Descriptor) (m *making, over <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.makings[d.Digest]; m != nil {
		if m.users == 0 {
			return nil, m.ended
		}
		m.users++
		return m, nil
	}
	here := c.find(d.Digest) >= 0
	if !here && (time.Now().Before(c.paused) || !c.makeRoom(d.Size)) || c.ctx.Err() != nil {
		return nil, nil
	}
	if !here {
		c.blobs = append(c.blobs, entry{d.Digest, d.Size})
	}
	m = &making{ended: make(chan struct{}), users: 1, news: make(chan struct{})}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(c.ctx)
	c.makings[d.Digest] = m
	c.work.Go(func() { c.make(ctx, m, s, from, d) })
	return m, nil
}

// leave ends what join began. Without users the making is called off, unless the last of them has read all of it: then it
// only has to be proven.
func (c *Cache) leave(m *making, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.users--; m.users == 0 && !all {
		m.cancel()
	}
}

// make brings d into the folder.
func (c *Cache) make(ctx context.Context, m *making, s *source, from oci.Repository, d oci.Descriptor) {
	defer m.cancel()
	m.err = c.store.Push(ctx, from, d, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		r, err := s.Source.Open(ctx, from, d, offset)
		if err != nil {
			m.source = err
			return nil, err
		}
		return &told{ReadCloser: r, making: m}, nil
	})
	if m.err != nil && m.source == nil && errors.Is(m.err, oci.ErrCorrupt) {
		m.source = m.err
	}
	if m.err != nil {
		m.err = errors.Join(m.err, c.store.DropPart(d))
	}
	c.mu.Lock()
	delete(c.makings, d.Digest)
	if m.err != nil {
		c.remove(d.Digest)
	}
	unkept := m.err != nil && m.source == nil && ctx.Err() == nil
	if unkept {
		c.paused = time.Now().Add(pause)
	}
	c.mu.Unlock()
	if unkept {
		c.failed(fmt.Errorf("nothing more is kept in %s for a minute: %w", c.store.Dir(), m.err))
	}
	close(m.ended)
}

// told is the content of a blob as the folder gets it. Followers hear of it.
type told struct {
	io.ReadCloser
	making *making
}

// Read gives the next bytes. Those that it gave before may be in the file by now.
func (t *told) Read(p []byte) (int, error) {
	t.making.tell()
	n, err := t.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.making.source = err
	}
	return n, err
}

// follower reads a blob while it is made.
type follower struct {
	source *source
	ctx    context.Context // of Open; the reader is waited for like the call that opened it
	making *making         // nil after Close
	from   oci.Repository
	want   oci.Descriptor
	at     int64 // offset of the next byte

	file *os.File      // with what is there; nil as long as there is none
	rest io.ReadCloser // what is read instead, from at on, when the blob could not be kept
}

// wait waits until the byte at f.at can be read.
func (f *follower) wait() error {
	for f.at < f.want.Size && f.rest == nil {
		news, ended := f.making.next(), f.making.over()
		switch {
		case f.there(ended):
			return nil
		case ended:
			return f.instead()
		}
		select {
		case <-news:
		case <-f.making.ended:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// there reports whether the file has the byte at f.at.
func (f *follower) there(ended bool) bool {
	if f.file == nil {
		open := f.source.cache.store.OpenPart
		if ended && f.making.err == nil {
			open = f.source.cache.store.OpenBlob
		}
		file, err := open(f.want)
		if err != nil {
			return false
		}
		f.file = file
	}
	info, err := f.file.Stat()
	return err == nil && info.Size() > f.at
}

// instead reads on at the source, as the folder does not give the blob. If that is so because the source did not give it, the
// error is returned.
func (f *follower) instead() (err error) {
	if f.making.over() && f.making.source != nil {
		return f.making.source
	}
	f.rest, err = f.source.Source.Open(f.ctx, f.from, f.want, f.at)
	return err
}

// Read gives the next bytes, as soon as there are some.
func (f *follower) Read(p []byte) (int, error) {
	if f.making == nil {
		return 0, os.ErrClosed
	}
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if f.at == f.want.Size && f.rest == nil {
		return 0, f.end()
	}
	if err := f.wait(); err != nil {
		return 0, err
	}
	if f.rest == nil {
		n, _ := f.file.ReadAt(p[:min(int64(len(p)), f.want.Size-f.at)], f.at)
		if f.at += int64(n); n > 0 || len(p) == 0 {
			return n, nil
		}
		if err := f.instead(); err != nil { // the disk does not give what was there
			return 0, err
		}
	}
	n, err := f.rest.Read(p)
	f.at += int64(n)
	return n, err
}

// end waits until the blob is proven, all of which was read. Then it returns io.EOF.
func (f *follower) end() error {
	select {
	case <-f.making.ended:
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
	if f.making.err != nil && f.making.source != nil {
		return f.making.source
	}
	return io.EOF
}

// Close ends the reading.
func (f *follower) Close() error {
	if f.making == nil {
		return nil
	}
	f.source.cache.leave(f.making, f.at == f.want.Size)
	f.making = nil
	var err error
	if f.file != nil {
		err = f.file.Close()
	}
	if f.rest != nil {
		err = errors.Join(err, f.rest.Close())
	}
	return err
}
