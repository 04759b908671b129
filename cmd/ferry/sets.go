package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/bundle"
)

// bundleHelp is what the commands say of their argument BUNDLE.
const bundleHelp = `BUNDLE is a file, any one volume of a bundle, a folder with its file or volumes, or several of these in any order, as
/media/usb1 /media/usb2. Volumes are read where they lie.`

// findBundles finds the bundles that paths name, see bundle.FindSets. Nothing is read of them yet.
func findBundles(paths []string) ([]*bundle.Set, error) {
	sets, err := bundle.FindSets(paths)
	switch {
	case errors.Is(err, bundle.ErrNotRegular):
		return nil, fmt.Errorf("%w; a pipe can be read by `ferry unpack -` only", err)
	case errors.Is(err, fs.ErrNotExist) && slices.Contains(paths, "-"):
		return nil, errors.New("-: a pipe can be read by `ferry unpack -` only")
	}
	return sets, err
}

// findBundle finds the one bundle that paths name: its file, or folders or volumes of it.
func findBundle(paths []string) (*bundle.Set, error) {
	sets, err := findBundles(paths)
	switch {
	case err != nil:
		return nil, err
	case len(sets) == 1:
		return sets[0], nil
	case sets[0].Volumes() > 0 && sets[1].Volumes() > 0 && sets[0].VolumeName(1) == sets[1].VolumeName(1):
		return nil, damagedf("%s and %s: volumes of different bundles, as their .sha256 files say; name those of one", sets[0].Name(), sets[1].Name())
	}
	return nil, usagef("%s and %s: two bundles, where one is wanted", firstFile(sets[0]), firstFile(sets[1]))
}

// firstFile returns the path of a bundle's file, or of its first volume that is there.
func firstFile(set *bundle.Set) string {
	if files := set.Files(); len(files) > 0 {
		return files[0]
	}
	return set.Name()
}

// openBundle opens the bundle of a set, which stays the caller's. Volumes that are missing are asked for on a terminal; without one
// it is an error that tells which images can be had without them. With Lenient, as of --keep-going, nobody is asked, and what is
// missing or damaged is told. Errors do not name the bundle.
func openBundle(ctx context.Context, set *bundle.Set, o bundle.Options, std *stdio) (*bundle.Bundle, error) {
	if !o.Lenient && std.canAsk() {
		d := &disks{set: set, std: std}
		if err := d.askAll(ctx); err != nil {
			return nil, err
		}
	}
	warnUnlisted(set, std)
	missing := set.MissingError()
	if missing == nil {
		b, err := bundle.Open(ctx, set, set.Size(), o)
		if err != nil {
			return nil, err
		}
		for _, d := range b.Damage() {
			std.warn("%s: %s", set.Name(), oneLine(d.String()))
		}
		return b, nil
	}
	if !o.Lenient && headsMissing(set) {
		return nil, fmt.Errorf("%w\nwhich images can be had without them, only the first volume or the last one tells", missing)
	}
	lenient := o.Lenient
	o.Lenient = true
	b, err := bundle.Open(ctx, set, set.Size(), o)
	switch {
	case err != nil:
		return nil, err
	case !lenient:
		return nil, fmt.Errorf("%w\n%s", missing, wholeText(b))
	}
	std.warn("%s: %v; %s", set.Name(), missing, lackingText(b))
	return b, nil
}

// headsMissing reports whether neither the volume with the head is there nor the one with its copy.
func headsMissing(set *bundle.Set) bool {
	missing := set.Missing()
	return slices.Contains(missing, 1) && slices.Contains(missing, set.Volumes())
}

// wholeText says which images of a bundle are whole although volumes are missing, a line each.
func wholeText(b *bundle.Bundle) string {
	lacking := b.Lacking()
	names := slices.DeleteFunc(imageNames(b.Head()), func(name string) bool { return slices.Contains(lacking, name) })
	if len(names) == 0 {
		return "without that, no image is whole"
	}
	lines := []string{fmt.Sprintf("without that, %d of %s can be unpacked, with --keep-going:", len(names), plural(len(b.Head().Images), "image"))}
	for _, name := range names {
		lines = append(lines, "  "+oneLine(name))
	}
	return strings.Join(lines, "\n")
}

// lackingText says how many images need what is missing.
func lackingText(b *bundle.Bundle) string {
	return fmt.Sprintf("%d of %s need what is in there", len(b.Lacking()), plural(len(b.Head().Images), "image"))
}

func imageNames(h *bundle.Head) []string {
	var names []string
	for _, img := range h.Images {
		names = append(names, img.Name)
	}
	return names
}

// warnUnlisted warns of volumes without NAME.sha256.
func warnUnlisted(set *bundle.Set, std *stdio) {
	if set.Volumes() > 0 && !set.Listed() {
		std.warn("%s is not there, without which it is not known that the volumes are all", bundle.SumFile(set.Name()))
	}
}
