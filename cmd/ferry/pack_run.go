package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// writeBundle is a run that is not dry. The output is begun first: where it cannot be written nothing need be asked.
func (p *packing) writeBundle(ctx context.Context) error {
	out, err := p.createOutput()
	if err != nil {
		return err
	}
	remove, err := writeCompanions(p.with, p.o.Output, out)
	if err != nil {
		out.Abort()
		return err
	}
	sealed, err := p.fill(ctx, out)
	if err != nil || sealed == nil {
		out.Abort()
		remove()
		p.finished = keptVolumes(out)
		if err == nil {
			err = p.verdict(ctx)
		}
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	p.written = true
	if err := p.nameImages(ctx); err != nil {
		return err
	}
	sealed.say(p.std, p.o.Output, p.writer.Format, out)
	sayCompanions(p.with, p.std)
	return p.verdict(ctx)
}

// fill plans, fetches and seals. It returns nil when images failed and no bundle is to be written without them.
func (p *packing) fill(ctx context.Context, out *bundle.Output) (*sealedBundle, error) {
	if err := p.makePlan(ctx); err != nil {
		return nil, err
	}
	if len(p.images()) == 0 {
		return nil, nil
	}
	if err := p.expect(ctx, out); err != nil {
		return nil, err
	}
	needs, err := p.needs(ctx)
	if err != nil {
		return nil, err
	}
	p.sayPlan(needs)
	if n, size := p.dropped(ctx); n > 0 {
		p.std.say("an earlier run did not end well after it had dropped %s (%s): they are fetched again", plural(n, "blob"), formatSize(size))
	}
	if err := needs.check(); err != nil {
		return nil, err
	}
	p.fetching = true
	return p.fetchAndSeal(ctx, out)
}

// fetchAndSeal begins the bundle, and begins it anew without images that failed since, and once more when a blob that an
// earlier run has left in the store turned out to be damaged.
func (p *packing) fetchAndSeal(ctx context.Context, out *bundle.Output) (*sealedBundle, error) {
	for {
		left := len(p.failed) + len(p.gone)
		sealed, err := p.sealOnce(ctx, out)
		var bad *sealError
		switch {
		case err == nil && sealed != nil:
			return sealed, nil
		case err == nil && !p.sealing():
			return nil, nil
		case err == nil:
			p.std.say("sealing starts over without %s", plural(len(p.failed)+len(p.gone)-left, "image"))
		case errors.As(err, &bad) && errors.Is(err, oci.ErrCorrupt) && !p.rechecked:
			p.std.say("the store has a damaged blob of an earlier run; checking all that are needed")
			if err := p.recheck(ctx); err != nil {
				return nil, err
			}
		case errors.Is(err, bundle.ErrOtherBytes):
			p.std.say("%v; sealing starts over with the first volume", err)
		default:
			return nil, err
		}
		if rerr := out.Restart(); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
	}
}

// sealOnce fetches what the store lacks while the bundle is written. It returns nil when no bundle was written because
// images failed. Those that failed now are added to p.failed or p.gone; the others have been fetched then.
func (p *packing) sealOnce(ctx context.Context, out *bundle.Output) (*sealedBundle, error) {
	images := p.images()
	// In the order of the bundle, so that sealing keeps up.
	slices.SortStableFunc(images, func(a, b oci.PlannedImage) int { return cmp.Compare(entryName(a), entryName(b)) })
	jobs := p.copyJobs(images)
	watch := newCopyWatch(p.std, "pack", jobs)
	defer watch.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sealCtx, stopSeal := context.WithCancel(ctx)
	defer stopSeal()
	arrivals := newArrivals()
	to, consumer, err := p.consumed(ctx, out)
	if err != nil {
		return nil, err
	}
	prover := p.prover()
	sealed := p.startSeal(sealCtx, cancel, out, arrivals, prover, consumer)
	report, err := p.fetch(ctx, to, jobs, func(e oci.Event) {
		switch e.Kind {
		case oci.EventDone, oci.EventSkipped, oci.EventManifest:
			arrivals.add(e.Descriptor.Digest)
		case oci.EventFailed:
			if prover == nil { // what is proven serves the next bundle
				stopSeal() // this one will not become whole
			}
		}
		watch.event(e)
	})
	if err != nil || len(report.Failed()) > 0 {
		stopSeal()
	}
	watch.end()
	prover.show()
	arrivals.end()
	s, sealErr := sealed()
	switch {
	case sealErr != nil && !errors.Is(sealErr, errNotFetched) && !errors.Is(sealErr, context.Canceled):
		return nil, sealErr
	case err != nil:
		return nil, p.from.explain(err)
	}
	if p.addFailed(ctx, images, report) {
		return nil, nil
	}
	return s, sealErr
}

// consumed returns where the copy puts its blobs, and with --consume who drops them when they are sealed.
func (p *packing) consumed(ctx context.Context, out *bundle.Output) (oci.Sink, *consumer, error) {
	if !p.o.Consume || !p.sealing() {
		return p.store, nil, nil
	}
	c := newConsumer(p.store, p.journal, out, p.o.Transfers.N, p.consume)
	if !p.o.Compact { // the proof of a compact bundle needs all blobs
		held, err := out.Held(ctx, p.contents(), p.writer)
		if err != nil {
			return nil, nil, err
		}
		c.hold(held)
	}
	return &consumedStore{p.store, c}, c, nil
}

// expect tells the output how large it can become, and finds the blobs that it holds since an earlier run, which --consume need not
// fetch again.
func (p *packing) expect(ctx context.Context, out *bundle.Output) error {
	if err := out.Expect(p.bound(p.plan.Size())); err != nil {
		return err
	}
	if !p.o.Consume || p.o.Compact || !p.sealing() {
		return nil
	}
	held, err := out.Held(ctx, p.contents(), p.writer)
	p.held = map[digest.Digest]bool{}
	for _, d := range held {
		p.held[d.Digest] = true
	}
	return err
}

// prover returns who proves the layers of a compact bundle, nil for another one.
func (p *packing) prover() *prover {
	if !p.o.Compact || !p.sealing() {
		return nil
	}
	var roots []*oci.Node
	for _, image := range p.images() {
		roots = append(roots, image.Root)
	}
	prover := newProver(p.store, p.std, roots, p.o.Jobs)
	prover.longFrame = p.longFrame
	return prover
}

// fits returns an error when the disk of the output has no room for a file of that size. What --consume drops is on its side.
func (p *packing) fits(size int64) error {
	need, err := outputNeed(p.o.Output, size, p.output, p.diskOf)
	need.flags = "-o"
	if err != nil || p.o.Consume {
		return errors.Join(err, need.checkFile())
	}
	return errors.Join(need.checkFile(), need.check())
}

// addFailed takes note of the images that the copy could not fetch, and reports whether there are any.
func (p *packing) addFailed(ctx context.Context, images []oci.PlannedImage, report *oci.Report) bool {
	for i, o := range report.Outcomes {
		if o.Err != nil {
			p.addFailure(ctx, images[i].Ref, referrersFirst(o.Err))
		}
	}
	return len(report.Failed()) > 0
}

// referrersFirst returns the error of a copy into the store, where an image whose referrers failed is no image without its
// tag.
func referrersFirst(err error) error {
	if attached, ok := errors.AsType[*oci.AttachedError](err); ok {
		return &oci.ReferrersError{Err: attached.Err}
	}
	return err
}

// sealing reports whether a bundle is to be written, as far as is known now.
func (p *packing) sealing() bool {
	return len(p.images()) > 0 && (len(p.failed) == 0 || p.o.KeepGoing)
}

// startSeal begins to write the bundle and returns the function that waits for its end; that gives nil when none is to
// be written. When the output cannot be written, there is no use in fetching on, and stopFetch is called.
func (p *packing) startSeal(
	ctx context.Context, stopFetch func(), out *bundle.Output, a *arrivals, prover *prover, c *consumer,
) func() (*sealedBundle, error) {
	if !p.sealing() {
		return func() (*sealedBundle, error) { return nil, nil }
	}
	s := &sealer{
		std: p.std, store: p.store, output: out, contents: p.contents(), options: p.writer, arrivals: a, prover: prover, fits: p.fits, consumer: c,
		afterAll: p.o.toStdout() && p.o.KeepGoing,
	}
	var sealed *sealedBundle
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if sealed, err = s.run(ctx); err != nil && ctx.Err() == nil {
			stopFetch()
		}
	}()
	return func() (*sealedBundle, error) {
		<-done
		return sealed, err
	}
}

// contents returns what the bundle is to hold: all images but those that failed. Images that have one name, as the same
// index under two digests has after both were rebuilt, are one.
func (p *packing) contents() bundle.Contents {
	c := bundle.Contents{Labels: p.labels, Created: p.created}
	if p.backup != nil {
		c.Sources, c.Projects = []bundle.Source{p.source()}, p.backup.Projects
	}
	for _, f := range p.failed {
		c.Missing = append(c.Missing, bundle.Missing{Name: f.ref.String(), Reason: shortReason(f.err)})
	}
	names := map[string]bool{}
	for _, image := range p.images() {
		e := bundle.Entry{Name: entryName(image), Root: image.Root, Pinned: image.Ref.Digest == image.Root.Digest, Referrers: image.Referrers}
		if names[e.Name] {
			continue
		}
		names[e.Name] = true
		if image.Original != nil {
			e.Original = &image.Original.Descriptor
		}
		c.Images = append(c.Images, e)
	}
	return c
}

// shortReason returns why an image is missing, in one line that fits into the head of a bundle.
func shortReason(err error) string {
	const most = 1000
	text := oneLine(err.Error())
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// entryName returns the name of an image in the bundle. One that was named by the digest of an index which had to be
// rebuilt is named by its new one.
func entryName(image oci.PlannedImage) string {
	ref := image.Ref
	if ref.Tag == "" && ref.Digest != "" {
		ref.Digest = image.Root.Digest
	}
	return ref.Name()
}

// fetch moves all blobs that the store lacks into it; to is the store, as the copy sees it.
func (p *packing) fetch(ctx context.Context, to oci.Sink, jobs []oci.Job, events func(oci.Event)) (*oci.Report, error) {
	report, err := oci.Copy(ctx, &copySource{p.from, &p.local}, to, jobs, oci.CopyOptions{
		Transfers: p.o.Transfers.N,
		Stop:      func(err error) bool { return !fromSource(err) },
		Events:    events,
	})
	if err != nil {
		return report, err
	}
	text := fmt.Sprintf("fetched %s in %s", formatSize(report.MovedBytes), plural(report.Moved, "blob"))
	if report.Skipped > 0 {
		text += fmt.Sprintf("; the store had %s (%s)", plural(report.Skipped, "blob"), formatSize(report.SkippedBytes))
	}
	p.std.say("%s", text)
	return report, nil
}

// fromSource reports whether an error of the copy is the source's, which costs one image. Content that is not what it
// should be came from there; anything else that the store says, as a full disk, would happen to every image.
func fromSource(err error) bool {
	var at *oci.CopyError
	return errors.As(err, &at) && at.Source || errors.Is(err, oci.ErrCorrupt)
}

// copyJobs returns the work of the copy, one job for each image.
func (p *packing) copyJobs(images []oci.PlannedImage) []oci.Job {
	jobs := make([]oci.Job, len(images))
	for i, image := range images {
		jobs[i] = oci.Job{
			Name: image.Ref.Name(), Root: image.Root, From: p.local.places(image), To: []oci.Target{{}},
		}
		for _, r := range image.Referrers { // a store needs no tags of theirs
			jobs[i].Attached = append(jobs[i].Attached, oci.Attached{Root: r.Root, Subject: r.Subject})
		}
	}
	return jobs
}
