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
	Images    int   // those that can be moved
	Referrers int   // that belong to them
	Blobs     int   // each digest once
	Bytes     int64 // of Blobs
	Sum       int64 // bytes of the images, each on its own: what it would be if they shared nothing
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
		s.Referrers += len(image.Referrers)
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

// Roots returns what the plan moves, for [Blobs]: the Root of each image without an Err, followed by its Original when
// it has one, and by its Referrers.
func (p *Plan) Roots() []*Node {
	var roots []*Node
	for _, image := range p.Images {
		roots = append(roots, image.nodes()...)
	}
	return roots
}

func (i *PlannedImage) nodes() []*Node {
	if i.Root == nil {
		return nil
	}
	nodes := []*Node{i.Root}
	if i.Original != nil {
		nodes = append(nodes, i.Original)
	}
	for _, r := range i.Referrers {
		nodes = append(nodes, r.Root)
	}
	return nodes
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

// PlatformSizes returns what each platform takes of the plan, sorted by name, what tells no platform last. What two
// platforms share counts for both.
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
	last := func(p Platform) string { // the unknown after all names
		if !isKnown(&p) {
			return "~"
		}
		return FormatPlatform(p)
	}
	slices.SortFunc(sizes, func(a, b PlatformSize) int { return strings.Compare(last(a.Platform), last(b.Platform)) })
	return sizes
}

// platformSizes returns what each platform takes of roots, in order of first use.
func platformSizes(roots []*Node) []PlatformSize {
	sizes := platformSizer{places: map[string]int{}}
	for _, root := range roots {
		images := root.Images()
		platforms := map[digest.Digest]Platform{}
		for _, image := range images {
			if image.Describes == "" {
				platforms[image.Digest] = shortPlatform(image.Platform)
				sizes.add(platforms[image.Digest], image)
			}
		}
		for _, image := range images {
			if image.Describes != "" {
				sizes.add(platforms[image.Describes], image)
			}
		}
	}
	return sizes.list
}

// platformSizer adds up images by platform.
type platformSizer struct {
	list    []PlatformSize
	counted []map[digest.Digest]bool // what is in each size of list
	places  map[string]int           // of a platform in list
}

// add counts image for p. An attestation counts with its bytes only.
func (s *platformSizer) add(p Platform, image Image) {
	name := FormatPlatform(p)
	i, ok := s.places[name]
	if !ok {
		i = len(s.list)
		s.places[name] = i
		s.list = append(s.list, PlatformSize{Platform: p})
		s.counted = append(s.counted, map[digest.Digest]bool{})
	}
	if image.Describes == "" && !s.counted[i][image.Digest] {
		s.list[i].Images++
	}
	s.list[i].Bytes += addSizes(s.counted[i], image.Node)
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
