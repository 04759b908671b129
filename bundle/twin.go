package bundle

import (
	"maps"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// tocAnnotation says where in the gzip bytes of an eStargz layer its files are.
const tocAnnotation = "containerd.io/snapshot/stargz/toc.digest"

// newTwins returns what makes plain twins of manifests and indexes, as FORMAT.md section 6 has them. plain has the plain bytes of
// each recreated layer, by the digest of the layer. A graph without any stays as it is.
func newTwins(plain map[digest.Digest]oci.Descriptor) *oci.Rewriter {
	return oci.NewRewriter(func(d oci.Descriptor) (oci.Descriptor, bool) {
		to, ok := plain[d.Digest]
		if !ok {
			return d, false
		}
		d.MediaType, d.Digest, d.Size = plainType(d.MediaType), to.Digest, to.Size
		d.Annotations = maps.Clone(d.Annotations)
		delete(d.Annotations, tocAnnotation)
		return d, true
	})
}

// twins returns what makes the plain twins of this bundle.
func (h *Head) twins() *oci.Rewriter {
	plain := make(map[digest.Digest]oci.Descriptor, len(h.Recreated))
	for _, r := range h.Recreated {
		plain[r.Digest] = h.Members[r.Plain].Descriptor()
	}
	return newTwins(plain)
}
