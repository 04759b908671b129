package oci_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// layoutFiles returns a layout with the blobs of all graphs, and index.json as given.
func layoutFiles(index string, graphs ...*ocitest.Graph) fstest.MapFS {
	files := fstest.MapFS{
		"oci-layout": {Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		"index.json": {Data: []byte(index)},
	}
	for _, g := range graphs {
		for _, b := range g.All() {
			files["blobs/sha256/"+b.Digest.Encoded()] = &fstest.MapFile{Data: b.Bytes}
		}
	}
	return files
}

// entryJSON returns an entry of index.json with annotations, keys and values in turn.
func entryJSON(d oci.Descriptor, annotations ...string) string {
	var list []string
	for i := 0; i < len(annotations); i += 2 {
		list = append(list, fmt.Sprintf("%q:%q", annotations[i], annotations[i+1]))
	}
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, d.MediaType, d.Digest, d.Size, strings.Join(list, ","))
}

func indexJSON(entries ...string) string {
	return `{"schemaVersion":2,"annotations":{"a":"b"},"manifests":[` + strings.Join(entries, ",") + `]}`
}

func readLayout(t *testing.T, files fs.FS) *oci.Layout {
	t.Helper()
	l, err := oci.ReadLayout(files, "here")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayoutReadsAStore(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir) // held while it is read
	g := ocitest.MultiArch(1, "app")
	for _, b := range g.All() {
		push(t, s, b.Descriptor, b.Bytes)
	}
	ref := oci.Reference{Repository: oci.Repository{Host: "quay.io", Path: "a/b"}, Tag: "1"}
	if err := s.Tag(t.Context(), ref.Repository, ref.Tag, g.Descriptor, g.Bytes); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	l, err := oci.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	images := l.Images()
	if len(images) != 1 || images[0].Ref != ref || images[0].Root.Digest != g.Digest {
		t.Fatalf("images %+v", images)
	}
	dst := &ocitest.Memory{}
	job := oci.Job{Root: g.Node(), To: []oci.Target{{Repository: ref.Repository, Tag: "1"}}}
	report, err := oci.Copy(t.Context(), l, dst, []oci.Job{job}, oci.CopyOptions{})
	if err != nil || len(report.Failed()) > 0 {
		t.Fatalf("copy: %v, %+v", err, report.Failed())
	}
	if err := dst.Holds(ref.Repository, g); err != nil {
		t.Error(err)
	}
}

func TestLayoutNames(t *testing.T) {
	const spec, containerd = ocispec.AnnotationRefName, "io.containerd.image.name"
	d := ocitest.Image(ocitest.AMD64).Descriptor
	for _, c := range []struct {
		title       string
		annotations []string
		name, ref   string
	}{
		{"containerd's goes first", []string{spec, "1", containerd, "quay.io/a/b:1"}, "quay.io/a/b:1", "quay.io/a/b:1"},
		{"full in the one of the specification", []string{spec, "quay.io/a/b:1"}, "quay.io/a/b:1", "quay.io/a/b:1"},
		{"Docker's short form", []string{spec, "alpine:3.20"}, "alpine:3.20", "docker.io/library/alpine:3.20"},
		{"tag alone", []string{spec, "3.20"}, "3.20", ""},
		{"no reference", []string{spec, "a//b:1"}, "a//b:1", ""},
		{"none", nil, "", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			images := readLayout(t, layoutFiles(indexJSON(entryJSON(d, c.annotations...)))).Images()
			if len(images) != 1 || images[0].Name != c.name || images[0].Ref.String() != c.ref || images[0].About != "" {
				t.Errorf("got %+v", images)
			}
		})
	}
	t.Run("equal entries", func(t *testing.T) {
		one := entryJSON(d, spec, "a:1")
		if images := readLayout(t, layoutFiles(indexJSON(one, one, entryJSON(d, spec, "a:2")))).Images(); len(images) != 2 {
			t.Errorf("got %+v", images)
		}
	})
}

func TestLayoutReferrers(t *testing.T) {
	g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 100))
	sbom := ocitest.Referrer("application/spdx+json", g, "sbom")
	other := ocitest.Referrer("application/vnd.other", g, "other")
	sig := ocitest.CosignSignature(g)
	fallback := ocitest.Index(other)
	files := layoutFiles(indexJSON(
		entryJSON(g.Descriptor, ocispec.AnnotationRefName, "quay.io/a/b:1"),
		entryJSON(sbom.Descriptor), entryJSON(sbom.Descriptor, ocispec.AnnotationRefName, "quay.io/a/b:sbom"),
		entryJSON(sig.Descriptor, ocispec.AnnotationRefName, "quay.io/a/b:"+ocitest.CosignTag(g)),
		entryJSON(fallback.Descriptor, ocispec.AnnotationRefName, oci.FallbackTag(g.Digest)),
		entryJSON(ocitest.Image(ocitest.ARM64).Descriptor), // is not there
	), g, sbom, sig, fallback)
	l := readLayout(t, files)
	found, err := l.Referrers(t.Context(), here, g.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprint(f.Descriptor.Digest, f.Found, f.Tag))
	}
	want := []string{
		fmt.Sprint(sbom.Digest, oci.FoundByAPI, ""), fmt.Sprint(sig.Digest, oci.FoundByTag, ocitest.CosignTag(g)),
		fmt.Sprint(other.Digest, oci.FoundByFallback, ""),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
	abouts := 0
	for _, image := range l.Images() {
		if image.About == g.Digest {
			abouts++
		}
	}
	if abouts != 2 {
		t.Errorf("%d entries are about the image, want 2", abouts)
	}
	files["blobs/sha256/"+sbom.Digest.Encoded()].Data[3] ^= 1
	if _, err := readLayout(t, files).Referrers(t.Context(), here, g.Digest); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("damaged referrer: %v", err)
	}
}

func TestLayoutOpen(t *testing.T) {
	dir := t.TempDir()
	g := ocitest.Image(ocitest.AMD64, ocitest.RandomLayer(1, 100))
	if err := os.CopyFS(dir, layoutFiles(indexJSON(), g)); err != nil {
		t.Fatal(err)
	}
	l, err := oci.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	layer := g.Blobs[1]
	r, err := l.Open(t.Context(), here, layer.Descriptor, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if raw, err := io.ReadAll(r); err != nil || string(raw) != string(layer.Bytes[10:]) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if !l.Has(layer.Descriptor) {
		t.Error("the layer is not there")
	}
	longer, missing, malformed := layer.Descriptor, layer.Descriptor, layer.Descriptor
	longer.Size++
	missing.Digest = digest.FromString("other")
	malformed.Digest = "sha256:../../../../etc/passwd"
	folder := ocitest.NewBlob("", []byte("folder")).Descriptor
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256", folder.Digest.Encoded()), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title string
		d     oci.Descriptor
		is    error
		text  string
	}{
		{"size one byte too large", longer, oci.ErrCorrupt, "want"},
		{"not there", missing, oci.ErrNotFound, missing.Digest.String()},
		{"a path", malformed, nil, "hex digits"},
		{"a folder", folder, oci.ErrNotFound, "no regular file"},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, err := l.Open(t.Context(), here, c.d, 0)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if l.Has(c.d) {
				t.Error("Has says that it is there")
			}
		})
	}
	// A file that is cut while it is read must not look whole.
	f, err := l.Open(t.Context(), here, layer.Descriptor, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(blobFile(dir, layer.Descriptor), 5); err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(f); !errors.Is(err, oci.ErrCorrupt) || len(raw) != 5 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestOpenLayoutRefuses(t *testing.T) {
	d := ocitest.Image(ocitest.AMD64).Descriptor
	for _, c := range []struct{ title, version, index, want string }{
		{"no layout", "", indexJSON(), "oci-layout"},
		{"another version", `{"imageLayoutVersion":"2.0.0"}`, indexJSON(), `version "2.0.0"`},
		{"no index", `{"imageLayoutVersion":"1.0.0"}`, "", "index.json"},
		{"an array", `{"imageLayoutVersion":"1.0.0"}`, "[]", "not a JSON object"},
		{"list twice", `{"imageLayoutVersion":"1.0.0"}`, `{"manifests":[],"manifests":[]}`, "there twice"},
		{"list in another case", `{"imageLayoutVersion":"1.0.0"}`, `{"Manifests":[]}`, "another case"},
		{"list that is none", `{"imageLayoutVersion":"1.0.0"}`, `{"manifests":{}}`, "not an array"},
		{"digest that is a path", `{"imageLayoutVersion":"1.0.0"}`, strings.ReplaceAll(indexJSON(entryJSON(d)), d.Digest.String(), "../x"), "entry 0"},
		{"negative size", `{"imageLayoutVersion":"1.0.0"}`, `{"manifests":[{"digest":"` + d.Digest.String() + `","size":-1}]}`, "size -1"},
		{"cut off", `{"imageLayoutVersion":"1.0.0"}`, indexJSON(entryJSON(d))[:100], "unexpected EOF"},
		{"too many entries", `{"imageLayoutVersion":"1.0.0"}`, indexJSON(strings.Repeat(`{"digest":"`+d.Digest.String()+`"},`, 200_001)), "more than 200000 entries"},
	} {
		t.Run(c.title, func(t *testing.T) {
			files := layoutFiles(c.index)
			files["oci-layout"].Data = []byte(c.version)
			for name, f := range files {
				if len(f.Data) == 0 {
					delete(files, name)
				}
			}
			_, err := oci.ReadLayout(files, "here")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "here") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if missing := c.version == "" || c.index == ""; missing != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		})
	}
}
