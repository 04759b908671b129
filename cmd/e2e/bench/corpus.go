//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// architectures are those of every image.
func architectures() []string { return []string{"amd64", "arm64"} }

// set is a corpus: images in a layout.
type set struct {
	Source string // what the images are made of
	Layout corpus.Layout
	Images []corpus.Image
	Many   []corpus.Image           // ten variants of each
	Blobs  map[digest.Digest]int64  // configs and layers of Images
	Homes  map[digest.Digest]string // a repository that has the blob
	Bytes  int64                    // of the blobs
}

// builder fills an empty layout with the layers of images.
type builder func(ctx context.Context, l corpus.Layout) ([]blueprint, error)

// loadOrBuild returns the corpus that lies in the folder, which build makes when it is not there, with so many variants of
// each image.
func loadOrBuild(ctx context.Context, dir, source string, build builder, variants int) (set, error) {
	s := newSet(source, corpus.Layout{Dir: dir})
	images, err := s.Layout.Images()
	if errors.Is(err, fs.ErrNotExist) {
		images, err = buildWhole(ctx, dir, build, variants)
	}
	if err != nil {
		return s, fmt.Errorf("corpus %s: %w", dir, err)
	}
	s.Many = slices.DeleteFunc(slices.Clone(images), func(i corpus.Image) bool { return i.Comment != variantComment })
	return s, s.add(slices.DeleteFunc(images, func(i corpus.Image) bool { return i.Comment == variantComment }))
}

// newSet returns a set without images.
func newSet(source string, l corpus.Layout) set {
	return set{Source: source, Layout: l, Blobs: map[digest.Digest]int64{}, Homes: map[digest.Digest]string{}}
}

// add adds images to a set, and their blobs.
func (s *set) add(images []corpus.Image) error {
	for _, image := range images {
		s.Images = append(s.Images, image)
		if err := s.count(image.Repository, image.Root); err != nil {
			return err
		}
	}
	return nil
}

// facts is what a report says of a set.
func (s set) facts() corpusFacts {
	return corpusFacts{
		Source: s.Source, Images: len(s.Images), Platforms: len(architectures()), Blobs: len(s.Blobs), Bytes: s.Bytes,
	}
}

// buildWhole builds a corpus beside its folder, so that one that is there is whole.
func buildWhole(ctx context.Context, dir string, build builder, variants int) ([]corpus.Image, error) {
	progress("building the corpus in %s; this is done once", dir)
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return nil, err
	}
	l, err := corpus.NewLayout(unfinished)
	if err != nil {
		return nil, err
	}
	blueprints, err := build(ctx, l)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(unfinished))
	}
	images, err := assemble(l, blueprints, variants)
	if err != nil {
		return nil, err
	}
	if err := l.WriteIndex(images); err != nil {
		return nil, err
	}
	return images, os.Rename(unfinished, dir)
}

// count adds the blobs under d, which is in a repository.
func (s *set) count(repository string, d ocispec.Descriptor) error {
	raw, err := os.ReadFile(s.Layout.Path(d.Digest))
	if err != nil {
		return err
	}
	manifests, blobs, err := wire.Children(raw)
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		if _, counted := s.Blobs[blob.Digest]; !counted {
			s.Bytes += blob.Size
		}
		s.Blobs[blob.Digest], s.Homes[blob.Digest] = blob.Size, repository
	}
	for _, m := range manifests {
		if err := s.count(repository, m); err != nil {
			return err
		}
	}
	return nil
}

// chooseCorpus returns the full corpus, of Debian packages where they can be had, or the small one.
func chooseCorpus(ctx context.Context, cache string, small bool) (set, error) {
	if small {
		return programCorpus(ctx, cache, 6)
	}
	s, err := loadOrBuild(ctx, filepath.Join(cache, "corpus-debian-"+debianSuite+"-1"),
		"Debian packages ("+debianSuite+")", debian{cache: cache}.build, variants)
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	progress("%v; using programs of the Go distribution instead", err)
	return programCorpus(ctx, cache, 20)
}

// chooseVersions returns the corpus of images at two point releases, of layers by several encoders.
func chooseVersions(ctx context.Context, cache string, small bool) (set, error) {
	if small {
		return programVersions(ctx, cache, 6)
	}
	s, err := loadOrBuild(ctx, filepath.Join(cache, "corpus-debian-"+debianSuite+"-versions-1"),
		"Debian packages ("+debianSuite+" and its security updates)", debian{cache: cache, security: true}.build, 0)
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	progress("%v; using programs of the Go distribution instead", err)
	return programVersions(ctx, cache, 20)
}

// blueprint is an image before it is put together: its layers, by architecture.
type blueprint struct {
	repository, tag string
	layers          map[string][]corpus.Layer
}

// variants is the number of variants of each image of the main corpus.
const variants = 10

// variantComment marks a variant in the layout's index.
const variantComment = "variant"

// assemble makes an image of each blueprint, and its variants: the same layers and a small one of their own each.
func assemble(l corpus.Layout, blueprints []blueprint, variants int) ([]corpus.Image, error) {
	var images []corpus.Image
	for _, b := range blueprints {
		for i := range variants + 1 {
			image := corpus.Image{Repository: b.repository, Tag: b.tag}
			if i > 0 {
				image.Tag, image.Comment = fmt.Sprintf("%s-%d", b.tag, i), variantComment
			}
			var err error
			if image.Root, err = b.index(l, image.Tag); err != nil {
				return nil, err
			}
			images = append(images, image)
		}
	}
	return images, nil
}

// index makes the image of a blueprint with settings that tell the tag.
func (b blueprint) index(l corpus.Layout, tag string) (ocispec.Descriptor, error) {
	var manifests []ocispec.Descriptor
	for _, arch := range architectures() {
		text := fmt.Sprintf("name = %s\ntag = %s\narch = %s\n", b.repository, tag, arch)
		settings, err := l.Layer("settings", corpus.File{Name: "etc/settings", Mode: 0o644, Content: []byte(text)})
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		p := ocispec.Platform{OS: "linux", Architecture: arch}
		m, err := l.Image(corpus.OCI, p, append(slices.Clone(b.layers[arch]), settings))
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifests = append(manifests, m)
	}
	return l.Index(corpus.OCI, manifests...)
}
