package oci

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// PlatformSize is what one platform takes: the manifests, configs and layers of its images, each digest once, and the
// attestations about them.
type PlatformSize struct {
	Platform Platform // in its shortest form; zero for what tells none
	Images   int      // image manifests for it; in the size of a plan, images that have it
	Bytes    int64
}

// PlanSize is what a plan takes, manifests included.
type PlanSize struct {
	Images int   // those that can be moved
	Blobs  int   // each digest once
	Bytes  int64 // of Blobs
	Sum    int64 // bytes of the images, each on its own: what it would be if they shared nothing
}

// Size returns what the plan takes, without images that have an Err.
func (p *Plan) Size() PlanSize {
	var s PlanSize
	for _, image := range p.Images {
		if image.Err != nil {
			continue
		}
		_, bytes := sizeOf(Blobs(image.nodes()...))
		s.Images++
		s.Sum += bytes
	}
	s.Blobs, s.Bytes = sizeOf(Blobs(p.Roots()...))
	return s
}

// Size returns the bytes of the image, each digest once.
func (i *PlannedImage) Size() int64 {
	_, bytes := sizeOf(Blobs(i.nodes()...))
	return bytes
}

// Roots returns what the plan moves, for [Blobs]: the Root of each image without an Err, followed by its Original when it has one.
func (p *Plan) Roots() []*Node {
	var roots []*Node
	for _, image := range p.Images {
		roots = append(roots, image.nodes()...)
	}
	return roots
}

func (i *PlannedImage) nodes() []*Node {
	switch {
	case i.Root == nil:
		return nil
	case i.Original == nil:
		return []*Node{i.Root}
	}
	return []*Node{i.Root, i.Original}
}

// Failed returns the images that have an Err.
func (p *Plan) Failed() []PlannedImage {
	var failed []PlannedImage
	for _, image := range p.Images {
		if image.Err != nil {
			failed = append(failed, image)
		}
	}
	return failed
}

// PlatformSizes returns what each platform takes of the plan, sorted by name, what tells no platform last. What two platforms share counts for both.
func (p *Plan) PlatformSizes() []PlatformSize {
	var roots []*Node
	images := map[string]int{}
	for _, image := range p.Images {
		if image.Root == nil {
			continue
		}
		roots = append(roots, image.Root)
		for _, s := range image.Platforms {
			images[FormatPlatform(s.Platform)]++
		}
	}
	sizes := platformSizes(roots)
	for i := range sizes {
		sizes[i].Images = images[FormatPlatform(sizes[i].Platform)]
	}
	slices.SortStableFunc(sizes, func(a, b PlatformSize) int {
		if isKnown(&a.Platform) != isKnown(&b.Platform) {
			if isKnown(&a.Platform) {
				return -1
			}
			return 1
		}
		return strings.Compare(FormatPlatform(a.Platform), FormatPlatform(b.Platform))
	})
	return sizes
}

// platformSizes returns what each platform takes of roots, in order of first use.
func platformSizes(roots []*Node) []PlatformSize {
	var sizes []PlatformSize
	place := map[string]int{}                      // of a platform in sizes
	counted := map[string]map[digest.Digest]bool{} // digests by platform
	count := func(p Platform, image Image, isAbout bool) {
		name := FormatPlatform(p)
		if counted[name] == nil {
			counted[name] = map[digest.Digest]bool{}
			place[name] = len(sizes)
			sizes = append(sizes, PlatformSize{Platform: p})
		}
		s := &sizes[place[name]]
		if !isAbout && !counted[name][image.Digest] {
			s.Images++
		}
		s.Bytes += addSizes(counted[name], image.Node)
	}
	for _, root := range roots {
		images := root.Images()
		platforms := map[digest.Digest]Platform{}
		for _, image := range images {
			if image.Describes == "" {
				platforms[image.Digest] = shortPlatform(image.Platform)
				count(platforms[image.Digest], image, false)
			}
		}
		for _, image := range images {
			if image.Describes != "" {
				count(platforms[image.Describes], image, true)
			}
		}
	}
	return sizes
}

// addSizes returns the size of the image n and its blobs, without those that were counted before.
func addSizes(counted map[digest.Digest]bool, n *Node) int64 {
	var bytes int64
	manifests, configs, layers := Blobs(n)
	for _, d := range slices.Concat(manifests, configs, layers) {
		if !counted[d.Digest] {
			counted[d.Digest] = true
			bytes += d.Size
		}
	}
	return bytes
}

// shortPlatform returns p without versions, and without the variant that amd64 and arm64 have when none is given, so
// that equal platforms have one name. The zero Platform stands for one that is not known.
func shortPlatform(p *Platform) Platform {
	if !isKnown(p) {
		return Platform{}
	}
	s := normalisePlatform(Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	s.Variant = usualVariant(s)
	if s.Architecture != "arm" && s.Variant == usualVariant(Platform{Architecture: s.Architecture}) {
		s.Variant = ""
	}
	return s
}

func sizeOf(manifests, configs, layers []Descriptor) (blobs int, bytes int64) {
	for _, d := range slices.Concat(manifests, configs, layers) {
		blobs++
		bytes += d.Size
	}
	return blobs, bytes
}
