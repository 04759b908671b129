//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
	"github.com/ferry-oci/ferry/cmd/e2e/distribution"
)

// prefix is the namespace at the target.
const prefix = "k8s-use"

// bench is one run of all measurements.
type bench struct {
	opts     options
	work     string // removed at the end
	bin      string // ferry, the registry and the tools
	set      set
	tools    []tool
	source   *registry
	floor    floorFiles
	archives map[string]string // what each tool saved
}

// prepare builds what is needed and starts the registry with the images.
func prepare(ctx context.Context, opts options) (_ *bench, err error) {
	cache, work, err := folders(opts)
	if err != nil {
		return nil, err
	}
	b := &bench{opts: opts, work: work, bin: filepath.Join(cache, "bin"), archives: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := os.MkdirAll(b.bin, 0o755); err != nil {
		return nil, err
	}
	if b.set, err = chooseCorpus(ctx, cache, opts.small); err != nil {
		return nil, err
	}
	var names []string
	if opts.only != "" {
		names = strings.Split(opts.only, ",")
	}
	if b.tools, err = install(ctx, b.bin, names); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.bin+string(filepath.Separator),
		"github.com/ferry-oci/ferry/cmd/e2e/registry", "github.com/ferry-oci/ferry/cmd/e2e/bench/parts")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build registry and parts: %w\n%s", err, out)
	}
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	b.floor, err = prepareFloor(work, b.set, b.source.host)
	return b, err
}

func (b *bench) registryProgram() string { return filepath.Join(b.bin, "registry") }

// fill starts the source and puts the images into it.
func (b *bench) fill(ctx context.Context) (err error) {
	progress("filling a registry with %d images, %d blobs, %d MB", len(b.set.Images), len(b.set.Blobs), b.set.Bytes/1e6)
	if b.source, err = startRegistry(ctx, b.registryProgram(), filepath.Join(b.work, "source")); err != nil {
		return err
	}
	return b.set.Layout.Push(ctx, b.source.Registry, b.set.Images)
}

// close ends the source and removes the files.
func (b *bench) close() error {
	var err error
	if b.source != nil {
		err = b.source.stop()
	}
	return errors.Join(err, os.RemoveAll(b.work))
}

// sample is one measurement.
type sample struct {
	usage
	Wire     int64               `json:"wireBytes"` // bodies, in both directions, at all registries
	Requests int64               `json:"requests"`  // at all registries
	Archive  int64               `json:"archiveBytes"`
	Counts   distribution.Counts `json:"-"` // of the last registry
}

// room is a folder in which one script runs, with the environment of it.
type room struct {
	dir string
	env []string
}

// newRoom makes an empty folder to run in, with images.list and refs of images that are in the registry src.
func (b *bench) newRoom(name, src, dst string, images []corpus.Image, more ...string) (room, error) {
	r := room{dir: filepath.Join(b.work, "room-"+name)}
	if err := errors.Join(os.RemoveAll(r.dir), os.MkdirAll(r.dir, 0o755)); err != nil {
		return r, err
	}
	var list, refs strings.Builder
	for _, image := range images {
		ref := image.Repository + ":" + image.Tag
		fmt.Fprintf(&list, "%s/%s\n", src, ref)
		fmt.Fprintf(&refs, "%s %s\n", ref, strings.NewReplacer("/", "-", ":", "-").Replace(ref))
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(r.dir, "images.list"), []byte(list.String()), 0o644),
		os.WriteFile(filepath.Join(r.dir, "refs"), []byte(refs.String()), 0o644),
	); err != nil {
		return r, err
	}
	r.env = append([]string{
		"PATH=" + b.bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + r.dir, "XDG_CACHE_HOME=" + filepath.Join(r.dir, "cache"), "TMPDIR=" + r.dir, "LC_ALL=C",
		"LIST=" + filepath.Join(r.dir, "images.list"), "REFS=" + filepath.Join(r.dir, "refs"),
		"SRC=" + src, "DST=" + dst, "BLOBS=" + b.floor.blobs, "FETCH=" + b.floor.fetch, "PUT=" + b.floor.put,
		"POST=" + filepath.Join(b.work, "floor-post"),
	}, more...)
	return r, nil
}

// save has a tool save the images, into an archive that is kept for load.
func (b *bench) save(ctx context.Context, t tool) (s sample, err error) {
	defer func() { err = describe(t, "save", err) }()
	r, err := b.newRoom(t.Name, b.source.host, "", b.set.Images)
	if err != nil {
		return s, err
	}
	out := filepath.Join(b.work, "saved-"+t.Name, t.archive)
	if err := errors.Join(os.RemoveAll(filepath.Dir(out)), os.MkdirAll(filepath.Dir(out), 0o755)); err != nil {
		return s, err
	}
	b.archives[t.Name] = out
	return b.saveTo(ctx, t, r, out)
}

// saveTo runs the script of a tool that saves images as the file out. The floors leave none.
func (b *bench) saveTo(ctx context.Context, t tool, r room, out string) (sample, error) {
	r.env = append(r.env, "OUT="+out)
	s, err := b.run(ctx, r, t.save, b.source)
	if err != nil {
		return s, err
	}
	if info, err := os.Stat(out); err == nil {
		s.Archive = info.Size()
	}
	return s, os.RemoveAll(r.dir)
}

// load has a tool load what it saved into a new registry, and checks that every image is there.
func (b *bench) load(ctx context.Context, t tool) (s sample, err error) {
	defer func() { err = describe(t, "load", err) }()
	target, err := b.newTarget(ctx, t.Name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, target.remove()) }()
	s, err = b.loadInto(ctx, t, target, b.archives[t.Name], b.set.Images)
	if err != nil || strings.HasPrefix(t.Name, "floor") {
		return s, err
	}
	return s, b.check(ctx, target.registry, b.set.Images, whole)
}

// loadInto runs the script of a tool that loads an archive.
func (b *bench) loadInto(ctx context.Context, t tool, to target, archive string, images []corpus.Image) (sample, error) {
	r, err := b.newRoom(t.Name, b.source.host, to.host+"/"+prefix, images, "IN="+archive)
	if err != nil {
		return sample{}, err
	}
	if err := b.writePosts(to.host); err != nil {
		return sample{}, err
	}
	s, err := b.run(ctx, r, t.load, to.registry)
	return s, errors.Join(err, os.RemoveAll(r.dir))
}

// target is a registry and the folder of its content.
type target struct {
	*registry
	root string
}

func (b *bench) newTarget(ctx context.Context, name string) (target, error) {
	root := filepath.Join(b.work, "target-"+name)
	if err := os.RemoveAll(root); err != nil {
		return target{}, err
	}
	r, err := startRegistry(ctx, b.registryProgram(), root)
	return target{registry: r, root: root}, err
}

func (t target) remove() error { return errors.Join(t.stop(), os.RemoveAll(t.root)) }

// run runs a script and adds what the registries counted. Before that everything that earlier scripts left to be written
// is written, so that nobody waits for the dirt of others.
func (b *bench) run(ctx context.Context, in room, script string, registries ...*registry) (s sample, err error) {
	syscall.Sync()
	for _, r := range registries {
		if err := r.reset(ctx); err != nil {
			return s, err
		}
	}
	if s.usage, err = runScript(ctx, in.dir, in.env, script); err != nil {
		return s, err
	}
	for _, r := range registries {
		if s.Counts, err = r.counts(ctx); err != nil {
			return s, err
		}
		s.Wire += s.Counts.BytesIn + s.Counts.BytesOut
		for _, n := range s.Counts.Requests {
			s.Requests += int64(n)
		}
	}
	return s, nil
}

// whole is the name of a repository under the prefix when it stays as it is.
func whole(repository string) string { return repository }

// check looks for the images in a registry, under the prefix and the names that they were given.
func (b *bench) check(ctx context.Context, r *registry, images []corpus.Image, named func(string) string) error {
	for _, image := range images {
		repository := prefix + "/" + named(image.Repository)
		d, _, err := r.Manifest(ctx, repository, image.Tag)
		if err != nil {
			return err
		}
		if d.Digest != image.Root.Digest {
			return fmt.Errorf("%s:%s is %s at the target, want %s", repository, image.Tag, d.Digest, image.Root.Digest)
		}
	}
	return nil
}

func describe(t tool, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", t.Name, what, err)
}
