package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// zipped is a stock of layers that all known programs and some others have zipped.
type zipped struct {
	stock
	zips []corpus.Zip
}

var zippedStock = sync.OnceValues(func() (zipped, error) {
	layout, err := corpus.NewLayout(filepath.Join(sharedDir, "zips"))
	if err != nil {
		return zipped{}, err
	}
	images, zips, err := corpus.Zips(layout)
	if err != nil {
		return zipped{}, err
	}
	s := stock{images: images, layout: layout, root: filepath.Join(sharedDir, "zips-registry")}
	return zipped{s, zips}, s.fill(context.Background())
})

func newZippedWorld(t *testing.T, source, target distribution.Options) (*world, []corpus.Zip) {
	t.Helper()
	s, err := zippedStock()
	if err != nil {
		t.Fatal(err)
	}
	target.AllowURLs = []string{"."}
	return newWorldOf(t, s.stock, source, target), s.zips
}

// packCompact packs the world's images.
func (w *world) packCompact(bundle string) {
	w.Helper()
	w.ok("pack", "--compact", "-f", "images.list", "-o", bundle)
}

// Layers by every program and with everything in them that gzip files may have arrive with their digests: in place,
// through a pipe, and in a layout.
func TestCompactTrip(t *testing.T) {
	for _, bundle := range []string{"k8s.tar.zst", "k8s.tar.xz", "k8s.tar"}[:rounds(1, 3)] {
		t.Run(bundle, func(t *testing.T) {
			t.Parallel()
			w, zips := newZippedWorld(t, distribution.Options{}, distribution.Options{})
			w.packCompact(bundle)
			w.checksum(bundle)
			w.inspected(bundle)
			w.ungzipped(bundle, zips)
			w.ok("verify", bundle)
			w.ok("unpack", bundle, w.to())
			w.arrived()
			w.unpackAgain(bundle)
			w.piped(bundle)
			w.originalLayout(bundle)
		})
	}
}

// compactHead is what a head says of the layers of a compact bundle: see bundle/FORMAT.md.
type compactHead struct {
	Members   []struct{ Digest digest.Digest }
	Recreated []struct {
		Digest digest.Digest
		Plain  int
		Engine string
	}
	Kept []struct {
		Blob   int
		Reason string
	}
}

// ungzipped proves of each layer that it is re-created by the right program, or as it is for the right reason.
func (w *world) ungzipped(bundle string, zips []corpus.Zip) {
	w.Helper()
	var head compactHead
	if err := json.Unmarshal([]byte(w.tool("tar", "-xaOf", bundle, "ferry.json")), &head); err != nil {
		w.Fatal(err)
	}
	made, kept, plain := map[digest.Digest]string{}, map[digest.Digest]string{}, map[digest.Digest]digest.Digest{}
	for _, r := range head.Recreated {
		made[r.Digest], plain[r.Digest] = r.Engine, head.Members[r.Plain].Digest
	}
	for _, k := range head.Kept {
		kept[head.Members[k.Blob].Digest] = k.Reason
	}
	for _, z := range zips {
		id := z.Descriptor.Digest
		if !strings.HasPrefix(made[id], z.Engine) || (made[id] != "") != (z.Engine != "") || z.Engine != "" && plain[id] != z.DiffID {
			w.Errorf("layer %s is re-created by %q from %s, want %q from %s", id, made[id], plain[id], z.Engine, z.DiffID)
		}
		if !strings.Contains(kept[id], z.Kept) || (kept[id] != "") != (z.Kept != "") {
			w.Errorf("layer %s is as it is for %q, want %q", id, kept[id], z.Kept)
		}
	}
}

// piped unpacks a bundle that comes through a pipe.
func (w *world) piped(bundle string) {
	w.Helper()
	other := *w
	other.targetRoot = w.TempDir()
	other.target = startRegistry(w.T, distribution.Options{Root: other.targetRoot, AllowURLs: []string{"."}})
	cmd := other.command(w.Context(), "unpack", "-", other.to())
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(w.read(bundle)), &said // no file, so that it is a pipe
	if err := cmd.Run(); err != nil {
		w.Fatalf("unpack -: %v\n%s", err, said.String())
	}
	other.arrived()
}

// originalLayout unpacks a bundle into a layout, which is to have the blobs of the images and nothing of the bundle's own.
func (w *world) originalLayout(bundle string) {
	w.Helper()
	w.ok("unpack", bundle, "oci:original")
	manifests, blobs := w.content()
	files := w.files("original/blobs/sha256")
	for _, part := range []map[digest.Digest]int64{manifests, blobs} {
		for id := range part {
			if content := w.read("original/blobs/sha256/" + id.Encoded()); digest.FromBytes(content) != id {
				w.Errorf("blob %s has other content", id)
			}
			delete(files, id.Encoded())
		}
	}
	if len(files) > 0 {
		w.Errorf("blobs that nobody asked for: %v", files)
	}
}

// The tar of a compact bundle is an OCI layout for those who do not know ferry: of the same images, their layers plain.
func TestCompactForeignReaders(t *testing.T) {
	t.Parallel()
	requireTools(t, "tar", "zstd", "sha256sum")
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	w.packCompact("k8s.tar.zst")
	w.tool("zstd", "-qt", "k8s.tar.zst") // without --long
	w.tool("sha256sum", "--quiet", "-c", "k8s.tar.zst.sha256")
	w.tool("mkdir", "layout")
	w.tool("tar", "--zstd", "-xf", "k8s.tar.zst", "-C", "layout")
	w.tool("sh", "-c", "cd layout && sha256sum --quiet -c SHA256SUMS")
	w.sumsAreComplete()
	t.Run("skopeo", func(t *testing.T) { w.compactSkopeo(t) })
	t.Run("umoci", func(t *testing.T) { w.umoci(t) })
	t.Run("ctr", func(t *testing.T) { w.compactCtr(t) })
}

// compactSkopeo copies the images that skopeo finds, and looks for the configs of the originals in the copies.
func (w *world) compactSkopeo(t *testing.T) {
	requireTools(t, "skopeo")
	copied := 0
	for _, image := range w.images {
		if image.Root.MediaType != ocispec.MediaTypeImageIndex && image.Root.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		copied++
		target := "copy-" + strconv.Itoa(copied)
		w.tool("skopeo", "copy", "-q", "--insecure-policy", "--all", "--dest-oci-accept-uncompressed-layers",
			"oci:layout:"+w.name(image), "oci:"+target+":copy")
		want := slices.Sorted(maps.Keys(configs(t, w.layout, image.Root.Digest)))
		got := slices.Sorted(maps.Keys(configs(t, corpus.Layout{Dir: w.path(target)}, w.roots(target)["copy"])))
		if !slices.Equal(got, want) {
			t.Errorf("%s as skopeo copied it has configs %v, want %v", w.name(image), got, want)
		}
	}
	if copied < 3 {
		t.Errorf("%d images had OCI media types", copied)
	}
}

// roots returns what the index of a layout names.
func (w *world) roots(layout string) map[string]digest.Digest {
	w.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(w.read(layout+"/index.json"), &index); err != nil {
		w.Fatal(err)
	}
	roots := map[string]digest.Digest{}
	for _, d := range index.Manifests {
		roots[d.Annotations[ocispec.AnnotationRefName]] = d.Digest
	}
	return roots
}

// configs returns the configs of the manifests under root, attestations included.
func configs(t *testing.T, l corpus.Layout, root digest.Digest) map[digest.Digest]bool {
	t.Helper()
	raw, err := os.ReadFile(l.Path(root))
	if err != nil {
		t.Fatal(err)
	}
	children, blobs, err := wire.Children(raw)
	if err != nil {
		t.Fatal(err)
	}
	found := map[digest.Digest]bool{}
	if len(blobs) > 0 {
		found[blobs[0].Digest] = true
	}
	for _, child := range children {
		maps.Copy(found, configs(t, l, child.Digest))
	}
	return found
}

// compactCtr imports the tar into a containerd, once whole and once with what it unpacks, whose layers the configs prove.
func (w *world) compactCtr(t *testing.T) {
	socket := containerd(t)
	w.tool("zstd", "-dq", "k8s.tar.zst")
	ctr := func(args ...string) string { return w.tool("ctr", append([]string{"--address", socket}, args...)...) }
	ctr("images", "import", "--all-platforms", "--no-unpack", "k8s.tar")
	images, checks, content := ctr("images", "ls"), ctr("images", "check"), ctr("content", "ls")
	roots := w.roots("layout")
	for _, image := range w.images {
		if root := roots[w.name(image)]; root == "" || !hasLine(images, w.name(image), root.String()) {
			t.Errorf("containerd does not have %s with digest %s:\n%s", w.name(image), root, images)
		}
		if !hasLine(checks, w.name(image), "complete") {
			t.Errorf("%s is not complete:\n%s", w.name(image), checks)
		}
		for config := range configs(t, w.layout, image.Root.Digest) {
			if !strings.Contains(content, config.String()) {
				t.Errorf("containerd does not have the config %s of %s", config, w.name(image))
			}
		}
	}
	ctr("--namespace", "unpacked", "images", "import", "--platform", "linux/amd64", "--snapshotter", "native", "k8s.tar")
}

// Whenever pack --compact is killed, the same command finishes the work with the same bytes, and whenever unpack is, the
// same command finishes that.
func TestCompactKilled(t *testing.T) {
	trip := newTripwire()
	w, _ := newZippedWorld(t, distribution.Options{Wrap: trip.wrap}, distribution.Options{})
	w.packCompact("k8s.tar.zst")
	random := newRandom(t)
	want, total := w.read("k8s.tar.zst"), w.source.Counts().BytesOut
	for i := range rounds(2, 20) {
		n := 1 + random.Int64N(total)
		t.Run(fmt.Sprintf("pack %d after %d bytes", i, n), func(t *testing.T) {
			w := w.in(t, fmt.Sprintf("pack-%d", i))
			command := append(packCommand(i), "--compact")
			w.killedAfter(trip, n, command...)
			w.packedAfterAll(want, command)
		})
	}
	for i := range rounds(2, 20) {
		n := 1 + random.Int64N(total)
		t.Run(fmt.Sprintf("unpack %d after %d bytes", i, n), func(t *testing.T) {
			w.unpackKilled(t, n)
		})
	}
}
