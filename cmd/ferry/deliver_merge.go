package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
)

// mergeFlags say whether an image is merged with what its name means at the target.
type mergeFlags struct {
	Platforms bool
	Prefer    string // fail, first, last or newest
	Assume    string // platform; empty: none

	set *pflag.FlagSet // tells what the user gave
}

func (f *mergeFlags) add(set *pflag.FlagSet) {
	f.set = set
	set.BoolVar(&f.Platforms, "merge-platforms", false,
		"where a tag is there, or several images come to one, make one index of all platforms")
	addPrefer(set, &f.Prefer, "what the target has", "what comes last")
	set.StringVar(&f.Assume, "assume-platform", "",
		"with --merge-platforms: images that have their name alone are for this `PLATFORM`, whatever they tell")
}

// check finds what is wrong with the flags, beside the one of --existing.
func (f *mergeFlags) check(existing string) error {
	for _, name := range []string{"prefer", "assume-platform"} {
		if f.set.Changed(name) && !f.Platforms {
			return usagef("--%s: is about --merge-platforms, which is not given", name)
		}
	}
	if _, err := parsePrefer(f.Prefer); err != nil {
		return err
	}
	if f.Platforms && existing != existingOverwrite {
		return usagef("--existing %s: --merge-platforms adds to tags that are there; "+
			"--prefer first leaves what they have, --prefer fail (the default) moves nothing when it differs", existing)
	}
	_, err := f.assume()
	return err
}

// assume returns the platform that is assumed, or nil.
func (f *mergeFlags) assume() (*oci.Platform, error) {
	if f.Assume == "" {
		return nil, nil
	}
	p, err := oci.ParsePlatform(f.Assume)
	if err != nil {
		return nil, usagef("--assume-platform: %w", err)
	}
	return &p, nil
}

// nameMerge is what comes to one name at a target, where that has to be merged.
type nameMerge struct {
	names  []*plannedName // of one target, in the order of the images
	there  bool           // the target is the first side
	merged *oci.Merged
}

// mergePlatforms makes one index of what a name means at the target and of the images that come to it. What cannot be
// decided is a problem of the plan; a name of which the target cannot give what it has fails alone.
func (d *delivery) mergePlatforms(ctx context.Context) error {
	merges := d.findMerges()
	var images []*deliverable
	for _, m := range merges {
		for _, n := range m.names {
			images = append(images, n.image)
		}
	}
	if err := d.from.load(ctx, images); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(d.o.Transfers.N)
	for _, m := range merges {
		group.Go(func() error {
			err := d.merge(gctx, m)
			if err == nil || gctx.Err() != nil || d.from.stops(err) {
				return err
			}
			for _, n := range m.names {
				n.err = err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, m := range merges {
		if m.merged != nil {
			d.settle(m)
		}
	}
	return nil
}

// findMerges returns the names that are to be merged: tags that would change, and those of several images.
func (d *delivery) findMerges() []*nameMerge {
	var all []*nameMerge
	byTarget := map[string]*nameMerge{}
	for _, n := range d.names {
		if n.target.Tag == "" || n.err != nil {
			continue
		}
		m := byTarget[n.target.String()]
		if m == nil {
			m = &nameMerge{}
			byTarget[n.target.String()] = m
			all = append(all, m)
		}
		m.names = append(m.names, n)
	}
	return slices.DeleteFunc(all, func(m *nameMerge) bool {
		first := m.names[0]
		return !slices.ContainsFunc(m.names, func(n *plannedName) bool { return n.changes() || n.want != first.want })
	})
}

// merge merges the sides of one name.
func (d *delivery) merge(ctx context.Context, m *nameMerge) error {
	prefer, err := parsePrefer(d.o.Merge.Prefer)
	if err != nil {
		return err
	}
	var sides []oci.MergeSide
	if first := m.names[0]; first.current != "" {
		side, err := d.sideThere(ctx, first)
		if err != nil {
			if errors.Is(err, oci.ErrNotFound) {
				err = fmt.Errorf("%w; without --merge-platforms the tag is overwritten", err)
			}
			return d.to.explain(fmt.Errorf("%s: what the target has: %w", first.target, err))
		}
		m.there = true
		sides = append(sides, side)
	}
	for _, n := range m.names {
		side, err := d.sideComing(ctx, n)
		if err != nil {
			return d.blame(err)
		}
		sides = append(sides, side)
	}
	m.merged, err = oci.Merge(ctx, sides, prefer)
	if err != nil {
		return d.blame(fmt.Errorf("%s: %w", m.names[0].target, err))
	}
	return nil
}

// sideThere returns what a name means at the target.
func (d *delivery) sideThere(ctx context.Context, n *plannedName) (oci.MergeSide, error) {
	repo := n.target.Repository
	root, err := d.to.Tagged(ctx, repo, n.target.Tag)
	if err == nil && root.Digest != n.current {
		err = fmt.Errorf("the tag has just changed from %s to %s", n.current, root.Digest)
	}
	if err != nil {
		return oci.MergeSide{}, err
	}
	read := func(ctx context.Context, c oci.Descriptor) ([]byte, error) { return readSmall(ctx, d.to, repo, c) }
	graph, err := oci.LoadGraph(ctx, read, root)
	return oci.MergeSide{Root: graph, Config: read}, err
}

// sideComing returns the image that is to be delivered under a name. From a pipe its config cannot be read in time: then
// its manifests alone tell of it.
func (d *delivery) sideComing(ctx context.Context, n *plannedName) (side oci.MergeSide, err error) {
	if side.Root, err = d.from.graph(ctx, n.image); err != nil {
		return side, err
	}
	if side.Original, err = d.from.original(ctx, n.image); err != nil {
		return side, err
	}
	src := d.from.source()
	_, ordered := src.(oci.OrderedSource)
	if _, seen := src.(oci.SeenSource); !ordered || seen {
		side.Config = func(ctx context.Context, c oci.Descriptor) ([]byte, error) {
			from := oci.Repository{}
			if len(n.image.from) > 0 {
				from = n.image.from[0]
			}
			raw, err := readSmall(ctx, src, from, c)
			if err != nil {
				err = &oci.CopyError{Op: "fetch", Source: true, Repository: from, Digest: c.Digest, Err: err}
			}
			return raw, err
		}
	}
	side.Assume, err = d.o.Merge.assume()
	side.AssumeAlways = true
	return side, err
}

// settle makes the names mean what was merged, or says why that is not to be.
func (d *delivery) settle(m *nameMerge) {
	first := m.names[0]
	for _, c := range m.merged.Conflicts {
		lines := describeConflict(first.target.String(), c, func(side int) string { return d.sideName(m, side) })
		if c.Chosen < 0 {
			d.problem(strings.Join(lines, "\n"), "--prefer first, last or newest decides", nil)
			continue
		}
		for _, line := range lines {
			d.std.say("%s", line)
		}
	}
	for _, n := range m.names {
		n.merge = m
		if root := m.merged.Root; root != nil {
			n.root, n.want = root, root.Digest
		}
	}
}

// sideName returns what messages call a side.
func (d *delivery) sideName(m *nameMerge, side int) string {
	if m.there {
		if side == 0 {
			return "the target"
		}
		side--
	}
	if len(m.names) == 1 {
		return d.words.source
	}
	return m.names[side].image.ref.Name()
}

// String says which platforms are at the target and which come.
func (m *nameMerge) String() string {
	var parts []string
	add := func(list []oci.Platform, what string) {
		if len(list) > 0 {
			parts = append(parts, formatPlatforms(list)+" "+what)
		}
	}
	var there, added []oci.Platform
	if m.there {
		there = m.merged.Platforms[0]
	}
	for _, p := range slices.Concat(m.merged.Platforms...) {
		if same := func(q oci.Platform) bool { return samePlatform(p, q) }; !slices.ContainsFunc(slices.Concat(there, added), same) {
			added = append(added, p)
		}
	}
	add(there, "there")
	add(added, "added")
	add(m.replaced(), "replaced")
	return strings.Join(parts, ", ")
}

// samePlatform reports whether two platforms are one, as linux/arm64 and linux/arm64/v8 are.
func samePlatform(a, b oci.Platform) bool {
	return oci.MatchPlatform(a, b) && oci.MatchPlatform(b, a) && a.OSVersion == b.OSVersion
}

func formatPlatforms(list []oci.Platform) string {
	var names []string
	for _, p := range list {
		if name := oci.FormatPlatform(p); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// replaced returns the platforms whose image at the target is another now.
func (m *nameMerge) replaced() []oci.Platform {
	var list []oci.Platform
	for _, c := range m.merged.Conflicts {
		if c.Platform != nil && m.there && c.Images[0].Side == 0 && c.Images[c.Chosen].Digest != c.Images[0].Digest {
			list = append(list, *c.Platform)
		}
	}
	return list
}
