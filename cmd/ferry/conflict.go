package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/oci"
)

// addPrefer defines the flag that decides conflicts of platforms; first and last say which side those are.
func addPrefer(set *pflag.FlagSet, prefer *string, first, last string) {
	set.StringVar(prefer, "prefer", "fail", fmt.Sprintf(
		"of different images for one platform take: first (%s), last (%s), newest (by the time in its config), or fail", first, last))
}

func parsePrefer(s string) (oci.Prefer, error) {
	prefer, err := oci.ParsePrefer(s)
	if err != nil {
		return prefer, usagef("--prefer %q: first, last, newest or fail is needed", s)
	}
	return prefer, nil
}

// describeConflict returns the lines that show a conflict about the image name: each side with what its image tells, and
// which of them was taken.
func describeConflict(name string, c oci.Conflict, sideName func(side int) string) []string {
	platform := ""
	if c.Platform != nil {
		platform = ", " + oci.FormatPlatform(*c.Platform)
	}
	why := ""
	if c.Why != "" {
		why = " (" + c.Why + ")"
	}
	lines := []string{fmt.Sprintf("conflict: %s%s%s", name, platform, why)}
	for i, image := range c.Images {
		mark := ""
		switch {
		case i == c.Chosen:
			mark = "taken: "
		case c.Chosen >= 0:
			mark = "left:  "
		}
		lines = append(lines, fmt.Sprintf("  %s%s has %s%s", mark, sideName(image.Side), image.Digest, describeImage(image.ImageInfo)))
	}
	return lines
}

// describeImage returns what an image tells of its making, each part after a comma.
func describeImage(i oci.ImageInfo) string {
	var b strings.Builder
	if i.Created != nil {
		b.WriteString(", created " + i.Created.UTC().Format(time.RFC3339))
	}
	for _, part := range [][2]string{{"revision", i.Revision}, {"version", i.Version}} {
		if part[1] != "" {
			fmt.Fprintf(&b, ", %s %s", part[0], oneLine(part[1]))
		}
	}
	return b.String()
}
