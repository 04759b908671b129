package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/ferry-oci/ferry/oci"
)

// maxForeign is how many of the URLs of a layer are tried.
const maxForeign = 8

// foreign asks for a layer that the registry h does not have at the URLs of its descriptor, as those of Windows' base
// images have them. No credential goes there. lacks is the answer of the registry, which stays the error.
func (c *Client) foreign(ctx context.Context, h *host, d oci.Descriptor, header http.Header, want []int, lacks error) (*http.Response, error) {
	err := lacks
	for _, text := range d.URLs[:min(len(d.URLs), maxForeign)] {
		resp, ferr := c.getForeign(ctx, h, text, header, want)
		if ferr == nil {
			c.event(Event{Kind: EventForeign, Host: resp.Request.URL.Host, Why: fmt.Errorf("layer %s: %w", d.Digest, lacks)})
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, ferr
		}
		err = fmt.Errorf("%w; at its URL: %v", err, ferr)
	}
	return nil, err
}

func (c *Client) getForeign(ctx context.Context, h *host, text string, header http.Header, want []int) (*http.Response, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("it is no address of a web server")
	}
	if err := checkForeign(h, u); err != nil {
		return nil, err
	}
	at, err := c.host(u.Host)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return at.doPlain(req, want...)
}

// checkForeign refuses addresses that a manifest must not make ferry ask: what a token server must not be at, either.
func checkForeign(h *host, u *url.URL) error {
	refused := IsLoopback(u.Host) && !IsLoopback(h.addr)
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		for _, p := range blockedRealms(h.addr) {
			refused = refused || p.Contains(ip.Unmap())
		}
	}
	if refused {
		return fmt.Errorf("%s is an address that an image of %s must not name", u.Host, h.name)
	}
	return nil
}
