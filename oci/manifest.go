package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image manifest version 2, schema 2.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

const (
	// MaxManifestSize is the size in bytes of the largest manifest or index that is read. CNCF distribution takes no
	// larger one either.
	MaxManifestSize = 4 << 20
	// MaxBlobSize is the size in bytes of the largest blob that a descriptor may name.
	MaxBlobSize = 1 << 40
)

// ErrUnsupported comes back for content that is well known and yet not carried, such as a schema 1 manifest.
var ErrUnsupported = errors.New("not supported")

// IsManifest reports whether mediaType is that of an image manifest or an index, OCI's or Docker's.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest || IsIndex(mediaType)
}

// IsIndex reports whether mediaType is that of an OCI index or a Docker manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerList
}

// IsImageConfig tells the config of an image from the many other things that artifacts have for a config.
func IsImageConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == MediaTypeDockerConfig
}

func isSchema1(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.docker.distribution.manifest.v1+")
}

// Manifest is an image manifest or an index, OCI's or Docker's, as far as ferry looks into it. What moves is always
// the bytes that it was parsed from.
type Manifest struct {
	MediaType    string
	ArtifactType string
	Config       *Descriptor  // of an image manifest, else nil
	Layers       []Descriptor // of an image manifest
	Manifests    []Descriptor // of an index
	Subject      *Descriptor
	Annotations  map[string]string
}

// IsIndex reports whether m is an index.
func (m *Manifest) IsIndex() bool { return IsIndex(m.MediaType) }

// ParseManifest reads the manifest or index raw. The argument mediaType, which comes from a descriptor or a
// Content-Type, rules: a document without a mediaType of its own is fine, another one inside is an error. With an
// empty argument the document tells.
//
// Documents that two readers could understand in two ways are refused: with both manifests and layers
// (CVE-2021-41190), with one key twice or in another case. Descriptors need a sha256 or sha512 digest and a size up to
// [MaxBlobSize]; 4 MiB hold no more than 50,000 of them. Schema 1 manifests and media types that are no manifest's are
// ErrUnsupported.
func ParseManifest(mediaType string, raw []byte) (*Manifest, error) {
	if len(raw) > MaxManifestSize {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(raw), MaxManifestSize)
	}
	if isSchema1(mediaType) {
		return nil, errSchema1
	}
	doc, err := parseDocument(raw)
	if err != nil {
		return nil, err
	}
	return doc.manifest(mediaType)
}

var errSchema1 = fmt.Errorf("schema 1 manifest, the format before 2016: %w, push the image anew", ErrUnsupported)

// document is the top level of a manifest or index.
type document struct {
	SchemaVersion *int              `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        json.RawMessage   `json:"layers"`
	Manifests     json.RawMessage   `json:"manifests"`
	FSLayers      json.RawMessage   `json:"fsLayers"` // schema 1
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// documentKeys are the keys that must not come in another case: encoding/json would take them all the same.
var documentKeys = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "fsLayers", "subject", "annotations",
}

func parseDocument(raw []byte) (document, error) {
	if _, err := parseObject(raw, documentKeys); err != nil {
		return document{}, err
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return document{}, err
	}
	return doc, nil
}

func (doc *document) manifest(mediaType string) (*Manifest, error) {
	mediaType, err := doc.mediaType(mediaType)
	if err != nil {
		return nil, err
	}
	m := &Manifest{
		MediaType:    mediaType,
		ArtifactType: doc.ArtifactType,
		Config:       doc.Config,
		Subject:      doc.Subject,
		Annotations:  doc.Annotations,
	}
	if err := doc.checkShape(m.IsIndex()); err != nil {
		return nil, err
	}
	for _, d := range []*Descriptor{m.Config, m.Subject} {
		if d == nil {
			continue
		}
		if err := checkDescriptor(*d); err != nil {
			return nil, err
		}
	}
	if m.Layers, err = parseDescriptors(doc.Layers); err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	if m.Manifests, err = parseDescriptors(doc.Manifests); err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	return m, nil
}

// mediaType returns what the document is, given what it was said to be.
func (doc *document) mediaType(said string) (string, error) {
	if isSchema1(doc.MediaType) || doc.FSLayers != nil || doc.SchemaVersion != nil && *doc.SchemaVersion == 1 {
		return "", errSchema1
	}
	if doc.SchemaVersion != nil && *doc.SchemaVersion != 2 {
		return "", fmt.Errorf("schemaVersion %d: %w", *doc.SchemaVersion, ErrUnsupported)
	}
	if said != "" && doc.MediaType != "" && said != doc.MediaType {
		return "", fmt.Errorf("media type inside is %q, want %q", doc.MediaType, said)
	}
	mediaType := said
	if mediaType == "" {
		mediaType = doc.MediaType
	}
	switch {
	case mediaType == "" && isPresent(doc.Manifests):
		return ocispec.MediaTypeImageIndex, nil
	case mediaType == "":
		return ocispec.MediaTypeImageManifest, nil
	case !IsManifest(mediaType):
		return "", fmt.Errorf("media type %.100q: %w", mediaType, ErrUnsupported)
	}
	return mediaType, nil
}

// checkShape refuses an index that could be read as an image manifest, and the other way round.
func (doc *document) checkShape(isIndex bool) error {
	switch manifests, layers := isPresent(doc.Manifests), isPresent(doc.Layers) || doc.Config != nil; {
	case manifests && layers:
		return errors.New("both an index and an image manifest: it has manifests, and layers or a config")
	case isIndex && !manifests:
		return errors.New("an index without manifests")
	case !isIndex && manifests:
		return errors.New("an image manifest that has manifests")
	case !isIndex && doc.Config == nil:
		return errors.New("an image manifest without a config")
	}
	return nil
}

func isPresent(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// parseDescriptors decodes a JSON array one by one, so that what is refused costs no memory.
func parseDescriptors(raw json.RawMessage) ([]Descriptor, error) {
	if !isPresent(raw) {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("not an array")
	}
	var list []Descriptor
	for dec.More() {
		var d Descriptor
		if err := dec.Decode(&d); err != nil {
			return nil, err
		}
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(list), err)
		}
		list = append(list, d)
	}
	return list, nil
}

// ParseDiffIDs returns the digests of the plain layers that the image config raw lists, the lowest layer first. Like
// [ParseManifest] it refuses what two readers could understand in two ways.
func ParseDiffIDs(raw []byte) ([]digest.Digest, error) {
	config, err := parseObject(raw, []string{"rootfs"})
	if err != nil {
		return nil, err
	}
	if !isPresent(config["rootfs"]) {
		return nil, errors.New("a config without rootfs")
	}
	rootfs, err := parseObject(config["rootfs"], []string{"diff_ids"})
	if err != nil {
		return nil, fmt.Errorf("rootfs: %w", err)
	}
	var list []digest.Digest
	if !isPresent(rootfs["diff_ids"]) {
		return nil, nil
	}
	if err := json.Unmarshal(rootfs["diff_ids"], &list); err != nil {
		return nil, fmt.Errorf("diff_ids: %w", err)
	}
	for _, d := range list {
		if err := checkDigest(d); err != nil {
			return nil, fmt.Errorf("diff_ids: %w", err)
		}
	}
	return list, nil
}

func checkDescriptor(d Descriptor) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > MaxBlobSize {
		return fmt.Errorf("blob %s: size %d is not between 0 and %d", d.Digest, d.Size, int64(MaxBlobSize))
	}
	return nil
}

// parseObject returns the members of a JSON object. It refuses a key that is there twice, and one that differs from a
// known key in case only, because another reader might take the other one.
func parseObject(raw []byte, known []string) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("not a JSON object")
		}
		if _, ok := members[name]; ok {
			return nil, fmt.Errorf("key %.100q is there twice", name)
		}
		isVariant := func(k string) bool { return k != name && strings.EqualFold(k, name) }
		if i := slices.IndexFunc(known, isVariant); i >= 0 {
			return nil, fmt.Errorf("key %q is written %.100q", known[i], name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	return members, nil
}
