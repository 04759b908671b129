package gzip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// RecreateOptions are those of [Recreate]. The zero value has the defaults.
type RecreateOptions struct {
	// Parallel is how many encoders run at once, which take 10 MiB each; 0 is one for each processor.
	Parallel int
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
	if opts.Parallel <= 0 {
		opts.Parallel = runtime.GOMAXPROCS(0)
	}
	group, ctx := errgroup.WithContext(ctx)
	w := &recreation{
		recipe: r, plain: plain, dst: dst, hash: sha256.New(), group: group,
		order: make(chan *piece, opts.Parallel+1), slots: make(chan struct{}, opts.Parallel+1),
	}
	group.Go(func() error {
		defer close(w.order)
		return w.feed(ctx)
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
	plain  io.Reader
	dst    io.Writer
	coders coders
	group  *errgroup.Group
	order  chan *piece   // as they are in the blob
	slots  chan struct{} // pieces that have begun and are not written

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

// feed reads the plain bytes and gives them to the pieces.
func (w *recreation) feed(ctx context.Context) error {
	var before *piece // that may want bytes ahead of it
	ahead := 0
	crc := uint32(0)
	window := make([]byte, 0, 2*deflate.WindowSize)
	give := func(p *piece, c chunk) error {
		select {
		case p.in <- c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	finish := func() {
		if before != nil {
			close(before.in)
			before = nil
		}
	}
	defer finish()
	feedMember := func(p *piece, size int64, ends bool) error {
		for done := false; !done; {
			c := chunk{data: make([]byte, min(size, inputChunk))}
			if _, err := io.ReadFull(w.plain, c.data); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("plain bytes of a blob: %w", err)
			}
			size -= int64(len(c.data))
			done = size == 0
			crc = crc32.Update(crc, crc32.IEEETable, c.data)
			window = keepWindow(window, c.data)
			c.ends, c.crc = ends && done, crc
			if before != nil {
				if err := give(before, c); err != nil {
					return err
				}
				if ahead += len(c.data); ahead > maxAhead/2 || c.ends {
					finish()
				}
			}
			if err := give(p, c); err != nil {
				return err
			}
		}
		return nil
	}
	return w.recipe.pieces(func(p *piece) error {
		if p.from.Plain > 0 {
			p.dict = slices.Clone(window[max(0, len(window)-deflate.WindowSize):])
		}
		if err := w.start(ctx, p); err != nil {
			close(p.in)
			return err
		}
		for i := p.first; i <= p.last; i++ {
			size := w.recipe.Members[i].Size
			if !p.end || p.from.Plain > 0 {
				size = p.to.Plain - p.from.Plain
			}
			if p.from.Plain == 0 {
				crc, window = 0, window[:0]
			}
			if err := feedMember(p, size, p.end); err != nil {
				close(p.in)
				return err
			}
		}
		finish()
		before, ahead = p, 0
		if p.end {
			finish()
		}
		return nil
	})
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
	p.in, p.out = make(chan chunk, inputChunks), make(chan []byte, outputChunks)
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case w.order <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.group.Go(func() error {
		defer close(p.out)
		p.err = w.work(ctx, p)
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
		<-w.slots
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
