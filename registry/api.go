package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// maxAnswer is the size of the largest answer of [Client.API] that is read, in bytes.
const maxAnswer = 32 << 20

// APIRequest is a request to an API that a registry's host has beside that of the distribution, such as Harbor's.
type APIRequest struct {
	Method string
	Path   string // from the root of the host, not escaped yet
	Query  url.Values
	Header http.Header
	Body   []byte // JSON; nil is none. It may be sent again
	Want   []int  // statuses that the caller takes; any other is an [*Error]
}

// APIAnswer is the answer to an [APIRequest].
type APIAnswer struct {
	Status int
	Header http.Header
	Body   []byte // at most 32 MiB
}

// API makes a request to the host of repo, with the host's transport, retries and pauses. User name and password, those
// for repo, go with each request from the first; there are no cookies. A redirection is not followed.
func (c *Client) API(ctx context.Context, repo oci.Repository, r APIRequest) (*APIAnswer, error) {
	h, err := c.host(repo.Host)
	if err != nil {
		return nil, err
	}
	base, err := h.base(ctx)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: base.Scheme, Host: base.Host, Path: r.Path, RawQuery: r.Query.Encode()}
	login, err := h.login(ctx, repo.Path)
	if err != nil {
		return nil, err
	}
	raw, resp, err := c.readAnswer(ctx, h, maxAnswer, func() (*http.Response, error) {
		req, err := r.make(ctx, u.String(), login)
		if err != nil {
			return nil, fmt.Errorf("registry host %q: %w", h.name, err)
		}
		return h.doOnce(req, r.Want...)
	})
	if err != nil {
		return nil, err
	}
	return &APIAnswer{Status: resp.StatusCode, Header: resp.Header, Body: raw}, nil
}

func (r APIRequest) make(ctx context.Context, target string, login Credential) (*http.Request, error) {
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if login.Username != "" {
		req.SetBasicAuth(login.Username, login.Password)
	}
	return req, nil
}

// login returns the credential for the repository path, which the caller of the client is asked for once.
func (h *host) login(ctx context.Context, path string) (Credential, error) {
	h.authsMu.Lock()
	login, known := h.logins[path]
	h.authsMu.Unlock()
	if known {
		return login, nil
	}
	login, err := h.credential(path)(ctx, h.addr)
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("%s: %w", h.name, err)
	}
	h.authsMu.Lock()
	defer h.authsMu.Unlock()
	if h.logins == nil {
		h.logins = map[string]Credential{}
	}
	h.logins[path] = login
	return login, nil
}

// doOnce is doPlain that does not follow a redirection: the request has a password, and another place may be another
// server on the same host.
func (h *host) doOnce(req *http.Request, want ...int) (*http.Response, error) {
	req.Header.Set("User-Agent", h.agent)
	client := *h.plain
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	return h.check(req, resp, err, want)
}

// readAnswer sends a request and reads the whole answer, of at most limit bytes. One that is cut on its way is asked for
// again.
func (c *Client) readAnswer(ctx context.Context, h *host, limit int64, send func() (*http.Response, error)) (
	[]byte, *http.Response, error,
) {
	for failed := 0; ; {
		resp, err := send()
		if err != nil {
			return nil, nil, err
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
		resp.Body.Close()
		switch {
		case err == nil && int64(len(raw)) > limit:
			return nil, nil, fmt.Errorf("%s: an answer of more than %d bytes", cleanURL(resp.Request.URL), limit)
		case err == nil:
			return raw, resp, nil
		case ctx.Err() != nil || failed >= c.opts.Retries:
			return nil, nil, h.cleanError(resp.Request, err)
		}
		failed++
		wait := c.clock.backoff(failed)
		c.event(Event{Kind: EventRetry, Host: resp.Request.URL.Host, Attempt: failed, Wait: wait, Why: cleanText(err)})
		if err := c.clock.sleep(ctx, wait); err != nil {
			return nil, nil, err
		}
	}
}
