package bundle

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Limits of format version 1 for referrers, see FORMAT.md.
const (
	maxReferrers    = 10_000 // of one image
	maxArtifactType = 255
)

// Referrer is a manifest about an image, or about another referrer of it: a signature, an SBOM, an attestation.
type Referrer struct {
	Subject      digest.Digest `json:"subject"`
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	Size         int64         `json:"size"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Found        oci.FoundBy   `json:"found"`
	Tag          string        `json:"tag,omitempty"`
	Manifests    []Manifest    `json:"manifests"`
}

// Descriptor returns the root of the referrer as a descriptor.
func (r Referrer) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size}
}

// AllManifests returns the manifests of the image and of its referrers. One may come twice.
func (i Image) AllManifests() iter.Seq[Manifest] {
	return func(yield func(Manifest) bool) {
		for _, m := range i.Manifests {
			if !yield(m) {
				return
			}
		}
		for _, r := range i.Referrers {
			for _, m := range r.Manifests {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// newReferrers describes the referrers of one image.
func newReferrers(list []oci.Referrer, at map[digest.Digest]int) ([]Referrer, error) {
	var all []Referrer
	for _, r := range list {
		manifests, err := newManifests(r.Root, at)
		if err != nil {
			return nil, fmt.Errorf("referrer %s: %w", r.Root.Digest, err)
		}
		all = append(all, Referrer{
			Subject: r.Subject, Digest: r.Root.Digest, MediaType: r.Root.MediaType, Size: r.Root.Size,
			ArtifactType: r.Root.Manifest.Type(), Found: r.Found, Tag: r.Tag, Manifests: manifests,
		})
	}
	return all, nil
}

// checkReferrers proves that each referrer is about something that comes before it, and that it says itself how it is
// found.
func (i Image) checkReferrers() error {
	if len(i.Referrers) > maxReferrers {
		return fmt.Errorf("%d referrers: too many", len(i.Referrers))
	}
	subjects := map[digest.Digest]bool{}
	add := func(list []Manifest) {
		for _, m := range list {
			subjects[m.Digest] = true
		}
	}
	add(i.Manifests)
	for _, o := range i.Origins() {
		subjects[o.Digest] = true
	}
	for _, r := range i.Referrers {
		if !subjects[r.Subject] {
			return fmt.Errorf("referrer %s: its subject %.80q is not before it", r.Digest, string(r.Subject))
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("referrer %s: %w", r.Digest, err)
		}
		add(r.Manifests)
	}
	return nil
}

func (r Referrer) check() error {
	if len(r.ArtifactType) > maxArtifactType {
		return fmt.Errorf("artifact type of %d bytes", len(r.ArtifactType))
	}
	if !slices.ContainsFunc(r.Manifests, func(m Manifest) bool { return m.Digest == r.Digest }) {
		return fmt.Errorf("its manifest is not among its manifests")
	}
	subject, tagged := oci.ParseCosignTag(r.Tag)
	switch r.Found {
	case oci.FoundByAPI, oci.FoundByFallback:
		if r.Tag == "" {
			return nil
		}
	case oci.FoundByTag:
		if tagged && subject == r.Subject {
			return nil
		}
	}
	return fmt.Errorf("found by %.40q with the tag %.140q, and it is about %s", string(r.Found), r.Tag, r.Subject)
}

// Referrers returns what belongs to an image of the bundle, the manifests read and proven.
func (b *Bundle) Referrers(ctx context.Context, img Image) ([]oci.Referrer, error) {
	return referrers(ctx, fetcher(b), b.layout.head, b.blobs, img)
}

// Referrers returns what belongs to an image of the bundle.
func (s *Stream) Referrers(ctx context.Context, img Image) ([]oci.Referrer, error) {
	return referrers(ctx, fetcher(s), s.layout.head, s.blobs, img)
}

// referrers loads the referrers of img and proves that ferry.json describes them.
func referrers(ctx context.Context, fetch fetchFunc, h *Head, at map[digest.Digest]int, img Image) ([]oci.Referrer, error) {
	var list []oci.Referrer
	for _, r := range img.Referrers {
		root, err := oci.LoadGraph(ctx, fetch, r.Descriptor())
		if err != nil {
			return nil, err
		}
		if err := checkBlobs(root, h, at); err != nil {
			return nil, fmt.Errorf("referrer %s: %w", r.Digest, err)
		}
		about := root.Manifest.Subject
		if r.Found != oci.FoundByTag && (about == nil || about.Digest != r.Subject) {
			return nil, fmt.Errorf("referrer %s: its manifest does not name its subject %s", r.Digest, r.Subject)
		}
		setPlatforms(root, r.Manifests)
		list = append(list, oci.Referrer{Subject: r.Subject, Root: root, Found: r.Found, Tag: r.Tag})
	}
	want, err := newReferrers(list, at)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(want, img.Referrers, func(a, b Referrer) bool { return reflect.DeepEqual(a, b) }) {
		return nil, fmt.Errorf("%s does not say of its referrers what their manifests say", headName)
	}
	return list, nil
}
