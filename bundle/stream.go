package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// maxManifestBytes bounds the manifests that a Stream holds, all together.
const maxManifestBytes = 256 << 20

// Stream is a bundle that is read once, in order, as from a pipe. It is an oci.Source whose blobs come in the order of InOrder:
// each must be opened, or released unread, before the ones behind it are reached. Gzip blobs that are not in the bundle
// as they are, see Head.Recreated, come in place of their plain bytes.
//
// It holds all manifests and recipes, the last 4 MiB of each blob that is under way, and what re-creating blobs takes.
//
// Nothing of what a Stream gives may be named at a target before Finish has seen the end of the bundle.
type Stream struct {
	*ordered
	layout    *layout
	frames    *frameReader
	manifests map[digest.Digest][]byte
	recipes   *recipes
	blobs     map[digest.Digest]int // number, see Head.Blob
	first     int                   // segment of the first blob that is neither manifest nor recipe
	cancel    context.CancelFunc
}

var _ oci.OrderedSource = (*Stream)(nil)

// OpenStream reads the head, all manifests and all recipes from r. Close must be called.
func OpenStream(r io.Reader, o Options) (*Stream, error) {
	frames, err := newFrameReader(r, o)
	if err != nil {
		return nil, err
	}
	// The pump works between calls; what ends it is Close.
	ctx, cancel := context.WithCancel(context.Background())
	s := &Stream{frames: frames, manifests: map[digest.Digest][]byte{}, cancel: cancel}
	if s.layout, err = readFour(s.frames, ""); err == nil {
		s.recipes = newRecipes(s.layout.head)
		err = s.readFirst(ctx)
	}
	if err != nil {
		cancel()
		s.frames.Close()
		return nil, err
	}
	s.blobs = s.layout.head.positions()
	s.ordered = &ordered{
		rings: newRings(s.InOrder()), recipes: s.recipes, again: newEncodings(o.recreating()),
		blame: s.damage,
	}
	go s.pump(ctx)
	return s, nil
}

// Head returns ferry.json. It is not to be changed.
func (s *Stream) Head() *Head { return s.layout.head }

// ContentID returns the content id in hex.
func (s *Stream) ContentID() string { return s.layout.contentID() }

// InOrder returns the blobs that are not manifests in the order in which they come.
func (s *Stream) InOrder() []oci.Descriptor {
	var all []oci.Descriptor
	for i := s.first - s.layout.blobs; i < len(s.layout.head.Members); i++ {
		all = append(all, s.layout.head.made(i))
	}
	return all
}

// readFirst reads the members up to the first that is neither a manifest nor a recipe.
func (s *Stream) readFirst(ctx context.Context) error {
	total, held := int64(0), map[int][]byte{} // recipes by their members
	for _, again := range s.layout.head.Recreated {
		held[again.Recipe] = nil
	}
	for s.first = s.layout.blobs; s.first < s.layout.tail; s.first++ {
		i := s.layout.segments[s.first].member
		m := s.layout.head.Members[i]
		_, isRecipe := held[i]
		if !oci.IsManifest(m.MediaType) && !isRecipe {
			break
		}
		if total += m.Size; total > maxManifestBytes+maxRecipes {
			return corrupt(m.Name(), "more than %d MiB of manifests and recipes", (maxManifestBytes+maxRecipes)>>20)
		}
		raw, err := readMember(s.frames, m.Name(), max(oci.MaxManifestSize, gzip.MaxRecipe))
		if err != nil {
			return frameDamaged(m.Name(), err)
		}
		if isRecipe {
			held[i] = raw
			continue
		}
		if err := oci.CheckBytes(m.Descriptor(), raw); err != nil {
			return corrupt(m.Name(), "%v", err)
		}
		s.manifests[m.Digest] = raw
	}
	return s.recipes.load(ctx, func(i int) ([]byte, error) {
		if s.layout.blobs+i >= s.first {
			return nil, errors.New("it stands behind other blobs")
		}
		return held[i], nil
	})
}

// pump reads the rest of the bundle and fills the rings.
func (s *Stream) pump(ctx context.Context) {
	err := s.readBlobs(ctx)
	if err == nil {
		err = s.readTail()
	}
	s.frames.Close()
	s.finish(err)
}

func (s *Stream) readBlobs(ctx context.Context) error {
	buf := make([]byte, 256<<10)
	for _, seg := range s.layout.segments[s.first:s.layout.tail] {
		if err := s.expect(seg, buf[:blockSize]); err != nil {
			return s.damage(seg.member, err)
		}
		if err := s.readBlob(ctx, seg, buf); err != nil {
			return err
		}
		pad := buf[:padding(seg.size)]
		if _, err := io.ReadFull(s.frames, pad); err != nil {
			return s.damage(seg.member, err)
		}
		if !bytes.Equal(pad, zeroBlock[:len(pad)]) {
			return s.damage(seg.member, errors.New("its padding is not zero"))
		}
	}
	return nil
}

// readBlob reads the content of seg, and gives what is made of it to whoever wants that.
func (s *Stream) readBlob(ctx context.Context, seg segment, buf []byte) error {
	to, err := s.outlet(ctx, seg.member)
	if err != nil {
		return err
	}
	for left := seg.size; left > 0; {
		n, err := io.ReadFull(s.frames, buf[:min(left, int64(len(buf)))])
		if err != nil {
			err = s.damage(seg.member, err)
			to.end(err)
			return err
		}
		left -= int64(n)
		if _, err := to.Write(buf[:n]); err != nil && !errors.Is(err, errOver) {
			return err
		}
	}
	to.end(nil)
	return nil
}

// expect reads the header of seg.
func (s *Stream) expect(seg segment, h []byte) error {
	if _, err := io.ReadFull(s.frames, h); err != nil {
		return err
	}
	if want := tarHeader(seg.name, seg.size, s.layout.head.mtime()); !bytes.Equal(h, want[:]) {
		return errors.New("its tar header is damaged")
	}
	return nil
}

// readTail reads what follows the blobs, up to the end of the file.
func (s *Stream) readTail() error {
	tail, err := readFour(s.frames, tailPrefix)
	if err != nil {
		return err
	}
	if !s.layout.equal(tail) {
		return corrupt(tailPrefix+headName, "it is not equal to the head")
	}
	rest, err := io.ReadAll(io.LimitReader(s.frames, endSize+1))
	if err != nil {
		return &DamageError{Damage: Damage{Member: tableName, Reason: err.Error()}, Err: err}
	}
	if !bytes.Equal(rest, make([]byte, endSize)) {
		return corrupt("tar", "it does not end in two blocks of zeros")
	}
	return nil
}

// damage returns the damage of what is made from member i.
func (s *Stream) damage(i int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the bundle ends inside of it: %w", err)
	}
	return &DamageError{Damage: s.layout.head.damage(i, err), Err: err}
}

// Open waits until the stream has reached d and returns its content from offset on. Bytes that have left the ring are
// oci.ErrGone.
func (s *Stream) Open(ctx context.Context, _ oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if raw, ok := s.manifests[d.Digest]; ok && offset >= 0 && offset <= int64(len(raw)) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
	return s.open(ctx, d.Digest, offset, false)
}

// Finish waits for the end of the bundle and returns what was wrong with any part of it. All blobs must have been released.
func (s *Stream) Finish(ctx context.Context) error { return s.wait(ctx) }

// Close gives the stream up. It does not close the reader below; who waits in that reader goes on waiting.
func (s *Stream) Close() error {
	s.close()
	s.cancel()
	return nil
}

// frameReader gives the plain bytes of a file that is read in order.
type frameReader struct {
	scanner *compress.Scanner
	buf     []byte    // memory of the last frame
	plain   []byte    // what of it was not read yet
	long    io.Reader // of a long frame instead
	err     error
}

// newFrameReader tells the format of r by its first bytes.
func newFrameReader(r io.Reader, o Options) (*frameReader, error) {
	start := make([]byte, blockSize)
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	format, err := compress.Sniff(start[:n])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrNotBundle)
	}
	scanner := compress.NewScanner(io.MultiReader(bytes.NewReader(start[:n]), r), format, o.Reader)
	return &frameReader{scanner: scanner}, nil
}

func (r *frameReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.long == nil {
			r.next()
			continue
		}
		n, err := r.long.Read(p)
		if errors.Is(err, io.EOF) {
			r.long = nil
		} else if err != nil {
			r.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

func (r *frameReader) next() {
	f, raw, err := r.scanner.Next()
	switch {
	case err != nil:
	case f.Long():
		r.long = r.scanner.Stream()
		return
	default:
		r.buf, err = r.scanner.Decode(r.buf, f, raw)
		r.plain = r.buf
		r.scanner.Release(raw)
	}
	if err != nil {
		r.err, r.plain = err, nil
	}
}

func (r *frameReader) Close() error { return r.scanner.Close() }
