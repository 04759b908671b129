package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry/harbor"
)

// A backup packs what a registry has (--from). It is listed once, and the list is kept in the store beside the journal:
// a run that goes on packs what the first one found, as of then. The bundle has it as a source, see bundle/FORMAT.md.
//
// A Harbor tells which digest each tag has. The image is fetched by that one, so that a tag which moves while the backup
// runs does not matter; where it is there no more, what the tag is now is better than nothing. Images that are not to be
// had in either way were deleted, and no failure.
type backup struct {
	place    oci.Repository
	selector *selector

	keptList
	digests map[oci.Reference]digest.Digest // of images with a tag, where the registry has told it
}

// keptList is what a registry had when it was listed, as it is kept in the store.
type keptList struct {
	Source   bundle.Source
	Projects []bundle.Project
	Images   []keptImage
}

type keptImage struct {
	Name   string
	Digest digest.Digest `json:",omitempty"`
}

// addSelection defines the flags of a selection that need --from.
func addSelection(set *pflag.FlagSet, s *selection) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.add(flags)
	flags.VisitAll(func(f *pflag.Flag) { f.Usage = "with --from, " + f.Usage })
	set.AddFlagSet(flags)
}

// backup returns what --from and its filters say, nil without --from. All errors are mistakes in them.
func (o *packOptions) backup(std *stdio) (*backup, error) {
	switch {
	case o.From == "" && o.Select.given():
		return nil, usagef("--project, --repo, --tag, --since and --digests choose from what --from lists, and need it")
	case o.From == "":
		return nil, nil
	case len(o.Images) > 0 || len(o.Files) > 0:
		return nil, usagef("--from takes the images of a registry, and cannot be given with others; pack those into a bundle of their own")
	}
	place, err := parsePlace(o.From)
	if err != nil {
		return nil, err
	}
	selector, err := o.Select.compile(std.Now())
	return &backup{place: place, selector: selector}, err
}

// key says what is to be listed, as the user wrote it: a run that is told the same goes on with the same list.
func (b *backup) key() string {
	raw, err := json.Marshal(b.selector.selection)
	if err != nil {
		panic("ferry: texts cannot be written as JSON: " + err.Error())
	}
	return "from " + b.place.String() + " " + string(raw)
}

// takeList sets p.refs to what the registry has, or had when an earlier run listed it.
func (p *packing) takeList(ctx context.Context) error {
	b := p.backup
	kept, err := p.keptList()
	switch {
	case err != nil:
		return fmt.Errorf("the list that an earlier run has taken cannot be read, --refresh lists anew: %w", err)
	case kept != nil:
		b.keptList = *kept
		p.std.say("going on with the list of %s as of %s; --refresh lists anew", placeName(b.place), b.Source.Listed.Format(time.RFC3339))
	default:
		if err := p.listNow(ctx); err != nil {
			return err
		}
	}
	if err := p.takeRefs(); err != nil {
		return err
	}
	what := plural(b.Source.Images, "image") + " in " + plural(b.Source.Repositories, "repository")
	if b.Source.Harbor {
		what += " of " + plural(len(b.Projects), "project")
	}
	p.std.say("%s has %s", placeName(b.place), what)
	if kept == nil && !p.o.DryRun {
		return p.keepList()
	}
	return nil
}

// keptList returns the list of an earlier run, nil when there is none to go on with.
func (p *packing) keptList() (*keptList, error) {
	if p.o.Refresh {
		return nil, nil
	}
	raw, err := p.journal.Kept()
	if errors.Is(err, oci.ErrNotFound) {
		return nil, nil
	}
	var l keptList
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	return &l, err
}

func (p *packing) keepList() error {
	raw, err := json.Marshal(p.backup.keptList)
	if err != nil {
		return err
	}
	return p.journal.Keep(raw)
}

// listNow asks the registry what it has.
func (p *packing) listNow(ctx context.Context) error {
	b := p.backup
	listed := p.std.Now().UTC().Truncate(time.Second)
	l := &lister{from: p.from, std: p.std, place: b.place, selector: b.selector, parallel: p.o.Transfers.N}
	found, err := l.run(ctx)
	if err != nil {
		return err
	}
	if len(found.Images) == 0 {
		return &partialError{fmt.Errorf("%s: no image that fits", placeName(b.place))}
	}
	b.Source = bundle.Source{
		Registry: b.place.Host, Path: b.place.Path, Harbor: found.Harbor != nil, Listed: listed, Filters: b.selector.filters(),
		Repositories: found.Repos, Images: len(found.Images), Caches: found.Caches,
	}
	b.Images = make([]keptImage, len(found.Images))
	for i, image := range found.Images {
		b.Images[i] = keptImage{Name: image.Ref.String(), Digest: image.Digest}
	}
	b.Projects, err = projectSettings(ctx, found, p.o.Transfers.N)
	return p.from.explain(err)
}

// filters returns the selection as a bundle records it.
func (s *selector) filters() *bundle.Filters {
	if !s.given() {
		return nil
	}
	f := &bundle.Filters{Projects: s.Projects, Repositories: s.Repos, Tags: s.Tags, Digests: s.Digests}
	if !s.since.IsZero() {
		since := s.since.UTC().Truncate(time.Second)
		f.Since = &since
	}
	return f
}

// projectSettings asks a Harbor how its projects are set up, so many at once.
func projectSettings(ctx context.Context, found *registryList, parallel int) ([]bundle.Project, error) {
	all := make([]bundle.Project, len(found.Projects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, p := range found.Projects {
		group.Go(func() error {
			s, err := found.Harbor.Settings(ctx, p)
			all[i] = bundleProject(found.Harbor.Host(), p.Name, s)
			return err
		})
	}
	return all, group.Wait()
}

// bundleProject returns the settings of a project as a bundle has them: without what is said elsewhere, and without what
// means something at this very Harbor alone.
func bundleProject(host, name string, s harbor.Settings) bundle.Project {
	p := bundle.Project{
		Registry: host, Name: name, Public: s.Public,
		Retention: s.Retention, Immutability: s.Immutability, Labels: s.Labels,
	}
	if s.Quota != nil {
		p.Quota = s.Quota.Hard
	}
	for key, value := range s.Metadata {
		if key == "public" || key == "retention_id" {
			continue
		}
		if p.Metadata == nil {
			p.Metadata = map[string]string{}
		}
		p.Metadata[key] = value
	}
	return p
}

// takeRefs makes references of the list.
func (p *packing) takeRefs() error {
	b := p.backup
	b.digests = map[oci.Reference]digest.Digest{}
	for _, image := range b.Images {
		ref, err := oci.ParseReference(image.Name)
		if err != nil {
			return fmt.Errorf("list of %s: %w", placeName(b.place), err)
		}
		p.refs = append(p.refs, ref)
		if ref.Digest == "" && image.Digest != "" {
			b.digests[ref] = image.Digest
		}
	}
	return nil
}

// source returns the source of the bundle as it came out.
func (p *packing) source() bundle.Source {
	s := p.backup.Source
	if p.created != nil {
		s.Listed = *p.created
	}
	for _, ref := range p.gone {
		s.Gone = append(s.Gone, ref.String())
	}
	slices.Sort(s.Gone)
	return s
}

// resolver returns what tells which manifest a reference means.
func (p *packing) resolver() oci.Resolver {
	if p.backup == nil {
		return p.planned()
	}
	return &listResolver{p.from, p.backup.digests}
}

// listResolver resolves tags as they were when the registry was listed.
type listResolver struct {
	oci.Resolver
	digests map[oci.Reference]digest.Digest
}

func (r *listResolver) Resolve(ctx context.Context, ref oci.Reference) (oci.Descriptor, error) {
	if listed := r.digests[ref]; listed != "" {
		d, err := r.Resolver.Resolve(ctx, oci.Reference{Repository: ref.Repository, Digest: listed})
		if !errors.Is(err, oci.ErrNotFound) {
			return d, err
		}
	}
	return r.Resolver.Resolve(ctx, ref)
}

// addFailure takes note of an image that could not be fetched. Of a backup, one that the registry knows no more is gone;
// one that it still knows, and of which it lacks a part, has failed.
func (p *packing) addFailure(ctx context.Context, ref oci.Reference, err error) {
	if p.backup != nil && errors.Is(err, oci.ErrNotFound) {
		if _, now := p.resolver().Resolve(ctx, ref); errors.Is(now, oci.ErrNotFound) {
			p.gone = append(p.gone, ref)
			return
		}
	}
	p.failed = append(p.failed, failedImage{ref, p.from.explain(err)})
}

// failedText says in the plan what is wrong with an image that is not to be had.
func (p *packing) failedText(ref oci.Reference) string {
	if slices.Contains(p.gone, ref) {
		return "deleted meanwhile"
	}
	return "cannot be fetched"
}

// warnGone names what was deleted.
func (p *packing) warnGone() {
	if len(p.gone) == 0 {
		return
	}
	p.std.warn("%s deleted since the registry was listed, and not in the bundle:", plural(len(p.gone), "image"))
	for _, ref := range p.gone {
		p.std.complain("  " + ref.String())
	}
}
