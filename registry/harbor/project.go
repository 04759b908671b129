package harbor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// Project is what Harbor tells of a project.
type Project struct {
	ID         int64             `json:"project_id"`
	Name       string            `json:"name"`
	RegistryID int64             `json:"registry_id"` // of what the project is a cache of; 0 is none
	Metadata   map[string]string `json:"metadata"`
}

// IsProxy reports whether the project is a cache of another registry: nothing can be pushed to it, and it shows only what
// was pulled through it.
func (p Project) IsProxy() bool { return p.RegistryID != 0 }

// Public reports whether everybody may pull.
func (p Project) Public() bool { return p.Metadata["public"] == "true" }

// Projects returns all projects that the credential may see, in Harbor's order, each once.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	all, err := list[Project](ctx, c, "", "projects", nil)
	if err != nil {
		return nil, fmt.Errorf("projects of %s: %w", c.host, err)
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(p Project) bool { // rows move while pages are read
		twice := seen[p.Name]
		seen[p.Name] = true
		return twice
	})
	for _, p := range all {
		if err := checkName(c.host, p.Name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Project returns the project of that name. Errors: [oci.ErrNotFound], [oci.ErrDenied].
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	var p Project
	err := c.get(ctx, name, "projects/"+name, nil, &p)
	if errors.Is(err, oci.ErrDenied) { // the secret of a user of OIDC is good for lists only
		rows, lerr := list[Project](ctx, c, name, "projects", url.Values{"name": {name}}) // and those whose names have it inside
		if i := slices.IndexFunc(rows, func(p Project) bool { return p.Name == name }); lerr == nil && i >= 0 {
			return rows[i], nil
		}
	}
	if err != nil {
		return Project{}, fmt.Errorf("project %s of %s: %w", name, c.host, err)
	}
	return p, nil
}

// HasProject reports whether there is a project of that name, which need not be one that the user may see.
func (c *Client) HasProject(ctx context.Context, name string) (bool, error) {
	_, err := c.call(ctx, name, registry.APIRequest{
		Method: http.MethodHead, Path: root + "projects", Query: url.Values{"project_name": {name}},
	})
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return false, nil
	case errors.Is(err, oci.ErrDenied): // so Harbor speaks of what is not there, too, but the registry behind it does not
		return !c.lacks(ctx, name), nil
	case err != nil:
		return false, fmt.Errorf("project %s of %s: %w", name, c.host, err)
	}
	return true, nil
}

// lacks reports whether the registry says that there is no such project: its answer to whoever asks for anything in it.
func (c *Client) lacks(ctx context.Context, name string) bool {
	_, err := c.api.Tagged(ctx, oci.Repository{Host: c.host, Path: name + "/any"}, "latest")
	var status *registry.Error
	return errors.As(err, &status) && strings.Contains(status.Message, "project "+name+" not found")
}

// CreateProject makes a project, and reports whether it did: one that is there already is left as it is, and no error.
// Errors: [oci.ErrDenied].
func (c *Client) CreateProject(ctx context.Context, name string, public bool) (created bool, err error) {
	body, err := json.Marshal(map[string]any{
		"project_name": name, "metadata": map[string]string{"public": strconv.FormatBool(public)},
	})
	if err != nil {
		return false, err
	}
	answer, err := c.call(ctx, name, registry.APIRequest{
		Method: http.MethodPost, Path: root + "projects", Body: body,
		Want: []int{http.StatusCreated, http.StatusConflict},
	})
	if err != nil {
		return false, fmt.Errorf("create project %s of %s: %w", name, c.host, err)
	}
	return answer.Status == http.StatusCreated, nil
}

// Quota is how much a project may hold, in bytes.
type Quota struct {
	Hard int64 // -1 is no limit
	Used int64
}

// Quota returns that of a project. False means that Harbor does not tell it to this user.
func (c *Client) Quota(ctx context.Context, name string) (q Quota, known bool, err error) {
	var summary struct {
		Quota *struct {
			Hard struct {
				Storage int64 `json:"storage"`
			} `json:"hard"`
			Used struct {
				Storage int64 `json:"storage"`
			} `json:"used"`
		} `json:"quota"`
	}
	err = c.get(ctx, name, "projects/"+name+"/summary", nil, &summary)
	switch {
	case isWithheld(err):
		return Quota{}, false, nil
	case err != nil:
		return Quota{}, false, fmt.Errorf("quota of project %s of %s: %w", name, c.host, err)
	case summary.Quota == nil:
		return Quota{}, false, nil
	}
	return Quota{Hard: summary.Quota.Hard.Storage, Used: summary.Quota.Used.Storage}, true, nil
}

// isWithheld reports whether Harbor does not tell something to this user. It says of things that one may not see that
// they are not there, too.
func isWithheld(err error) bool {
	return errors.Is(err, oci.ErrDenied) || errors.Is(err, oci.ErrNotFound)
}

// Settings are how a project is set up.
type Settings struct {
	Public   bool
	Metadata map[string]string // all of Harbor's, `public` among them
	Quota    *Quota            // nil when Harbor does not tell it
	// Retention, Immutability and Labels are as Harbor's API has them, without the ids and times of this very Harbor,
	// in one order of keys; nil when there is none, or Harbor does not tell.
	Retention    json.RawMessage
	Immutability json.RawMessage
	Labels       json.RawMessage
}

// Settings returns those of p. What the credential may not see is left out.
func (c *Client) Settings(ctx context.Context, p Project) (Settings, error) {
	s := Settings{Public: p.Public(), Metadata: p.Metadata}
	q, known, err := c.Quota(ctx, p.Name)
	if err != nil {
		return s, err
	}
	if known {
		s.Quota = &q
	}
	for _, part := range []struct {
		into  *json.RawMessage
		path  string
		query url.Values
		when  bool
	}{
		{&s.Retention, "retentions/" + url.PathEscape(p.Metadata["retention_id"]), nil, p.Metadata["retention_id"] != ""},
		{&s.Immutability, "projects/" + p.Name + "/immutabletagrules", paged(nil), true},
		{&s.Labels, "labels", paged(url.Values{"scope": {"p"}, "project_id": {strconv.FormatInt(p.ID, 10)}}), true},
	} {
		if !part.when {
			continue
		}
		var raw json.RawMessage
		err := c.get(ctx, p.Name, part.path, part.query, &raw)
		if isWithheld(err) {
			continue
		}
		if err == nil {
			*part.into, err = canonical(raw)
		}
		if err != nil {
			return s, fmt.Errorf("settings of project %s of %s: %w", p.Name, c.host, err)
		}
	}
	return s, nil
}

func paged(query url.Values) url.Values {
	if query == nil {
		query = url.Values{}
	}
	query.Set("page_size", strconv.Itoa(pageSize))
	return query
}

// volatile are fields that are of one Harbor and one moment.
var volatile = []string{
	"id", "project_id", "creation_time", "update_time", "op_time", "next_scheduled_time", "ref", "schedule_id", "deleted",
}

// canonical returns raw without what is volatile, with sorted keys; nil when nothing is left.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	v = strip(v)
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return nil, nil
		}
		slices.SortFunc(list, func(a, b any) int { return bytes.Compare(mustMarshal(a), mustMarshal(b)) })
	}
	if v == nil {
		return nil, nil
	}
	return mustMarshal(v), nil
}

// mustMarshal writes what was read from JSON.
func mustMarshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("harbor: JSON cannot be written again: " + err.Error())
	}
	return raw
}

func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if slices.Contains(volatile, name) {
				delete(v, name)
			} else {
				v[name] = strip(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = strip(v[i])
		}
	}
	return v
}

// checkName refuses what no project or repository can be called: it goes to URLs and to terminals.
func checkName(host, path string) error {
	want := oci.Repository{Host: host, Path: path}
	ref, err := oci.ParseReference(want.String() + ":x")
	if err != nil || ref.Repository != want {
		return fmt.Errorf("%s tells of a repository named %q, which cannot be", host, strings.ToValidUTF8(path[:min(len(path), 300)], ""))
	}
	return nil
}
