package local_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/archive"
	"github.com/ferry-oci/ferry/oci/local"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

func parse(t *testing.T, text string) local.Source {
	t.Helper()
	s, err := local.ParseSource(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens a source until the end of the test, with a spool, which has to be empty then.
func open(t *testing.T, s local.Source, stdin io.Reader, program string) (*local.Images, error) {
	t.Helper()
	spool := t.TempDir()
	images, err := s.Open(t.Context(), local.Options{Stdin: stdin, Spool: func() (string, error) { return spool, nil }, XZProgram: program})
	t.Cleanup(func() {
		if images != nil {
			if err := images.Close(); err != nil {
				t.Error(err)
			}
		}
		if left, _ := os.ReadDir(spool); len(left) > 0 {
			t.Errorf("the spool has %v", left)
		}
	})
	return images, err
}

// selected returns the names and digests of what a source stands for.
func selected(t *testing.T, text string) ([]local.Image, *local.Images) {
	t.Helper()
	s := parse(t, text)
	images, err := open(t, s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := images.Select(s)
	if err != nil {
		t.Fatal(err)
	}
	return list, images
}

func namesOf(list []local.Image) []string {
	var names []string
	for _, i := range list {
		names = append(names, i.Ref.String())
	}
	return names
}

// load reads all of an image, blobs proven, and returns its root.
func load(t *testing.T, src oci.Source, root oci.Descriptor) *oci.Node {
	t.Helper()
	read := func(ctx context.Context, d oci.Descriptor) ([]byte, error) {
		r, err := src.Open(ctx, oci.Repository{}, d, 0)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(oci.Verify(r, d))
	}
	n, err := oci.LoadGraph(t.Context(), read, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range n.Blobs() {
		if _, err := read(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

var (
	base = ocitest.RandomLayer(1, 2000)
	app  = ocitest.Image(ocitest.AMD64, base, ocitest.Layer(map[string]string{"app": "one"}))
	tool = ocitest.Image(ocitest.ARM64, base, ocitest.Layer(map[string]string{"tool": "two"}))
)

func savedArchive(form ocitest.DockerForm) []byte {
	var b bytes.Buffer
	ocitest.DockerSave(&b, form,
		ocitest.Saved{Graph: app, Names: []string{"example.org/app:1", "example.org/app:latest"}},
		ocitest.Saved{Graph: tool, Names: []string{"tool:2"}})
	return b.Bytes()
}

func TestDockerArchives(t *testing.T) {
	roots := map[string]digest.Digest{} // by form of layers: what is equal gets an equal manifest
	for _, form := range []ocitest.DockerForm{ocitest.OldDocker, ocitest.Skopeo, ocitest.Crane} {
		t.Run(string(form), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a:b=c.tar")
			if err := os.WriteFile(path, savedArchive(form), 0o644); err != nil {
				t.Fatal(err)
			}
			list, images := selected(t, "docker-archive:"+path)
			want := []string{"example.org/app:1", "example.org/app:latest", "docker.io/library/tool:2"}
			if got := namesOf(list); !slices.Equal(got, want) {
				t.Fatalf("images %q, want %q", got, want)
			}
			n := load(t, images, list[0].Root)
			if got, want := n.Manifest.Config.Digest, app.Blobs[0].Digest; got != want {
				t.Errorf("config %s, want %s", got, want)
			}
			for i, l := range n.Manifest.Layers {
				b := app.Blobs[i+1]
				digest, mediaType := b.DiffID, ocispec.MediaTypeImageLayer
				if form == ocitest.Crane {
					digest, mediaType = b.Digest, ocispec.MediaTypeImageLayerGzip
				}
				if l.Digest != digest || l.MediaType != mediaType {
					t.Errorf("layer %d is %s %s, want %s %s", i, l.MediaType, l.Digest, mediaType, digest)
				}
			}
			kind := n.Manifest.Layers[0].MediaType
			if roots[kind] == "" {
				roots[kind] = n.Digest
			}
			if roots[kind] != n.Digest {
				t.Errorf("manifest %s, want %s as of the other form", n.Digest, roots[kind])
			}
			if form == ocitest.Crane && n.Digest != app.Digest {
				t.Errorf("manifest %s, want that of the image %s", n.Digest, app.Digest)
			}
		})
	}
}

// What ferry writes itself, and docker save since 25, has the manifests, too: they come back with their digests.
func TestDockerArchiveKeepsManifests(t *testing.T) {
	docker := ocitest.DockerImage(ocitest.AMD64, base)
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.Docker)
	repo := oci.Repository{Host: "example.org", Path: "app"}
	for _, blob := range docker.All() {
		content := func(_ context.Context, at int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(blob.Bytes[at:])), nil
		}
		if err := w.Push(t.Context(), repo, blob.Descriptor, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Tag(t.Context(), repo, "1", docker.Descriptor, docker.Bytes), w.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"docker-archive:", "oci-archive:"} {
		list, images := selected(t, kind+path)
		if len(list) != 1 || list[0].Root.Digest != docker.Digest || list[0].Ref.String() != "example.org/app:1" {
			t.Fatalf("%s images %+v", kind, list)
		}
		load(t, images, list[0].Root)
	}
}

func TestCompressedArchives(t *testing.T) {
	plain := savedArchive(ocitest.OldDocker)
	pack := map[string]func(io.Writer) io.WriteCloser{
		"plain": nil,
		"gzip":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd":  func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
		"xz": func(w io.Writer) io.WriteCloser {
			x, err := xz.WriterConfig{BlockSize: 4000}.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return x
		},
	}
	program, _ := exec.LookPath("xz")
	for name, zip := range pack {
		raw := plain
		if zip != nil {
			var b bytes.Buffer
			z := zip(&b)
			if _, err := z.Write(plain); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			raw = b.Bytes()
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, how := range []string{"file", "pipe", "stdin"} {
			for _, xz := range slices.Compact([]string{"", program}) {
				t.Run(fmt.Sprint(name, " ", how, " ", xz), func(t *testing.T) {
					s, stdin := local.Source{Kind: local.DockerArchive, Path: path}, io.Reader(nil)
					switch how {
					case "pipe":
						s.Path, stdin = "-", bytes.NewReader(raw)
					case "stdin":
						f, err := os.Open(path)
						if err != nil {
							t.Fatal(err)
						}
						defer f.Close()
						s.Path, stdin = "-", f
					}
					images, err := open(t, s, stdin, xz)
					if err != nil {
						t.Fatal(err)
					}
					list, err := images.Select(s)
					if err != nil || len(list) != 3 {
						t.Fatalf("images %v, %v", list, err)
					}
					load(t, images, list[2].Root)
				})
			}
			if name == "plain" {
				continue
			}
			t.Run(name+" cut", func(t *testing.T) {
				s := local.Source{Kind: local.DockerArchive, Path: "-"}
				for _, xz := range slices.Compact([]string{"", program}) {
					if _, err := open(t, s, bytes.NewReader(raw[:len(raw)/2]), xz); !errors.Is(err, local.ErrCorrupt) {
						t.Errorf("program %q: error %v", xz, err)
					}
				}
			})
		}
	}
}

func TestFolders(t *testing.T) {
	multi := ocitest.MultiArch(5, "multi")
	sig := ocitest.CosignSignature(app)
	dir := t.TempDir()
	for name, g := range map[string]*ocitest.Graph{
		"root/pause:3.9": multi, "calico/node:v3": app, "calico/node:" + ocitest.CosignTag(app): sig,
		"localhost:5000/x:1": tool, "docker.io/library/tool@" + tool.Digest.String(): tool,
	} {
		ocitest.WriteFolder(t, filepath.Join(dir, filepath.FromSlash(name)), g)
	}
	list, images := selected(t, "dir:"+dir+"=registry.k8s.io")
	want := []string{
		"registry.k8s.io/calico/node:v3", "docker.io/library/tool@" + tool.Digest.String(), "localhost:5000/x:1", "registry.k8s.io/pause:3.9",
	}
	if got := namesOf(list); !slices.Equal(got, want) {
		t.Fatalf("images %q, want %q", got, want)
	}
	for i, g := range []*ocitest.Graph{app, tool, tool, multi} {
		if n := load(t, images, list[i].Root); n.Digest != g.Digest || len(n.Children) != len(g.Children) {
			t.Errorf("%s is %s, want %s", list[i].Ref, n.Digest, g.Digest)
		}
	}
	found, err := images.Referrers(t.Context(), oci.Repository{}, app.Digest)
	if err != nil || len(found) != 1 || found[0].Tag != ocitest.CosignTag(app) || found[0].Descriptor.MediaType == "" {
		t.Errorf("referrers %+v, %v", found, err)
	}
	for suffix, want := range map[string]string{
		"/calico=quay.io/calico":             "quay.io/calico/node:v3",
		"/calico/node:v3=quay.io/other":      "quay.io/other:v3",
		"/calico/node:v3=quay.io/other:v4":   "quay.io/other:v4",
		"/root/pause:3.9=registry.k8s.io/p":  "registry.k8s.io/p:3.9",
		"/root=registry.k8s.io/root":         "registry.k8s.io/root/pause:3.9",
		"/docker.io/library=docker.io/other": "docker.io/other/tool@" + tool.Digest.String(),
	} {
		list, _ := selected(t, "dir:"+dir+suffix)
		if got := namesOf(list); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", suffix, got, want)
		}
	}
}

func TestLayouts(t *testing.T) {
	sbom, multi := ocitest.Referrer("application/spdx+json", app, "sbom"), ocitest.MultiArch(5, "multi")
	dir := filepath.Join(t.TempDir(), "layout")
	ocitest.WriteLayout(t, dir,
		ocitest.Saved{Graph: app, Names: []string{"example.org/app:1", "example.org/app:2"}},
		ocitest.Saved{Graph: tool, Names: []string{"tool:1", ""}}, // docker.io/library/tool:1, and the same without a name
		ocitest.Saved{Graph: sbom, Names: []string{""}},
		ocitest.Saved{Graph: multi, Names: []string{"example.org/multi:3"}},
		ocitest.Saved{Graph: multi.Children[0], Names: []string{""}}) // as oras lists it
	for suffix, want := range map[string]string{
		"":                                     "example.org/app:1 example.org/app:2 docker.io/library/tool:1 example.org/multi:3",
		":example.org/app:2":                   "example.org/app:2",
		":tool:1":                              "docker.io/library/tool:1",
		":docker.io/library/tool:1":            "docker.io/library/tool:1",
		":2":                                   "example.org/app:2",
		":@0":                                  "example.org/app:1 example.org/app:2",
		":@1":                                  "docker.io/library/tool:1",
		":@" + tool.Digest.String() + "=a/b:c": "docker.io/a/b:c",
		":tool:1=quay.io/tool":                 "quay.io/tool:1",
		"=quay.io/all":                         "", // two images of tag 1
	} {
		s := parse(t, "oci:"+dir+suffix)
		images, err := open(t, s, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		list, err := images.Select(s)
		if got := strings.Join(namesOf(list), " "); got != want || (want == "") != errors.Is(err, local.ErrNaming) {
			t.Errorf("%s: got %q, %v, want %q", suffix, got, err, want)
		}
	}
}

func TestNamesThatAreNotClear(t *testing.T) {
	dir := t.TempDir()
	layout := func(name string, images ...ocitest.Saved) string {
		ocitest.WriteLayout(t, filepath.Join(dir, name), images...)
		return "oci:" + filepath.Join(dir, name)
	}
	two := layout("two", ocitest.Saved{Graph: app, Names: []string{"a/b:1"}}, ocitest.Saved{Graph: tool, Names: []string{"a/b:1"}})
	tags := layout("tags", ocitest.Saved{Graph: app, Names: []string{"1"}}, ocitest.Saved{Graph: tool, Names: []string{"2"}})
	none := layout("none", ocitest.Saved{Graph: app, Names: []string{""}})
	saved := filepath.Join(dir, "ids.tar")
	var b bytes.Buffer
	ocitest.DockerSave(&b, ocitest.OldDocker, ocitest.Saved{Graph: app}, ocitest.Saved{Graph: tool, Names: []string{"tool:1"}})
	if err := os.WriteFile(saved, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "tree")
	ocitest.WriteFolder(t, filepath.Join(tree, "calico", "node:v3"), app)
	bare := filepath.Join(dir, "bare")
	ocitest.WriteFolder(t, filepath.Join(bare, "node"), app)
	for _, c := range []struct{ source, want string }{
		{two, "docker.io/a/b:1 is " + app.Digest.String() + " there, and " + tool.Digest.String()},
		{two + ":a/b:1", "stands for several"},
		{tags, "2 images have no full name there: 1, 2; give it one: " + tags + ":1=HOST/REPOSITORY:TAG"},
		{tags + "=quay.io/a/b:3", "it has 2 images, and quay.io/a/b:3 can name only one of them"},
		{tags + ":3", "there is no 3 in it; it has 1, 2"},
		{none, "give it one: " + none + "=HOST/REPOSITORY:TAG"},
		{"docker-archive:" + saved, "an image has no full name there: @sha256:"},
		{"dir:" + tree, "no registry in the names of the folders calico/node:v3; say which one they are of: dir:" + tree + "=HOST"},
		{"dir:" + tree + "/calico/node:v3", "=HOST/REPOSITORY:TAG"},
		{"dir:" + bare + "=quay.io", "no tag in the name of the folder node; pack it by itself"},
	} {
		t.Run(c.source, func(t *testing.T) {
			s := parse(t, c.source)
			images, err := open(t, s, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = images.Select(s)
			if !errors.Is(err, local.ErrNaming) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q", err, c.want)
			}
		})
	}
	if list, _ := selected(t, tags+"=quay.io/a/b"); strings.Join(namesOf(list), " ") != "quay.io/a/b:1 quay.io/a/b:2" {
		t.Errorf("images %v", namesOf(list))
	}
	if list, _ := selected(t, "docker-archive:"+saved+":@0=quay.io/a/b:1"); strings.Join(namesOf(list), " ") != "quay.io/a/b:1" {
		t.Errorf("images %v", namesOf(list))
	}
	if list, _ := selected(t, "dir:"+bare+"/node=quay.io/a/b"); strings.Join(namesOf(list), " ") != "quay.io/a/b:latest" {
		t.Errorf("images %v", namesOf(list))
	}
}

func TestFoldersOfArchives(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar", "a.TAR.GZ", "._b.tar", ".DS_Store", "images.txt", "c.tgz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.tar"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := parse(t, "docker-archive:"+dir).Expand()
	var got []string
	for _, s := range list {
		got = append(got, strings.TrimPrefix(s.String(), "docker-archive:"+dir+"/"))
	}
	if want := []string{"a.TAR.GZ", "b.tar", "c.tgz"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for text, is := range map[string]error{
		"docker-archive:" + dir + ":a:1":           local.ErrNaming,
		"docker-archive:" + dir + "=a:1":           local.ErrNaming,
		"oci-archive:" + dir + "/folder.tar":       fs.ErrNotExist,
		"docker-archive:" + dir + "/b.tar:a:1=b:1": nil,
		"oci:" + dir: nil,
	} {
		if list, err := parse(t, text).Expand(); !errors.Is(err, is) || is == nil && (len(list) != 1 || list[0] != parse(t, text)) {
			t.Errorf("%s: %v, %v", text, list, err)
		}
	}
}

func TestParseSource(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"plain", "with:colon", "with=sign", "colon:1/x"} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]local.Source{
		"oci:plain":                 {Kind: local.Layout, Path: "plain"},
		"oci:plain:a/b:1":           {Kind: local.Layout, Path: "plain", Ref: "a/b:1"},
		"oci:plain:a/b:1=c/d:2":     {Kind: local.Layout, Path: "plain", Ref: "a/b:1", Name: "c/d:2"},
		"oci:plain=c/d:2":           {Kind: local.Layout, Path: "plain", Name: "c/d:2"},
		"oci:with:colon":            {Kind: local.Layout, Path: "with:colon"},
		"oci:with:colon:1":          {Kind: local.Layout, Path: "with:colon", Ref: "1"},
		"oci:with=sign:1=a:b":       {Kind: local.Layout, Path: "with=sign", Ref: "1", Name: "a:b"},
		"dir:colon:1/x":             {Kind: local.Folder, Path: "colon:1/x"},
		"dir:plain=registry.k8s.io": {Kind: local.Folder, Path: "plain", Name: "registry.k8s.io"},
		"docker-archive:-:a:1":      {Kind: local.DockerArchive, Path: "-", Ref: "a:1"},
		"oci-archive:-=a:1":         {Kind: local.OCIArchive, Path: "-", Name: "a:1"},
	} {
		if s, err := local.ParseSource(text); err != nil || s != want || s.String() != text {
			t.Errorf("%s: got %+v (%s), %v", text, s, s, err)
		}
	}
	for text, want := range map[string]string{
		"oci:missing":         "missing: file",
		"oci:missing:a/b:1":   "missing: file",
		"dir:missing=x":       "missing: file",
		"oci:plain=":          "equals sign",
		"oci:plain=a//b":      "empty part",
		"docker-archive:":     "not of the form",
		"containers-storage:": "not of the form",
	} {
		_, err := local.ParseSource(text)
		missing := want == "missing: file"
		if err == nil || !strings.Contains(err.Error(), want) || missing != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]bool{
		"oci:x": true, "dir:x": true, "oci": false, "oci:": false, "docker.io/library/oci:1": false, "docker:27": false, "OCI:x": false,
	} {
		if got := local.IsSource(text); got != want {
			t.Errorf("IsSource(%s) is %v", text, got)
		}
	}
}
