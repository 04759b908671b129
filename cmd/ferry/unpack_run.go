package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// run moves what the plan says and reports it.
func (u *unpacking) run(ctx context.Context) error {
	jobs, names, err := u.jobs(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", u.o.bundleName(), err)
	}
	report, err := u.copy(ctx, jobs)
	for i, o := range report.Outcomes {
		names[i].err = u.blame(o.Err)
	}
	if err == nil {
		err = u.nameUntagged(ctx, jobs, names)
	}
	if lerr := u.writeNames(false); err == nil {
		err = lerr
	}
	return u.report(report, u.blame(err))
}

// jobs returns the work of the copy, and for each job the name that it is about. An image whose manifests are damaged
// fails alone with --keep-going.
func (u *unpacking) jobs(ctx context.Context) (jobs []oci.Job, names []*plannedName, err error) {
	roots := map[string]*oci.Node{}
	for _, n := range u.names {
		if n.action != actionPush {
			continue
		}
		root := roots[n.image.Name]
		if root == nil {
			root, err = u.in.Graph(ctx, n.image)
			switch {
			case ctx.Err() != nil:
				return nil, nil, ctx.Err()
			case err != nil && !u.o.KeepGoing:
				return nil, nil, graphDamage(n.image, err)
			case err != nil:
				n.err = graphDamage(n.image, err)
				continue
			}
			roots[n.image.Name] = root
		}
		to := oci.Target{Repository: n.target.Repository, Tag: n.target.Tag, Current: n.current}
		jobs = append(jobs, oci.Job{Name: n.image.Name, Root: root, To: []oci.Target{to}})
		names = append(names, n)
	}
	return jobs, names, nil
}

// graphDamage returns what is wrong with the manifests of an image as damage of the bundle.
func graphDamage(img bundle.Image, err error) error {
	if errors.Is(err, bundle.ErrCorrupt) {
		return err
	}
	return &bundle.DamageError{
		Damage: bundle.Damage{
			Member: "image " + img.Name, Digest: img.Digest, Images: []string{img.Name}, Reason: err.Error(),
		},
		Err: err,
	}
}

// copy runs the copy with its progress. The report is never nil.
func (u *unpacking) copy(ctx context.Context, jobs []oci.Job) (*oci.Report, error) {
	watch := newCopyWatch(u.std, "unpack", jobs)
	defer watch.end()
	o := oci.CopyOptions{
		Transfers: u.o.Transfers.N, LargestFirst: true, HoldTags: u.o.Atomic, Stop: u.stops, Events: watch.event,
	}
	return oci.Copy(ctx, u.in, u.to.target, jobs, o)
}

// nameUntagged gives the images that have only a digest their names in a layout, which without a name could not be
// found there. A registry needs no such name.
func (u *unpacking) nameUntagged(ctx context.Context, jobs []oci.Job, names []*plannedName) error {
	if _, ok := u.o.layoutDir(); !ok {
		return nil
	}
	for i, n := range names {
		if n.target.Tag != "" || n.err != nil {
			continue
		}
		root, at := jobs[i].Root, n.target.Repository
		at.Path += "@" + root.Digest.String()
		if err := u.to.Tag(ctx, at, "", root.Descriptor, root.Raw); err != nil {
			return err
		}
	}
	return nil
}

// stops tells the copy which errors end it: damage, unless it is to keep going, and what would fail every image.
func (u *unpacking) stops(err error) bool {
	var unreachable *registry.UnreachableError
	switch {
	case isDamage(err):
		return !u.o.KeepGoing
	case isNoSpace(err):
		return true
	}
	return errors.As(err, &unreachable)
}

// isDamage reports whether err of the copy comes from the bundle. Content that the sink found not to match its digest
// was read from there.
func isDamage(err error) bool {
	var at *oci.CopyError
	return errors.Is(err, bundle.ErrCorrupt) || errors.As(err, &at) && at.Source && errors.Is(at.Err, oci.ErrCorrupt)
}

// blame returns err of the copy with what is known of the side that failed: the place of damage in the bundle, or what
// the hints for a registry need.
func (u *unpacking) blame(err error) error {
	var damage *bundle.DamageError
	var at *oci.CopyError
	switch {
	case err == nil || errors.Is(err, oci.ErrHeld):
		return err
	case errors.As(err, &damage):
		return fmt.Errorf("%s: %w", u.o.bundleName(), damage)
	case !isDamage(err):
		return u.to.explain(err)
	}
	errors.As(err, &at)
	if file, ok := u.in.(*packedFile); ok {
		return fmt.Errorf("%s: %w", u.o.bundleName(), file.DamageOf(at.Digest, at.Err))
	}
	return &bundle.DamageError{
		Damage: bundle.Damage{
			Member: at.Digest.String(), Digest: at.Digest, Images: u.in.Head().ImagesWith(at.Digest), Reason: at.Err.Error(),
		},
		Err: at.Err,
	}
}
