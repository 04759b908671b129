package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Prefer says which of several images for one platform a merge takes.
type Prefer int

const (
	PreferNone   Prefer = iota // none of them: the conflict is not decided
	PreferFirst                // that of the first side which has one
	PreferLast                 // that of the last
	PreferNewest               // the one whose config says that it was created last
)

// ParsePrefer reads "fail", which is PreferNone, "first", "last" or "newest".
func ParsePrefer(s string) (Prefer, error) {
	if i := slices.Index([]string{"fail", "first", "last", "newest"}, s); i >= 0 {
		return Prefer(i), nil
	}
	return PreferNone, fmt.Errorf("prefer %.50q: want first, last, newest or fail", s)
}

// MergeSide is what one side of a merge holds under a name.
type MergeSide struct {
	// Root is the whole graph. It is not changed.
	Root *Node
	// Original, unless nil, is the index that Root was rebuilt from with fewer platforms, without its children. It is
	// the result when the merge brings together just what it lists.
	Original *Node
	// Assume, unless nil, is the platform of an image that has the name alone: a single manifest, or an index that
	// lists one image and attestations. It is for images that tell no platform; with AssumeAlways it goes before what
	// the image tells, too. Only the entry of the new index says so: the bytes of the image, and its digest, stay.
	Assume       *Platform
	AssumeAlways bool
	// Config returns the content of an image config of this side. It is asked for configs of images whose platform no
	// index tells, and of images in conflict. With nil, conflicts tell only what manifests and indexes say, and an
	// image without an index has its Node's ConfigPlatform.
	Config func(ctx context.Context, d Descriptor) ([]byte, error)
}

// Merged is what [Merge] made of the images of one name.
type Merged struct {
	// Root is the result. It is nil while there is a conflict that is not decided.
	Root *Node
	// Side is the side whose very Root is the result, or -1 when that is a new index or the Original of a side.
	Side int
	// Restored tells that the result is the Original of a side.
	Restored bool
	// Platforms are those of each side, in its order, each once.
	Platforms [][]Platform
	// Relabelled has the images whose entry says what MergeSide.Assume says, and not what they say.
	Relabelled []Descriptor
	Conflicts  []Conflict // in order of first use
}

// Undecided returns the conflicts without a choice.
func (m *Merged) Undecided() []Conflict {
	return slices.DeleteFunc(slices.Clone(m.Conflicts), func(c Conflict) bool { return c.Chosen >= 0 })
}

// Conflict is a platform for which several sides have different images.
type Conflict struct {
	// Platform is nil when the images tell none: then they are single manifests, as charts are, or images whose
	// config says nothing.
	Platform *Platform
	Images   []ConflictImage // one for each side that has the platform, in order of sides
	Chosen   int             // position in Images, or -1: see Why
	Why      string          // why none was chosen, when it was tried
}

// ConflictImage is the image of one side in a conflict.
type ConflictImage struct {
	Side int
	Descriptor
	ImageInfo
}

// Merge makes one index, for all platforms, of what sides hold under one name. It changes nothing and equal input gives
// equal bytes.
//
//   - Sides are single manifests and indexes, OCI's or Docker's. Indexes inside of indexes are descended into, and the
//     new index lists their images itself.
//   - Images of one digest are one, and have the platform that the first side gives them. Platforms are equal when
//     [MatchPlatform] has it so both ways and os.version and os.features are equal, too.
//   - Several sides with different images for one platform are a conflict, which prefer decides. A side that has all
//     that the others have for the platform is no conflict.
//   - Attestations go with the image that they describe and that stands beside them. Other entries without a platform are for all platforms and are
//     kept.
//   - The entries are those of the first side in their order, then what the second adds, and so on; what was chosen
//     stands where the first image for its platform stood. They keep all their fields. A single manifest gets an entry
//     with the platform of its config.
//   - When one side has all of the result, its very Root is the result, the first such side's. So is an Original that
//     lists just the result.
//   - The new index is a Docker list when no side is an OCI index and all entries are Docker images, else an OCI index. An
//     OCI index has the annotations of all sides, of the first where they differ, and other fields on which all agree.
//
// Single manifests without a platform, as charts are, have nothing to be merged by: different ones, and one beside an
// image, are a conflict about the whole, and the chosen side's Root is the result.
//
// Errors are those of MergeSide.Config, and an index that would become too large. A conflict is none: see
// [Merged.Undecided].
func Merge(ctx context.Context, sides []MergeSide, prefer Prefer) (*Merged, error) {
	if len(sides) == 0 {
		return nil, errors.New("nothing to merge")
	}
	m := &merger{sides: sides, prefer: prefer, merged: &Merged{Side: -1}}
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	if err := m.merge(ctx); err != nil {
		return nil, err
	}
	return m.merged, nil
}

// merger is one run of Merge.
type merger struct {
	sides  []MergeSide
	prefer Prefer
	merged *Merged

	leaves [][]*mergeLeaf           // of each side
	keys   map[digest.Digest]string // of the platform of each image, as the first side that has it tells
}

// read finds the leaves of all sides.
func (m *merger) read(ctx context.Context) error {
	m.keys = map[digest.Digest]string{}
	for _, side := range m.sides {
		leaves, err := readLeaves(ctx, side)
		if err != nil {
			return err
		}
		m.leaves = append(m.leaves, leaves)
		m.merged.Platforms = append(m.merged.Platforms, leafPlatforms(leaves))
		for _, l := range leaves {
			if _, ok := m.keys[l.Digest]; !ok {
				m.keys[l.Digest] = l.key
			}
			l.told, l.key = l.key, m.keys[l.Digest]
		}
	}
	return nil
}

func leafPlatforms(leaves []*mergeLeaf) []Platform {
	var list []Platform
	seen := map[string]bool{}
	for _, l := range leaves {
		if l.platform != nil && !seen[l.key] {
			seen[l.key] = true
			list = append(list, *l.platform)
		}
	}
	return list
}

func (m *merger) merge(ctx context.Context) error {
	if i := m.wholeSide(); i >= 0 {
		m.take(i)
		return nil
	}
	if m.hasLone() {
		return m.mergeWhole(ctx)
	}
	lost, err := m.decide(ctx)
	if err != nil || len(m.merged.Undecided()) > 0 {
		return err
	}
	entries := m.entries(lost)
	if i := m.sideWith(entries, lost); i >= 0 {
		m.take(i)
		return nil
	}
	if n := m.original(entries); n != nil {
		m.merged.Root, m.merged.Restored = n, true
		return nil
	}
	m.merged.Root, err = m.newIndex(entries)
	return err
}

// take makes the Root of a side the result.
func (m *merger) take(side int) { m.merged.Root, m.merged.Side = m.sides[side].Root, side }

// wholeSide returns the first side that has, as it is, all that the others have; -1 when there is none.
func (m *merger) wholeSide() int {
	if m.sameRoots() {
		return 0
	}
	all := map[digest.Digest]string{}
	for _, leaves := range m.leaves {
		for _, l := range leaves {
			if !l.orphan {
				all[l.Digest] = l.key
			}
		}
	}
	for i, leaves := range m.leaves {
		if holdsAll(leaves, all) {
			return i
		}
	}
	return -1
}

func (m *merger) sameRoots() bool {
	return !slices.ContainsFunc(m.sides, func(s MergeSide) bool { return s.Root.Digest != m.sides[0].Root.Digest })
}

// holdsAll reports whether a side with these leaves has all the images in want, under the platforms that want says.
func holdsAll(leaves []*mergeLeaf, want map[digest.Digest]string) bool {
	found := 0
	for _, l := range leaves {
		if _, ok := want[l.Digest]; !ok {
			continue
		}
		if l.relabelled || l.told != l.key {
			return false
		}
		found++
	}
	return found == len(want)
}

// hasLone reports whether a side is a single manifest of which no platform is known.
func (m *merger) hasLone() bool {
	for i, side := range m.sides {
		if !side.Root.Manifest.IsIndex() && m.leaves[i][0].platform == nil {
			return true
		}
	}
	return false
}

// mergeWhole chooses one side, as what they have cannot stand side by side.
func (m *merger) mergeWhole(ctx context.Context) error {
	c := Conflict{}
	for i, side := range m.sides {
		l := &mergeLeaf{Descriptor: side.Root.Descriptor, node: side.Root}
		image, err := m.conflictImage(ctx, i, l)
		if err != nil {
			return err
		}
		c.Images = append(c.Images, image)
	}
	c.choose(m.prefer)
	m.merged.Conflicts = append(m.merged.Conflicts, c)
	if c.Chosen >= 0 {
		m.take(c.Images[c.Chosen].Side)
	}
	return nil
}

// decide settles for each platform which images it gets, and returns those that were not chosen.
func (m *merger) decide(ctx context.Context) (lost map[digest.Digest]bool, err error) {
	lost = map[digest.Digest]bool{}
	for _, key := range m.platformKeys() {
		sets := make([][]*mergeLeaf, len(m.sides))
		for i, leaves := range m.leaves {
			for _, l := range leaves {
				if l.key == key {
					sets[i] = append(sets[i], l)
				}
			}
		}
		chosen := largestSet(sets)
		if chosen < 0 {
			if chosen, err = m.conflict(ctx, sets); err != nil {
				return nil, err
			}
		}
		for _, set := range sets {
			for _, l := range set {
				if chosen >= 0 && !containsLeaf(sets[chosen], l) {
					lost[l.Digest] = true
				}
			}
		}
	}
	return lost, nil
}

// platformKeys returns the platforms of all images, in order of first use.
func (m *merger) platformKeys() []string {
	var keys []string
	for _, leaves := range m.leaves {
		for _, l := range leaves {
			if l.key != "" && !slices.Contains(keys, l.key) {
				keys = append(keys, l.key)
			}
		}
	}
	return keys
}

// largestSet returns the first of the sets that has all that the others have, or -1.
func largestSet(sets [][]*mergeLeaf) int {
	for i, set := range sets {
		whole := len(set) > 0
		for _, other := range sets {
			for _, l := range other {
				whole = whole && containsLeaf(set, l)
			}
		}
		if whole {
			return i
		}
	}
	return -1
}

func containsLeaf(set []*mergeLeaf, l *mergeLeaf) bool {
	return slices.ContainsFunc(set, func(o *mergeLeaf) bool { return o.Digest == l.Digest })
}

// conflict notes that sides have different images for a platform. It returns the side that is chosen, or -1.
func (m *merger) conflict(ctx context.Context, sets [][]*mergeLeaf) (side int, err error) {
	c := Conflict{}
	for i, set := range sets {
		if len(set) == 0 {
			continue
		}
		if c.Platform == nil {
			c.Platform = set[0].platform
		}
		image, err := m.conflictImage(ctx, i, set[0])
		if err != nil {
			return -1, err
		}
		c.Images = append(c.Images, image)
	}
	c.choose(m.prefer)
	m.merged.Conflicts = append(m.merged.Conflicts, c)
	if c.Chosen < 0 {
		return -1, nil
	}
	return c.Images[c.Chosen].Side, nil
}

func (m *merger) conflictImage(ctx context.Context, side int, l *mergeLeaf) (ConflictImage, error) {
	info, err := imageInfo(ctx, m.sides[side].Config, l)
	return ConflictImage{Side: side, Descriptor: l.Descriptor, ImageInfo: info}, err
}

// entries returns what the result lists: each digest once, what was lost replaced by what was chosen.
func (m *merger) entries(lost map[digest.Digest]bool) []*mergeLeaf {
	var list []*mergeLeaf
	seen := map[digest.Digest]bool{}
	add := func(l *mergeLeaf) {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			list = append(list, l)
		}
	}
	for _, leaves := range m.leaves {
		for _, l := range leaves {
			switch {
			case l.orphan || lost[l.describes]:
			case lost[l.Digest]:
				for _, winner := range m.winners(l.key, lost) {
					add(winner)
				}
			default:
				add(l)
			}
		}
	}
	return list
}

// winners returns the images that a platform with a decided conflict has, in order of first use.
func (m *merger) winners(key string, lost map[digest.Digest]bool) []*mergeLeaf {
	var list []*mergeLeaf
	for _, leaves := range m.leaves {
		for _, l := range leaves {
			if l.key == key && !lost[l.Digest] && !containsLeaf(list, l) {
				list = append(list, l)
			}
		}
	}
	return list
}

// sideWith returns the first side whose Root lists all entries and nothing that was lost, or -1.
func (m *merger) sideWith(entries []*mergeLeaf, lost map[digest.Digest]bool) int {
	want := map[digest.Digest]string{}
	for _, l := range entries {
		want[l.Digest] = l.key
	}
	for i, leaves := range m.leaves {
		isLost := func(l *mergeLeaf) bool { return lost[l.Digest] || lost[l.describes] }
		if holdsAll(leaves, want) && !slices.ContainsFunc(leaves, isLost) {
			return i
		}
	}
	return -1
}

// original returns the Original of a side, with its children, when it lists just the entries; else nil.
func (m *merger) original(entries []*mergeLeaf) *Node {
	have := map[digest.Digest]*mergeLeaf{}
	for _, l := range entries {
		if l.relabelled {
			return nil
		}
		have[l.Digest] = l
	}
	for _, side := range m.sides {
		if side.Original == nil || len(side.Original.Manifest.Manifests) != len(entries) {
			continue
		}
		n := *side.Original
		n.Children = nil
		whole := true
		for _, d := range n.Manifest.Manifests {
			l := have[d.Digest]
			whole = whole && l != nil
			if whole && l.node != nil {
				n.Children = append(n.Children, l.node)
			}
		}
		if whole {
			return &n
		}
	}
	return nil
}

// mergeKey returns what is equal for platforms that are one.
func mergeKey(p Platform) string {
	n := normalisePlatform(p)
	features := slices.Sorted(slices.Values(p.OSFeatures))
	return strings.Join([]string{n.OS, n.Architecture, usualVariant(n), p.OSVersion, strings.Join(features, ",")}, "/")
}
