package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/archive"
	"github.com/ferry-oci/ferry/registry"
)

// copying is one run of ferry copy. It is the origin of its delivery: the registries that the images are in.
type copying struct {
	o     *copyOptions
	std   *stdio
	from  *remote
	to    *destination
	refs  []oci.Reference
	wants oci.PlanOptions
	cache oci.Cache

	plan   *oci.Plan                           // of all that was asked for
	images map[oci.Reference]*oci.PlannedImage // what is known of each, see load
	looked map[oci.Reference]bool              // whether it was looked for what belongs to it
	moves  []oci.PlannedImage                  // those that are to be moved

	visible visibilities
}

// run is the whole run. Images are resolved first, so that those whose tags are right at the target already cost no more
// than that; only what is left is loaded.
func (c *copying) run(ctx context.Context, namings []*registry.Naming) error {
	if err := c.makePlan(ctx); err != nil {
		return err
	}
	d := &delivery{
		o: &c.o.deliverOptions, std: c.std, words: copyWords, from: c, to: c.to, wasPublic: c.wasPublic, keepGoing: true,
		steps: []func(context.Context, []*plannedName) error{c.findUntagged, c.keepItself},
	}
	if c.o.toArchive() {
		d.words.done = "written"
	}
	if c.o.onePlatform() {
		d.steps = append(d.steps, d.choosePlatforms(c.wants.Platforms))
		if !c.o.NoReferrers {
			c.o.NoReferrers = true
			c.std.say("signatures and their like are left at the source: a docker-archive has no place for them")
		}
	}
	var images []*deliverable
	for _, image := range c.plan.Images {
		if image.Err != nil {
			d.failed = append(d.failed, failedImage{image.Ref, c.from.explain(image.Err)})
			continue
		}
		images = append(images, &deliverable{
			ref: image.Ref, line: image.Ref.String(), digest: image.Root.Digest, from: []oci.Repository{image.Ref.Repository},
		})
	}
	if err := d.plan(ctx, images, namings); err != nil {
		return err
	}
	c.noteMoves(d)
	switch {
	case c.o.DryRun:
		return errors.Join(d.writePlan(c.std.Out), c.writePlan(ctx, d), d.verdict())
	case len(images) == 0 || !c.o.KeepGoing && d.lacks():
		return c.nothingMoved(d)
	}
	c.sayPlan()
	return d.run(ctx)
}

// makePlan resolves the references. What an image is without some of its platforms, only its index tells; else nothing is
// loaded yet.
func (c *copying) makePlan(ctx context.Context) (err error) {
	o := c.wants
	o.Shallow, o.Parallel, o.Events = len(o.Platforms) == 0, c.o.Transfers.N, showPlanning(c.std)
	c.plan, err = oci.MakePlan(ctx, c.refs, c.from, c.from, c.cache, o)
	var lacks *oci.MissingPlatformsError
	if err != nil && !errors.As(err, &lacks) {
		return c.from.explain(err)
	}
	if lacks != nil {
		if err := writePlatforms(c.std.Err, lacks); err != nil {
			return err
		}
		return lackingError(c.plan, lacks)
	}
	c.images, c.looked = map[oci.Reference]*oci.PlannedImage{}, map[oci.Reference]bool{}
	c.know(c.plan)
	return nil
}

func (c *copying) know(plan *oci.Plan) {
	for _, image := range plan.Images {
		c.images[image.Ref] = &image
	}
}

// load fetches the manifests of images that have only been resolved, and finds what belongs to the images.
func (c *copying) load(ctx context.Context, images []*deliverable) error {
	var refs []oci.Reference
	for _, img := range images {
		if root := c.images[img.ref].Root; root != nil && root.Manifest == nil {
			refs = append(refs, img.ref)
		}
	}
	if len(refs) > 0 {
		plan, err := oci.MakePlan(ctx, refs, c.from, c.from, c.cache, oci.PlanOptions{Parallel: c.o.Transfers.N})
		if err != nil {
			return c.from.explain(err)
		}
		c.know(plan)
	}
	return c.findReferrers(ctx, images)
}

// findReferrers finds what belongs to images that are loaded, once for each.
func (c *copying) findReferrers(ctx context.Context, images []*deliverable) error {
	if c.o.NoReferrers {
		return nil
	}
	plan := &oci.Plan{}
	for _, img := range images {
		if image := c.images[img.ref]; image.Err == nil && !c.looked[img.ref] {
			c.looked[img.ref] = true
			plan.Images = append(plan.Images, *image)
		}
	}
	if len(plan.Images) == 0 {
		return nil
	}
	if err := findReferrers(ctx, plan, c.from, c.cache, c.o.Transfers.N, c.std); err != nil {
		return err
	}
	c.know(plan)
	return nil
}

// referrers returns what belongs to an image. Of one that is complete at the target that is not looked for.
func (c *copying) referrers(_ context.Context, img *deliverable) ([]oci.Referrer, error) {
	return c.images[img.ref].Referrers, nil
}

func (c *copying) graph(ctx context.Context, img *deliverable) (*oci.Node, error) {
	if err := c.load(ctx, []*deliverable{img}); err != nil {
		return nil, err
	}
	image := c.images[img.ref]
	return image.Root, c.from.explain(image.Err)
}

func (c *copying) original(_ context.Context, img *deliverable) (*oci.Node, error) {
	return c.images[img.ref].Original, nil
}

// noteMoves notes the images that are to be moved. One that cannot be loaded fails under all names that need it.
func (c *copying) noteMoves(d *delivery) {
	for _, img := range d.pushed() {
		c.moves = append(c.moves, *c.images[img.ref])
	}
	for _, n := range d.names {
		if n.action == actionPush && n.err == nil {
			n.err = c.from.explain(c.images[n.image.ref].Err)
		}
	}
}

// findUntagged looks for the images that have only a digest. One that is there is complete, as registries take no manifest
// before all that it points to; so it costs one HEAD, and its manifests are not fetched.
func (c *copying) findUntagged(ctx context.Context, names []*plannedName) error {
	if c.o.toLocal() || c.o.Recheck { // a layout may have it without its name
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.o.Transfers.N)
	for _, n := range names {
		if n.target.Tag != "" || n.closed() {
			continue
		}
		group.Go(func() error {
			root := c.images[n.image.ref].Root
			if n.root != nil {
				root = n.root
			}
			has, err := c.to.Has(ctx, n.target.Repository, root.Descriptor)
			if has {
				n.current = n.want
			}
			return c.to.explain(err)
		})
	}
	return group.Wait()
}

// keepItself leaves a name as it is that is the very image it would be made of: there is nothing to do, and where
// platforms are left out, the source would be lost.
func (c *copying) keepItself(_ context.Context, names []*plannedName) error {
	if c.o.toLocal() {
		return nil
	}
	same := 0
	for _, n := range names {
		ref := n.image.ref
		if n.target.Repository != ref.Repository || n.target.Tag != ref.Tag {
			continue
		}
		if n.want == n.current {
			same++
			continue
		}
		n.err = fmt.Errorf("%s is its own target, and would be replaced by %s; choose another prefix, or names by --map",
			ref.Name(), n.want)
	}
	if same > 0 {
		c.std.say("source and target are one and the same for %s; nothing is to be done there", plural(same, "name"))
	}
	return nil
}

// nothingMoved ends a run in which some images, or all, cannot be had.
func (c *copying) nothingMoved(d *delivery) error {
	err := d.verdict()
	switch {
	case err == nil:
		return &partialError{errors.New("no image is left to copy: each lacks a platform that was asked for")}
	case len(d.images) > 0 && !c.o.KeepGoing:
		return &partialError{fmt.Errorf("%w; nothing was moved, --keep-going copies the others", err)}
	}
	return err
}

// sayPlan prints the head of a run, when there is something to move.
func (c *copying) sayPlan() {
	if text := c.describe(); text != "" {
		c.std.say("%s", strings.TrimRight(text, "\n"))
	}
}

// describe says what is to be moved, at the most.
func (c *copying) describe() string {
	var b strings.Builder
	moves := &oci.Plan{Platforms: c.plan.Platforms, Images: c.moves, Dropped: c.plan.Dropped}
	if size := moves.Size(); size.Images > 0 {
		describeSize(&b, moves, size)
		describeQuotas(&b, c.from.Quotas())
	}
	describeSpecial(&b, moves, "")
	return b.String()
}

func (c *copying) source() oci.Source { return plannedSource{c.from.Client, c.cache} }

// plannedSource is the registries of the source. It gives what was read for the plan, such as the config of an image that
// is in no index, without asking again.
type plannedSource struct {
	*registry.Client
	cache oci.Cache
}

func (s plannedSource) Open(
	ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64,
) (io.ReadCloser, error) {
	raw, err := s.cache.Manifest(ctx, d)
	if err != nil || oci.CheckBytes(d, raw) != nil || offset < 0 || offset > d.Size {
		return s.Client.Open(ctx, from, d, offset)
	}
	return io.NopCloser(bytes.NewReader(raw[offset:])), nil
}

func (c *copying) name() string { return copyWords.source }

// stops tells which errors end the run: what would fail every image.
func (c *copying) stops(err error) bool {
	var at *oci.CopyError
	var unreachable *registry.UnreachableError
	if errors.Is(err, archive.ErrBroken) {
		return true
	}
	if !errors.As(err, &at) || at.Source {
		return false
	}
	return isNoSpace(err) || len(c.o.Targets) == 1 && errors.As(err, &unreachable)
}

// blame returns err with what the hints for the end that failed need.
func (c *copying) blame(err error) error {
	var end *endError
	var at *oci.CopyError
	switch {
	case errors.As(err, &end):
		return err
	case errors.As(err, &at) && at.Source:
		return c.from.explain(err)
	}
	return c.to.explain(err)
}

func (c *copying) sayEnded(error) {
	if !c.o.toArchive() {
		c.std.say("what was copied stays there, and the same command goes on from it")
	}
}
