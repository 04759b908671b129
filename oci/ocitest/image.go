package ocitest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// Blob is a blob with its bytes.
type Blob struct {
	oci.Descriptor
	Bytes  []byte
	DiffID digest.Digest // of a layer: the digest of the plain tar
}

// NewBlob returns raw as a blob.
func NewBlob(mediaType string, raw []byte) Blob {
	d := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return Blob{Descriptor: d, Bytes: raw}
}

// Random returns n bytes that do not compress, the same for the same seed.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// zippers holds writers for reuse: a new one costs more than the small layers of tests.
var zippers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// Layer returns a gzip layer with the given files, by name. The same files make the same bytes, with one version of Go.
func Layer(files map[string]string) Blob {
	var plain bytes.Buffer
	tw := tar.NewWriter(&plain)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		must(tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(0, 0)}))
		_, err := tw.Write([]byte(files[name]))
		must(err)
	}
	must(tw.Close())
	var zipped bytes.Buffer
	zw := zippers.Get().(*gzip.Writer)
	defer zippers.Put(zw)
	zw.Reset(&zipped)
	_, err := zw.Write(plain.Bytes())
	must(err)
	must(zw.Close())
	b := NewBlob(ocispec.MediaTypeImageLayerGzip, zipped.Bytes())
	b.DiffID = digest.FromBytes(plain.Bytes())
	return b
}

// RandomLayer returns a gzip layer of a little more than size bytes, which differ for each seed.
func RandomLayer(seed uint64, size int) Blob {
	return Layer(map[string]string{fmt.Sprintf("data/%d", seed): string(Random(seed, size))})
}

// Graph is a manifest or index with all that it needs. It is the root's bytes and descriptor, too.
type Graph struct {
	Blob
	Platform *oci.Platform // of an image manifest
	Children []*Graph      // of an index
	Blobs    []Blob        // of an image manifest: its config and layers

	manifest *oci.Manifest
}

// Image returns an OCI image for the platform made of layers.
func Image(p oci.Platform, layers ...Blob) *Graph {
	return image(ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: p}, layers)
}

// LabelledImage is Image that tells when it was made, and has labels.
func LabelledImage(p oci.Platform, created time.Time, labels map[string]string, layers ...Blob) *Graph {
	c := ocispec.Image{Platform: p, Created: &created, Config: ocispec.ImageConfig{Labels: labels}}
	return image(ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, c, layers)
}

// DockerImage is Image with Docker's media types.
func DockerImage(p oci.Platform, layers ...Blob) *Graph {
	docker := slices.Clone(layers)
	for i := range docker {
		docker[i].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	}
	return image(oci.MediaTypeDockerManifest, oci.MediaTypeDockerConfig, ocispec.Image{Platform: p}, docker)
}

func image(mediaType, configType string, c ocispec.Image, layers []Blob) *Graph {
	c.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Layers: []oci.Descriptor{}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, l.Descriptor)
	}
	config := NewBlob(configType, marshal(c))
	m.Config = config.Descriptor
	return &Graph{
		Blob: NewBlob(mediaType, marshal(m)), Platform: &c.Platform, Blobs: append([]Blob{config}, layers...),
		manifest: &oci.Manifest{MediaType: mediaType, Config: &m.Config, Layers: m.Layers},
	}
}

// Index returns an OCI index of the children.
func Index(children ...*Graph) *Graph { return index(ocispec.MediaTypeImageIndex, children) }

// DockerList returns a Docker manifest list of the children.
func DockerList(children ...*Graph) *Graph { return index(oci.MediaTypeDockerList, children) }

func index(mediaType string, children []*Graph) *Graph {
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: []oci.Descriptor{}}
	for _, c := range children {
		d := c.Descriptor
		d.Platform = c.Platform
		x.Manifests = append(x.Manifests, d)
	}
	return &Graph{
		Blob: NewBlob(mediaType, marshal(x)), Children: children,
		manifest: &oci.Manifest{MediaType: mediaType, Manifests: x.Manifests},
	}
}

// Platforms of the images that most tests use.
var (
	AMD64 = oci.Platform{OS: "linux", Architecture: "amd64"}
	ARM64 = oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
)

// MultiArch returns an index of an amd64 and an arm64 image of small layers: on each platform base layers of its own,
// the same for the same base, and one more layer, the same for the same name.
func MultiArch(base uint64, name string) *Graph {
	var children []*Graph
	for i, p := range []oci.Platform{AMD64, ARM64} {
		children = append(children, Image(p,
			RandomLayer(2*base+uint64(i), 3000),
			Layer(map[string]string{"app": name + " on " + p.Architecture}),
		))
	}
	return Index(children...)
}

// Node returns the graph as the room oci walks it.
func (g *Graph) Node() *oci.Node {
	n := &oci.Node{Descriptor: g.Descriptor, Raw: g.Bytes, Manifest: g.manifest}
	for _, c := range g.Children {
		n.Children = append(n.Children, c.Node())
	}
	return n
}

// All returns every blob of the graph once, in an order in which they can be pushed: the root is last.
func (g *Graph) All() []Blob {
	var all []Blob
	seen := map[digest.Digest]bool{}
	g.walk(func(b Blob) {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			all = append(all, b)
		}
	})
	return all
}

func (g *Graph) walk(fn func(Blob)) {
	for _, c := range g.Children {
		c.walk(fn)
	}
	for _, b := range g.Blobs {
		fn(b)
	}
	fn(g.Blob)
}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	must(err)
	return raw
}

// must is for what cannot fail: writing to memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
