package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// FilterPlatforms returns the graph n with the images for the platforms in want alone, or n itself when that is all
// of it. A registry refuses an index whose children it does not have, so the index is rebuilt and has another digest:
//
//   - The media type stays, and so does every other field, annotations and subject included; only manifests is another.
//     Descriptors are kept with all their fields, in their order. Equal input gives equal bytes.
//   - Attestations follow the image that they describe. One that describes none of the images kept is left out.
//   - What tells no platform and is no attestation belongs to all platforms and is kept.
//   - Indexes inside the index are filtered likewise, and left out when nothing of them is kept.
//   - An index of which one image is kept stays an index.
//
// Signatures of the whole index do not match the rebuilt one. An image without index is either all or nothing. When n
// has images with platforms, but none that is wanted, the error is ErrNotFound.
func FilterPlatforms(n *Node, want []Platform) (*Node, error) {
	if len(want) == 0 {
		return n, nil
	}
	f := platformFilter{want: want, done: map[digest.Digest]*Node{}}
	filtered, err := f.filter(n)
	if err != nil {
		return nil, err
	}
	if filtered == nil || lacksAll(n.platforms(), want) {
		return nil, fmt.Errorf("no image for %s: %w", formatPlatforms(want), ErrNotFound)
	}
	return filtered, nil
}

// lacksAll reports whether there are platforms and none of them is wanted.
func lacksAll(platforms, want []Platform) bool {
	isWanted := func(p Platform) bool { return matchAny(want, p) }
	return len(platforms) > 0 && !slices.ContainsFunc(platforms, isWanted)
}

// choose tells for each entry of the index m whether it is kept when the platforms in want are. Nodes may lack
// entries; an entry without one that tells no platform itself is kept.
func choose(m *Manifest, nodes map[digest.Digest]*Node, want []Platform) []bool {
	keep := make([]bool, len(m.Manifests))
	images := map[digest.Digest]bool{} // digests of the images kept
	for i, d := range m.Manifests {
		if describes(d) != "" {
			continue
		}
		p := platformOf(d, nodes[d.Digest])
		keep[i] = IsIndex(d.MediaType) || p == nil || matchAny(want, *p)
		if keep[i] {
			images[d.Digest] = true
		}
	}
	for i, d := range m.Manifests {
		if about := describes(d); about != "" {
			keep[i] = images[about]
		}
	}
	return keep
}

// chosen returns the entries of the index m, all of it still unread, which may have to be kept.
func chosen(m *Manifest, want []Platform) []Descriptor {
	var list []Descriptor
	for i, keep := range choose(m, nil, want) {
		if keep {
			list = append(list, m.Manifests[i])
		}
	}
	return list
}

// platformFilter filters a graph. An index that is listed in several places is filtered once.
type platformFilter struct {
	want []Platform
	done map[digest.Digest]*Node
}

// filter returns n with what is chosen alone; nil when that is nothing, and n when it is all.
func (f *platformFilter) filter(n *Node) (*Node, error) {
	if !n.Manifest.IsIndex() {
		return n, nil
	}
	if filtered, ok := f.done[n.Digest]; ok {
		return filtered, nil
	}
	filtered, err := f.filterIndex(n)
	f.done[n.Digest] = filtered
	return filtered, err
}

func (f *platformFilter) filterIndex(n *Node) (*Node, error) {
	nodes := n.byDigest()
	kept := keptEntries{}
	var children []*Node
	changed := false
	for i, keep := range choose(n.Manifest, nodes, f.want) {
		child := nodes[n.Manifest.Manifests[i].Digest]
		if keep && child != nil {
			filtered, err := f.filter(child)
			if err != nil {
				return nil, err
			}
			keep, changed = filtered != nil, changed || filtered != child
			child = filtered
		}
		if !keep {
			changed = true
			continue
		}
		kept[i] = child
		if child != nil {
			children = append(children, child)
		}
	}
	switch {
	case !changed:
		return n, nil
	case len(kept) == 0:
		return nil, nil
	}
	return n.rebuild(kept, children)
}

// keptEntries holds the positions of the entries of an index that are kept, with what they now name; nil for a blob.
type keptEntries map[int]*Node

// renamed returns the new digests of the manifests among entries that have another one now.
func (k keptEntries) renamed(entries []Descriptor) map[digest.Digest]digest.Digest {
	list := map[digest.Digest]digest.Digest{}
	for i, to := range k {
		if to != nil && to.Digest != entries[i].Digest {
			list[entries[i].Digest] = to.Digest
		}
	}
	return list
}

// rebuild returns the index n with the entries in kept alone.
func (n *Node) rebuild(kept keptEntries, children []*Node) (*Node, error) {
	raw, err := n.rebuildIndex(kept)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", n.Digest, err)
	}
	d := n.Descriptor
	d.Digest, d.Size, d.Data = d.Digest.Algorithm().FromBytes(raw), int64(len(raw)), nil
	rebuilt := &Node{Descriptor: d, Children: children}
	if err := rebuilt.set(raw); err != nil {
		return nil, err
	}
	return rebuilt, nil
}

// rebuildIndex returns the document of n with other manifests: compact, its keys sorted.
func (n *Node) rebuildIndex(kept keptEntries) ([]byte, error) {
	doc, err := parseObject(n.Raw, documentKeys)
	if err != nil {
		return nil, err
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(doc["manifests"], &entries); err != nil {
		return nil, err
	}
	renamed := kept.renamed(n.Manifest.Manifests)
	var manifests []json.RawMessage
	for i, entry := range entries {
		to, keep := kept[i]
		if !keep {
			continue
		}
		d := n.Manifest.Manifests[i]
		if renamed[d.Digest] != "" {
			if entry, err = redirect(entry, to.Descriptor); err != nil {
				return nil, fmt.Errorf("entry %d: %w", i, err)
			}
		}
		if about := renamed[describes(d)]; about != "" {
			if entry, err = redescribe(entry, about); err != nil {
				return nil, fmt.Errorf("entry %d: %w", i, err)
			}
		}
		manifests = append(manifests, entry)
	}
	if doc["manifests"], err = marshal(manifests); err != nil {
		return nil, err
	}
	if doc["mediaType"], err = marshal(n.MediaType); err != nil {
		return nil, err
	}
	return marshal(doc)
}

// redirect makes the descriptor entry, a JSON object, one of d. Its other fields stay, but for a copy of the content.
func redirect(entry json.RawMessage, d Descriptor) (json.RawMessage, error) {
	object, err := parseObject(entry, []string{"digest", "size", "data"})
	if err != nil {
		return nil, err
	}
	delete(object, "data")
	if object["digest"], err = marshal(d.Digest); err != nil {
		return nil, err
	}
	if object["size"], err = marshal(d.Size); err != nil {
		return nil, err
	}
	return marshal(object)
}

// redescribe makes the entry of an attestation one about the image with that digest.
func redescribe(entry json.RawMessage, about digest.Digest) (json.RawMessage, error) {
	object, err := parseObject(entry, []string{"annotations"})
	if err != nil {
		return nil, err
	}
	value, err := marshal(about)
	if err != nil {
		return nil, err
	}
	if object["annotations"], err = editMember(object["annotations"], annotationReferenceDigest, value); err != nil {
		return nil, err
	}
	return marshal(object)
}

// marshal is json.Marshal that leaves the characters of HTML in strings as they are.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func formatPlatforms(list []Platform) string {
	var names []string
	for _, p := range list {
		names = append(names, FormatPlatform(p))
	}
	return strings.Join(names, ", ")
}
