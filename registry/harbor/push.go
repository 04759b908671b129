package harbor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ferry-oci/ferry/oci"
	"github.com/ferry-oci/ferry/registry"
)

// MayPush reports whether the user may push to a repository, whose name has its project in front. It asks Harbor's token
// server what a token would be good for, and changes nothing. A known of false means that the answer does not tell.
// Errors: [oci.ErrDenied] for a user or a password that is not known.
func (c *Client) MayPush(ctx context.Context, repository string) (may, known bool, err error) {
	answer, err := c.api.API(ctx, oci.Repository{Host: c.host, Path: repository}, registry.APIRequest{
		Method: http.MethodGet, Path: "/service/token",
		Query: url.Values{"service": {"harbor-registry"}, "scope": {"repository:" + repository + ":pull,push"}},
		Want:  []int{http.StatusOK},
	})
	var status *registry.Error
	switch {
	case errors.As(err, &status) && !errors.Is(err, oci.ErrDenied):
		return false, false, nil // then the push will tell
	case err != nil:
		return false, false, fmt.Errorf("right to push to %s/%s: %w", c.host, repository, err)
	}
	actions, known := actionsOf(answer.Body, repository)
	return slices.Contains(actions, "push"), known, nil
}

// actionsOf returns what the token in the answer of a token server is good for. The token is for the registry to trust,
// so its signature is not looked at.
func actionsOf(raw []byte, repository string) (actions []string, known bool) {
	var answer struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return nil, false
	}
	parts := strings.Split(answer.Token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var claims struct {
		Access []struct {
			Type    string   `json:"type"`
			Name    string   `json:"name"`
			Actions []string `json:"actions"`
		} `json:"access"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil, false
	}
	for _, a := range claims.Access {
		if a.Type == "repository" && a.Name == repository {
			actions, known = append(actions, a.Actions...), true
		}
	}
	return actions, known
}

// TagImmutable reports whether a rule of the project keeps the tag, which is there, from naming anything else. The
// repository's name has no project in front. False may mean that Harbor does not tell it to this user.
func (c *Client) TagImmutable(ctx context.Context, project, repository, tag string) (bool, error) {
	path := "projects/" + project + "/repositories/" + url.PathEscape(repository) + "/artifacts/" + tag + "/tags"
	tags, err := list[Tag](ctx, c, project, path, url.Values{"with_immutable_status": {"true"}})
	switch {
	case isWithheld(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("tag %s of %s/%s/%s: %w", tag, c.host, project, repository, err)
	}
	return slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == tag && t.Immutable }), nil
}
