package oci

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Referrers returns what index.json lists that is about the manifest subject: by its subject, whatever name it has; by the
// index under a fallback tag; and by a tag of cosign's. The manifests of index.json are read for it, once.
func (l *Layout) Referrers(_ context.Context, _ Repository, subject digest.Digest) ([]FoundReferrer, error) {
	all, err := l.abouts()
	if err != nil {
		return nil, err
	}
	return all.bySubject[subject], nil
}

// IsPart reports whether the manifest d is part of another entry of index.json, or about a manifest, as its subject says: then
// it may be listed for completeness, as oras and stores of ferry do it, and be no image of its own.
func (l *Layout) IsPart(d Descriptor) (bool, error) {
	all, err := l.abouts()
	return err == nil && all.parts[d.Digest], err
}

func (l *Layout) abouts() (*aboutList, error) {
	l.findAbout.Do(func() { l.about, l.aboutErr = l.findReferrers() })
	return l.about, l.aboutErr
}

// aboutList collects referrers, each that is found by its subject once.
type aboutList struct {
	bySubject map[digest.Digest][]FoundReferrer
	seen      map[[2]digest.Digest]bool
	parts     map[digest.Digest]bool // manifests with a subject, and those that an index lists
}

func (a *aboutList) add(subject digest.Digest, f FoundReferrer) {
	if f.Tag == "" {
		key := [2]digest.Digest{subject, f.Descriptor.Digest}
		if a.seen[key] {
			return
		}
		a.seen[key] = true
	}
	a.bySubject[subject] = append(a.bySubject[subject], f)
}

func (l *Layout) findReferrers() (*aboutList, error) {
	all := &aboutList{
		bySubject: map[digest.Digest][]FoundReferrer{}, seen: map[[2]digest.Digest]bool{}, parts: map[digest.Digest]bool{},
	}
	read := map[digest.Digest]bool{}
	for _, image := range l.images {
		if subject, ok := ParseCosignTag(image.tag()); ok {
			all.add(subject, FoundReferrer{Descriptor: image.Root, Found: FoundByTag, Tag: image.tag()})
		}
		if read[image.Root.Digest] {
			continue
		}
		read[image.Root.Digest] = true
		if err := l.addAbout(all, image); err != nil {
			return nil, fmt.Errorf("image layout %s: %w", l.name, err)
		}
	}
	return all, nil
}

// addAbout adds what the manifest of one entry is about, or lists. One that cannot be read is an error when nothing else
// would tell of it: an entry with a name of its own fails as the image that it is.
func (l *Layout) addAbout(all *aboutList, image LayoutImage) error {
	if image.Root.MediaType != "" && !IsManifest(image.Root.MediaType) {
		return nil
	}
	raw, err := l.manifest(image.Root)
	var m *Manifest
	if err == nil {
		m, err = ParseManifest(image.Root.MediaType, raw)
	}
	switch {
	case err != nil && (image.Name != "" && image.About == "" || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnsupported)):
		return nil
	case err != nil:
		return fmt.Errorf("manifest %s: %w", image.Root.Digest, err)
	}
	if m.Subject != nil {
		d := Descriptor{MediaType: m.MediaType, Digest: image.Root.Digest, Size: image.Root.Size, ArtifactType: m.Type()}
		all.parts[image.Root.Digest] = true
		all.add(m.Subject.Digest, FoundReferrer{Descriptor: d, Found: FoundByAPI})
	}
	for _, d := range m.Manifests {
		all.parts[d.Digest] = true
		if image.About != "" {
			d = Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
			all.add(image.About, FoundReferrer{Descriptor: d, Found: FoundByFallback})
		}
	}
	return nil
}
