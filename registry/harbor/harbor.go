// Package harbor speaks version 2.0 of Harbor's own API, as far as ferry needs it: which projects, repositories and
// artifacts there are, how the projects are set up, and how to make one.
//
// Start with [Find], which tells whether a host is a Harbor at all. A [Client] uses the hosts, the credentials and the
// retries of a [registry.Client]. It keeps no cookies: a request with Harbor's session cookie would need a token
// against request forgery.
package harbor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

const (
	root = "/api/v2.0/"
	// pageSize is the largest that Harbor takes.
	pageSize = 100
	// maxRows is the number of rows that one list may have.
	maxRows = 500_000
)

// Client asks one Harbor. It is safe for concurrent use.
type Client struct {
	api  *registry.Client
	host string
}

// Find returns a client for host when that is a Harbor, and nil when it is another registry. Registries of which it is
// known that they are none are not asked. Errors are those of a host that gives no proper answer.
func Find(ctx context.Context, api *registry.Client, host string) (*Client, error) {
	if !registry.HasCatalog(host) {
		return nil, nil
	}
	c := &Client{api: api, host: host}
	answer, err := c.call(ctx, "", registry.APIRequest{Method: http.MethodGet, Path: root + "systeminfo"})
	var status *registry.Error
	switch {
	case errors.As(err, &status) && status.Status < http.StatusInternalServerError:
		return nil, nil
	case err != nil:
		return nil, err
	}
	var info struct {
		AuthMode *string `json:"auth_mode"`
		Version  *string `json:"harbor_version"`
	}
	if json.Unmarshal(answer.Body, &info) != nil || info.AuthMode == nil && info.Version == nil {
		return nil, nil // as of a web page that is served under every address
	}
	return c, nil
}

// Host returns the host that the client asks.
func (c *Client) Host() string { return c.host }

// call makes a request with the credential for the project; one that wants nothing wants 200.
func (c *Client) call(ctx context.Context, project string, r registry.APIRequest) (*registry.APIAnswer, error) {
	if r.Want == nil {
		r.Want = []int{http.StatusOK}
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("X-Is-Resource-Name", "true") // else a project named 2024 is taken for an id
	return c.api.API(ctx, oci.Repository{Host: c.host, Path: project}, r)
}

// get reads one object.
func (c *Client) get(ctx context.Context, project, path string, query url.Values, into any) error {
	answer, err := c.call(ctx, project, registry.APIRequest{Method: http.MethodGet, Path: root + path, Query: query})
	if err != nil {
		return err
	}
	return c.decode(answer.Body, path, into)
}

func (c *Client) decode(raw []byte, path string, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s%s%s: the answer of Harbor is not what its API says: %w", c.host, root, path, err)
	}
	return nil
}

// list reads all rows of a list, page by page until there are as many as X-Total-Count says. The links in the answers
// are not followed: Harbor writes their queries unescaped, and that of the page before comes first.
func list[T any](ctx context.Context, c *Client, project, path string, query url.Values) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		q := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)}}
		for name, values := range query {
			q[name] = values
		}
		answer, err := c.call(ctx, project, registry.APIRequest{Method: http.MethodGet, Path: root + path, Query: q})
		if err != nil {
			return nil, err
		}
		var rows []T
		if err := c.decode(answer.Body, path, &rows); err != nil {
			return nil, err
		}
		all = append(all, rows...)
		if len(all) > maxRows {
			return nil, fmt.Errorf("%s%s%s: more than %d rows", c.host, root, path, maxRows)
		}
		total, err := strconv.Atoi(answer.Header.Get("X-Total-Count"))
		if len(rows) == 0 || err == nil && len(all) >= total || err != nil && len(rows) < pageSize {
			return all, nil
		}
	}
}
