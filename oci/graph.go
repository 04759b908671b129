package oci

import "context"

// Node is a manifest or index with what it points to.
type Node struct {
	Descriptor
	Raw      []byte
	Manifest *Manifest
	Children []*Node // the manifests of an index, in its order
}

// LoadGraph walks from root to all manifests.
func LoadGraph(ctx context.Context, fetch func(ctx context.Context, d Descriptor) ([]byte, error), root Descriptor) (*Node, error) {
	return nil, errNotYet
}

// CheckBytes returns a *DigestError unless raw has the size and the digest of d.
func CheckBytes(d Descriptor, raw []byte) error { return errNotYet }

// Walk calls fn for each manifest of the graph, children before their index, each digest once.
func (n *Node) Walk(fn func(*Node) error) error { return errNotYet }

// Blobs returns what the graph needs besides manifests: configs first, then layers, each once, in order of first use.
func (n *Node) Blobs() []Descriptor {
	_, configs, layers := Blobs(n)
	return append(configs, layers...)
}

// Blobs returns all that the graphs need, each digest once, in order of first use.
func Blobs(nodes ...*Node) (manifests, configs, layers []Descriptor) { return nil, nil, nil }
