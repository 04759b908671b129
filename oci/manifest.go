package oci

import (
	"errors"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var errNotYet = errors.New("not written yet")

// ErrUnsupported comes back for content that ferry knows and cannot carry, such as a schema 1 manifest.
var ErrUnsupported = errors.New("unsupported")

// Media types of Docker's image manifest version 2, schema 2.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// MaxManifestSize is the largest manifest or index that is read, in bytes. CNCF distribution takes no larger one.
const MaxManifestSize = 4 << 20

// IsManifest reports whether mediaType is that of an image manifest or an index, OCI's or Docker's.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest || IsIndex(mediaType)
}

// IsIndex reports whether mediaType is that of an OCI index or a Docker manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerList
}

// Manifest is an image manifest or an index, as far as ferry looks into it.
type Manifest struct {
	MediaType    string
	ArtifactType string
	Config       *Descriptor
	Layers       []Descriptor // of an image manifest
	Manifests    []Descriptor // of an index
	Subject      *Descriptor
	Annotations  map[string]string
}

// ParseManifest reads the manifest or index raw.
func ParseManifest(mediaType string, raw []byte) (*Manifest, error) { return nil, errNotYet }
