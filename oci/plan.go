package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// ErrNameTaken comes back for images of which several would have one name, as name:tag and name:tag@digest have when
// the tag is not at that digest.
var ErrNameTaken = errors.New("another image has this name")

// MissingPolicy says what becomes of an image that lacks a platform which was asked for.
type MissingPolicy int

const (
	MissingFail      MissingPolicy = iota // the plan ends in a *MissingPlatformsError
	MissingAvailable                      // the platforms that are there are taken; with none of them the image has an Err
	MissingDrop                           // the image is left out
)

// PlanOptions says what [MakePlan] plans. The zero value plans everything.
type PlanOptions struct {
	Platforms []Platform    // to keep; none means all
	Missing   MissingPolicy // used with Platforms
	// Repin takes only Platforms of references with a digest too. Without it those keep their whole index, because
	// who names an image by its digest finds it under no other.
	Repin bool
	// Shallow resolves the references and loads nothing: the Root of an image is its descriptor alone, and there is
	// nothing to be filtered, so Platforms have to be empty.
	Shallow bool
	// Parallel is how many images are planned, and how many requests are made, at a time; 0 means 8.
	Parallel int
	// Events, unless nil, is told of every image that has been planned. Calls come one at a time.
	Events func(PlanEvent)
}

const defaultParallel = 8

// PlanEvent tells that an image has been planned, or not.
type PlanEvent struct {
	Ref         Reference
	Err         error
	Done, Total int // images
}

// Plan is what is to be moved.
type Plan struct {
	Platforms []Platform     // those that were asked for
	Images    []PlannedImage // sorted by name
	Dropped   []PlannedImage // left out by MissingDrop, sorted by name
}

// PlannedImage is an image of a plan.
type PlannedImage struct {
	Ref  Reference
	Root *Node // what is to be moved; nil when Err is not
	// Original is the index at the source when Root was rebuilt with fewer platforms, without its children; else nil.
	Original *Node
	// Referrers are what belongs to the image, as far as [FindReferrers] was asked for it: what is about Original or a
	// manifest of Root, and what is about that, each after what it is about.
	Referrers []Referrer
	// Pinned tells that platforms which were not asked for are kept, since the reference has a digest.
	Pinned bool
	// Has tells for each of Plan.Platforms whether the image has it. It is nil when the image tells no platform, such
	// as a chart, which then is for all, and when it could not be loaded.
	Has       []bool
	Platforms []PlatformSize // of Root, in its order
	Err       error          // why the image cannot be moved
}

// Lacks reports whether the image lacks a platform that was asked for.
func (i *PlannedImage) Lacks() bool { return slices.Contains(i.Has, false) }

// MakePlan resolves refs, equal ones once, and loads their graphs through the cache, which may be nil: what a cache
// has is asked of no registry. Manifests come from src, opened in the repository of the reference, and so do the
// configs that are needed to learn the platform of an image without index. All manifests of the plan are in the cache
// afterwards, rebuilt and original indexes included.
//
// An image that cannot be resolved, loaded or filtered has an Err, and the others go on. References of one name that
// mean one image become one, that with a digest; those that mean several are each ErrNameTaken. Equal answers of
// res and src make equal plans.
//
// The error is that of ctx or of the cache, and then there is no plan; or a *[MissingPlatformsError] beside a plan
// that is complete but for it.
func MakePlan(
	ctx context.Context, refs []Reference, res Resolver, src Source, cache Cache, o PlanOptions,
) (*Plan, error) {
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	m := &planMaker{fetcher: newFetcher(src, cache, o.Parallel), res: res, o: o}
	images, err := m.images(ctx, Unique(refs))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(images, func(a, b PlannedImage) int {
		return cmp.Or(cmp.Compare(a.Ref.Name(), b.Ref.Name()), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
	p := &Plan{Platforms: o.Platforms, Images: mergeNames(images)}
	return p, p.apply(o.Missing)
}

// planMaker makes the images of one plan.
type planMaker struct {
	*fetcher
	res Resolver
	o   PlanOptions

	mu   sync.Mutex // held while Events is called
	done int
}

// images plans refs, in their order.
func (m *planMaker) images(ctx context.Context, refs []Reference) ([]PlannedImage, error) {
	images := make([]PlannedImage, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(m.o.Parallel)
	for i, ref := range refs {
		group.Go(func() error {
			image, err := m.image(ctx, ref)
			var broken *cacheError
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.As(err, &broken):
				return err
			case err != nil:
				image = PlannedImage{Has: image.Has, Err: err}
			}
			image.Ref = ref
			images[i] = image
			m.report(ref, err, len(refs))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return images, nil
}

func (m *planMaker) report(ref Reference, err error, total int) {
	if m.o.Events == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	m.o.Events(PlanEvent{Ref: ref, Err: err, Done: m.done, Total: total})
}

// mergeNames merges the images of one name; images is sorted by name.
func mergeNames(images []PlannedImage) []PlannedImage {
	var merged []PlannedImage
	for len(images) > 0 {
		name := images[0].Ref.Name()
		end := slices.IndexFunc(images, func(i PlannedImage) bool { return i.Ref.Name() != name })
		if end < 0 {
			end = len(images)
		}
		merged = append(merged, mergeName(images[:end])...)
		images = images[end:]
	}
	return merged
}

// mergeName merges images that all have one name. The one whose reference has a digest too sorts last.
func mergeName(images []PlannedImage) []PlannedImage {
	sources := map[digest.Digest]bool{}
	last := -1 // that was loaded
	for i, image := range images {
		if image.Err == nil {
			sources[image.sourceDigest()] = true
			last = i
		}
	}
	var merged []PlannedImage
	for i, image := range images {
		switch {
		case image.Err != nil || i == last && len(sources) == 1:
			merged = append(merged, image)
		case len(sources) > 1:
			err := fmt.Errorf("digest %s: %w", image.sourceDigest(), ErrNameTaken)
			merged = append(merged, PlannedImage{Ref: image.Ref, Has: image.Has, Err: err})
		}
	}
	return merged
}

// sourceDigest returns the digest of the image at its source.
func (i *PlannedImage) sourceDigest() digest.Digest {
	if i.Original != nil {
		return i.Original.Digest
	}
	return i.Root.Digest
}
