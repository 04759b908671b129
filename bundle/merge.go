package bundle

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// MergeSide is an image of a bundle, to be merged with what others have under its name.
type MergeSide struct {
	Entry
	// OriginalNode is the Original of the entry with its bytes, for [oci.MergeSide]; nil when there is none.
	OriginalNode *oci.Node
}

// MergeSide reads the manifests of an image, and proves them.
func (b *Bundle) MergeSide(ctx context.Context, img Image) (s MergeSide, err error) {
	s.Entry = Entry{Name: img.Name, Pinned: img.Pinned}
	if s.Root, err = b.Graph(ctx, img); err != nil {
		return s, err
	}
	if s.Referrers, err = b.Referrers(ctx, img); err != nil {
		return s, err
	}
	for _, o := range img.MergedFrom {
		s.MergedFrom = append(s.MergedFrom, o.Descriptor())
	}
	if img.Original != nil {
		d := img.Original.Descriptor()
		s.Original = &d
		s.OriginalNode, err = oci.LoadManifest(ctx, fetcher(b), d)
	}
	return s, err
}

// MergedEntry is the entry of an image that was merged.
type MergedEntry struct {
	Entry
	// Orphans are the referrers that it has not got, because what they are about is no part of it any more.
	Orphans []oci.Referrer
	// Rivals are tags of cosign's under which sides have different content, with what each of them has.
	Rivals []RivalTag
}

// RivalTag is a tag of cosign's that means several things.
type RivalTag struct {
	Tag   string
	Sides []int           // that have the tag, in order
	Roots []digest.Digest // what it means for each of them
}

// MergeEntries returns the entry of what [oci.Merge] made of the images of sides. It has what belongs to any of them: the
// referrers of all that the image is made of, each once, and the indexes that the sides had at their sources, with the
// referrers of those. Of different content under one tag of cosign's it has that of the first side, or with last that of
// the last.
//
// Merging an entry with itself, or with one that it was merged from, changes nothing.
func MergeEntries(name string, m *oci.Merged, sides []MergeSide, last bool) MergedEntry {
	e := MergedEntry{Entry: Entry{Name: name, Root: m.Root}}
	for _, s := range sides {
		e.Pinned = e.Pinned || s.Pinned && s.Root.Digest == m.Root.Digest
	}
	e.setOrigins(m, sides)
	e.Rivals = rivalTags(sides)
	e.addReferrers(sides, last)
	return e
}

// setOrigins notes what the image was at its sources.
func (e *MergedEntry) setOrigins(m *oci.Merged, sides []MergeSide) {
	parts := digestsOf(e.Root)
	var all []oci.Descriptor
	for _, s := range sides {
		for _, d := range s.origins() {
			// A single manifest that was not taken is of no use: what it needs is not there.
			if (oci.IsIndex(d.MediaType) || parts[d.Digest]) && !containsDigest(all, d.Digest) {
				all = append(all, d)
			}
		}
	}
	if m.Side >= 0 {
		own := sides[m.Side]
		has := own.origins()
		if !slices.ContainsFunc(all, func(d oci.Descriptor) bool { return !containsDigest(has, d.Digest) }) {
			e.Original, e.MergedFrom = own.Original, own.MergedFrom
			return
		}
	}
	switch {
	case len(all) != 1:
		e.MergedFrom = all
	case all[0].Digest != e.Root.Digest: // it has still fewer platforms
		e.Original = &all[0]
	}
}

// origins returns what the image was at its sources.
func (s *MergeSide) origins() []oci.Descriptor {
	switch {
	case len(s.MergedFrom) > 0:
		return s.MergedFrom
	case s.Original != nil:
		return []oci.Descriptor{*s.Original}
	}
	d := s.Root.Descriptor
	return []oci.Descriptor{{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}
}

func containsDigest(list []oci.Descriptor, want digest.Digest) bool {
	return slices.ContainsFunc(list, func(d oci.Descriptor) bool { return d.Digest == want })
}

// digestsOf returns the manifests of a graph.
func digestsOf(n *oci.Node) map[digest.Digest]bool {
	all := map[digest.Digest]bool{}
	_ = n.Walk(func(n *oci.Node) error { all[n.Digest] = true; return nil }) // its function never fails
	return all
}

// rivalTags finds the tags of referrers under which sides have different content.
func rivalTags(sides []MergeSide) []RivalTag {
	var tags []*RivalTag
	byTag := map[string]*RivalTag{}
	for i, s := range sides {
		for _, r := range s.Referrers {
			if r.Tag == "" {
				continue
			}
			tag := byTag[r.Tag]
			if tag == nil {
				tag = &RivalTag{Tag: r.Tag}
				byTag[r.Tag], tags = tag, append(tags, tag)
			}
			tag.Sides, tag.Roots = append(tag.Sides, i), append(tag.Roots, r.Root.Digest)
		}
	}
	var rivals []RivalTag
	for _, t := range tags {
		if slices.ContainsFunc(t.Roots, func(d digest.Digest) bool { return d != t.Roots[0] }) {
			rivals = append(rivals, *t)
		}
	}
	return rivals
}

// addReferrers gives the entry those referrers of the sides whose subject it has.
func (e *MergedEntry) addReferrers(sides []MergeSide, last bool) {
	chosen := map[string]digest.Digest{} // by tag, of rivals
	for _, r := range e.Rivals {
		chosen[r.Tag] = r.Roots[0]
		if last {
			chosen[r.Tag] = r.Roots[len(r.Roots)-1]
		}
	}
	subjects := digestsOf(e.Root)
	if e.Original != nil {
		subjects[e.Original.Digest] = true
	}
	for _, d := range e.MergedFrom {
		subjects[d.Digest] = true
	}
	type key struct {
		subject, root digest.Digest
		tag           string
	}
	seen := map[key]bool{}
	for _, s := range sides {
		for _, r := range s.Referrers {
			k := key{r.Subject, r.Root.Digest, r.Tag}
			switch won, isRival := chosen[r.Tag]; {
			case seen[k] || isRival && won != r.Root.Digest:
				continue
			case !subjects[r.Subject]:
				seen[k] = true
				e.Orphans = append(e.Orphans, r)
				continue
			}
			seen[k] = true
			e.Referrers = append(e.Referrers, r)
			for d := range digestsOf(r.Root) {
				subjects[d] = true
			}
		}
	}
}
