package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// Compact makes a bundle a compact one, see FORMAT.md section 6. It says what is known of the gzip layers of its images.
type Compact struct {
	Recipes map[digest.Digest]*gzip.Recipe // by the layer's digest; each was proven
	Kept    map[digest.Digest]string       // why a layer has no recipe
	Configs map[digest.Digest][]byte       // the configs of the images, whose diff_ids are looked for

	// LongFrame is how many plain bytes a frame of plain layers has at most; 0 is compress.MaxLongFrame, the largest. The
	// content id does not depend on it.
	LongFrame int64
}

// recreation is a gzip layer that a recipe and its plain bytes give.
type recreation struct {
	layer, plain, recipe oci.Descriptor
	engine               string
	how                  *gzip.Recipe
}

// ungzip decides which gzip layers of a bundle are un-gzipped, and makes the plain twins of the manifests.
type ungzip struct {
	*Compact
	entries []Entry
	layers  []layerUse             // of all images, in order
	blobs   map[digest.Digest]bool // all that the bundle would have without being compact
	diffIDs map[digest.Digest][]digest.Digest

	kept      map[digest.Digest]string // why a gzip layer stays as it is: in short, and after a colon in detail
	recreated map[digest.Digest]*recreation
	twins     map[digest.Digest]*oci.Node      // by the digest of the original
	own       map[digest.Digest]func() []byte  // the contents of twins and recipes, by their digest
	gzipOf    map[digest.Digest]oci.Descriptor // the recreated layers, by the digest of their plain bytes
}

// newUngzip decides it for the images of a bundle.
func newUngzip(c *Compact, entries []Entry) *ungzip {
	u := &ungzip{
		Compact: c, entries: entries, layers: inOrder(entries),
		blobs: map[digest.Digest]bool{}, diffIDs: map[digest.Digest][]digest.Digest{}, kept: map[digest.Digest]string{},
	}
	manifests, configs, rest := oci.Blobs(rootsOf(entries)...)
	for _, d := range slices.Concat(manifests, configs, rest) {
		u.blobs[d.Digest] = true
	}
	for _, d := range slices.Concat(manifests, configs) {
		u.keep(d, "used otherwise: as a manifest or config")
	}
	for _, e := range entries {
		u.addEntry(e)
	}
	for u.choose(); !u.makeTwins(); u.choose() { // ends, since each time there are less to choose from
	}
	u.setOwn()
	return u
}

// setOwn fills in what a writer asks for.
func (u *ungzip) setOwn() {
	u.gzipOf = make(map[digest.Digest]oci.Descriptor, len(u.recreated))
	u.own = map[digest.Digest]func() []byte{}
	for _, twin := range u.twins {
		u.own[twin.Digest] = func() []byte { return twin.Raw }
	}
	for _, r := range u.recreated {
		u.own[r.recipe.Digest] = r.how.Encode
		u.gzipOf[r.plain.Digest] = r.layer
	}
}

// longFrame returns the limit of a long frame.
func (c *Compact) longFrame() int64 { return cmp.Or(c.LongFrame, compress.MaxLongFrame) }

// keep says why d is not un-gzipped, the first time.
func (u *ungzip) keep(d oci.Descriptor, format string, args ...any) {
	if u.kept[d.Digest] == "" {
		u.kept[d.Digest] = fmt.Sprintf(format, args...)
	}
}

// addEntry finds the layers of an image that are used in a way in which a plain one could not take their place.
func (u *ungzip) addEntry(e Entry) {
	for _, d := range originsOf(e) {
		u.blobs[d.Digest] = true
	}
	_ = e.Root.Walk(func(n *oci.Node) error { // never fails, since its function does not
		for i, d := range n.Manifest.Layers {
			if reason := u.checkUse(n, i, d); reason != "" {
				u.keep(d, "%s", reason)
			}
		}
		u.keepAll(n.Manifest.Manifests, "used otherwise: an index names it beside its manifests")
		return nil
	})
	for _, r := range e.Referrers {
		u.keepAll(r.Root.Blobs(), "of a referrer")
	}
}

func (u *ungzip) keepAll(list []oci.Descriptor, reason string) {
	for _, d := range list {
		u.keep(d, "%s", reason)
	}
}

// checkUse returns why layer i of an image manifest, d, cannot be a plain one there, or nothing.
func (u *ungzip) checkUse(n *oci.Node, i int, d oci.Descriptor) string {
	recipe := u.Recipes[d.Digest]
	switch {
	case oci.IsForeign(d):
		return "foreign layer"
	case plainType(d.MediaType) == "":
		return fmt.Sprintf("media type: %.100q", d.MediaType)
	case recipe == nil: // why is told when it is chosen
		return ""
	case d.Size != recipe.Size:
		return fmt.Sprintf("another size: manifest %s gives it %d bytes", n.Digest, d.Size)
	}
	ids, err := u.diffIDsOf(n)
	switch {
	case err != nil:
		return fmt.Sprintf("no diff_ids: config of manifest %s: %.500v", n.Digest, err)
	case len(ids) != len(n.Manifest.Layers):
		return fmt.Sprintf("another diff_id: config of manifest %s: %d for %d layers", n.Digest, len(ids), len(n.Manifest.Layers))
	case ids[i] != plainOf(recipe).Digest:
		return fmt.Sprintf("another diff_id: config of manifest %s", n.Digest)
	}
	return ""
}

// diffIDsOf returns the diff_ids in the config of an image manifest.
func (u *ungzip) diffIDsOf(n *oci.Node) ([]digest.Digest, error) {
	config := *n.Manifest.Config
	if ids, ok := u.diffIDs[config.Digest]; ok {
		return ids, nil
	}
	if !oci.IsImageConfig(config.MediaType) {
		return nil, fmt.Errorf("media type %.100q is not that of an image", config.MediaType)
	}
	raw, ok := u.Configs[config.Digest]
	if !ok {
		return nil, errors.New("it is not known")
	}
	ids, err := oci.ParseDiffIDs(raw)
	if err == nil {
		u.diffIDs[config.Digest] = ids
	}
	return ids, err
}

// plainOf returns the plain bytes that a recipe is about; the media type is open.
func plainOf(r *gzip.Recipe) oci.Descriptor {
	return oci.Descriptor{Digest: digest.NewDigestFromBytes(digest.SHA256, r.PlainDigest[:]), Size: r.PlainSize}
}

// choose fills recreated with all layers that can be, in order.
func (u *ungzip) choose() {
	u.recreated = map[digest.Digest]*recreation{}
	first := map[digest.Digest]digest.Digest{} // by the digest of the plain bytes, the layer that has them
	room := int64(maxRecipes)
	for _, l := range u.layers {
		if !isGzip(l.MediaType) || u.kept[l.Digest] != "" {
			continue
		}
		r, err := u.recreation(l.Descriptor)
		if err == nil {
			if other, ok := first[r.plain.Digest]; ok {
				err = fmt.Errorf("same content: as %s", other)
			} else if r.recipe.Size > room {
				err = fmt.Errorf("too many recipes: more than %d MiB", maxRecipes>>20)
			}
		}
		if err != nil {
			u.keep(l.Descriptor, "%v", err)
			continue
		}
		first[r.plain.Digest] = l.Digest
		room -= r.recipe.Size
		u.recreated[l.Digest] = r
	}
}

// recreation returns how the layer d is recreated. The error says why it is not.
func (u *ungzip) recreation(d oci.Descriptor) (*recreation, error) {
	how := u.Recipes[d.Digest]
	if how == nil {
		return nil, errors.New(cmp.Or(u.Kept[d.Digest], "no recipe"))
	}
	raw := how.Encode()
	r := &recreation{
		layer: d, plain: plainOf(how), how: how, engine: enginesOf(how),
		recipe: oci.Descriptor{MediaType: RecipeMediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
	}
	r.plain.MediaType = plainType(d.MediaType)
	switch {
	case digest.NewDigestFromBytes(digest.SHA256, how.Digest[:]) != d.Digest:
		return nil, errors.New("no recipe: it is for another layer")
	case r.plain.Size == 0:
		return nil, errors.New("empty")
	case r.plain.Size > maxBlobSize || r.recipe.Size > gzip.MaxRecipe:
		return nil, fmt.Errorf("too large: %d plain bytes and a recipe of %d", r.plain.Size, r.recipe.Size)
	case u.blobs[r.plain.Digest]:
		return nil, errors.New("same content: as a blob that is in the bundle without gzip")
	case u.blobs[r.recipe.Digest]:
		return nil, errors.New("no recipe: it is a blob of an image")
	}
	return r, nil
}

// enginesOf returns the engines of a recipe, for the eye.
func enginesOf(r *gzip.Recipe) string {
	text := ""
	for i, e := range r.Engines {
		next := e.String()
		if i > 0 {
			next = ", " + next
		}
		if len(text)+len(next) > maxEngineText-len(", ...") {
			return text + ", ..."
		}
		text += next
	}
	return text
}

// makeTwins makes the twins of all manifests. It returns false when there cannot be some of them, whose layers are kept
// then, so that the rest can be chosen anew.
func (u *ungzip) makeTwins() bool {
	plain := make(map[digest.Digest]oci.Descriptor, len(u.recreated))
	layers := make(map[digest.Digest]oci.Descriptor, len(u.recreated)) // by the digest of the plain bytes
	for _, r := range u.recreated {
		plain[r.layer.Digest], layers[r.plain.Digest] = r.plain, r.layer
	}
	u.twins = map[digest.Digest]*oci.Node{}
	all := true
	rewriter := newTwins(plain)
	for _, e := range u.entries {
		if _, err := rewriter.Rewrite(e.Root); err != nil {
			u.keepAll(e.Root.Blobs(), fmt.Sprintf("no plain twin: %.500v", err))
			all = false
			continue
		}
		_ = e.Root.Walk(func(n *oci.Node) error { // never fails, since its function does not
			twin, _ := rewriter.Rewrite(n) // which is known by now
			if twin == n {
				return nil
			}
			u.twins[n.Digest] = twin
			if layer, ok := layers[twin.Digest]; ok {
				u.keep(layer, "same content: as the plain twin of a manifest")
				all = false
			}
			return nil
		})
	}
	return all
}

// twinsInOrder returns the twins of all manifests, in the order of these. One may come twice.
func (u *ungzip) twinsInOrder() []oci.Descriptor {
	var all []oci.Descriptor
	manifests, _, _ := oci.Blobs(rootsOf(u.entries)...)
	for _, d := range manifests {
		if twin := u.twins[d.Digest]; twin != nil {
			all = append(all, oci.Descriptor{MediaType: twin.MediaType, Digest: twin.Digest, Size: twin.Size})
		}
	}
	return all
}
