package oci

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// mergeLeaf is what the indexes of one side list at the end of their branches: an image, an attestation, an artifact or
// a blob.
type mergeLeaf struct {
	Descriptor
	entry    json.RawMessage // what a new index lists it as
	node     *Node           // nil for a blob
	platform *Platform       // of an image, where it is known
	key      string          // of an image, see mergeKey; empty for what belongs to all platforms
	told     string          // key as this side tells it; key is what the first side that has the image tells
	// describes is the image that this attestation is about. With orphan, the side has no such image.
	describes  digest.Digest
	orphan     bool
	relabelled bool // the entry says another platform than the image
}

// unknownKey is the key of images that tell no platform.
const unknownKey = "unknown"

// readLeaves returns the leaves of a side, each digest once, in the order of its indexes.
func readLeaves(ctx context.Context, side MergeSide) ([]*mergeLeaf, error) {
	r := leafReader{side: side, seen: map[digest.Digest]bool{}}
	read := r.single
	if side.Root.Manifest.IsIndex() {
		read = r.index
	}
	if err := read(ctx, side.Root); err != nil {
		return nil, err
	}
	var alone []*mergeLeaf
	for _, l := range r.leaves {
		l.orphan = l.describes != "" && !r.seen[l.describes]
		if l.key != "" {
			alone = append(alone, l)
		}
	}
	if len(alone) == 1 {
		if err := alone[0].assume(side); err != nil {
			return nil, err
		}
	}
	return r.leaves, nil
}

// leafReader collects the leaves of a side.
type leafReader struct {
	side   MergeSide
	seen   map[digest.Digest]bool
	leaves []*mergeLeaf
}

// index adds what the index n lists.
func (r *leafReader) index(ctx context.Context, n *Node) error {
	r.seen[n.Digest] = true
	doc, err := parseObject(n.Raw, documentKeys)
	if err != nil {
		return fmt.Errorf("index %s: %w", n.Digest, err)
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(doc["manifests"], &entries); err != nil {
		return fmt.Errorf("index %s: %w", n.Digest, err)
	}
	children := n.byDigest()
	for i, d := range n.Manifest.Manifests {
		child := children[d.Digest]
		switch {
		case r.seen[d.Digest]:
		case child != nil && child.Manifest.IsIndex():
			if err := r.index(ctx, child); err != nil {
				return err
			}
		default:
			l := &mergeLeaf{Descriptor: d, entry: entries[i], node: child, describes: describes(d)}
			if err := r.add(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// single adds a manifest that no index lists, and makes an entry for it.
func (r *leafReader) single(ctx context.Context, n *Node) error {
	l := &mergeLeaf{node: n, Descriptor: Descriptor{MediaType: n.MediaType, Digest: n.Digest, Size: n.Size, ArtifactType: n.Manifest.ArtifactType}}
	if err := r.add(ctx, l); err != nil {
		return err
	}
	l.Platform = l.platform
	var err error
	l.entry, err = marshal(l.Descriptor)
	return err
}

// add appends a leaf and finds its platform.
func (r *leafReader) add(ctx context.Context, l *mergeLeaf) (err error) {
	r.seen[l.Digest] = true
	r.leaves = append(r.leaves, l)
	if l.node == nil || l.describes != "" {
		return nil
	}
	isImage := l.node.Manifest.Config != nil && IsImageConfig(l.node.Manifest.Config.MediaType)
	switch {
	case isKnown(l.Platform):
		l.platform = l.Platform
	case l.Platform != nil: // unknown/unknown: an index says that it is no image to be run
		return nil
	case isImage:
		if l.platform, err = r.configPlatform(ctx, l.node); err != nil {
			return err
		}
	}
	if l.platform != nil {
		l.key = mergeKey(*l.platform)
	} else if isImage {
		l.key = unknownKey
	}
	return nil
}

// configPlatform returns the platform that the config of an image tells, or nil.
func (r *leafReader) configPlatform(ctx context.Context, n *Node) (*Platform, error) {
	if r.side.Config == nil {
		return n.ConfigPlatform, nil
	}
	raw, err := readConfig(ctx, r.side.Config, *n.Manifest.Config)
	if err != nil {
		return nil, err
	}
	return platformOfConfig(raw), nil
}

// assume gives the leaf, which is the side's only image, the platform that the side is said to be for.
func (l *mergeLeaf) assume(side MergeSide) error {
	switch {
	case side.Assume == nil, l.platform != nil && !side.AssumeAlways:
		return nil
	case l.platform != nil && MatchPlatform(*side.Assume, *l.platform):
		return nil // it says the same, and maybe more
	}
	entry, err := parseObject(l.entry, []string{"platform"})
	if err != nil {
		return fmt.Errorf("entry of %s: %w", l.Digest, err)
	}
	if entry["platform"], err = marshal(side.Assume); err != nil {
		return err
	}
	if l.entry, err = marshal(entry); err != nil {
		return err
	}
	l.platform, l.Platform, l.key, l.relabelled = side.Assume, side.Assume, mergeKey(*side.Assume), true
	return nil
}

// readConfig reads an image config and proves it.
func readConfig(ctx context.Context, read func(context.Context, Descriptor) ([]byte, error), d Descriptor) ([]byte, error) {
	if d.Size > maxConfigSize {
		return nil, fmt.Errorf("config %s: %d bytes, at most %d are read", d.Digest, d.Size, maxConfigSize)
	}
	raw, err := read(ctx, d)
	if err == nil {
		err = CheckBytes(d, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", d.Digest, err)
	}
	return raw, nil
}
