package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// nodeWorld is a world whose images are named as those of the public registries, which nobody may ask.
type nodeWorld struct {
	*world
	names   []string // of w.images
	outside *httptest.Server
	asked   atomic.Int64
}

// publicName returns the name that an image of the demo could have in the world.
func publicName(image corpus.Image) string {
	switch {
	case !strings.Contains(image.Repository, "/"):
		return image.Reference("registry.k8s.io")
	case strings.HasPrefix(image.Repository, "library/"):
		return image.Reference("docker.io")
	}
	return image.Reference("quay.io")
}

// newNodeWorld packs the demo's images under public names.
func newNodeWorld(t *testing.T, target distribution.Options) *nodeWorld {
	w := &nodeWorld{world: newWorld(t, distribution.Options{}, target)}
	w.outside = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		w.Errorf("%s is asked for", r.URL.Host)
		http.Error(rw, "nothing is outside", http.StatusBadGateway)
	}))
	t.Cleanup(w.outside.Close)
	w.env = []string{"HTTPS_PROXY=" + w.outside.URL, "HTTP_PROXY=" + w.outside.URL}
	pack := []string{"pack", "-o", "k8s.tar.zst", "--no-referrers"}
	for _, host := range []string{"docker.io", "quay.io", "registry.k8s.io"} {
		pack = append(pack, "--mirror", host+"="+w.source.Host())
	}
	for _, image := range w.images {
		w.names = append(w.names, publicName(image))
	}
	w.ok(append(pack, w.names...)...)
	return w
}

// load pushes the images under the names that the flags give, and writes the files for nodes.
func (w *nodeWorld) load(prefix string, flags ...string) {
	w.Helper()
	var trust []string
	if strings.HasPrefix(w.target.URL(), "https:") {
		trust = []string{"--dest-ca", w.target.CAFile()}
	}
	w.ok(slices.Concat([]string{"unpack"}, flags, trust, []string{"k8s.tar.zst", w.target.Host() + prefix})...)
	if trust != nil {
		trust[0] = "--ca"
	}
	got := w.ferry(slices.Concat([]string{"hosts", "--write", "nodes"}, flags, trust, []string{"k8s.tar.zst", w.target.Host() + prefix})...)
	if got.code != 0 && got.code != 4 { // of some clients some images cannot be told
		w.expect(0, got)
	}
}

// pull runs a client that asks an outside proxy for whatever is not on loopback.
func (w *nodeWorld) pull(env []string, name string, args ...string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), name, args...)
	cmd.Dir = w.dir
	cmd.Env = append(append(os.Environ(), "HOME="+w.dir, "NO_PROXY=127.0.0.1"), append(w.env, env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
}

// Nodes pull under the old names, from a registry that has other ones, and from ferry itself.
func TestNodes(t *testing.T) {
	for _, test := range []struct {
		name   string
		target distribution.Options
		at     func(*nodeWorld)
	}{
		{"prefix", distribution.Options{}, func(w *nodeWorld) { w.load("/" + prefix) }},
		{"bare", distribution.Options{}, func(w *nodeWorld) { w.load("") }},
		{"keephost", distribution.Options{}, func(w *nodeWorld) { w.load("/"+prefix, "--keep-host") }},
		{"authority", distribution.Options{TLS: true}, func(w *nodeWorld) { w.load("/deep/" + prefix) }},
		{"flatten", distribution.Options{}, func(w *nodeWorld) { w.load("/"+prefix, "--flatten") }},
		{"serve", distribution.Options{}, func(w *nodeWorld) {
			w.ok("hosts", "--serve", "--write", "nodes", "k8s.tar.zst", w.serve("k8s.tar.zst").url)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newNodeWorld(t, test.target)
			test.at(w)
			if test.name != "flatten" { // of which containerd cannot be told
				t.Run("containerd", w.containerdPulls)
			}
			t.Run("podman", w.podmanPulls)
			if n := w.asked.Load(); n > 0 {
				t.Errorf("%d requests went outside", n)
			}
		})
	}
}

// containerdPulls pulls the images with ctr, which reads hosts.toml as containerd does.
func (w *nodeWorld) containerdPulls(t *testing.T) {
	socket := containerd(t)
	ctr := func(args ...string) []string { return append([]string{"--address", socket}, args...) }
	for _, name := range w.names {
		w.pull(nil, "ctr", ctr("content", "fetch", "--all-platforms", "--hosts-dir", "nodes/containerd/certs.d", name)...)
	}
	images := w.tool("ctr", ctr("images", "ls")...)
	for i, image := range w.images {
		if !hasLine(images, w.names[i], image.Root.Digest.String()) {
			t.Errorf("containerd does not have %s with digest %s:\n%s", w.names[i], image.Root.Digest, images)
		}
	}
}

// podmanPulls pulls the images with podman, whose storage lies in the folder of the story.
func (w *nodeWorld) podmanPulls(t *testing.T) {
	requireTools(t, "podman")
	requireRoot(t)
	env := []string{"CONTAINERS_REGISTRIES_CONF=" + w.path("nodes/podman/50-ferry.conf")}
	if w.files("nodes/podman")["ca.crt"] > 0 {
		w.write(".config/containers/certs.d/"+w.target.Host()+"/ca.crt", string(w.read("nodes/podman/ca.crt")))
	}
	w.write("policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	dir, err := os.MkdirTemp("", "ferry-pm-") // podman takes no longer path for its state than 50 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	podman := func(args ...string) []string {
		return append([]string{"--root", w.path("podman"), "--runroot", dir, "--storage-driver", "vfs"}, args...)
	}
	for _, name := range w.names {
		w.pull(env, "podman", podman("pull", "-q", "--signature-policy", w.path("policy.json"), name)...)
	}
	images := w.tool("podman", podman("images", "--digests", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}")...)
	for _, name := range w.names {
		if !strings.Contains(images, name) {
			t.Errorf("podman does not have %s:\n%s", name, images)
		}
	}
}
