package e2e

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// A bundle is a tar of an OCI image layout, and takes no ferry to be read.
func TestForeignReaders(t *testing.T) {
	for _, test := range []struct {
		bundle  string
		check   []string // proves the compressed file
		extract []string
		tools   []string
	}{
		{"k8s.tar.zst", []string{"zstd", "-qt", "k8s.tar.zst"}, []string{"tar", "--zstd", "-xf"}, []string{"tar", "zstd"}},
		{"k8s.tar.xz", []string{"xz", "-qt", "k8s.tar.xz"}, []string{"tar", "-xJf"}, []string{"tar", "xz"}},
		{"k8s.tar", []string{"tar", "-tf", "k8s.tar"}, []string{"tar", "-xf"}, []string{"tar"}},
	} {
		t.Run(test.bundle, func(t *testing.T) {
			t.Parallel()
			requireTools(t, append(test.tools, "sha256sum")...)
			w := newWorld(t, distribution.Options{}, distribution.Options{})
			w.ok("pack", "-f", "images.list", "-o", test.bundle)
			w.tool(test.check[0], test.check[1:]...)
			w.tool("sha256sum", "--quiet", "-c", test.bundle+".sha256")
			w.tool("mkdir", "layout")
			w.tool(test.extract[0], append(test.extract[1:], test.bundle, "-C", "layout")...)
			w.tool("sh", "-c", "cd layout && sha256sum --quiet -c SHA256SUMS")
			w.sumsAreComplete()
			t.Run("skopeo", func(t *testing.T) { w.skopeo(t) })
			t.Run("umoci", func(t *testing.T) { w.umoci(t) })
		})
	}
}

// sumsAreComplete proves that the checksums leave out no file but those that hold them.
func (w *world) sumsAreComplete() {
	w.Helper()
	sums := string(w.read("layout/SHA256SUMS"))
	for name := range w.files("layout") {
		if !strings.Contains(sums, "  "+name+"\n") && !strings.HasSuffix(name, "SHA256SUMS") {
			w.Errorf("SHA256SUMS does not name %s", name)
		}
	}
}

// name returns what index.json of a bundle calls an image.
func (w *world) name(image corpus.Image) string { return image.Reference(w.source.Host()) }

// skopeo inspects and copies the images from the layout. It finds those only in a layout whose media types are OCI's:
// for Docker's it takes a registry, or ferry.
func (w *world) skopeo(t *testing.T) {
	requireTools(t, "skopeo")
	from, to := w.witness(w.root), w.witness(w.targetRoot)
	copied := 0
	for _, image := range w.images {
		if image.Root.MediaType != ocispec.MediaTypeImageIndex && image.Root.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		copied++
		source := "oci:layout:" + w.name(image)
		if got := w.tool("skopeo", "inspect", "--raw", source); int64(len(got)) != image.Root.Size {
			t.Errorf("skopeo inspect %s: %d bytes, want %d", source, len(got), image.Root.Size)
		}
		w.tool("skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", source,
			"docker://"+strings.TrimPrefix(to.URL, "http://")+"/by-skopeo/"+image.Repository+":"+image.Tag)
		_, err := compare.Image(t.Context(),
			compare.End{Registry: from, Repository: image.Repository, Reference: image.Tag},
			compare.End{Registry: to, Repository: "by-skopeo/" + image.Repository, Reference: image.Tag})
		if err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	if copied < 3 {
		t.Errorf("%d images had OCI media types", copied)
	}
}

// umoci lists the images and unpacks the one that is a manifest of OCI's type; it takes no other.
func (w *world) umoci(t *testing.T) {
	requireTools(t, "umoci")
	listed := strings.Fields(w.tool("umoci", "ls", "--layout", "layout"))
	if len(listed) != len(w.images) {
		t.Errorf("umoci lists %q, want %d names", listed, len(w.images))
	}
	for _, image := range w.images {
		if image.Root.MediaType == ocispec.MediaTypeImageManifest {
			w.tool("umoci", "unpack", "--rootless", "--image", "layout:"+w.name(image), "unpacked")
			if w.files("unpacked/rootfs")["usr/bin/tools"] == 0 {
				t.Error("umoci unpacked no usr/bin/tools")
			}
			return
		}
	}
	t.Error("no image is a single manifest")
}

// ctr reads the tar itself, and takes all media types.
func TestContainerdImports(t *testing.T) {
	t.Parallel()
	socket := containerd(t)
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar")
	ctr := func(args ...string) string { return w.tool("ctr", append([]string{"--address", socket}, args...)...) }
	ctr("images", "import", "--all-platforms", "--no-unpack", "k8s.tar")
	images, checks := ctr("images", "ls"), ctr("images", "check")
	for _, image := range w.images {
		if !hasLine(images, w.name(image), image.Root.Digest.String()) {
			t.Errorf("containerd does not have %s with digest %s:\n%s", w.name(image), image.Root.Digest, images)
		}
		if !hasLine(checks, w.name(image), "complete") {
			t.Errorf("%s is not complete:\n%s", w.name(image), checks)
		}
	}
}

// hasLine reports whether a table has a line that begins with name and holds text.
func hasLine(table, name, text string) bool {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, name+" ") && strings.Contains(line, text) {
			return true
		}
	}
	return false
}
