package oci

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newIndex returns an index of the entries: compact, its keys sorted.
func (m *merger) newIndex(entries []*mergeLeaf) (*Node, error) {
	mediaType := m.indexType(entries)
	doc, err := m.commonFields(mediaType)
	if err != nil {
		return nil, err
	}
	n := &Node{}
	manifests := make([]json.RawMessage, len(entries))
	for i, l := range entries {
		manifests[i] = l.entry
		if l.node != nil {
			n.Children = append(n.Children, l.node)
		}
		if l.relabelled {
			m.merged.Relabelled = append(m.merged.Relabelled, l.Descriptor)
		}
	}
	if doc["manifests"], err = marshal(manifests); err != nil {
		return nil, err
	}
	if doc["mediaType"], err = marshal(mediaType); err != nil {
		return nil, err
	}
	doc["schemaVersion"] = json.RawMessage("2")
	raw, err := marshal(doc)
	if err != nil {
		return nil, err
	}
	n.Descriptor = Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := n.set(raw); err != nil {
		return nil, fmt.Errorf("index of %d entries: %w", len(entries), err)
	}
	return n, nil
}

// indexType returns the media type of an index of the entries.
func (m *merger) indexType(entries []*mergeLeaf) string {
	for _, side := range m.sides {
		if side.Root.MediaType == ocispec.MediaTypeImageIndex {
			return ocispec.MediaTypeImageIndex
		}
	}
	for _, l := range entries {
		if l.MediaType != MediaTypeDockerManifest {
			return ocispec.MediaTypeImageIndex
		}
	}
	return MediaTypeDockerList
}

// commonFields returns the fields of a new index besides its manifests: for an OCI index the annotations of all sides,
// those of the first where they differ, and other fields that all sides which are indexes have alike.
func (m *merger) commonFields(mediaType string) (map[string]json.RawMessage, error) {
	common := map[string]json.RawMessage{}
	if mediaType != ocispec.MediaTypeImageIndex {
		return common, nil
	}
	annotations := map[string]string{}
	first := true
	for _, side := range m.sides {
		if !side.Root.Manifest.IsIndex() {
			continue
		}
		doc, err := parseObject(side.Root.Raw, documentKeys)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", side.Root.Digest, err)
		}
		for k, v := range side.Root.Manifest.Annotations {
			if _, ok := annotations[k]; !ok {
				annotations[k] = v
			}
		}
		if first {
			common, first = doc, false
			continue
		}
		for k, v := range common {
			if !equalJSON(v, doc[k]) {
				delete(common, k)
			}
		}
	}
	delete(common, "annotations")
	if len(annotations) == 0 {
		return common, nil
	}
	var err error
	common["annotations"], err = marshal(annotations)
	return common, err
}

// equalJSON reports whether two values are written alike, white space aside.
func equalJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
