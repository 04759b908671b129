package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// expectContinueSize is the size from which the registry is asked whether it wants a body before it is sent, in bytes.
// Refusals, such as of a token that has expired, cost no upload then; below it the question costs more.
const expectContinueSize = 1 << 20

// upload is a session in which a registry takes one blob.
type upload struct {
	h        *host
	repo     oci.Repository
	location *url.URL // where the next request of the session goes
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

// pushBlob stores the content of d: POST, then the whole blob in one PUT. What breaks the PUT and may pass makes it
// start over in a new session.
func (c *Client) pushBlob(ctx context.Context, to oci.Repository, d oci.Descriptor, content oci.Content) error {
	u := c.sessions.take(to, d.Digest)
	for failed := 0; ; {
		if u == nil {
			var err error
			if u, err = c.startUpload(ctx, to); err != nil {
				return fmt.Errorf("blob %s: %w", d.Digest, err)
			}
		}
		body := newUploadBody(ctx, d, content)
		err := u.put(ctx, d, body)
		body.stop()
		u = nil
		if cerr := body.failure(); cerr != nil && err != nil {
			return cerr
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || failed >= c.opts.Retries || !mayPass(err) {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		failed++
		wait := c.clock.backoff(failed)
		c.event(Event{Kind: EventRetry, Host: to.Host, Attempt: failed, Wait: wait, Why: err})
		if err := c.clock.sleep(ctx, wait); err != nil {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		if body.complete.Load() { // only the answer may have been lost
			if has, err := c.Has(ctx, to, d); err == nil && has {
				return nil
			}
		}
	}
}

// mayPass reports whether an upload that ended in err may succeed in another session.
func mayPass(err error) bool {
	var status *Error
	if !errors.As(err, &status) {
		var certificate *CertificateError
		return !errors.As(err, &certificate) && !errors.Is(err, ErrPlainHTTP) && !errors.Is(err, oci.ErrCorrupt)
	}
	switch status.Code {
	case codeBlobUploadUnknown, codeBlobUploadInvalid, codeDigestInvalid: // ferry's bytes were right when they left
		return true
	}
	switch status.Status {
	case http.StatusNotFound, // of the session: the POST found the repository
		http.StatusRequestTimeout, http.StatusRequestedRangeNotSatisfiable, http.StatusTooManyRequests:
		return true
	}
	return status.Status/100 == 5
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
	return u, u.follow(resp)
}

// errDowngrade says that a registry wants an upload to go where others can read it.
var errDowngrade = errors.New("upload leaves https")

// follow sets the session's location to that in resp, which may be relative. On the registry's own host http is raised
// to https, see raiseScheme.
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

// put sends the whole blob and ends the session.
func (u *upload) put(ctx context.Context, d oci.Descriptor, body *uploadBody) error {
	target := *u.location
	if target.RawQuery != "" { // it is the registry's, kept to the letter
		target.RawQuery += "&"
	}
	target.RawQuery += "digest=" + url.QueryEscape(d.Digest.String())
	ctx = u.h.scoped(sendOnce(ctx), call{repo: u.repo, push: true})
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: location of the upload: not a URL", u.h.addr)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if d.Size > 0 {
		req.ContentLength = d.Size
		req.GetBody = body.open
		req.Body, _ = body.open()
	} else if err := body.prove(); err != nil { // net/http takes a body of length 0 for one of unknown length
		return err
	}
	if d.Size >= expectContinueSize {
		req.Header.Set("Expect", "100-continue")
	}
	own, err := u.h.base(ctx)
	if err != nil {
		return err
	}
	want := []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}
	var resp *http.Response
	if sameOrigin(u.location, &own) {
		resp, err = u.h.do(u.repo, req, want...)
	} else {
		resp, err = u.h.doPlain(req, want...)
	}
	if err != nil {
		return err
	}
	resp.Body.Close()
	return checkStored(resp, u.repo, d)
}

// uploadBody makes the bodies of one PUT: the first one, and more when the request has to be sent again because its
// token expired. The content is opened by the first read, so what is refused before costs nothing at the source.
type uploadBody struct {
	ctx     context.Context // of the content: ends with the PUT
	cancel  context.CancelFunc
	d       oci.Descriptor
	content oci.Content

	complete atomic.Bool // the last byte has been handed over

	mu      sync.Mutex
	stopped bool
	reading sync.WaitGroup // contents that are open
	err     error          // of the content, the first one
}

func newUploadBody(ctx context.Context, d oci.Descriptor, content oci.Content) *uploadBody {
	ctx, cancel := context.WithCancel(ctx)
	return &uploadBody{ctx: ctx, cancel: cancel, d: d, content: content}
}

// open returns a body that gives the whole content.
func (b *uploadBody) open() (io.ReadCloser, error) { return &bodyReader{b: b}, nil }

// prove reads the whole content and gives it to nobody.
func (b *uploadBody) prove() error {
	r := &bodyReader{b: b}
	defer r.Close()
	_, err := io.Copy(io.Discard, r)
	return err
}

// stop ends the reading of the content and waits until it is closed: the transport may still be at it when the request
// has ended, and nobody expects his content to be read after Push has returned.
func (b *uploadBody) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.cancel()
	b.reading.Wait()
}

// begin reports whether the content may be opened, and counts it as open then.
func (b *uploadBody) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.reading.Add(1)
	}
	return !b.stopped
}

// fail notes err as the content's, unless it is only the echo of the PUT's end.
func (b *uploadBody) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && !b.stopped {
		b.err = err
	}
	return err
}

// failure returns the error of the content, if any. It is not one of the registry's.
func (b *uploadBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// bodyReader is one reading of the content.
type bodyReader struct {
	b *uploadBody

	mu     sync.Mutex // Close comes from another goroutine than Read
	src    io.ReadCloser
	proven io.Reader // src, verified
	sent   int64
	closed bool
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if r.src == nil {
		if err := r.start(); err != nil {
			return 0, err
		}
	}
	n, err := r.proven.Read(p)
	if r.sent += int64(n); r.sent == r.b.d.Size {
		r.b.complete.Store(true)
	}
	if err != nil && err != io.EOF {
		return n, r.b.fail(err)
	}
	return n, err
}

func (r *bodyReader) start() error {
	if !r.b.begin() {
		return http.ErrBodyReadAfterClose
	}
	src, err := r.b.content(r.b.ctx, 0)
	if err != nil {
		r.b.reading.Done()
		return r.b.fail(err)
	}
	r.src, r.proven = src, oci.Verify(src, r.b.d)
	return nil
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.src == nil {
		return nil
	}
	defer r.b.reading.Done()
	src := r.src
	r.src = nil
	return src.Close()
}
