package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// mergedImage is a name of the output, and what the bundles have for it.
type mergedImage struct {
	ref    oci.Reference
	sides  []mergeSide // in the order of the bundles
	merged *oci.Merged
	entry  bundle.MergedEntry // empty while a conflict of images is not decided
	open   int                // conflicts that are not decided
}

// mergeSide is what one bundle has under a name. A bundle can have several, when rules bring them there.
type mergeSide struct {
	input   *mergeInput
	image   bundle.Image
	host    string
	renamed bool // by a rule
}

// from returns what messages call a side: its bundle, and its name there when a rule has changed that.
func (i *mergedImage) from(side int) string {
	s := i.sides[side]
	if s.renamed {
		return fmt.Sprintf("%s (%s)", s.input.path, s.image.Name)
	}
	return s.input.path
}

// plan finds the names and what becomes of each. Conflicts are no errors here.
func (m *merging) plan(ctx context.Context) error {
	if err := m.group(); err != nil {
		return err
	}
	for _, image := range m.images {
		if err := m.merge(ctx, image); err != nil {
			return err
		}
	}
	return nil
}

// group brings the images together that have one name, their hosts aside.
func (m *merging) group() error {
	groups := map[string]*mergedImage{}
	var errs []error
	for _, in := range m.inputs {
		for _, img := range in.Head().Images {
			ref, err := oci.ParseReference(img.Name)
			if err != nil {
				return in.failed(damagedf("image of the bundle: %v", err))
			}
			names, err := m.names(ref)
			if err != nil {
				errs = append(errs, in.failed(err))
			}
			for _, name := range names {
				add(groups, name.ref, mergeSide{input: in, image: img, host: ref.Host, renamed: name.renamed})
			}
		}
	}
	for _, g := range groups {
		m.images = append(m.images, m.split(g)...)
	}
	slices.SortFunc(m.images, func(a, b *mergedImage) int { return strings.Compare(a.ref.Name(), b.ref.Name()) })
	return errors.Join(errs...)
}

// add adds a side to the group of its name. The group has the host of its first side.
func add(groups map[string]*mergedImage, ref oci.Reference, side mergeSide) {
	key := strings.TrimPrefix(ref.Name(), ref.Host)
	if groups[key] == nil {
		groups[key] = &mergedImage{ref: ref}
	}
	groups[key].sides = append(groups[key].sides, side)
}

// mergeName is a name of an image in the output.
type mergeName struct {
	ref     oci.Reference
	renamed bool
}

// names returns the names that an image gets by the rules, its host kept.
func (m *merging) names(ref oci.Reference) ([]mergeName, error) {
	root := ""
	naming := registry.Naming{Host: ref.Host, Root: &root, Map: m.rules}
	targets, err := naming.Names(ref)
	var names []mergeName
	for _, t := range targets {
		to := oci.Reference{Repository: t.Repository, Tag: t.Tag}
		if t.Tag == "" {
			to.Digest = ref.Digest
		}
		names = append(names, mergeName{ref: to, renamed: to.Name() != ref.Name()})
	}
	return names, err
}

// split returns the group, or one for each host when a bundle has several of them under the name and no rule is why.
func (m *merging) split(g *mergedImage) []*mergedImage {
	if !g.severalHosts() {
		return []*mergedImage{g}
	}
	m.std.warn("%s: a bundle has it from several hosts, so that only images of one host are merged",
		strings.TrimPrefix(g.ref.Name(), g.ref.Host+"/"))
	byHost := map[string]*mergedImage{}
	var all []*mergedImage
	for _, s := range g.sides {
		if byHost[s.host] == nil {
			ref := g.ref
			ref.Host = s.host
			byHost[s.host] = &mergedImage{ref: ref}
			all = append(all, byHost[s.host])
		}
		byHost[s.host].sides = append(byHost[s.host].sides, s)
	}
	return all
}

func (i *mergedImage) severalHosts() bool {
	hosts := map[*mergeInput]string{}
	several := false
	for _, s := range i.sides {
		if s.renamed {
			return false
		}
		several = several || hosts[s.input] != "" && hosts[s.input] != s.host
		hosts[s.input] = s.host
	}
	return several
}

// merge makes one image of the sides.
func (m *merging) merge(ctx context.Context, image *mergedImage) error {
	var sides []oci.MergeSide
	var entries []bundle.MergeSide
	for _, s := range image.sides {
		in := s.input
		entry, err := in.MergeSide(ctx, s.image)
		if err != nil {
			return in.failed(imageDamage(s.image, err))
		}
		entries = append(entries, entry)
		sides = append(sides, oci.MergeSide{
			Root: entry.Root, Original: entry.OriginalNode, Assume: in.assume, AssumeAlways: in.assumeAlways,
			Config: func(ctx context.Context, d oci.Descriptor) ([]byte, error) {
				raw, err := readSmall(ctx, in, oci.Repository{}, d)
				if errors.Is(err, oci.ErrCorrupt) {
					err = in.DamageOf(d.Digest, err)
				}
				return raw, in.failed(err)
			},
		})
	}
	var err error
	if image.merged, err = oci.Merge(ctx, sides, m.prefer); err != nil {
		return fmt.Errorf("image %s: %w", image.ref.Name(), err)
	}
	if image.merged.Root != nil {
		image.entry = bundle.MergeEntries(image.ref.Name(), image.merged, entries, m.prefer == oci.PreferLast)
	}
	image.open = len(image.merged.Undecided())
	if m.prefer == oci.PreferNone {
		image.open += len(image.entry.Rivals)
	}
	return nil
}

// readSmall reads a blob of no more than a manifest's size, and proves it.
func readSmall(ctx context.Context, src oci.Source, from oci.Repository, d oci.Descriptor) ([]byte, error) {
	r, err := src.Open(ctx, from, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, oci.MaxManifestSize+1))
	if err == nil {
		err = oci.CheckBytes(d, raw)
	}
	return raw, err
}

// judge shows all conflicts, and returns an error when some are not decided.
func (m *merging) judge() error {
	open := 0
	for _, image := range m.images {
		open += image.open
		for _, c := range image.merged.Conflicts {
			m.show(describeConflict(image.ref.Name(), c, image.from), c.Chosen < 0)
		}
		for _, r := range image.entry.Rivals {
			m.show(image.describeRival(r, m.prefer), m.prefer == oci.PreferNone)
		}
	}
	if open == 0 {
		return nil
	}
	if m.prefer == oci.PreferNone {
		return fmt.Errorf("%s, see above; --prefer first, last or newest decides them", plural(open, "conflict"))
	}
	return fmt.Errorf("%s that --prefer %s cannot decide, see above", plural(open, "conflict"), m.o.Prefer)
}

// show prints lines; those of what ends the run are printed with -q, too.
func (m *merging) show(lines []string, must bool) {
	for _, line := range lines {
		if must {
			m.std.complain(line)
		} else {
			m.std.say("%s", line)
		}
	}
}

func (i *mergedImage) describeRival(r bundle.RivalTag, prefer oci.Prefer) []string {
	taken := map[oci.Prefer]int{oci.PreferNone: -1, oci.PreferLast: len(r.Sides) - 1}[prefer]
	lines := []string{fmt.Sprintf("conflict: %s, what is attached to it as %s", i.ref.Name(), r.Tag)}
	for n, side := range r.Sides {
		mark := ""
		switch {
		case taken >= 0 && r.Roots[n] == r.Roots[taken]:
			mark = "taken: "
		case taken >= 0:
			mark = "left:  "
		}
		lines = append(lines, fmt.Sprintf("  %s%s has %s", mark, i.from(side), r.Roots[n]))
	}
	return lines
}

// writePlan prints what --dry-run tells: for each name the platforms that each bundle has, and what becomes of them.
func (m *merging) writePlan(w io.Writer) error {
	titles := []string{"IMAGE"}
	for _, in := range m.inputs {
		titles = append(titles, in.path)
	}
	t := newTable(append(titles, "BECOMES")...)
	for _, image := range m.images {
		cells := []string{image.ref.Name()}
		for _, in := range m.inputs {
			cells = append(cells, image.platformsIn(in))
		}
		t.add(append(cells, image.becomes())...)
	}
	return t.writeTo(w)
}

// platformsIn returns what a bundle has under the name, in words.
func (i *mergedImage) platformsIn(in *mergeInput) string {
	var platforms []oci.Platform
	has := false
	for n, s := range i.sides {
		if s.input == in {
			has = true
			platforms = append(platforms, i.merged.Platforms[n]...)
		}
	}
	switch {
	case !has:
		return "-"
	case len(platforms) == 0:
		return "no platform"
	}
	return formatPlatforms(platforms)
}

// becomes says what becomes of the sides.
func (i *mergedImage) becomes() string {
	m := i.merged
	switch {
	case i.open > 0:
		return "conflict"
	case m.Side < 0 && m.Restored:
		return "the index of the source"
	case m.Side < 0:
		return "a new index"
	case len(i.sides) == 1:
		return "as it is"
	}
	return "as in " + i.from(m.Side)
}
