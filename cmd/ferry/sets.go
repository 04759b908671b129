package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ferry-oci/ferry/bundle"
)

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
	case sets[0].Name() == sets[1].Name() || sets[0].Volumes() > 0 && sets[1].Volumes() > 0:
		return nil, damagedf("%s and %s: volumes of different bundles, as their .sha256 files say; name those of one", sets[0].Name(), sets[1].Name())
	}
	return nil, usagef("%s and %s: two bundles, where one is wanted", sets[0].Name(), sets[1].Name())
}

// openBundle opens the bundle of a set, which stays the caller's. What is damaged in one that is opened leniently is told.
// Errors do not name the bundle.
func openBundle(ctx context.Context, set *bundle.Set, o bundle.Options, std *stdio) (*bundle.Bundle, error) {
	b, err := bundle.Open(ctx, set, set.Size(), o)
	if err != nil {
		return nil, err
	}
	for _, d := range b.Damage() {
		std.warn("%s: %s", set.Name(), oneLine(d.String()))
	}
	return b, nil
}
