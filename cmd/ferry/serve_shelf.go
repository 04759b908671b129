package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/server"
	"github.com/ferry-oci/ferry/registry/server/page"
)

// shelves are what a server serves, open.
type shelves struct {
	list    []server.Shelf
	info    []page.Shelf // of each, for the page
	making  *making
	closers []io.Closer
}

func (s *shelves) close() {
	for _, c := range s.closers {
		c.Close() // what was written there was proven, and is not missed
	}
}

// openShelves opens what is to be served.
func openShelves(ctx context.Context, o *serveOptions, std *stdio) (_ *shelves, err error) {
	s := &shelves{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.making, err = o.Making.open(std); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.making)
	var sets []*bundle.Set
	if len(o.Bundles) > 0 {
		if sets, err = findBundles(o.Bundles); err != nil {
			return nil, err
		}
	}
	for _, set := range sets {
		s.closers = append(s.closers, set)
		if lacksDisks(set, o.KeepGoing, std) { // some of the disks may just not be put in yet
			d := &disks{set: set, std: std}
			if err := d.askAll(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w; --keep-going serves what is whole without that", set.Name(), err)
			}
		}
		if err := s.addBundle(ctx, set, std); err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name(), err)
		}
	}
	for _, dir := range o.Stores {
		if err := s.addLayout(ctx, dir, std); err != nil {
			return nil, fmt.Errorf("--store %s: %w", dir, err)
		}
	}
	return s, nil
}

// addBundle opens a bundle. One that is damaged, or lacks volumes, is served as far as it can be read.
func (s *shelves) addBundle(ctx context.Context, set *bundle.Set, std *stdio) error {
	b, err := openBundle(ctx, set, s.making.options(), std)
	if err != nil {
		return err
	}
	images, err := shelfImages(b.Head())
	if err != nil {
		std.warn("%s: %s", set.Name(), oneLine(err.Error()))
	}
	repeatMissing(b.Head(), std)
	s.list = append(s.list, server.Shelf{Name: set.Name(), Source: s.making.source(b), Images: images})
	s.info = append(s.info, bundleInfo(b, set))
	return nil
}

// shelfImages returns the images of a bundle. The error names those that cannot be served, because their names are none.
func shelfImages(h *bundle.Head) (images []server.Image, err error) {
	at := make(map[string]int, len(h.Members))
	for i, m := range h.Members {
		at[m.Digest.String()] = i
	}
	var errs []error
	for i, sum := range summarize(h).Images {
		img := h.Images[i]
		ref, err := oci.ParseReference(img.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		images = append(images, server.Image{
			Ref: ref, Root: img.Descriptor(), Platforms: sum.Platforms, Size: sum.Size,
			Blobs: func() []oci.Descriptor { return blobDescriptors(h, img, at) }, Referrers: shelfReferrers(img),
		})
	}
	return images, errors.Join(errs...)
}

// blobDescriptors returns the descriptors of all blobs that img needs.
func blobDescriptors(h *bundle.Head, img bundle.Image, at map[string]int) []oci.Descriptor {
	var list []oci.Descriptor
	for n := range blobsOf(img, at) {
		list = append(list, h.Blob(n))
	}
	return list
}

func shelfReferrers(img bundle.Image) []server.Referrer {
	var list []server.Referrer
	for _, r := range img.Referrers {
		list = append(list, server.Referrer{Descriptor: r.Descriptor(), Subject: r.Subject, Tag: r.Tag})
	}
	return list
}

// say tells what is served and where, and how an image of it is pulled.
func (s *shelves) say(srv *server.Server, l *listening, std *stdio) {
	images, repos := 0, map[oci.Repository]bool{}
	for _, shelf := range s.list {
		std.say("serving %s: %s", shelf.Name, plural(len(shelf.Images), "image"))
		images += len(shelf.Images)
		for _, img := range shelf.Images {
			repos[img.Ref.Repository] = true
		}
	}
	conflicts := srv.Conflicts()
	for _, c := range conflicts {
		std.warn("%s means several images and is not served; ask for one of these:", c.Name)
		for _, img := range c.Images {
			std.complain(fmt.Sprintf("  %s (%s)", img.Ref, img.Shelf))
		}
	}
	std.say("%s in %s at %s, read-only; Ctrl-C ends", plural(images, "image"), plural(len(repos), "repository"), l.url())
	if name := s.example(conflicts); name != "" {
		std.say("  for example: docker pull %s/%s", l.address(), name)
	}
}

// example returns the shortest name of an image that can be pulled, or nothing.
func (s *shelves) example(conflicts []server.Conflict) string {
	for _, shelf := range s.list {
		for _, img := range shelf.Images {
			name := img.Ref.Path + ":" + img.Ref.Tag
			conflicting := func(c server.Conflict) bool { return c.Name == name }
			if img.Ref.Tag != "" && !slices.ContainsFunc(conflicts, conflicting) {
				return name
			}
		}
	}
	return ""
}
