package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/ocitest"
)

// writeLayout makes an image layout of graphs by name.
func writeLayout(t *testing.T, images map[string]*ocitest.Graph) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Site_1")
	store, err := oci.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	memory := &ocitest.Memory{}
	for name, g := range images {
		ref, err := oci.ParseReference(name)
		if err != nil {
			t.Fatal(err)
		}
		memory.Add(oci.Repository{}, "", g)
		job := oci.Job{Name: name, Root: g.Node(), To: []oci.Target{{Repository: ref.Repository, Tag: ref.Tag}}}
		if _, err := oci.Copy(t.Context(), memory, store, []oci.Job{job}, oci.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readLayout reads the images of a layout as serve does.
func readLayout(t *testing.T, dir string) (*layoutReader, map[string]*layoutGraph) {
	t.Helper()
	layout, err := oci.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &layoutReader{layout: layout, graphs: map[digest.Digest]*layoutGraph{}, attached: map[digest.Digest]bool{}}
	images, _, err := r.images(t.Context(), layoutPlace(dir))
	if err != nil {
		t.Fatal(err)
	}
	graphs := map[string]*layoutGraph{}
	for _, img := range images {
		graphs[img.Ref.String()] = r.graphs[img.Root.Digest]
	}
	return r, graphs
}

func TestLayoutIsReadAsFarAsItGoes(t *testing.T) {
	const name = "quay.io/x/app:1"
	g := ocitest.MultiArch(1, "app")
	amd64, arm64 := g.Children[0], g.Children[1]
	for _, tc := range []struct {
		name      string
		hurt      func(t *testing.T, blob func(digest.Digest) string)
		blobs     []*ocitest.Graph // whose own blobs are served
		platforms []string
		problem   bool
	}{
		{"whole", func(*testing.T, func(digest.Digest) string) {}, []*ocitest.Graph{amd64, arm64}, []string{"linux/amd64", "linux/arm64/v8"}, false},
		{"one platform is not there", func(t *testing.T, blob func(digest.Digest) string) {
			remove(t, blob(arm64.Digest))
		}, []*ocitest.Graph{amd64}, []string{"linux/amd64"}, false},
		{"the manifest of a platform is changed", func(t *testing.T, blob func(digest.Digest) string) {
			flip(t, blob(arm64.Digest))
		}, []*ocitest.Graph{amd64}, []string{"linux/amd64", "linux/arm64/v8"}, true},
		{"the index is changed", func(t *testing.T, blob func(digest.Digest) string) { flip(t, blob(g.Digest)) }, nil, nil, true},
		{"the index is not there", func(t *testing.T, blob func(digest.Digest) string) { remove(t, blob(g.Digest)) }, nil, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeLayout(t, map[string]*ocitest.Graph{name: g})
			tc.hurt(t, func(d digest.Digest) string { return filepath.Join(dir, "blobs", "sha256", d.Encoded()) })
			r, graphs := readLayout(t, dir)
			got := graphs[name]
			if got == nil {
				t.Fatalf("images %v", graphs)
			}
			if !slices.Equal(got.platforms, tc.platforms) {
				t.Errorf("platforms %v, want %v", got.platforms, tc.platforms)
			}
			if err := errors.Join(r.problems...); (err != nil) != tc.problem {
				t.Errorf("problems: %v", err)
			}
			for _, image := range g.Children {
				for _, b := range image.Blobs {
					has := slices.ContainsFunc(got.blobs, func(d oci.Descriptor) bool { return d.Digest == b.Digest })
					want := slices.ContainsFunc(tc.blobs, func(g *ocitest.Graph) bool {
						return slices.ContainsFunc(g.Blobs, func(other ocitest.Blob) bool { return other.Digest == b.Digest })
					})
					if has != want {
						t.Errorf("blob %s of %v: %v, want %v", b.Digest, image.Platform, has, want)
					}
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// flip changes a bit of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLayoutPlace(t *testing.T) {
	for dir, want := range map[string]string{"/srv/images": "images", "/srv/Site_1/": "site_1", "/srv/-x-": "layout", "/": "layout", "/srv/a b": "layout"} {
		if got := layoutPlace(dir).Path; got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}
