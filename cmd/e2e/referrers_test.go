package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// artifact puts an artifact about subject into a repository, by its digest, and returns its descriptor. Named, it is what
// cosign puts under a tag, and does not say what it is about.
func (w *world) artifact(to wire.Registry, image corpus.Image, text, tag string) ocispec.Descriptor {
	w.Helper()
	blob := func(content string) ocispec.Descriptor {
		id := digest.FromString(content)
		err := to.PushBlob(w.Context(), image.Repository, id, strings.NewReader(content), int64(len(content)))
		if err != nil {
			w.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: "application/vnd.e2e.text", Digest: id, Size: int64(len(content))}
	}
	config := blob("{}")
	config.MediaType = ocispec.MediaTypeEmptyJSON
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.e2e." + text, Config: config, Layers: []ocispec.Descriptor{blob(text)},
	}
	if tag == "" {
		manifest.Subject = &ocispec.Descriptor{
			MediaType: image.Root.MediaType, Digest: image.Root.Digest, Size: image.Root.Size,
		}
	}
	d := w.push(to, image.Repository, tag, ocispec.MediaTypeImageManifest, manifest)
	d.ArtifactType = manifest.ArtifactType
	return d
}

// push puts a manifest into a repository, under its digest when there is no tag.
func (w *world) push(to wire.Registry, repository, tag, mediaType string, manifest any) ocispec.Descriptor {
	w.Helper()
	raw, err := json.Marshal(manifest)
	if err != nil {
		w.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if tag == "" {
		tag = d.Digest.String()
	}
	if err := to.PushManifest(w.Context(), repository, tag, mediaType, raw); err != nil {
		w.Fatal(err)
	}
	return d
}

// What belongs to an image arrives with it, under cosign's tag and under the fallback tag, in registries that know
// nothing of referrers. What the fallback tag named at the target before, it still names.
func TestReferrers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		commands [][]string
	}{
		{"pack, unpack", [][]string{{"pack", "-f", "images.list", "-o", "k8s.tar.zst"}, {"unpack", "k8s.tar.zst"}}},
		{"copy", [][]string{{"copy", "-f", "images.list"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, manyStock(t, 2), distribution.Options{}, distribution.Options{})
			image := w.images[0]
			from, to := wire.Registry{URL: w.source.URL()}, wire.Registry{URL: w.target.URL()}
			tag := strings.Replace(image.Root.Digest.String(), ":", "-", 1)
			signature := w.artifact(from, image, "signature", tag+".sig")
			sbom := w.artifact(from, image, "sbom", "")
			index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
			index.Manifests = []ocispec.Descriptor{sbom}
			w.push(from, image.Repository, tag, index.MediaType, index)

			there := image
			there.Repository = prefix + "/" + image.Repository
			older := w.artifact(to, there, "scan", "")
			index.Manifests = []ocispec.Descriptor{older}
			w.push(to, there.Repository, tag, index.MediaType, index)

			for _, command := range test.commands {
				if command[0] != "pack" {
					command = append(command, w.to())
				}
				w.ok(command...)
			}
			w.arrived()
			if d, _, err := to.Manifest(t.Context(), there.Repository, tag+".sig"); err != nil || d.Digest != signature.Digest {
				t.Errorf("the signature at the target is %s (%v), want %s", d.Digest, err, signature.Digest)
			}
			_, raw, err := to.Manifest(t.Context(), there.Repository, tag)
			if err != nil {
				t.Fatal(err)
			}
			named, _, err := wire.Children(raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []digest.Digest{sbom.Digest, older.Digest} {
				if !slices.ContainsFunc(named, func(d ocispec.Descriptor) bool { return d.Digest == want }) {
					t.Errorf("the fallback tag at the target does not name %s: %s", want, raw)
				}
				if _, _, err := to.Manifest(t.Context(), there.Repository, want.String()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
