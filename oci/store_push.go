package oci

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci/durable"
)

// Push stores the content of the blob d. The blob takes its name after its size and digest have been checked; then
// Push returns.
//
// A part of d that an earlier try left is hashed and the content opened where it ends. When reading the content or
// ctx ends in an error, what came is kept for the next Push, of this run or of a later one. Content that does not match
// is a [*DigestError] and is not kept, neither as a blob nor as a part; if it stood on a part of an earlier try, it is
// read once more from the start, because the part may be what was wrong.
//
// A blob that is there already is not read again: what an earlier run left is hashed first. A full disk is an error
// for which errors.Is(err, syscall.ENOSPC) holds.
func (s *Store) Push(ctx context.Context, _ Repository, d Descriptor, content Content) error {
	path, err := s.path(d)
	if err != nil {
		return err
	}
	release, err := s.claim(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer release()
	if err := s.Recheck(ctx, d); err == nil {
		return nil
	} else if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	p, err := s.openPart(d)
	if err != nil {
		return err
	}
	if err := p.fill(ctx, content); err != nil {
		return errors.Join(err, p.leave(err))
	}
	if err := s.name(p, path); err != nil {
		return err
	}
	s.setFresh(d, true)
	return nil
}

// claim waits until no other push of the digest is under way and returns the function that ends this one.
func (s *Store) claim(ctx context.Context, dgst digest.Digest) (release func(), err error) {
	mine := make(chan struct{})
	for {
		s.mu.Lock()
		other := s.pushing[dgst]
		if other == nil {
			s.pushing[dgst] = mine
		}
		s.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() {
		s.mu.Lock()
		delete(s.pushing, dgst)
		s.mu.Unlock()
		close(mine)
	}, nil
}

// name gives the whole blob its name.
func (s *Store) name(p *part, path string) error {
	if err := p.f.Close(); err != nil {
		return err
	}
	if err := s.mark(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Rename(p.f.Name(), path); err != nil {
		return err
	}
	s.sync.add(path)
	return nil
}

// part is a blob that is not whole yet: the file partial/<hex>, whose bytes c has hashed.
type part struct {
	f     *os.File
	c     *checker
	hurry bool // to the disk
}

// openPart opens what there is of d, or an empty part.
func (s *Store) openPart(d Descriptor) (*part, error) {
	c, err := newChecker(d)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.partPath(d), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &part{f: f, c: c, hurry: !s.scratch}, nil
}

// fill completes the part from content and proves it.
func (p *part) fill(ctx context.Context, content Content) error {
	if err := p.rehash(ctx); err != nil {
		return err
	}
	resumed := p.c.n > 0
	err := p.receive(ctx, content)
	if resumed && errors.Is(err, ErrCorrupt) {
		if err := p.restart(); err != nil {
			return err
		}
		err = p.receive(ctx, content)
	}
	return err
}

// rehash hashes what the file holds. A file longer than the blob cannot be a part of it.
func (p *part) rehash(ctx context.Context) error {
	fi, err := p.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() > p.c.d.Size {
		return p.restart()
	}
	return p.c.copyFrom(ctx, p.f, fi.Size(), nil)
}

// restart makes the part an empty one.
func (p *part) restart() error {
	p.c.reset()
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, 0)
	return err
}

// receive reads the rest of the blob and proves the whole. Content that is all there already is not opened, unless it
// is empty: a source that denies an empty blob is to be heard.
func (p *part) receive(ctx context.Context, content Content) error {
	if p.c.left() == 0 && p.c.n > 0 {
		return p.c.result()
	}
	r, err := content(ctx, p.c.n)
	if err != nil {
		return err
	}
	defer r.Close()
	out := writeback{f: p.f, hurry: p.hurry, written: p.c.n, started: p.c.n}
	if err := p.c.copyFrom(ctx, r, p.c.d.Size, out.write); err != nil {
		return err
	}
	return p.c.finish(r)
}

// leave closes the part after err; what is proven wrong and what is empty is removed.
func (p *part) leave(err error) error {
	cerr := p.f.Close()
	if errors.Is(err, ErrCorrupt) || p.c.n == 0 {
		return errors.Join(cerr, os.Remove(p.f.Name()))
	}
	return cerr
}

// writebackChunk is how much is written before the kernel is asked to carry it to the disk, in bytes: it shall be on
// its way while the next bytes come.
const writebackChunk = 8 << 20

type writeback struct {
	f                *os.File
	hurry            bool
	written, started int64
}

func (w *writeback) write(p []byte) error {
	n, err := w.f.Write(p)
	w.written += int64(n)
	if err != nil {
		return err
	}
	if w.hurry && w.written-w.started >= writebackChunk {
		durable.StartWriteback(w.f, w.started, w.written-w.started)
		w.started = w.written
	}
	return nil
}
