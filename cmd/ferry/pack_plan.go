package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// spaceNeed is what a folder has to take.
type spaceNeed struct {
	what string // for messages
	path string
	size int64 // bytes that are to be written
	disk disk
}

// packNeeds are the bytes that a pack moves, and where to.
type packNeeds struct {
	size   oci.PlanSize
	fetch  int64 // bytes that the store lacks
	have   int64 // bytes that it has
	store  spaceNeed
	output spaceNeed
}

// makePlan resolves all references.
func (p *packing) makePlan(ctx context.Context) (err error) {
	if n := p.resumed(); n > 0 {
		p.std.say("going on with what an earlier run has resolved: %d of %s; --refresh resolves tags anew",
			n, plural(len(p.refs), "image"))
	}
	p.plan, err = oci.MakePlan(ctx, p.refs, p.from, p.from, p.cache(), oci.PlanOptions{
		Platforms: p.platform, Missing: missingPolicies[p.o.Missing], Repin: p.o.Repin, Parallel: p.o.Transfers.N,
		Events: p.planned,
	})
	var lacks *oci.MissingPlatformsError
	if err != nil && !errors.As(err, &lacks) {
		return p.from.explain(err)
	}
	for _, image := range p.plan.Failed() {
		p.failed = append(p.failed, failedImage{image.Ref, p.from.explain(image.Err)})
	}
	if lacks == nil {
		return nil
	}
	if err := writePlatforms(p.std.Err, lacks); err != nil {
		return err
	}
	p.explainFailed()
	return &partialError{fmt.Errorf("%d of %s lack a platform that was asked for; --platform-missing=available takes what there is, "+
		"--platform-missing=drop leaves them out", len(lacks.Images), plural(len(p.plan.Images), "image"))}
}

func (p *packing) planned(e oci.PlanEvent) {
	if e.Err != nil {
		p.std.detail("%d of %d: %s: %v", e.Done, e.Total, e.Ref, e.Err)
		return
	}
	p.std.detail("%d of %d: %s", e.Done, e.Total, e.Ref)
}

// dryRun prints the plan on stdout and fetches nothing but manifests, which it does not keep.
func (p *packing) dryRun(ctx context.Context) error {
	if err := p.makePlan(ctx); err != nil {
		return err
	}
	if len(p.images()) == 0 {
		return p.verdict()
	}
	needs, err := p.needs(ctx)
	if err != nil {
		return err
	}
	if err := p.writePlan(p.std.Out, needs); err != nil {
		return err
	}
	if err := needs.check(); err != nil {
		return err
	}
	return p.verdict()
}

// needs finds out what there is to fetch, and what is free where it goes.
func (p *packing) needs(ctx context.Context) (*packNeeds, error) {
	n := &packNeeds{size: p.plan.Size()}
	manifests, configs, layers := oci.Blobs(p.plan.Roots()...)
	for _, d := range slices.Concat(manifests, configs, layers) {
		has, err := p.store.Has(ctx, oci.Repository{}, d)
		if err != nil {
			return nil, err
		}
		if has {
			n.have += d.Size
		} else {
			part := p.store.Part(d)
			n.have += part
			n.fetch += d.Size - part
		}
	}
	n.store = spaceNeed{what: "the store needs", path: p.store.Dir(), size: n.fetch}
	n.output = spaceNeed{what: "the output needs", path: p.o.Output, size: n.size.Bytes + tarOverhead(n.size.Blobs)}
	for _, need := range []*spaceNeed{&n.store, &n.output} {
		var err error
		if need.disk, err = p.diskOf(need.path); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// tarOverhead is how much longer than its blobs a bundle can be, at the most: headers, padding, frames and both heads.
func tarOverhead(blobs int) int64 { return int64(blobs)*4096 + 1<<20 }

// check returns an error when a disk is too small for what it is to take.
func (n *packNeeds) check() error {
	if n.output.disk.fat && n.output.size > fatMaxFile {
		return fmt.Errorf("output %s can become %s, and %s is a FAT file system, which takes no file above %s; "+
			"choose another disk, or format it as exFAT",
			n.output.path, formatSize(n.output.size), n.output.disk.dir, formatSize(fatMaxFile))
	}
	if n.store.disk.device == n.output.disk.device {
		both := n.store
		both.what, both.size = "store and output need", n.store.size+n.output.size
		return both.check()
	}
	return errors.Join(n.store.check(), n.output.check())
}

func (s spaceNeed) check() error {
	if s.size <= s.disk.free {
		return nil
	}
	return fmt.Errorf("%w: %s %s, and %s are free on the disk of %s; choose another place with --store or -o",
		errTooSmall, s.what, formatSize(s.size), formatSize(s.disk.free), s.disk.dir)
}

// errTooSmall comes back before anything moves.
var errTooSmall = errors.New("the disk is too small")

// sayPlan prints the head of a run.
func (p *packing) sayPlan(n *packNeeds) {
	if p.std.Quiet {
		return
	}
	var b strings.Builder
	p.describePlan(&b, n)
	p.std.say("%s", strings.TrimRight(b.String(), "\n"))
}

// writePlan prints what --dry-run tells.
func (p *packing) writePlan(w io.Writer, n *packNeeds) error {
	var b strings.Builder
	t := newTable("IMAGE", "PLATFORMS", ">SIZE")
	for _, image := range p.plan.Images {
		if image.Err != nil {
			t.add(image.Ref.String(), "cannot be fetched", "")
			continue
		}
		t.add(image.Ref.String(), platformNames(image.Platforms), formatSize(image.Size()))
	}
	if err := t.writeTo(&b); err != nil {
		return err
	}
	b.WriteString("\n")
	p.describePlan(&b, n)
	_, err := io.WriteString(w, b.String())
	return err
}

func platformNames(sizes []oci.PlatformSize) string {
	var names []string
	for _, s := range sizes {
		names = append(names, platformName(s.Platform))
	}
	return strings.Join(names, ", ")
}

// platformName returns the name of a platform, or a dash for content that has none.
func platformName(p oci.Platform) string {
	if p.OS == "" && p.Architecture == "" {
		return "-"
	}
	return oci.FormatPlatform(p)
}

// describePlan writes totals, platforms, places and what is special.
func (p *packing) describePlan(b *strings.Builder, n *packNeeds) {
	fmt.Fprintf(b, "plan: %s, %s, %s", plural(n.size.Images, "image"), plural(n.size.Blobs, "blob"), formatSize(n.size.Bytes))
	if saved := n.size.Sum - n.size.Bytes; saved > 0 {
		fmt.Fprintf(b, " (%s without sharing)", formatSize(n.size.Sum))
	}
	b.WriteString("\n")
	t := newTable("PLATFORM", ">IMAGES", ">SIZE")
	for _, s := range p.plan.PlatformSizes() {
		t.add(platformName(s.Platform), fmt.Sprint(s.Images), formatSize(s.Bytes))
	}
	_ = t.writeTo(b) // a strings.Builder takes all
	fmt.Fprintf(b, "store:  %s has %s, %s to fetch; %s free on %s\n",
		n.store.path, formatSize(n.have), formatSize(n.fetch), formatSize(n.store.disk.free), n.store.disk.fsType)
	fmt.Fprintf(b, "output: %s, at most %s; %s free on %s\n",
		n.output.path, formatSize(n.output.size), formatSize(n.output.disk.free), n.output.disk.fsType)
	if p.writer.Format == compress.XZ {
		fmt.Fprintf(b, "xz:     %s\n", xzEngine(p.writer.XZProgram))
	}
	p.describeSpecial(b)
}

// xzEngine says who writes xz.
func xzEngine(program string) string {
	if program == "" {
		return "written by ferry itself, as there is no xz program on PATH; that is slower, and compresses less"
	}
	return "written with " + program
}

// describeSpecial writes what a user may not expect: images that keep or lack platforms, or get another digest.
func (p *packing) describeSpecial(b *strings.Builder) {
	rebuilt := 0
	for _, image := range p.plan.Images {
		switch {
		case image.Pinned && image.Err == nil && image.Lacks():
			fmt.Fprintf(b, "keeps all platforms, because it is named by digest, and lacks one of those asked for: %s\n", image.Ref)
			continue
		case image.Pinned:
			fmt.Fprintf(b, "keeps all platforms, because it is named by digest (--repin filters it): %s\n", image.Ref)
		case image.Original != nil:
			rebuilt++
		}
		if image.Err == nil && image.Lacks() {
			fmt.Fprintf(b, "has only %s: %s\n", platformNames(image.Platforms), image.Ref)
		}
	}
	for _, image := range p.plan.Dropped {
		fmt.Fprintf(b, "dropped, because it lacks a platform: %s\n", image.Ref)
	}
	if rebuilt > 0 {
		fmt.Fprintf(b, "new digest, because platforms are left out: %s; signatures of the whole do not fit, and the original "+
			"index is kept in the bundle\n", plural(rebuilt, "image"))
	}
	if n := len(p.failed); n > 0 {
		fmt.Fprintf(b, "cannot be fetched: %s, why is said at the end: %s\n", plural(n, "image"), someNames(p.failedNames()))
	}
}

// writePlatforms writes the table of images that lack a platform.
func writePlatforms(w io.Writer, e *oci.MissingPlatformsError) error {
	titles := []string{"IMAGE"}
	for _, platform := range e.Platforms {
		titles = append(titles, oci.FormatPlatform(platform))
	}
	t := newTable(titles...)
	for _, row := range e.Images {
		cells := []string{row.Ref.String()}
		for _, has := range row.Has {
			cells = append(cells, map[bool]string{true: "yes", false: "MISSING"}[has])
		}
		t.add(cells...)
	}
	return t.writeTo(w)
}
