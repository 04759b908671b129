package local

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Image is an image of a source that is meant, with its full name.
type Image struct {
	Ref  oci.Reference
	Root oci.Descriptor // its media type may be empty
}

// Select returns the images of i that the source s stands for, each name once; i was opened for s, or for one with the same
// [Source.Key]. What is only about another image, and is listed for
// that alone, is none of them: [ocs.layout.Referrers] tells of it.
//
// Errors: [ErrNaming] when an image has no full name, or two have one, or what the source chooses is not there.
func (i *Images) Select(s Source) ([]Image, error) { return (&selection{i.Layout, s}).run() }

// selection is one call of Select.
type selection struct {
	layout *oci.Layout
	source Source
}

func (s *selection) run() ([]Image, error) {
	found, err := s.chosen()
	if err != nil {
		return nil, err
	}
	if found, err = s.named(found); err != nil {
		return nil, err
	}
	var images []Image
	var nameless []oci.LayoutImage
	byName := map[oci.Reference]digest.Digest{}
	for _, image := range found {
		if image.Ref == (oci.Reference{}) {
			nameless = append(nameless, image)
			continue
		}
		other, taken := byName[image.Ref]
		if taken && other != image.Root.Digest {
			return nil, fmt.Errorf("%s: %w: %s is %s there, and %s, too", s.source.place(), ErrNaming, image.Ref, other, image.Root.Digest)
		}
		if !taken {
			byName[image.Ref] = image.Root.Digest
			images = append(images, Image{Ref: image.Ref, Root: image.Root})
		}
	}
	if len(nameless) > 0 {
		return nil, fmt.Errorf("%s: %w: %s", s.source.place(), ErrNaming, s.namelessText(nameless))
	}
	return images, nil
}

// chosen returns the entries that REF chooses, or all that are images.
func (s *selection) chosen() ([]oci.LayoutImage, error) {
	all, err := s.images()
	if err != nil || s.source.Ref == "" {
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("%s: no image in it", s.source.place())
		}
		return all, err
	}
	found := matching(all, s.source.Ref)
	if len(found) == 0 {
		found = matching(s.layout.Images(), s.source.Ref) // a referrer, which can be meant by its digest or name
	}
	switch n := distinct(found); {
	case n == 0:
		return nil, fmt.Errorf("%s: %w: there is no %s in it; it has %s",
			s.source.place(), ErrNaming, s.source.Ref, someTexts(names(all)))
	case n > 1:
		return nil, fmt.Errorf("%s: %w: %s stands for several there: %s",
			s.source.place(), ErrNaming, s.source.Ref, someTexts(names(found)))
	}
	return found, nil
}

// images returns the entries that are images of their own: not what is about others or part of them, and not a
// second entry without a name.
func (s *selection) images() ([]oci.LayoutImage, error) {
	named := map[digest.Digest]bool{}
	for _, image := range s.layout.Images() {
		named[image.Root.Digest] = named[image.Root.Digest] || image.Ref != (oci.Reference{})
	}
	var list []oci.LayoutImage
	for _, image := range s.layout.Images() {
		if image.About != "" || image.Name == "" && named[image.Root.Digest] {
			continue
		}
		if image.Name == "" {
			part, err := s.layout.IsPart(image.Root)
			if err != nil {
				return nil, err
			}
			if part {
				continue
			}
		}
		list = append(list, image)
	}
	return list, nil
}

// matching returns those of list that ref chooses: @N is the image with that number, from 0; @sha256:... the one with that
// digest; else a name, as it is written there or in full; or a tag alone.
func matching(list []oci.LayoutImage, ref string) []oci.LayoutImage {
	choose := func(fits func(oci.LayoutImage) bool) []oci.LayoutImage {
		return slices.DeleteFunc(slices.Clone(list), func(i oci.LayoutImage) bool { return !fits(i) })
	}
	if at, ok := strings.CutPrefix(ref, "@"); ok {
		d := digest.Digest(at)
		if n, err := strconv.Atoi(at); err == nil {
			d = numbered(list, n)
		}
		return choose(func(i oci.LayoutImage) bool { return i.Root.Digest == d })
	}
	if found := choose(func(i oci.LayoutImage) bool { return i.Name == ref }); len(found) > 0 {
		return found
	}
	if !strings.ContainsAny(ref, "/:@") {
		return choose(func(i oci.LayoutImage) bool { return i.Ref.Tag == ref })
	}
	full, err := oci.ParseReference(ref)
	return choose(func(i oci.LayoutImage) bool { return err == nil && i.Ref == full })
}

// numbered returns the digest of the image with that number, images of one digest counted once.
func numbered(list []oci.LayoutImage, n int) digest.Digest {
	seen := map[digest.Digest]bool{}
	for _, image := range list {
		if seen[image.Root.Digest] {
			continue
		}
		if len(seen) == n {
			return image.Root.Digest
		}
		seen[image.Root.Digest] = true
	}
	return ""
}

func distinct(list []oci.LayoutImage) int {
	seen := map[digest.Digest]bool{}
	for _, image := range list {
		seen[image.Root.Digest] = true
	}
	return len(seen)
}

// tagOf returns the tag that the name of an image has there, empty without one.
func (s *selection) tagOf(image oci.LayoutImage) string {
	if image.Ref != (oci.Reference{}) {
		return image.Ref.Tag
	}
	name, _, _ := strings.Cut(image.Name, "@")
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		return name[at+1:]
	}
	if s.source.Kind == Folder {
		return ""
	}
	return name // a tag alone, as many tools write it
}

// named gives the images the name that the user wants: with its tag, else with the one that each has there.
func (s *selection) named(list []oci.LayoutImage) ([]oci.LayoutImage, error) {
	if s.source.Name == "" || s.source.Kind == Folder && !isFolder(s.source.Path) {
		return list, nil
	}
	name := s.source.Name
	tagged := strings.LastIndexByte(name, ':') > strings.LastIndexByte(name, '/') || strings.Contains(name, "@")
	if tagged && distinct(list) > 1 {
		return nil, fmt.Errorf("%s: %w: it has %d images, and %s can name only one of them; choose with %s",
			s.source.place(), ErrNaming, distinct(list), name, s.example("=NAME", list[0]))
	}
	list = slices.Clone(list)
	for n, image := range list {
		full := name
		if tag := s.tagOf(image); !tagged && tag != "" {
			full += ":" + tag
		}
		var err error
		if list[n].Ref, err = oci.ParseReference(full); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", s.source.place(), ErrNaming, err)
		}
	}
	return list, nil
}

// namelessText says which images have no full name, and how they get one.
func (s *selection) namelessText(list []oci.LayoutImage) string {
	if s.source.Kind == Folder {
		return s.homelessText(list)
	}
	what := "an image has"
	if len(list) > 1 {
		what = fmt.Sprintf("%d images have", len(list))
	}
	return fmt.Sprintf("%s no full name there: %s; give it one: %s", what, someTexts(names(list)), s.example("=HOST/REPOSITORY:TAG", list[0]))
}

// homelessText says it of a folder of skopeo's, or of a tree.
func (s *selection) homelessText(list []oci.LayoutImage) string {
	if isFolder(s.source.Path) {
		return fmt.Sprintf("a single folder does not tell the name of its image; give it one: %s=HOST/REPOSITORY:TAG", s.source.place())
	}
	untagged := slices.DeleteFunc(slices.Clone(list), func(image oci.LayoutImage) bool {
		return s.tagOf(image) != "" || strings.Contains(image.Name, "@")
	})
	if len(untagged) > 0 {
		return fmt.Sprintf("no tag in the name of the folder %s; pack it by itself, with a name: %s/%s=HOST/REPOSITORY:TAG",
			someTexts(names(untagged)), s.source.place(), untagged[0].Name)
	}
	return fmt.Sprintf("no registry in the names of the folders %s; say which one they are of: %s=HOST", someTexts(names(list)), s.source.place())
}

// example returns how the user can choose an image.
func (s *selection) example(name string, image oci.LayoutImage) string {
	if distinct(s.layout.Images()) == 1 {
		return s.source.place() + name
	}
	ref := image.Name
	if ref == "" {
		ref = "@" + image.Root.Digest.String()
	}
	return s.source.place() + ":" + ref + name
}

// names returns what the images are called there.
func names(list []oci.LayoutImage) []string {
	texts := make([]string, len(list))
	for i, image := range list {
		texts[i] = image.Name
		if image.Name == "" {
			texts[i] = "@" + image.Root.Digest.String()
		}
	}
	return texts
}

// someTexts returns the first of texts that can be many, in one line.
func someTexts(texts []string) string {
	const most = 3
	switch {
	case len(texts) == 0:
		return "nothing"
	case len(texts) <= most:
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], ", "), len(texts)-most)
}
