package main

import (
	"cmp"
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

	// Where size is a bound that it may stay far below: bytes that it takes at the least, and usually; else 0.
	least, usual int64
	flags        string // that choose another place; empty: --store or -o

	volume int64        // bytes in a volume; 0: it is one file
	rooms  []volumeRoom // where volumes go, in turn
}

// packNeeds are the bytes that a pack moves, and where to.
type packNeeds struct {
	size   oci.PlanSize
	fetch  int64 // bytes that the store lacks
	have   int64 // bytes that it has
	freed  int64 // of those, bytes that --consume drops
	store  spaceNeed
	output spaceNeed
}

// makePlan resolves all references.
func (p *packing) makePlan(ctx context.Context) (err error) {
	if n := p.resumed(); n > 0 {
		p.std.say("going on with what an earlier run has resolved: %d of %s; --refresh resolves tags anew",
			n, plural(len(p.refs)-len(p.local.images), "image"))
	}
	o := p.wants
	o.Parallel, o.Events = p.o.Transfers.N, showPlanning(p.std)
	p.plan, err = oci.MakePlan(ctx, p.refs, p.resolver(), p.planned(), p.cache(), o)
	var lacks *oci.MissingPlatformsError
	if err != nil && !errors.As(err, &lacks) {
		return p.from.explain(err)
	}
	if lacks == nil && !p.o.NoReferrers {
		if err := findReferrers(ctx, p.plan, p.planned(), p.cache(), p.o.Transfers.N, p.std); err != nil {
			return err
		}
	}
	for _, image := range p.plan.Failed() {
		p.addFailure(ctx, image.Ref, image.Err)
	}
	if lacks == nil {
		return nil
	}
	if err := writePlatforms(p.std.Err, lacks); err != nil {
		return err
	}
	p.explainFailed()
	return lackingError(p.plan, lacks)
}

// dryRun prints the plan on stdout and fetches nothing but manifests, which it does not keep.
func (p *packing) dryRun(ctx context.Context) error {
	if err := p.makePlan(ctx); err != nil {
		return err
	}
	if len(p.images()) == 0 {
		return p.verdict(ctx)
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
	return p.verdict(ctx)
}

// needs finds out what there is to fetch, and what is free where it goes.
func (p *packing) needs(ctx context.Context) (*packNeeds, error) {
	n := &packNeeds{size: p.plan.Size()}
	manifests, configs, layers := oci.Blobs(p.plan.Roots()...)
	largest := int64(0)
	for _, d := range slices.Concat(manifests, configs, layers) {
		has, err := p.store.Has(ctx, oci.Repository{}, d)
		if err != nil {
			return nil, err
		}
		largest = max(largest, d.Size)
		if p.held[d.Digest] && !has && !oci.IsManifest(d.MediaType) {
			continue // it is in the output
		}
		if has {
			n.have += d.Size
			if p.o.Consume && !oci.IsManifest(d.MediaType) {
				n.freed += d.Size
			}
		} else {
			part := p.store.Part(d)
			n.have += part
			n.fetch += d.Size - part
		}
	}
	n.store = spaceNeed{what: "the store needs", path: p.store.Dir(), size: n.fetch}
	if p.o.Consume {
		n.store.size = min(n.fetch, p.consume.window+largest)
	}
	var err error
	if n.store.disk, err = p.diskOf(n.store.path); err != nil {
		return nil, err
	}
	if n.output, err = outputNeed(p.o.Output, p.bound(n.size), p.output, p.diskOf); err != nil {
		return nil, err
	}
	if p.o.Compact {
		p.needsOfCompact(n)
	}
	return n, nil
}

// needsOfCompact changes what a compact bundle needs. How large it becomes shows when it is written: gzip layers come to
// about 0.6 of what they are, and to less the more versions of them there are; in a tar without compressor to 2 or 3 times
// as much.
func (p *packing) needsOfCompact(n *packNeeds) {
	bytes := n.size.Bytes
	n.output.size = p.bound(n.size)
	if p.writer.Format == compress.None {
		n.output.least, n.output.usual = bytes*9/10, bytes*5/2
	} else {
		n.output.least, n.output.usual = bytes/10, bytes*3/5
	}
	spooled := min(bytes, compress.MaxLongFrame)
	n.store.size = n.fetch + spooled
	if p.o.Consume { // what is in a frame that is written is dropped; the last one is on its way still
		n.freed = max(n.have+n.fetch-spooled, 0)
	}
}

// bound returns how many bytes the output comes to at most.
func (p *packing) bound(size oci.PlanSize) int64 {
	switch {
	case !p.o.Compact:
		return size.Bytes + tarOverhead(size.Blobs)
	case p.writer.Format == compress.None:
		return 4*size.Bytes + tarOverhead(2*size.Blobs)
	}
	return size.Bytes + size.Bytes/8 + tarOverhead(2*size.Blobs)
}

// tarOverhead is how much longer than its blobs a bundle can be, at the most: headers, padding, frames and both heads.
func tarOverhead(blobs int) int64 { return int64(blobs)*4096 + 1<<20 }

// check returns an error when a disk is too small for what it is to take.
func (n *packNeeds) check() error {
	if err := n.output.checkFile(); err != nil {
		return err
	}
	if n.output.volume > 0 {
		return errors.Join(n.store.check(), n.output.checkVolumes(n.store.disk.device, n.store.size-n.freed))
	}
	if n.store.disk.device == n.output.disk.device {
		both := n.store
		both.what, both.size = "store and output need", max(n.store.size+n.output.size-n.freed, n.store.size)
		if n.output.least > 0 {
			both.least = max(n.store.size+n.output.least-n.freed, n.store.size)
		}
		return both.check()
	}
	return errors.Join(n.store.check(), n.output.check())
}

// room returns how large a file can become there.
func (s spaceNeed) room() int64 {
	if s.disk.fat {
		return min(s.disk.free, fatMaxFile)
	}
	return s.disk.free
}

// checkFile returns an error when the file system takes no single file of that size.
func (s spaceNeed) checkFile() error {
	if s.volume > 0 {
		return s.checkVolumeFiles()
	}
	if size := cmp.Or(s.least, s.size); !s.disk.fat || size <= fatMaxFile {
		return nil
	}
	return fmt.Errorf("output %s can become %s, and %s is a FAT file system, which takes no file above %s; "+
		"--split fat32 writes it in volumes that fit", s.path, formatSize(s.size), s.disk.dir, formatSize(fatMaxFile))
}

func (s spaceNeed) check() error {
	if s.volume > 0 {
		return s.checkVolumes("", 0)
	}
	need := cmp.Or(s.least, s.size)
	if need <= s.disk.free {
		return nil
	}
	return fmt.Errorf("%w: %s %s, and %s are free on the disk of %s; choose another place with %s",
		errTooSmall, s.what, formatSize(need), formatSize(s.disk.free), s.disk.dir, cmp.Or(s.flags, "--store or -o"))
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
			t.add(image.Ref.String(), p.failedText(image.Ref), "")
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

// describePlan writes totals, platforms, places and what is special.
func (p *packing) describePlan(b *strings.Builder, n *packNeeds) {
	describeSize(b, p.plan, n.size)
	fmt.Fprintf(b, "store:  %s has %s, %s to fetch; %s free on %s\n",
		n.store.path, formatSize(n.have), formatSize(n.fetch), formatSize(n.store.disk.free), n.store.disk.fsType)
	describeOutput(b, n.output)
	if p.o.Consume {
		fmt.Fprintf(b, "        blobs leave the store once they are in the output, so that it takes at most %s more\n", formatSize(n.store.size))
	}
	p.describeEngine(b)
	describeQuotas(b, p.from.Quotas())
	describeSpecial(b, p.plan, ", and the original index is kept in the bundle")
	if n := len(p.failed); n > 0 {
		fmt.Fprintf(b, "cannot be fetched: %s, why is said at the end: %s\n", plural(n, "image"), someNames(p.failedNames()))
	}
}

// describeOutput writes how large the output becomes.
func describeOutput(b *strings.Builder, o spaceNeed) {
	if o.volume > 0 {
		describeVolumes(b, o)
		return
	}
	atMost := "at most"
	if o.least > 0 {
		atMost = "usually about " + formatSize(o.usual) + ", at most"
	}
	if o.path == stdoutName {
		fmt.Fprintf(b, "output: stdout, %s %s\n", atMost, formatSize(o.size))
		return
	}
	fmt.Fprintf(b, "output: %s, %s %s; %s free on %s\n",
		o.path, atMost, formatSize(o.size), formatSize(o.disk.free), o.disk.fsType)
	if room := o.room(); room < o.size && o.least > 0 {
		fmt.Fprintf(b, "        there is room for %s: whether that is enough shows when it is written\n", formatSize(room))
	}
}

// describeEngine says who compresses, where that depends on the programs that are there.
func (p *packing) describeEngine(b *strings.Builder) {
	o := p.writer
	switch {
	case o.Format == compress.XZ && o.XZProgram == "":
		b.WriteString("xz:     written by ferry itself, as there is no xz program on PATH; that is slower, and compresses less\n")
	case o.Format == compress.XZ:
		fmt.Fprintf(b, "xz:     written with %s\n", o.XZProgram)
	case o.Level != compress.Max || o.Format != compress.Zstd:
	case !p.o.Compact:
		b.WriteString("zstd:   without --compact, level max is what best is\n")
	case o.ZstdProgram == "":
		b.WriteString("zstd:   level max is what best is, as there is no zstd program on PATH, which compresses more\n")
	default:
		fmt.Fprintf(b, "zstd:   written with %s\n", o.ZstdProgram)
	}
}
