package oci

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// maxConfigSize is the size in bytes of the largest image config that is read: what a [Cache] has to hold, and the limit
// of skopeo and podman too.
const maxConfigSize = MaxManifestSize

// image plans one image. With an error what it returns tells at most the platforms that the image has.
func (m *planMaker) image(ctx context.Context, ref Reference) (PlannedImage, error) {
	if err := ctx.Err(); err != nil {
		return PlannedImage{}, err
	}
	root, known, err := m.resolve(ctx, ref)
	if err != nil {
		return PlannedImage{}, err
	}
	if m.o.Shallow {
		return PlannedImage{Root: &Node{Descriptor: root}}, m.resolved(ref, root, known)
	}
	whole := len(m.o.Platforms) == 0 || ref.Digest != "" && !m.o.Repin
	n, err := m.load(ctx, ref.Repository, root, whole)
	if err == nil {
		err = checkCarried(n)
	}
	if err != nil {
		return PlannedImage{}, err
	}
	if err := m.resolved(ref, root, known); err != nil { // the cache has all that the reference means
		return PlannedImage{}, err
	}
	image := PlannedImage{Root: n, Has: has(n, m.o.Platforms)}
	filtered, err := FilterPlatforms(n, m.o.Platforms)
	switch {
	case err != nil:
		return image, err
	case filtered == n:
	case whole:
		image.Pinned = true
	default:
		image.Root, image.Original = filtered, &Node{Descriptor: n.Descriptor, Raw: n.Raw, Manifest: n.Manifest}
		if err := m.putRebuilt(ctx, filtered, n); err != nil {
			return image, err
		}
	}
	image.Platforms = platformSizes([]*Node{image.Root})
	return image, nil
}

// resolve returns what ref means, and whether the cache knew.
func (m *planMaker) resolve(ctx context.Context, ref Reference) (d Descriptor, known bool, err error) {
	if d, ok := m.cache.Resolved(ref); ok && (ref.Digest == "" || d.Digest == ref.Digest) {
		return d, true, nil
	}
	err = m.request(ctx, func() error {
		d, err = m.res.Resolve(ctx, ref)
		return err
	})
	if err == nil && ref.Digest != "" && d.Digest != ref.Digest {
		err = fmt.Errorf("the registry answered with %s: %w", d.Digest, ErrCorrupt)
	}
	return d, false, err
}

// resolved keeps what ref means, unless the cache knew it.
func (m *planMaker) resolved(ref Reference, d Descriptor, known bool) error {
	if known {
		return nil
	}
	if err := m.cache.PutResolved(ref, d); err != nil {
		return &cacheError{err}
	}
	return nil
}

// load returns the graph below root with the platforms of images that only their config tells. Unless it is to be
// whole, what an index says to be for other platforms is not fetched.
func (m *planMaker) load(ctx context.Context, repo Repository, root Descriptor, whole bool) (*Node, error) {
	fetch := func(ctx context.Context, d Descriptor) ([]byte, error) { return m.fetch(ctx, repo, d) }
	var choose func(*Manifest) []Descriptor
	if !whole {
		choose = func(index *Manifest) []Descriptor { return chosen(index, m.o.Platforms) }
	}
	n, err := loadGraph(ctx, fetch, root, choose)
	if err != nil {
		return nil, err
	}
	for _, image := range n.Images() {
		if image.Platform != nil || image.Describes != "" || !IsImageConfig(image.Manifest.Config.MediaType) {
			continue
		}
		if image.ConfigPlatform, err = m.configPlatform(ctx, repo, *image.Manifest.Config); err != nil {
			return nil, fmt.Errorf("config %s: %w", image.Manifest.Config.Digest, err)
		}
	}
	return n, nil
}

// configPlatform reads the platform from an image config; nil when it tells none.
func (m *planMaker) configPlatform(ctx context.Context, repo Repository, d Descriptor) (*Platform, error) {
	if d.Size > maxConfigSize {
		return nil, fmt.Errorf("%d bytes, at most %d are read", d.Size, maxConfigSize)
	}
	raw, err := m.fetch(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	return platformOfConfig(raw), nil
}

// platformOfConfig returns the platform that an image config tells; nil when it tells none, as that of a signature.
func platformOfConfig(raw []byte) *Platform {
	var p Platform
	if json.Unmarshal(raw, &p) != nil || !isKnown(&p) {
		return nil
	}
	return &p
}

// checkCarried returns an error when a part of the graph n has a digest that is not carried: bundles of version 1 have
// sha256 alone, and CNCF distribution answers a push under any other with the sha256.
func checkCarried(n *Node) error {
	check := func(what string, d digest.Digest) error {
		if d.Algorithm() == digest.SHA256 {
			return nil
		}
		return fmt.Errorf("%s %s: a %s digest: %w, only sha256 ones are carried", what, d, d.Algorithm(), ErrUnsupported)
	}
	return n.Walk(func(n *Node) error {
		if err := check("manifest", n.Digest); err != nil {
			return err
		}
		for _, d := range n.Blobs() {
			if err := check("blob", d.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}

// putRebuilt puts those indexes of the graph n that original does not have into the cache.
func (m *planMaker) putRebuilt(ctx context.Context, n, original *Node) error {
	had := map[digest.Digest]bool{}
	err := original.Walk(func(n *Node) error { had[n.Digest] = true; return nil })
	if err != nil {
		return err
	}
	return n.Walk(func(n *Node) error {
		if had[n.Digest] {
			return nil
		}
		return m.put(ctx, n.Descriptor, n.Raw)
	})
}

// has tells for each platform in want whether n has it; nil when n tells none.
func has(n *Node, want []Platform) []bool {
	platforms := n.platforms()
	if len(platforms) == 0 || len(want) == 0 {
		return nil
	}
	list := make([]bool, len(want))
	for i, w := range want {
		for _, p := range platforms {
			list[i] = list[i] || MatchPlatform(w, p)
		}
	}
	return list
}
