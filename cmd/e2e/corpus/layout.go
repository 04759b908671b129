// Package corpus makes real multi-architecture images, keeps them in an OCI image layout on disk and puts them into a
// registry.
//
// [Demo] builds the images of `make demo` and of the stories from programs that the Go toolchain cross-compiles; other
// sets are put together from [Layout.Layer], [Layout.Image] and [Layout.Index]. The same input gives the same digests.
package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is an OCI image layout on disk.
type Layout struct {
	Dir string
	// Gzip compresses layers; nil is Go's own gzip.
	Gzip func(io.Writer) (io.WriteCloser, error)
}

// NewLayout makes dir, which may exist, an image layout.
func NewLayout(dir string) (Layout, error) {
	l := Layout{Dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return Layout{}, err
	}
	content := []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
	return l, os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), content, 0o644)
}

// Path returns the file of a blob.
func (l Layout) Path(id digest.Digest) string {
	return filepath.Join(l.Dir, "blobs", id.Algorithm().String(), id.Encoded())
}

// Put stores content as a blob.
func (l Layout) Put(mediaType string, content []byte) (ocispec.Descriptor, error) {
	return l.PutStream(mediaType, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	})
}

// PutStream stores what write writes as a blob.
func (l Layout) PutStream(mediaType string, write func(io.Writer) error) (ocispec.Descriptor, error) {
	f, err := os.CreateTemp(l.Dir, "blob-*")
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	digester := digest.SHA256.Digester()
	size := &counter{}
	err = write(io.MultiWriter(f, digester.Hash(), size))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return ocispec.Descriptor{}, errors.Join(err, os.Remove(f.Name()))
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digester.Digest(), Size: size.n}
	return d, os.Rename(f.Name(), l.Path(d.Digest))
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// WriteIndex writes index.json, which names images, each as repository:tag.
func (l Layout) WriteIndex(images []Image) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, image := range images {
		d := image.Root
		d.Annotations = map[string]string{
			ocispec.AnnotationRefName: image.Repository + ":" + image.Tag,
			annotationComment:         image.Comment,
		}
		if image.Pinned {
			d.Annotations[annotationPinned] = "true"
		}
		index.Manifests = append(index.Manifests, d)
	}
	raw, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Dir, ocispec.ImageIndexFile), raw, 0o644)
}
