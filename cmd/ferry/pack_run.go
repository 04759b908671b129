package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress"
	"github.com/ferry-oci/ferry/oci"
)

// maxSeals is how often the bundle is begun: anew after images failed, and after blobs that an earlier run had left in
// the store turned out to be damaged.
const maxSeals = 4

// sealedBundle is what is known of a bundle that was written.
type sealedBundle struct {
	head      *bundle.Head
	contentID string
	size      int64
	sum       string
}

// run fetches all blobs and, beside that, writes the bundle.
func (p *packing) run(ctx context.Context) error {
	out, err := bundle.CreateOutput(p.o.Output)
	if err != nil {
		return err
	}
	sealed, err := p.fetchAndSeal(ctx, out)
	if err != nil || sealed == nil {
		out.Abort()
		return errors.Join(err, p.verdict())
	}
	sealed.size, sealed.sum = out.Size(), out.Sum()
	if err := out.Commit(); err != nil {
		return err
	}
	if err := p.nameImages(ctx); err != nil {
		return err
	}
	p.saySealed(sealed)
	return p.verdict()
}

// fetchAndSeal returns nil when images failed and no bundle is to be written without them.
func (p *packing) fetchAndSeal(ctx context.Context, out *bundle.Output) (*sealedBundle, error) {
	for try := 1; ; try++ {
		sealed, err := p.sealOnce(ctx, out)
		var bad *sealError
		switch {
		case err == nil && sealed != nil:
			return sealed, nil
		case err == nil && !p.o.KeepGoing:
			return nil, nil
		case err == nil: // without the images that have failed since
		case errors.As(err, &bad) && errors.Is(err, oci.ErrCorrupt) && try < maxSeals:
			// An earlier run left it; fetched again, it is hashed on its way.
			p.std.warn("the store had a damaged blob, which is fetched again: %v", bad.err)
			if err := p.store.Drop(bad.blob); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
		if err := out.Restart(); err != nil {
			return nil, err
		}
	}
}

// sealOnce fetches what the store lacks while the bundle is written. It returns nil when images failed, which are added
// to p.failed; the others have been fetched then.
func (p *packing) sealOnce(ctx context.Context, out *bundle.Output) (*sealedBundle, error) {
	jobs, refs := p.jobs()
	watch := newCopyWatch(p.std, "pack", roots(jobs))
	defer watch.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrivals := newArrivals()
	sealed := p.startSeal(ctx, cancel, out, arrivals)
	report, err := p.fetch(ctx, jobs, arrivals, watch)
	arrivals.end()
	if err != nil || len(report.Failed()) > 0 {
		cancel()
	}
	s, sealErr := sealed()
	switch {
	case sealErr != nil && !errors.Is(sealErr, errNotFetched) && !errors.Is(sealErr, context.Canceled):
		return nil, sealErr
	case err != nil:
		return nil, p.from.explain(err)
	}
	for i, o := range report.Outcomes {
		if o.Err != nil {
			p.failed = append(p.failed, failedImage{refs[i], p.from.explain(o.Err)})
		}
	}
	if !p.sealing() || len(report.Failed()) > 0 {
		return nil, nil
	}
	return s, sealErr
}

// sealing reports whether a bundle is to be written, as far as is known now.
func (p *packing) sealing() bool { return len(p.failed) == 0 || p.o.KeepGoing }

// startSeal begins to write the bundle and returns the function that waits for its end. When the output cannot be
// written, there is no use in fetching on, and cancel is called.
func (p *packing) startSeal(ctx context.Context, cancel func(), out *bundle.Output, a *arrivals) func() (*sealedBundle, error) {
	if !p.sealing() {
		return func() (*sealedBundle, error) { return nil, nil }
	}
	s := &sealer{store: p.store, output: out, contents: p.contents(), options: p.writer, arrivals: a}
	var sealed sealedBundle
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if sealed.head, sealed.contentID, err = s.run(ctx); err != nil && !errors.Is(err, errNotFetched) {
			cancel()
		}
	}()
	return func() (*sealedBundle, error) {
		<-done
		return &sealed, err
	}
}

// fetch moves all blobs that the store lacks into it.
func (p *packing) fetch(ctx context.Context, jobs []oci.Job, a *arrivals, watch *copyWatch) (*oci.Report, error) {
	report, err := oci.Copy(ctx, p.from, p.store, jobs, oci.CopyOptions{
		Transfers: p.o.Transfers,
		Stop:      func(err error) bool { return !fromSource(err) },
		Events: func(e oci.Event) {
			if e.Kind == oci.EventDone || e.Kind == oci.EventSkipped {
				a.add(e.Descriptor.Digest)
			}
			watch.event(e)
		},
	})
	if err == nil {
		p.std.say("fetched %s in %s; the store had %s", formatSize(report.MovedBytes), plural(report.Moved, "blob"),
			plural(report.Skipped, "blob"))
	}
	return report, err
}

// fromSource reports whether an error of the copy is the source's, which costs one image. Content that is not what it
// should be came from there; anything else that the store says, as a full disk, would happen to every image.
func fromSource(err error) bool {
	var at *oci.CopyError
	return errors.As(err, &at) && at.Source || errors.Is(err, oci.ErrCorrupt)
}

// jobs returns the work of the copy, and for each job the reference that it is about.
func (p *packing) jobs() (jobs []oci.Job, refs []oci.Reference) {
	gone := map[string]bool{}
	for _, f := range p.failed {
		gone[f.ref.String()] = true
	}
	for _, image := range p.plan.Images {
		if gone[image.Ref.String()] {
			continue
		}
		jobs = append(jobs, oci.Job{
			Name: image.Ref.Name(), Root: image.Root, From: []oci.Repository{image.Ref.Repository}, To: []oci.Target{{}},
		})
		refs = append(refs, image.Ref)
	}
	return jobs, refs
}

// roots returns the images of the jobs.
func roots(jobs []oci.Job) []*oci.Node {
	all := make([]*oci.Node, len(jobs))
	for i, j := range jobs {
		all[i] = j.Root
	}
	return all
}

// nameImages writes the names into a store that is kept, so that it is an image layout which other tools can read.
func (p *packing) nameImages(ctx context.Context) error {
	if p.o.Store == "" {
		return nil
	}
	for _, image := range p.plan.Images {
		if image.Root == nil || image.Ref.Tag == "" {
			continue
		}
		if err := p.store.Tag(ctx, image.Ref.Repository, image.Ref.Tag, image.Root.Descriptor, image.Root.Raw); err != nil {
			return err
		}
	}
	return nil
}

// saySealed prints what was written and what the far side needs.
func (p *packing) saySealed(s *sealedBundle) {
	name := filepath.Base(p.o.Output)
	p.std.say("wrote %s: %s, %s, %s", p.o.Output, formatSize(s.size), plural(len(s.head.Images), "image"),
		plural(len(s.head.Members), "blob"))
	p.std.say("  sha256      %s (in %s, too)", s.sum, filepath.Base(bundle.SumFile(p.o.Output)))
	p.std.say("  content id  %s", s.contentID)
	if n := len(s.head.Missing); n > 0 {
		p.std.warn("%s: the bundle lacks %s that could not be fetched", name, plural(n, "image"))
	}
	program := map[compress.Format]string{compress.Zstd: "tar, zstd and skopeo", compress.XZ: "tar, xz and skopeo", compress.None: "tar and skopeo"}
	p.std.say("the far side needs ferry %s (ferry unpack %s REGISTRY), or %s", ferryVersion(), name, program[p.writer.Format])
}
