package archive

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// ErrBroken comes back from a [Writer] that has failed inside of a member, then and for all that would follow.
var ErrBroken = errors.New("the archive is broken off")

// Writer writes an archive. It is the sink of a copy, and has one place for all repositories, which matter for names only.
//
// One blob is written at a time: further calls of Push wait, and open their content when it is their turn. A blob of up to
// 256 KiB is proven before anything of it is written. A larger one that turns out wrong, or whose content fails, breaks the
// archive off inside of that member; a [File] drops what it has of the member and goes on.
//
// The archive is whole when Close has returned nil. One that is not closed has no end and names no image.
type Writer struct {
	format Format
	out    *counter
	tar    *tar.Writer
	rewind func(offset int64) error // drops what was written behind offset; nil: it cannot be dropped
	turn   chan struct{}            // held by who writes
	buf    []byte                   // of who writes

	mu     sync.Mutex
	blobs  map[digest.Digest]extent
	names  map[string]oci.Descriptor        // as they go into index.json
	listed map[digest.Digest]oci.Descriptor // without a name
	images map[digest.Digest]*oci.Manifest  // of a docker-archive
	roots  map[digest.Digest][]byte         // manifests that have a name, for Close to write
	broken error
}

// extent is where the content of a member lies in the tar.
type extent struct{ offset, size int64 }

var (
	_ oci.Sink     = (*Writer)(nil)
	_ oci.Mounter  = (*Writer)(nil)
	_ oci.Tagger   = (*Writer)(nil)
	_ oci.Attacher = (*Writer)(nil)
)

// headSize is how much of a blob is read before its header is written, in bytes.
const headSize = 256 << 10

// layoutFile is the content of oci-layout.
var layoutFile = []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)

// NewWriter begins an archive on w. Nothing is written before the first blob, or Close.
func NewWriter(w io.Writer, f Format) *Writer {
	out := &counter{w: w}
	return &Writer{
		format: f, out: out, tar: tar.NewWriter(out), turn: make(chan struct{}, 1), buf: make([]byte, headSize),
		blobs: map[digest.Digest]extent{}, names: map[string]oci.Descriptor{},
		listed: map[digest.Digest]oci.Descriptor{}, images: map[digest.Digest]*oci.Manifest{},
		roots: map[digest.Digest][]byte{},
	}
}

// counter counts what it writes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Size returns how many bytes were written.
func (w *Writer) Size() int64 {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	return w.out.n
}

// Images returns how many names the archive has for images, those of referrers not counted.
func (w *Writer) Images() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, d := range w.names {
		if d.Annotations[oci.AnnotationReferrer] == "" {
			n++
		}
	}
	return n
}

// Has reports whether the blob d is in the archive.
func (w *Writer) Has(_ context.Context, _ oci.Repository, d oci.Descriptor) (bool, error) {
	if _, err := oci.NewHash(d); err != nil {
		return false, err
	}
	_, ok := w.at(d)
	return ok, nil
}

func (w *Writer) at(d oci.Descriptor) (extent, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.blobs[d.Digest]
	return e, ok && e.size == d.Size
}

// Mount reports whether the blob d is there: an archive has only one place.
func (w *Writer) Mount(ctx context.Context, _, to oci.Repository, d oci.Descriptor) (bool, error) {
	return w.Has(ctx, to, d)
}

// Push writes the blob d, unless it is there. Content that does not match is an [oci.ErrCorrupt].
func (w *Writer) Push(ctx context.Context, _ oci.Repository, d oci.Descriptor, c oci.Content) error {
	if _, err := oci.NewHash(d); err != nil {
		return err
	}
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, ok := w.at(d); ok {
		return nil
	}
	if w.broken != nil {
		return w.broken
	}
	content, err := c(ctx, 0)
	if err != nil {
		return err
	}
	defer content.Close()
	return w.write(ctx, d, content)
}

// write writes a blob. The caller has the turn.
func (w *Writer) write(ctx context.Context, d oci.Descriptor, content io.Reader) error {
	proven := oci.Verify(content, d)
	n, err := io.ReadFull(proven, w.buf)
	// The last bytes come with their proof, so that only an empty blob still needs its end to be seen.
	whole := int64(n) == d.Size && (n > 0 || err == io.EOF)
	if err != nil && !whole {
		return err
	}
	if err := w.begin(); err != nil {
		return err
	}
	begin := w.out.n
	err = w.header(blobName(d.Digest), d.Size)
	at := w.out.n
	if err == nil {
		_, err = w.tar.Write(w.buf[:n])
	}
	if err == nil && !whole {
		_, err = io.Copy(whileLives{ctx, w.tar}, proven)
	}
	if err == nil {
		err = w.tar.Flush()
	}
	if err != nil {
		return w.drop(begin, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blobs[d.Digest] = extent{at, d.Size}
	return nil
}

// whileLives writes as long as ctx has not ended.
type whileLives struct {
	ctx context.Context
	w   io.Writer
}

func (l whileLives) Write(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	return l.w.Write(p)
}

// drop takes back what was written behind offset before err, where that can be done. It returns err, as an [ErrBroken]
// where it cannot.
func (w *Writer) drop(offset int64, err error) error {
	if w.rewind != nil {
		w.out.n = offset
		w.tar = tar.NewWriter(w.out)
		if w.broken = w.rewind(offset); w.broken == nil {
			return err
		}
	}
	w.broken = ErrBroken
	return &brokenError{err}
}

// brokenError is what broke an archive off: an [ErrBroken] with the text of the error inside.
type brokenError struct{ err error }

func (e *brokenError) Error() string        { return e.err.Error() }
func (e *brokenError) Unwrap() error        { return e.err }
func (e *brokenError) Is(target error) bool { return target == ErrBroken }

// begin writes oci-layout, as the first member.
func (w *Writer) begin() error {
	if w.out.n > 0 {
		return nil
	}
	return w.small(layoutName, layoutFile)
}

func (w *Writer) small(name string, content []byte) error {
	begin := w.out.n
	err := w.header(name, int64(len(content)))
	if err == nil {
		_, err = w.tar.Write(content)
	}
	if err == nil {
		err = w.tar.Flush() // what fills up the last block belongs to the member, which may be the last that is kept
	}
	if err != nil {
		return w.drop(begin, err)
	}
	return nil
}

// header writes the header of a member.
func (w *Writer) header(name string, size int64) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	const maxUSTAR = 1 << 33
	if size >= maxUSTAR || len(name) > 100 {
		h.Format = tar.FormatGNU
	}
	return w.tar.WriteHeader(h)
}

// blobName returns the name of a blob's member.
func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Tagged returns what the name to:tag stands for in this archive, or [oci.ErrNotFound].
func (w *Writer) Tagged(_ context.Context, to oci.Repository, tag string) (oci.Descriptor, error) {
	name := oci.Reference{Repository: to, Tag: tag}.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	if d, ok := w.names[name]; ok {
		return d, nil
	}
	return oci.Descriptor{}, fmt.Errorf("%s: %w in the archive", name, oci.ErrNotFound)
}

// Tag names the manifest d, whose bytes are raw, to:tag. Close writes it, unless it is pushed, too: so that it makes no
// difference when an image gets its name. A docker-archive takes manifests
// of images alone: of an index or an artifact the error is [oci.ErrUnsupported].
func (w *Writer) Tag(_ context.Context, to oci.Repository, tag string, d oci.Descriptor, raw []byte) error {
	if err := oci.CheckBytes(d, raw); err != nil {
		return err
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if w.format == Docker && !isImage(m) {
		return fmt.Errorf("manifest %s is that of no image: %w in a %s", d.Digest, oci.ErrUnsupported, w.format)
	}
	name := oci.Reference{Repository: to, Tag: tag}.String()
	entry := oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	if _, ok := oci.ParseCosignTag(tag); ok {
		entry.Annotations = map[string]string{oci.AnnotationReferrer: name}
	} else {
		entry = oci.Named(entry, name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name], w.roots[d.Digest] = entry, raw
	if w.format == Docker {
		w.images[d.Digest] = m
	}
	return nil
}

// isImage reports whether m is the manifest of an image, which has layers and a config that says how to run it.
func isImage(m *oci.Manifest) bool { return m.Config != nil && oci.IsImageConfig(m.Config.MediaType) }

// Attach lists the manifest d without a name, so that readers of a layout find it by its subject.
func (w *Writer) Attach(_ context.Context, _ oci.Repository, d oci.Descriptor, raw []byte) (changed bool, err error) {
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return false, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.listed[d.Digest]
	w.listed[d.Digest] = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.Type()}
	return !ok, nil
}

// Close writes what names the images, and the end of the archive.
func (w *Writer) Close() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.broken != nil {
		return w.broken
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return err
	}
	for _, name := range w.sortedNames() {
		d := w.names[name]
		if _, ok := w.blobs[d.Digest]; ok {
			continue
		}
		if err := w.small(blobName(d.Digest), w.roots[d.Digest]); err != nil {
			return err
		}
		w.blobs[d.Digest] = extent{size: d.Size}
	}
	index, err := json.Marshal(w.index())
	if err != nil {
		return err
	}
	if err := w.small(indexName, index); err != nil {
		return err
	}
	if w.format == Docker {
		manifest, err := json.Marshal(w.dockerImages())
		if err != nil {
			return err
		}
		if err := w.small(manifestName, manifest); err != nil {
			return err
		}
	}
	w.broken = errClosed
	return w.tar.Close()
}

var errClosed = errors.New("the archive is closed")

// index returns index.json.
func (w *Writer) index() ocispec.Index {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []oci.Descriptor{},
	}
	named := map[digest.Digest]bool{}
	for _, name := range w.sortedNames() {
		index.Manifests = append(index.Manifests, w.names[name])
		named[w.names[name].Digest] = true
	}
	unnamed := len(index.Manifests)
	for _, d := range w.listed {
		if !named[d.Digest] {
			index.Manifests = append(index.Manifests, d)
		}
	}
	slices.SortFunc(index.Manifests[unnamed:], func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return index
}

func (w *Writer) sortedNames() []string {
	names := make([]string, 0, len(w.names))
	for name := range w.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// dockerImage is an entry of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImages returns manifest.json.
func (w *Writer) dockerImages() []*dockerImage {
	list := []*dockerImage{}
	byDigest := map[digest.Digest]*dockerImage{}
	for _, name := range w.sortedNames() {
		d := w.names[name].Digest
		image := byDigest[d]
		if image == nil {
			m := w.images[d]
			image = &dockerImage{Config: blobName(m.Config.Digest), RepoTags: []string{}, Layers: []string{}}
			for _, layer := range m.Layers {
				image.Layers = append(image.Layers, blobName(layer.Digest))
			}
			byDigest[d] = image
			list = append(list, image)
		}
		if ref, err := oci.ParseReference(name); err == nil && ref.Tag != "" && ref.Digest == "" {
			image.RepoTags = append(image.RepoTags, name)
		}
	}
	return list
}
