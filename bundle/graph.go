package bundle

import (
	"context"
	"fmt"
	"io"
	"reflect"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Graph returns the graph of an image of the bundle, its manifests read and proven.
func (b *Bundle) Graph(ctx context.Context, img Image) (*oci.Node, error) {
	return graph(ctx, fetcher(b), b.layout.head, b.blobs, img)
}

// Graph returns the graph of an image of the bundle.
func (s *Stream) Graph(ctx context.Context, img Image) (*oci.Node, error) {
	return graph(ctx, fetcher(s), s.layout.head, s.blobs, img)
}

// fetchFunc reads a manifest.
type fetchFunc = func(ctx context.Context, d oci.Descriptor) ([]byte, error)

// fetcher reads manifests from src.
func fetcher(src oci.Source) fetchFunc {
	return func(ctx context.Context, d oci.Descriptor) ([]byte, error) {
		r, err := src.Open(ctx, oci.Repository{}, d, 0)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.LimitReader(r, oci.MaxManifestSize+1))
	}
}

// graph loads the graph of img and proves that ferry.json describes it.
func graph(ctx context.Context, fetch fetchFunc, h *Head, at map[digest.Digest]int, img Image) (*oci.Node, error) {
	root, err := oci.LoadGraph(ctx, fetch, img.Descriptor())
	if err != nil {
		return nil, err
	}
	return root, compareGraph(root, img, h, at)
}

// checkBlobs proves that every blob of the graph is in the bundle.
func checkBlobs(root *oci.Node, h *Head, at map[digest.Digest]int) error {
	for _, d := range root.Blobs() {
		i, ok := at[d.Digest]
		if !ok {
			return fmt.Errorf("blob %s is not in the bundle", d.Digest)
		}
		if has := h.Blob(i); has.Size != d.Size {
			return fmt.Errorf("blob %s has %d bytes in its manifest and %d in the bundle", d.Digest, d.Size, has.Size)
		}
	}
	return nil
}

// compareGraph proves that ferry.json says of an image what its manifests say, and that every blob is there.
func compareGraph(root *oci.Node, img Image, h *Head, at map[digest.Digest]int) error {
	if err := checkBlobs(root, h, at); err != nil {
		return err
	}
	setPlatforms(root, img.Manifests)
	want, err := newManifests(root, at)
	if err != nil {
		return err
	}
	if len(want) == len(img.Manifests) {
		for i := range want {
			want[i].Plain = img.Manifests[i].Plain // the manifest says nothing of it
		}
	}
	if !reflect.DeepEqual(want, img.Manifests) {
		return fmt.Errorf("%s does not say of it what its manifests say", headName)
	}
	return nil
}

// setPlatforms gives the manifests the platforms that ferry.json has for them. They count only where no index tells the platform
// and the config would have to be read.
func setPlatforms(root *oci.Node, manifests []Manifest) {
	platforms := map[digest.Digest]string{}
	for _, m := range manifests {
		platforms[m.Digest] = m.Platform
	}
	_ = root.Walk(func(n *oci.Node) error { // never fails, since its function does not
		if p, err := oci.ParsePlatform(platforms[n.Digest]); err == nil {
			n.ConfigPlatform = &p
		}
		return nil
	})
}
