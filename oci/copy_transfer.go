package oci

import (
	"context"
	"errors"
	"io"
	"sync"
)

// transfer is the push of one blob to one place: it gives the sink the content and keeps account of it.
type transfer struct {
	c     *copier
	place *place

	mu      sync.Mutex // sinks read from goroutines of their own
	started bool       // the sink has opened the content
	pos     int64      // in the blob, where reading is
	fail    error      // of the source, since the content was opened last
}

// run pushes the blob, from one after the other of the repositories that should have it.
func (t *transfer) run(ctx context.Context) *CopyError {
	b := t.place.blob
	if err := t.c.lost(t.place.repo); err != nil {
		return &CopyError{Op: "push", Repository: t.place.repo, Digest: b.Digest, Err: err}
	}
	var first *CopyError
	tried := map[string]bool{} // hosts that failed in another way than by not giving this blob
	for _, from := range b.from {
		if tried[from.Host] {
			continue
		}
		err := t.pushFrom(ctx, t.source(), from)
		if err == nil || !err.Source || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, ErrGone) {
			return t.fetchBack(ctx, err)
		}
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrCorrupt) {
			tried[from.Host] = true
		}
		first = moreTelling(first, err)
		if t.c.stops(err) {
			return err
		}
	}
	return first
}

// source returns the source that the transfer reads from.
func (t *transfer) source() Source {
	if f := t.place.blob.fan; f != nil {
		return f.source(t.place.group.host)
	}
	return counted{t.c, t.c.src}
}

// counted is a source of which the bytes are counted that it gives.
type counted struct {
	c   *copier
	src Source
}

func (s counted) Open(ctx context.Context, from Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := s.src.Open(ctx, from, d, offset)
	if err != nil {
		return nil, err
	}
	return &countedReader{ReadCloser: r, c: s.c}, nil
}

type countedReader struct {
	io.ReadCloser
	c *copier
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 {
		r.c.mu.Lock()
		r.c.total.MovedBytes += int64(n)
		r.c.mu.Unlock()
	}
	return n, err
}

// moreTelling returns the one of two errors that says more: a blob that is wrong or a host that breaks off before one
// that lacks the blob.
func moreTelling(a, b *CopyError) *CopyError {
	if a == nil || errors.Is(a, ErrNotFound) && !errors.Is(b, ErrNotFound) {
		return b
	}
	return a
}

// fetchBack reads what the source cannot give again from a repository of the sink that has got it meanwhile.
func (t *transfer) fetchBack(ctx context.Context, gone *CopyError) *CopyError {
	back, ok := t.c.dst.(Source)
	if !ok {
		return gone
	}
	from, ok := t.c.holder(t.place.blob)
	if !ok {
		return gone
	}
	return t.pushFrom(ctx, counted{t.c, back}, from)
}

// holder returns a repository of the sink that has the blob.
func (c *copier) holder(b *blobTask) (Repository, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range b.places {
		if p.state == placeDone {
			return p.repo, true
		}
	}
	return Repository{}, false
}

func (t *transfer) pushFrom(ctx context.Context, src Source, from Repository) *CopyError {
	d := t.place.blob.Descriptor
	err := t.c.dst.Push(ctx, t.place.repo, d, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return t.open(ctx, src, from, offset)
	})
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil || errors.Is(err, ErrCorrupt) {
		return &CopyError{Op: "fetch", Source: true, Repository: from, Digest: d.Digest, Err: err}
	}
	return &CopyError{Op: "push", Repository: t.place.repo, Digest: d.Digest, Err: err}
}

// open is the [Content] of the transfer.
func (t *transfer) open(ctx context.Context, src Source, from Repository, offset int64) (io.ReadCloser, error) {
	t.begin(offset)
	r, err := src.Open(ctx, from, t.place.blob.Descriptor, offset)
	if err != nil {
		t.failed(ctx, err)
		return nil, err
	}
	return &transferReader{t: t, ctx: ctx, r: r}, nil
}

// begun reports whether the sink has opened the content.
func (t *transfer) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.started
}

// begin tells that reading starts, or goes on, at offset.
func (t *transfer) begin(offset int64) {
	t.c.mu.Lock()
	t.place.blob.opened = true
	t.c.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = nil
	if !t.started {
		t.started = true
		t.c.emitBlob(EventStart, t.place, nil)
	}
	if offset != t.pos {
		t.emit(EventResume, offset-t.pos)
		t.pos = offset
	}
}

func (t *transfer) emit(kind EventKind, bytes int64) {
	t.c.emit(Event{Kind: kind, Descriptor: t.place.blob.Descriptor, Repository: t.place.repo, Bytes: bytes})
}

// failed notes an error of the source, unless it comes from the reader having been called off.
func (t *transfer) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = err
}

func (t *transfer) advance(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pos += int64(n)
	t.emit(EventAdvance, int64(n))
}

// transferReader is the content while it is read.
type transferReader struct {
	t   *transfer
	ctx context.Context // of the Content call, which ends with the reader
	r   io.ReadCloser

	mu     sync.Mutex
	closed bool
}

func (r *transferReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.t.advance(n)
	}
	if err != nil && err != io.EOF && !r.isClosed() {
		r.t.failed(r.ctx, err)
	}
	return n, err
}

func (r *transferReader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close may come while a Read is under way, as net/http does it; the error that the Read then ends in is nobody's
// fault.
func (r *transferReader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	return r.r.Close()
}
