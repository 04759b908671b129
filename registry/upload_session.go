package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// upload is a session in which a registry takes one blob.
type upload struct {
	h        *host
	repo     oci.Repository
	location *url.URL // where the next request of the session goes
	minChunk int64    // bytes that each piece but the last has at least, as the registry wants it; 0 when it does not say
}

// sessions are uploads that a registry opened when it was asked to mount a blob and could not.
type sessions struct {
	mu   sync.Mutex
	open map[sessionKey]*upload
}

type sessionKey struct {
	repo   oci.Repository
	digest digest.Digest
}

func (s *sessions) put(d digest.Digest, u *upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[sessionKey]*upload{}
	}
	s.open[sessionKey{u.repo, d}] = u
}

// take returns the session for the blob, which is nobody else's then, or nil.
func (s *sessions) take(repo oci.Repository, d digest.Digest) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sessionKey{repo, d}
	u := s.open[key]
	delete(s.open, key)
	return u
}

// startUpload opens a session.
func (c *Client) startUpload(ctx context.Context, to oci.Repository) (*upload, error) {
	resp, err := c.send(ctx, call{
		method: http.MethodPost, repo: to, path: "blobs/uploads/", push: true, want: []int{http.StatusAccepted},
	})
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return c.session(resp, to)
}

// session returns the session that resp opened.
func (c *Client) session(resp *http.Response, to oci.Repository) (*upload, error) {
	h, err := c.host(to.Host)
	if err != nil {
		return nil, err
	}
	u := &upload{h: h, repo: to, location: resp.Request.URL}
	if n, err := parseLength(resp.Header.Get("OCI-Chunk-Min-Length")); err == nil {
		u.minChunk = n
	}
	return u, u.follow(resp)
}

// errDowngrade says that a registry wants an upload to go where others can read it.
var errDowngrade = errors.New("upload leaves https")

// follow sets the session's location to that in resp, which may be relative.
//
// Proxies that end TLS often let a registry say http in it; on the registry's own host that is raised to https.
func (u *upload) follow(resp *http.Response) error {
	text := resp.Header.Get("Location")
	if text == "" {
		return fmt.Errorf("%s: no location for the upload in the answer", u.h.addr)
	}
	next, err := resp.Request.URL.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: location of the upload: not a URL", u.h.addr) // err has its query
	}
	next = raiseScheme(next, resp.Request.URL)
	if next.Scheme == "http" && resp.Request.URL.Scheme == "https" {
		return fmt.Errorf("%s: location of the upload is %s: %w", u.h.addr, cleanURL(next), errDowngrade)
	}
	u.location = next
	return nil
}

// uploadPart is what one request brings of a blob.
type uploadPart struct {
	d       oci.Descriptor
	from, n int64
	last    bool // the request ends the session
}

// send makes a request of the session that brings a part of the blob, and returns the answer with its body closed.
// Nothing reads the feed when it returns.
func (u *upload) send(ctx context.Context, f *feed, method string, part uploadPart) (*http.Response, error) {
	target := *u.location
	want := []int{http.StatusAccepted, http.StatusCreated, http.StatusOK, http.StatusNoContent}
	if part.last {
		want = want[1:]
		if target.RawQuery != "" { // it is the registry's, kept to the letter
			target.RawQuery += "&"
		}
		target.RawQuery += "digest=" + url.QueryEscape(part.d.Digest.String())
	}
	req, err := u.request(sendOnce(ctx), method, &target)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if method == http.MethodPatch {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", part.from, part.from+part.n-1))
	}
	var mu sync.Mutex
	var bodies []*feedBody
	if part.n > 0 {
		req.ContentLength = part.n
		req.GetBody = func() (io.ReadCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			bodies = append(bodies, f.body(part.from, part.n))
			return bodies[len(bodies)-1], nil
		}
		req.Body, _ = req.GetBody()
	}
	if part.n >= expectContinueSize {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := u.do(ctx, req, want...)
	if err == nil {
		resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	f.stop(bodies, err == nil)
	return resp, err
}

// status asks how many bytes of the blob the session has, and takes the location of the answer, since the old one may
// not be good any more. It is 0 when that is not known for sure: registries answer `0-0` when they have one byte and when
// they have none.
func (u *upload) status(ctx context.Context) (int64, error) {
	req, err := u.request(ctx, http.MethodGet, u.location)
	if err != nil {
		return 0, err
	}
	resp, err := u.do(ctx, req, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if resp.Header.Get("Location") != "" {
		if err := u.follow(resp); err != nil {
			return 0, err
		}
	}
	return uploadedBytes(resp.Header.Get("Range")), nil
}

// uploadedBytes reads the Range of a session, `0-1023`, which some write as `bytes=0-1023`. What it does not understand,
// and `0-0`, is 0.
func uploadedBytes(s string) int64 {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "bytes="), "bytes ")
	last, ok := strings.CutPrefix(s, "0-")
	n, err := strconv.ParseUint(last, 10, 62)
	if !ok || err != nil || n == 0 {
		return 0
	}
	return int64(n) + 1
}

// request returns a request to target, with the rights that a push needs.
func (u *upload) request(ctx context.Context, method string, target *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(u.h.scoped(ctx, call{repo: u.repo, push: true}), method, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: location of the upload: not a URL", u.h.addr)
	}
	return req, nil
}

// do sends req, with a credential only to the registry itself.
func (u *upload) do(ctx context.Context, req *http.Request, want ...int) (*http.Response, error) {
	own, err := u.h.base(ctx)
	if err != nil {
		return nil, err
	}
	if sameOrigin(req.URL, &own) {
		return u.h.do(u.repo, req, want...)
	}
	return u.h.doPlain(req, want...)
}
