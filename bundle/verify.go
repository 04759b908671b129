package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// VerifyOptions are how a bundle is verified. The zero value works.
type VerifyOptions struct {
	Options
	Jobs     int           // frames decoded and hashed at once; 0: one a processor
	Sum      *[32]byte     // what the whole file must hash to, from NAME.sha256
	Progress func(n int64) // called with each number of bytes that were read, from one goroutine
}

// Report is what Verify found.
type Report struct {
	Head      *Head
	ContentID string
	FileSize  int64
	FileSum   string // sha256 of the file, empty when some of it could not be read
	Members   int    // blobs whose digest was proven
	Bytes     int64  // their size
	Images    int    // images whose whole graph is there and proven
	Damage    []Damage
	// Missing names the volumes that are missing, and Lacking the images that need what is in them. That is no damage.
	Missing *MissingError
	Lacking []string

	Recreated      int   // blobs that were re-created from members, and whose digest was proven
	RecreatedBytes int64 // their size
}

// Verify reads the bundle once, in order, and proves all of it: the frames against the seek table, each tar header against
// ferry.json, each blob against its digest, head against tail and SHA256SUMS, and the graph of each image: no manifest lacks a
// blob. Blobs that are not in the bundle as they are, are re-created, and plain twins are compared with what their manifests
// say. A read error is damage of that range, and the rest is read on. Where r is a [Set], the volumes are proven against their
// NAME.sha256, and what is lost because some are missing is told apart from damage.
//
// What is damaged is in the Report; the error is for what is no bundle at all (ErrNotBundle, ErrVersion), for a bundle of
// which nothing can be found any more (ErrCorrupt), and for ctx.
func Verify(ctx context.Context, r io.ReaderAt, size int64, o VerifyOptions) (*Report, error) {
	o.Lenient = true
	b, err := Open(ctx, r, size, o.Options)
	if err != nil {
		return nil, err
	}
	v := &verifier{
		bundle: b, options: o, size: size, file: sha256.New(),
		blobs:     make([]blobState, len(b.layout.head.Members)),
		manifests: map[digest.Digest][]byte{},
		badFrames: map[int]frameDamage{},
		sums:      newVolumeSums(b.set),
		again:     newEncodings(Options{Reader: compress.ReaderOptions{Jobs: o.Jobs}}.recreating()),
	}
	for n, err := range b.recipes.bad {
		if err != nil {
			i := b.layout.head.Recreated[n].Recipe
			v.blobs[i].reason = b.layout.head.damage(i, err).Reason
		}
	}
	if err := v.run(ctx, r); err != nil {
		return nil, err
	}
	return v.report(ctx)
}

// wholeFile is what a file is reported under whose sha256 is wrong though nothing in it is.
const wholeFile = "the file"

// verifier is one run of Verify. Frames go through three stages: one goroutine reads them in order, some decode them
// and prove what lies wholly inside of one, and one takes them in order again and proves what spans several.
type verifier struct {
	bundle  *Bundle
	options VerifyOptions
	size    int64
	file    hash.Hash // of the whole file
	unread  bool      // some of the file could not be read
	again   *encodings

	mu        sync.Mutex
	sums      *volumeSums
	blobs     []blobState
	manifests map[digest.Digest][]byte
	badFrames map[int]frameDamage
	damage    []Damage // of what is no blob
}

// blobState is what is known of a member so far.
type blobState struct {
	proven    bool
	recreated bool   // so is the blob that is made from it
	reason    string // why it is damaged
}

type frameDamage struct {
	err  error
	from int64 // plain offset from which on nothing is known of it
	used bool  // a member is reported for it
}

// piece is a part of the file up to the end of one frame.
type piece struct {
	frame *compress.Frame // nil for what follows the last frame
	start int64           // in the file
	raw   []byte
	err   error // of reading it
	plain []byte
	done  chan struct{} // closed when plain is there and what lies inside of it was proven

	// rest is what of the frame is not in raw, piece by piece: of a frame that is too long to be held, all of it.
	rest chan rawBytes
}

// rawBytes is some of a frame as it is in the file, or why it could not be read.
type rawBytes struct {
	bytes []byte
	err   error
}

// streamedFrom is how many plain bytes a frame has that is not held as a whole. Tests lower it.
var streamedFrom int64 = compress.MaxFramePlain + 1

const (
	streamedRaw   = 256 << 10 // bytes of such a frame that are read from the file at once
	streamedPlain = 1 << 20   // and plain bytes that are proven at once
)

func (v *verifier) run(ctx context.Context, r io.ReaderAt) error {
	jobs := cmp.Or(v.options.Jobs, runtime.GOMAXPROCS(0))
	group, ctx := errgroup.WithContext(ctx)
	work := make(chan *piece, jobs)
	ordered := make(chan *piece, jobs) // bounds, with work, what is held at once
	group.Go(func() error {
		defer close(work)
		defer close(ordered)
		return v.read(ctx, r, work, ordered)
	})
	dec := compress.NewDecoder(v.bundle.table.Format, v.options.Reader)
	for range jobs {
		group.Go(func() error {
			for p := range work {
				v.decode(ctx, dec, p)
				close(p.done)
			}
			return nil
		})
	}
	group.Go(func() error { return v.join(ctx, dec, ordered) })
	return group.Wait()
}

// read reads the file in order, piece after piece, and hashes it.
func (v *verifier) read(ctx context.Context, r io.ReaderAt, work, ordered chan<- *piece) error {
	at := int64(0)
	frames := v.bundle.table.Frames
	for i := range len(frames) + 1 {
		p := &piece{start: at, done: make(chan struct{})}
		end := v.size
		if i < len(frames) {
			p.frame = &frames[i]
			// Frames have a gap between them when the table was made of what was found.
			if start := p.frame.Offset - p.frame.Lead; start > at {
				if err := v.skim(ctx, r, at, start); err != nil && ctx.Err() != nil {
					return err
				}
				at, p.start = start, start
			}
			end = p.frame.Offset + p.frame.Size
			if p.frame.PlainSize >= streamedFrom {
				p.rest = make(chan rawBytes, 4)
				end = p.frame.Offset
			}
		}
		if i < len(frames) {
			p.raw, p.err = v.readRange(r, at, end)
		} else if p.err = v.skim(ctx, r, at, end); ctx.Err() != nil {
			return ctx.Err()
		}
		at = end
		for _, to := range []chan<- *piece{work, ordered} {
			select {
			case to <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if p.rest == nil {
			continue
		}
		at = p.frame.Offset + p.frame.Size
		if err := v.readRest(ctx, r, p); err != nil {
			return err
		}
	}
	return nil
}

// skim reads and hashes a range of the file of which nothing else is wanted, and returns why some of it could not be read. What
// is known to be missing is not looked at.
func (v *verifier) skim(ctx context.Context, r io.ReaderAt, from, to int64) (first error) {
	for at := from; at < to && ctx.Err() == nil; {
		next := min(at+streamedRaw, to)
		var err error
		if set := v.bundle.set; set != nil && !set.has(at, at+1) {
			next = set.edge(at, to)
			err = set.MissingError()
			v.unread = true
			v.sums.skip(next-at, err)
			v.progress(next - at)
		} else {
			_, err = v.readRange(r, at, next)
		}
		first = cmp.Or(first, err)
		at = next
	}
	return cmp.Or(first, ctx.Err())
}

func (v *verifier) progress(n int64) {
	if v.options.Progress != nil {
		v.options.Progress(n)
	}
}

// readRest reads what of the piece comes piece by piece.
func (v *verifier) readRest(ctx context.Context, r io.ReaderAt, p *piece) error {
	defer close(p.rest)
	end := p.frame.Offset + p.frame.Size
	for at := p.frame.Offset; at < end; at += streamedRaw {
		raw, err := v.readRange(r, at, min(at+streamedRaw, end))
		select {
		case p.rest <- rawBytes{raw, err}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// readRange reads and hashes a range of the file, which is the one that follows.
func (v *verifier) readRange(r io.ReaderAt, from, to int64) (raw []byte, err error) {
	raw = make([]byte, to-from)
	for at := from; at < to; {
		part := raw[at-from : v.bundle.set.edge(at, to)-from]
		_, rerr := r.ReadAt(part, at)
		if errors.Is(rerr, io.EOF) {
			rerr = nil
		}
		if rerr != nil {
			err = cmp.Or(err, fmt.Errorf("it cannot be read: %w", rerr))
			v.unread = true
		}
		v.sums.add(part, rerr)
		at += int64(len(part))
	}
	if !v.unread { // else nobody wants to know it
		v.file.Write(raw)
	}
	v.progress(to - from)
	return raw, err
}

// decode turns the piece into plain bytes and proves the members that lie inside of it.
func (v *verifier) decode(ctx context.Context, dec *compress.Decoder, p *piece) {
	if p.frame == nil {
		v.checkRest(p)
		return
	}
	f := *p.frame
	if p.rest != nil {
		v.checkLead(f, p.raw)
		return
	}
	err := p.err
	if err == nil {
		lead, raw := p.raw[:f.Offset-p.start], p.raw[f.Offset-p.start:]
		v.checkLead(f, lead)
		if p.plain, err = dec.Decode(ctx, nil, f, raw); err != nil {
			p.plain = dec.Salvage(nil, f, raw)
		}
	}
	p.raw = nil
	if err != nil {
		v.badFrame(f, f.PlainOffset, err)
	}
	if len(p.plain) == 0 {
		v.lost(f, f.PlainOffset, err)
		return
	}
	v.eachPart(f.PlainOffset, p.plain, func(s segment, part part) {
		if part.whole(s) {
			v.prove(ctx, s, part.bytes)
		}
	})
}

// badFrame notes that a frame is damaged from a plain offset on.
func (v *verifier) badFrame(f compress.Frame, from int64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.badFrames[f.Number] = frameDamage{err: err, from: from}
}

// checkLead proves the stamp before a frame, and that it belongs to this bundle.
func (v *verifier) checkLead(f compress.Frame, lead []byte) {
	id, bad := v.bundle.table.CheckLead(f, lead)
	reason := ""
	switch {
	case bad != nil:
		reason = bad.Error()
	case id != v.bundle.layout.id && id != [32]byte{} && !v.bundle.layout.rebuilt:
		reason = fmt.Sprintf("it belongs to the bundle with the content id %x", id)
	default:
		return
	}
	v.hurt(Damage{
		Member: fmt.Sprintf("stamp of frame %d", f.Number), Offset: f.Offset - int64(len(lead)), Length: int64(len(lead)),
		Reason: reason,
	})
}

// checkRest proves what follows the last frame: opening the table has read its content, so only an error counts.
func (v *verifier) checkRest(p *piece) {
	if p.err != nil && !isMissing(p.err) {
		v.hurt(Damage{Member: tableName, Offset: p.start, Length: v.size - p.start, Reason: p.err.Error()})
	}
}

func (v *verifier) hurt(d Damage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damage = append(v.damage, d)
}

// part is the content of a segment, or some of it, as found in one frame.
type part struct {
	offset int64 // in the content
	bytes  []byte
}

func (p part) whole(s segment) bool { return p.offset == 0 && int64(len(p.bytes)) == s.size }

// eachPart compares headers and padding of all segments that the plain bytes at offset touch with what they have to be, and
// calls fn with what is there of their contents.
func (v *verifier) eachPart(offset int64, plain []byte, fn func(segment, part)) {
	segments := v.bundle.layout.segments
	end := offset + int64(len(plain))
	i, _ := slices.BinarySearchFunc(segments, offset, func(s segment, at int64) int {
		if s.end() <= at {
			return -1
		}
		return 1
	})
	cut := func(from, to int64) []byte {
		from, to = max(from, offset), min(to, end)
		if from >= to {
			return nil
		}
		return plain[from-offset : to-offset]
	}
	for ; i < len(segments) && segments[i].offset < end; i++ {
		s := segments[i]
		want := tarHeader(s.name, s.size, v.bundle.layout.head.mtime())
		from := max(0, offset-s.offset)
		if h := cut(s.offset, s.body()); !bytes.Equal(h, want[min(from, blockSize):min(from+int64(len(h)), blockSize)]) {
			v.hurtSegment(s, "its tar header is not what "+headName+" says")
		}
		if pad := cut(s.body()+s.size, s.end()); !bytes.Equal(pad, zeroBlock[:len(pad)]) {
			v.hurtSegment(s, "its padding is not zero")
		}
		content := cut(s.body(), s.body()+s.size)
		if len(content) > 0 || s.size == 0 && s.body() >= offset && s.body() <= end {
			fn(s, part{offset: max(0, offset-s.body()), bytes: content})
		}
	}
	if v.bundle.layout.rebuilt {
		return
	}
	last := segments[len(segments)-1].end()
	if rest := cut(last, end); !bytes.Equal(rest, make([]byte, len(rest))) {
		v.hurt(Damage{Member: "tar", Reason: "what follows its last member is not zero"})
	}
}

// lost marks all members that lie in a frame of which nothing is left from a plain offset on.
func (v *verifier) lost(f compress.Frame, from int64, err error) {
	for _, s := range v.bundle.layout.segments {
		if s.offset < f.PlainOffset+f.PlainSize && s.end() > from {
			v.hurtSegment(s, err.Error())
		}
	}
}

func (v *verifier) hurtSegment(s segment, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.member < 0 {
		if !v.bundle.isThere(s.offset, span(s.size)) {
			return
		}
		offset, length := fileRange(v.bundle.table, s.offset, span(s.size))
		v.damage = append(v.damage, Damage{Member: s.name, Offset: offset, Length: length, Reason: reason})
		return
	}
	b := &v.blobs[s.member]
	b.reason = cmp.Or(b.reason, reason)
}

// prove checks the whole content of a segment.
func (v *verifier) prove(ctx context.Context, s segment, content []byte) {
	if s.member < 0 {
		v.compare(s, content)
		return
	}
	var keep []byte
	if v.keeps(s) {
		keep = bytes.Clone(content)
	}
	if got := digest.FromBytes(content); v.proven(s, got, keep) {
		one := v.recreate(ctx, s)
		_, _ = one.Write(content) // what is wrong with the blob, it says itself
		one.end(nil)
	}
}

// compare checks the whole content of a segment of head or tail.
func (v *verifier) compare(s segment, content []byte) {
	if !bytes.Equal(content, s.raw) {
		v.hurtSegment(s, "its content is not that of the head")
	}
}

// keeps reports whether the content of the segment is needed at the end.
func (v *verifier) keeps(s segment) bool {
	return s.member < 0 || s.size <= oci.MaxManifestSize && oci.IsManifest(v.bundle.layout.head.Members[s.member].MediaType)
}

// proven records the digest that the content of a blob turned out to have, and reports whether it is the right one.
func (v *verifier) proven(s segment, got digest.Digest, manifest []byte) bool {
	m := v.bundle.layout.head.Members[s.member]
	if got != m.Digest {
		v.hurtSegment(s, fmt.Sprintf("its content has digest %s", got))
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.blobs[s.member].proven = true
	if manifest != nil {
		v.manifests[m.Digest] = manifest
	}
	return true
}

// recreate begins to prove the blob that has to be made from a segment, if there is one. It waits until there is room.
func (v *verifier) recreate(ctx context.Context, s segment) outlet {
	n, ok := 0, false
	if s.member >= 0 {
		n, ok = v.bundle.layout.head.recreatedFrom(s.member)
	}
	if !ok {
		return noOutlet{}
	}
	recipe, err := v.bundle.recipes.of(n)
	if err != nil {
		return noOutlet{} // that is damage of the recipe
	}
	one, err := v.again.start(ctx, recipe, io.Discard, func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		b := &v.blobs[s.member]
		if b.recreated = err == nil; !b.recreated {
			b.reason = cmp.Or(b.reason, v.bundle.layout.head.damage(s.member, err).Reason)
		}
	})
	if err != nil {
		return noOutlet{} // ctx has ended
	}
	return one
}

// join takes the frames in order and proves the members that span several. Each of those has a goroutine of its own, so
// that one large layer and the next are hashed side by side.
func (v *verifier) join(ctx context.Context, dec *compress.Decoder, ordered <-chan *piece) error {
	j := &joining{verifier: v}
	j.group.SetLimit(cap(v.again.calls) + 1)
	defer func() {
		j.open.end()
		_ = j.group.Wait() // nothing in it fails
		v.again.running.Wait()
	}()
	for p := range ordered {
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case p.frame == nil:
		case p.rest != nil:
			j.stream(ctx, dec, p)
		default:
			v.eachPart(p.frame.PlainOffset, p.plain, func(s segment, part part) {
				if !part.whole(s) {
					j.take(ctx, s, part)
				}
			})
		}
	}
	return nil
}

// joining is the stage that puts members together.
type joining struct {
	*verifier
	group errgroup.Group
	open  *spanning
}

// stream decodes a frame that is too long to be held, and proves what lies in it.
func (j *joining) stream(ctx context.Context, dec *compress.Decoder, p *piece) {
	defer func() {
		for range p.rest { // what the decoder has not asked for
		}
	}()
	f := *p.frame
	r := dec.Stream(ctx, f, &restReader{rest: p.rest})
	defer r.Close()
	for at := f.PlainOffset; ; {
		plain, n := make([]byte, streamedPlain), 0
		var err error
		for n < len(plain) && err == nil {
			var m int
			m, err = r.Read(plain[n:])
			n += m
		}
		j.eachPart(at, plain[:n], func(s segment, part part) { j.take(ctx, s, part) })
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return
		case err != nil:
			j.badFrame(f, at, err)
			j.lost(f, at, err)
			return
		}
	}
}

// take gives a part to the member that it is of.
func (j *joining) take(ctx context.Context, s segment, part part) {
	if part.offset == 0 {
		j.open.end() // when its last part was lost
		j.open = j.startSpanning(s, j.recreate(ctx, s), &j.group)
	}
	if j.open.takes(s, part) && part.offset+int64(len(part.bytes)) == s.size {
		j.open.end()
		j.open = nil
	}
}

// restReader gives the bytes of a frame that come piece by piece.
type restReader struct {
	rest <-chan rawBytes
	now  []byte
}

func (r *restReader) Read(p []byte) (int, error) {
	for len(r.now) == 0 {
		next, ok := <-r.rest
		switch {
		case !ok:
			return 0, io.EOF
		case next.err != nil:
			return 0, next.err
		}
		r.now = next.bytes
	}
	n := copy(p, r.now)
	r.now = r.now[n:]
	return n, nil
}

// spanning is a member whose content comes in several frames.
type spanning struct {
	segment segment
	next    int64 // offset of the part that has to come
	parts   chan []byte
}

// startSpanning begins to prove a segment, of which one has the content, too.
func (v *verifier) startSpanning(s segment, one outlet, group *errgroup.Group) *spanning {
	sp := &spanning{segment: s, parts: make(chan []byte, 2)}
	group.Go(func() error {
		var content []byte
		keep := v.keeps(s)
		sum, n := sha256.New(), int64(0)
		for part := range sp.parts {
			sum.Write(part)
			n += int64(len(part))
			if keep {
				content = append(content, part...)
			}
			_, _ = one.Write(part) // what is wrong with the blob, it says itself
		}
		switch {
		case n < s.size: // a frame was lost, which is recorded already
			one.end(errors.New("some of its plain bytes are lost"))
			return nil
		case s.member < 0:
			v.compare(s, content)
		default:
			v.proven(s, digest.NewDigest(digest.SHA256, sum), content)
		}
		one.end(nil)
		return nil
	})
	return sp
}

// takes gives the member its next part and reports whether it was the next one.
func (sp *spanning) takes(s segment, p part) bool {
	if sp == nil || sp.segment.offset != s.offset || sp.next != p.offset {
		return false
	}
	sp.next += int64(len(p.bytes))
	sp.parts <- p.bytes
	return true
}

// end says that no part will come any more.
func (sp *spanning) end() {
	if sp != nil {
		close(sp.parts)
	}
}

// report gathers what was found.
func (v *verifier) report(ctx context.Context) (*Report, error) {
	h := v.bundle.layout.head
	r := &Report{Head: h, ContentID: v.bundle.ContentID(), FileSize: v.size, Damage: slices.Concat(v.bundle.damage, v.damage)}
	if missing := v.bundle.set.MissingError(); missing != nil {
		errors.As(missing, &r.Missing)
		r.Lacking = v.bundle.Lacking()
	}
	if !v.unread {
		r.FileSum = hex.EncodeToString(v.file.Sum(nil))
	}
	for i, m := range h.Members {
		b := v.blobs[i]
		if b.recreated {
			r.Recreated++
			r.RecreatedBytes += h.made(i).Size
		}
		if b.proven && b.reason == "" {
			r.Members++
			r.Bytes += m.Size
			continue
		}
		if d := v.blobDamage(i); v.bundle.isThere(m.Offset, span(m.Size)) {
			r.Damage = append(r.Damage, d)
		}
	}
	for n, bad := range v.badFrames {
		if !bad.used && !isMissing(bad.err) {
			f := v.bundle.table.Frames[n]
			r.Damage = append(r.Damage, Damage{Member: fmt.Sprintf("frame %d", n), Offset: f.Offset, Length: f.Size, Reason: bad.err.Error()})
		}
	}
	lacking := map[string]bool{}
	for _, name := range r.Lacking {
		lacking[name] = true
	}
	if err := v.checkGraphs(ctx, r, lacking); err != nil {
		return nil, err
	}
	r.Damage = append(r.Damage, v.sums.damage(r.Damage)...)
	if want := v.options.Sum; want != nil && len(r.Damage) == 0 && r.FileSum != "" && r.FileSum != hex.EncodeToString(want[:]) {
		r.Damage = append(r.Damage, Damage{Member: wholeFile, Reason: fmt.Sprintf("its sha256 is %s, want %x", r.FileSum, want[:])})
	}
	for i, d := range r.Damage {
		r.Damage[i] = v.bundle.place(d)
	}
	slices.SortStableFunc(r.Damage, func(a, b Damage) int { return cmp.Compare(a.Offset, b.Offset) })
	return r, nil
}

// blobDamage describes what happened to member i, by the damaged frames that it touches.
func (v *verifier) blobDamage(i int) Damage {
	h, m := v.bundle.layout.head, v.bundle.layout.head.Members[i]
	made := h.made(i).Digest
	d := Damage{Member: m.Name(), Digest: made, Images: h.ImagesWith(made), Reason: v.blobs[i].reason}
	d.Offset, d.Length = fileRange(v.bundle.table, m.Offset, span(m.Size))
	first := true
	for n, f := range v.bundle.table.Frames {
		bad, ok := v.badFrames[n]
		if !ok || bad.from >= m.Offset+span(m.Size) || f.PlainOffset+f.PlainSize <= m.Offset {
			continue
		}
		bad.used = true
		v.badFrames[n] = bad
		if first {
			d.Offset, d.Reason, first = f.Offset, bad.err.Error(), false
		}
		d.Length = f.Offset + f.Size - d.Offset
	}
	d.Reason = cmp.Or(d.Reason, "it is not in the file")
	return d
}

// checkGraphs proves that the manifests say what ferry.json says, for all images but those that are hit already, or by damage.
func (v *verifier) checkGraphs(ctx context.Context, r *Report, hit map[string]bool) error {
	h := v.bundle.layout.head
	for _, d := range r.Damage {
		for _, name := range d.Images {
			hit[name] = true
		}
	}
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) {
		if raw, ok := v.manifests[d.Digest]; ok {
			return raw, nil
		}
		return nil, fmt.Errorf("manifest %s: %w in the bundle", d.Digest, oci.ErrNotFound)
	}
	for _, img := range h.Images {
		if hit[img.Name] {
			continue
		}
		if err := v.checkGraph(ctx, img, fetch); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.Damage = append(r.Damage, Damage{
				Member: blobPrefix + img.Digest.Encoded(), Digest: img.Digest, Images: []string{img.Name}, Reason: err.Error(),
			})
			continue
		}
		r.Images++
	}
	return nil
}

func (v *verifier) checkGraph(
	ctx context.Context, img Image, fetch func(context.Context, oci.Descriptor) ([]byte, error),
) error {
	root, err := oci.LoadGraph(ctx, fetch, img.Descriptor())
	if err != nil {
		return err
	}
	h, at := v.bundle.layout.head, v.bundle.blobs
	if v.bundle.layout.rebuilt {
		err = checkBlobs(root, h, at)
	} else {
		err = compareGraph(root, img, h, at)
	}
	if err != nil {
		return err
	}
	if err := v.checkTwins(root, img); err != nil {
		return err
	}
	_, err = referrers(ctx, fetch, h, at, img)
	return err
}

// checkTwins proves that the plain twins of an image are the ones of its manifests.
func (v *verifier) checkTwins(root *oci.Node, img Image) error {
	h := v.bundle.layout.head
	if !h.IsCompact() {
		return nil
	}
	twins, want := h.twins(), map[digest.Digest]oci.Descriptor{}
	err := root.Walk(func(n *oci.Node) error {
		twin, err := twins.Rewrite(n)
		if err == nil && twin.Digest != n.Digest {
			want[n.Digest] = twin.Descriptor
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range img.Manifests {
		twin, ok := h.Twin(m)
		switch d, has := want[m.Digest]; {
		case has != ok:
			return fmt.Errorf("manifest %s: %s names a plain twin: %t, and its layers are re-created: %t", m.Digest, headName, ok, has)
		case has && d.Digest != twin.Digest:
			return fmt.Errorf("manifest %s: its plain twin is %s, %s names %s", m.Digest, d.Digest, headName, twin.Digest)
		}
	}
	return nil
}
