package oci

import (
	"fmt"
	"slices"
	"strings"
)

// PlatformRow is the line of one image in a table of images and platforms.
type PlatformRow struct {
	Ref Reference
	Has []bool // for each platform of the table
}

// MissingPlatformsError is a table of the images that lack a platform which was asked for.
type MissingPlatformsError struct {
	Platforms []Platform
	Images    []PlatformRow // only those that lack one, sorted by name
}

func (e *MissingPlatformsError) Error() string {
	const named = 3
	var lines []string
	for _, row := range e.Images[:min(named, len(e.Images))] {
		var lacks []Platform
		for i, p := range e.Platforms {
			if !row.Has[i] {
				lacks = append(lacks, p)
			}
		}
		lines = append(lines, fmt.Sprintf("image %s has no %s", row.Ref, formatPlatforms(lacks)))
	}
	if more := len(e.Images) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more images lack a platform", more))
	}
	return strings.Join(lines, "; ")
}

// MissingPlatforms returns the table of what images of the plan, the dropped ones included, lack of the platforms that
// were asked for; nil when they lack nothing.
func (p *Plan) MissingPlatforms() *MissingPlatformsError {
	e := &MissingPlatformsError{Platforms: p.Platforms}
	for _, image := range slices.Concat(p.Images, p.Dropped) {
		if image.Lacks() {
			e.Images = append(e.Images, PlatformRow{Ref: image.Ref, Has: image.Has})
		}
	}
	if len(e.Images) == 0 {
		return nil
	}
	slices.SortFunc(e.Images, func(a, b PlatformRow) int { return strings.Compare(a.Ref.Name(), b.Ref.Name()) })
	return e
}

// apply does what policy says with the images that lack a platform.
func (p *Plan) apply(policy MissingPolicy) error {
	switch policy {
	case MissingAvailable:
		return nil
	case MissingDrop:
		var kept []PlannedImage
		for _, image := range p.Images {
			if image.Lacks() {
				p.Dropped = append(p.Dropped, image)
			} else {
				kept = append(kept, image)
			}
		}
		p.Images = kept
		return nil
	}
	if e := p.MissingPlatforms(); e != nil {
		return e
	}
	return nil
}
