package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/archive"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

func TestEnds(t *testing.T) {
	ocitest.TestEnds(t, func(t *testing.T) (oci.Source, oci.Sink) {
		f, err := archive.Create(filepath.Join(t.TempDir(), "x.tar"), archive.OCI)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Abort)
		return f, f
	})
}

var (
	nginx  = oci.Repository{Path: "docker.io/library/nginx"}
	calico = oci.Repository{Path: "quay.io/calico/node"}
)

// put writes a graph and gives it a name.
func put(t *testing.T, w *archive.Writer, to oci.Repository, tag string, g *ocitest.Graph) {
	t.Helper()
	for _, b := range g.All() {
		if b.Digest == g.Digest {
			continue
		}
		if err := w.Push(t.Context(), to, b.Descriptor, contentOf(b.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Tag(t.Context(), to, tag, g.Descriptor, g.Bytes); err != nil {
		t.Fatal(err)
	}
}

func contentOf(raw []byte) oci.Content {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
}

// members returns the names of all members in order, and the content of the small ones; whole tells that the tar ends as it
// should.
func members(t *testing.T, raw []byte) (names []string, content map[string][]byte, whole bool) {
	t.Helper()
	content = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, content, bytes.HasSuffix(raw, make([]byte, 1024))
		}
		if err != nil {
			return names, content, false
		}
		if h.Mode != 0o644 || h.ModTime.Unix() != 0 || h.Typeflag != tar.TypeReg || h.Uname != "" {
			t.Errorf("%s: header %+v", h.Name, h)
		}
		names = append(names, h.Name)
		if content[h.Name], err = io.ReadAll(r); err != nil {
			return names, content, false
		}
	}
}

func TestOCIArchive(t *testing.T) {
	var out bytes.Buffer
	w := archive.NewWriter(&out, archive.OCI)
	g, other := ocitest.MultiArch(1, "nginx"), ocitest.MultiArch(1, "calico") // they share layers
	put(t, w, nginx, "1.27", g)
	put(t, w, calico, "v3", other)
	put(t, w, nginx, "latest", g)
	put(t, w, oci.Repository{Path: nginx.Path + "@" + g.Digest.String()}, "", g)
	signature := ocitest.CosignSignature(g)
	put(t, w, nginx, ocitest.CosignTag(g), signature)
	sbom := ocitest.Referrer(ocitest.SBOMType, g, "sbom")
	for _, b := range sbom.All() {
		if err := w.Push(t.Context(), nginx, b.Descriptor, contentOf(b.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Attach(t.Context(), nginx, sbom.Descriptor, sbom.Bytes); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names, content, whole := members(t, out.Bytes())
	if !whole || names[0] != "oci-layout" || names[len(names)-1] != "index.json" {
		t.Errorf("members %q, whole: %v", names, whole)
	}
	if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) {
		t.Errorf("a member comes twice: %q", names)
	}
	for _, g := range []*ocitest.Graph{g, other, signature, sbom} {
		for _, b := range g.All() {
			if !bytes.Equal(content["blobs/sha256/"+b.Digest.Encoded()], b.Bytes) {
				t.Errorf("%s %s: other bytes, or none", b.MediaType, b.Digest)
			}
		}
	}
	var index ocispec.Index
	if err := json.Unmarshal(content["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range index.Manifests {
		a := d.Annotations
		if a["io.containerd.image.name"] != a[ocispec.AnnotationRefName] {
			t.Errorf("two names: %v", a)
		}
		got = append(got, a[ocispec.AnnotationRefName]+"|"+a[oci.AnnotationReferrer]+"|"+d.ArtifactType+"|"+d.Digest.String())
	}
	want := []string{
		"docker.io/library/nginx:1.27|||" + g.Digest.String(),
		"docker.io/library/nginx:latest|||" + g.Digest.String(),
		"|docker.io/library/nginx:" + ocitest.CosignTag(g) + "||" + signature.Digest.String(),
		"docker.io/library/nginx@" + g.Digest.String() + "|||" + g.Digest.String(),
		"quay.io/calico/node:v3|||" + other.Digest.String(),
		"||" + ocitest.SBOMType + "|" + sbom.Digest.String(),
	}
	if !slices.Equal(got, want) {
		t.Errorf("index.json: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDockerArchive(t *testing.T) {
	var out bytes.Buffer
	w := archive.NewWriter(&out, archive.Docker)
	a := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 3000), ocitest.RandomLayer(2, 300_000))
	b := ocitest.DockerImage(ocitest.AMD64, ocitest.RandomLayer(1, 3000))
	put(t, w, nginx, "latest", a)
	put(t, w, nginx, "1.27", a)
	put(t, w, oci.Repository{Path: calico.Path + "@" + b.Digest.String()}, "", b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names, content, whole := members(t, out.Bytes())
	if !whole || names[len(names)-1] != "manifest.json" || names[len(names)-2] != "index.json" {
		t.Errorf("members %q, whole: %v", names, whole)
	}
	path := func(b ocitest.Blob) string { return "blobs/sha256/" + b.Digest.Encoded() }
	want := `[{"Config":"` + path(a.Blobs[0]) + `","RepoTags":["docker.io/library/nginx:1.27","docker.io/library/nginx:latest"],` +
		`"Layers":["` + path(a.Blobs[1]) + `","` + path(a.Blobs[2]) + `"]},` +
		`{"Config":"` + path(b.Blobs[0]) + `","RepoTags":[],"Layers":["` + path(b.Blobs[1]) + `"]}]`
	if got := string(content["manifest.json"]); got != want {
		t.Errorf("manifest.json: got\n%s\nwant\n%s", got, want)
	}
	index := ocitest.Index(a)
	for _, g := range []*ocitest.Graph{index, ocitest.Referrer(ocitest.SBOMType, a, "x")} {
		err := archive.NewWriter(io.Discard, archive.Docker).Tag(t.Context(), nginx, "x", g.Descriptor, g.Bytes)
		if !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("%s: error %v, want ErrUnsupported", g.MediaType, err)
		}
	}
}

// What fails inside of a member leaves a stream that no reader takes for whole, or names an image.
func TestBrokenStream(t *testing.T) {
	big := ocitest.NewBlob("application/octet-stream", ocitest.Random(1, 1<<20))
	errCut := errors.New("cut")
	cut := func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(big.Bytes[:700_000]), iotest.ErrReader(errCut))), nil
	}
	wrong := bytes.Clone(big.Bytes)
	wrong[len(wrong)-1] ^= 1
	for name, c := range map[string]struct {
		content oci.Content
		want    error
	}{"cut": {cut, errCut}, "wrong": {contentOf(wrong), oci.ErrCorrupt}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := archive.NewWriter(&out, archive.OCI)
			put(t, w, nginx, "1.27", ocitest.MultiArch(1, "nginx"))
			if err := w.Push(t.Context(), nginx, big.Descriptor, c.content); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err := w.Push(t.Context(), nginx, big.Descriptor, contentOf(big.Bytes)); !errors.Is(err, archive.ErrBroken) {
				t.Errorf("a push after that: error %v, want ErrBroken", err)
			}
			if err := w.Close(); !errors.Is(err, archive.ErrBroken) {
				t.Errorf("close: error %v, want ErrBroken", err)
			}
			if names, _, whole := members(t, out.Bytes()); whole || slices.Contains(names, "index.json") {
				t.Errorf("whole: %v, members %q", whole, names)
			}
		})
	}
}

// A small blob is proven before its header is written, so that it can fail without harm even to a stream.
func TestSmallBlobsAreProvenFirst(t *testing.T) {
	var out bytes.Buffer
	w := archive.NewWriter(&out, archive.OCI)
	good := ocitest.NewBlob("application/octet-stream", ocitest.Random(1, 200_000))
	for name, raw := range map[string][]byte{
		"short": good.Bytes[:100_000], "long": append(bytes.Clone(good.Bytes), 1), "other": ocitest.Random(2, 200_000), "none": nil,
	} {
		if err := w.Push(t.Context(), nginx, good.Descriptor, contentOf(raw)); !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("%s: error %v, want ErrCorrupt", name, err)
		}
	}
	put(t, w, nginx, "1.27", ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 3000)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if names, _, whole := members(t, out.Bytes()); !whole || len(names) != 5 {
		t.Errorf("whole: %v, members %q", whole, names)
	}
}

// failAt fails when more than left bytes have been written.
type failAt struct {
	w    io.Writer
	left int
}

var errFull = errors.New("full")

func (f *failAt) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return f.w.Write(p)
}

// Wherever the stream below ends, Close tells, and what came out is no archive. (That the last bytes of the second end
// block are missing hurts nobody.)
func TestEndOfTheStreamBelow(t *testing.T) {
	write := func(w io.Writer) error {
		a := archive.NewWriter(w, archive.Docker)
		g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 3000))
		for _, b := range g.All() {
			_ = a.Push(t.Context(), nginx, b.Descriptor, contentOf(b.Bytes)) // Close tells
		}
		_ = a.Tag(t.Context(), nginx, "1.27", g.Descriptor, g.Bytes)
		return a.Close()
	}
	var whole bytes.Buffer
	if err := write(&whole); err != nil {
		t.Fatal(err)
	}
	for left := 0; left < whole.Len(); left += 256 {
		var out bytes.Buffer
		if err := write(&failAt{&out, left}); err == nil {
			t.Fatalf("cut at %d of %d: no error", left, whole.Len())
		}
		names, _, _ := members(t, out.Bytes())
		if i := slices.Index(names, "manifest.json"); i >= 0 && left < whole.Len()-1024-512 {
			t.Fatalf("cut at %d of %d: members %q", left, whole.Len(), names)
		}
	}
}

func TestFileDropsWhatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := archive.Create(path, archive.OCI)
	if err != nil {
		t.Fatal(err)
	}
	big := ocitest.NewBlob("application/octet-stream", ocitest.Random(1, 1<<20))
	wrong := bytes.Clone(big.Bytes)
	wrong[0] ^= 1
	put(t, f.Writer, calico, "v3", ocitest.MultiArch(1, "calico"))
	if err := f.Push(t.Context(), nginx, big.Descriptor, contentOf(wrong)); !errors.Is(err, oci.ErrCorrupt) {
		t.Fatalf("error %v, want ErrCorrupt", err)
	}
	put(t, f.Writer, nginx, "1.27", ocitest.MultiArch(1, "nginx"))
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "old" {
		t.Errorf("before Commit the file has %d bytes, error %v", len(raw), err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var same bytes.Buffer
	w := archive.NewWriter(&same, archive.OCI)
	put(t, w, calico, "v3", ocitest.MultiArch(1, "calico"))
	put(t, w, nginx, "1.27", ocitest.MultiArch(1, "nginx"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, same.Bytes()) {
		t.Error("what failed has left a trace")
	}
	if left, _ := filepath.Glob(path + ".*"); left != nil {
		t.Errorf("left: %q", left)
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	f, err := archive.Create(filepath.Join(dir, "x.tar"), archive.OCI)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f.Writer, nginx, "1.27", ocitest.MultiArch(1, "nginx"))
	f.Abort()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, error %v", entries, err)
	}
}

// A header can say any size that a blob may have, in a form that every tar reads.
func TestLargeSizes(t *testing.T) {
	for size, first := range map[int64]byte{8<<30 - 1: '7', 8 << 30: 0x80, oci.MaxBlobSize: 0x80} {
		var out bytes.Buffer
		w := archive.NewWriter(&out, archive.OCI)
		d := oci.Descriptor{Digest: ocitest.NewBlob("", nil).Digest, Size: size}
		zeros := io.LimitReader(zero{}, 1<<20)
		err := w.Push(t.Context(), nginx, d, func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(zeros, iotest.ErrReader(io.ErrUnexpectedEOF))), nil
		})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes: error %v", size, err)
		}
		header := out.Bytes()[1024:1536]
		if header[124] != first {
			t.Errorf("%d bytes: the size begins with %#x, want %#x", size, header[124], first)
		}
		r := tar.NewReader(bytes.NewReader(header))
		if h, err := r.Next(); err != nil || h.Size != size {
			t.Errorf("%d bytes: header %+v, error %v", size, h, err)
		}
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// From a pipe, images get their names when all has been read; else each as soon as it is whole. The bytes are the same.
func TestTagsMakeNoDifference(t *testing.T) {
	write := func(atOnce bool) []byte {
		var out bytes.Buffer
		w := archive.NewWriter(&out, archive.OCI)
		var late []func()
		for _, to := range []oci.Repository{nginx, calico} {
			g := ocitest.MultiArch(1, to.Path)
			for _, b := range g.All()[:len(g.All())-1] {
				if err := w.Push(t.Context(), to, b.Descriptor, contentOf(b.Bytes)); err != nil {
					t.Fatal(err)
				}
			}
			tag := func() {
				if err := w.Tag(t.Context(), to, "v1", g.Descriptor, g.Bytes); err != nil {
					t.Fatal(err)
				}
			}
			if atOnce {
				tag()
			} else {
				late = append(late, tag)
			}
		}
		slices.Reverse(late)
		for _, tag := range late {
			tag()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	if !bytes.Equal(write(true), write(false)) {
		t.Error("the bytes differ")
	}
}
