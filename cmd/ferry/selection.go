package main

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/pflag"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// selection says which images of a registry are meant. It is what the user wrote; compile makes sense of it.
type selection struct {
	Projects []string
	Repos    []string
	Tags     []string
	Since    string
	Digests  bool
}

// add defines the flags.
func (s *selection) add(set *pflag.FlagSet) {
	set.StringSliceVar(&s.Projects, "project", nil, "only these `PROJECTS`, which may have *; elsewhere than in a Harbor the first part of a name")
	set.StringSliceVar(&s.Repos, "repo", nil, "only repositories that fit a `GLOB`, such as 'k8s/*'; * is any text (repeatable)")
	set.StringArrayVar(&s.Tags, "tag", nil, "only tags that fit a `GLOB`, or a range of versions such as '>=1.2 <2', '~1.4' or '^1' (repeatable)")
	set.StringVar(&s.Since, "since", "", "only what was pushed since a `TIME`: 2026-01-31, or 30d; a Harbor tells when that was")
	set.BoolVar(&s.Digests, "digests", false, "what has no tag as well, by its digest; a Harbor tells of it")
}

// narrow reports whether less than whole projects is meant.
func (s *selection) narrow() bool { return len(s.Repos) > 0 || len(s.Tags) > 0 || s.Since != "" }

// given reports whether anything was chosen at all.
func (s *selection) given() bool { return len(s.Projects) > 0 || s.narrow() || s.Digests }

// selector is a selection that can be asked.
type selector struct {
	selection
	projects, repos []*regexp.Regexp
	tags            []*regexp.Regexp
	versions        []*semver.Constraints
	since           time.Time // zero: any time
}

// compile reads the selection. Its errors are mistakes in the command line.
func (s selection) compile(now time.Time) (*selector, error) {
	sel := &selector{selection: s, projects: globs(s.Projects), repos: globs(s.Repos)}
	for _, tag := range s.Tags {
		if !strings.ContainsAny(tag, "<>=~^") { // none of which a tag can have
			sel.tags = append(sel.tags, glob(tag))
			continue
		}
		versions, err := semver.NewConstraint(tag)
		if err != nil {
			return nil, usagef("--tag %q: not a range of versions, such as '>=1.2 <2', '~1.4' or '^1'", tag)
		}
		sel.versions = append(sel.versions, versions)
	}
	var err error
	if s.Since != "" {
		sel.since, err = parseSince(s.Since, now)
	}
	return sel, err
}

func globs(patterns []string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, p := range patterns {
		all = append(all, glob(p))
	}
	return all
}

// parseSince reads a day, a time, or how long ago that was: hours, days or weeks.
func parseSince(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	unit := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	const longest = 100 * 365 * 24 // hours
	if each, ok := unit[s[len(s)-1]]; ok {
		n, err := strconv.Atoi(s[:len(s)-1])
		if err == nil && n >= 0 && n <= longest/int(each/time.Hour) {
			return now.Add(-time.Duration(n) * each), nil
		}
	}
	return time.Time{}, usagef("--since %q: a day such as 2026-01-31, a time (RFC 3339), or how long ago, such as 12h, 30d or 8w, is needed", s)
}

// project reports whether images of the project are meant.
func (s *selector) project(name string) bool {
	return len(s.projects) == 0 || matchesAny(s.projects, name)
}

// repository reports whether images of the repository are meant; path begins with the project.
func (s *selector) repository(path string) bool {
	project, _, _ := strings.Cut(path, "/")
	return s.project(project) && (len(s.repos) == 0 || matchesAny(s.repos, path))
}

// tag reports whether images with the tag are meant.
func (s *selector) tag(tag string) bool {
	if len(s.tags) == 0 && len(s.versions) == 0 {
		return true
	}
	if matchesAny(s.tags, tag) {
		return true
	}
	version, err := semver.NewVersion(strings.Replace(tag, "_", "+", 1)) // as helm writes a version with a plus
	return err == nil && slices.ContainsFunc(s.versions, func(c *semver.Constraints) bool { return c.Check(version) })
}

// pushed reports whether what was pushed then is meant.
func (s *selector) pushed(at time.Time) bool { return s.since.IsZero() || !at.Before(s.since) }

func matchesAny(patterns []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(s) })
}

// parsePlace reads REGISTRY[/PROJECT] or REGISTRY/REPOSITORY.
func parsePlace(s string) (oci.Repository, error) {
	place, err := registry.ParseTarget(s)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil { // what ParseTarget calls a target is none here
			err = inner
		}
		return oci.Repository{}, usagef("%.200s: %w", printable(oci.MaskUser(s)), err)
	}
	if place.Host == "docker.io" && place.Path != "" && !strings.Contains(place.Path, "/") {
		place.Path = "library/" + place.Path
	}
	return place, nil
}

// placeName returns what messages call a place.
func placeName(place oci.Repository) string { return strings.TrimSuffix(place.String(), "/") }
