package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// unpacking is one run of ferry unpack.
type unpacking struct {
	o   *unpackOptions
	std *stdio
	in  packed
	to  *destination

	names []*plannedName // one for each image and each of its names, in the order of the bundle
}

// plannedName is one image under one name at the target.
type plannedName struct {
	image   bundle.Image
	source  oci.Reference
	target  registry.TargetName
	current digest.Digest // what the name means at the target before the run; empty: nothing
	action  action
	err     error // why the image is not at the target after the run
}

// action is what is to be done about a name.
type action int

const (
	actionPush     action = iota
	actionComplete        // the tag names the image already
	actionKeep            // the tag names other content and stays
)

// plan finds the names, and what they mean at the target now. With --existing fail it returns an error that lists all
// tags which would change.
func (u *unpacking) plan(ctx context.Context, naming *registry.Naming) error {
	images, err := u.choose()
	if err != nil {
		return err
	}
	if u.names, err = planNames(images, naming); err != nil {
		return err
	}
	if err := u.survey(ctx); err != nil {
		return u.to.explain(err)
	}
	var taken []string
	for _, n := range u.names {
		n.action = u.actionFor(n)
		if n.changes() && u.o.Existing == existingFail {
			taken = append(taken, fmt.Sprintf("%s is %s, the bundle has %s", n.target, n.current, n.image.Digest))
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("at the target there is other content under %s:\n%s",
			plural(len(taken), "name"), strings.Join(taken, "\n"))
	}
	return nil
}

// chosen is an image of the bundle with its parsed name.
type chosen struct {
	image bundle.Image
	ref   oci.Reference
}

// choose returns the images that --image asks for.
func (u *unpacking) choose() ([]chosen, error) {
	filter := newImageFilter(u.o.Images)
	used := make([]bool, len(u.o.Images))
	var images []chosen
	for _, img := range u.in.Head().Images {
		ref, err := oci.ParseReference(img.Name)
		if err != nil {
			return nil, damagedf("%s: image of the bundle: %v", u.o.bundleName(), err)
		}
		if filter.match(ref, used) {
			images = append(images, chosen{img, ref})
		}
	}
	for i, ok := range used {
		if !ok {
			return nil, usagef("--image %s: no image of the bundle fits", filter.texts[i])
		}
	}
	return images, nil
}

// planNames gives each image its names; a nil naming keeps what they have. The error has all collisions.
func planNames(images []chosen, naming *registry.Naming) ([]*plannedName, error) {
	var names []*plannedName
	if naming == nil {
		for _, c := range images {
			keep := registry.TargetName{Repository: c.ref.Repository, Tag: c.ref.Tag}
			names = append(names, &plannedName{image: c.image, source: c.ref, target: keep})
		}
		return names, nil
	}
	resolved := make([]registry.Resolved, len(images))
	byName := make(map[registry.Resolved]bundle.Image, len(images))
	for i, c := range images {
		resolved[i] = registry.Resolved{Reference: c.ref, Digest: c.image.Digest}
		byName[resolved[i]] = c.image
	}
	rows, err := naming.Plan(resolved)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		names = append(names, &plannedName{image: byName[r.Source], source: r.Source.Reference, target: r.Target})
	}
	return names, nil
}

// survey asks what the names mean at the target now.
func (u *unpacking) survey(ctx context.Context) error {
	if u.to.target == nil {
		return nil
	}
	jobs := make([]oci.Job, len(u.names))
	for i, n := range u.names {
		jobs[i] = oci.Job{Name: n.image.Name, To: []oci.Target{{Repository: n.target.Repository, Tag: n.target.Tag}}}
	}
	if err := oci.Survey(ctx, u.to, jobs, u.o.Transfers.N); err != nil {
		return err
	}
	for i, n := range u.names {
		n.current = jobs[i].To[0].Current
	}
	return nil
}

func (u *unpacking) actionFor(n *plannedName) action {
	switch {
	case n.current == n.image.Digest && !u.o.Recheck:
		return actionComplete
	case n.changes() && u.o.Existing == existingKeep:
		return actionKeep
	}
	return actionPush
}

// changes reports whether the name means other content at the target now.
func (n *plannedName) changes() bool { return n.current != "" && n.current != n.image.Digest }

// writePlan writes the table of --dry-run.
func (u *unpacking) writePlan(w io.Writer) error {
	t := newTable("SOURCE", "TARGET", "RENAMED BY", "AT THE TARGET")
	for _, n := range u.names {
		t.add(n.source.Name(), n.target.String(), strings.Join(n.target.Renamed, ", "), u.state(n))
	}
	if err := t.writeTo(w); err != nil {
		return err
	}
	return u.writeNames(true)
}

// state says what the name is at the target and what would become of it.
func (u *unpacking) state(n *plannedName) string {
	switch {
	case n.target.Tag == "":
		return "by digest"
	case n.current == "":
		return "new"
	case !n.changes():
		return "there already"
	case n.action == actionKeep:
		return "other content, kept: " + n.current.String()
	}
	return "other content, overwritten: " + n.current.String()
}
