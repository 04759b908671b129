package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

// featureCompact is what a compact bundle requires of its reader.
const featureCompact = "compact"

// RecipeMediaType is the media type of the members that are recipes.
const RecipeMediaType = "application/vnd.ferry.recipe.v1"

// Limits of format version 1 for compact bundles, see FORMAT.md section 6.
const (
	maxRecipes    = 256 << 20 // bytes of all recipes
	maxEngineText = 255
)

// Recreated is a gzip layer that is no member: its plain bytes and a recipe, which are members, give it.
type Recreated struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Plain     int           `json:"plain"`  // position in Head.Members
	Recipe    int           `json:"recipe"` // position in Head.Members
	Engine    string        `json:"engine"` // for the eye, such as "Go level 6"
}

// Descriptor returns the gzip layer as a descriptor.
func (r Recreated) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size}
}

// Kept is a gzip layer of a compact bundle that is a member as it is.
type Kept struct {
	Blob   int    `json:"blob"` // position in Head.Members
	Reason string `json:"reason"`
}

// IsCompact reports whether the bundle has blobs that have to be re-created, or tells why it has none.
func (h *Head) IsCompact() bool { return slices.Contains(h.Requires, featureCompact) }

// Blob returns the descriptor of the blob with number n, as Manifest.Blobs has it: a member or a recreated blob. n is in range
// in a head that was checked.
func (h *Head) Blob(n int) oci.Descriptor {
	if n < len(h.Members) {
		return h.Members[n].Descriptor()
	}
	return h.Recreated[n-len(h.Members)].Descriptor()
}

// Twin returns the plain twin of a manifest of the bundle, the manifest that other tools read in its place. Without one, ok
// is false.
func (h *Head) Twin(m Manifest) (d oci.Descriptor, ok bool) {
	if m.Plain == nil {
		return d, false
	}
	return h.Members[*m.Plain].Descriptor(), true
}

// recreatedFrom returns the position in Recreated of the blob that is made from the plain bytes in member i.
func (h *Head) recreatedFrom(i int) (n int, ok bool) {
	return slices.BinarySearchFunc(h.Recreated, i, func(r Recreated, i int) int { return cmp.Compare(r.Plain, i) })
}

// made returns the blob that is made from member i: itself, or the one that is re-created from it.
func (h *Head) made(i int) oci.Descriptor {
	if n, ok := h.recreatedFrom(i); ok {
		return h.Recreated[n].Descriptor()
	}
	return h.Members[i].Descriptor()
}

// memberOf returns the position of the member that the blob with number n is made from, see Head.Blob.
func (h *Head) memberOf(n int) int {
	if r := n - len(h.Members); r >= 0 {
		return h.Recreated[r].Plain
	}
	return n
}

// damage returns the damage of what is made from member i, without its place unless err is that of a frame. When err is
// a damage already, that is it.
func (h *Head) damage(i int, err error) Damage {
	var known *DamageError
	if errors.As(err, &known) {
		return known.Damage
	}
	m, blob := h.Members[i], h.made(i)
	d := Damage{Member: m.Name(), Digest: blob.Digest, Images: h.ImagesWith(blob.Digest)}
	d.Reason = strings.TrimPrefix(err.Error(), "blob "+blob.Digest.String()+": ") // the member says which one
	if blob.Digest != m.Digest {
		d.Reason = fmt.Sprintf("blob %s, which is made from it: %s", blob.Digest, d.Reason)
	}
	var frame *compress.FrameError
	if errors.As(err, &frame) {
		d.Offset, d.Length = frame.Offset, frame.Size
	}
	return d
}

// plainType returns the media type of an un-gzipped layer of mediaType, or "" when that is not one that is un-gzipped.
func plainType(mediaType string) string {
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		return ocispec.MediaTypeImageLayer
	case dockerLayerGzip:
		return dockerLayer
	}
	return ""
}

const (
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = dockerLayer + ".gzip"
)

// checkCompact proves all that Requires, Recreated, Kept and Manifest.Plain say, as FORMAT.md section 6 has it. members are the
// positions of the members.
func (h *Head) checkCompact(members map[digest.Digest]int) error {
	uses := len(h.Recreated) > 0 || len(h.Kept) > 0 || slices.ContainsFunc(h.Images, Image.hasTwin)
	switch {
	case len(h.Requires) > 1 || uses != h.IsCompact():
		return fmt.Errorf("it requires %.100q, and what %s stands for is there: %t", strings.Join(h.Requires, ", "), featureCompact, uses)
	case len(h.Members)+len(h.Recreated) > maxMembers:
		return fmt.Errorf("%d members and %d recreated blobs: too many", len(h.Members), len(h.Recreated))
	}
	serving, err := h.checkRecreated(members)
	if err != nil {
		return err
	}
	for i, k := range h.Kept {
		if k.Blob < 0 || k.Blob >= len(h.Members) || i > 0 && h.Kept[i-1].Blob >= k.Blob {
			return fmt.Errorf("kept blob %d: position %d, want one after that of the blob before", i, k.Blob)
		}
		if k.Reason == "" || len(k.Reason) > maxMissingText {
			return fmt.Errorf("kept blob %d: reason of %d bytes", i, len(k.Reason))
		}
	}
	twins := map[digest.Digest]int{}
	for _, img := range h.Images {
		if err := h.checkTwins(img, members, serving, twins); err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
	}
	return nil
}

// checkRecreated proves the entries of Recreated, and returns the positions of the members that serve them.
func (h *Head) checkRecreated(members map[digest.Digest]int) (serving map[int]bool, err error) {
	serving, total := map[int]bool{}, int64(0)
	seen := map[digest.Digest]bool{}
	for i, r := range h.Recreated {
		if err := h.checkOne(r); err != nil {
			return nil, fmt.Errorf("recreated blob %.80q: %w", string(r.Digest), err)
		}
		if _, isMember := members[r.Digest]; isMember || seen[r.Digest] {
			return nil, fmt.Errorf("recreated blob %s: it is listed twice", r.Digest)
		}
		if serving[r.Recipe] || serving[r.Plain] || i > 0 && h.Recreated[i-1].Plain >= r.Plain {
			return nil, fmt.Errorf("recreated blob %s: recipe or plain bytes serve another one, or not in order", r.Digest)
		}
		if total += h.Members[r.Recipe].Size; total > maxRecipes {
			return nil, fmt.Errorf("more than %d MiB of recipes", maxRecipes>>20)
		}
		seen[r.Digest], serving[r.Recipe], serving[r.Plain] = true, true, true
	}
	return serving, nil
}

func (h *Head) checkOne(r Recreated) error {
	if err := checkDigest(r.Digest); err != nil {
		return err
	}
	if r.Recipe < 0 || r.Recipe >= r.Plain || r.Plain >= len(h.Members) {
		return fmt.Errorf("recipe at %d, plain bytes at %d of %d members", r.Recipe, r.Plain, len(h.Members))
	}
	recipe, plain := h.Members[r.Recipe], h.Members[r.Plain]
	switch {
	case plainType(r.MediaType) == "":
		return fmt.Errorf("media type %.100q is not that of a gzip layer", r.MediaType)
	case recipe.MediaType != RecipeMediaType || recipe.Size > gzip.MaxRecipe:
		return fmt.Errorf("member %s of %d bytes is no recipe", recipe.Digest, recipe.Size)
	case plain.MediaType == RecipeMediaType || oci.IsManifest(plain.MediaType):
		return fmt.Errorf("its plain bytes have the media type %s", plain.MediaType)
	case r.Size <= 0 || r.Size > maxBlobSize || (plain.Size+gzip.MaxRatio-1)/gzip.MaxRatio > r.Size:
		return fmt.Errorf("%d bytes, %d plain", r.Size, plain.Size)
	case len(r.Engine) > maxEngineText:
		return fmt.Errorf("engine of %d bytes", len(r.Engine))
	}
	return nil
}

// checkTwins proves where the twins of an image are, and that no manifest of it, and no referrer, uses what serves recreated blobs.
// twins has the position of the twin, or -1, of each manifest of other images.
func (h *Head) checkTwins(img Image, members map[digest.Digest]int, serving map[int]bool, twins map[digest.Digest]int) error {
	for m := range img.AllManifests() {
		if i := slices.IndexFunc(m.Blobs, func(n int) bool { return serving[n] }); i >= 0 {
			return fmt.Errorf("manifest %s: blob number %d serves a recreated one", m.Digest, m.Blobs[i])
		}
	}
	if slices.ContainsFunc(img.Referrers, func(r Referrer) bool { return slices.ContainsFunc(r.Manifests, Manifest.hasTwin) }) {
		return errors.New("a referrer has a plain twin")
	}
	for _, m := range img.Manifests {
		twin := -1
		if m.Plain != nil {
			twin = *m.Plain
			if twin < 0 || twin >= len(h.Members) {
				return fmt.Errorf("manifest %s: plain twin at %d of %d members", m.Digest, twin, len(h.Members))
			}
			d, original := h.Members[twin], h.Members[members[m.Digest]]
			if d.Digest == m.Digest || d.MediaType != original.MediaType || !oci.IsManifest(d.MediaType) || d.Size > oci.MaxManifestSize {
				return fmt.Errorf("manifest %s: member %s, %.100q of %d bytes, is no twin", m.Digest, d.Digest, d.MediaType, d.Size)
			}
		}
		if before, ok := twins[m.Digest]; ok && before != twin {
			return fmt.Errorf("manifest %s: it has two plain twins", m.Digest)
		}
		twins[m.Digest] = twin
	}
	return nil
}

func (m Manifest) hasTwin() bool { return m.Plain != nil }

func (i Image) hasTwin() bool { return slices.ContainsFunc(i.Manifests, Manifest.hasTwin) }
