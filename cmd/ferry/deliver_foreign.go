package main

import (
	"context"

	"github.com/ferry-oci/ferry/oci"
)

// rewriteForeign makes the names mean images with ordinary layers where they have foreign ones.
func (d *delivery) rewriteForeign(ctx context.Context) error {
	if err := d.from.load(ctx, d.images); err != nil {
		return err
	}
	for _, n := range d.names {
		root, err := d.from.graph(ctx, n.image)
		if err == nil {
			n.root, err = oci.RewriteForeign(root)
		}
		switch {
		case ctx.Err() != nil || err != nil && d.from.stops(err):
			return err
		case err != nil:
			n.err = err
		default:
			n.want, n.ordinary = n.root.Digest, n.root.Digest != n.want
		}
	}
	return nil
}
