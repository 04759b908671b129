package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// showPlanning returns what tells with -v of each image that has been planned.
func showPlanning(std *stdio) func(oci.PlanEvent) {
	return func(e oci.PlanEvent) {
		if e.Err != nil {
			std.detail("%d of %d: %s: %v", e.Done, e.Total, e.Ref, e.Err)
			return
		}
		std.detail("%d of %d: %s", e.Done, e.Total, e.Ref)
	}
}

// describeSize writes what a plan takes, in all and for each platform.
func describeSize(b *strings.Builder, plan *oci.Plan, size oci.PlanSize) {
	fmt.Fprintf(b, "plan: %s%s, %s, %s",
		plural(size.Images, "image"), withReferrers(size.Referrers), plural(size.Blobs, "blob"), formatSize(size.Bytes))
	if saved := size.Sum - size.Bytes; saved > 0 {
		fmt.Fprintf(b, " (%s without sharing)", formatSize(size.Sum))
	}
	b.WriteString("\n")
	t := newTable("PLATFORM", ">IMAGES", ">SIZE")
	for _, s := range plan.PlatformSizes() {
		t.add(platformName(s.Platform), fmt.Sprint(s.Images), formatSize(s.Bytes))
	}
	_ = t.writeTo(b) // a strings.Builder takes all
}

// withReferrers says how many referrers images have; nothing when they have none.
func withReferrers(n int) string {
	if n == 0 {
		return ""
	}
	return " with " + plural(n, "referrer")
}

// describeSpecial writes what a user may not expect: images that keep or lack platforms, or get another digest. What
// becomes of their original index is said in original.
func describeSpecial(b *strings.Builder, plan *oci.Plan, original string) {
	rebuilt, ofOriginals := 0, 0
	for _, image := range plan.Images {
		if image.Original != nil {
			_, left := oci.AttachTo(image.Root, image.Referrers)
			ofOriginals += len(left)
		}
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
	for _, image := range plan.Dropped {
		fmt.Fprintf(b, "dropped, because it lacks a platform: %s\n", image.Ref)
	}
	if rebuilt > 0 {
		fmt.Fprintf(b, "new digest, because platforms are left out: %s; signatures of the whole do not fit%s\n",
			plural(rebuilt, "image"), original)
	}
	if ofOriginals > 0 {
		fmt.Fprintf(b, "about the original index of those, and not pushed with the new one: %s\n", plural(ofOriginals, "referrer"))
	}
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

// lackingError returns the error of a plan in which images lack platforms, of which the table has been written.
func lackingError(plan *oci.Plan, lacks *oci.MissingPlatformsError) error {
	return &partialError{fmt.Errorf("%d of %s without a platform that was asked for; --platform-missing=available takes what "+
		"there is, --platform-missing=drop leaves them out", len(lacks.Images), plural(len(plan.Images), "image"))}
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
