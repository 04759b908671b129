package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/cmd/e2e/compare"
	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/goprograms"
	"github.com/ferry-oci/ferry/cmd/e2e/wire"
)

// requireLong skips a story that is told only when all are.
func requireLong(t *testing.T) {
	t.Helper()
	if os.Getenv("FERRY_E2E_LONG") == "" {
		t.Skip("a long story: FERRY_E2E_LONG is not set")
	}
}

// requireProgram installs one of goprograms, once, and returns its path. Where the Go module proxy cannot be reached, the
// story is skipped as by requireTools.
func requireProgram(t *testing.T, pkg string) string {
	t.Helper()
	name, _, _ := strings.Cut(filepath.Base(pkg), "@")
	program := filepath.Join(sharedDir, name)
	installing.Lock()
	defer installing.Unlock()
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if err := goprograms.Install(t.Context(), sharedDir, pkg); err != nil {
		if os.Getenv("FERRY_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return program
}

var installing sync.Mutex

// open serves a bundle to everybody, by plain HTTP.
func (w *servedWorld) open(bundle string) *served { return w.serve(bundle) }

// closed serves a bundle to one user, ann with the password secret, by TLS with an authority made on the spot, whose
// certificate is certs/ca.crt then.
func (w *servedWorld) closed(bundle string) *served {
	w.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		w.Fatal(err)
	}
	w.write("htpasswd", fmt.Sprintf("ann:%s\n", hash))
	w.write("certs/README", "of the server's authority\n")
	s := w.serve("--tls", "--tls-ca", "certs/ca.crt", "--htpasswd", "htpasswd", bundle)
	if !strings.HasPrefix(s.url, "https:") {
		w.Fatalf("serves at %s", s.url)
	}
	return s
}

// copied proves that a client has put all images with a tag under a prefix of the target.
func (w *servedWorld) copied(prefix string) {
	w.Helper()
	from, to := wire.Registry{URL: w.source.URL()}, wire.Registry{URL: w.target.URL()}
	for _, image := range w.tagged() {
		_, err := compare.Image(w.Context(),
			compare.End{Registry: from, Repository: image.Repository, Reference: image.Tag},
			compare.End{Registry: to, Repository: prefix + "/" + image.Repository, Reference: image.Tag})
		if err != nil {
			w.Errorf("%s/%s: %v", prefix, image.Repository, err)
		}
	}
}

// tagged returns the images that are not named by digest.
func (w *servedWorld) tagged() []corpus.Image {
	return slices.DeleteFunc(slices.Clone(w.images), func(image corpus.Image) bool { return image.Pinned })
}

func TestServeSkopeo(t *testing.T) {
	requireTools(t, "skopeo")
	for _, test := range []struct {
		name        string
		serve       func(*servedWorld, string) *served
		one, source []string // flags for commands of one registry, and of two
	}{
		{"open", (*servedWorld).open, []string{"--tls-verify=false"}, []string{"--src-tls-verify=false"}},
		{
			"closed", (*servedWorld).closed,
			[]string{"--cert-dir", "certs", "--creds", "ann:secret"},
			[]string{"--src-cert-dir", "certs", "--src-creds", "ann:secret"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newServedWorld(t)
			w.pack("k8s.tar.zst")
			s := test.serve(w, "k8s.tar.zst")
			skopeo := func(flags []string, args ...string) string {
				return w.tool("skopeo", slices.Concat(args[:1], flags, args[1:])...)
			}
			var list struct{ Tags []string }
			w.unmarshal(skopeo(test.one, "list-tags", "docker://"+s.host+"/"+w.signed.Repository), &list)
			if want := []string{w.signatureTag, w.signed.Tag}; !slices.Equal(list.Tags, want) {
				t.Errorf("tags %q, want %q", list.Tags, want)
			}
			for _, image := range w.tagged() {
				from := "docker://" + s.host + "/" + image.Repository + ":" + image.Tag
				var inspected ocispec.Descriptor
				w.unmarshal(skopeo(test.one, "inspect", from), &inspected)
				if inspected.Digest != image.Root.Digest {
					t.Errorf("skopeo inspect %s: digest %s, want %s", from, inspected.Digest, image.Root.Digest)
				}
				to := "docker://" + w.target.Host() + "/copied/" + image.Repository + ":" + image.Tag
				skopeo(test.source, "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", from, to)
			}
			w.copied("copied")
		})
	}
}

// unmarshal reads the JSON that a client prints.
func (w *world) unmarshal(text string, v any) {
	w.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		w.Fatalf("%v:\n%s", err, text)
	}
}

// containerd pulls under the original names: its hosts.toml sends it to ferry with the name of the registry that is meant.
func TestServeContainerd(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(*servedWorld, string) *served
		hosts string // a line of hosts.toml
		flags []string
	}{
		{"open", (*servedWorld).open, "", nil},
		{"closed", (*servedWorld).closed, "ca = \"ca.crt\"\n", []string{"--user", "ann:secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			socket := containerd(t)
			w := newServedWorld(t)
			w.pack("k8s.tar.zst")
			s := test.serve(w, "k8s.tar.zst")
			// Without a table of hosts, containerd 1.6 does not take the file.
			hosts := fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n%s", s.url, s.url, test.hosts)
			w.write("certs.d/"+servedHost+"/hosts.toml", hosts)
			if test.hosts != "" {
				w.write("certs.d/"+servedHost+"/ca.crt", string(w.read("certs/ca.crt")))
			}
			ctr := func(command []string, args ...string) string {
				return w.tool("ctr", slices.Concat([]string{"--address", socket}, command, args)...)
			}
			fetch := slices.Concat([]string{"content", "fetch", "--all-platforms", "--hosts-dir", w.path("certs.d")}, test.flags)
			for _, image := range w.images {
				ctr(fetch, image.Reference(servedHost))
			}
			w.isComplete(ctr([]string{"images", "ls"}), ctr([]string{"images", "check"}))
			pull := slices.Concat([]string{"images", "pull", "--snapshotter", "native", "--hosts-dir", w.path("certs.d")}, test.flags)
			ctr(pull, "--platform", "linux/amd64", w.signed.Reference(servedHost)) // unpacks it as well
		})
	}
}

// isComplete looks for all images in what ctr prints.
func (w *servedWorld) isComplete(images, checks string) {
	w.Helper()
	for _, image := range w.images {
		name := image.Reference(servedHost)
		if !hasLine(images, name, image.Root.Digest.String()) || !hasLine(checks, name, "complete") {
			w.Errorf("containerd does not have all of %s with digest %s:\n%s%s", name, image.Root.Digest, images, checks)
		}
	}
}

// crane, with all that it has for reading.
func TestServeCrane(t *testing.T) {
	t.Parallel()
	requireLong(t)
	program := requireProgram(t, goprograms.Crane)
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	s := w.serve("k8s.tar.zst")
	crane := func(args ...string) string { return strings.TrimSpace(w.tool(program, args...)) }

	var repositories []string
	for _, image := range w.images {
		repositories = append(repositories, image.Repository)
	}
	slices.Sort(repositories)
	if got := strings.Fields(crane("catalog", s.host)); !slices.Equal(got, repositories) {
		t.Errorf("crane catalog: %q, want %q", got, repositories)
	}
	if got, want := strings.Fields(crane("ls", s.host+"/"+w.signed.Repository)), []string{w.signatureTag, w.signed.Tag}; !slices.Equal(got, want) {
		t.Errorf("crane ls: %q, want %q", got, want)
	}
	for _, image := range w.tagged() {
		name := image.Repository + ":" + image.Tag
		if got := crane("digest", s.host+"/"+name); got != image.Root.Digest.String() {
			t.Errorf("crane digest %s: %s, want %s", name, got, image.Root.Digest)
		}
		manifest := w.tool(program, "manifest", s.host+"/"+servedHost+"/"+name)
		if got := digest.FromString(manifest); got != image.Root.Digest {
			t.Errorf("crane manifest %s: digest %s, want %s", name, got, image.Root.Digest)
		}
		validate := []string{"validate", "--remote", s.host + "/" + name}
		if image.Root.Digest == w.signed.Root.Digest { // which has attestations, and crane takes their layers for gzip
			validate = append(validate, "--platform", "linux/amd64")
		}
		crane(validate...)
		crane("pull", "--platform", "linux/amd64", s.host+"/"+name, "image.tar")
		crane("validate", "--tarball", "image.tar")
		crane("copy", s.host+"/"+name, w.target.Host()+"/copied/"+name)
	}
	w.copied("copied")
}

// oras finds what belongs to an image, and copies it along.
func TestServeOras(t *testing.T) {
	t.Parallel()
	requireLong(t)
	program := requireProgram(t, goprograms.Oras)
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	s := w.serve("k8s.tar.zst")
	signed := s.host + "/" + w.signed.Repository + ":" + w.signed.Tag

	for _, image := range w.images {
		if listed := w.tool(program, "repo", "ls", "--plain-http", s.host); !slices.Contains(strings.Fields(listed), image.Repository) {
			t.Errorf("oras repo ls does not list %s:\n%s", image.Repository, listed)
		}
	}
	if listed := w.tool(program, "repo", "tags", "--plain-http", s.host+"/"+w.signed.Repository); !slices.Contains(strings.Fields(listed), w.signed.Tag) {
		t.Errorf("oras repo tags:\n%s", listed)
	}
	for _, kind := range []struct{ flags, want []string }{
		{nil, []string{w.sbom.Digest.String()}},
		{[]string{"--artifact-type", w.sbom.ArtifactType}, []string{w.sbom.Digest.String()}},
		{[]string{"--artifact-type", "application/vnd.e2e.other"}, nil},
	} {
		var found struct{ Referrers []ocispec.Descriptor }
		w.unmarshal(w.tool(program, slices.Concat([]string{"discover", "--plain-http", "--format", "json"}, kind.flags, []string{signed})...), &found)
		var got []string
		for _, d := range found.Referrers {
			got = append(got, d.Digest.String())
		}
		if !slices.Equal(got, kind.want) {
			t.Errorf("oras discover %q: %q, want %q", kind.flags, got, kind.want)
		}
	}
	w.tool(program, "pull", "--plain-http", "-o", "pulled", s.host+"/"+w.signed.Repository+":"+w.signatureTag)
	for _, image := range w.tagged() {
		name := image.Repository + ":" + image.Tag
		w.tool(program, "cp", "-r", "--no-tty", "--from-plain-http", s.host+"/"+name, "--to-plain-http", w.target.Host()+"/copied/"+name)
	}
	w.copied("copied")
	to := wire.Registry{URL: w.target.URL()}
	if _, _, err := to.Manifest(t.Context(), "copied/"+w.signed.Repository, w.sbom.Digest.String()); err != nil {
		t.Errorf("the SBOM did not come along: %v", err)
	}
}

func TestServePodman(t *testing.T) {
	t.Parallel()
	requireLong(t)
	requireTools(t, "podman")
	requireRoot(t)
	w := newServedWorld(t)
	w.pack("k8s.tar.zst")
	s := w.closed("k8s.tar.zst")
	podman := func(args ...string) string {
		return w.tool("podman", append([]string{
			"--root", w.path("podman/root"), "--runroot", w.path("podman/run"), "--storage-driver", "vfs", "--events-backend", "none",
		}, args...)...)
	}
	for _, image := range w.images {
		name := image.Reference(s.host)
		podman("pull", "-q", "--cert-dir", "certs", "--creds", "ann:secret", name)
		want := s.host + "/" + image.Repository + "@" + image.Root.Digest.String()
		if got := podman("image", "inspect", "--format", "{{.RepoDigests}}", name); !strings.Contains(got, want) {
			t.Errorf("podman has %s of %s, want %s", got, name, want)
		}
	}
}

// All of them at once, of a bundle whose layers are made again for each.
func TestServeTogether(t *testing.T) {
	t.Parallel()
	requireLong(t)
	requireTools(t, "skopeo")
	crane, oras := requireProgram(t, goprograms.Crane), requireProgram(t, goprograms.Oras)
	w := newServedWorld(t)
	w.pack("k8s.tar.zst", "--compact", "--level", "fastest")
	s := w.serve("k8s.tar.zst")
	clients := map[string][]string{
		"skopeo": {"skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"},
		"crane":  {crane, "copy"},
		"oras":   {oras, "cp", "--no-tty", "--from-plain-http", "--to-plain-http"},
	}
	var group errgroup.Group
	for name, command := range clients {
		scheme := ""
		if name == "skopeo" {
			scheme = "docker://"
		}
		for _, image := range w.tagged() {
			ref := "/" + image.Repository + ":" + image.Tag
			group.Go(func() error {
				args := append(command[1:len(command):len(command)], scheme+s.host+ref, scheme+w.target.Host()+"/"+name+ref)
				cmd := exec.CommandContext(t.Context(), command[0], args...)
				cmd.Env = append(os.Environ(), "HOME="+w.dir)
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("%s: %w\n%s", cmd, err, out)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for name := range clients {
		w.copied(name)
	}
}
