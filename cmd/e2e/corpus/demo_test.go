package corpus_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// demo builds the demo's images.
func demo(t *testing.T) (corpus.Layout, []corpus.Image) {
	t.Helper()
	l, err := corpus.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	images, err := corpus.Demo(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return l, images
}

func TestDemo(t *testing.T) {
	l, images := demo(t)

	t.Run("same digests every time", func(t *testing.T) {
		if _, again := demo(t); !reflect.DeepEqual(images, again) {
			t.Errorf("built %v, then %v", images, again)
		}
	})
	t.Run("index.json names the images", func(t *testing.T) {
		if got, err := l.Images(); err != nil || !reflect.DeepEqual(images, got) {
			t.Errorf("got %v, %v; want %v", got, err, images)
		}
	})
	t.Run("kinds of images that stories rely on", func(t *testing.T) { checkVariety(t, l, images) })
	t.Run("blobs are what their names say", func(t *testing.T) { checkBlobs(t, l) })
	t.Run("configs name the layers as they are unpacked", func(t *testing.T) {
		for _, image := range images {
			checkLayers(t, l, image.Root)
		}
	})
	t.Run("a registry takes them", func(t *testing.T) { checkPush(t, l, images) })
}

// checkVariety looks for the kinds of images that stories rely on.
func checkVariety(t *testing.T, l corpus.Layout, images []corpus.Image) {
	kinds := map[string]bool{}
	users := map[digest.Digest]map[string]bool{} // of each layer
	for _, image := range images {
		kinds[image.Root.MediaType] = true
		kinds["pinned"] = kinds["pinned"] || image.Pinned
		kinds["segments "+string(rune('1'+strings.Count(image.Repository, "/")))] = true
		walk(t, l, image.Root, func(d ocispec.Descriptor, blobs []ocispec.Descriptor) {
			kinds["attestation"] = kinds["attestation"] || d.Annotations["vnd.docker.reference.digest"] != ""
			for _, b := range blobs {
				if users[b.Digest] == nil {
					users[b.Digest] = map[string]bool{}
				}
				users[b.Digest][image.Repository] = true
			}
		})
	}
	for _, want := range []string{
		wire.DockerIndex, wire.DockerManifest, ocispec.MediaTypeImageIndex,
		"pinned", "attestation", "segments 1", "segments 2", "segments 3",
	} {
		if !kinds[want] {
			t.Errorf("no image is a %s", want)
		}
	}
	shared := 0
	for _, u := range users {
		shared = max(shared, len(u))
	}
	if shared < 3 {
		t.Errorf("no layer is shared by more than %d images", shared)
	}
}

// walk visits the manifests under d, and d.
func walk(t *testing.T, l corpus.Layout, d ocispec.Descriptor, visit func(ocispec.Descriptor, []ocispec.Descriptor)) {
	t.Helper()
	raw, err := os.ReadFile(l.Path(d.Digest))
	if err != nil {
		t.Fatal(err)
	}
	manifests, blobs, err := wire.Children(raw)
	if err != nil {
		t.Fatal(err)
	}
	visit(d, blobs)
	for _, m := range manifests {
		walk(t, l, m, visit)
	}
}

func checkBlobs(t *testing.T, l corpus.Layout) {
	entries, err := os.ReadDir(l.Dir + "/blobs/sha256")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(l.Path(digest.NewDigestFromEncoded(digest.SHA256, entry.Name())))
		if err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(content); got.Encoded() != entry.Name() {
			t.Errorf("blob %s has digest %s", entry.Name(), got)
		}
	}
}

func checkLayers(t *testing.T, l corpus.Layout, root ocispec.Descriptor) {
	walk(t, l, root, func(d ocispec.Descriptor, blobs []ocispec.Descriptor) {
		if len(blobs) == 0 || d.Annotations["vnd.docker.reference.digest"] != "" {
			return
		}
		raw, err := os.ReadFile(l.Path(blobs[0].Digest))
		if err != nil {
			t.Fatal(err)
		}
		var config ocispec.Image
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		var got []digest.Digest
		for _, layer := range blobs[1:] {
			got = append(got, unzipped(t, l, layer))
		}
		if !reflect.DeepEqual(got, config.RootFS.DiffIDs) {
			t.Errorf("manifest %s: layers unpack to %v, config says %v", d.Digest, got, config.RootFS.DiffIDs)
		}
	})
}

// unzipped returns the digest of what is in a gzip blob.
func unzipped(t *testing.T, l corpus.Layout, d ocispec.Descriptor) digest.Digest {
	t.Helper()
	f, err := os.Open(l.Path(d.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	digester := digest.SHA256.Digester()
	if _, err := io.Copy(digester.Hash(), zip); err != nil {
		t.Fatal(err)
	}
	return digester.Digest()
}

func checkPush(t *testing.T, l corpus.Layout, images []corpus.Image) {
	s, err := distribution.Start(t.Context(), distribution.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := wire.Registry{URL: s.URL()}
	if err := l.Push(t.Context(), r, images); err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		end := compare.End{Registry: r, Repository: image.Repository, Reference: image.Tag}
		if got, err := compare.Image(t.Context(), end, end); err != nil || got.Root.Digest != image.Root.Digest {
			t.Errorf("%s: root %s, %v; want %s", image.Repository, got.Root.Digest, err, image.Root.Digest)
		}
	}
	list := corpus.List("localhost:5000", images)
	if want := "localhost:5000/team/webapp-canary@sha256:"; !strings.Contains(list, want) {
		t.Errorf("list has no line %s...:\n%s", want, list)
	}
}
