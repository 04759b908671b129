package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// plan finds the names of the images, one naming for each target, and what they mean there now. With --existing fail it
// returns an error that lists all tags which would change.
func (d *delivery) plan(ctx context.Context, images []*deliverable, namings []*registry.Naming) (err error) {
	d.images = images
	if d.names, err = planNames(images, namings); err != nil {
		return err
	}
	if d.o.toArchive() {
		moveToOnePlace(d.names)
	}
	if err := d.findDown(ctx); err != nil {
		return d.to.explain(err)
	}
	if err := d.findProjects(ctx); err != nil {
		return d.to.explain(err)
	}
	if err := d.survey(ctx, d.names); err != nil {
		return d.to.explain(err)
	}
	if d.o.Ordinary {
		if err := d.rewriteForeign(ctx); err != nil {
			return err
		}
	}
	for _, step := range d.steps {
		if err := step(ctx, d.names); err != nil {
			return err
		}
	}
	if d.o.Merge.Platforms {
		if err := d.mergePlatforms(ctx); err != nil {
			return err
		}
	}
	var taken []string
	for _, n := range d.names {
		n.action = d.actionFor(n)
		if n.changes() && d.o.Existing == existingFail {
			taken = append(taken, fmt.Sprintf("%s is %s, %s has %s", n.target, n.current, d.words.source, n.want))
		}
	}
	if len(taken) > 0 {
		return takenError(taken)
	}
	if err := d.checkProjects(ctx); err != nil {
		return d.to.explain(err)
	}
	if d.words.counted && !d.o.DryRun && len(d.problems) > 0 {
		return d.to.explain(d.refusal())
	}
	if err := d.from.load(ctx, d.pushed()); err != nil {
		return err
	}
	if d.o.Existing == existingFail {
		if taken, err = d.takenTags(ctx); err != nil {
			return err
		}
		if len(taken) > 0 {
			return takenError(taken)
		}
	}
	if err := d.checkQuotas(ctx); err != nil {
		return d.to.explain(err)
	}
	if d.o.DryRun {
		return nil // the plan shows first
	}
	return d.to.explain(d.refusal())
}

func takenError(taken []string) error {
	return fmt.Errorf("at the target there is other content under %s:\n%s", plural(len(taken), "name"), strings.Join(taken, "\n"))
}

// takenTags returns a line for each tag of what belongs to the images that names something else at the target.
func (d *delivery) takenTags(ctx context.Context) ([]string, error) {
	if d.to.target == nil {
		return nil, nil
	}
	var jobs []oci.Job
	var wants []oci.Referrer
	for _, n := range d.names {
		if n.action == actionKeep || n.err != nil || n.closed() {
			continue
		}
		list, err := d.referrers(ctx, n.image)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.Tag != "" {
				to := oci.Target{Repository: n.target.Repository, Tag: r.Tag}
				jobs, wants = append(jobs, oci.Job{To: []oci.Target{to}}), append(wants, r)
			}
		}
	}
	if err := oci.Survey(ctx, d.to, jobs, d.o.Transfers.N); err != nil {
		return nil, d.to.explain(err)
	}
	var taken []string
	for i, j := range jobs {
		if to := j.To[0]; to.Current != "" && to.Current != wants[i].Root.Digest {
			taken = append(taken, fmt.Sprintf("%s is %s, %s has %s", to, to.Current, d.words.source, wants[i].Root.Digest))
		}
	}
	return taken, nil
}

// planNames gives each image its names at each target; a nil naming keeps what it has. The error has all collisions.
func planNames(images []*deliverable, namings []*registry.Naming) ([]*plannedName, error) {
	resolved := make([]registry.Resolved, len(images))
	byName := make(map[registry.Resolved]*deliverable, len(images))
	for i, img := range images {
		resolved[i] = registry.Resolved{Reference: img.ref, Digest: img.digest}
		byName[resolved[i]] = img
	}
	var names []*plannedName
	for at, naming := range namings {
		rows, err := planRows(resolved, naming)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			names = append(names, &plannedName{image: byName[r.Source], target: r.Target, at: at, want: r.Source.Digest})
		}
	}
	return names, checkOverlap(names)
}

// checkOverlap finds the names that different images would have because one target is a part of another.
func checkOverlap(names []*plannedName) error {
	first := map[string]*plannedName{}
	for _, n := range names {
		name := n.target.String()
		if first[name] == nil {
			first[name] = n
		}
		if f := first[name]; n.target.Tag != "" && f.at != n.at && f.want != n.want {
			return fmt.Errorf("%s would be the name of two images, by two of the targets: %s and %s",
				name, f.image.ref.Name(), n.image.ref.Name())
		}
	}
	return nil
}

// findDown finds out which of several targets cannot be spoken to. Their names fail, and the others are not kept from
// theirs; only when all are down this is an error.
func (d *delivery) findDown(ctx context.Context) error {
	if len(d.o.Targets) == 1 {
		return nil
	}
	errs := make([]error, len(d.o.Targets))
	group, gctx := errgroup.WithContext(ctx)
	for at := range d.o.Targets {
		i := slices.IndexFunc(d.names, func(n *plannedName) bool { return n.at == at && n.target.Tag != "" })
		if i < 0 {
			continue
		}
		group.Go(func() error {
			_, err := d.to.Tagged(gctx, d.names[i].target.Repository, d.names[i].target.Tag)
			var status *registry.Error
			if err != nil && !errors.Is(err, oci.ErrNotFound) && !errors.As(err, &status) {
				errs[at] = d.to.explain(err)
			}
			return gctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if !slices.Contains(errs, nil) {
		return errs[0]
	}
	for _, n := range d.names {
		n.err, n.down = errs[n.at], errs[n.at] != nil
	}
	return nil
}

// moveToOnePlace makes one repository a host of all names, as an archive is one place to the copy. They are spelled as before.
func moveToOnePlace(names []*plannedName) {
	for _, n := range names {
		n.target.Repository = oci.Repository{Path: n.target.Repository.String()}
	}
}

func planRows(images []registry.Resolved, naming *registry.Naming) ([]registry.PlannedName, error) {
	if naming != nil {
		return naming.Plan(images)
	}
	rows := make([]registry.PlannedName, len(images))
	for i, img := range images {
		rows[i] = registry.PlannedName{
			Source: img, Target: registry.TargetName{Repository: img.Reference.Repository, Tag: img.Reference.Tag},
		}
	}
	return rows, nil
}

// survey asks what the names mean at the target now.
func (d *delivery) survey(ctx context.Context, names []*plannedName) error {
	if d.to.target == nil {
		return nil
	}
	var jobs []oci.Job
	var asked []*plannedName
	for _, n := range names {
		if n.closed() {
			continue
		}
		to := oci.Target{Repository: n.target.Repository, Tag: n.target.Tag}
		jobs, asked = append(jobs, oci.Job{Name: n.image.ref.Name(), To: []oci.Target{to}}), append(asked, n)
	}
	if err := oci.Survey(ctx, d.to, jobs, d.o.Transfers.N); err != nil {
		return err
	}
	for i, n := range asked {
		n.current = jobs[i].To[0].Current
	}
	return nil
}

func (d *delivery) actionFor(n *plannedName) action {
	switch {
	case n.current == n.want && !d.o.Recheck:
		return actionComplete
	case n.changes() && d.o.Existing == existingKeep:
		return actionKeep
	}
	return actionPush
}

// pushed returns the images of which some name is to be pushed, in their order.
func (d *delivery) pushed() []*deliverable {
	wanted := map[*deliverable]bool{}
	for _, n := range d.names {
		wanted[n.image] = wanted[n.image] || n.action == actionPush && n.err == nil
	}
	return slices.DeleteFunc(slices.Clone(d.images), func(i *deliverable) bool { return !wanted[i] })
}

// writePlan writes the table of --dry-run, and returns what keeps the plan from being carried out.
func (d *delivery) writePlan(w io.Writer) error {
	t := newTable("SOURCE", "TARGET", "RENAMED BY", "AT THE TARGET")
	for _, n := range d.names {
		t.add(n.image.ref.Name(), n.target.String(), strings.Join(n.target.Renamed, ", "), n.state())
	}
	if err := t.writeTo(w); err != nil {
		return err
	}
	if err := d.writeProjects(w); err != nil {
		return err
	}
	if err := d.writeNames(true); err != nil {
		return err
	}
	return d.to.explain(d.refusal())
}

// state says what the name is at the target and what would become of it.
func (n *plannedName) state() string {
	switch {
	case n.down:
		return "out of reach"
	case n.err != nil:
		return "not to be had"
	case n.project != nil && n.project.missing:
		return "new, and so is its project"
	case n.current == "" && n.target.Tag == "":
		return "by digest"
	case n.merge != nil && n.merge.merged.Root == nil:
		return "conflict"
	case n.merge != nil:
		return "merged: " + n.merge.String()
	case n.current == "":
		return "new"
	case !n.changes():
		return "there already"
	case n.action == actionKeep:
		return "other content, kept: " + n.current.String()
	}
	return "other content, overwritten: " + n.current.String()
}
