package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/ferry-oci/ferry/bundle"
	"github.com/ferry-oci/ferry/oci"
)

// writeSources writes from which registries a bundle is a backup, and how their projects are set up.
func writeSources(b *strings.Builder, h *bundle.Head) {
	for _, s := range h.Sources {
		place := placeName(oci.Repository{Host: s.Registry, Path: s.Path})
		line := fmt.Sprintf("backup of %s as of %s: %s in %s", place, s.Listed.UTC().Format(time.RFC3339),
			plural(s.Images, "image"), plural(s.Repositories, "repository"))
		if s.Filters != nil {
			line += ", with " + filterText(s.Filters)
		}
		fmt.Fprintf(b, "%s\n", oneLine(line))
		for _, name := range s.Gone {
			fmt.Fprintf(b, "gone %s\n", oneLine(name+": deleted after it was listed"))
		}
		for _, name := range s.Caches {
			fmt.Fprintf(b, "left out %s\n", oneLine(name+": a cache of another registry"))
		}
	}
	for _, p := range h.Projects {
		fmt.Fprintf(b, "project %s\n", oneLine(p.Registry+"/"+p.Name+": "+projectText(p)))
	}
}

// filterText returns filters as the flags of pack that they were.
func filterText(f *bundle.Filters) string {
	var flags []string
	add := func(flag string, values ...string) {
		for _, v := range values {
			flags = append(flags, fmt.Sprintf("--%s '%s'", flag, v))
		}
	}
	add("project", f.Projects...)
	add("repo", f.Repositories...)
	add("tag", f.Tags...)
	if f.Since != nil {
		add("since", f.Since.UTC().Format(time.RFC3339))
	}
	if f.Digests {
		flags = append(flags, "--digests")
	}
	return strings.Join(flags, " ")
}

// projectText says how a project is set up.
func projectText(p bundle.Project) string {
	words := []string{"private"}
	if p.Public {
		words[0] = "public"
	}
	if p.Quota > 0 {
		words = append(words, "quota "+formatSize(p.Quota))
	}
	for _, part := range []struct {
		word string
		has  bool
	}{{"retention", p.Retention != nil}, {"immutable tags", p.Immutability != nil}, {"labels", p.Labels != nil}} {
		if part.has {
			words = append(words, part.word)
		}
	}
	return strings.Join(words, ", ")
}
