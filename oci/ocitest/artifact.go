package ocitest

import (
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// Types of the artifacts of tests.
const (
	SignatureType = "application/vnd.cncf.notary.signature"
	SBOMType      = "application/spdx+json"

	cosignLayerType = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// Artifact returns an OCI artifact of the given type, with the empty config. It is about subject unless that is nil.
func Artifact(artifactType string, subject *Graph, blobs ...Blob) *Graph {
	config := NewBlob(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	return artifact(ocispec.Manifest{
		ArtifactType: artifactType, Config: config.Descriptor,
		Annotations: map[string]string{"org.opencontainers.image.created": "2026-11-23T10:00:00Z"},
	}, subject, config, blobs)
}

// Referrer returns a small artifact about subject, which differs for each text.
func Referrer(artifactType string, subject *Graph, text string) *Graph {
	return Artifact(artifactType, subject, NewBlob(artifactType, []byte(text)))
}

// CosignSignature returns what cosign puts under the tag sha256-<hex>.sig of subject: a manifest that does not name it.
func CosignSignature(subject *Graph) *Graph {
	config := NewBlob(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}`))
	claim := NewBlob(cosignLayerType, []byte(`{"critical":{"image":{"docker-manifest-digest":"`+subject.Digest.String()+`"}}}`))
	return artifact(ocispec.Manifest{Config: config.Descriptor}, nil, config, []Blob{claim})
}

// CosignTag returns the tag of subject's cosign signature.
func CosignTag(subject *Graph) string { return oci.FallbackTag(subject.Digest) + ".sig" }

func artifact(m ocispec.Manifest, subject *Graph, config Blob, blobs []Blob) *Graph {
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	m.Layers = []oci.Descriptor{}
	for _, b := range blobs {
		m.Layers = append(m.Layers, b.Descriptor)
	}
	if subject != nil {
		d := subject.Descriptor
		d.Annotations = nil
		m.Subject = &d
	}
	return &Graph{
		Blob: NewBlob(m.MediaType, marshal(m)), Blobs: append([]Blob{config}, blobs...),
		manifest: &oci.Manifest{
			MediaType: m.MediaType, ArtifactType: m.ArtifactType, Config: &m.Config, Layers: m.Layers, Subject: m.Subject,
			Annotations: m.Annotations,
		},
	}
}
