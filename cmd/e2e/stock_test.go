package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// maker makes images whose layers are noise, which no compressor makes smaller. The same name makes the same noise.
type maker struct {
	corpus.Layout
}

// layer makes a layer with a file of noise of size bytes.
func (m maker) layer(name string, size int) (corpus.Layer, error) {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte([]byte(digest.FromString(name).Encoded())[:32])).Read(content)
	return m.Layer(name, corpus.File{Name: name, Mode: 0o644, Content: content})
}

// newStock builds images in a folder, and fills that of a registry with them.
func newStock(ctx context.Context, dir string, build func(maker) ([]corpus.Image, error)) (stock, error) {
	layout, err := corpus.NewLayout(filepath.Join(dir, "layout"))
	if err != nil {
		return stock{}, err
	}
	images, err := build(maker{layout})
	if err != nil {
		return stock{}, err
	}
	s := stock{images: images, layout: layout, root: filepath.Join(dir, "registry")}
	return s, s.fill(ctx)
}

// manyStock builds n small images for two platforms, with a base that all share and layers of their own.
func manyStock(t *testing.T, n int) stock {
	t.Helper()
	s, err := newStock(t.Context(), t.TempDir(), func(m maker) (images []corpus.Image, err error) {
		var base corpus.Layer
		if base, err = m.layer("base", 100_000); err != nil {
			return nil, err
		}
		for i := range n {
			image := corpus.Image{Repository: fmt.Sprintf("team-%d/app-%d", i%3, i/5), Tag: fmt.Sprintf("v%d", i)}
			var manifests []ocispec.Descriptor
			for _, p := range corpus.Platforms()[:2] {
				own, err := m.layer(fmt.Sprintf("app-%d-%s", i, p.Architecture), 1000+i%50*1000)
				if err != nil {
					return nil, err
				}
				d, err := m.Image(corpus.OCI, p, []corpus.Layer{base, own}, "/app")
				if err != nil {
					return nil, err
				}
				manifests = append(manifests, d)
			}
			if image.Root, err = m.Index(corpus.OCI, manifests...); err != nil {
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

// largeLayers is how many layers the image of largeStock has, each of largeSize bytes.
const (
	largeLayers = 4
	largeSize   = 16 << 20
)

// largeStock builds, once, an image whose layers take a while.
var largeStock = sync.OnceValues(func() (stock, error) {
	return newStock(context.Background(), filepath.Join(sharedDir, "large"), func(m maker) ([]corpus.Image, error) {
		var layers []corpus.Layer
		for i := range largeLayers {
			layer, err := m.layer(fmt.Sprintf("large-%d", i), largeSize)
			if err != nil {
				return nil, err
			}
			layers = append(layers, layer)
		}
		image := corpus.Image{Repository: "team/large", Tag: "1"}
		var err error
		image.Root, err = m.Image(corpus.OCI, corpus.Platforms()[0], layers, "/large")
		return []corpus.Image{image}, err
	})
})

// foreignStock builds images with a layer as those of Windows have it, in both families of media types. The registry has
// got it all the same, as Microsoft's does.
func foreignStock(t *testing.T) stock {
	t.Helper()
	s, err := newStock(t.Context(), t.TempDir(), func(m maker) (images []corpus.Image, err error) {
		base, err := m.layer("windows", 100_000)
		if err != nil {
			return nil, err
		}
		base.URLs = []string{"https://mcr.invalid/v2/windows/blobs/" + base.Descriptor.Digest.String()}
		own, err := m.layer("app", 10_000)
		if err != nil {
			return nil, err
		}
		windows := ocispec.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"}
		for i, flavour := range []corpus.Flavour{corpus.Docker, corpus.OCI} {
			image := corpus.Image{Repository: fmt.Sprintf("windows/app-%d", i), Tag: "1"}
			if image.Root, err = m.Image(flavour, windows, []corpus.Layer{base, own}, "app.exe"); err != nil {
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
