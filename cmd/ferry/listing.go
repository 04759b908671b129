package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
	"github.com/ferry-oci/ferry/registry/harbor"
)

// lister finds out which images a registry has.
type lister struct {
	from     *remote
	std      *stdio
	place    oci.Repository // a path narrows it: a project, a namespace or a repository
	selector *selector
	parallel int // repositories that are asked for at once

	mu     sync.Mutex
	images []listedImage
	repos  int      // that have one of the images
	caches []string // see registryList
	failed []error
}

// listedImage is an image that a registry has. What it does not tell is zero.
type listedImage struct {
	Ref    oci.Reference
	Digest digest.Digest
	Pushed time.Time
}

// registryList is what a lister found.
type registryList struct {
	Harbor   *harbor.Client   // nil when the registry is none
	Projects []harbor.Project // of a Harbor, those that are meant as a whole or have one of the images, sorted by name
	Caches   []string         // projects that were left out, because they are caches of other registries
	Images   []listedImage    // sorted by name
	Repos    int
}

// run asks the registry. Repositories that are gone by the time are left out. When others cannot be read, all that is
// known comes back with a partialError.
func (l *lister) run(ctx context.Context) (*registryList, error) {
	found, err := l.ask(ctx)
	if err != nil {
		return nil, l.from.explain(l.adviseOn(err))
	}
	slices.SortFunc(l.images, func(a, b listedImage) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	found.Images, found.Repos = l.images, l.repos
	found.Caches = l.caches
	if l.narrowed() {
		found.Projects = slices.DeleteFunc(found.Projects, func(p harbor.Project) bool { return !l.hasImageIn(p.Name) })
	}
	slices.SortFunc(found.Projects, func(a, b harbor.Project) int { return strings.Compare(a.Name, b.Name) })
	if len(l.failed) > 0 {
		for _, err := range l.failed {
			l.std.complain("ferry: " + err.Error())
		}
		return found, &partialError{l.from.explain(&summaryError{
			text: fmt.Sprintf("%s of %s could not be listed", plural(len(l.failed), "repository"), l.place.Host), err: errors.Join(l.failed...),
		})}
	}
	return found, nil
}

// narrowed reports whether less than whole projects is meant.
func (l *lister) narrowed() bool { return strings.Contains(l.place.Path, "/") || l.selector.narrow() }

func (l *lister) hasImageIn(project string) bool {
	return slices.ContainsFunc(l.images, func(i listedImage) bool { return strings.HasPrefix(i.Ref.Path, project+"/") })
}

func (l *lister) ask(ctx context.Context) (*registryList, error) {
	client, err := harbor.Find(ctx, l.from.Client, l.place.Host)
	switch {
	case err != nil:
		return nil, err
	case client != nil:
		l.std.detail("%s: a Harbor, listed by its API", l.place.Host)
		return l.askHarbor(ctx, client)
	case l.selector.Since != "":
		return nil, usagef("--since: %s is no Harbor, and other registries do not tell when something was pushed", l.place.Host)
	case l.selector.Digests:
		return nil, usagef("--digests: %s is no Harbor, and other registries do not tell of what has no tag", l.place.Host)
	}
	return &registryList{}, l.askCatalog(ctx)
}

// adviseOn adds what helps where the repositories cannot be listed.
func (l *lister) adviseOn(err error) error {
	if errors.Is(err, registry.ErrNoCatalog) {
		return fmt.Errorf("%w; name a repository, as in ferry list %s/REPOSITORY", err, l.place.Host)
	}
	return err
}

// askCatalog lists a registry of any kind: its catalog, and the tags of each repository.
func (l *lister) askCatalog(ctx context.Context) error {
	paths, err := l.from.Catalog(ctx, l.place.Host)
	closed := errors.Is(err, registry.ErrNoCatalog) || errors.Is(err, oci.ErrDenied)
	switch {
	case closed && l.place.Path != "": // then that is a repository
		if _, err := l.from.Tags(ctx, l.place); err != nil {
			return err
		}
		paths = []string{l.place.Path}
	case err != nil:
		return err
	}
	return l.each(ctx, paths, func(ctx context.Context, repo oci.Repository) ([]listedImage, error) {
		tags, err := l.from.Tags(ctx, repo)
		var images []listedImage
		for _, tag := range tags {
			if l.selector.tag(tag) && !isAttachedTag(tag) {
				images = append(images, listedImage{Ref: oci.Reference{Repository: repo, Tag: tag}})
			}
		}
		return images, err
	})
}

// isAttachedTag reports whether by this tag cosign, or a registry without a referrers API, ties something to another
// manifest. It names no image, and travels with the one that it is about.
func isAttachedTag(tag string) bool {
	_, cosign := oci.ParseCosignTag(tag)
	return cosign || oci.IsFallbackTag(tag)
}

// each lists those of the repositories that are meant, several at once.
func (l *lister) each(
	ctx context.Context, paths []string, list func(context.Context, oci.Repository) ([]listedImage, error),
) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(l.parallel)
	for _, path := range paths {
		if !l.within(path) || !l.selector.repository(path) {
			continue
		}
		group.Go(func() error {
			repo := oci.Repository{Host: l.place.Host, Path: path}
			images, err := list(ctx, repo)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.add(repo, images, err)
			return nil
		})
	}
	return group.Wait()
}

// within reports whether the repository path is at the place that is listed, or below it.
func (l *lister) within(path string) bool {
	return l.place.Path == "" || path == l.place.Path || strings.HasPrefix(path, l.place.Path+"/")
}

func (l *lister) add(repo oci.Repository, images []listedImage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, oci.ErrNotFound):
		l.std.detail("%s: gone since the repositories were listed, or without tags", repo)
	case err != nil:
		l.failed = append(l.failed, err)
	case len(images) > 0:
		l.images = append(l.images, images...)
		l.repos++
	}
}

// askHarbor lists a Harbor: its projects, their repositories, and the artifacts of each.
func (l *lister) askHarbor(ctx context.Context, c *harbor.Client) (*registryList, error) {
	projects, err := l.harborProjects(ctx, c)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, p := range projects {
		repos, err := c.Repositories(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		for _, repo := range repos {
			paths = append(paths, p.Name+"/"+repo)
		}
	}
	err = l.each(ctx, paths, func(ctx context.Context, repo oci.Repository) ([]listedImage, error) {
		project, name, _ := strings.Cut(repo.Path, "/")
		artifacts, err := c.Artifacts(ctx, project, name)
		return l.chosen(repo, artifacts), err
	})
	return &registryList{Harbor: c, Projects: projects}, err
}

// harborProjects returns the projects that are meant. Those that are caches of other registries are left out unless they
// are named.
func (l *lister) harborProjects(ctx context.Context, c *harbor.Client) ([]harbor.Project, error) {
	var projects []harbor.Project
	var err error
	if name, _, _ := strings.Cut(l.place.Path, "/"); name != "" {
		var p harbor.Project
		p, err = c.Project(ctx, name)
		projects = []harbor.Project{p}
	} else {
		projects, err = c.Projects(ctx)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(projects, func(p harbor.Project) bool {
		if !l.selector.project(p.Name) {
			return true
		}
		if p.IsProxy() && l.place.Path == "" && !slices.Contains(l.selector.Projects, p.Name) {
			l.std.say("left out: project %s is a cache of another registry; --project %s takes what it holds", p.Name, p.Name)
			l.caches = append(l.caches, p.Name)
			return true
		}
		return false
	}), nil
}

// chosen returns those of the artifacts that are meant, an image for each tag.
func (l *lister) chosen(repo oci.Repository, artifacts []harbor.Artifact) []listedImage {
	var images []listedImage
	for _, a := range artifacts {
		for _, tag := range a.Tags {
			if l.selector.tag(tag.Name) && l.selector.pushed(tag.Pushed) && !isAttachedTag(tag.Name) {
				ref := oci.Reference{Repository: repo, Tag: tag.Name}
				images = append(images, listedImage{Ref: ref, Digest: a.Digest, Pushed: tag.Pushed})
			}
		}
		if l.selector.Digests && len(a.Tags) == 0 && l.selector.pushed(a.Pushed) {
			ref := oci.Reference{Repository: repo, Digest: a.Digest}
			images = append(images, listedImage{Ref: ref, Digest: a.Digest, Pushed: a.Pushed})
		}
	}
	return images
}
