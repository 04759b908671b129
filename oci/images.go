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

// platforms returns the known platforms of all images of the graph, in its order. The entry of an index is enough: its
// manifest need not be loaded.
func (n *Node) platforms() []Platform {
	var list []Platform
	seen := map[digest.Digest]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		seen[n.Digest] = true
		children := n.byDigest()
		for _, d := range n.Manifest.Manifests {
			child := children[d.Digest]
			if child != nil && child.Manifest.IsIndex() {
				if !seen[d.Digest] {
					visit(child)
				}
			} else if p := platformOf(d, child); p != nil {
				list = append(list, *p)
			}
		}
	}
	if p := platformOf(n.Descriptor, n); p != nil && !n.Manifest.IsIndex() {
		return []Platform{*p}
	}
	visit(n)
	return list
}

// platformOf returns the platform of the image n, which may be nil, that is listed as entry; nil when it is not known,
// and for attestations.
func platformOf(entry Descriptor, n *Node) *Platform {
	switch {
	case describes(entry) != "":
		return nil
	case isKnown(entry.Platform):
		return entry.Platform
	case n != nil && isKnown(n.ConfigPlatform):
		return n.ConfigPlatform
	}
	return nil
}

// describes returns the digest of the image that d is an attestation about, or nothing when it is none.
func describes(d Descriptor) digest.Digest {
	about := digest.Digest(d.Annotations[annotationReferenceDigest])
	if d.Annotations[annotationReferenceType] != attestationManifest || checkDigest(about) != nil {
		return ""
	}
	return about
}
