//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
)

// copy has a tool copy the images from the source to a new registry, and checks that every image is there.
func (b *bench) copy(ctx context.Context, t tool) (s sample, err error) {
	defer func() { err = describe(t, "copy", err) }()
	target, err := b.newTarget(ctx, t.Name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, target.remove()) }()
	r, err := b.newRoom(t.Name, b.source.host, target.host+"/"+prefix, b.set.Images)
	if err != nil {
		return s, err
	}
	if err := b.writePosts(target.host); err != nil {
		return s, err
	}
	if s, err = b.run(ctx, r, t.copy, b.source, target.registry); err != nil {
		return s, err
	}
	if !strings.HasPrefix(t.Name, "floor") {
		named := whole
		if t.lastOnly {
			named = path.Base
		}
		if err := b.check(ctx, target.registry, b.set.Images, named); err != nil {
			return s, err
		}
	}
	return s, os.RemoveAll(r.dir)
}
