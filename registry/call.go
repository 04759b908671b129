package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// call is a request for something in a repository.
type call struct {
	method  string
	repo    oci.Repository
	path    string     // behind the repository, such as `manifests/v1`
	query   url.Values // nil is none
	header  http.Header
	body    []byte // may be sent again; nil is none
	mirrors use    // whether mirrors may answer
	push    bool   // the right to push is needed
	from    string // another repository's path that the right to pull is needed for
	want    []int  // statuses that the caller takes; any other is an [*Error]
}

// send makes the request and returns the answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	resp, _, err := c.sendVia(ctx, k)
	return resp, err
}

// sendTo makes the request to the server h.
func (c *Client) sendTo(ctx context.Context, h *host, k call) (*http.Response, error) {
	u, err := h.base(ctx)
	if err != nil {
		return nil, err
	}
	u.Path += k.repo.Path + "/" + k.path
	u.RawQuery = k.query.Encode()
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	ctx = h.scoped(ctx, k)
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", k.repo, err)
	}
	for name, values := range h.header {
		req.Header[name] = values
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	return h.do(k.repo, req, k.want...)
}

// scoped returns ctx with the rights that k needs, so that one token is asked for all of them at once.
func (h *host) scoped(ctx context.Context, k call) context.Context {
	actions := []string{auth.ActionPull}
	if k.push {
		actions = append(actions, auth.ActionPush)
	}
	scopes := []string{auth.ScopeRepository(k.repo.Path, actions...)}
	if k.from != "" {
		scopes = append(scopes, auth.ScopeRepository(k.from, auth.ActionPull))
	}
	return auth.AppendScopesForHost(ctx, h.addr, scopes...)
}

// do sends req with the credential for repo. A status that is not in want is an [*Error].
func (h *host) do(repo oci.Repository, req *http.Request, want ...int) (*http.Response, error) {
	resp, err := h.auth(repo.Path).Do(req)
	if err != nil {
		return nil, h.authError(req, err)
	}
	return h.check(req, resp, nil, want)
}

// doPlain is do without a credential, for requests to another host.
func (h *host) doPlain(req *http.Request, want ...int) (*http.Response, error) {
	req.Header.Set("User-Agent", h.agent)
	resp, err := h.plain.Do(req)
	return h.check(req, resp, err, want)
}

func (h *host) check(req *http.Request, resp *http.Response, err error, want []int) (*http.Response, error) {
	if err != nil {
		return nil, h.cleanError(req, err)
	}
	if resp.StatusCode == http.StatusProxyAuthRequired {
		resp.Body.Close()
		return nil, &ProxyError{Proxy: h.proxyFor(resp.Request.URL), Host: resp.Request.URL.Host, Status: resp.StatusCode}
	}
	if !slices.Contains(want, resp.StatusCode) {
		return nil, statusError(resp)
	}
	return resp, nil
}
