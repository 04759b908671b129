package nodes_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
	"github.com/ferry-oci/ferry/registry/nodes"
)

var update = flag.Bool("update", false, "write the golden trees")

const pinned = "quay.io/acme/tool@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// oldNames are the images of the tests.
var oldNames = []string{
	"registry.k8s.io/pause:3.9",
	"registry.k8s.io/pause:3.10",
	"registry.k8s.io/kube-apiserver:v1.31.0",
	"registry.k8s.io/kube-proxy:v1.31.0",
	"registry.k8s.io/coredns/coredns:v1.11.1",
	"quay.io/calico/node:v3.27.0",
	"quay.io/a.b/c_d/e:v1",
	pinned,
	"docker.io/library/nginx:1.27",
	"lab.example:5000/team/app:v1",
}

// moved returns images with the names that they get.
func moved(t *testing.T, names []string, n registry.Naming) []nodes.Image {
	t.Helper()
	var images []nodes.Image
	for _, name := range names {
		ref, err := oci.ParseReference(name)
		if err != nil {
			t.Fatal(err)
		}
		targets, err := n.Names(ref)
		if err != nil {
			t.Fatal(err)
		}
		img := nodes.Image{Source: ref, Digest: digest.FromString(name)}
		if ref.Digest != "" {
			img.Digest = ref.Digest
		}
		for _, target := range targets {
			img.Targets = append(img.Targets, oci.Reference{Repository: target.Repository, Tag: target.Tag})
		}
		images = append(images, img)
	}
	return images
}

func rules(t *testing.T, text string) []registry.Rule {
	t.Helper()
	all, err := registry.ParseMap("rules", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every image is found by its old name, or said not to be.
func TestEveryImageIsFoundOrNamed(t *testing.T) {
	none := ""
	base := "base"
	all := slices.Clone(oldNames)
	all = slices.DeleteFunc(all, func(s string) bool { return strings.HasPrefix(s, "lab.") })
	for _, test := range []struct {
		name   string
		naming registry.Naming
		unsaid map[nodes.Client][]string
	}{
		{"bare host", registry.Naming{}, nil},
		{"bare host, names stay", registry.Naming{Root: &none}, nil},
		{"prefix", registry.Naming{Prefix: "k8s"}, nil},
		{"deep prefix", registry.Naming{Prefix: "a/b.c/d"}, nil},
		{"prefix and root", registry.Naming{Prefix: "k8s", Root: &base}, nil},
		{"keep-host", registry.Naming{KeepHost: true, Prefix: "k8s"}, nil},
		{
			"flatten",
			registry.Naming{Prefix: "k8s", Flatten: registry.FlattenJoin},
			map[nodes.Client][]string{
				nodes.Containerd: without(oldNames, "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10",
					"registry.k8s.io/kube-apiserver:v1.31.0", "registry.k8s.io/kube-proxy:v1.31.0"),
				nodes.Kubespray: {"quay.io/a.b/c_d/e:v1", pinned},
			},
		},
		{
			"flatten with a sign that marks could swallow",
			registry.Naming{Prefix: "k8s", Flatten: registry.FlattenJoin, FlattenSep: "_"},
			map[nodes.Client][]string{
				nodes.Containerd: without(oldNames, "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10",
					"registry.k8s.io/kube-apiserver:v1.31.0", "registry.k8s.io/kube-proxy:v1.31.0"),
				nodes.Kubespray: {"quay.io/a.b/c_d/e:v1", pinned},
			},
		},
		{
			"flatten last",
			registry.Naming{Prefix: "k8s", Flatten: registry.FlattenLast},
			map[nodes.Client][]string{
				nodes.Containerd: without(oldNames, "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10",
					"registry.k8s.io/kube-apiserver:v1.31.0", "registry.k8s.io/kube-proxy:v1.31.0"),
				nodes.Kubespray: {"quay.io/a.b/c_d/e:v1", pinned},
			},
		},
		{
			"a map that moves", registry.Naming{Map: rules(t, "calico/** => cni/$0\n")}, nil,
		},
		{
			"a map that renames, and one that renames a tag",
			registry.Naming{Prefix: "k8s", Map: rules(t, "calico/node => cni/calico-node\npause:3.9 => sandbox/pause:stable\nacme/tool@* => acme/tool:pinned\n")},
			map[nodes.Client][]string{
				nodes.Containerd: {"quay.io/calico/node:v3.27.0", "registry.k8s.io/pause:3.9"},
				nodes.K3s:        {"registry.k8s.io/pause:3.9"},
				nodes.RKE2:       {"registry.k8s.io/pause:3.9"},
				nodes.Kubespray:  {"registry.k8s.io/pause:3.9"},
			},
		},
		{
			"several names", registry.Naming{Map: rules(t, "calico/node => cni/calico-node $0 other:latest\n")}, nil,
		},
		{
			"tags of one repository in two",
			registry.Naming{Prefix: "k8s", Map: rules(t, "pause:3.9 => old/pause\n")},
			map[nodes.Client][]string{
				nodes.K3s:       {"registry.k8s.io/pause:3.9"},
				nodes.RKE2:      {"registry.k8s.io/pause:3.9"},
				nodes.Kubespray: {"registry.k8s.io/pause:3.9"},
			},
		},
	} {
		for _, client := range nodes.Clients {
			t.Run(test.name+"/"+string(client), func(t *testing.T) {
				test.naming.Host = "harbor.local"
				names := oldNames
				if client == nodes.Kubespray { // which has no names for others
					names = all
				}
				images := moved(t, names, test.naming)
				config := nodes.New(client, images, nodes.Registry{Host: "harbor.local"})
				var unsaid []string
				for _, u := range config.Unsaid {
					unsaid = append(unsaid, u.Image)
				}
				slices.Sort(unsaid)
				want := slices.Clone(test.unsaid[client])
				if client == nodes.Kubespray {
					want = slices.DeleteFunc(want, func(s string) bool { return !slices.Contains(all, s) })
				}
				slices.Sort(want)
				if !slices.Equal(unsaid, want) {
					t.Errorf("not said:\n%s\nwant:\n%s", strings.Join(unsaid, "\n"), strings.Join(want, "\n"))
				}
				content := contents(images)
				for _, img := range images {
					found := find(content, asked[client](t, config, img.Source))
					if said := !slices.Contains(unsaid, img.Source.Name()); said != (found == img.Digest) {
						t.Errorf("%s: finds %q, said %v", img.Source, found, said)
					}
				}
				if t.Failed() {
					for _, f := range config.Files {
						t.Logf("%s\n%s", f.Path, f.Text)
					}
				}
			})
		}
	}
}

func without(all []string, these ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(these, s) })
}

// contents returns what the new registry has.
func contents(images []nodes.Image) map[string]digest.Digest {
	content := map[string]digest.Digest{}
	for _, img := range images {
		for _, target := range img.Targets {
			content["https://"+target.Repository.String()+"@"+img.Digest.String()] = img.Digest
			if target.Tag != "" {
				content["https://"+target.Repository.String()+":"+target.Tag] = img.Digest
			}
		}
	}
	return content
}

// find returns what the first of the names that is there means.
func find(content map[string]digest.Digest, names []string) digest.Digest {
	for _, name := range names {
		if d := content[name]; d != "" {
			return d
		}
	}
	return ""
}

// With a second path, containerd could take another image for the one that is wanted.
func TestAnotherImageIsFoundFirst(t *testing.T) {
	images := moved(t, []string{"quay.io/a/one:1", "quay.io/b/two:1", "quay.io/c/three:1"}, registry.Naming{
		Host: "harbor.local", Map: rules(t, "c/three => moved/c/three\n"),
	})
	images = append(images, moved(t, []string{"ghcr.io/c/three:1"}, registry.Naming{Host: "harbor.local"})...)
	config := nodes.New(nodes.Containerd, images, nodes.Registry{Host: "harbor.local"})
	want := nodes.Unsaid{
		Image: "quay.io/c/three:1", Target: "harbor.local/moved/c/three:1",
		Why: "harbor.local/c/three:1, which is asked first, is another image",
	}
	if len(config.Unsaid) != 1 || config.Unsaid[0] != want {
		t.Errorf("got %+v, want %+v", config.Unsaid, want)
	}
}

// In the old registry itself what keeps its name needs nothing, and what has another one is found by both.
func TestTheOldRegistryItself(t *testing.T) {
	r := nodes.Registry{Host: "harbor.local"}
	kept := moved(t, []string{"harbor.local/team/app:1"}, registry.Naming{Host: r.Host})
	for _, client := range nodes.Clients {
		config := nodes.New(client, kept, r)
		for _, f := range config.Files {
			if strings.Contains(string(f.Text), "prefix = \"harbor.local\"") || strings.HasSuffix(f.Path, "hosts.toml") {
				t.Errorf("%s: %s\n%s", client, f.Path, f.Text)
			}
		}
	}
	images := moved(t, []string{"harbor.local/team/app:1"}, registry.Naming{Host: r.Host, Prefix: "k8s"})
	config := nodes.New(nodes.Containerd, images, r)
	for _, ref := range []oci.Reference{images[0].Source, images[0].Targets[0]} {
		if got := find(contents(images), askedByContainerd(t, config, ref)); got != images[0].Digest {
			t.Errorf("%s: finds %q", ref, got)
		}
	}
}

// The same images give the same files.
func TestOrderDoesNotMatter(t *testing.T) {
	images := moved(t, oldNames, registry.Naming{Host: "harbor.local"})
	turned := slices.Clone(images)
	slices.Reverse(turned)
	for _, client := range nodes.Clients {
		a, b := nodes.New(client, images, nodes.Registry{Host: "harbor.local"}), nodes.New(client, turned, nodes.Registry{Host: "harbor.local"})
		if !slices.EqualFunc(a.Files, b.Files, func(a, b nodes.File) bool { return a.Path == b.Path && bytes.Equal(a.Text, b.Text) }) {
			t.Errorf("%s: %q and %q", client, a.Files, b.Files)
		}
	}
}

// The trees under testdata are what the files look like. `go test ./registry/nodes -update` writes them.
func TestGolden(t *testing.T) {
	ca := []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
	for _, test := range []struct {
		name     string
		naming   registry.Naming
		registry nodes.Registry
	}{
		{"prefix", registry.Naming{Prefix: "k8s"}, nodes.Registry{Host: "harbor.local"}},
		{"bare", registry.Naming{}, nodes.Registry{Host: "harbor.local", CA: ca}},
		{"flatten", registry.Naming{Prefix: "k8s", Flatten: registry.FlattenJoin}, nodes.Registry{Host: "harbor.local", SkipVerify: true}},
		{"serve", registry.Naming{KeepHost: true}, nodes.Registry{Host: "10.0.0.5:5000", HTTP: true, Serve: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.naming.Host = test.registry.Host
			root := filepath.Join("testdata", test.name)
			got := map[string]string{}
			for _, client := range nodes.Clients {
				for _, f := range nodes.New(client, moved(t, oldNames, test.naming), test.registry).Files {
					got[f.Path] = string(f.Text)
				}
			}
			if *update {
				writeTree(t, root, got)
			}
			want := readTree(t, root)
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got[name], want[name])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d files, want %d", len(got), len(want))
			}
		})
	}
}

func writeTree(t *testing.T, root string, files map[string]string) {
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readTree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestParseClients(t *testing.T) {
	got, err := nodes.ParseClients("k3s, podman,k3s")
	if err != nil || !slices.Equal(got, []nodes.Client{nodes.K3s, nodes.Podman}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := nodes.ParseClients("docker"); err == nil || !strings.Contains(err.Error(), "kubespray") {
		t.Errorf("got %v", err)
	}
}
