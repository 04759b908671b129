package oci

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
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
	return foreignRewriter{}.rewrite(n)
}

// foreignRewriter has what became of each manifest.
type foreignRewriter map[digest.Digest]*Node

func (f foreignRewriter) rewrite(n *Node) (_ *Node, err error) {
	if done := f[n.Digest]; done != nil {
		return done, nil
	}
	if n.Manifest.IsIndex() {
		f[n.Digest], err = f.rewriteIndex(n)
	} else {
		f[n.Digest], err = rewriteLayers(n)
	}
	return f[n.Digest], err
}

func (f foreignRewriter) rewriteIndex(n *Node) (*Node, error) {
	nodes, changed := n.byDigest(), false
	kept := keptEntries{}
	var children []*Node
	for i, d := range n.Manifest.Manifests {
		kept[i] = nil
		child := nodes[d.Digest]
		if child == nil {
			continue
		}
		rewritten, err := f.rewrite(child)
		if err != nil {
			return nil, err
		}
		kept[i], changed = rewritten, changed || rewritten != child
		children = append(children, rewritten)
	}
	if !changed {
		return n, nil
	}
	return n.rebuild(kept, children)
}

// rewriteLayers rewrites one image manifest.
func rewriteLayers(n *Node) (*Node, error) {
	changed := false
	for _, d := range n.Manifest.Layers {
		changed = changed || IsForeign(d)
	}
	if !changed {
		return n, nil
	}
	raw, err := n.ordinaryLayers()
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", n.Digest, err)
	}
	d := n.Descriptor
	d.Digest, d.Size, d.Data = d.Digest.Algorithm().FromBytes(raw), int64(len(raw)), nil
	rewritten := &Node{Descriptor: d, ConfigPlatform: n.ConfigPlatform}
	if err := rewritten.set(raw); err != nil {
		return nil, err
	}
	for i, d := range n.Manifest.Layers {
		rewritten.Manifest.Layers[i].URLs = d.URLs
	}
	return rewritten, nil
}

// ordinaryLayers returns the document of n with ordinary layers: compact, its keys sorted.
func (n *Node) ordinaryLayers() ([]byte, error) {
	doc, err := parseObject(n.Raw, documentKeys)
	if err != nil {
		return nil, err
	}
	var layers []json.RawMessage
	if err := json.Unmarshal(doc["layers"], &layers); err != nil {
		return nil, err
	}
	for i, d := range n.Manifest.Layers {
		if !IsForeign(d) {
			continue
		}
		layer, err := parseObject(layers[i], []string{"mediaType", "urls"})
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		delete(layer, "urls")
		if layer["mediaType"], err = marshal(ordinaryType(d.MediaType)); err != nil {
			return nil, err
		}
		if layers[i], err = marshal(layer); err != nil {
			return nil, err
		}
	}
	if doc["layers"], err = marshal(layers); err != nil {
		return nil, err
	}
	return marshal(doc)
}
