//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// debianSuite is the release of Debian that the packages come from, whatever this machine runs.
const debianSuite = "bookworm"

// debian builds a corpus of Debian packages. It takes apt-get and dpkg-deb, and leaves the machine's own apt alone.
type debian struct{ cache string }

// The parts are layers, each of one or more packages.
func debianParts() map[string][]string {
	return map[string][]string{
		"base": {
			"base-files", "bash", "ca-certificates", "coreutils", "dpkg", "libc6", "libssl3", "libstdc++6", "perl-base",
			"util-linux", "zlib1g",
		},
		"python":       {"libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"},
		"perl":         {"libperl5.36", "perl", "perl-modules-5.36"},
		"erlang":       {"erlang-base"},
		"icu":          {"libicu72"},
		"nginx":        {"nginx", "nginx-common"},
		"redis":        {"redis-server", "redis-tools"},
		"postgresql":   {"postgresql-15"},
		"psql":         {"postgresql-client-15", "libpq5"},
		"mariadb-core": {"mariadb-server-core"},
		"mariadb":      {"mariadb-server"},
		"etcd":         {"etcd-server"},
		"haproxy":      {"haproxy"},
		"prometheus":   {"prometheus"},
		"alertmanager": {"prometheus-alertmanager"},
		"exporter":     {"prometheus-node-exporter"},
		"runc":         {"runc"},
		"podman":       {"podman"},
		"skopeo":       {"skopeo"},
		"buildah":      {"buildah"},
		"kubernetes":   {"kubernetes-client"},
		"rabbitmq":     {"rabbitmq-server"},
		"node":         {"libnode108", "nodejs"},
		"git":          {"git"},
		"caddy":        {"caddy"},
		"squid":        {"squid"},
		"php":          {"php8.2-cli"},
		"influxdb":     {"influxdb"},
		"bind":         {"bind9", "bind9-libs"},
	}
}

// debianImages are the images: a name, a tag and the parts on top of the base.
func debianImages() [][]string {
	return [][]string{
		{"library/nginx", "1.22", "perl", "nginx"},
		{"library/redis", "7.0", "redis"},
		{"library/postgres", "15", "icu", "psql", "postgresql"},
		{"library/mariadb", "10.11", "perl", "mariadb-core", "mariadb"},
		{"library/haproxy", "2.6", "perl", "haproxy"},
		{"library/caddy", "2.6", "caddy"},
		{"library/node", "18", "icu", "node"},
		{"library/php", "8.2", "icu", "php"},
		{"library/rabbitmq", "3.10", "erlang", "rabbitmq"},
		{"library/influxdb", "1.6", "influxdb"},
		{"etcd-io/etcd", "v3.4", "etcd"},
		{"prometheus/prometheus", "v2.42", "prometheus"},
		{"prometheus/alertmanager", "v0.25", "alertmanager"},
		{"prometheus/node-exporter", "v1.5", "exporter"},
		{"containers/podman", "v4.3", "python", "podman", "runc"},
		{"containers/tools", "v1.9", "skopeo", "buildah"},
		{"library/bind9", "9.18", "bind"},
		{"k8s/kubectl", "v1.20", "python", "kubernetes"},
		{"k8s/git-sync", "v2.39", "perl", "git"},
		{"library/squid", "5.7", "perl", "squid"},
	}
}

func (d debian) build(ctx context.Context, l corpus.Layout) ([]blueprint, error) {
	parts := debianParts()
	used := map[string]bool{"base": true}
	for _, image := range debianImages() {
		for _, part := range image[2:] {
			used[part] = true
		}
	}
	var packages []string
	for part := range used {
		packages = append(packages, parts[part]...)
	}
	if err := d.download(ctx, packages); err != nil {
		return nil, err
	}
	layers, err := d.layers(ctx, l, used)
	if err != nil {
		return nil, err
	}
	var blueprints []blueprint
	for _, image := range debianImages() {
		b := blueprint{repository: image[0], tag: image[1], layers: map[string][]corpus.Layer{}}
		for _, arch := range architectures() {
			for _, part := range append([]string{"base"}, image[2:]...) {
				b.layers[arch] = append(b.layers[arch], layers[arch+" "+part])
			}
		}
		blueprints = append(blueprints, b)
	}
	return blueprints, nil
}

// debs is the folder that packages are downloaded to.
func (d debian) debs() string { return filepath.Join(d.cache, "debs-"+debianSuite) }

// download fetches the packages of all architectures that are not there yet, with an apt of its own configuration.
func (d debian) download(ctx context.Context, packages []string) error {
	config, err := d.writeAptConfig()
	if err != nil {
		return err
	}
	for _, arch := range architectures() {
		var missing []string
		for _, name := range packages {
			if _, err := d.find(name, arch); err != nil { // those for all architectures came with the first
				missing = append(missing, name+":"+arch)
			}
		}
		if len(missing) == 0 {
			continue
		}
		progress("downloading %d Debian packages for %s", len(missing), arch)
		if err := d.apt(ctx, config, "update"); err != nil {
			return err
		}
		if err := d.apt(ctx, config, append([]string{"download"}, missing...)...); err != nil {
			return err
		}
	}
	return nil
}

func (d debian) apt(ctx context.Context, config string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq"}, args...)...)
	cmd.Dir = d.debs()
	cmd.Env = append(os.Environ(), "APT_CONFIG="+config)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// writeAptConfig makes folders for apt and a configuration that knows no others.
func (d debian) writeAptConfig() (string, error) {
	dir := filepath.Join(d.cache, "apt")
	for _, sub := range []string{d.debs(), filepath.Join(dir, "lists/partial"), filepath.Join(dir, "archives/partial")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return "", err
		}
	}
	files := map[string]string{
		"status": "",
		"sources.list": "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian " +
			debianSuite + " main\n",
		"apt.conf": fmt.Sprintf(`Dir::State %[1]q;
Dir::State::lists %[2]q;
Dir::State::status %[3]q;
Dir::Cache %[1]q;
Dir::Etc::sourcelist %[4]q;
Dir::Etc::sourceparts "-";
APT::Architectures { %[5]s };
APT::Sandbox::User "root";
Acquire::Languages "none";
`, dir, filepath.Join(dir, "lists"), filepath.Join(dir, "status"), filepath.Join(dir, "sources.list"),
			`"`+strings.Join(architectures(), `"; "`)+`";`),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "apt.conf"), nil
}

// find returns the file of a package, which has the architecture or is for all.
func (d debian) find(name, arch string) (string, error) {
	for _, a := range []string{arch, "all"} {
		found, err := filepath.Glob(filepath.Join(d.debs(), name+"_*_"+a+".deb"))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("package %s:%s is not in %s", name, arch, d.debs())
}

// layers makes a layer of each part for each architecture, by "arch part".
func (d debian) layers(ctx context.Context, l corpus.Layout, parts map[string]bool) (map[string]corpus.Layer, error) {
	var mu sync.Mutex
	made := map[string]corpus.Layer{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for _, arch := range architectures() {
		for part := range parts {
			group.Go(func() error {
				layer, err := d.layer(ctx, l, part, arch)
				mu.Lock()
				defer mu.Unlock()
				made[arch+" "+part] = layer
				return err
			})
		}
	}
	return made, group.Wait()
}

// layer makes a layer of what is in the packages of a part.
func (d debian) layer(ctx context.Context, l corpus.Layout, part, arch string) (_ corpus.Layer, err error) {
	root, err := os.MkdirTemp(d.cache, "unpacked-")
	if err != nil {
		return corpus.Layer{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	for _, name := range debianParts()[part] {
		deb, err := d.find(name, arch)
		if err != nil {
			return corpus.Layer{}, err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return corpus.Layer{}, fmt.Errorf("dpkg-deb -x %s: %w\n%s", deb, err, out)
		}
	}
	return l.LayerOf(part, root)
}
