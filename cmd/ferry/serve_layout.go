package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/server"
	"github.com/ferry-oci/ferry/registry/server/page"
)

const (
	// maxLayoutBlobs is how many blobs one image of a layout may need, and maxLayoutReferrers how many manifests about it.
	maxLayoutBlobs, maxLayoutReferrers = 1_000_000, 10_000
)

// addLayout opens an image layout, as a store is one. What cannot be read of it is told, and all else is served.
func (s *shelves) addLayout(ctx context.Context, dir string, std *stdio) error {
	layout, err := oci.OpenLayout(dir)
	if err != nil {
		return err
	}
	r := &layoutReader{layout: layout, graphs: map[digest.Digest]*layoutGraph{}, attached: map[digest.Digest]bool{}}
	place := layoutPlace(dir)
	images, unnamed, err := r.images(ctx, place)
	if err != nil {
		return err
	}
	var info page.Shelf
	for _, problem := range r.problems {
		std.warn("%s: %s", dir, oneLine(problem.Error()))
		info.Notes = append(info.Notes, problem.Error())
	}
	if unnamed > 0 {
		std.say("%s: %s without a repository in the name, served as %s", dir, plural(unnamed, "image"), place.Path)
	}
	s.list = append(s.list, server.Shelf{Name: dir, Source: layout, Images: images})
	s.info = append(s.info, info)
	return nil
}

// layoutPlace returns the repository of the images in dir whose names have none: it is called as the folder is, as far as a
// repository can be.
func layoutPlace(dir string) oci.Repository {
	place := oci.Repository{Host: "localhost", Path: "layout"}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	name := strings.ToLower(filepath.Base(dir))
	if ref, err := oci.ParseReference(place.Host + "/" + name); err == nil && ref.Path == name {
		place.Path = name
	}
	return place
}

// layoutReader finds out what an image layout has.
type layoutReader struct {
	layout   *oci.Layout
	graphs   map[digest.Digest]*layoutGraph
	attached map[digest.Digest]bool // manifests that are about others
	problems []error
}

// layoutGraph is what an image needs, and all that is about it. What is not there is left out.
type layoutGraph struct {
	blobs     []oci.Descriptor // manifests and all others
	size      int64
	platforms []string
	referrers []server.Referrer
}

// images returns the images of the layout. Those whose names have no repository are in place, if they are about no other one;
// unnamed tells how many these are.
func (r *layoutReader) images(ctx context.Context, place oci.Repository) (images []server.Image, unnamed int, err error) {
	for _, named := range []bool{true, false} { // what is about the named ones is known when the others are looked at
		for _, entry := range r.layout.Images() {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			ref := entry.Ref
			if named != (ref != oci.Reference{}) || entry.About != "" || r.attached[entry.Root.Digest] && !named {
				continue
			}
			if !named {
				ref = namedIn(place, entry)
				unnamed++
			}
			g := r.graph(ctx, entry.Root)
			images = append(images, server.Image{
				Ref: ref, Root: entry.Root, Platforms: g.platforms, Size: g.size,
				Blobs: func() []oci.Descriptor { return g.blobs }, Referrers: g.referrers,
			})
		}
	}
	return images, unnamed, nil
}

// namedIn returns the name in place of an entry whose own name is a tag at best.
func namedIn(place oci.Repository, entry oci.LayoutImage) oci.Reference {
	if ref, err := oci.ParseReference(place.String() + ":" + entry.Name); err == nil {
		return ref
	}
	return oci.Reference{Repository: place, Digest: entry.Root.Digest}
}

// graph returns what the image root needs.
func (r *layoutReader) graph(ctx context.Context, root oci.Descriptor) *layoutGraph {
	if g := r.graphs[root.Digest]; g != nil {
		return g
	}
	w := &layoutWalk{layoutReader: r, layoutGraph: &layoutGraph{}, seen: map[digest.Digest]bool{}}
	w.walk(ctx, root)
	w.findReferrers(ctx)
	r.graphs[root.Digest] = w.layoutGraph
	return w.layoutGraph
}

// layoutWalk gathers a layoutGraph.
type layoutWalk struct {
	*layoutReader
	*layoutGraph
	seen      map[digest.Digest]bool
	manifests []digest.Digest // in the order in which they were found
}

// problem notes what is wrong with d.
func (w *layoutWalk) problem(d oci.Descriptor, err error) {
	w.problems = append(w.problems, fmt.Errorf("manifest %s: %w", d.Digest, err))
}

// walk adds root and what it points to.
func (w *layoutWalk) walk(ctx context.Context, root oci.Descriptor) {
	if !w.layout.Has(root) {
		w.problem(root, oci.ErrNotFound)
	}
	for queue := []oci.Descriptor{root}; len(queue) > 0; queue = queue[1:] {
		d := queue[0]
		if w.seen[d.Digest] || !w.layout.Has(d) {
			continue
		}
		if len(w.blobs) == maxLayoutBlobs {
			w.problem(root, fmt.Errorf("it needs more than %d blobs", maxLayoutBlobs))
			return
		}
		w.seen[d.Digest] = true
		w.size += d.Size
		if d.Digest == root.Digest || oci.IsManifest(d.MediaType) {
			m, err := w.manifest(ctx, d)
			if err != nil {
				w.problem(d, err)
			} else {
				d.MediaType = m.MediaType
				w.manifests = append(w.manifests, d.Digest)
				queue = append(queue, pointedTo(m)...)
				if len(w.manifests) == 1 {
					w.addPlatforms(ctx, m)
				}
			}
		}
		w.blobs = append(w.blobs, oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
}

// pointedTo returns what a manifest points to.
func pointedTo(m *oci.Manifest) []oci.Descriptor {
	list := slices.Concat(m.Manifests, m.Layers)
	if m.Config != nil {
		list = append(list, *m.Config)
	}
	return list
}

// manifest reads a manifest and proves it.
func (r *layoutReader) manifest(ctx context.Context, d oci.Descriptor) (*oci.Manifest, error) {
	raw, err := oci.ReadSmall(ctx, r.layout, oci.Repository{}, d)
	if err != nil {
		return nil, err
	}
	return oci.ParseManifest(d.MediaType, raw)
}

// addPlatforms adds the platforms of an image: those of an index whose manifests are there, or the one that its config tells.
func (w *layoutWalk) addPlatforms(ctx context.Context, m *oci.Manifest) {
	var list []oci.Platform
	for _, d := range m.Manifests {
		if d.Platform != nil && w.layout.Has(d) {
			list = append(list, *d.Platform)
		}
	}
	if m.Config != nil && oci.IsImageConfig(m.Config.MediaType) {
		var p oci.Platform
		if raw, err := oci.ReadSmall(ctx, w.layout, oci.Repository{}, *m.Config); err == nil && json.Unmarshal(raw, &p) == nil {
			list = append(list, p)
		}
	}
	for _, p := range list {
		name := oci.FormatPlatform(p)
		if p.OS != "" && p.OS != "unknown" && !slices.Contains(w.platforms, name) {
			w.platforms = append(w.platforms, name)
		}
	}
}

// findReferrers adds what is about the manifests, and about those again.
func (w *layoutWalk) findReferrers(ctx context.Context) {
	for i := 0; i < len(w.manifests); i++ { // it grows
		subject := w.manifests[i]
		found, err := w.layout.Referrers(ctx, oci.Repository{}, subject)
		if err != nil {
			w.problems = append(w.problems, err)
			return
		}
		for _, f := range found {
			if len(w.referrers) == maxLayoutReferrers {
				w.problems = append(w.problems, fmt.Errorf("manifest %s: more than %d referrers", subject, maxLayoutReferrers))
				return
			}
			w.attached[f.Descriptor.Digest] = true
			w.referrers = append(w.referrers, server.Referrer{Descriptor: f.Descriptor, Subject: subject, Tag: f.Tag})
			w.walk(ctx, f.Descriptor)
		}
	}
}
