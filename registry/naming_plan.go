package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Resolved is a reference and the digest of the manifest or index that it means now.
type Resolved struct {
	Reference oci.Reference
	Digest    digest.Digest
}

// PlannedName is a row of a naming plan: an image, and one of its names at the target.
type PlannedName struct {
	Source Resolved
	Target TargetName
}

// Collision is one name at the target that several images would have, the last one pushed to keep it.
type Collision struct {
	Target TargetName
	Images []Resolved // at least two different digests
}

// CollisionError lists the names at the target that images of different content would share.
type CollisionError struct {
	Collisions []Collision
}

func (e *CollisionError) Error() string {
	var b strings.Builder
	b.WriteString("different images would get the same name at the target:")
	for _, c := range e.Collisions {
		fmt.Fprintf(&b, "\n  %s", c.Target)
		for _, image := range c.Images {
			fmt.Fprintf(&b, "\n    from %s (%s)", image.Reference.Name(), image.Digest)
		}
	}
	return b.String()
}

// Plan returns the names of all images at the target, in the order of images and each row once. Nothing should move
// before it returns without an error. The error has every problem of every image: a [*NameError] for each name that
// the target cannot take, and one [*CollisionError] for all names that images of different content would share, unless
// they are Merged. The rows of the other names are returned beside it.
func (n Naming) Plan(images []Resolved) ([]PlannedName, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	var rows []PlannedName
	var errs []error
	seen := map[Resolved]bool{}
	for _, image := range images {
		if seen[image] {
			continue
		}
		seen[image] = true
		names, err := n.names(image.Reference)
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range names {
			rows = append(rows, PlannedName{Source: image, Target: name})
		}
	}
	if collisions := collisions(rows); len(collisions) > 0 && !n.Merged {
		errs = append(errs, &CollisionError{Collisions: collisions})
	}
	return rows, errors.Join(errs...)
}

// collisions returns the tags that are given to more than one digest, in the order of rows. Images without a tag go by
// their digest, and cannot be mistaken for another.
func collisions(rows []PlannedName) []Collision {
	var order []string
	byName := map[string][]PlannedName{}
	for _, row := range rows {
		if row.Target.Tag == "" {
			continue
		}
		name := row.Target.String()
		if byName[name] == nil {
			order = append(order, name)
		}
		byName[name] = append(byName[name], row)
	}
	var found []Collision
	for _, name := range order {
		same := byName[name]
		differs := func(row PlannedName) bool { return row.Source.Digest != same[0].Source.Digest }
		if !slices.ContainsFunc(same, differs) {
			continue
		}
		c := Collision{Target: same[0].Target}
		for _, row := range same {
			c.Images = append(c.Images, row.Source)
		}
		found = append(found, c)
	}
	return found
}
