//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// How many tags the registry has that ferry lists.
const (
	taggedRepositories = 100
	tagsInEach         = 20
)

// listTags lists a registry of many tags by its catalog.
func (b *bench) listTags(ctx context.Context) (s sample, err error) {
	progress("ferry lists %d tags", taggedRepositories*tagsInEach)
	to, err := b.newTarget(ctx, "tags")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, to.remove()) }()
	var images []corpus.Image
	for i := range taggedRepositories {
		for j := range tagsInEach {
			image := b.set.Images[0]
			image.Repository, image.Tag = fmt.Sprintf("team-%d/app-%d", i/10, i), fmt.Sprintf("v1.%d", j)
			images = append(images, image)
		}
	}
	if err := b.set.Layout.Push(ctx, to.Registry, images); err != nil {
		return s, err
	}
	r, err := b.newRoom("tags", to.host, "", images)
	if err != nil {
		return s, err
	}
	const script = `ferry list -q "$SRC" >listed
sort -u "$LIST" >wanted
sort listed | cmp - wanted`
	if s, err = b.run(ctx, r, script, to.registry); err != nil {
		return s, err
	}
	return s, os.RemoveAll(r.dir)
}
