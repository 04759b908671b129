package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	maxReferrers     = 10_000 // of one image, as in a bundle
	maxReferrerDepth = 8      // a signature of an SBOM of ... of an image
	maxArtifactType  = 255    // bytes, as in a bundle and in RFC 6838
)

// FindOptions says how [FindReferrers] works. The zero value does.
type FindOptions struct {
	// Parallel is how many images are looked at, and how many requests are made, at a time; 0 means 8.
	Parallel int
	// Skipped, unless nil, is told of what is listed about an image and yet left out, and why: it is not there any more, it
	// is not about what it is listed for, or no ferry carries its kind. Calls come one at a time.
	Skipped func(ref Reference, err error)
}

// ReferrersError is why what belongs to an image could not be found.
type ReferrersError struct{ Err error }

func (e *ReferrersError) Error() string { return "what belongs to the image: " + e.Err.Error() }
func (e *ReferrersError) Unwrap() error { return e.Err }

// FindReferrers finds what belongs to the images of p and sets their Referrers: what is about the root and each manifest
// below it, about the original index of a rebuilt one, and about those again, each after what it is about. Manifests
// come from src through the cache, which may be nil; a cache that is a [ReferrerCache] is asked before finder. Each
// manifest of a repository is asked about once. Equal answers of finder and src make equal plans.
//
// An image of which that cannot be found out has an Err afterwards, a *[ReferrersError], for an image without its
// signature may be of no use; so has one with more than 10,000 referrers, or of more than 8 levels. The error is that of
// ctx or of the cache.
func FindReferrers(ctx context.Context, p *Plan, finder ReferrerFinder, src Source, cache Cache, o FindOptions) error {
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	f := &referrerSearch{fetcher: newFetcher(src, cache, o.Parallel), finder: finder, o: o}
	var ok bool
	if f.found, ok = f.cache.(ReferrerCache); !ok {
		f.found = &memoryCache{}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for i := range p.Images {
		image := &p.Images[i]
		if image.Err != nil {
			continue
		}
		group.Go(func() error {
			list, err := f.image(ctx, image)
			var broken *cacheError
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.As(err, &broken):
				return err
			case err != nil:
				*image = PlannedImage{Ref: image.Ref, Has: image.Has, Err: &ReferrersError{err}}
			default:
				image.Referrers = list
			}
			return nil
		})
	}
	return group.Wait()
}

// referrerSearch is one run of [FindReferrers].
type referrerSearch struct {
	*fetcher
	finder ReferrerFinder
	found  ReferrerCache
	asking locks[Reference]
	o      FindOptions

	mu sync.Mutex // held while Skipped is called
}

// subjects are the manifests of an image that are asked about, each once.
type subjects struct {
	seen map[digest.Digest]bool
	next []digest.Digest
}

func (s *subjects) add(d digest.Digest) {
	if !s.seen[d] {
		s.seen[d] = true
		s.next = append(s.next, d)
	}
}

// addAll adds all manifests of a graph.
func (s *subjects) addAll(n *Node) {
	_ = n.Walk(func(n *Node) error { s.add(n.Digest); return nil }) // its function never fails
}

// take returns those that were added since it was called last.
func (s *subjects) take() []digest.Digest {
	list := s.next
	s.next = nil
	return list
}

// image returns what belongs to one image, level by level.
func (f *referrerSearch) image(ctx context.Context, image *PlannedImage) ([]Referrer, error) {
	about := subjects{seen: map[digest.Digest]bool{}}
	if image.Original != nil {
		about.seen[image.Root.Digest] = true // it is not at the source
		about.add(image.Original.Digest)
	}
	about.addAll(image.Root)
	var all []Referrer
	for depth := 0; len(about.next) > 0; depth++ {
		list, err := f.level(ctx, image.Ref, about.take())
		if err != nil {
			return nil, err
		}
		if depth == maxReferrerDepth && len(list) > 0 {
			return nil, fmt.Errorf("more than %d levels of referrers of referrers", maxReferrerDepth)
		}
		if all = append(all, list...); len(all) > maxReferrers {
			return nil, fmt.Errorf("more than %d referrers", maxReferrers)
		}
		for _, r := range list {
			about.addAll(r.Root)
		}
	}
	return all, nil
}

// level returns what is about the manifests in list, in its order.
func (f *referrerSearch) level(ctx context.Context, ref Reference, list []digest.Digest) ([]Referrer, error) {
	parts := make([][]Referrer, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.o.Parallel)
	for i, subject := range list {
		group.Go(func() (err error) {
			parts[i], err = f.about(ctx, ref, subject)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

// about returns what is about one manifest.
func (f *referrerSearch) about(ctx context.Context, ref Reference, subject digest.Digest) ([]Referrer, error) {
	found, err := f.find(ctx, Reference{Repository: ref.Repository, Digest: subject})
	if err != nil {
		return nil, err
	}
	var list []Referrer
	for _, one := range found {
		r, err := f.load(ctx, ref.Repository, subject, one)
		hasTag := func(other FoundReferrer) bool {
			return other.Tag != "" && other.Descriptor.Digest == one.Descriptor.Digest
		}
		switch {
		case err == nil:
			list = append(list, r)
		case errors.Is(err, errNoReferrer) && slices.ContainsFunc(found, hasTag): // Harbor's API lists what cosign tagged
		case errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnsupported) || errors.Is(err, errNoReferrer):
			f.skip(ref, fmt.Errorf("%s, which is listed about %s: %w", one.Descriptor.Digest, subject, err))
		default:
			return nil, fmt.Errorf("%s about %s: %w", one.Descriptor.Digest, subject, err)
		}
	}
	return list, nil
}

// find asks what is about subject, a repository and a digest, unless the cache knows.
func (f *referrerSearch) find(ctx context.Context, subject Reference) (list []FoundReferrer, err error) {
	unlock, err := f.asking.lock(ctx, subject)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if list, ok := f.found.Referrers(subject); ok {
		return list, nil
	}
	err = f.request(ctx, func() error {
		list, err = f.finder.Referrers(ctx, subject.Repository, subject.Digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := f.found.PutReferrers(subject, list); err != nil {
		return nil, &cacheError{err}
	}
	return list, nil
}

// errNoReferrer says that something is not what it is listed as.
var errNoReferrer = errors.New("it is none")

// load reads the manifests of what was found about subject.
func (f *referrerSearch) load(ctx context.Context, repo Repository, subject digest.Digest, found FoundReferrer) (Referrer, error) {
	d := Descriptor{MediaType: found.Descriptor.MediaType, Digest: found.Descriptor.Digest, Size: found.Descriptor.Size}
	r := Referrer{Subject: subject, Found: found.Found, Tag: found.Tag}
	if !IsManifest(d.MediaType) {
		return r, fmt.Errorf("media type %.100q: %w", d.MediaType, ErrUnsupported)
	}
	var err error
	r.Root, err = LoadGraph(ctx, func(ctx context.Context, d Descriptor) ([]byte, error) { return f.fetch(ctx, repo, d) }, d)
	if err == nil {
		err = checkCarried(r.Root)
	}
	if err != nil {
		return r, err
	}
	m := r.Root.Manifest
	switch {
	case found.Found != FoundByTag && (m.Subject == nil || m.Subject.Digest != subject):
		return r, fmt.Errorf("its manifest does not say so: %w", errNoReferrer)
	case len(m.Type()) > maxArtifactType:
		return r, fmt.Errorf("an artifact type of %d bytes: %w", len(m.Type()), ErrUnsupported)
	}
	return r, nil
}

func (f *referrerSearch) skip(ref Reference, err error) {
	if f.o.Skipped == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.o.Skipped(ref, err)
}

// AttachTo returns the referrers that can go where root goes, since what they are about is a manifest of root or of one
// of them, and those that are left: about the original of a rebuilt index, or about what was left out. In list each comes
// after what it is about.
func AttachTo(root *Node, list []Referrer) (attached []Attached, left []Referrer) {
	there := map[digest.Digest]bool{}
	add := func(n *Node) { _ = n.Walk(func(n *Node) error { there[n.Digest] = true; return nil }) } // never fails
	add(root)
	for _, r := range list {
		if !there[r.Subject] {
			left = append(left, r)
			continue
		}
		add(r.Root)
		attached = append(attached, Attached{Root: r.Root, Tag: r.Tag, Subject: r.Subject})
	}
	return attached, left
}
