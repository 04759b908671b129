package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/compress/gzip"
	"github.com/ferry-oci/ferry/oci"
)

const (
	// maxRatio is how many plain bytes a layer can have for each byte of it. One that gzip shrinks to less is small as it is,
	// or a bomb.
	maxRatio = 100
	// maxProofs is how many layers are proven at once, each with buffers of 10 MiB, and maxProvers how many encoders they share,
	// each of 20 MiB.
	maxProofs, maxProvers = 4, 16
)

// prover finds the recipes of gzip layers as they land in the store, several at once. The store keeps what was found, so
// that neither a run that goes on nor a later pack searches the same layer again.
type prover struct {
	store   *oci.Store
	std     *stdio
	configs []oci.Descriptor // of the images
	layers  []oci.Descriptor // in the order of the bundle
	jobs    int
	find    gzip.FindOptions // its Budget is for all; one large layer alone has all encoders

	longFrame int64 // for the bundle

	mu       sync.Mutex
	recipes  map[digest.Digest]*gzip.Recipe
	kept     map[digest.Digest]string // why a layer has no recipe
	searched int                      // layers of which the store did not know
	bytes    int64                    // of them
	left     int64                    // bytes of layers that were not read yet
	progress *progress
	over     bool
}

func newProver(store *oci.Store, std *stdio, roots []*oci.Node, jobs int) *prover {
	jobs = cmp.Or(jobs, runtime.GOMAXPROCS(0))
	p := &prover{
		store: store, std: std, jobs: min(jobs, maxProofs),
		find:    gzip.FindOptions{MaxRatio: maxRatio, Budget: gzip.NewBudget(min(jobs, maxProvers))},
		recipes: map[digest.Digest]*gzip.Recipe{}, kept: map[digest.Digest]string{},
	}
	p.configs, p.layers = gzipLayers(roots)
	for _, d := range p.layers {
		p.left += d.Size
	}
	return p
}

// gzipLayers returns the layers that may be un-gzipped, each once, and the configs of their images. The bundle has the rules
// in full.
func gzipLayers(roots []*oci.Node) (configs, layers []oci.Descriptor) {
	seen := map[digest.Digest]bool{}
	add := func(list []oci.Descriptor, d oci.Descriptor) []oci.Descriptor {
		if seen[d.Digest] {
			return list
		}
		seen[d.Digest] = true
		return append(list, d)
	}
	for _, root := range roots {
		_ = root.Walk(func(n *oci.Node) error { // never fails, since the function does not
			c := n.Manifest.Config
			if c == nil || !oci.IsImageConfig(c.MediaType) {
				return nil
			}
			configs = add(configs, *c)
			for _, d := range n.Manifest.Layers {
				if strings.HasSuffix(d.MediaType, "gzip") && len(d.URLs) == 0 && d.Digest.Algorithm() == digest.SHA256 {
					layers = add(layers, d)
				}
			}
			return nil
		})
	}
	return configs, layers
}

// run returns when all layers are proven, each as soon as it has arrived.
func (p *prover) run(ctx context.Context, a *arrivals) (err error) {
	defer p.end()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.jobs)
	for waiting := slices.Clone(p.layers); len(waiting) > 0; {
		var i int
		if i, err = a.waitAny(groupCtx, waiting); err != nil {
			break
		}
		d := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		group.Go(func() error { return p.prove(groupCtx, d) })
	}
	if err := cmp.Or(group.Wait(), err); err != nil {
		return err
	}
	p.say()
	return nil
}

// say tells what was searched.
func (p *prover) say() {
	text := fmt.Sprintf("proved %s (%s)", plural(p.searched, "gzip layer"), formatSize(p.bytes))
	if known := len(p.layers) - p.searched; known > 0 {
		text += fmt.Sprintf("; the store knew of %d", known)
	}
	p.std.say("%s", text)
}

// prove finds the recipe of a layer, or why it has none.
func (p *prover) prove(ctx context.Context, d oci.Descriptor) error {
	v, err := keptVerdict(p.store, d)
	switch {
	case err == nil:
		p.take(d, v)
		p.read(d.Size)
		return nil
	case !errors.Is(err, oci.ErrNotFound):
		return err
	}
	if err := p.store.Recheck(ctx, d); err != nil { // what an earlier run left may be damaged, and then has no recipe
		return &sealError{err: err}
	}
	if v, err = p.search(ctx, d); err != nil {
		return err
	}
	p.take(d, v)
	p.mu.Lock()
	p.searched++
	p.bytes += d.Size
	p.mu.Unlock()
	return p.store.PutRecipe(d, v.encode())
}

// search looks for the recipe of a layer in the store.
func (p *prover) search(ctx context.Context, d oci.Descriptor) (verdict, error) {
	f, err := p.store.OpenBlob(d)
	if err != nil {
		return verdict{}, err
	}
	defer f.Close()
	in := &layerReader{Reader: f, p: p}
	defer func() { p.read(d.Size - in.n) }()
	recipe, err := gzip.Find(ctx, in, io.Discard, p.find)
	var none *gzip.NoRecipeError
	switch {
	case errors.As(err, &none):
		p.std.detail("kept as it is: %s: %v", d.Digest, none)
		return verdict{Engines: gzip.EngineSet, Reason: noRecipeText(none)}, nil
	case err != nil:
		return verdict{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if err := checkRecipe(recipe, d); err != nil {
		return verdict{}, &sealError{err: err}
	}
	return verdict{recipe: recipe}, nil
}

// take notes what was found out about a layer.
func (p *prover) take(d oci.Descriptor, v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v.recipe != nil {
		p.recipes[d.Digest] = v.recipe
	} else {
		p.kept[d.Digest] = v.Reason
	}
}

// read counts n bytes of layers.
func (p *prover) read(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left -= n
	p.progress.add(n)
}

// show begins to show how far the proof is, when nothing else is shown any more.
func (p *prover) show() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over && p.left > 0 {
		p.progress = p.std.progress("proving", p.left)
	}
}

func (p *prover) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.progress.end()
	p.progress = nil
}

// contents returns what the bundle is to know, when all is in the store.
func (p *prover) contents(ctx context.Context) (*bundle.Compact, error) {
	c := &bundle.Compact{Recipes: p.recipes, Kept: p.kept, Configs: map[digest.Digest][]byte{}, LongFrame: p.longFrame}
	for _, d := range p.configs {
		if d.Size > oci.MaxManifestSize {
			continue // the layers stay as they are
		}
		raw, err := p.store.Manifest(ctx, d)
		if errors.Is(err, oci.ErrNotFound) { // it was there
			err = &sealError{fmt.Errorf("config %s: %w", d.Digest, oci.ErrCorrupt)}
		}
		if err != nil {
			return nil, err
		}
		c.Configs[d.Digest] = raw
	}
	return c, nil
}

// layerReader is a layer that is proven.
type layerReader struct {
	io.Reader
	p *prover
	n int64 // bytes read
}

func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	r.p.read(int64(n))
	return n, err
}
