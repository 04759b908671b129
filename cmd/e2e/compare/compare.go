// Package compare proves that an image in one registry is the image in another: every manifest byte for byte, every
// blob by size and digest.
package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// End is an image in a registry.
type End struct {
	Registry   wire.Registry
	Repository string
	Reference  string // tag or digest
}

// Result tells what was compared.
type Result struct {
	Root      ocispec.Descriptor
	Platforms []string // of the image manifests, in their order; attestations have none
	Manifests int      // below an index
	Blobs     int      // configs and layers; one that several manifests name counts once
	Bytes     int64    // of everything, the root included
}

// Image compares an image and all that it points to. The error joins all differences.
func Image(ctx context.Context, from, to End) (Result, error) {
	c := &comparison{from: from, to: to, seen: map[string]bool{}}
	root, err := c.manifest(ctx, from.Reference, to.Reference)
	if err != nil {
		return c.result, err
	}
	c.result.Root = root
	return c.result, errors.Join(c.differences...)
}

type comparison struct {
	from, to    End
	seen        map[string]bool
	result      Result
	differences []error
}

func (c *comparison) differ(format string, args ...any) {
	c.differences = append(c.differences, fmt.Errorf(format, args...))
}

// manifest compares a manifest or index and goes on to what it points to. Its error is one of the source; what is wrong
// with the target is a difference.
func (c *comparison) manifest(ctx context.Context, from, to string) (ocispec.Descriptor, error) {
	want, raw, err := c.from.Registry.Manifest(ctx, c.from.Repository, from)
	if err != nil {
		return want, fmt.Errorf("source: %w", err)
	}
	c.result.Bytes += want.Size
	got, copied, err := c.to.Registry.Manifest(ctx, c.to.Repository, to)
	switch {
	case err != nil:
		c.differ("target: %w", err)
	case !bytes.Equal(raw, copied):
		c.differ("manifest %s: target has %s, want %s", to, got.Digest, want.Digest)
	case got.MediaType != want.MediaType:
		c.differ("manifest %s: target has media type %s, want %s", to, got.MediaType, want.MediaType)
	}
	manifests, blobs, err := wire.Children(raw)
	if err != nil {
		return want, fmt.Errorf("source: manifest %s: %w", want.Digest, err)
	}
	for _, child := range manifests {
		if err := c.child(ctx, child); err != nil {
			return want, err
		}
	}
	for _, blob := range blobs {
		c.blob(ctx, blob)
	}
	return want, nil
}

func (c *comparison) child(ctx context.Context, d ocispec.Descriptor) error {
	c.result.Manifests++
	if p := d.Platform; p != nil && p.OS != "unknown" {
		name := p.OS + "/" + p.Architecture
		if p.Variant != "" {
			name += "/" + p.Variant
		}
		c.result.Platforms = append(c.result.Platforms, name)
	}
	_, err := c.manifest(ctx, d.Digest.String(), d.Digest.String())
	return err
}

// blob reads a blob from the target. The source needs no reading: the digest stands in the manifest.
func (c *comparison) blob(ctx context.Context, d ocispec.Descriptor) {
	if c.seen[d.Digest.String()] {
		return
	}
	c.seen[d.Digest.String()] = true
	c.result.Blobs++
	c.result.Bytes += d.Size
	got, size, err := c.to.Registry.HashBlob(ctx, c.to.Repository, d.Digest)
	switch {
	case err != nil:
		c.differ("target: %w", err)
	case size != d.Size:
		c.differ("blob %s: target has %d bytes, want %d", d.Digest, size, d.Size)
	case got != d.Digest:
		c.differ("blob %s: target has content with digest %s", d.Digest, got)
	}
}

// Extra returns the repositories of a registry that are not among expected.
func Extra(ctx context.Context, r wire.Registry, expected []string) ([]string, error) {
	all, err := r.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(expected, name) }), nil
}
