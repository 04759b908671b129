package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Version is the format version that this package writes and the highest that it reads.
const Version = 1

const formatName = "ferry-bundle"

// Limits of format version 1, see FORMAT.md.
const (
	maxIndexSize   = 64 << 20
	maxHeadSize    = 128 << 20
	maxBlobSize    = 1 << 40
	maxImages      = 100_000
	maxMembers     = 1_000_000
	maxNameLen     = 512
	maxLabels      = 1_000
	maxLabelLen    = 4096
	headAlignment  = 4096
	maxGraphBlobs  = 1_000_000 // references to members by one image
	maxMissingText = 8192
	maxMergedFrom  = 1_000
)

// Head is ferry.json: everything that is in a bundle and where. Its fields are described in FORMAT.md section 2.
type Head struct {
	Format    string            `json:"format"`
	Version   int               `json:"version"`
	Requires  []string          `json:"requires,omitempty"`
	Created   *time.Time        `json:"created,omitempty"`
	Tail      int64             `json:"tail"`
	Size      int64             `json:"size"`
	Images    []Image           `json:"images"`
	Missing   []Missing         `json:"missing,omitempty"`
	Members   []Member          `json:"members"`
	Recreated []Recreated       `json:"recreated,omitempty"`
	Kept      []Kept            `json:"kept,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Sources   []Source          `json:"sources,omitempty"`
	Projects  []Project         `json:"projects,omitempty"`
}

// Image is one image of a bundle.
type Image struct {
	Name       string        `json:"name"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	Size       int64         `json:"size"`
	Pinned     bool          `json:"pinned,omitempty"`
	Original   *Original     `json:"original,omitempty"`
	MergedFrom []Original    `json:"mergedFrom,omitempty"`
	Manifests  []Manifest    `json:"manifests"`
	Referrers  []Referrer    `json:"referrers,omitempty"`
}

// Original is what an image was at a source: before its index was rebuilt with fewer platforms, or merged with others.
type Original struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
}

// Manifest is one manifest or index of an image.
type Manifest struct {
	Digest    digest.Digest `json:"digest"`
	Platform  string        `json:"platform,omitempty"`
	Describes digest.Digest `json:"describes,omitempty"`
	Blobs     []int         `json:"blobs"`           // numbers of config and layers, see Head.Blob
	Plain     *int          `json:"plain,omitempty"` // position in Head.Members of its plain twin
}

// Missing is an image that was asked for and is not in the bundle.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Member is a blob of the bundle.
type Member struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Offset    int64         `json:"offset"` // of its tar header in the plain tar
	Size      int64         `json:"size"`
}

// Name returns the member's name in the tar.
func (m Member) Name() string { return blobPrefix + m.Digest.Encoded() }

// Descriptor returns the member as a descriptor.
func (m Member) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
}

// Descriptor returns the original as a descriptor.
func (o Original) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: o.MediaType, Digest: o.Digest, Size: o.Size}
}

// Origins returns Original, where there is one, and MergedFrom.
func (i Image) Origins() []Original {
	if i.Original == nil {
		return i.MergedFrom
	}
	return append([]Original{*i.Original}, i.MergedFrom...)
}

// AtSource reports whether a source has the very root of the image, and not the ones that it was made from.
func (i Image) AtSource() bool {
	origins := i.Origins()
	return len(origins) == 0 || slices.ContainsFunc(origins, func(o Original) bool { return o.Digest == i.Digest })
}

// Descriptor returns the root of the image as a descriptor.
func (i Image) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: i.MediaType, Digest: i.Digest, Size: i.Size}
}

// mtime returns the time of all members.
func (h *Head) mtime() time.Time {
	if h.Created == nil {
		return time.Unix(0, 0)
	}
	return *h.Created
}

// encode returns ferry.json with its padding. place is called with the padded size until the offsets that it sets
// no longer change it.
func (h *Head) encode(place func(headSize int64)) ([]byte, error) {
	size := int64(0)
	for {
		place(size)
		raw, err := json.Marshal(h)
		if err != nil {
			return nil, err
		}
		padded := (int64(len(raw)) + 1 + headAlignment - 1) &^ (headAlignment - 1)
		if padded <= size { // larger offsets never need fewer digits, so this ends
			raw = append(raw, bytes.Repeat([]byte{' '}, int(size)-len(raw)-1)...)
			return append(raw, '\n'), nil
		}
		size = padded
	}
}

// parseHead reads ferry.json and checks all that can be checked without the rest of the bundle.
func parseHead(raw []byte) (*Head, error) {
	var h Head
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, corrupt(headName, "%v", err)
	}
	if h.Format != formatName {
		return nil, fmt.Errorf("%s: format %q: %w", headName, h.Format, ErrNotBundle)
	}
	if h.Version > Version {
		return nil, fmt.Errorf("format version %d, this ferry reads up to %d: %w", h.Version, Version, ErrVersion)
	}
	if h.Version < 1 {
		return nil, corrupt(headName, "format version %d", h.Version)
	}
	if unknown := slices.DeleteFunc(slices.Clone(h.Requires), func(name string) bool { return name == featureCompact }); len(unknown) > 0 {
		return nil, fmt.Errorf("it requires %s: %w", strings.Join(unknown, ", "), ErrVersion)
	}
	if err := h.check(); err != nil {
		return nil, corrupt(headName, "%v", err)
	}
	return &h, nil
}

func (h *Head) check() error {
	if len(h.Images) > maxImages || len(h.Members) > maxMembers || len(h.Missing) > maxImages {
		return fmt.Errorf("%d images, %d members, %d missing: too many", len(h.Images), len(h.Members), len(h.Missing))
	}
	if len(h.Labels) > maxLabels {
		return fmt.Errorf("%d labels: too many", len(h.Labels))
	}
	for k, v := range h.Labels {
		if len(k) > maxNameLen || len(v) > maxLabelLen {
			return fmt.Errorf("label %.40q: too long", k)
		}
	}
	for i, m := range h.Missing {
		if m.Name == "" || len(m.Name) > maxNameLen || len(m.Reason) > maxMissingText {
			return fmt.Errorf("missing image %d: name of %d bytes, reason of %d", i, len(m.Name), len(m.Reason))
		}
	}
	if err := errors.Join(h.checkSources(), h.checkProjects()); err != nil {
		return err
	}
	members, err := h.checkMembers()
	if err != nil {
		return err
	}
	for i, img := range h.Images {
		if img.Name == "" || len(img.Name) > maxNameLen {
			return fmt.Errorf("image %d: name of %d bytes", i, len(img.Name))
		}
		if i > 0 && h.Images[i-1].Name >= img.Name {
			return fmt.Errorf("image %q: not in order of name", img.Name)
		}
		if err := img.check(h, members); err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
	}
	return h.checkCompact(members)
}

// checkMembers proves that the members lie one after the other and returns their positions by digest.
func (h *Head) checkMembers() (map[digest.Digest]int, error) {
	members := make(map[digest.Digest]int, len(h.Members))
	next := int64(-1)
	for i, m := range h.Members {
		if err := checkDigest(m.Digest); err != nil {
			return nil, fmt.Errorf("member %d: %w", i, err)
		}
		if _, twice := members[m.Digest]; twice {
			return nil, fmt.Errorf("member %s: listed twice", m.Digest)
		}
		members[m.Digest] = i
		if m.Size < 0 || m.Size > maxBlobSize {
			return nil, fmt.Errorf("member %s: size %d", m.Digest, m.Size)
		}
		if m.Offset < 0 || m.Offset%blockSize != 0 || next >= 0 && m.Offset != next {
			return nil, fmt.Errorf("member %s: offset %d, want %d", m.Digest, m.Offset, next)
		}
		next = m.Offset + span(m.Size)
		if next < m.Offset {
			return nil, fmt.Errorf("member %s: offset %d", m.Digest, m.Offset)
		}
	}
	if next >= 0 && h.Tail != next || h.Tail < 0 || h.Size < h.Tail+endSize || h.Size%blockSize != 0 {
		return nil, fmt.Errorf("tail at %d of %d, members end at %d", h.Tail, h.Size, next)
	}
	return members, nil
}

func (i Image) check(h *Head, members map[digest.Digest]int) error {
	all := h.Members
	at, ok := members[i.Digest]
	if !ok {
		return fmt.Errorf("manifest %s is not a member", i.Digest)
	}
	if all[at].Size != i.Size {
		return fmt.Errorf("manifest %s: size %d, its member has %d", i.Digest, i.Size, all[at].Size)
	}
	if len(i.MergedFrom) > maxMergedFrom {
		return fmt.Errorf("merged from %d others: too many", len(i.MergedFrom))
	}
	for _, o := range i.Origins() {
		if at, ok := members[o.Digest]; !ok || all[at].Size != o.Size {
			return fmt.Errorf("original %.80q of %d bytes is not a member", string(o.Digest), o.Size)
		}
	}
	for _, r := range i.Referrers {
		if at, ok := members[r.Digest]; !ok || all[at].Size != r.Size {
			return fmt.Errorf("referrer %.80q of %d bytes is not a member", string(r.Digest), r.Size)
		}
	}
	blobs := 0
	for m := range i.AllManifests() {
		if _, ok := members[m.Digest]; !ok {
			return fmt.Errorf("manifest %s is not a member", m.Digest)
		}
		if blobs += len(m.Blobs); blobs > maxGraphBlobs {
			return fmt.Errorf("more than %d blobs", maxGraphBlobs)
		}
		for _, b := range m.Blobs {
			if b < 0 || b >= len(all)+len(h.Recreated) {
				return fmt.Errorf("manifest %s: blob number %d of %d", m.Digest, b, len(all)+len(h.Recreated))
			}
		}
	}
	return i.checkReferrers()
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.80q: %w", string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %s: format version 1 knows sha256 only", d)
	}
	return nil
}

// positions returns the number of each blob, see Blob.
func (h *Head) positions() map[digest.Digest]int {
	at := make(map[digest.Digest]int, len(h.Members)+len(h.Recreated))
	for i, m := range h.Members {
		at[m.Digest] = i
	}
	for i, r := range h.Recreated {
		at[r.Digest] = len(h.Members) + i
	}
	return at
}

// ImagesWith returns the names of the images that need the blob, sorted: as config or layer, as a manifest or its plain
// twin, as the original of a rebuilt or merged index, for a referrer, or to re-create one of these.
func (h *Head) ImagesWith(d digest.Digest) []string {
	for _, r := range h.Recreated {
		if h.Members[r.Plain].Digest == d || h.Members[r.Recipe].Digest == d {
			d = r.Digest
			break
		}
	}
	var names []string
	for _, img := range h.Images {
		if h.needs(img, d) {
			names = append(names, img.Name)
		}
	}
	return names
}

func (h *Head) needs(img Image, d digest.Digest) bool {
	if slices.ContainsFunc(img.Origins(), func(o Original) bool { return o.Digest == d }) {
		return true
	}
	for m := range img.AllManifests() {
		twin, hasTwin := h.Twin(m)
		if m.Digest == d || hasTwin && twin.Digest == d || slices.ContainsFunc(m.Blobs, func(n int) bool { return h.Blob(n).Digest == d }) {
			return true
		}
	}
	return false
}
