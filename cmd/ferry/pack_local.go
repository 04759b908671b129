package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/oci/local"
)

// Images on this machine (oci:DIR and its like) are packed as those of registries are. Each place is a repository without a
// host to the copy, which asks it before any registry; what it does not have, or has wrong, comes from where else it is. What
// names mean there is looked up in each run.

// localSources are the places on this machine that a pack reads. The zero value has none.
type localSources struct {
	opened []*local.Images
	images map[oci.Reference]localImage
	remote map[oci.Repository]bool // that the list names images of registries in
}

// localImage is an image in one of the places.
type localImage struct {
	root  oci.Descriptor
	place *local.Images
}

// checkSources finds mistakes that can be seen before anything is opened.
func (p *packing) checkSources() error {
	if p.o.toStdout() {
		return nil
	}
	var files []string
	for _, s := range p.sources {
		if s.Kind != local.Layout && s.Kind != local.Folder {
			files = append(files, s.Path)
		}
	}
	return checkReplaces(p.o.Output, p.output, files, "a source of the pack")
}

// openSources opens the sources, each place once, and adds their images to p.refs. An image that has the name of one in a
// list stands in for it.
func (p *packing) openSources(ctx context.Context) error {
	l := &p.local
	l.images, l.remote = map[oci.Reference]localImage{}, map[oci.Repository]bool{}
	places := map[string]*local.Images{}
	for _, s := range p.sources {
		place := places[s.Key()]
		if place == nil {
			var err error
			if place, err = p.openSource(ctx, s); err != nil {
				return err
			}
			places[s.Key()] = place
			l.opened = append(l.opened, place)
		}
		images, err := place.Select(s)
		if err == nil {
			err = l.add(place, images)
		}
		if err != nil {
			return err
		}
		p.std.say("%s: %s", s, plural(len(images), "image"))
	}
	return p.takeLocal()
}

func (p *packing) openSource(ctx context.Context, s local.Source) (*local.Images, error) {
	o := local.Options{
		Spool: p.archives,
		Spooling: func(s local.Source) {
			p.std.say("%s cannot be read in place, and is put into %s first", s, p.store.Dir())
		},
		XZProgram: program("xz"),
	}
	if s.Path == "-" {
		in, err := p.std.takeInput(s.String())
		if err != nil {
			return nil, err
		}
		o.Stdin = in
	}
	place, err := s.Open(ctx, o)
	if errors.Is(err, fs.ErrNotExist) {
		err = usagef("%w; ferry pack --help tells the kinds of sources", err)
	}
	return place, err
}

// archives returns the folder in the store for archives that have to be put aside.
func (p *packing) archives() (dir string, err error) {
	if p.archiveDir == "" {
		p.archiveDir, err = p.store.Spool("archives")
	}
	return p.archiveDir, err
}

// add takes the images of a place.
func (l *localSources) add(place *local.Images, images []local.Image) error {
	for _, image := range images {
		other, ok := l.images[image.Ref]
		if ok && other.root.Digest != image.Root.Digest {
			return fmt.Errorf("%w: %s is %s in %s, and %s in %s; choose one with =NAME or by what stands behind the file",
				local.ErrNaming, image.Ref, other.root.Digest, other.place, image.Root.Digest, place)
		}
		if !ok {
			l.images[image.Ref] = localImage{image.Root, place}
		}
	}
	return nil
}

// takeLocal adds the images of all places to p.refs, sorted.
func (p *packing) takeLocal() error {
	var here []string
	for _, ref := range p.refs {
		if _, ok := p.local.images[ref]; ok {
			here = append(here, ref.String())
		} else {
			p.local.remote[ref.Repository] = true
		}
	}
	if len(here) > 0 {
		p.std.say("taken from this machine, and not from the registry: %s", someNames(here))
	}
	var more []oci.Reference
	for ref := range p.local.images {
		more = append(more, ref)
	}
	slices.SortFunc(more, func(a, b oci.Reference) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	p.refs = oci.Unique(append(p.refs, more...))
	return nil
}

// close closes all places.
func (l *localSources) close() error {
	var errs []error
	for _, place := range l.opened {
		errs = append(errs, place.Close())
	}
	l.opened = nil
	return errors.Join(errs...)
}

// placeOf is a place on this machine as the copy sees it.
func placeOf(i *local.Images) oci.Repository { return oci.Repository{Path: i.String()} }

// places returns where the blobs of an image are to be had, the preferred one first.
func (l *localSources) places(image oci.PlannedImage) []oci.Repository {
	var list []oci.Repository
	own, isLocal := l.images[image.Ref]
	if isLocal {
		list = append(list, placeOf(own.place))
	}
	for _, place := range l.opened {
		if place != own.place && holdsAny(place, image) {
			list = append(list, placeOf(place))
		}
	}
	if !isLocal || l.remote[image.Ref.Repository] {
		list = append(list, image.Ref.Repository)
	}
	return list
}

func holdsAny(place *local.Images, image oci.PlannedImage) bool {
	return slices.ContainsFunc(image.Root.Blobs(), place.Has)
}

// copySource gives the copy what registries and places on this machine have.
type copySource struct {
	*remote
	local *localSources
}

func (s *copySource) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if from.Host != "" {
		return s.remote.Open(ctx, from, d, offset)
	}
	for _, place := range s.local.opened {
		if placeOf(place) == from {
			return place.Open(ctx, from, d, offset)
		}
	}
	return nil, fmt.Errorf("%s: %w", from, oci.ErrNotFound)
}

// planSource gives the plan what references mean, manifests, and what belongs to an image.
type planSource struct {
	*remote
	local *localSources
	found oci.ReferrerCache // what registries have told, where the cache of the plan is not asked
}

func (p *packing) planned() *planSource { return &planSource{p.from, &p.local, p.kept()} }

func (s *planSource) Resolve(ctx context.Context, ref oci.Reference) (oci.Descriptor, error) {
	if image, ok := s.local.images[ref]; ok {
		return image.root, nil
	}
	return s.remote.Resolve(ctx, ref)
}

// isLocal reports whether no image of a registry is packed from the repository.
func (s *planSource) isLocal(repo oci.Repository) bool {
	return len(s.local.opened) > 0 && !s.local.remote[repo]
}

// Open asks the places on this machine first. What is wrong there is asked of the next one, since whoever plans reads the
// whole.
func (s *planSource) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	err := fmt.Errorf("%w on this machine", oci.ErrNotFound)
	for _, place := range s.local.opened {
		if d.Size > oci.MaxManifestSize || !place.Has(d) {
			continue
		}
		raw, wrong := readProven(ctx, place, d)
		if wrong == nil {
			return io.NopCloser(bytes.NewReader(raw[min(offset, d.Size):])), nil
		}
		err = fmt.Errorf("%s: %w", place, wrong)
	}
	if s.isLocal(from) {
		return nil, err
	}
	return s.remote.Open(ctx, from, d, offset)
}

func readProven(ctx context.Context, place *local.Images, d oci.Descriptor) ([]byte, error) {
	r, err := place.Open(ctx, oci.Repository{}, d, 0)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(oci.Verify(r, d))
	return raw, errors.Join(err, r.Close())
}

// Referrers joins what the places on this machine and the registry tell.
func (s *planSource) Referrers(ctx context.Context, repo oci.Repository, subject digest.Digest) ([]oci.FoundReferrer, error) {
	var all []oci.FoundReferrer
	for _, place := range s.local.opened {
		found, err := place.Referrers(ctx, repo, subject)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if !s.isLocal(repo) {
		found, err := s.remoteReferrers(ctx, oci.Reference{Repository: repo, Digest: subject})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return uniqueReferrers(all), nil
}

// remoteReferrers asks the registry, unless an earlier run has.
func (s *planSource) remoteReferrers(ctx context.Context, subject oci.Reference) ([]oci.FoundReferrer, error) {
	if len(s.local.opened) == 0 {
		return s.remote.Referrers(ctx, subject.Repository, subject.Digest)
	}
	if found, ok := s.found.Referrers(subject); ok {
		return found, nil
	}
	found, err := s.remote.Referrers(ctx, subject.Repository, subject.Digest)
	if err != nil {
		return nil, err
	}
	return found, s.found.PutReferrers(subject, found)
}

// uniqueReferrers returns the first of those that are found in two ways, as a [oci.ReferrerFinder] does.
func uniqueReferrers(all []oci.FoundReferrer) []oci.FoundReferrer {
	type key struct {
		digest digest.Digest
		tag    string
	}
	seen := map[key]bool{}
	return slices.DeleteFunc(all, func(f oci.FoundReferrer) bool {
		k := key{f.Descriptor.Digest, f.Tag}
		was := seen[k]
		seen[k] = true
		return was
	})
}

// localCache is the cache of a pack, which does not answer for what is on this machine: that may be another one now.
// What belongs to an image is joined of several answers then, of which [planSource] keeps those of registries.
type localCache struct {
	keptCache
	local *localSources
}

func (c *localCache) Resolved(ref oci.Reference) (oci.Descriptor, bool) {
	if _, ok := c.local.images[ref]; ok {
		return oci.Descriptor{}, false
	}
	return c.keptCache.Resolved(ref)
}

func (c *localCache) PutResolved(ref oci.Reference, d oci.Descriptor) error {
	if _, ok := c.local.images[ref]; ok {
		return nil
	}
	return c.keptCache.PutResolved(ref, d)
}

func (c *localCache) Referrers(subject oci.Reference) ([]oci.FoundReferrer, bool) {
	if len(c.local.opened) > 0 {
		return nil, false
	}
	return c.keptCache.Referrers(subject)
}

func (c *localCache) PutReferrers(subject oci.Reference, list []oci.FoundReferrer) error {
	if len(c.local.opened) > 0 {
		return nil
	}
	return c.keptCache.PutReferrers(subject, list)
}
