package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// singleStock builds images for one platform, each a manifest and no index, with names that say nothing of it.
func singleStock(t *testing.T, p ocispec.Platform) stock {
	t.Helper()
	s, err := newStock(t.Context(), t.TempDir(), func(m maker) (images []corpus.Image, err error) {
		for i, flavour := range []corpus.Flavour{corpus.OCI, corpus.Docker, corpus.OCI} {
			layer, err := m.layer(fmt.Sprintf("app-%d-%s", i, p.Architecture), 10_000)
			if err != nil {
				return nil, err
			}
			image := corpus.Image{Repository: fmt.Sprintf("team/app-%d", i), Tag: "v1"}
			if image.Root, err = m.Image(flavour, p, []corpus.Layer{layer}, "/app"); err != nil {
				return nil, err
			}
			images = append(images, image)
		}
		return images, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Two registries that hold the same names for one architecture each become one: by bundles that are merged, or by copies
// that each add to what the target has.
func TestTwoArchitecturesBecomeOne(t *testing.T) {
	t.Parallel()
	platforms := corpus.Platforms()[:2]
	first, second := singleStock(t, platforms[0]), singleStock(t, platforms[1])
	w := newWorldOf(t, first, distribution.Options{}, distribution.Options{})
	other := startRegistry(t, distribution.Options{Root: second.root})
	w.write("second.list", corpus.List(other.Host(), second.images))

	w.ok("pack", "-f", "images.list", "-o", "first.tar.zst")
	w.ok("pack", "-f", "second.list", "-o", "second.tar.zst")
	w.ok("merge", "first.tar.zst", "second.tar.zst", "-o", "all.tar.zst")
	w.ok("verify", "all.tar.zst")
	w.ok("unpack", "all.tar.zst", w.to())
	w.mergedFrom(w.targetRoot, second)

	root := t.TempDir()
	target := startRegistry(t, distribution.Options{Root: root})
	w.ok("copy", "-f", "images.list", target.Host()+"/"+prefix, "--merge-platforms")
	w.ok("copy", "-f", "second.list", target.Host()+"/"+prefix, "--merge-platforms")
	w.mergedFrom(root, second)
}

// mergedFrom proves that each image at the target is an index of the story's own manifest and that of another stock, and
// is all there.
func (w *world) mergedFrom(targetRoot string, other stock) {
	w.Helper()
	to := w.witness(targetRoot)
	for i, image := range w.images {
		end := compare.End{Registry: to, Repository: prefix + "/" + image.Repository, Reference: image.Tag}
		got, err := compare.Image(w.Context(), end, end)
		if err != nil {
			w.Errorf("%s: %v", image.Repository, err)
			continue
		}
		_, raw, err := to.Manifest(w.Context(), end.Repository, end.Reference)
		if err != nil {
			w.Fatal(err)
		}
		children, _, err := wire.Children(raw)
		if err != nil {
			w.Fatal(err)
		}
		var ids []digest.Digest
		for _, child := range children {
			ids = append(ids, child.Digest)
		}
		want := []digest.Digest{image.Root.Digest, other.images[i].Root.Digest}
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) {
			w.Errorf("%s: an index of %v (%v), want %v", image.Repository, ids, got.Platforms, want)
		}
	}
}
