package main

import (
	"context"

	"github.com/ferry-oci/ferry/oci"
)

// planEnd is what a plan is made from.
type planEnd interface {
	oci.Resolver
	oci.Source
	oci.ReferrerFinder
	explain(err error) error
}

// findReferrers finds what belongs to the images of a plan. What is listed and cannot be had is told of.
func findReferrers(ctx context.Context, plan *oci.Plan, from planEnd, cache oci.Cache, parallel int, std *stdio) error {
	err := oci.FindReferrers(ctx, plan, from, from, cache, oci.FindOptions{
		Parallel: parallel,
		Skipped:  func(ref oci.Reference, err error) { std.warn("left out of what belongs to %s: %v", ref, err) },
	})
	return from.explain(err)
}
