package oci

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	maxGraphDepth = 8        // an index of indexes of ... of manifests
	maxGraphNodes = 10_000   // manifests and indexes of one graph
	maxGraphSize  = 64 << 20 // bytes of them all
	graphFetches  = 8        // at a time
)

// Node is a manifest or index with what it points to. Within one graph there is one node a digest, with the descriptor
// by which it was found first.
type Node struct {
	Descriptor
	Raw      []byte
	Manifest *Manifest
	Children []*Node // the manifests of an index, in its order

	// ConfigPlatform is the platform in the config of an image manifest, for when no index tells it. [MakePlan] sets
	// it where it is needed; else it is nil.
	ConfigPlatform *Platform
}

// LoadGraph reads the manifest or index root and all manifests below it, several at a time. The bytes that fetch
// returns are proved: [ErrCorrupt]. Entries of an index whose media type is no manifest's are blobs and not fetched.
//
// A graph is at most 8 levels deep and has at most 10,000 manifests of 64 MiB in all.
func LoadGraph(
	ctx context.Context, fetch func(ctx context.Context, d Descriptor) ([]byte, error), root Descriptor,
) (*Node, error) {
	return loadGraph(ctx, fetch, root, nil)
}

// LoadManifest reads the manifest or index d, and proves it, but nothing below it: the Node has no Children.
func LoadManifest(ctx context.Context, fetch func(ctx context.Context, d Descriptor) ([]byte, error), d Descriptor) (*Node, error) {
	return loadGraph(ctx, fetch, d, func(*Manifest) []Descriptor { return nil })
}

// loadGraph is LoadGraph that goes from an index only to the entries that choose returns. A nil choose takes all.
func loadGraph(
	ctx context.Context, fetch func(ctx context.Context, d Descriptor) ([]byte, error), root Descriptor,
	choose func(index *Manifest) []Descriptor,
) (*Node, error) {
	if choose == nil {
		choose = func(index *Manifest) []Descriptor { return index.Manifests }
	}
	g := graph{nodes: map[digest.Digest]*Node{}}
	level, err := g.add([]Descriptor{root})
	for depth := 1; err == nil && len(level) > 0; depth++ {
		if depth > maxGraphDepth {
			return nil, fmt.Errorf("index %s: more than %d levels of indexes", root.Digest, maxGraphDepth)
		}
		if err := loadNodes(ctx, fetch, level); err != nil {
			return nil, err
		}
		var next []Descriptor
		for _, n := range level {
			next = append(next, choose(n.Manifest)...)
		}
		level, err = g.add(next)
	}
	if err != nil {
		return nil, err
	}
	g.link()
	return g.nodes[root.Digest], nil
}

// graph is a graph while it is loaded.
type graph struct {
	nodes map[digest.Digest]*Node
	size  int64
}

// add makes nodes of the manifests in list that are new. The first node is the root, whatever its media type.
func (g *graph) add(list []Descriptor) ([]*Node, error) {
	var added []*Node
	for _, d := range list {
		isRoot := len(g.nodes) == 0
		if g.nodes[d.Digest] != nil || !isRoot && !IsManifest(d.MediaType) {
			continue
		}
		if err := checkDescriptor(d); err != nil {
			return nil, err
		}
		if d.Size > MaxManifestSize {
			return nil, fmt.Errorf("manifest %s: %d bytes, at most %d are read", d.Digest, d.Size, MaxManifestSize)
		}
		if g.size += d.Size; g.size > maxGraphSize {
			return nil, fmt.Errorf("manifest %s: more than %d bytes of manifests in one image", d.Digest, maxGraphSize)
		}
		if len(g.nodes) == maxGraphNodes {
			return nil, fmt.Errorf("manifest %s: more than %d manifests in one image", d.Digest, maxGraphNodes)
		}
		n := &Node{Descriptor: d}
		g.nodes[d.Digest] = n
		added = append(added, n)
	}
	return added, nil
}

// link sets the children of all nodes. No node can be below itself, since each was proved to have the digest that the
// one above it holds.
func (g *graph) link() {
	for _, n := range g.nodes {
		for _, d := range n.Manifest.Manifests {
			if child := g.nodes[d.Digest]; child != nil {
				n.Children = append(n.Children, child)
			}
		}
	}
}

func loadNodes(ctx context.Context, fetch func(context.Context, Descriptor) ([]byte, error), nodes []*Node) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(graphFetches)
	for _, n := range nodes {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			raw, err := fetch(ctx, n.Descriptor)
			if err != nil {
				return fmt.Errorf("manifest %s: %w", n.Digest, err)
			}
			return n.set(raw)
		})
	}
	return group.Wait()
}

// set gives n its bytes, which have to be those of its descriptor.
func (n *Node) set(raw []byte) error {
	if err := CheckBytes(n.Descriptor, raw); err != nil {
		return err
	}
	m, err := ParseManifest(n.MediaType, raw)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", n.Digest, err)
	}
	n.Raw, n.Manifest, n.MediaType = raw, m, m.MediaType
	return nil
}

// CheckBytes returns a *[DigestError] unless raw has the size and the digest of d.
func CheckBytes(d Descriptor, raw []byte) error {
	size := int64(len(raw))
	if size != d.Size {
		return &DigestError{Want: d, GotSize: size}
	}
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return &DigestError{Want: d, Got: got, GotSize: size}
	}
	return nil
}

// Walk calls fn for each manifest of the graph, children before their index, each digest once, until fn returns an
// error, which it returns.
func (n *Node) Walk(fn func(*Node) error) error { return n.walk(map[digest.Digest]bool{}, fn) }

func (n *Node) walk(seen map[digest.Digest]bool, fn func(*Node) error) error {
	if seen[n.Digest] {
		return nil
	}
	seen[n.Digest] = true
	for _, child := range n.Children {
		if err := child.walk(seen, fn); err != nil {
			return err
		}
	}
	return fn(n)
}

// Blobs returns what the graph needs besides its manifests: all configs, then all layers, each digest once, in order
// of first use. What an index lists that is no manifest comes among the layers.
func (n *Node) Blobs() []Descriptor {
	_, configs, layers := Blobs(n)
	return append(configs, layers...)
}

// Blobs returns all that the graphs are made of, each digest once, in order of first use, children before their index.
// This is the order of a bundle. A digest that is used in several ways is returned once, as the first of manifest,
// config and layer that it is.
func Blobs(nodes ...*Node) (manifests, configs, layers []Descriptor) {
	seen := map[digest.Digest]bool{}
	var all []*Node
	for _, n := range nodes {
		_ = n.walk(seen, func(n *Node) error { // never fails, since fn does not
			all = append(all, n)
			manifests = append(manifests, n.Descriptor)
			return nil
		})
	}
	add := func(list []Descriptor, d Descriptor) []Descriptor {
		if seen[d.Digest] {
			return list
		}
		seen[d.Digest] = true
		return append(list, d)
	}
	for _, n := range all {
		if n.Manifest.Config != nil {
			configs = add(configs, *n.Manifest.Config)
		}
	}
	for _, n := range all {
		for _, d := range n.Manifest.Layers {
			layers = add(layers, d)
		}
		for _, d := range n.Manifest.Manifests {
			if !IsManifest(d.MediaType) {
				layers = add(layers, d)
			}
		}
	}
	return manifests, configs, layers
}
