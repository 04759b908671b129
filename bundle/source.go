package bundle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Limits of format version 1 for sources and projects, see FORMAT.md.
const (
	maxSources     = 1_000
	maxPatterns    = 1_000
	maxSourceNames = 100_000 // in Caches and Gone of all sources
	maxProjects    = 100_000
	maxSettingJSON = 1 << 20
)

// Source is a registry that was listed to know what to pack, as it was then.
type Source struct {
	Registry     string    `json:"registry"`
	Path         string    `json:"path,omitempty"`
	Harbor       bool      `json:"harbor,omitempty"`
	Listed       time.Time `json:"listed"`
	Filters      *Filters  `json:"filters,omitempty"`
	Repositories int       `json:"repositories"`
	Images       int       `json:"images"`
	Caches       []string  `json:"caches,omitempty"` // projects that were left out
	Gone         []string  `json:"gone,omitempty"`   // images that were deleted before they were fetched
}

// Filters are what narrowed the list of a source.
type Filters struct {
	Projects     []string   `json:"projects,omitempty"`
	Repositories []string   `json:"repositories,omitempty"`
	Tags         []string   `json:"tags,omitempty"`
	Since        *time.Time `json:"since,omitempty"`
	Digests      bool       `json:"digests,omitempty"`
}

// Project is how a project of a source is set up.
type Project struct {
	Registry string            `json:"registry"`
	Name     string            `json:"name"`
	Public   bool              `json:"public"`
	Quota    int64             `json:"quota,omitempty"` // bytes; -1 is no limit, 0 not known
	Metadata map[string]string `json:"metadata,omitempty"`

	Retention    json.RawMessage `json:"retention,omitempty"`
	Immutability json.RawMessage `json:"immutability,omitempty"`
	Labels       json.RawMessage `json:"labels,omitempty"`
}

func (h *Head) checkSources() error {
	if len(h.Sources) > maxSources {
		return fmt.Errorf("%d sources: too many", len(h.Sources))
	}
	names := 0
	for i, s := range h.Sources {
		if names += len(s.Caches) + len(s.Gone); names > maxSourceNames {
			return fmt.Errorf("more than %d names of what sources lack", maxSourceNames)
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("source %d: %w", i, err)
		}
	}
	return nil
}

func (s Source) check() error {
	if err := checkTexts(1, maxNameLen, s.Registry); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if err := checkTexts(0, maxNameLen, s.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if s.Repositories < 0 || s.Images < 0 {
		return fmt.Errorf("%d images in %d repositories", s.Images, s.Repositories)
	}
	if err := checkTexts(1, maxNameLen, slices.Concat(s.Caches, s.Gone)...); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if f := s.Filters; f != nil {
		for _, patterns := range [][]string{f.Projects, f.Repositories, f.Tags} {
			if len(patterns) > maxPatterns {
				return fmt.Errorf("%d patterns: too many", len(patterns))
			}
			if err := checkTexts(0, maxNameLen, patterns...); err != nil {
				return fmt.Errorf("pattern: %w", err)
			}
		}
	}
	return nil
}

func (h *Head) checkProjects() error {
	if len(h.Projects) > maxProjects {
		return fmt.Errorf("%d projects: too many", len(h.Projects))
	}
	for i, p := range h.Projects {
		if err := p.check(); err != nil {
			return fmt.Errorf("project %d: %w", i, err)
		}
		if i > 0 && compareProjects(h.Projects[i-1], p) >= 0 {
			return fmt.Errorf("project %q: not in order of registry and name", p.Name)
		}
	}
	return nil
}

func compareProjects(a, b Project) int {
	return cmp.Or(cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Name, b.Name))
}

func (p Project) check() error {
	if err := checkTexts(1, maxNameLen, p.Registry, p.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if p.Quota < -1 {
		return fmt.Errorf("quota of %d bytes", p.Quota)
	}
	if len(p.Metadata) > maxLabels {
		return fmt.Errorf("%d settings: too many", len(p.Metadata))
	}
	for k, v := range p.Metadata {
		if len(k) > maxNameLen || len(v) > maxLabelLen {
			return fmt.Errorf("setting %.40q: too long", k)
		}
	}
	for _, raw := range []json.RawMessage{p.Retention, p.Immutability, p.Labels} {
		if len(raw) > maxSettingJSON {
			return fmt.Errorf("settings of %d bytes", len(raw))
		}
	}
	return nil
}

// checkTexts proves that each text has at least and at most so many bytes.
func checkTexts(least, most int, texts ...string) error {
	for _, s := range texts {
		if len(s) < least || len(s) > most {
			return fmt.Errorf("%.40q: %d bytes, want %d to %d", s, len(s), least, most)
		}
	}
	return nil
}
