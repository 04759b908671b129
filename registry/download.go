package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

// Open returns the content of d as from holds it, from byte offset on. The reader asks for the rest by itself when the
// connection is cut or stands still; ctx ends it. Its errors name the blob, the repository and the position.
//
// The content is not verified, but the size is: [oci.ErrCorrupt] when the registry announces another one.
// Other errors: [oci.ErrNotFound], [oci.ErrDenied].
func (c *Client) Open(ctx context.Context, from oci.Repository, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", d.Digest, offset, d.Size)
	}
	if offset == d.Size && offset > 0 { // there is no range for no bytes
		return http.NoBody, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &download{c: c, ctx: ctx, cancel: cancel, from: from, d: d, pos: offset, ranges: !oci.IsManifest(d.MediaType)}
	if err := r.begin(); err != nil {
		cancel()
		return nil, err
	}
	if r.via != nil && offset == 0 {
		r.proof = d.Digest.Verifier()
	}
	return r, nil
}

// download is the reader of [Client.Open].
type download struct {
	c      *Client
	ctx    context.Context // of the call to Open, which is the request that all requests here are part of
	cancel context.CancelFunc
	from   oci.Repository
	d      oci.Descriptor
	pos    int64 // bytes of the blob that have been read or skipped by the caller
	ranges bool  // the registry is worth being asked for a part

	body   io.ReadCloser   // nil when there is no connection
	skip   int64           // bytes of body that stand before pos
	host   string          // that body comes from
	via    *mirror         // that body comes from; nil is the registry itself
	proof  digest.Verifier // of what a mirror has given, from the start; nil is none
	failed int             // cuts since the last byte
	err    error           // that ended it
}

func (r *download) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.d.Size-r.pos)]
	if len(p) == 0 {
		if r.pos == r.d.Size {
			return 0, io.EOF
		}
		return 0, nil
	}
	for r.err == nil {
		n, err := r.readBody(p)
		if n > 0 { // an error comes again with the next read
			r.pos += int64(n)
			r.failed = 0
			return n, r.prove(p[:n])
		}
		if err != nil {
			r.err = r.resume(err)
		}
	}
	return 0, r.err
}

// prove takes a mirror that gave other content out of the run. That content is refused by whoever reads it, too.
func (r *download) prove(p []byte) error {
	if r.proof == nil {
		return nil
	}
	r.proof.Write(p)
	if r.pos < r.d.Size || r.proof.Verified() || r.via == nil {
		return nil
	}
	r.err = fmt.Errorf("blob %s from the mirror %s: %w", r.d.Digest, r.host, oci.ErrCorrupt)
	r.c.distrust(r.via, r.err)
	return r.err
}

// readBody reads from the connection, after what is to be skipped there.
func (r *download) readBody(p []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.body, r.skip)
		r.skip -= n
		r.c.stats.twice(n)
		if err != nil {
			return 0, err
		}
	}
	return r.body.Read(p)
}

// resume makes a new connection after the last one ended with why.
func (r *download) resume(why error) error {
	r.body.Close()
	if err := r.ctx.Err(); err != nil {
		return r.broken(context.Cause(r.ctx))
	}
	if why == io.EOF { // before its time
		why = io.ErrUnexpectedEOF
	}
	if r.failed >= r.c.opts.Retries {
		return r.broken(why)
	}
	r.failed++
	r.c.stats.again(why)
	if err := r.c.clock.sleep(r.ctx, r.c.clock.backoff(r.failed)); err != nil {
		return r.broken(err)
	}
	if err := r.begin(); err != nil {
		return r.broken(err)
	}
	r.c.event(Event{Kind: EventResumed, Host: r.host, Attempt: r.failed, Why: r.broken(why)})
	return nil
}

func (r *download) broken(err error) error {
	return fmt.Errorf("blob %s of %s: broke off at byte %d of %d: %w",
		r.d.Digest, r.from, r.pos, r.d.Size, cleanText(err))
}

// begin connects, to the next place where a mirror says that it has something else under the digest. A manifest of a
// mirror is read and proven at once, while another place can still be asked.
func (r *download) begin() error {
	for {
		err := r.connect()
		if err == nil && r.via != nil && oci.IsManifest(r.d.MediaType) {
			err = r.proveManifest()
		}
		if r.via == nil || !errors.Is(err, oci.ErrCorrupt) {
			return err
		}
		r.c.distrust(r.via, err)
	}
}

// proveManifest replaces the connection by what it gives.
func (r *download) proveManifest() error {
	raw, err := io.ReadAll(io.LimitReader(r.body, r.skip+r.d.Size+1))
	r.body.Close()
	if err == nil {
		err = oci.CheckBytes(r.d, raw)
	}
	if err != nil {
		return fmt.Errorf("manifest %s from the mirror %s: %w", r.d.Digest, r.host, err)
	}
	r.body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// connect asks for the blob from pos on.
func (r *download) connect() error {
	resp, err := r.request()
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err := r.checkPart(resp)
		if err == nil {
			r.take(resp, 0)
			return nil
		}
		resp.Body.Close()
		if errors.Is(err, oci.ErrCorrupt) {
			return err
		}
		r.ranges = false // it cannot do ranges, so it gets no second chance to confuse us
		if resp, err = r.request(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return statusError(resp)
		}
	}
	if err := r.checkSize(resp.ContentLength); err != nil {
		resp.Body.Close()
		return err
	}
	r.take(resp, r.pos)
	return nil
}

func (r *download) take(resp *http.Response, skip int64) {
	r.body, r.skip, r.host = resp.Body, skip, resp.Request.URL.Host
}

func (r *download) request() (*http.Response, error) {
	k := call{
		method: http.MethodGet, repo: r.from, path: place(r.d), header: http.Header{}, want: []int{http.StatusOK},
		mirrors: useDigest,
	}
	if oci.IsManifest(r.d.MediaType) {
		k.header.Set("Accept", acceptManifests)
	}
	if r.pos > 0 && r.ranges {
		k.header.Set("Range", fmt.Sprintf("bytes=%d-", r.pos))
		k.want = append(k.want, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	}
	for n := 1; ; n++ {
		resp, via, err := r.c.sendVia(r.ctx, k)
		r.via = via
		if n > min(addressesAnew, r.c.opts.Retries) || !r.expired(err) {
			if errors.Is(err, oci.ErrNotFound) && len(r.d.URLs) > 0 {
				resp, err = r.elsewhere(k, err)
			}
			return resp, err
		}
		wait := r.c.clock.backoff(n)
		r.c.event(Event{Kind: EventRetry, Host: r.from.Host, Attempt: n, Wait: wait, Why: err})
		if err := r.c.clock.sleep(r.ctx, wait); err != nil {
			return nil, err
		}
	}
}

// elsewhere asks for a layer that the registry lacks at its URLs.
func (r *download) elsewhere(k call, lacks error) (*http.Response, error) {
	h, err := r.c.host(r.from.Host)
	if err != nil {
		return nil, err
	}
	return r.c.foreign(r.ctx, h, r.d, k.header, k.want, lacks)
}

// addressesAnew is how often in a row the registry is asked for another address of a blob.
const addressesAnew = 2

// expired reports whether err is the refusal of a host to which the registry has sent us: an address there is good for
// some minutes only, and the registry gives another one.
func (r *download) expired(err error) bool {
	var status *Error
	h, herr := r.c.host(r.from.Host)
	if herr != nil || h.opts.MirrorsOnly || !errors.As(err, &status) || status.Host == h.addr {
		return false
	}
	return status.Status/100 == 4 && status.Status != http.StatusTooManyRequests
}

// checkPart returns an error unless resp is the part of the blob that begins at pos. It is an [oci.ErrCorrupt] when the
// registry's blob has another size than ours.
func (r *download) checkPart(resp *http.Response) error {
	header := resp.Header.Get("Content-Range")
	first, last, total, err := parseContentRange(header)
	if err != nil {
		return err
	}
	if err := r.checkSize(total); err != nil {
		return err
	}
	length := resp.ContentLength
	if resp.StatusCode != http.StatusPartialContent || first != r.pos || last < first || last >= r.d.Size ||
		length >= 0 && length != last-first+1 {
		return fmt.Errorf("content range %q", header)
	}
	return nil
}

// checkSize compares the size that the registry says, -1 when it does not, with that of the descriptor.
func (r *download) checkSize(got int64) error {
	if got < 0 || got == r.d.Size {
		return nil
	}
	return fmt.Errorf("blob %s of %s: registry says %d bytes, descriptor says %d: %w",
		r.d.Digest, r.from, got, r.d.Size, oci.ErrCorrupt)
}

// parseContentRange reads `bytes first-last/total` and `bytes */total` (RFC 9110, 14.4); what is not said is -1.
func parseContentRange(s string) (first, last, total int64, err error) {
	bad := fmt.Errorf("content range %q", s)
	rest, ok := strings.CutPrefix(s, "bytes ")
	part, size, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return 0, 0, 0, bad
	}
	first, last, total = -1, -1, -1
	if size != "*" {
		if total, err = parseLength(size); err != nil {
			return 0, 0, 0, bad
		}
	}
	if part != "*" {
		a, b, _ := strings.Cut(part, "-")
		var err2 error
		first, err = parseLength(a)
		last, err2 = parseLength(b)
		if err != nil || err2 != nil {
			return 0, 0, 0, bad
		}
	}
	return first, last, total, nil
}

// parseLength reads a number of bytes, digits alone.
func parseLength(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// Close ends the download where it is.
func (r *download) Close() error {
	r.cancel()
	return r.body.Close()
}
