package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// Annotations of the entries of index.json: the OCI one and the one that containerd reads.
const (
	refNameAnnotation   = ocispec.AnnotationRefName
	imageNameAnnotation = "io.containerd.image.name"
)

var layoutFile = []byte(`{"imageLayoutVersion":"1.0.0"}`)

// Contents is what a bundle is to hold.
type Contents struct {
	Images  []Entry
	Missing []Missing
	Labels  map[string]string
	Created *time.Time // nil: no time anywhere but in Sources
	// Sources and Projects are what is known of registries that were listed; no two projects have one registry and name.
	Sources  []Source
	Projects []Project
	// Compact un-gzips layers; nil writes all blobs as they are.
	Compact *Compact
}

// Entry is one image to be written.
type Entry struct {
	Name     string          // canonical name, unique in the bundle
	Root     *oci.Node       // its graph
	Pinned   bool            // the list named it by digest
	Original *oci.Descriptor // the index at the source, when Root was rebuilt from it; written as a blob
	// MergedFrom is what the image was at several sources, when Root was merged from them; written as blobs.
	MergedFrom []oci.Descriptor
	// Referrers are what belongs to the image, each after what it is about.
	Referrers []oci.Referrer
}

// segment is one member of the tar: where it is, and its content unless it is a blob.
type segment struct {
	name   string
	offset int64 // of its header in the plain tar
	size   int64
	raw    []byte
	member int // position in Head.Members; -1 for the members of head and tail
}

func (s segment) body() int64 { return s.offset + blockSize }
func (s segment) end() int64  { return s.offset + span(s.size) }

// layout is the whole tar, known before its first byte is written: what the writer writes and verify expects.
type layout struct {
	head     *Head
	segments []segment
	blobs    int      // position of the first blob among the segments
	tail     int      // position of the first member of the tail
	id       [32]byte // content id
	compact  *ungzip  // what a writer needs to know of a compact bundle; else nil
	long     longRun
	rebuilt  bool // found by reading the tar, because both heads are hurt: there are segments of blobs only
}

func (l *layout) contentID() string { return hex.EncodeToString(l.id[:]) }

// newLayout plans the tar of c.
func newLayout(c Contents) (*layout, error) {
	h := &Head{
		Format: formatName, Version: Version, Created: c.Created, Labels: c.Labels,
		Images: []Image{}, Members: []Member{}, Missing: slices.Clone(c.Missing),
		Sources: c.Sources, Projects: slices.SortedFunc(slices.Values(c.Projects), compareProjects),
	}
	entries := slices.SortedFunc(slices.Values(c.Images), func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(h.Missing, func(a, b Missing) int { return cmp.Compare(a.Name, b.Name) })
	at := map[digest.Digest]int{}
	var (
		u   *ungzip
		run longRun
		err error
	)
	if c.Compact != nil {
		if n := c.Compact.LongFrame; n < 0 || n > compress.MaxLongFrame {
			return nil, fmt.Errorf("long frames of %d bytes: must be 1 to %d", n, compress.MaxLongFrame)
		}
		u = newUngzip(c.Compact, entries)
		run, err = h.addCompact(u, at)
	} else {
		_, configs, layers := oci.Blobs(rootsOf(entries)...)
		err = h.addMembers(at, manifestsOf(entries), configs, layers)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		img, err := newImage(e, at)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Name, err)
		}
		if u != nil {
			u.setTwins(img.Manifests, at)
		}
		h.Images = append(h.Images, img)
	}
	index, err := encodeIndex(h)
	if err != nil {
		return nil, err
	}
	sumsSize := h.sumsSize()
	raw, err := h.encode(func(headSize int64) {
		h.place(span(int64(len(layoutFile)))+span(int64(len(index)))+span(headSize)+span(sumsSize), int64(len(index)), headSize, sumsSize)
	})
	if err != nil {
		return nil, err
	}
	if len(index) > maxIndexSize || len(raw) > maxHeadSize {
		return nil, fmt.Errorf("%d images and %d blobs are too many for one bundle", len(h.Images), len(h.Members))
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	l := h.layout(layoutFile, index, raw, h.sums(index, raw))
	l.compact, l.long = u, run
	return l, nil
}

// manifestsOf returns the manifests of all images and their referrers, and what the images were at their sources. One may
// come twice.
func manifestsOf(entries []Entry) []oci.Descriptor {
	manifests, _, _ := oci.Blobs(rootsOf(entries)...)
	for _, e := range entries {
		manifests = append(manifests, originsOf(e)...)
	}
	return manifests
}

// originsOf returns what the image was at its sources, where that was another one.
func originsOf(e Entry) []oci.Descriptor {
	if e.Original == nil {
		return e.MergedFrom
	}
	return append([]oci.Descriptor{*e.Original}, e.MergedFrom...)
}

// addMembers adds the blobs of lists that are new to Members, without offsets, and their positions to at.
func (h *Head) addMembers(at map[digest.Digest]int, lists ...[]oci.Descriptor) error {
	for _, d := range slices.Concat(lists...) {
		if _, ok := at[d.Digest]; ok {
			continue
		}
		if err := checkDigest(d.Digest); err != nil {
			return err
		}
		at[d.Digest] = len(h.Members)
		h.Members = append(h.Members, Member{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size})
	}
	return nil
}

func newImage(e Entry, at map[digest.Digest]int) (img Image, err error) {
	img = Image{Name: e.Name, Digest: e.Root.Digest, MediaType: e.Root.MediaType, Size: e.Root.Size, Pinned: e.Pinned}
	if e.Original != nil {
		o := newOriginal(*e.Original)
		img.Original = &o
	}
	for _, d := range e.MergedFrom {
		img.MergedFrom = append(img.MergedFrom, newOriginal(d))
	}
	if img.Manifests, err = newManifests(e.Root, at); err != nil {
		return img, err
	}
	img.Referrers, err = newReferrers(e.Referrers, at)
	return img, err
}

func newOriginal(d oci.Descriptor) Original {
	return Original{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size}
}

// newManifests describes the manifests of a graph, children before their index.
func newManifests(root *oci.Node, at map[digest.Digest]int) ([]Manifest, error) {
	images := map[digest.Digest]oci.Image{}
	for _, i := range root.Images() {
		images[i.Digest] = i
	}
	list := []Manifest{}
	err := root.Walk(func(n *oci.Node) error {
		m := Manifest{Digest: n.Digest, Describes: images[n.Digest].Describes, Blobs: []int{}}
		if p := images[n.Digest].Platform; p != nil {
			m.Platform = oci.FormatPlatform(*p)
		}
		for _, d := range nodeBlobs(n) {
			m.Blobs = append(m.Blobs, at[d.Digest])
		}
		list = append(list, m)
		return nil
	})
	return list, err
}

// nodeBlobs returns what n itself names beside manifests: config and layers, each once.
func nodeBlobs(n *oci.Node) []oci.Descriptor {
	var all []oci.Descriptor
	if n.Manifest.Config != nil {
		all = append(all, *n.Manifest.Config)
	}
	all = append(all, n.Manifest.Layers...)
	for _, d := range n.Manifest.Manifests {
		if !oci.IsManifest(d.MediaType) {
			all = append(all, d)
		}
	}
	seen := map[digest.Digest]bool{}
	return slices.DeleteFunc(all, func(d oci.Descriptor) bool {
		twice := seen[d.Digest]
		seen[d.Digest] = true
		return twice
	})
}

// place sets the offsets of all members when the first lies at offset.
func (h *Head) place(offset, indexSize, headSize, sumsSize int64) {
	for i := range h.Members {
		h.Members[i].Offset = offset
		offset += span(h.Members[i].Size)
	}
	h.Tail = offset
	h.Size = offset + span(int64(len(layoutFile))) + span(indexSize) + span(headSize) + span(sumsSize) + endSize
}

// encodeIndex returns index.json. It names the plain twin of an image that has one.
func encodeIndex(h *Head) ([]byte, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []oci.Descriptor{},
	}
	for _, img := range h.Images {
		d := img.Descriptor()
		for _, m := range img.Manifests {
			if twin, ok := h.Twin(m); ok && m.Digest == img.Digest {
				d = twin
			}
		}
		d.Annotations = map[string]string{refNameAnnotation: img.Name, imageNameAnnotation: img.Name}
		index.Manifests = append(index.Manifests, d)
	}
	return json.Marshal(index)
}

// sumsSize returns the size of SHA256SUMS, which depends on the members' number only.
func (h *Head) sumsSize() int64 {
	size := int64(0)
	for _, name := range []string{layoutName, indexName, headName, tailPrefix + layoutName, tailPrefix + indexName, tailPrefix + headName} {
		size += int64(len(sumLine(sumOf(nil), name)))
	}
	if len(h.Members) > 0 {
		size += int64(len(h.Members)) * int64(len(sumLine(sumOf(nil), h.Members[0].Name())))
	}
	return size
}

// sums returns SHA256SUMS.
func (h *Head) sums(index, head []byte) []byte {
	var b bytes.Buffer
	small := func(prefix string) {
		b.WriteString(sumLine(sumOf(layoutFile), prefix+layoutName))
		b.WriteString(sumLine(sumOf(index), prefix+indexName))
		b.WriteString(sumLine(sumOf(head), prefix+headName))
	}
	small("")
	for _, m := range h.Members {
		b.WriteString(sumLine(m.Digest.Encoded(), m.Name()))
	}
	small(tailPrefix)
	return b.Bytes()
}

// sumOf returns the sha256 of raw in hex.
func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// sumLine returns a line as sha256sum writes it.
func sumLine(sum, name string) string { return sum + "  " + name + "\n" }

// layout returns the whole tar of a head whose four members are given.
func (h *Head) layout(version, index, head, sums []byte) *layout {
	l := &layout{head: h, id: sha256.Sum256(sums)}
	offset := int64(0)
	add := func(name string, size int64, raw []byte, member int) {
		l.segments = append(l.segments, segment{name: name, offset: offset, size: size, raw: raw, member: member})
		offset += span(size)
	}
	four := func(prefix string) {
		add(prefix+layoutName, int64(len(version)), version, -1)
		add(prefix+indexName, int64(len(index)), index, -1)
		add(prefix+headName, int64(len(head)), head, -1)
		add(prefix+sumsName, int64(len(sums)), sums, -1)
	}
	four("")
	l.blobs = len(l.segments)
	for i, m := range h.Members {
		add(m.Name(), m.Size, nil, i)
	}
	l.tail = len(l.segments)
	four(tailPrefix)
	return l
}
