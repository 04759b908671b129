package oci

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// A Rewriter makes graphs with other descriptors of layers. All else stays, but digests of manifests and indexes change,
// and signatures do not fit any more. Equal input gives equal bytes. It is for one goroutine.
//
//   - Descriptors and fields that are not concerned stay byte for byte, but for white space; objects in which something
//     changes are written with their keys sorted, without white space, and an index says its media type.
//   - An index names what its manifests have become, without a copy of their content, and so do the annotations by which
//     entries of it say what they are attestations about.
type Rewriter struct {
	layer func(d Descriptor) (Descriptor, bool)
	done  map[digest.Digest]*Node // what became of each manifest
}

// NewRewriter returns a Rewriter that calls layer for each layer of an image manifest, and puts what it returns in place
// of it when ok is true. Of what it returns, mediaType, digest and size count, and what urls and annotations lack; a
// copy of the content is dropped with the digest.
func NewRewriter(layer func(d Descriptor) (to Descriptor, ok bool)) *Rewriter {
	return &Rewriter{layer: layer, done: map[digest.Digest]*Node{}}
}

// Rewrite returns the graph n with other layers, or n itself when nothing in it was to be changed.
func (r *Rewriter) Rewrite(n *Node) (_ *Node, err error) {
	if done := r.done[n.Digest]; done != nil {
		return done, nil
	}
	if n.Manifest.IsIndex() {
		r.done[n.Digest], err = r.index(n)
	} else {
		r.done[n.Digest], err = r.image(n)
	}
	return r.done[n.Digest], err
}

func (r *Rewriter) index(n *Node) (*Node, error) {
	nodes, changed := n.byDigest(), false
	kept := keptEntries{}
	var children []*Node
	for i, d := range n.Manifest.Manifests {
		kept[i] = nil
		child := nodes[d.Digest]
		if child == nil {
			continue
		}
		rewritten, err := r.Rewrite(child)
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

// image rewrites one image manifest.
func (r *Rewriter) image(n *Node) (*Node, error) {
	to := map[int]Descriptor{}
	for i, d := range n.Manifest.Layers {
		if layer, ok := r.layer(d); ok {
			to[i] = layer
		}
	}
	if len(to) == 0 {
		return n, nil
	}
	raw, err := n.withLayers(to)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", n.Digest, err)
	}
	d := n.Descriptor
	d.Digest, d.Size, d.Data = d.Digest.Algorithm().FromBytes(raw), int64(len(raw)), nil
	rewritten := &Node{Descriptor: d, ConfigPlatform: n.ConfigPlatform}
	if err := rewritten.set(raw); err != nil {
		return nil, err
	}
	return rewritten, nil
}

// withLayers returns the document of n with other layers: compact, its keys sorted.
func (n *Node) withLayers(to map[int]Descriptor) ([]byte, error) {
	doc, err := parseObject(n.Raw, documentKeys)
	if err != nil {
		return nil, err
	}
	var layers []json.RawMessage
	if err := json.Unmarshal(doc["layers"], &layers); err != nil {
		return nil, err
	}
	for i, d := range to {
		if layers[i], err = editDescriptor(layers[i], n.Manifest.Layers[i], d); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	if doc["layers"], err = marshal(layers); err != nil {
		return nil, err
	}
	return marshal(doc)
}

// editDescriptor returns the JSON of the descriptor was with what is another in now, see NewRewriter.
func editDescriptor(raw json.RawMessage, was, now Descriptor) (json.RawMessage, error) {
	object, err := parseObject(raw, []string{"mediaType", "digest", "size", "data", "urls", "annotations"})
	if err != nil {
		return nil, err
	}
	set := func(key string, v any) {
		if err == nil {
			object[key], err = marshal(v)
		}
	}
	if was.MediaType != now.MediaType {
		set("mediaType", now.MediaType)
	}
	if was.Digest != now.Digest || was.Size != now.Size {
		set("digest", now.Digest)
		set("size", now.Size)
		delete(object, "data")
	}
	if len(was.URLs) > 0 && len(now.URLs) == 0 {
		delete(object, "urls")
	}
	for key := range was.Annotations {
		if _, stays := now.Annotations[key]; !stays && err == nil {
			object["annotations"], err = editMember(object["annotations"], key, nil)
		}
	}
	if err != nil {
		return nil, err
	}
	return marshal(object)
}

// editMember returns the JSON object raw with another value for key, or without it when v is nil.
func editMember(raw json.RawMessage, key string, v json.RawMessage) (json.RawMessage, error) {
	object, err := parseObject(raw, nil)
	if err != nil {
		return nil, err
	}
	if object[key] = v; v == nil {
		delete(object, key)
	}
	return marshal(object)
}
