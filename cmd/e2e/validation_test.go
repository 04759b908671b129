package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// named returns the image of a repository.
func (w *world) named(repository string) corpus.Image {
	w.Helper()
	i := slices.IndexFunc(w.images, func(image corpus.Image) bool { return image.Repository == repository })
	if i < 0 {
		w.Fatalf("no image %s", repository)
	}
	return w.images[i]
}

// A registry takes no index that names what it does not have; what --platform leaves of one is whole.
func TestPlatformsForAStrictRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "--platform", "linux/amd64", "-o", "amd64.tar.zst")
	w.ok("unpack", "amd64.tar.zst", w.to())
	w.tagsAreWhole()
	to := w.witness(w.targetRoot)
	for _, image := range w.images {
		if image.Pinned {
			continue // keeps all platforms, as its digest does
		}
		end := compare.End{Registry: to, Repository: prefix + "/" + image.Repository, Reference: image.Tag}
		got, err := compare.Image(t.Context(), end, end)
		if err != nil {
			t.Error(err)
		}
		if index := image.Root.MediaType == corpus.OCI.Index || image.Root.MediaType == corpus.Docker.Index; index &&
			!slices.Equal(got.Platforms, []string{"linux/amd64"}) {
			t.Errorf("%s: platforms %v at the target", image.Repository, got.Platforms)
		}
	}
}

// holed puts an image into a registry without one of its platforms, and returns the digest that is missing.
func (w *world) holed(to wire.Registry, image corpus.Image, architecture string) digest.Digest {
	w.Helper()
	raw, err := os.ReadFile(w.layout.Path(image.Root.Digest))
	if err != nil {
		w.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		w.Fatal(err)
	}
	var missing digest.Digest
	var there []corpus.Image
	for _, child := range index.Manifests {
		if child.Platform.Architecture == architecture {
			missing = child.Digest
			continue
		}
		there = append(there, corpus.Image{Repository: image.Repository, Tag: child.Digest.String(), Root: child})
	}
	if err := w.layout.Push(w.Context(), to, there); err != nil {
		w.Fatal(err)
	}
	if err := to.PushManifest(w.Context(), image.Repository, image.Tag, image.Root.MediaType, raw); err != nil {
		w.Fatal(err)
	}
	return missing
}

// An index with a hole cannot travel as it is, and ferry says what is missing; without that platform it does.
func TestIndexWithAHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	loose := startRegistry(t, distribution.Options{AnyIndex: true})
	image := w.named("library/tools")
	missing := w.holed(wire.Registry{URL: loose.URL()}, image, "s390x")
	w.write("images.list", image.Reference(loose.Host())+"\n")
	w.expect(4, w.ferry("pack", "-f", "images.list", "-o", "all.tar.zst"), missing.String())
	w.ok("pack", "-f", "images.list", "--platform", "linux/amd64,linux/arm64", "-o", "two.tar.zst")
	w.ok("unpack", "two.tar.zst", w.to())
	w.tagsAreWhole()
	if tags, err := w.witness(w.targetRoot).Tags(t.Context(), prefix+"/"+image.Repository); err != nil ||
		strings.Join(tags, " ") != image.Tag {
		t.Errorf("tags at the target: %v, %v", tags, err)
	}
}

// Images with foreign layers travel whole, to a registry that allows their URLs. One that does not allow them, as by
// default, is heard.
func TestForeignLayers(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, foreignStock(t), distribution.Options{}, distribution.Options{AllowURLs: []string{"^https://mcr\\."}})
	w.ok("pack", "-f", "images.list", "-o", "windows.tar.zst")
	w.ok("unpack", "windows.tar.zst", w.to())
	w.arrived()
	strict := startRegistry(t, distribution.Options{})
	w.expect(1, w.ferry("unpack", "windows.tar.zst", strict.Host()+"/"+prefix), "invalid URL on layer", "validation.manifests.urls.allow")
	w.expect(0, w.ferry("unpack", "--rewrite-foreign-layers", "windows.tar.zst", strict.Host()+"/"+prefix), "rewritten: ")
}
