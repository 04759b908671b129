package gzip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// RecreateOptions are those of [Recreate]. The zero value has the defaults.
type RecreateOptions struct {
	// Parallel is how many encoders run at once, which take 10 MiB each; 0 is one for each processor, or as many as Budget
	// has.
	Parallel int
	// Budget is what other calls share with this one; nil is a budget of its own.
	Budget *Budget
}

const (
	inputChunk  = 128 << 10
	outputChunk = 64 << 10
	// A piece has room for as many chunks as it has at least, and for those ahead of it.
	inputChunks  = (partSize + maxAhead) / inputChunk
	outputChunks = partSize/outputChunk + 1

	// pieceSize is how many plain bytes of small members are put together.
	pieceSize = 1 << 20
)

// Recreate writes the blob of r to dst. plain has its plain bytes, of which no more are read than there are.
//
// What was written is the blob if there is no error, and never more bytes than that. ErrMismatch tells of plain bytes that
// are not those of r, or a recipe that is wrong, and ErrUnknownEngine of one that cannot be used here; then nothing was
// written.
func Recreate(ctx context.Context, r *Recipe, plain io.Reader, dst io.Writer, opts RecreateOptions) error {
	for _, e := range r.Engines {
		if err := e.check(); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	share := newShare(opts.Budget, opts.Parallel)
	defer share.releaseAll()
	w := &recreation{recipe: r, dst: dst, hash: sha256.New(), group: group, share: share, order: make(chan *piece, share.limit)}
	group.Go(func() error {
		defer close(w.order)
		f := feeder{recreation: w, plain: plain, window: make([]byte, 0, 2*deflate.WindowSize)}
		return f.feed(ctx)
	})
	group.Go(func() error { return w.join(ctx) })
	return group.Wait()
}

// NewReader returns a reader of the blob of r: see [Recreate]. It ends with io.EOF when the blob was proven to be the right
// one, and with an error otherwise. Close ends the work; so does ctx.
func NewReader(ctx context.Context, r *Recipe, plain io.Reader, opts RecreateOptions) io.ReadCloser {
	out, in := io.Pipe()
	go func() { _ = in.CloseWithError(Recreate(ctx, r, plain, in, opts)) }()
	return out
}

// recreation is the work of Recreate.
type recreation struct {
	recipe *Recipe
	dst    io.Writer
	coders coders
	group  *errgroup.Group
	share  *share      // of which a piece has one from its begin until it is written
	order  chan *piece // as they are in the blob

	hash hash.Hash
	size int64
}

// piece is a stretch of the blob that is made by itself: some members, or a part of one.
type piece struct {
	first, last int // members
	from, to    Checkpoint
	end         bool // it ends where the last member does
	dict        []byte

	in  chan chunk
	out chan []byte
	// Once out is closed: why it is not whole, and the bits of the last byte that is not.
	err  error
	bits uint8
}

// chunk is plain bytes of a member.
type chunk struct {
	data []byte
	ends bool   // the member ends with it
	crc  uint32 // of the whole member then
}

// pieces calls yield with all pieces in order.
func (r *Recipe) pieces(yield func(*piece) error) error {
	for i := 0; i < len(r.Members); {
		p := &piece{first: i, last: i, end: true}
		m := &r.Members[i]
		i++
		if len(m.Checkpoints) > 0 {
			for _, c := range m.Checkpoints {
				if err := yield(&piece{first: p.first, last: p.last, from: p.from, to: c}); err != nil {
					return err
				}
				p.from = c
			}
		} else {
			for size := m.Size; i < len(r.Members) && len(r.Members[i].Checkpoints) == 0; i++ {
				if size += r.Members[i].Size; size > pieceSize {
					break
				}
				p.last = i
			}
		}
		p.to = Checkpoint{Plain: r.Members[p.last].Size}
		if err := yield(p); err != nil {
			return err
		}
	}
	return nil
}

// feeder reads the plain bytes and gives them to the pieces.
type feeder struct {
	*recreation
	plain  io.Reader
	left   int64   // bytes of the member, or the part of it, that are still to be read
	ends   bool    // the member ends with them
	ahead  []chunk // that were read for the piece before and are not given to their own one
	crc    uint32  // of the member so far
	window []byte  // of the member
}

// feed starts the pieces. None is started before the one before has all that it can see: so it ends, whether or not there
// is an encoder for the next one.
func (f *feeder) feed(ctx context.Context) error {
	var before *piece
	err := f.recipe.pieces(func(p *piece) error {
		if p.from.Plain > 0 {
			p.dict = slices.Clone(f.window[max(0, len(f.window)-deflate.WindowSize):])
		}
		for i := p.first; i <= p.last; i++ {
			f.begin(p, f.recipe.Members[i].Size)
			if b := before; b != nil {
				before = nil
				if err := f.look(ctx, b); err != nil {
					return err
				}
			}
			if i == p.first {
				if err := f.start(ctx, p); err != nil {
					return err
				}
			}
			if err := f.member(ctx, p); err != nil {
				close(p.in)
				return err
			}
		}
		if p.end {
			close(p.in)
		} else {
			before = p
		}
		return nil
	})
	if before != nil {
		close(before.in)
	}
	return err
}

// begin makes f read a member of size bytes, or the part of it that p has.
func (f *feeder) begin(p *piece, size int64) {
	f.left, f.ends = size, p.end
	if !p.end || p.from.Plain > 0 {
		f.left = p.to.Plain - p.from.Plain
	}
	if p.from.Plain == 0 {
		f.crc, f.window = 0, f.window[:0]
	}
}

// next reads a chunk.
func (f *feeder) next() (chunk, error) {
	c := chunk{data: make([]byte, min(f.left, inputChunk))}
	if _, err := io.ReadFull(f.plain, c.data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return c, fmt.Errorf("plain bytes of a blob: %w", err)
	}
	f.left -= int64(len(c.data))
	f.crc = crc32.Update(f.crc, crc32.IEEETable, c.data)
	f.window = keepWindow(f.window, c.data)
	c.ends, c.crc = f.ends && f.left == 0, f.crc
	return c, nil
}

// look gives the piece before what it can see ahead of it, and nothing more.
func (f *feeder) look(ctx context.Context, before *piece) error {
	defer close(before.in)
	for size, done := 0, false; size < maxAhead && !done; done = f.left == 0 {
		c, err := f.next()
		if err != nil {
			return err
		}
		if err := give(ctx, before, c); err != nil {
			return err
		}
		size += len(c.data)
		f.ahead = append(f.ahead, c)
	}
	return nil
}

// member gives a member, or the part of it that p has, to p.
func (f *feeder) member(ctx context.Context, p *piece) error {
	ahead := f.ahead
	f.ahead = nil
	for _, c := range ahead {
		if err := give(ctx, p, c); err != nil {
			return err
		}
	}
	for done := len(ahead) > 0 && f.left == 0; !done; done = f.left == 0 {
		c, err := f.next()
		if err != nil {
			return err
		}
		if err := give(ctx, p, c); err != nil {
			return err
		}
	}
	return nil
}

func give(ctx context.Context, p *piece, c chunk) error {
	select {
	case p.in <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepWindow returns the last bytes of window and p.
func keepWindow(window, p []byte) []byte {
	if len(p) >= deflate.WindowSize {
		return append(window[:0], p[len(p)-deflate.WindowSize:]...)
	}
	if over := len(window) + len(p) - cap(window); over > 0 {
		window = window[:copy(window, window[len(window)-deflate.WindowSize:])]
	}
	return append(window, p...)
}

// start makes p begin its work and be written in its turn.
func (w *recreation) start(ctx context.Context, p *piece) error {
	if err := w.share.acquire(ctx); err != nil {
		return err
	}
	p.in, p.out = make(chan chunk, inputChunks), make(chan []byte, outputChunks)
	select {
	case w.order <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.group.Go(func() error {
		p.err = w.work(ctx, p)
		close(p.out)
		if p.err == nil {
			for range p.in { // bytes that a wrong recipe has it not want
			}
		}
		return p.err
	})
	return nil
}

// join writes the pieces in order, and what follows the last member.
func (w *recreation) join(ctx context.Context) error {
	bits := uint8(0) // of a byte that is not whole
	for p := range w.order {
		for out := range p.out {
			out[0] |= bits
			bits = 0
			if err := w.write(out); err != nil {
				return err
			}
		}
		if p.err != nil {
			return p.err
		}
		bits |= p.bits
		w.share.release()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	zeros := make([]byte, outputChunk)
	for left := w.recipe.Zeros; left > 0; left -= int64(len(zeros)) {
		zeros = zeros[:min(left, outputChunk)]
		if err := w.write(zeros); err != nil {
			return err
		}
	}
	if err := w.write(w.recipe.Rest); err != nil {
		return err
	}
	if w.size != w.recipe.Size || [sha256.Size]byte(w.hash.Sum(nil)) != w.recipe.Digest {
		return fmt.Errorf("%w: got %d bytes of sha256 %x, want %d of %x",
			ErrMismatch, w.size, w.hash.Sum(nil), w.recipe.Size, w.recipe.Digest)
	}
	return nil
}

func (w *recreation) write(p []byte) error {
	if w.size += int64(len(p)); w.size > w.recipe.Size {
		return fmt.Errorf("%w: more than its %d bytes", ErrMismatch, w.recipe.Size)
	}
	w.hash.Write(p)
	_, err := w.dst.Write(p)
	return err
}
