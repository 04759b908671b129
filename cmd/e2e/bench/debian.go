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
type debian struct {
	cache string
	// security also builds each image with the packages of the security archive, where it has others: two point releases
	// of the same. The layers then come from several encoders, see encoders.
	security bool
}

// An archive is where packages come from.
type archive struct {
	suite string
	line  string // of sources.list
}

// archives are the release, and its security updates, which are not part of it yet or have been replaced in it.
func archives() (release, security archive) {
	const source = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/"
	return archive{debianSuite, source + "debian " + debianSuite + " main\n"},
		archive{debianSuite + "-security", source + "debian-security " + debianSuite + "-security main\n"}
}

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
	release, security := archives()
	if err := d.download(ctx, release, packages); err != nil {
		return nil, err
	}
	blueprints, err := d.blueprints(ctx, l, used, release)
	if err != nil || !d.security {
		return blueprints, err
	}
	if err := d.download(ctx, security, packages); err != nil {
		return nil, err
	}
	updated, err := d.blueprints(ctx, l, used, security, release)
	for i := range updated {
		updated[i].tag += "-security"
	}
	return append(blueprints, updated...), err
}

// blueprints makes the layers of the parts from the packages of the archives, of which the first that has one counts.
func (d debian) blueprints(
	ctx context.Context, l corpus.Layout, parts map[string]bool, from ...archive,
) ([]blueprint, error) {
	layers, err := d.layers(ctx, l, parts, from)
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

// debs is the folder that the packages of an archive are downloaded to.
func (d debian) debs(from archive) string { return filepath.Join(d.cache, "debs-"+from.suite) }

// download fetches those of the packages that the archive has, for all architectures, and that are not there yet, with an
// apt of its own configuration.
func (d debian) download(ctx context.Context, from archive, packages []string) error {
	config, err := d.writeAptConfig(from)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, arch := range architectures() {
		var missing []string
		for _, name := range packages {
			if _, err := d.find(name, arch, from); err != nil { // those for all architectures came with the first
				missing = append(missing, name)
			}
		}
		if len(missing) == 0 {
			continue
		}
		if len(known) == 0 {
			if known, err = d.packages(ctx, config, from); err != nil {
				return err
			}
		}
		var names []string
		for _, name := range missing {
			if known[name] {
				names = append(names, name+":"+arch)
			}
		}
		progress("downloading %d packages of %s for %s", len(names), from.suite, arch)
		if _, err := d.apt(ctx, config, from, "apt-get", append([]string{"-qq", "download"}, names...)...); err != nil {
			return err
		}
	}
	return nil
}

// packages asks for what the archive has today, and returns the names.
func (d debian) packages(ctx context.Context, config string, from archive) (map[string]bool, error) {
	if _, err := d.apt(ctx, config, from, "apt-get", "-qq", "update"); err != nil {
		return nil, err
	}
	out, err := d.apt(ctx, config, from, "apt-cache", "pkgnames")
	known := map[string]bool{}
	for name := range strings.FieldsSeq(string(out)) {
		known[name] = true
	}
	return known, err
}

// apt runs a program of apt and returns what it prints.
func (d debian) apt(ctx context.Context, config string, from archive, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = d.debs(from)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+config)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{program}, args[:min(2, len(args))]...), " "), err, out)
	}
	return out, nil
}

// writeAptConfig makes folders for apt and a configuration that knows no others.
func (d debian) writeAptConfig(from archive) (string, error) {
	dir := filepath.Join(d.cache, "apt-"+from.suite)
	for _, sub := range []string{d.debs(from), filepath.Join(dir, "lists/partial"), filepath.Join(dir, "archives/partial")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return "", err
		}
	}
	files := map[string]string{
		"status":       "",
		"sources.list": from.line,
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

// find returns the file of a package, which has the architecture or is for all, in the first of the archives that has it.
func (d debian) find(name, arch string, from ...archive) (string, error) {
	for _, archive := range from {
		for _, a := range []string{arch, "all"} {
			found, err := filepath.Glob(filepath.Join(d.debs(archive), name+"_*_"+a+".deb"))
			if err != nil {
				return "", err
			}
			if len(found) > 0 {
				return found[0], nil
			}
		}
	}
	return "", fmt.Errorf("package %s:%s is not in %v", name, arch, from)
}

// layers makes a layer of each part for each architecture, by "arch part".
func (d debian) layers(
	ctx context.Context, l corpus.Layout, parts map[string]bool, from []archive,
) (map[string]corpus.Layer, error) {
	var mu sync.Mutex
	made := map[string]corpus.Layer{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for _, arch := range architectures() {
		for part := range parts {
			group.Go(func() error {
				layer, err := d.layer(ctx, l, part, arch, from)
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
func (d debian) layer(
	ctx context.Context, l corpus.Layout, part, arch string, from []archive,
) (_ corpus.Layer, err error) {
	root, err := os.MkdirTemp(d.cache, "unpacked-")
	if err != nil {
		return corpus.Layer{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	for _, name := range debianParts()[part] {
		deb, err := d.find(name, arch, from...)
		if err != nil {
			return corpus.Layer{}, err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return corpus.Layer{}, fmt.Errorf("dpkg-deb -x %s: %w\n%s", deb, err, out)
		}
	}
	if d.security {
		l.Gzip = encoders(ctx)[part]
	}
	return l.LayerOf(part, root)
}
