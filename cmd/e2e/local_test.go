package e2e

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/goprograms"
)

// What skopeo has written into folders is packed as it was in the registry: as skopeo sync --scoped names the folders, and
// as scripts do, which leave the host out and put root/ before names of one segment.
func TestPackFoldersOfSkopeo(t *testing.T) {
	t.Parallel()
	requireTools(t, "skopeo")
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	for _, image := range w.images {
		name := image.Reference(w.source.Host())
		folder := strings.TrimPrefix(name, w.source.Host()+"/")
		if !strings.Contains(folder, "/") {
			folder = "root/" + folder
		}
		w.tool("mkdir", "-p", "images/"+path.Dir(folder))
		w.tool("skopeo", "copy", "-q", "--insecure-policy", "--all", "--src-tls-verify=false", "docker://"+name, "dir:images/"+folder)
		if image.Pinned {
			w.tool("mkdir", "-p", "scoped/"+path.Dir(name))
			w.tool("skopeo", "copy", "-q", "--insecure-policy", "--all", "--src-tls-verify=false", "docker://"+name, "dir:scoped/"+name)
			continue
		}
		w.tool("skopeo", "sync", "--all", "--scoped", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", name, "scoped")
	}
	for _, source := range []string{"dir:scoped", "dir:images=" + w.source.Host()} {
		w.source.Reset()
		w.ok("pack", "-o", "k8s.tar.zst", source)
		if n := len(w.source.Counts().Requests); n > 0 {
			t.Errorf("%s: the registry got %d kinds of requests", source, n)
		}
		w.ok("unpack", "k8s.tar.zst", w.to())
		w.arrived()
	}
}

// packed packs a source, puts it into the target and proves that it is the image there that it is at the source of the story.
func (w *world) packed(source string, image corpus.Image) {
	w.Helper()
	w.ok("pack", "-o", "local.tar.zst", source)
	w.ok("unpack", "local.tar.zst", w.to())
	_, err := compare.Image(w.Context(),
		compare.End{Registry: w.witness(w.root), Repository: image.Repository, Reference: image.Tag},
		compare.End{Registry: w.witness(w.targetRoot), Repository: prefix + "/" + image.Repository, Reference: image.Tag})
	if err != nil {
		w.Errorf("%s: %v", source, err)
	}
}

// Layouts of skopeo, umoci, crane, oras and containerd, in folders and in tars.
func TestPackForeignLayouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	var image corpus.Image
	for _, i := range w.images {
		if i.Root.MediaType == ocispec.MediaTypeImageIndex && !i.Pinned && strings.Contains(i.Repository, "/") {
			image = i
		}
	}
	name := image.Reference(w.source.Host())
	t.Run("skopeo", func(t *testing.T) {
		requireTools(t, "skopeo", "gzip", "xz")
		copyTo := func(to string) {
			w.tool("skopeo", "copy", "-q", "--insecure-policy", "--all", "--src-tls-verify=false", "docker://"+name, to)
		}
		copyTo("oci:layout:" + name)
		w.packed("oci:layout", image)
		copyTo("oci-archive:layout.tar:" + image.Tag)
		w.tool("gzip", "-k", "layout.tar")
		w.tool("xz", "-k", "layout.tar")
		w.packed("oci-archive:layout.tar="+strings.TrimSuffix(name, ":"+image.Tag), image)
		w.packed("oci-archive:layout.tar.gz="+name, image)
		w.packed("oci-archive:layout.tar.xz:"+image.Tag+"="+name, image)
	})
	t.Run("crane", func(t *testing.T) {
		crane := requireProgram(t, goprograms.Crane)
		w.tool(crane, "pull", "--insecure", "--format=oci", "--annotate-ref", name, "crane")
		w.packed("oci:crane="+name, image)
	})
	t.Run("oras", func(t *testing.T) {
		oras := requireProgram(t, goprograms.Oras)
		w.tool(oras, "cp", "--from-plain-http", "--to-oci-layout", name, "oras:"+image.Tag)
		w.packed("oci:oras="+strings.TrimSuffix(name, ":"+image.Tag), image)
	})
	t.Run("containerd", func(t *testing.T) {
		socket := containerd(t)
		w.tool("ctr", "-a", socket, "content", "fetch", "--plain-http", "--all-platforms", name)
		w.tool("ctr", "-a", socket, "image", "export", "--all-platforms", "ctr.tar", name)
		w.packed("oci-archive:ctr.tar", image)
	})
}

// What is built and saved on the spot keeps its config, and layers that fit to it.
func TestPackDockerArchives(t *testing.T) {
	t.Parallel()
	requireTools(t, "podman", "skopeo", "gzip")
	requireRoot(t)
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	dir, err := os.MkdirTemp("", "ferry-pm-") // Podman wants a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	podman := func(args ...string) string {
		return w.tool("podman", append([]string{
			"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs", "--events-backend", "none",
		}, args...)...)
	}
	w.write("build/Containerfile", "FROM scratch\nCOPY one /one\nCOPY two /two\n")
	w.write("build/one", "one\n")
	w.write("build/two", strings.Repeat("two\n", 100_000))
	podman("build", "-q", "--isolation", "chroot", "--layers", "-t", "example.org/team/app:1", "build")
	podman("tag", "example.org/team/app:1", "example.org/team/same:2")
	id := strings.TrimSpace(podman("image", "inspect", "--format", "{{.Id}}", "example.org/team/app:1"))
	podman("save", "-m", "-o", "podman.tar", "example.org/team/app:1", "example.org/team/same:2")
	podman("save", "-o", "id.tar", id)
	w.tool("gzip", "-k", "podman.tar")
	w.tool("skopeo", "copy", "-q", "--insecure-policy", "docker-archive:podman.tar:example.org/team/app:1", "docker-archive:skopeo.tar:example.org/team/app:1")
	w.tool("skopeo", "copy", "-q", "--insecure-policy", "docker-archive:podman.tar:example.org/team/app:1", "dir:folder")
	roots := map[string]string{}
	for source, names := range map[string][]string{
		"docker-archive:podman.tar":                           {"app:1", "same:2"},
		"docker-archive:podman.tar.gz:example.org/team/app:1": {"app:1"},
		"docker-archive:skopeo.tar":                           {"app:1"},
		"docker-archive:id.tar=example.org/team/id:3":         {"id:3"},
		"dir:folder=example.org/team/folder:4":                {"folder:4"},
	} {
		w.ok("pack", "-o", "local.tar.zst", source)
		w.ok("unpack", "local.tar.zst", w.to())
		for _, name := range names {
			at := w.to() + "/team/" + name
			if got := digest.FromString(w.tool("skopeo", "inspect", "--tls-verify=false", "--raw", "--config", "docker://"+at)); got.Encoded() != id {
				t.Errorf("%s: config %s, want %s", source, got, id)
			}
			podman("pull", "-q", "--tls-verify=false", at) // which proves the layers against the config
			if got := strings.TrimSpace(podman("image", "inspect", "--format", "{{.Id}}", at)); got != id {
				t.Errorf("%s: image id %s, want %s", source, got, id)
			}
			roots[name] = w.tool("skopeo", "inspect", "--tls-verify=false", "--raw", "docker://"+at)
		}
	}
	if roots["app:1"] != roots["same:2"] || roots["app:1"] != roots["id:3"] {
		t.Error("the same image in several archives has several manifests")
	}
	t.Run("crane", func(t *testing.T) {
		crane := requireProgram(t, goprograms.Crane)
		w.tool(crane, "pull", "--insecure", w.to()+"/team/folder:4", "crane.tar")
		w.ok("pack", "-o", "local.tar.zst", "docker-archive:crane.tar=example.org/team/crane:5")
		w.ok("unpack", "local.tar.zst", w.to())
		podman("pull", "-q", "--tls-verify=false", w.to()+"/team/crane:5")
		if got := strings.TrimSpace(podman("image", "inspect", "--format", "{{.Id}}", w.to()+"/team/crane:5")); got != id {
			t.Errorf("image id %s, want %s", got, id)
		}
	})
}
