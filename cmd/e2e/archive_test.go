package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// feeds runs ferry, whose stdout a foreign program reads. Both are to succeed; it returns what the program prints.
func (w *world) feeds(args []string, name string, arg ...string) string {
	w.Helper()
	ferry, tool := w.command(w.Context(), args...), exec.CommandContext(w.Context(), name, arg...)
	tool.Dir, tool.Env = w.dir, append(os.Environ(), "HOME="+w.dir)
	var said, stdout, stderr bytes.Buffer
	ferry.Stderr, tool.Stdout, tool.Stderr = &said, &stdout, &stderr
	out, err := ferry.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	tool.Stdin = out
	if err := ferry.Start(); err != nil {
		w.Fatal(err)
	}
	toolErr := tool.Run()
	out.Close() // else ferry would wait for ever for a program that has ended early
	if err := ferry.Wait(); err != nil || toolErr != nil {
		w.Fatalf("ferry %s | %s %s: %v, %v\n%s%s%s", strings.Join(args, " "), name, strings.Join(arg, " "), err, toolErr,
			said.String(), stdout.String(), stderr.String())
	}
	return stdout.String()
}

// signedWorld is a world with a bundle k8s.tar.zst, in which cosign has signed an image.
func signedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, distribution.Options{}, distribution.Options{})
	tag := strings.Replace(w.images[0].Root.Digest.String(), ":", "-", 1) + ".sig"
	w.artifact(wire.Registry{URL: w.source.URL()}, w.images[0], "signature", tag)
	w.ok("pack", "-f", "images.list", "-o", "k8s.tar.zst")
	return w
}

// containerd takes all images of an archive from a pipe, with their digests and none besides, and unpacks those of its
// platform, whose layers the configs prove.
func TestArchiveIntoContainerd(t *testing.T) {
	t.Parallel()
	socket := containerd(t)
	w := signedWorld(t)
	ctr := func(namespace string, args ...string) []string {
		return append([]string{"--address", socket, "--namespace", namespace}, args...)
	}
	w.feeds([]string{"unpack", "k8s.tar.zst", "oci-archive:-"},
		"ctr", ctr("k8s.io", "images", "import", "--snapshotter", "native", "-")...)
	images := w.tool("ctr", ctr("k8s.io", "images", "ls")...)
	for _, image := range w.images {
		if !hasLine(images, w.name(image), image.Root.Digest.String()) {
			t.Errorf("containerd does not have %s with digest %s:\n%s", w.name(image), image.Root.Digest, images)
		}
	}
	if n := strings.Count(images, "\n"); n != len(w.images)+1 {
		t.Errorf("%d lines for %d images:\n%s", n, len(w.images), images)
	}
	w.feeds([]string{"unpack", "k8s.tar.zst", "oci-archive:-"},
		"ctr", ctr("all", "images", "import", "--all-platforms", "--no-unpack", "-")...)
	checks := w.tool("ctr", ctr("all", "images", "check")...)
	for _, image := range w.images {
		if !hasLine(checks, w.name(image), "complete") {
			t.Errorf("%s is not complete:\n%s", w.name(image), checks)
		}
	}
	// A docker-archive gives it the manifest of the platform, as it was, in place of the index.
	w.feeds([]string{"unpack", "--platform", "linux/amd64", "k8s.tar.zst", "docker-archive:-"},
		"ctr", ctr("docker", "images", "import", "--snapshotter", "native", "-")...)
	content := w.tool("ctr", ctr("docker", "images", "ls")...)
	for _, image := range w.images {
		if child := w.childFor(image.Root.Digest, "amd64"); !strings.Contains(content, child.String()) {
			t.Errorf("containerd does not have the manifest %s of %s:\n%s", child, w.name(image), content)
		}
	}
}

// childFor returns the manifest for an architecture that an index lists, or the root itself when it is no index.
func (w *world) childFor(root digest.Digest, architecture string) digest.Digest {
	w.Helper()
	raw, err := os.ReadFile(w.layout.Path(root))
	if err != nil {
		w.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		w.Fatal(err)
	}
	for _, d := range index.Manifests {
		if d.Platform != nil && d.Platform.Architecture == architecture {
			return d.Digest
		}
	}
	return root
}

// podman takes a docker-archive with several images, which have the IDs that they have at the source.
func TestArchiveIntoPodman(t *testing.T) {
	t.Parallel()
	requireTools(t, "podman")
	requireRoot(t)
	w := signedWorld(t)
	dir, err := os.MkdirTemp("", "ferry-pm-") // podman takes no long path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	podman := func(args ...string) []string {
		return append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}, args...)
	}
	unpack := []string{"unpack", "--platform", "linux/amd64", "--image", "*/pause", "--image", "*/team/migrate", "k8s.tar.zst", "docker-archive:-"}
	w.feeds(unpack, "podman", podman("load")...)
	got := w.tool("podman", podman("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")...)
	loaded := 0
	for line := range strings.Lines(got) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, image := range w.images {
			if name == w.name(image) && configs(t, w.layout, image.Root.Digest)[digest.Digest(id)] {
				loaded++
			}
		}
	}
	if loaded != 2 {
		t.Errorf("podman has %d of 2 images:\n%s", loaded, got)
	}
}

// skopeo copies images out of an oci-archive by name, with their digests, and finds configs in a docker-archive.
func TestArchiveForSkopeo(t *testing.T) {
	t.Parallel()
	requireTools(t, "skopeo")
	w := signedWorld(t)
	w.ok("unpack", "k8s.tar.zst", "oci-archive:oci.tar")
	w.ok("unpack", "--platform", "linux/arm64", "--keep-going", "--image", "*/pause", "--image", "*/library/tools", "k8s.tar.zst", "docker-archive:docker.tar")
	from, to := w.witness(w.root), w.witness(w.targetRoot)
	for _, image := range w.images {
		if image.Root.MediaType == ocispec.MediaTypeImageIndex && !image.Pinned {
			w.tool("skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:oci.tar:"+w.name(image),
				"docker://"+strings.TrimPrefix(to.URL, "http://")+"/by-skopeo/"+image.Repository+":"+image.Tag)
			_, err := compare.Image(t.Context(),
				compare.End{Registry: from, Repository: image.Repository, Reference: image.Tag},
				compare.End{Registry: to, Repository: "by-skopeo/" + image.Repository, Reference: image.Tag})
			if err != nil {
				t.Errorf("%s: %v", w.name(image), err)
			}
		}
		if image.Repository == "pause" || image.Repository == "library/tools" {
			config := w.tool("skopeo", "inspect", "--raw", "--config", "docker-archive:docker.tar:"+w.name(image))
			if got := digest.FromString(config); !configs(t, w.layout, image.Root.Digest)[got] || !strings.Contains(config, "arm64") {
				t.Errorf("%s: skopeo finds another config: %s", w.name(image), config)
			}
		}
	}
}
