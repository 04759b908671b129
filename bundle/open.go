package bundle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// Options are how a bundle is read. The zero value works.
type Options struct {
	Reader compress.ReaderOptions
	// Lenient opens a bundle whose frame (head, tail, seek table) is hurt when enough of it is left to find the
	// blobs; Damage says what was wrong. Without it such a bundle is not opened.
	Lenient bool
	// Turns bounds how many blobs that are not [Bundle.Direct] are open at a time; nil is no bound.
	Turns *Turns
}

// recreating returns how blobs are re-created: with one encoder more than there are jobs, whatever number of blobs.
func (o Options) recreating() gzip.RecreateOptions {
	jobs := cmp.Or(o.Reader.Jobs, runtime.GOMAXPROCS(0))
	return gzip.RecreateOptions{Parallel: jobs, Budget: gzip.NewBudget(jobs + 1)}
}

// Bundle is an open bundle, read in place. It is an oci.Source; all methods may be called from many goroutines.
type Bundle struct {
	layout *layout
	table  *compress.Table
	plain  *compress.Reader
	set    *Set                  // that is read; nil: not known
	blobs  map[digest.Digest]int // number, see Head.Blob
	damage []Damage

	recipes *recipes
	again   gzip.RecreateOptions
	turns   *Turns
}

// Open opens the bundle that r holds in size bytes and checks its frame: the seek table against the size of the file, the head
// against SHA256SUMS, head against tail, and the recipes against the head. Other blobs are not read; whoever reads one proves
// it, see oci.Verify.
//
// Where r is a [Set], damage has its place in the volumes, and a volume that belongs to another bundle is found by its stamps. When
// volumes are missing, Lacking tells which images need them.
// Errors: ErrNotBundle, ErrVersion, ErrCorrupt as a *DamageError, and *MissingError where what is needed to open it is missing.
func Open(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Bundle, error) {
	b := &Bundle{again: o.recreating(), turns: o.Turns}
	if b.set, _ = r.(*Set); b.set != nil && b.set.volumeSize == 0 {
		return nil, b.set.MissingError() // of the others nothing is known
	}
	table, err := b.openTable(r, size, o)
	if err != nil {
		return nil, err
	}
	b.table = table
	b.plain = compress.NewReader(r, table, o.Reader)
	if err := b.openHead(ctx, o.Lenient); err != nil {
		return nil, err
	}
	if err := b.checkVolumes(); err != nil {
		return nil, err
	}
	if len(b.damage) > 0 && !o.Lenient {
		return nil, &DamageError{Damage: b.place(b.damage[0])}
	}
	b.blobs = b.layout.head.positions()
	if err := b.loadRecipes(ctx); err != nil && (!o.Lenient || !errors.Is(err, ErrCorrupt)) {
		return nil, err
	}
	return b, nil
}

// loadRecipes reads the recipes of the blobs that have to be re-created.
func (b *Bundle) loadRecipes(ctx context.Context) error {
	b.recipes = newRecipes(b.layout.head)
	return b.recipes.load(ctx, func(i int) ([]byte, error) {
		r, err := b.openMember(ctx, i, 0)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	})
}

func (b *Bundle) openTable(r io.ReaderAt, size int64, o Options) (*compress.Table, error) {
	format, err := compress.Detect(r, size)
	if err != nil && o.Lenient && isMissing(err) {
		format, err = compress.FormatByName(b.set.file)
	}
	switch {
	case errors.Is(err, compress.ErrFormat):
		return nil, fmt.Errorf("%w: %w", err, ErrNotBundle)
	case err != nil:
		return nil, err
	}
	table, err := compress.ReadTable(r, size)
	if err == nil {
		return table, nil
	}
	if !errors.Is(err, compress.ErrCorrupt) && !o.Lenient {
		return nil, err
	}
	if mixed := b.set.mixed(format); mixed != nil {
		return nil, mixed
	}
	if !o.Lenient {
		return nil, &DamageError{Damage: Damage{Member: tableName, Reason: err.Error()}, Err: err}
	}
	b.hurt(tableName, err)
	table, _, err = compress.ScanTable(r, size, format)
	if missing := b.set.MissingError(); err != nil && missing != nil {
		return nil, missing
	}
	if err != nil {
		return nil, &DamageError{Damage: Damage{Member: tableName, Reason: err.Error()}, Err: err}
	}
	return table, nil
}

// tableName is what damage to the table of frames is reported under.
const tableName = "seek table"

// openHead reads head and tail and takes what is whole.
func (b *Bundle) openHead(ctx context.Context, lenient bool) error {
	head, headErr := b.readCopy(ctx, "", 0)
	if headErr == nil {
		b.layout = head
		tail, err := b.readCopy(ctx, tailPrefix, head.head.Tail)
		switch {
		case err != nil:
			b.hurt(tailPrefix+headName, err)
		case !head.equal(tail):
			b.hurt(tailPrefix+headName, errors.New("it is not equal to the head"))
		}
		return b.checkSize()
	}
	if errors.Is(headErr, ErrVersion) || ctx.Err() != nil {
		return headErr
	}
	tail, tailErr := b.readTail(ctx)
	if tailErr == nil {
		b.layout = tail
		b.hurt(headName, headErr)
		return b.checkSize()
	}
	if err := b.set.MissingError(); err != nil {
		return err
	}
	if !errors.Is(headErr, ErrCorrupt) || !lenient {
		return headErr
	}
	var err error
	if b.layout, err = b.rebuild(ctx); err != nil {
		return errors.Join(headErr, err)
	}
	b.hurt(headName, errHeads(headErr, tailErr))
	return nil
}

// readTail finds the copy of the head at the end and reads it.
func (b *Bundle) readTail(ctx context.Context) (*layout, error) {
	at, err := b.findTail(ctx)
	if err != nil {
		return nil, err
	}
	return b.readCopy(ctx, tailPrefix, at)
}

func (b *Bundle) checkSize() error {
	if b.set != nil && b.set.MissingError() != nil { // of which the table may be
		return nil
	}
	if got, want := b.table.PlainSize, b.layout.head.Size; got != want {
		b.hurt("tar", fmt.Errorf("it has %d bytes, want %d", got, want))
	}
	return nil
}

// hurt notes damage of the bundle's frame. What lies in a volume that is missing is none.
func (b *Bundle) hurt(member string, err error) {
	if isMissing(err) {
		return
	}
	reason := strings.TrimPrefix(err.Error(), member+": ") // it is named once
	b.damage = append(b.damage, Damage{Member: member, Reason: reason})
}

// readCopy reads one of the two copies of the head.
func (b *Bundle) readCopy(ctx context.Context, prefix string, offset int64) (*layout, error) {
	if err := b.set.MissingError(); err != nil && offset >= b.table.PlainSize {
		return nil, err // what of the table was found ends before it
	}
	if offset < 0 || offset >= b.table.PlainSize {
		return nil, corrupt(prefix+headName, "offset %d lies outside of the tar of %d bytes", offset, b.table.PlainSize)
	}
	r, err := b.plain.Open(ctx, offset, b.table.PlainSize-offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readFour(r, prefix)
}

// readFour reads the four members of a head from r and proves that they agree with each other. Frames that cannot be
// read are damage of the head.
func readFour(r io.Reader, prefix string) (_ *layout, err error) {
	defer func() { err = frameDamaged(prefix+headName, err) }()
	var raw [4][]byte
	for i, m := range []struct {
		name  string
		limit int64
	}{{layoutName, 4096}, {indexName, maxIndexSize}, {headName, maxHeadSize}, {sumsName, maxHeadSize}} {
		var err error
		if raw[i], err = readMember(r, prefix+m.name, m.limit); err != nil {
			return nil, err
		}
	}
	h, err := parseHead(raw[2])
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(raw[0], layoutFile) {
		return nil, corrupt(prefix+layoutName, "content is %.80q", raw[0])
	}
	if !bytes.Equal(raw[3], h.sums(raw[1], raw[2])) {
		return nil, corrupt(prefix+sumsName, "it does not agree with %s", headName)
	}
	if index, err := encodeIndex(h); err != nil || !bytes.Equal(raw[1], index) {
		return nil, corrupt(prefix+indexName, "it does not agree with %s", headName)
	}
	l := h.layout(raw[0], raw[1], raw[2], raw[3])
	if l.segments[l.tail].offset != h.Tail || l.segments[len(l.segments)-1].end()+endSize != h.Size ||
		len(h.Members) > 0 && l.segments[l.blobs].offset != h.Members[0].Offset {
		return nil, corrupt(prefix+headName, "its offsets do not fit its members")
	}
	return l, nil
}

// frameDamaged returns err of reading a member as its damage when frames are damaged.
func frameDamaged(member string, err error) error {
	if errors.Is(err, compress.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
		reason := strings.TrimPrefix(err.Error(), member+": ") // it is named once
		return &DamageError{Damage: Damage{Member: member, Reason: reason}, Err: err}
	}
	return err
}

// readMember reads the member that comes next, which must have that name and at most limit bytes.
func readMember(r io.Reader, want string, limit int64) ([]byte, error) {
	var h [blockSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, memberError(want, err)
	}
	e, err := parseTarHeader(h[:])
	if err != nil {
		if isTar(h[:]) {
			return nil, fmt.Errorf("%v: %w", err, ErrNotBundle)
		}
		return nil, corrupt(want, "%v", err)
	}
	if e.name != want {
		return nil, fmt.Errorf("member %q where %q belongs: %w", e.name, want, ErrNotBundle)
	}
	if e.size > limit {
		return nil, corrupt(want, "it claims %d bytes, the limit is %d", e.size, limit)
	}
	var content bytes.Buffer
	if n, err := io.CopyN(&content, r, e.size+padding(e.size)); err != nil {
		return nil, memberError(want, fmt.Errorf("after %d bytes: %w", n, err))
	}
	raw, pad := content.Bytes()[:e.size], content.Bytes()[e.size:]
	if !bytes.Equal(pad, zeroBlock[:len(pad)]) {
		return nil, corrupt(want, "its padding is not zero")
	}
	return raw, nil
}

// isTar reports whether h is the header of some tar.
func isTar(h []byte) bool { return string(h[257:262]) == "ustar" }

func memberError(name string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(name, "the file ends inside of it")
	}
	return fmt.Errorf("%s: %w", name, err)
}

// equal reports whether two copies of the head are the same.
func (l *layout) equal(other *layout) bool {
	for i := range l.blobs {
		if !bytes.Equal(l.segments[i].raw, other.segments[i].raw) {
			return false
		}
	}
	return true
}

// findTail returns the plain offset of the last block that is the header of tail/oci-layout. It looks no further back than the
// tail can be long.
func (b *Bundle) findTail(ctx context.Context) (int64, error) {
	const step = 1 << 20
	end := b.table.PlainSize &^ (blockSize - 1)
	stop := max(0, end-maxIndexSize-2*maxHeadSize-step)
	buf := make([]byte, min(step, end-stop))
	for end > stop {
		start := max(stop, end-step)
		// What is read lies in one frame, and one that cannot be read is no reason to stop: what is looked for may lie
		// before it.
		first := b.table.Frames[b.table.Find(end-1)].PlainOffset
		if first += padding(first); first < end {
			start = max(start, first)
		}
		if err := b.readAt(ctx, buf[:end-start], start); err == nil {
			for at := end - blockSize; at >= start; at -= blockSize {
				e, err := parseTarHeader(buf[at-start : at-start+blockSize])
				if err == nil && e.name == tailPrefix+layoutName {
					return at, nil
				}
			}
		} else if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		end = start
	}
	return 0, fmt.Errorf("no header of %s in the last %d MiB", tailPrefix+layoutName, (b.table.PlainSize-stop)>>20)
}

func (b *Bundle) readAt(ctx context.Context, p []byte, offset int64) error {
	r, err := b.plain.Open(ctx, offset, int64(len(p)))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.ReadFull(r, p)
	return err
}

// ReadHead returns ferry.json from the first bytes of the bundle that r begins with, reading no further than it needs.
func ReadHead(r io.Reader, o Options) (*Head, string, error) {
	frames, err := newFrameReader(r, o)
	if err != nil {
		return nil, "", err
	}
	defer frames.Close()
	l, err := readFour(frames, "")
	if err != nil {
		return nil, "", err
	}
	return l.head, l.contentID(), nil
}

// Head returns ferry.json. It is not to be changed.
func (b *Bundle) Head() *Head { return b.layout.head }

// ContentID returns the content id in hex, see FORMAT.md section 3.
func (b *Bundle) ContentID() string { return b.layout.contentID() }

// Damage returns what was wrong with the frame of a bundle that was opened leniently, and with recipes of blobs.
func (b *Bundle) Damage() []Damage {
	all := slices.Concat(b.damage, b.recipes.damage())
	for i, d := range all {
		all[i] = b.place(d)
	}
	return all
}

// place returns d with its place in the volumes.
func (b *Bundle) place(d Damage) Damage {
	if b.set == nil {
		return d
	}
	return b.set.Place(d)
}

// Open returns the content of the blob d from offset on, as oci.Source. The member's tar header is checked first. A blob that
// has to be re-created is so from its begin, whatever the offset, which takes as long; see Pass for many of them. A blob
// that is not [Bundle.Direct] waits for its turn, see Options, and has it until it is closed.
func (b *Bundle) Open(ctx context.Context, _ oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	i, ok := b.blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w in the bundle", d.Digest, oci.ErrNotFound)
	}
	if size := b.layout.head.Blob(i).Size; offset < 0 || offset > size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, size)
	}
	if b.turns == nil || b.direct(i) {
		return b.open(ctx, i, offset)
	}
	return b.turns.open(ctx, func() (io.ReadCloser, error) { return b.open(ctx, i, offset) })
}

// open opens a blob by its number.
func (b *Bundle) open(ctx context.Context, i int, offset int64) (io.ReadCloser, error) {
	if n := i - len(b.layout.head.Members); n >= 0 {
		return b.openRecreated(ctx, n, offset)
	}
	return b.openMember(ctx, i, offset)
}

// openMember returns the content of a member from offset on.
func (b *Bundle) openMember(ctx context.Context, i int, offset int64) (io.ReadCloser, error) {
	s := b.layout.segments[b.layout.blobs+i]
	r, err := b.openBody(ctx, s, offset)
	if err != nil {
		return nil, b.blobError(i, err)
	}
	return &blobReader{ReadCloser: r, bundle: b, member: i}, nil
}

// openBody checks the tar header of s and returns its content from offset on. In a long frame both are one range, which
// keeps its decoder in between: others that open members of the frame would take it further, and the frame would have to
// be decoded again. Elsewhere they are two, so that no blob depends on the checksum of a stored frame.
func (b *Bundle) openBody(ctx context.Context, s segment, offset int64) (io.ReadCloser, error) {
	from, end := s.body()+offset, s.body()+s.size
	one := from < end && b.oneLongFrame(s.offset, from)
	stop := s.body()
	if one {
		stop = end
	}
	r, err := b.plain.Open(ctx, s.offset, stop-s.offset)
	if err != nil {
		return nil, err
	}
	if err := b.checkHeader(r, s); err != nil {
		r.Close()
		return nil, err
	}
	if !one {
		r.Close()
		return b.plain.Open(ctx, from, end-from)
	}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// oneLongFrame reports whether the plain bytes at both offsets lie in the same long frame.
func (b *Bundle) oneLongFrame(first, last int64) bool {
	i := b.table.Find(first)
	return i == b.table.Find(last) && i < len(b.table.Frames) && b.table.Frames[i].Long()
}

// checkHeader reads the tar header of s from r.
func (b *Bundle) checkHeader(r io.Reader, s segment) error {
	var h [blockSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return err
	}
	if h != tarHeader(s.name, s.size, b.layout.head.mtime()) {
		return errors.New("its tar header is damaged")
	}
	return nil
}

// blobReader names the blob and its images in what goes wrong.
type blobReader struct {
	io.ReadCloser
	bundle *Bundle
	member int
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		err = r.bundle.blobError(r.member, err)
	}
	return n, err
}

// blobError returns the DamageError of what is made from member i and could not be read.
func (b *Bundle) blobError(i int, err error) error {
	m := b.layout.head.Members[i]
	d := b.layout.head.damage(i, err)
	if d.Length == 0 {
		d.Offset, d.Length = fileRange(b.table, m.Offset, span(m.Size))
	}
	return &DamageError{Damage: b.place(d), Err: err}
}

// fileRange returns the range of the file that holds the n plain bytes from offset on.
func fileRange(t *compress.Table, offset, n int64) (start, length int64) {
	if n <= 0 || len(t.Frames) == 0 || offset < 0 || offset+n > t.PlainSize {
		return 0, 0
	}
	first, last := t.Frames[t.Find(offset)], t.Frames[t.Find(offset+n-1)]
	return first.Offset, last.Offset + last.Size - first.Offset
}

// DamageOf returns the damage to the blob d that whoever read it found out, as when its digest was wrong.
func (b *Bundle) DamageOf(d digest.Digest, err error) error {
	i, ok := b.blobs[d]
	if !ok {
		return err
	}
	return b.blobError(b.layout.head.memberOf(i), err)
}
