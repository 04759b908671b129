package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// contents returns what the output is to hold.
func (m *merging) contents() bundle.Contents {
	c := bundle.Contents{Labels: map[string]string{}, Created: m.created}
	for _, in := range slices.Backward(m.inputs) {
		maps.Copy(c.Labels, in.Head().Labels) // the first bundle's win
	}
	seen := map[any]bool{}
	isNew := func(key any) bool {
		had := seen[key]
		seen[key] = true
		return !had
	}
	for _, in := range m.inputs {
		for _, missing := range in.Head().Missing {
			if isNew(missing) {
				c.Missing = append(c.Missing, missing)
			}
		}
		for _, s := range in.Head().Sources {
			if raw, _ := json.Marshal(s); isNew(string(raw)) { // it was read from JSON
				c.Sources = append(c.Sources, s)
			}
		}
		for _, p := range in.Head().Projects {
			if isNew([2]string{p.Registry, p.Name}) {
				c.Projects = append(c.Projects, p)
			}
		}
	}
	maps.Copy(c.Labels, m.labels)
	for _, image := range m.images {
		c.Images = append(c.Images, image.entry.Entry)
	}
	return c
}

// write writes the output and says what became of the images.
func (m *merging) write(ctx context.Context) error {
	contents := m.contents()
	size, err := m.checkSpace(contents)
	if err != nil {
		return err
	}
	out, err := bundle.CreateOutput(m.o.Output, m.output)
	if err != nil {
		return err
	}
	err = out.Expect(size)
	var sealed *sealedBundle
	if err == nil {
		sealed, err = m.fill(ctx, out, contents)
	}
	if err != nil {
		out.Abort()
		if kept := keptVolumes(out); kept != "" {
			m.std.say("%s: the same command goes on behind them", kept)
		}
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	m.say()
	sealed.say(m.std, m.o.Output, m.writer.Format, out)
	return nil
}

// checkSpace returns how many bytes the output may come to, and an error when the disk is too small for that.
func (m *merging) checkSpace(c bundle.Contents) (int64, error) {
	sizes := map[digest.Digest]int64{}
	for _, e := range c.Images {
		roots := []*oci.Node{e.Root}
		for _, r := range e.Referrers {
			roots = append(roots, r.Root)
		}
		manifests, configs, layers := oci.Blobs(roots...)
		for _, d := range slices.Concat(manifests, configs, layers, e.MergedFrom) {
			sizes[d.Digest] = d.Size
		}
	}
	total := tarOverhead(len(sizes))
	for _, size := range sizes {
		total += size
	}
	need, err := outputNeed(m.o.Output, total, m.output, m.diskOf)
	if err != nil {
		return 0, err
	}
	need.flags = "-o"
	return total, errors.Join(need.checkFile(), need.check())
}

// fill writes the whole bundle to out, which it does not commit.
func (m *merging) fill(ctx context.Context, out *bundle.Output, contents bundle.Contents) (*sealedBundle, error) {
	w, err := out.Begin(ctx, contents, m.writer)
	if err != nil {
		return nil, err
	}
	sayResumed(m.std, out)
	blobs := w.Blobs()[w.Resumed():]
	indexes := map[digest.Digest][]byte{} // that no bundle has
	for _, e := range contents.Images {
		indexes[e.Root.Digest] = e.Root.Raw
	}
	total := int64(0)
	for _, d := range blobs {
		total += d.Size
	}
	p := m.std.progress("merge", total)
	defer p.end()
	for _, d := range blobs {
		if raw, ok := indexes[d.Digest]; ok {
			err = w.WriteBlob(d, bytes.NewReader(raw), true)
			p.add(d.Size)
		} else {
			err = m.writeBlob(ctx, w, d, p)
		}
		if err != nil {
			w.Abort()
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &sealedBundle{head: w.Head(), contentID: w.ContentID()}, nil
}

// writeBlob copies one blob from the first bundle that has it.
func (m *merging) writeBlob(ctx context.Context, w *bundle.Writer, d oci.Descriptor, p *progress) error {
	for _, in := range m.inputs {
		r, err := in.Open(ctx, oci.Repository{}, d, 0)
		if errors.Is(err, oci.ErrNotFound) {
			continue
		}
		if err != nil {
			return in.failed(err)
		}
		defer r.Close()
		err = w.WriteBlob(d, &countedReader{r, p}, true)
		switch {
		case errors.Is(err, oci.ErrCorrupt):
			return in.failed(in.DamageOf(d.Digest, err))
		case errors.Is(err, bundle.ErrCorrupt):
			return in.failed(err)
		}
		return err
	}
	return fmt.Errorf("blob %s: %w in any of the bundles", d.Digest, oci.ErrNotFound)
}

// countedReader shows what was read as progress.
type countedReader struct {
	io.Reader
	p *progress
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.p.add(int64(n))
	return n, err
}

// say prints what became of the images.
func (m *merging) say() {
	newIndexes, restored, whole := 0, 0, 0
	only := map[*mergeInput][]string{}
	for _, image := range m.images {
		for _, d := range image.merged.Relabelled {
			m.std.say("listed as the platform that was assumed: %s in %s", d.Digest, image.ref.Name())
		}
		if n := len(image.entry.Orphans); n > 0 {
			m.std.say("left out: %s of %s, of images that were not taken", plural(n, "referrer"), image.ref.Name())
		}
		switch {
		case len(image.sides) == 1:
			in := image.sides[0].input
			only[in] = append(only[in], image.ref.Name())
			continue
		case image.merged.Restored:
			restored++
		case image.merged.Side < 0:
			newIndexes++
		default:
			whole++
		}
		m.std.detail("%s: %s", image.ref.Name(), image.becomes())
	}
	m.std.say("merged: %s with a new index, %d with the index of the source, %d that one bundle had all of",
		plural(newIndexes, "image"), restored, whole)
	for _, in := range m.inputs {
		if names := only[in]; len(names) > 0 && len(m.inputs) > 1 {
			m.std.say("only in %s: %s (%s)", in.path, plural(len(names), "image"), someNames(names))
			for _, name := range names {
				m.std.detail("only in %s: %s", in.path, name)
			}
		}
	}
}
