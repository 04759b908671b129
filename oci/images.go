package oci

import "github.com/opencontainers/go-digest"

// Annotations by which BuildKit marks the attestations (provenance, SBOM) that it puts into an index beside the images.
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
	attestationManifest       = "attestation-manifest"
)

// Image is an image manifest as the root of its graph presents it.
type Image struct {
	*Node
	Platform  *Platform     // nil when it is not known
	Describes digest.Digest // of the image manifest that this attestation is about; empty for all that are none
}

// Images returns the image manifests of the graph in the order of the index, those of nested indexes in their place,
// each digest once. The platform is that of the index entry, else that of the config when it is known, else nil.
func (n *Node) Images() []Image {
	var images []Image
	seen := map[digest.Digest]bool{}
	var visit func(n *Node, entry Descriptor)
	visit = func(n *Node, entry Descriptor) {
		if seen[n.Digest] {
			return
		}
		seen[n.Digest] = true
		if !n.Manifest.IsIndex() {
			images = append(images, Image{Node: n, Platform: platformOf(entry, n), Describes: describes(entry)})
			return
		}
		children := n.byDigest()
		for _, d := range n.Manifest.Manifests {
			if child := children[d.Digest]; child != nil {
				visit(child, d)
			}
		}
	}
	visit(n, n.Descriptor)
	return images
}

func (n *Node) byDigest() map[digest.Digest]*Node {
	m := make(map[digest.Digest]*Node, len(n.Children))
	for _, child := range n.Children {
		m[child.Digest] = child
	}
	return m
}

// platformOf returns the platform of the image n, which may be nil, that is listed as entry; nil when it is not known.
func platformOf(entry Descriptor, n *Node) *Platform {
	switch {
	case isKnown(entry.Platform):
		return entry.Platform
	case describes(entry) != "" || n == nil || !isKnown(n.ConfigPlatform):
		return nil
	}
	return n.ConfigPlatform
}

// describes returns the digest of the image that d is an attestation about, or nothing when it is none.
func describes(d Descriptor) digest.Digest {
	about := digest.Digest(d.Annotations[annotationReferenceDigest])
	if d.Annotations[annotationReferenceType] != attestationManifest || checkDigest(about) != nil {
		return ""
	}
	return about
}
