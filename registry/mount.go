package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ferry-oci/ferry/oci"
)

// Mount makes d, which from holds, appear in to, both of one registry. False without an error means that the registry
// did not do it, for whatever reason: mounting needs rights that pushing does not need, so a refusal says nothing about
// a push. Only a registry that cannot be reached is an error.
func (c *Client) Mount(ctx context.Context, from, to oci.Repository, d oci.Descriptor) (bool, error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	if from.Host != to.Host || from.Path == to.Path || oci.IsManifest(d.MediaType) {
		return false, nil
	}
	resp, err := c.send(ctx, call{
		method: http.MethodPost, repo: to, path: "blobs/uploads/", push: true, from: from.Path,
		query: url.Values{"mount": {d.Digest.String()}, "from": {from.Path}},
		want:  []int{http.StatusCreated, http.StatusAccepted},
	})
	var status *Error
	if errors.As(err, &status) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return c.isMounted(ctx, resp, to, d), nil
	}
	// The registry has opened a session for the push that it expects now.
	if u, err := c.session(resp, to); err == nil {
		c.sessions.put(d.Digest, u)
	}
	return false, nil
}

// isMounted reports whether a 201 means what it says. One that names neither the digest nor the place of the blob, as
// proxies make them up, is looked after.
func (c *Client) isMounted(ctx context.Context, resp *http.Response, to oci.Repository, d oci.Descriptor) bool {
	if checkStored(resp, to, d) != nil {
		return false
	}
	if resp.Header.Get(headerDigest) != "" || strings.HasSuffix(resp.Header.Get("Location"), "/blobs/"+d.Digest.String()) {
		return true
	}
	has, err := c.Has(ctx, to, d)
	return has && err == nil
}
