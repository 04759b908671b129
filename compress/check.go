package compress

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Check reads the file r once, in order, and proves all that stands before its table t, which ReadTable has proved:
// each frame, and each stamp, whose content ids must all be the same. What is wrong with which frame comes back in
// their order; a read error counts as damage of the frame that it hit. The error is that of ctx, or another that is no
// fault of the file.
func Check(ctx context.Context, r io.ReaderAt, t *Table, o ReaderOptions) ([]*FrameError, error) {
	o = o.complete()
	c := &checker{r: r, t: t, decoder: NewDecoder(t.Format, o), bufs: make(chan checkBuffers, o.Jobs)}
	for range o.Jobs {
		c.bufs <- checkBuffers{}
	}
	g, gctx := errgroup.WithContext(ctx)
	var longErr error
	for _, f := range t.Frames {
		if f.Long() {
			if longErr = c.long(gctx, f); longErr != nil {
				break
			}
			continue
		}
		b := <-c.bufs
		if gctx.Err() != nil {
			break
		}
		raw, ok := c.read(&b, f)
		if !ok {
			c.bufs <- b
			continue
		}
		g.Go(func() (err error) {
			b.plain, err = c.decode(gctx, b.plain, f, raw)
			c.bufs <- b
			return err
		})
	}
	err := cmp.Or(g.Wait(), longErr)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.bad, func(a, b *FrameError) int { return cmp.Compare(a.Number, b.Number) })
	return c.bad, nil
}

// checker is the state of Check.
type checker struct {
	r       io.ReaderAt
	t       *Table
	decoder *Decoder
	bufs    chan checkBuffers
	id      [32]byte
	hasID   bool

	mu  sync.Mutex
	bad []*FrameError
}

// checkBuffers are the memory for one frame.
type checkBuffers struct{ raw, plain []byte }

// note takes down what is wrong with a frame. It reports false when err is nothing of that kind.
func (c *checker) note(err error) bool {
	var bad *FrameError
	if !errors.As(err, &bad) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, bad)
	return true
}

// read reads frame f and proves what stands before it. It returns false when there is nothing to decode.
func (c *checker) read(b *checkBuffers, f Frame) (raw []byte, ok bool) {
	b.raw = grow(b.raw[:0], int(f.Lead+f.Size))
	if err := readFullAt(c.r, b.raw, f.Offset-f.Lead); err != nil {
		c.note(f.fail("reading it", err))
		return nil, false
	}
	// The frame itself may be whole behind a damaged stamp.
	if err := c.checkLead(f, b.raw[:f.Lead]); err != nil {
		c.note(err)
	}
	return b.raw[f.Lead:], true
}

// checkLead proves the bytes before frame f.
func (c *checker) checkLead(f Frame, lead []byte) error {
	id, err := c.t.CheckLead(f, lead)
	switch {
	case err != nil:
		return err
	case c.t.Format != Zstd || f.Lead == 0:
		return nil
	case !c.hasID:
		c.id, c.hasID = id, true
	case id != c.id:
		return f.corrupt("its stamp: content id %x, want %x", id, c.id)
	}
	return nil
}

// long proves the long frame f and what stands before it. It returns an error only when that is no fault of the frame.
func (c *checker) long(ctx context.Context, f Frame) error {
	lead := make([]byte, f.Lead)
	err := readFullAt(c.r, lead, f.Offset-f.Lead)
	if err != nil {
		err = f.fail("reading its stamp", err)
	} else {
		err = c.checkLead(f, lead)
	}
	if err != nil {
		c.note(err)
	}
	plain := c.decoder.Stream(ctx, f, io.NewSectionReader(c.r, f.Offset, f.Size))
	defer plain.Close()
	if _, err := io.Copy(io.Discard, plain); err != nil && !c.note(err) {
		return err
	}
	return nil
}

// decode proves the frame raw. It returns an error only when that is no fault of the frame.
func (c *checker) decode(ctx context.Context, dst []byte, f Frame, raw []byte) ([]byte, error) {
	plain, err := c.decoder.Decode(ctx, dst, f, raw)
	switch {
	case err == nil:
		return plain, nil
	case errors.Is(err, ErrCorrupt) && c.note(err):
		return dst, nil
	}
	return dst, err
}
