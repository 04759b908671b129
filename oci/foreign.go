package oci

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of foreign layers, of which registries need not have the content, begin so; what follows is the same
// as in ordinary ones.
const (
	foreignDocker = "application/vnd.docker.image.rootfs.foreign."
	foreignOCI    = "application/vnd.oci.image.layer.nondistributable."
)

// IsForeign reports whether d is a foreign layer, or says where else it is.
func IsForeign(d Descriptor) bool { return len(d.URLs) > 0 || ordinaryType(d.MediaType) != d.MediaType }

// ordinaryType returns the media type of an ordinary layer with the content of one of mediaType.
func ordinaryType(mediaType string) string {
	if rest, ok := strings.CutPrefix(mediaType, foreignDocker); ok {
		return "application/vnd.docker.image.rootfs." + rest
	}
	if rest, ok := strings.CutPrefix(mediaType, foreignOCI); ok {
		return strings.TrimSuffix(ocispec.MediaTypeImageLayer, "v1.tar") + rest
	}
	return mediaType
}

// RewriteForeign returns the graph n with ordinary layers in place of foreign ones, for registries that refuse URLs: they
// have an ordinary media type and no URL. All else stays, but digests change, and signatures do not fit any more. A graph
// without foreign layers is returned as it is. Equal input gives equal bytes.
//
// The layers in the nodes keep their URLs, so that they can be fetched from there; those in the bytes do not.
func RewriteForeign(n *Node) (*Node, error) {
	r := NewRewriter(func(d Descriptor) (Descriptor, bool) {
		if !IsForeign(d) {
			return d, false
		}
		d.MediaType, d.URLs = ordinaryType(d.MediaType), nil
		return d, true
	})
	rewritten, err := r.Rewrite(n)
	if err != nil {
		return nil, err
	}
	err = n.Walk(func(n *Node) error {
		for i, d := range n.Manifest.Layers {
			r.done[n.Digest].Manifest.Layers[i].URLs = d.URLs
		}
		return nil
	})
	return rewritten, err
}
