package bundle

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// longRun is the row of members that go into long frames: those that are not compressed.
type longRun struct {
	from, to int   // positions in Head.Members
	edges    []int // positions, from among them, at which the layers of another repository begin
}

// addCompact fills Members, Recreated and Kept, without offsets, in the order of a compact bundle, and at with the numbers of
// all blobs.
func (h *Head) addCompact(u *ungzip, at map[digest.Digest]int) (longRun, error) {
	var recipes, packed []oci.Descriptor
	var loose []layerUse
	for _, l := range u.layers {
		r := u.recreated[l.Digest]
		switch {
		case r != nil:
			recipes = append(recipes, r.recipe)
			l.Descriptor = r.plain
			loose = append(loose, l)
		case isCompressedType(l.MediaType):
			packed = append(packed, l.Descriptor)
		default:
			loose = append(loose, l)
		}
	}
	_, configs, _ := oci.Blobs(rootsOf(u.entries)...)
	if err := h.addMembers(at, manifestsOf(u.entries), u.twinsInOrder(), recipes, configs); err != nil {
		return longRun{}, err
	}
	run := longRun{from: len(h.Members)}
	last := ""
	for _, l := range loose {
		before := len(h.Members)
		if err := h.addMembers(at, []oci.Descriptor{l.Descriptor}); err != nil {
			return run, err
		}
		if len(h.Members) > before && (l.repository != last || before == run.from) {
			run.edges = append(run.edges, before)
			last = l.repository
		}
	}
	run.to = len(h.Members)
	if err := h.addMembers(at, packed); err != nil {
		return run, err
	}
	h.addRecreated(u, at)
	return run, nil
}

// addRecreated says of each gzip layer how it is recreated, or why it is kept.
func (h *Head) addRecreated(u *ungzip, at map[digest.Digest]int) {
	for _, l := range u.layers {
		if r := u.recreated[l.Digest]; r != nil {
			h.Recreated = append(h.Recreated, Recreated{
				Digest: l.Digest, MediaType: l.MediaType, Size: l.Size,
				Plain: at[r.plain.Digest], Recipe: at[r.recipe.Digest], Engine: r.engine,
			})
		} else if isGzip(l.MediaType) {
			h.Kept = append(h.Kept, Kept{Blob: at[l.Digest], Reason: shortReason(u.kept[l.Digest])})
		}
	}
	for i, r := range h.Recreated {
		at[r.Digest] = len(h.Members) + i
	}
	slices.SortFunc(h.Kept, func(a, b Kept) int { return a.Blob - b.Blob })
	if len(h.Recreated) > 0 || len(h.Kept) > 0 {
		h.Requires = []string{featureCompact}
	}
}

// shortReason returns a reason that is no longer than the format wants it.
func shortReason(reason string) string {
	const most = 1000
	return strings.ToValidUTF8(reason[:min(len(reason), most)], "")
}

// setTwins says where the plain twins of the manifests of an image are.
func (u *ungzip) setTwins(manifests []Manifest, at map[digest.Digest]int) {
	for i, m := range manifests {
		if twin := u.twins[m.Digest]; twin != nil {
			position := at[twin.Digest]
			manifests[i].Plain = &position
		}
	}
}
