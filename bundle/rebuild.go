package bundle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// rebuild makes a layout from the tar alone, for a bundle both of whose heads are hurt: the names of the members give the
// digests to prove, recipes the blobs that are made from others, index.json or its copy gives the images; without either,
// each manifest that no index names is an image with its digest for a name.
func (b *Bundle) rebuild(ctx context.Context) (*layout, error) {
	h := &Head{Format: formatName, Version: Version, Tail: b.table.PlainSize, Size: b.table.PlainSize}
	l := &layout{head: h, rebuilt: true}
	var index []byte
	err := b.scan(ctx, func(s segment, mtime time.Time, content io.Reader) {
		hex, isBlob := strings.CutPrefix(s.name, blobPrefix)
		d := digest.NewDigestFromEncoded(digest.SHA256, hex)
		switch {
		case isBlob && checkDigest(d) == nil:
			h.Created = &mtime // all members have the same
			s.member = len(h.Members)
			h.Members = append(h.Members, Member{Digest: d, Offset: s.offset, Size: s.size})
			l.segments = append(l.segments, s)
		case strings.TrimPrefix(s.name, tailPrefix) == indexName && index == nil && s.size <= maxIndexSize:
			index, _ = readExactly(content, s.size) // what cannot be read, the other copy may give
		}
	})
	if err != nil {
		return nil, err
	}
	if len(h.Members) == 0 {
		return nil, errors.New("no blob was found in the tar")
	}
	l.tail = len(l.segments)
	graphs, err := b.findManifests(ctx, h)
	if err != nil {
		return nil, err
	}
	h.Images = graphs.images(index)
	return l, ctx.Err()
}

// scan calls fn for each header of a member that is found in the tar, with its content, of which fn may read what it wants. What
// cannot be read is passed over, and so are blocks that are no header.
func (b *Bundle) scan(ctx context.Context, fn func(s segment, mtime time.Time, content io.Reader)) error {
	for at := int64(0); at+blockSize <= b.table.PlainSize; {
		r, err := b.plain.Open(ctx, at, b.table.PlainSize-at)
		start := at
		if err == nil {
			at, err = scanFrom(r, at, fn)
			r.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch at += padding(at); {
		case err == nil:
		case at > start: // what cannot be read may lie before the place that was come to, as the content of a frame whose checksum is wrong
		default:
			at = b.nextFrame(at)
		}
	}
	return nil
}

// readExactly returns the next n bytes of r.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	raw := make([]byte, n)
	_, err := io.ReadFull(r, raw)
	return raw, err
}

// scanFrom reads headers from r, which begins at the plain offset at, until its end or an error, and returns how far it came.
func scanFrom(r io.Reader, at int64, fn func(segment, time.Time, io.Reader)) (int64, error) {
	var h [blockSize]byte
	for {
		if _, err := io.ReadFull(r, h[:]); errors.Is(err, io.EOF) {
			return at + blockSize, nil
		} else if err != nil {
			return at, err
		}
		e, err := parseTarHeader(h[:])
		if err != nil || e.size > maxBlobSize {
			at += blockSize
			continue
		}
		s := segment{name: e.name, offset: at, size: e.size, member: -1}
		content := &io.LimitedReader{R: r, N: s.end() - s.body()}
		fn(s, e.mtime, content)
		_, err = io.Copy(io.Discard, content)
		if err != nil {
			return s.end() - content.N, err
		}
		at = s.end()
	}
}

// nextFrame returns the first plain offset behind the frame at the offset at.
func (b *Bundle) nextFrame(at int64) int64 {
	for _, f := range b.table.Frames[b.table.Find(at):] {
		if f.PlainOffset > at {
			return f.PlainOffset
		}
	}
	return b.table.PlainSize
}

// foundGraphs are the manifests among the blobs of a bundle without a head.
type foundGraphs struct {
	head      *Head
	at        map[digest.Digest]int // numbers of blobs, see Head.Blob
	manifests map[digest.Digest]*oci.Manifest
	twins     map[digest.Digest]digest.Digest // of manifests
	originals map[digest.Digest]digest.Digest // of twins
}

// findManifests reads the blobs that may be manifests or recipes, and sets their media types and what is recreated. The error
// is that of ctx, or ErrVersion for a recipe of an unknown engine.
func (b *Bundle) findManifests(ctx context.Context, h *Head) (foundGraphs, error) {
	g := foundGraphs{
		head: h, at: h.positions(), manifests: map[digest.Digest]*oci.Manifest{},
		twins: map[digest.Digest]digest.Digest{}, originals: map[digest.Digest]digest.Digest{},
	}
	raws, total := map[digest.Digest][]byte{}, int64(0)
	var found []Recreated
	for i, m := range h.Members {
		if m.Size > max(oci.MaxManifestSize, gzip.MaxRecipe) || ctx.Err() != nil {
			continue
		}
		raw := make([]byte, m.Size)
		if b.readAt(ctx, raw, m.Offset+blockSize) != nil {
			continue
		}
		switch r, err := g.findRecipe(i, raw); {
		case err != nil:
			return g, err
		case r != nil:
			h.Members[i].MediaType = RecipeMediaType
			found = append(found, *r)
			continue
		}
		if parsed := findManifest(raw); parsed != nil && total+m.Size <= maxManifestBytes {
			total += m.Size
			g.manifests[m.Digest], raws[m.Digest] = parsed, raw
			h.Members[i].MediaType = parsed.MediaType
		}
	}
	g.setRecreated(found)
	g.findTwins(ctx, raws)
	return g, ctx.Err()
}

// findManifest returns the manifest that raw is, or nil.
func findManifest(raw []byte) *oci.Manifest {
	var typed struct {
		MediaType string `json:"mediaType"`
	}
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &typed) != nil || !oci.IsManifest(typed.MediaType) {
		return nil
	}
	parsed, err := oci.ParseManifest(typed.MediaType, raw)
	if err != nil {
		return nil
	}
	return parsed
}

// findRecipe returns what is recreated by the recipe that member i is, or nil.
func (g foundGraphs) findRecipe(i int, raw []byte) (*Recreated, error) {
	if oci.CheckBytes(g.head.Members[i].Descriptor(), raw) != nil {
		return nil, nil
	}
	r, err := gzip.Decode(raw)
	switch {
	case errors.Is(err, gzip.ErrUnknownEngine):
		return nil, fmt.Errorf("recipe %s: %w: %w", g.head.Members[i].Digest, err, ErrVersion)
	case err != nil:
		return nil, nil
	}
	plain, ok := g.at[sumDigest(r.PlainDigest)]
	if _, isMember := g.at[sumDigest(r.Digest)]; !ok || isMember || g.head.Members[plain].Size != r.PlainSize {
		return nil, nil
	}
	return &Recreated{
		Digest: sumDigest(r.Digest), MediaType: ocispec.MediaTypeImageLayerGzip, Size: r.Size, Plain: plain, Recipe: i,
	}, nil
}

// setRecreated makes the list of recreated blobs, each of them and each plain member once, and gives them the media types
// that manifests have for them.
func (g *foundGraphs) setRecreated(found []Recreated) {
	slices.SortStableFunc(found, func(a, b Recreated) int { return cmp.Compare(a.Plain, b.Plain) })
	types := map[digest.Digest]string{}
	for _, m := range g.manifests {
		for _, d := range m.Layers {
			types[d.Digest] = d.MediaType
		}
	}
	for _, r := range found {
		_, known := g.at[r.Digest]
		if last := len(g.head.Recreated) - 1; known || last >= 0 && g.head.Recreated[last].Plain == r.Plain {
			continue
		}
		r.MediaType = cmp.Or(types[r.Digest], r.MediaType)
		g.at[r.Digest] = len(g.head.Members) + len(g.head.Recreated)
		g.head.Recreated = append(g.head.Recreated, r)
	}
	if len(found) > 0 {
		g.head.Requires = []string{featureCompact}
	}
}

// findTwins finds which manifests are the plain twins of others, by making the twin of each.
func (g *foundGraphs) findTwins(ctx context.Context, raws map[digest.Digest][]byte) {
	if len(g.head.Recreated) == 0 {
		return
	}
	fetch := func(_ context.Context, d oci.Descriptor) ([]byte, error) { return raws[d.Digest], nil }
	twins := g.head.twins()
	for d := range g.manifests {
		root, err := oci.LoadGraph(ctx, fetch, g.head.Blob(g.at[d]))
		if err != nil {
			continue
		}
		twin, err := twins.Rewrite(root)
		if err == nil && twin.Digest != d && g.manifests[twin.Digest] != nil {
			g.twins[d], g.originals[twin.Digest] = twin.Digest, d
		}
	}
}

// images returns the images of index.json, or those whose manifests stand alone.
func (g foundGraphs) images(index []byte) []Image {
	roots := g.named(index)
	if len(roots) == 0 {
		roots = g.unnamed()
	}
	images := []Image{}
	for name, d := range roots {
		i, ok := g.at[d]
		if !ok {
			continue // it is damage of its own when index.json names what is not there
		}
		m := g.head.Members[i]
		img := Image{Name: name, Digest: d, MediaType: m.MediaType, Size: m.Size}
		img.Manifests = g.describe(nil, d, map[digest.Digest]bool{})
		g.addReferrers(&img)
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	return images
}

func (g foundGraphs) named(index []byte) map[string]digest.Digest {
	var list ocispec.Index
	if json.Unmarshal(index, &list) != nil {
		return nil
	}
	roots := map[string]digest.Digest{}
	lost := false
	for _, d := range list.Manifests {
		if g.originals[d.Digest] == "" && g.isLostTwin(d.Digest) {
			lost = true
			continue
		}
		name := cmp.Or(d.Annotations[imageNameAnnotation], d.Annotations[refNameAnnotation], d.Digest.String())
		roots[name] = cmp.Or(g.originals[d.Digest], d.Digest)
	}
	if lost {
		maps.Copy(roots, g.lackingRoots())
	}
	return roots
}

// isLostTwin reports whether something below d is the plain twin of a manifest that has layers which nothing in the bundle gives
// any more: it has the same config, and all its layers.
func (g foundGraphs) isLostTwin(d digest.Digest) bool {
	return slices.ContainsFunc(g.describe(nil, d, map[digest.Digest]bool{}), func(m Manifest) bool {
		twin := g.manifests[m.Digest]
		for _, other := range g.manifests {
			if twin.Config != nil && other.Config != nil && other.Config.Digest == twin.Config.Digest && g.lacks(other) && !g.lacks(twin) {
				return true
			}
		}
		return false
	})
}

// lacks reports whether a layer of m is not in the bundle.
func (g foundGraphs) lacks(m *oci.Manifest) bool {
	return slices.ContainsFunc(m.Layers, func(d oci.Descriptor) bool {
		_, ok := g.at[d.Digest]
		return !ok
	})
}

// lackingRoots returns the images that stand alone and lack layers. What they are called is lost.
func (g foundGraphs) lackingRoots() map[string]digest.Digest {
	roots := g.unnamed()
	maps.DeleteFunc(roots, func(_ string, d digest.Digest) bool {
		return !slices.ContainsFunc(g.describe(nil, d, map[digest.Digest]bool{}), func(m Manifest) bool { return g.lacks(g.manifests[m.Digest]) })
	})
	return roots
}

func (g foundGraphs) unnamed() map[string]digest.Digest {
	roots := map[string]digest.Digest{}
	for d := range g.manifests {
		if g.originals[d] == "" {
			roots[d.String()] = d
		}
	}
	for d, m := range g.manifests {
		for _, child := range m.Manifests {
			delete(roots, child.Digest.String())
		}
		if m.Subject != nil && g.manifests[m.Subject.Digest] != nil {
			delete(roots, d.String())
		}
	}
	return roots
}

// describe adds the manifests below d to list, children before their index.
func (g foundGraphs) describe(list []Manifest, d digest.Digest, seen map[digest.Digest]bool) []Manifest {
	m := g.manifests[d]
	if seen[d] || m == nil {
		return list
	}
	seen[d] = true
	for _, child := range m.Manifests {
		list = g.describe(list, child.Digest, seen)
	}
	entry := Manifest{Digest: d, Blobs: []int{}}
	if twin, ok := g.twins[d]; ok {
		i := g.at[twin]
		entry.Plain = &i
	}
	for _, blob := range nodeBlobs(&oci.Node{Manifest: m}) {
		if i, ok := g.at[blob.Digest]; ok {
			entry.Blobs = append(entry.Blobs, i)
		}
	}
	return append(list, entry)
}

// addReferrers adds to the image what names one of its manifests as its subject, and what names that, and so on. How
// they were found is lost; in a registry the API would find them.
func (g foundGraphs) addReferrers(img *Image) {
	about := map[digest.Digest][]digest.Digest{}
	for d, m := range g.manifests {
		if m.Subject != nil {
			about[m.Subject.Digest] = append(about[m.Subject.Digest], d)
		}
	}
	subjects, seen := slices.Clone(img.Manifests), map[digest.Digest]bool{}
	for len(subjects) > 0 && len(img.Referrers) < maxReferrers {
		subject := subjects[0].Digest
		subjects = subjects[1:]
		for _, d := range slices.Sorted(slices.Values(about[subject])) {
			if seen[d] {
				continue
			}
			seen[d] = true
			m := g.head.Members[g.at[d]]
			r := Referrer{
				Subject: subject, Digest: d, MediaType: m.MediaType, Size: m.Size,
				ArtifactType: g.manifests[d].Type(), Found: oci.FoundByAPI,
				Manifests: g.describe(nil, d, map[digest.Digest]bool{}),
			}
			img.Referrers = append(img.Referrers, r)
			subjects = append(subjects, r.Manifests...)
		}
	}
}

// errHeads says that the layout was rebuilt.
func errHeads(head, tail error) error {
	return fmt.Errorf("both copies are hurt, the contents were found by reading the tar: %w; %w", head, tail)
}
