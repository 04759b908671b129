package oci

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxLayoutEntries is how many entries of index.json are read: more than a bundle has images.
	maxLayoutEntries = 200_000
	// maxLayoutFile is the size in bytes of the largest oci-layout that is read.
	maxLayoutFile = 64 << 10
)

// Layout is an OCI image layout that is only read: a folder that any tool has written, an unpacked bundle, a [Store] that
// another run may hold. It is a [Source] and a [ReferrerFinder]; having only one place, it looks at no Repository.
//
// The layout is not trusted: index.json is bounded, a blob is a regular file of the very size of its descriptor, and
// what is read is for the caller to prove, see [Verify]. All methods may be called from many goroutines.
type Layout struct {
	name   string
	files  fs.FS
	images []LayoutImage

	findAbout sync.Once
	about     *aboutList
	aboutErr  error
}

var (
	_ Source         = (*Layout)(nil)
	_ ReferrerFinder = (*Layout)(nil)
)

// LayoutImage is an entry of index.json.
type LayoutImage struct {
	Root Descriptor // media type, digest and size alone
	// Name is the name as it is written there: the full one that containerd reads, else that of the specification, which
	// many tools give a tag alone; else empty.
	Name string
	// Ref is the image that Name names. It is zero unless Name has a repository: a slash, or a colon with a tag behind it.
	Ref Reference
	// About is what the entry is about when its tag is one of cosign's, or stands in for the referrers API: then it is no
	// image of its own, and [Layout.Referrers] tells of it. Else it is empty.
	About digest.Digest
}

// OpenLayout opens the image layout in the folder dir. Nothing is written there, and nothing stays open.
//
// A folder without oci-layout and index.json is [fs.ErrNotExist].
func OpenLayout(dir string) (*Layout, error) { return ReadLayout(os.DirFS(dir), dir) }

// NewLayout returns the layout of images whose blobs are in files, by the names that a layout gives them; there need be no
// other files. It is for what can be looked at as a layout and is none. About of the images is set.
func NewLayout(files fs.FS, name string, images []LayoutImage) *Layout {
	l := &Layout{name: name, files: files, images: slices.Clone(images)}
	for i := range l.images {
		l.images[i].About = aboutOf(l.images[i].tag())
	}
	return l
}

// ReadLayout is [OpenLayout] for whatever has the files of a layout; name stands for it in messages. Its files have to be
// io.Seekers.
func ReadLayout(files fs.FS, name string) (*Layout, error) {
	l := &Layout{name: name, files: files}
	if err := l.checkVersion(); err != nil {
		return nil, fmt.Errorf("image layout %s: %w", name, err)
	}
	if err := l.readIndex(); err != nil {
		return nil, fmt.Errorf("image layout %s: %s: %w", name, ocispec.ImageIndexFile, err)
	}
	return l, nil
}

// String returns the folder.
func (l *Layout) String() string { return l.name }

// Images returns what index.json lists, in its order, equal entries of one name once. Several may have one name all the
// same.
func (l *Layout) Images() []LayoutImage { return l.images }

// Open returns the content of the blob d from byte offset on. Errors: [ErrNotFound]; a file of another size is a
// [*DigestError].
func (l *Layout) Open(_ context.Context, _ Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)
	}
	f, err := l.openBlob(d)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		if err := seek(f, offset); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &layoutBlob{file: f, d: d, left: d.Size - offset}, nil
}

// Has reports whether the blob d is there, by its name and size.
func (l *Layout) Has(d Descriptor) bool { return l.checkBlob(d) == nil }

// checkBlob looks at the file of d without opening it: that of a pipe would wait for a writer.
func (l *Layout) checkBlob(d Descriptor) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	info, err := fs.Stat(l.files, blobName(d.Digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("blob %s: %w in %s", d.Digest, ErrNotFound, l.name)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("blob %s: %w in %s: no regular file", d.Digest, ErrNotFound, l.name)
	case info.Size() != d.Size:
		return &DigestError{Want: d, GotSize: info.Size()}
	}
	return nil
}

func (l *Layout) openBlob(d Descriptor) (fs.File, error) {
	if err := l.checkBlob(d); err != nil {
		return nil, err
	}
	return l.files.Open(blobName(d.Digest))
}

// blobName returns the name of a blob whose digest has been checked.
func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func seek(f fs.File, offset int64) error {
	s, ok := f.(io.Seeker)
	if !ok {
		return errors.New("a file that cannot be read from the middle")
	}
	_, err := s.Seek(offset, io.SeekStart)
	return err
}

// layoutBlob reads no more than the blob has, and tells when the file is shorter than it was.
type layoutBlob struct {
	file fs.File
	d    Descriptor
	left int64
}

func (b *layoutBlob) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.file.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = &DigestError{Want: b.d, GotSize: b.d.Size - b.left}
	}
	return n, err
}

func (b *layoutBlob) Close() error { return b.file.Close() }

// manifest returns the bytes of the manifest d, proven.
func (l *Layout) manifest(d Descriptor) (raw []byte, err error) {
	if d.Size > MaxManifestSize {
		return nil, fmt.Errorf("manifest %s: %d bytes, at most %d are read", d.Digest, d.Size, MaxManifestSize)
	}
	f, err := l.openBlob(d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if raw, err = io.ReadAll(io.LimitReader(f, d.Size+1)); err != nil {
		return nil, err
	}
	return raw, CheckBytes(d, raw)
}

// checkVersion refuses what is no image layout of the version that we know.
func (l *Layout) checkVersion() error {
	f, err := l.openRegular(ocispec.ImageLayoutFile)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxLayoutFile))
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("%s: %w", ocispec.ImageLayoutFile, err)
	}
	if v.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("version %.20q, want %q", v.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

func (l *Layout) openRegular(name string) (fs.File, error) {
	info, err := fs.Stat(l.files, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", name)
	}
	return l.files.Open(name)
}

// readIndex reads the entries of index.json one by one, so that what is refused costs no memory.
func (l *Layout) readIndex() error {
	f, err := l.openRegular(ocispec.ImageIndexFile)
	if err != nil {
		return err
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: maxIndexFile + 1}
	dec := json.NewDecoder(bufio.NewReader(limited))
	if err = l.decodeIndex(dec); limited.N == 0 {
		return fmt.Errorf("more than %d bytes", maxIndexFile)
	}
	return err
}

func (l *Layout) decodeIndex(dec *json.Decoder) error {
	const list = "manifests"
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	found := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		switch name, _ := key.(string); {
		case name == list && !found:
			found = true
			if err := l.decodeEntries(dec); err != nil {
				return err
			}
		case strings.EqualFold(name, list):
			return fmt.Errorf("key %q is there twice, or in another case", list)
		default:
			var other json.RawMessage
			if err := dec.Decode(&other); err != nil {
				return err
			}
		}
	}
	_, err := dec.Token()
	return err
}

func (l *Layout) decodeEntries(dec *json.Decoder) error {
	t, err := dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return errors.New("manifests: not an array")
	}
	type entry struct {
		digest digest.Digest
		name   string
	}
	seen := map[entry]bool{}
	for n := 0; dec.More(); n++ {
		if n == maxLayoutEntries {
			return fmt.Errorf("more than %d entries", maxLayoutEntries)
		}
		var d Descriptor
		if err := dec.Decode(&d); err != nil {
			return err
		}
		if err := checkDescriptor(d); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		image := newLayoutImage(d)
		if key := (entry{d.Digest, image.Name}); !seen[key] {
			seen[key] = true
			l.images = append(l.images, image)
		}
	}
	_, err = dec.Token()
	return err
}

func newLayoutImage(d Descriptor) LayoutImage {
	i := LayoutImage{Root: Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}
	i.Name = cmp.Or(nameOf(d), d.Annotations[AnnotationReferrer])
	if strings.ContainsAny(i.Name, "/:@") {
		if ref, err := parseReference(i.Name); err == nil {
			i.Ref = ref
		}
	}
	i.About = aboutOf(i.tag())
	return i
}

// tag returns the tag of the name.
func (i LayoutImage) tag() string {
	if i.Ref != (Reference{}) {
		return i.Ref.Tag
	}
	return i.Name
}

// aboutOf returns what an image with that tag is about, see LayoutImage.About.
func aboutOf(tag string) digest.Digest {
	if about, ok := ParseCosignTag(tag); ok {
		return about
	}
	if IsFallbackTag(tag) {
		return digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(tag, "sha256-"))
	}
	return ""
}
