//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/ferry-oci/ferry/cmd/e2e/corpus"
)

// programCorpus builds n images of the programs of the Go distribution, cross-compiled: what can be had anywhere.
func programCorpus(ctx context.Context, cache string, n int) (set, error) {
	dir := filepath.Join(cache, fmt.Sprintf("corpus-%s-%d", runtime.Version(), n))
	return loadOrBuild(ctx, dir, "programs of "+runtime.Version(), programs{cache: cache, images: n}.build, variants)
}

// programVersions builds n images of these programs, each a second time without inlining, for want of a point release.
func programVersions(ctx context.Context, cache string, n int) (set, error) {
	dir := filepath.Join(cache, fmt.Sprintf("corpus-%s-%d-versions", runtime.Version(), n))
	build := func(ctx context.Context, l corpus.Layout) ([]blueprint, error) {
		first, err := programs{cache: cache, images: n}.build(ctx, l)
		if err != nil {
			return nil, err
		}
		second, err := programs{cache: cache, images: n, flags: []string{"-gcflags=all=-l"}}.build(ctx, l)
		for i := range second {
			second[i].tag += "-noinline"
		}
		return append(first, second...), err
	}
	return loadOrBuild(ctx, dir, "programs of "+runtime.Version()+", built in two ways", build, 0)
}

type programs struct {
	cache  string
	images int
	flags  []string // of go build
}

// build makes images of a base that all share, a runtime that some share, and a program or two.
func (p programs) build(ctx context.Context, l corpus.Layout) ([]blueprint, error) {
	blueprints := make([]blueprint, p.images)
	for _, arch := range architectures() {
		layers, err := p.layers(ctx, l, arch)
		if err != nil {
			return nil, err
		}
		base, shared, rest := layers[0], layers[1:3], layers[3:]
		for i := range blueprints {
			b := &blueprints[i]
			if b.layers == nil {
				b.repository, b.tag, b.layers = fmt.Sprintf("go/program-%02d", i), runtime.Version(), map[string][]corpus.Layer{}
			}
			b.layers[arch] = append(b.layers[arch], base, shared[i%len(shared)], rest[i%len(rest)], rest[(i+1)%len(rest)])
		}
	}
	return blueprints, nil
}

// layers compiles Go's own programs and makes a layer of each, the largest first.
func (p programs) layers(ctx context.Context, l corpus.Layout, arch string) (_ []corpus.Layer, err error) {
	dir, err := os.MkdirTemp(p.cache, "programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	patterns := []string{"cmd/..."}
	if p.images < 10 {
		patterns = []string{"cmd/compile", "cmd/link", "cmd/asm", "cmd/cgo", "cmd/cover", "cmd/gofmt", "cmd/vet", "cmd/nm"}
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir + "/"}, slices.Concat(p.flags, patterns)...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %v: %w\n%s", patterns, err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var layers []corpus.Layer
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		layer, err := l.Layer(entry.Name(), corpus.File{Name: "usr/bin/" + entry.Name(), Mode: 0o755, Content: content})
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	slices.SortFunc(layers, func(a, b corpus.Layer) int { return cmp.Compare(b.Descriptor.Size, a.Descriptor.Size) })
	return layers, nil
}
