package gzip

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"

	"github.com/ferry-oci/ferry/compress/deflate"
)

// FindOptions are limits of [Find]. The zero value has the defaults.
type FindOptions struct {
	// MaxPlain is how many plain bytes a blob can have; 0 is 64 GiB.
	MaxPlain int64
	// MaxRatio is how many plain bytes there can be for each byte read of the blob, after the first 64 MiB; 0 is 1,100, which
	// no valid blob has.
	MaxRatio int64
	// Parallel is how many encoders run at once for a proof, which take 20 MiB each; 0 is one for each processor, or as
	// many as Budget has.
	Parallel int
	// Budget is what other calls share with this one; nil is a budget of its own.
	Budget *Budget
}

const (
	defaultMaxPlain = 64 << 30
	ratioFrom       = 64 << 20

	maxSearches = 64 // that go through all engines

	// maxVerbatim is how many bytes the stream of a member has at most that the recipe carries.
	maxVerbatim = 4 << 10
	// What a recipe carries has at most verbatimBase bytes and 1/verbatimShare of the blob.
	verbatimBase  = 1 << 10
	verbatimShare = 100
)

// Find reads blob to its end, writes its plain bytes to plain, and returns the recipe from which [Recreate] makes the blob
// again. It reads and writes in one pass.
//
// If there is none, the error is a [*NoRecipeError]; neither is blob read to its end then, nor have all plain bytes been
// written. Other errors are those of blob, plain and ctx.
func Find(ctx context.Context, blob io.Reader, plain io.Writer, opts FindOptions) (*Recipe, error) {
	f := newFinder(blob, plain, opts)
	defer f.working.Wait()
	for {
		header, err := readHeader(f.src)
		if err != nil {
			if err = f.tail(err); err != nil {
				return nil, err
			}
			if err := f.settle(ctx); err != nil {
				return nil, err
			}
			return f.finish()
		}
		if err := f.member(ctx, header); err != nil {
			return nil, err
		}
	}
}

// finder is the work of Find.
type finder struct {
	opts   FindOptions
	blob   *hashReader
	src    *bufio.Reader // of blob
	plain  io.Writer
	hash   hash.Hash // of the plain bytes
	reader *deflate.Reader
	coders coders
	share  *share

	recipe  *Recipe
	headers map[string]int
	engines map[Engine]int
	chosen  []Engine // of the members
	// run has the engines that fit all members since number runFrom but those that are carried in the recipe.
	run      []Engine
	runFrom  int
	searches int
	carried  int64 // bytes that the recipe carries

	working sync.WaitGroup
	batch   *batch   // that is filled
	batches []*batch // that are worked on, in order

	number int // of the member that is looked at
	crc    uint32
	size   int64 // plain bytes of the member
}

func newFinder(blob io.Reader, plain io.Writer, opts FindOptions) *finder {
	if opts.MaxPlain == 0 {
		opts.MaxPlain = defaultMaxPlain
	}
	if opts.MaxRatio == 0 {
		opts.MaxRatio = MaxRatio
	}
	in := &hashReader{src: blob, hash: sha256.New()}
	return &finder{
		opts: opts, blob: in, src: bufio.NewReaderSize(in, MaxHeader), plain: plain, hash: sha256.New(),
		reader: new(deflate.Reader), recipe: new(Recipe), headers: make(map[string]int), engines: make(map[Engine]int),
		share: newShare(opts.Budget, opts.Parallel),
	}
}

// hashReader hashes and counts what is read.
type hashReader struct {
	src  io.Reader
	hash hash.Hash
	size int64
}

func (r *hashReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.hash.Write(p[:n])
	r.size += int64(n)
	return n, err
}

func (f *finder) fail(reason Reason, format string, args ...any) error {
	return &NoRecipeError{
		Reason: reason, Member: f.number, Plain: f.recipe.PlainSize, Detail: fmt.Sprintf(format, args...),
	}
}

// reading is a member of which the begin was read, or all.
type reading struct {
	number int
	header []byte
	units  []unit
	probe  int // how many of units are enough to tell engines apart
	size   int64
}

func (r *reading) whole() bool { return r.units[len(r.units)-1].block.Final }

// probed returns what engines are tried on.
func (r *reading) probed() []unit {
	if r.whole() {
		return r.units
	}
	return r.units[:r.probe]
}

// member reads the member behind header.
func (f *finder) member(ctx context.Context, header []byte) error {
	f.number = len(f.recipe.Members)
	if f.number == MaxMembers {
		return f.fail(TooManyParts, "more than %d members", MaxMembers)
	}
	number, err := f.header(header)
	if err != nil {
		return err
	}
	f.reader.Reset(f.src)
	f.crc, f.size = 0, 0
	f.recipe.Members = append(f.recipe.Members, Member{Header: number})
	f.chosen = append(f.chosen, Engine{ID: undecided})
	m := &f.recipe.Members[f.number]
	r := &reading{number: f.number, header: header}
	if err := f.begin(ctx, r, m); err != nil {
		return err
	}
	if r.whole() {
		if err := f.trailer(m); err != nil { // damage is told before engines are tried
			return err
		}
		return f.give(ctx, r)
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	if err := f.identify(r); err != nil {
		return err
	}
	if f.run, err = f.prove(ctx, r.units, m); err != nil {
		return err
	}
	return f.trailer(m)
}

// header returns the number of a header.
func (f *finder) header(header []byte) (int, error) {
	number, ok := f.headers[string(header)]
	if !ok {
		number = len(f.headers)
		if f.carried += int64(len(header) - fixedHeader); number == maxHeaders || f.carried > MaxRecipe/2 {
			return 0, f.fail(TooManyParts, "the headers of members are too many or too large")
		}
		f.headers[string(header)] = number
		f.recipe.Headers = append(f.recipe.Headers, header)
	}
	return number, nil
}

// trailer reads the trailer of a member and checks it.
func (f *finder) trailer(m *Member) error {
	m.Size, m.Padding = f.size, f.reader.Padding()
	var got [trailerSize]byte
	if _, err := io.ReadFull(f.src, got[:]); err != nil {
		return f.readError(err)
	}
	if string(got[:]) != string(appendTrailer(nil, f.crc, f.size)) {
		return f.fail(Corrupt, "the checksum or the size in the trailer is another one")
	}
	return nil
}

// readError returns the error of reading the blob, which is to blame for ends that come too early.
func (f *finder) readError(err error) error {
	switch {
	case errors.Is(err, deflate.ErrBlockTooLarge):
		return f.fail(TooLarge, "%v", err)
	case errors.Is(err, deflate.ErrCorrupt), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return f.fail(Corrupt, "%v", err)
	}
	return err
}

// unit is a block that was read.
type unit struct {
	block deflate.Block
	plain []byte
	start int64 // plain bytes of the member before it
	bits  uint8 // of the byte before it that is not whole
	match bool  // the token before it is a match
	ahead bool  // it belongs to the next part, and is there for encoders that look ahead
}

// marker reports whether u is what a sync flush leaves.
func (u *unit) marker() bool {
	return u.block.Kind == deflate.Stored && len(u.block.Raw) == 0 && !u.block.Final
}

// weight returns how many bytes u has in memory, nearly.
func (u *unit) weight() int64 {
	return int64(len(u.plain) + 4*len(u.block.Tokens) + 2*len(u.block.Header.Lengths) + 512)
}

// next reads a block, passes on its plain bytes, and returns a copy of it.
func (f *finder) next(ctx context.Context, before *unit) (unit, error) {
	if err := ctx.Err(); err != nil {
		return unit{}, err
	}
	u := unit{bits: uint8(f.reader.BitOffset() % 8), start: f.size}
	if before != nil {
		tokens := before.block.Tokens
		u.match = len(tokens) > 0 && tokens[len(tokens)-1].IsMatch()
	}
	b, err := f.reader.Next()
	if err != nil {
		return unit{}, f.readError(err)
	}
	plain := f.reader.Plain()
	f.size += int64(len(plain))
	f.recipe.PlainSize += int64(len(plain))
	if total := f.recipe.PlainSize; total > f.opts.MaxPlain || total > ratioFrom && total/f.opts.MaxRatio > f.blob.size {
		return unit{}, f.fail(TooLarge, "more than %d plain bytes, or %d for each byte of the blob", f.opts.MaxPlain, f.opts.MaxRatio)
	}
	f.crc = crc32.Update(f.crc, crc32.IEEETable, plain)
	f.hash.Write(plain)
	if _, err := f.plain.Write(plain); err != nil {
		return unit{}, err
	}
	u.plain = append([]byte(nil), plain...)
	u.block = *b
	u.block.Tokens = append([]deflate.Token(nil), b.Tokens...)
	u.block.Header.Lengths = append([]deflate.LengthSymbol(nil), b.Header.Lengths...)
	if b.Kind == deflate.Stored {
		u.block.Raw = u.plain
	}
	return u, nil
}

// flushed notes a flush of m.
func (f *finder) flushed(m *Member, u *unit) {
	if u.marker() {
		m.Flushes = append(m.Flushes, u.start)
	}
}

// tail reads what follows the last member, where err came in place of a header.
func (f *finder) tail(err error) error {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, errNoMember) || errors.Is(err, errHeaderCut) || errors.Is(err, errHeaderLarge):
	default:
		return err
	}
	f.number = len(f.recipe.Members)
	if f.number == 0 {
		return f.fail(NotGzip, "")
	}
	for {
		b, err := f.src.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if b == 0 && len(f.recipe.Rest) == 0 {
			f.recipe.Zeros++
			continue
		}
		if len(f.recipe.Rest) == verbatimBase+int(f.blob.size/verbatimShare) || len(f.recipe.Rest) == MaxRecipe/4 {
			return f.fail(TooManyParts, "more than %d bytes follow the last member", len(f.recipe.Rest))
		}
		f.recipe.Rest = append(f.recipe.Rest, b)
	}
}

// finish returns the recipe.
func (f *finder) finish() (*Recipe, error) {
	f.endRun(len(f.chosen))
	r := f.recipe
	r.Size, r.Digest, r.PlainDigest = f.blob.size, [sha256.Size]byte(f.blob.hash.Sum(nil)), [sha256.Size]byte(f.hash.Sum(nil))
	carried := int64(len(r.Rest))
	for i := range r.Members {
		m := &r.Members[i]
		e := f.chosen[i]
		number, ok := f.engines[e]
		if !ok {
			number = len(r.Engines)
			f.engines[e] = number
			r.Engines = append(r.Engines, e)
		}
		m.Engine = number
		if !e.flushes() {
			m.Flushes = nil
		}
		carried += int64(len(m.Stream))
	}
	if carried > verbatimBase+r.Size/verbatimShare {
		return nil, f.fail(TooManyParts, "the recipe would carry %d bytes", carried)
	}
	if _, err := Decode(r.Encode()); err != nil {
		return nil, f.fail(TooManyParts, "%v", err)
	}
	return r, nil
}
