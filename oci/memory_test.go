package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// memory is a registry in memory: it holds the blobs that its methods make, and counts what is asked for.
type memory struct {
	t     testing.TB
	blobs map[digest.Digest][]byte
	tags  map[string]Descriptor // by Reference.Name, or by Reference.String where that is there

	mu       sync.Mutex
	opened   map[digest.Digest]int
	resolved map[string]int
}

func newMemory(t testing.TB) *memory {
	return &memory{
		t: t, blobs: map[digest.Digest][]byte{}, tags: map[string]Descriptor{},
		opened: map[digest.Digest]int{}, resolved: map[string]int{},
	}
}

func (m *memory) Open(_ context.Context, _ Repository, d Descriptor, offset int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened[d.Digest]++
	raw, ok := m.blobs[d.Digest]
	if !ok {
		return nil, ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(raw[offset:])), nil
}

func (m *memory) Resolve(_ context.Context, ref Reference) (Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resolved[ref.String()]++
	if d, ok := m.tags[ref.String()]; ok {
		return d, nil
	}
	return Descriptor{}, ErrNotFound
}

// fetch is for LoadGraph.
func (m *memory) fetch(ctx context.Context, d Descriptor) ([]byte, error) {
	r, err := m.Open(ctx, Repository{}, d, 0)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (m *memory) blob(mediaType, content string) Descriptor {
	d := Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	m.blobs[d.Digest] = []byte(content)
	return d
}

func (m *memory) json(mediaType string, v any) Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.blob(mediaType, string(raw))
}

func (m *memory) manifest(config Descriptor, layers ...string) Descriptor {
	doc := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config}
	for _, l := range layers {
		doc.Layers = append(doc.Layers, m.blob(ocispec.MediaTypeImageLayerGzip, l))
	}
	return m.json(doc.MediaType, doc)
}

// image returns an image for platform, which only its config tells.
func (m *memory) image(platform string, layers ...string) Descriptor {
	p := mustPlatform(m.t, platform)
	config := m.json(ocispec.MediaTypeImageConfig, map[string]string{
		"os": p.OS, "architecture": p.Architecture, "variant": p.Variant, "made of": fmt.Sprint(layers),
	})
	return m.manifest(config, layers...)
}

// imageFor is image with the platform in its descriptor, as in an entry of an index.
func (m *memory) imageFor(platform string, layers ...string) Descriptor {
	d := m.image(platform, layers...)
	p := mustPlatform(m.t, platform)
	d.Platform = &p
	return d
}

// attestation returns one as BuildKit lists it beside the image that it is about.
func (m *memory) attestation(about Descriptor) Descriptor {
	text := "about " + about.Digest.String()
	d := m.manifest(m.blob(ocispec.MediaTypeImageConfig, `{"os":"unknown","architecture":"unknown"}`), text)
	d.Platform = &Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{
		annotationReferenceType: attestationManifest, annotationReferenceDigest: about.Digest.String(),
	}
	return d
}

func (m *memory) index(entries ...Descriptor) Descriptor {
	return m.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries,
	})
}

func (m *memory) load(d Descriptor) *Node {
	m.t.Helper()
	n, err := LoadGraph(m.t.Context(), m.fetch, d)
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func mustPlatform(t testing.TB, s string) Platform {
	t.Helper()
	p, err := ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustReference(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var errTest = errors.New("test fault")
