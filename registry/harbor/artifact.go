package harbor

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Repositories returns the repositories of a project, without the project's name in front, in Harbor's order, each once.
// Errors: [oci.ErrNotFound], [oci.ErrDenied].
func (c *Client) Repositories(ctx context.Context, project string) ([]string, error) {
	rows, err := list[struct {
		Name string `json:"name"`
	}](ctx, c, project, "projects/"+project+"/repositories", nil)
	if err != nil {
		return nil, fmt.Errorf("repositories of project %s of %s: %w", project, c.host, err)
	}
	var names []string
	seen := map[string]bool{}
	for _, row := range rows {
		if err := checkName(c.host, row.Name); err != nil {
			return nil, err
		}
		name, ok := strings.CutPrefix(row.Name, project+"/")
		if !ok {
			return nil, fmt.Errorf("%s: repository %q is not in project %s", c.host, row.Name, project)
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// Artifact is a manifest or index that Harbor lists. The children of an index are in its row, as are signatures and
// whatever else belongs to it.
type Artifact struct {
	Digest      digest.Digest `json:"digest"`
	Pushed      time.Time     `json:"push_time"`
	Tags        []Tag         `json:"tags"`
	Accessories []Accessory   `json:"accessories"`
}

// Tag is a name of an artifact.
type Tag struct {
	Name      string    `json:"name"`
	Pushed    time.Time `json:"push_time"`
	Immutable bool      `json:"immutable"`
}

// Accessory is what belongs to an artifact: `signature.cosign`, `subject.accessory` and others.
type Accessory struct {
	Type   string        `json:"type"`
	Digest digest.Digest `json:"digest"`
}

// Artifacts returns the artifacts of a repository, whose name has no project in front, each once. Errors:
// [oci.ErrNotFound], [oci.ErrDenied].
func (c *Client) Artifacts(ctx context.Context, project, repository string) ([]Artifact, error) {
	// A slash in the name is escaped twice on its way: here, and with the whole path.
	path := "projects/" + project + "/repositories/" + url.PathEscape(repository) + "/artifacts"
	rows, err := list[Artifact](ctx, c, project, path, url.Values{"with_tag": {"true"}, "with_accessory": {"true"}})
	if err != nil {
		return nil, fmt.Errorf("artifacts of %s/%s/%s: %w", c.host, project, repository, err)
	}
	seen := map[digest.Digest]bool{}
	rows = slices.DeleteFunc(rows, func(a Artifact) bool {
		twice := seen[a.Digest]
		seen[a.Digest] = true
		return twice
	})
	for _, a := range rows {
		if err := a.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("artifacts of %s/%s/%s: digest %q: %w", c.host, project, repository, a.Digest, err)
		}
	}
	return rows, nil
}
