package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ferry-oci/ferry/oci"
)

// CheckLogin asks the registry whether it takes the credential that its options have for it as a whole. Asked is false
// where it takes everybody, so that nothing is known of the credential. A refusal is an [oci.ErrDenied].
func (c *Client) CheckLogin(ctx context.Context, host string) (asked bool, err error) {
	h, err := c.host(host)
	if err != nil {
		return false, err
	}
	root, err := h.base(ctx)
	if err != nil {
		return false, err
	}
	resp, err := h.askRoot(ctx, root, func(req *http.Request) (*http.Response, error) {
		return h.doPlain(req, http.StatusOK, http.StatusUnauthorized)
	})
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	if asked = resp.StatusCode == http.StatusUnauthorized; !asked {
		return false, h.refutes(ctx, root)
	}
	resp, err = h.askRoot(ctx, root, func(req *http.Request) (*http.Response, error) {
		return h.do(oci.Repository{Host: h.name}, req, http.StatusOK)
	})
	if err == nil {
		resp.Body.Close()
	}
	return asked, err
}

// refutes sends the credential to a registry that has not asked for it. Some that let everybody read refuse a wrong one
// all the same.
func (h *host) refutes(ctx context.Context, root url.URL) error {
	login, err := h.login(ctx, "")
	if err != nil || login.Username == "" {
		return err
	}
	resp, err := h.askRoot(ctx, root, func(req *http.Request) (*http.Response, error) {
		req.SetBasicAuth(login.Username, login.Password)
		return h.doOnce(req, http.StatusOK)
	})
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// askRoot sends a request for the root of the API.
func (h *host) askRoot(ctx context.Context, root url.URL, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("registry host %q: %w", h.name, err)
	}
	return send(req)
}
