package corpus

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// Image is a name and what it names: a manifest or an index in a [Layout].
type Image struct {
	Repository string // as in sig-storage/csi/attacher
	Tag        string
	Pinned     bool   // lists name the image by digest instead of tag
	Comment    string // stands above the image in lists
	Root       ocispec.Descriptor
}

// Reference returns the name of the image on a registry.
func (i Image) Reference(host string) string {
	if i.Pinned {
		return host + "/" + i.Repository + "@" + i.Root.Digest.String()
	}
	return host + "/" + i.Repository + ":" + i.Tag
}

// Flavour is a family of media types.
type Flavour struct {
	Index, Manifest, Config, Layer string
	Foreign                        string // a layer that has URLs, and that registries need not hold
}

// The two flavours that registries hold.
var (
	OCI = Flavour{
		Index:    ocispec.MediaTypeImageIndex,
		Manifest: ocispec.MediaTypeImageManifest,
		Config:   ocispec.MediaTypeImageConfig,
		Layer:    ocispec.MediaTypeImageLayerGzip,
		Foreign:  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	}
	Docker = Flavour{
		Index:    wire.DockerIndex,
		Manifest: wire.DockerManifest,
		Config:   wire.DockerConfig,
		Layer:    wire.DockerLayer,
		Foreign:  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	}
)

// created is the time in all configs; the images must not depend on the clock.
var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Image stores config and manifest of an image for one platform and returns the descriptor of the manifest, with the
// platform.
func (l Layout) Image(f Flavour, p ocispec.Platform, layers []Layer, entrypoint ...string) (ocispec.Descriptor, error) {
	config := ocispec.Image{
		Created:  &created,
		Platform: p,
		Config: ocispec.ImageConfig{
			Entrypoint: entrypoint,
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.Manifest}
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.DiffID)
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: layer.Story})
		d := layer.Descriptor
		d.MediaType = cmp.Or(layer.MediaType, f.Layer)
		if len(layer.URLs) > 0 {
			d.MediaType, d.URLs = f.Foreign, layer.URLs
		}
		manifest.Layers = append(manifest.Layers, d)
	}
	var err error
	if manifest.Config, err = l.putJSON(f.Config, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := l.putJSON(f.Manifest, manifest)
	d.Platform = &p
	return d, err
}

// Index stores an index over manifests and returns its descriptor.
func (l Layout) Index(f Flavour, manifests ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	return l.putJSON(f.Index, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: f.Index,
		Manifests: manifests,
	})
}

// Attestation stores an attestation about the manifest subject, in the form in which buildx puts it into an index
// beside its images.
func (l Layout) Attestation(subject ocispec.Descriptor) (ocispec.Descriptor, error) {
	statement, err := l.putJSON("application/vnd.in-toto+json", map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject": []any{map[string]any{
			"name":   "pkg:docker/image",
			"digest": map[string]string{"sha256": subject.Digest.Encoded()},
		}},
		"predicate": map[string]any{"buildType": "https://mobyproject.org/buildkit@v1"},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	statement.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
	unknown := ocispec.Platform{Architecture: "unknown", OS: "unknown"}
	config, err := l.putJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: unknown,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{statement.Digest}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := l.putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    []ocispec.Descriptor{statement},
	})
	d.Platform = &unknown
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": subject.Digest.String(),
	}
	return d, err
}

func (l Layout) putJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.Put(mediaType, raw)
}
