//go:build linux

package main

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// layerUse is a layer of an image.
type layerUse struct {
	repository, tag, platform string
	position                  int
	layer                     ocispec.Descriptor
}

// layers returns all layers of a set, each at its first place in the order of compact bundles (see FORMAT.md).
func (s set) layers() ([]layerUse, error) {
	var uses []layerUse
	for _, image := range s.Images {
		index, err := s.children(image.Root)
		if err != nil {
			return nil, err
		}
		for _, m := range index.manifests {
			image := layerUse{repository: image.Repository, tag: image.Tag, platform: m.Platform.Architecture}
			manifest, err := s.children(m)
			if err != nil {
				return nil, err
			}
			for i, layer := range manifest.blobs[1:] { // behind the config
				image.position, image.layer = i, layer
				uses = append(uses, image)
			}
		}
	}
	slices.SortStableFunc(uses, func(a, b layerUse) int {
		return cmp.Or(strings.Compare(a.repository, b.repository), cmp.Compare(a.position, b.position),
			strings.Compare(a.platform, b.platform), strings.Compare(a.tag, b.tag))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(uses, func(u layerUse) bool {
		before := seen[u.layer.Digest.Encoded()]
		seen[u.layer.Digest.Encoded()] = true
		return before
	}), nil
}

// children are what a manifest or index names.
type children struct{ manifests, blobs []ocispec.Descriptor }

func (s set) children(d ocispec.Descriptor) (c children, err error) {
	raw, err := os.ReadFile(s.Layout.Path(d.Digest))
	if err != nil {
		return c, err
	}
	c.manifests, c.blobs, err = wire.Children(raw)
	return c, err
}

// plainList is the file in which writePlain lists what it wrote.
func plainList(dir string) string { return filepath.Join(dir, "list") }

// writePlain makes dir, writes the plain tars of a set's layers into it, and returns the sum of their sizes.
func writePlain(s set, dir string) (int64, error) {
	uses, err := s.layers()
	if err := errors.Join(err, os.MkdirAll(dir, 0o755)); err != nil {
		return 0, err
	}
	sizes := make([]int64, len(uses))
	files := make([]string, len(uses))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, use := range uses {
		files[i] = filepath.Join(dir, fmt.Sprintf("%04d.tar", i))
		group.Go(func() (err error) {
			sizes[i], err = gunzip(s.Layout.Path(use.layer.Digest), files[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	var sum int64
	for _, size := range sizes {
		sum += size
	}
	return sum, os.WriteFile(plainList(dir), []byte(strings.Join(files, "\n")+"\n"), 0o644)
}

// gunzip writes the plain bytes of a file to another.
func gunzip(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	r, err := gzip.NewReader(in)
	if err != nil {
		return 0, err
	}
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return io.Copy(out, r)
}
