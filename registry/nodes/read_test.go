package nodes_test

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/nodes"
)

// asked returns, for each client, the names at which it would look for ref, in its order, as URLs without /v2/ and with
// path:tag or path@digest at the end. It reads the files as the client's documentation has it, and knows nothing of how they
// were made.
var asked = map[nodes.Client]func(*testing.T, nodes.Config, oci.Reference) []string{
	nodes.Containerd: askedByContainerd, nodes.K3s: askedByK3s, nodes.RKE2: askedByK3s, nodes.Podman: askedByPodman,
	nodes.Kubespray: askedByKubespray,
}

// text returns the file whose path ends so.
func text(t *testing.T, c nodes.Config, end string) string {
	t.Helper()
	for _, f := range c.Files {
		if strings.HasSuffix(f.Path, "/"+end) {
			return string(f.Text)
		}
	}
	t.Fatalf("%s: there is no %s", c.Client, end)
	return ""
}

func tail(ref oci.Reference) string {
	if ref.Digest != "" {
		return "@" + ref.Digest.String()
	}
	return ":" + ref.Tag
}

// hostsTOML is what containerd reads, docs/hosts.md.
type hostsTOML struct {
	hostTOML
	Server string              `toml:"server"`
	Host   map[string]hostTOML `toml:"host"`
}

type hostTOML struct {
	Capabilities []string          `toml:"capabilities"`
	OverridePath bool              `toml:"override_path"`
	CA           string            `toml:"ca"`
	SkipVerify   bool              `toml:"skip_verify"`
	Rewrite      map[string]string `toml:"rewrite"` // of k3s
}

// at returns where a repository is asked for.
func (h hostTOML) at(t *testing.T, place, repository string) string {
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	if u.Path = path.Clean("/" + u.Path); !h.OverridePath && !strings.HasSuffix(u.Path, "/v2") {
		u.Path = path.Join(u.Path, "v2")
	}
	base, ok := strings.CutPrefix(u.Path, "/v2")
	if !ok || !slices.Contains(h.Capabilities, "resolve") || !slices.Contains(h.Capabilities, "pull") {
		t.Errorf("%s: %+v", place, h)
	}
	return u.Scheme + "://" + u.Host + base + "/" + repository
}

func askedByContainerd(t *testing.T, c nodes.Config, ref oci.Reference) []string {
	host := ref.Host
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i] + "_" + host[i+1:] + "_"
	}
	var file hostsTOML
	meta, err := toml.Decode(text(t, c, "certs.d/"+host+"/hosts.toml"), &file)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatal(err, meta.Undecoded())
	}
	var names []string
	for _, key := range meta.Keys() {
		if len(key) == 2 && key[0] == "host" {
			names = append(names, file.Host[key[1]].at(t, key[1], ref.Path)+tail(ref))
		}
	}
	return append(names, file.hostTOML.at(t, file.Server, ref.Path)+tail(ref))
}

// askedByK3s makes hosts.toml as k3s does. Where the order of the rules would matter, all that may come of it is returned.
func askedByK3s(t *testing.T, c nodes.Config, ref oci.Reference) []string {
	var file struct {
		Mirrors map[string]struct {
			Endpoint []string
			Rewrite  map[string]string
		}
		Configs map[string]struct{ TLS map[string]any }
	}
	d := yaml.NewDecoder(strings.NewReader(text(t, c, "registries.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	mirror := file.Mirrors[ref.Host]
	if len(mirror.Endpoint) != 1 {
		t.Fatalf("endpoints %q", mirror.Endpoint)
	}
	var made strings.Builder
	fmt.Fprintf(&made, "[host.%q]\n  [host.%q.rewrite]\n", mirror.Endpoint[0], mirror.Endpoint[0])
	for key, value := range mirror.Rewrite {
		fmt.Fprintf(&made, "    \"%s\" = \"%s\"\n", key, value)
	}
	var hosts hostsTOML
	if _, err := toml.Decode(made.String(), &hosts); err != nil {
		t.Fatalf("%v in\n%s", err, made.String())
	}
	var names []string
	for key, value := range hosts.Host[mirror.Endpoint[0]].Rewrite {
		if changed := regexp.MustCompile(key).ReplaceAllString(ref.Path, value); changed != ref.Path {
			names = append(names, mirror.Endpoint[0]+"/"+changed+tail(ref))
		}
	}
	if names == nil {
		return []string{mirror.Endpoint[0] + "/" + ref.Path + tail(ref)}
	}
	if len(names) > 1 {
		t.Errorf("%s: %s becomes one of %q", c.Client, ref, names)
	}
	return names
}

// askedByPodman follows containers-registries.conf(5).
func askedByPodman(t *testing.T, c nodes.Config, ref oci.Reference) []string {
	var file struct {
		Registry []struct {
			Prefix, Location string
			Insecure         bool
		}
	}
	meta, err := toml.Decode(text(t, c, "50-ferry.conf"), &file)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatal(err, meta.Undecoded())
	}
	name := ref.Repository.String() + tail(ref)
	longest, found := "", ""
	for _, r := range file.Registry {
		rest, ok := strings.CutPrefix(name, r.Prefix)
		if r.Prefix == "" || !ok || rest != "" && !strings.Contains("/:@", rest[:1]) || len(r.Prefix) <= len(longest) {
			continue
		}
		longest, found = r.Prefix, "https://"+r.Location+rest
		if r.Insecure {
			found = "http://" + r.Location + rest
		}
	}
	return []string{found}
}

// kubesprayDefaults are kubespray's own, as far as the images of the tests need them.
var kubesprayDefaults = map[string][2]string{ // by source: the variable and what follows it
	"registry.k8s.io/kube-apiserver":  {"kubeadm_image_repo", "/kube-apiserver"},
	"registry.k8s.io/kube-proxy":      {"kube_proxy_image_repo", ""},
	"registry.k8s.io/pause":           {"pod_infra_image_repo", ""},
	"registry.k8s.io/coredns/coredns": {"coredns_image_repo", ""},
	"quay.io/calico/node":             {"calico_node_image_repo", ""},
	"docker.io/library/nginx":         {"nginx_image_repo", ""},
}

var kubesprayBases = map[string]string{
	"registry.k8s.io": "kube_image_repo", "quay.io": "quay_image_repo", "docker.io": "docker_image_repo",
	"ghcr.io": "github_image_repo", "gcr.io": "gcr_image_repo",
}

// askedByKubespray composes the name from the variables, and for other registries reads containerd's mirrors as kubespray's
// template puts them into hosts.toml.
func askedByKubespray(t *testing.T, c nodes.Config, ref oci.Reference) []string {
	var file map[string]any
	if err := yaml.Unmarshal([]byte(text(t, c, "ferry.yml")), &file); err != nil {
		t.Fatal(err)
	}
	base, ok := kubesprayBases[ref.Host]
	if !ok {
		return nil
	}
	own := kubesprayDefaults[ref.Repository.String()]
	if value, ok := file[own[0]].(string); ok {
		return []string{"https://" + value + own[1] + tail(ref)}
	}
	value, ok := file[base].(string)
	if !ok {
		t.Fatalf("no %s", base)
	}
	return []string{"https://" + value + "/" + ref.Path + tail(ref)}
}
