package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/faults"
)

// manyStock builds n small images for two platforms, with a base that all share and layers of their own.
func manyStock(t *testing.T, n int) stock {
	t.Helper()
	dir := t.TempDir()
	layout, err := corpus.NewLayout(filepath.Join(dir, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	s := stock{layout: layout, root: filepath.Join(dir, "registry")}
	random := rand.NewChaCha8([32]byte{'s', 'o', 'a', 'k'})
	layer := func(name string, size int) corpus.Layer {
		content := make([]byte, size)
		_, _ = random.Read(content)
		made, err := layout.Layer(name, corpus.File{Name: name, Mode: 0o644, Content: content})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	platforms := corpus.Platforms()[:2]
	var bases []corpus.Layer
	for _, p := range platforms {
		bases = append(bases, layer("base-"+p.Architecture, 100_000))
	}
	for i := range n {
		image := corpus.Image{Repository: fmt.Sprintf("team-%d/app-%d", i%3, i/5), Tag: fmt.Sprintf("v%d", i)}
		var manifests []ocispec.Descriptor
		for j, p := range platforms {
			own := layer(fmt.Sprintf("app-%d-%s", i, p.Architecture), 1000+i%50*1000)
			d, err := layout.Image(corpus.OCI, p, []corpus.Layer{bases[j], own}, "/app")
			if err != nil {
				t.Fatal(err)
			}
			manifests = append(manifests, d)
		}
		if image.Root, err = layout.Index(corpus.OCI, manifests...); err != nil {
			t.Fatal(err)
		}
		s.images = append(s.images, image)
	}
	if err := s.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// badShare is how many of the requests fail.
const badShare = 0.05

// Registries at both ends that fail one request in twenty: no image is lost, and none is wrong.
func TestSoak(t *testing.T) {
	s := manyStock(t, rounds(20, 200))
	for seed := range rounds(1, 3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			source := faults.New(faults.Options{Seed: uint64(seed), Share: badShare})
			target := faults.New(faults.Options{Seed: uint64(seed + 100), Share: badShare})
			w := newWorldOf(t, s, distribution.Options{Wrap: source.Wrap}, distribution.Options{Wrap: target.Wrap})
			w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
			w.survived("pack", source)
			w.ok("verify", "k8s.tar.zst")
			w.ok("unpack", "k8s.tar.zst", w.to())
			w.survived("unpack", target)
			w.arrived()
		})
	}
}

// survived tells what a command met, which must have been something.
func (w *world) survived(command string, front *faults.Front) {
	w.Helper()
	failed, asked := front.Made()
	w.Logf("%s: of %d requests failed %v", command, asked, failed)
	if len(failed) == 0 {
		w.Errorf("%s met no trouble in %d requests", command, asked)
	}
}
