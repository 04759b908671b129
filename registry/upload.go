package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ferry-oci/ferry/oci"
)

const (
	// expectContinueSize is the size from which the registry is asked whether it wants a body before it is sent, in bytes.
	// Refusals, such as of a token that has expired, cost no upload then; below it the question costs more.
	expectContinueSize = 1 << 20
	// resumeSize is the size from which an upload that broke is worth the question how far it got, in bytes.
	resumeSize = 1 << 20
	// chunkSize is how much of a blob one request brings where the registry does not take it in one, in bytes. GHCR takes
	// no larger chunks; smallChunk is for those that do not even take this.
	chunkSize  = 4 << 20
	smallChunk = 1 << 20
)

// push is the upload of one blob to one repository, through as many sessions as it takes.
//
// It is one PUT of the whole blob, unless the registry wants pieces. When that breaks, the session is asked how far it
// got, and a PATCH brings the rest; where it cannot tell, or says what cannot be, a new session begins at the start.
type push struct {
	c    *Client
	to   oci.Repository
	d    oci.Descriptor
	feed *feed
	kept *keptUpload // what a later process needs to go on; nil keeps nothing

	u     *upload // nil when there is no session
	at    int64   // bytes that the session has
	sent  int64   // bytes that it can have at the most
	ask   bool    // how many these are is not known
	whole bool    // no session is asked: this registry tells nonsense, or the blob is too small for it to pay
	chunk int64   // bytes that go up in one request; 0 is all
	apart bool    // the last request, which names the digest, brings no bytes: old Artifactory takes none with it
	// tooLarge is the size of a request's body that was refused as too large, 0 when none was.
	tooLarge int64
	// refused is the place from which the registry did not take the rest (416), 0 when it did. Where it is the right
	// place, the piece was too large: GHCR takes no more than 4 MiB.
	refused int64
}

// pushBlob stores the content of d.
func (c *Client) pushBlob(ctx context.Context, to oci.Repository, d oci.Descriptor, content oci.Content) error {
	p := &push{c: c, to: to, d: d, feed: newFeed(nested(ctx, c), d, content), whole: d.Size < resumeSize}
	defer p.feed.close()
	h, err := c.host(to.Host)
	if err != nil {
		return err
	}
	h.habits.tell(p)
	p.takeUp()
	if err = p.run(ctx); err == nil {
		h.habits.learn(p)
	}
	if p.kept != nil && (err == nil || errors.Is(err, oci.ErrCorrupt)) {
		p.kept.remove()
	}
	return err
}

// takeUp finds the session that the upload may begin with: that of an earlier process, or one that a mount has opened.
func (p *push) takeUp() {
	mounted := p.c.sessions.take(p.to, p.d.Digest)
	if p.d.Size > keepSize {
		p.kept = p.c.keepUpload(p.to, p.d)
	}
	if p.kept == nil {
		p.u = mounted
		return
	}
	p.feed.marked = p.kept.setMarks
	if u := p.kept.session(p.c); u != nil {
		p.u, p.ask, p.sent, p.feed.marks = u, true, p.d.Size, p.kept.marks()
		return
	}
	if p.u = mounted; p.u != nil {
		p.kept.setLocation(p.u.location)
	}
}

// run tries until the blob is there or nothing is left to try.
func (p *push) run(ctx context.Context) error {
	best := int64(0)
	for failed := 0; ; {
		err := p.step(ctx)
		if err == nil {
			return nil
		}
		if p.feed.rewind() { // what an earlier part was made of may have been wrong
			p.u = nil
			continue
		}
		if cerr := p.feed.failure(); cerr != nil {
			return cerr
		}
		if p.at > best {
			best, failed = p.at, 0
		}
		smaller := p.shrink(err)
		if ctx.Err() != nil || !smaller && (failed >= p.c.opts.Retries || !p.mayGoOn(err)) {
			return fmt.Errorf("blob %s: %w", p.d.Digest, err)
		}
		if smaller {
			p.c.event(Event{Kind: EventRetry, Host: p.to.Host, Attempt: failed + 1, Why: err})
			continue
		}
		failed++
		wait := p.c.clock.backoff(failed)
		p.c.event(Event{Kind: EventRetry, Host: p.to.Host, Attempt: failed, Wait: wait, Why: err})
		if err := p.c.clock.sleep(ctx, wait); err != nil {
			return fmt.Errorf("blob %s: %w", p.d.Digest, err)
		}
		if p.feed.reached() == p.d.Size { // only the answer may have been lost
			if has, err := p.c.Has(ctx, p.to, p.d); err == nil && has {
				return nil
			}
		}
	}
}

// step does what is left to do, as if nothing could go wrong.
func (p *push) step(ctx context.Context) error {
	if p.u != nil && p.ask {
		if err := p.locate(ctx); err != nil {
			return err
		}
	}
	if p.u == nil {
		if err := p.begin(ctx); err != nil {
			return err
		}
	}
	if p.at == 0 && !p.apart && (p.chunk == 0 || p.d.Size <= p.chunk) {
		return p.put(ctx)
	}
	for p.at < p.d.Size {
		if err := p.patch(ctx); err != nil {
			return err
		}
	}
	if err := p.feed.prove(); err != nil {
		return err
	}
	return p.finish(ctx)
}

// begin opens a session.
func (p *push) begin(ctx context.Context) error {
	u, err := p.c.startUpload(ctx, p.to)
	if err != nil {
		return err
	}
	p.u, p.at, p.sent, p.ask = u, 0, 0, false
	p.c.stats.twice(p.feed.begin(0))
	if u.minChunk > 0 && p.chunk == 0 {
		p.chunk = chunkSize
	}
	if p.chunk > 0 {
		p.chunk = max(p.chunk, u.minChunk)
	}
	if p.kept != nil {
		p.kept.setLocation(u.location)
	}
	return nil
}

// locate asks the session how many bytes it has. A session that is gone, that has nothing, or says what cannot be, is
// given up: p.u is nil then.
func (p *push) locate(ctx context.Context) error {
	at, err := p.u.status(ctx)
	var status *Error
	if err != nil && !errors.As(err, &status) {
		return err // nobody answered
	}
	p.sent = max(p.sent, p.feed.reached())
	if err != nil || at == 0 || at > p.sent {
		p.u = nil
		return nil
	}
	if at == p.refused && p.chunk == 0 {
		p.chunk = chunkSize
	}
	p.at, p.ask, p.refused = at, false, 0
	p.c.stats.twice(p.feed.begin(at))
	p.c.event(Event{Kind: EventResumed, Host: p.to.Host, Why: fmt.Errorf("blob %s: at byte %d of %d",
		p.d.Digest, at, p.d.Size)})
	if p.kept != nil {
		p.kept.setLocation(p.u.location)
	}
	return nil
}

// put sends the whole blob and ends the session.
func (p *push) put(ctx context.Context) error {
	if p.d.Size == 0 { // net/http takes a body of length 0 for one of unknown length
		if err := p.feed.prove(); err != nil {
			return err
		}
	}
	return p.end(p.u.send(ctx, p.feed, http.MethodPut, uploadPart{d: p.d, n: p.d.Size, last: true}))
}

// finish ends a session that has the whole blob.
func (p *push) finish(ctx context.Context) error {
	return p.end(p.u.send(ctx, p.feed, http.MethodPut, uploadPart{d: p.d, from: p.d.Size, last: true}))
}

// end checks the answer to a PUT.
func (p *push) end(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	return checkStored(resp, p.to, p.d)
}

// patch sends the next piece of the blob. How far the answer says that the session got is not heeded: ECR says the end of
// the first piece for ever. The digest of the last request decides.
func (p *push) patch(ctx context.Context) error {
	n := p.d.Size - p.at
	if p.chunk > 0 {
		n = min(n, p.chunk)
	}
	resp, err := p.u.send(ctx, p.feed, http.MethodPatch, uploadPart{d: p.d, from: p.at, n: n})
	if err != nil {
		return err
	}
	p.at += n
	if resp.Header.Get("Location") != "" {
		if err := p.u.follow(resp); err != nil {
			return err
		}
	}
	if p.kept != nil {
		p.kept.setLocation(p.u.location)
	}
	return nil
}

// shrink makes the pieces smaller when err says that the last one was too large, and reports whether it did. In what
// session they go on is found out by asking.
func (p *push) shrink(err error) bool {
	var status *Error
	if !errors.As(err, &status) || status.Status != http.StatusRequestEntityTooLarge ||
		status.Method != http.MethodPut && status.Method != http.MethodPatch {
		return false
	}
	next := int64(chunkSize)
	if p.chunk > 0 && p.chunk <= chunkSize || p.d.Size <= chunkSize {
		next = smallChunk
	}
	least := int64(0)
	if p.u != nil {
		least = p.u.minChunk
	}
	if p.chunk > 0 && next >= p.chunk || next >= p.d.Size || next < least {
		return false
	}
	p.tooLarge = p.d.Size - p.at
	if p.chunk > 0 {
		p.tooLarge = min(p.tooLarge, p.chunk)
	}
	p.chunk = next
	p.resumeOrDrop()
	return true
}

// resumeOrDrop leaves the session to be asked, or gives it up where that is not worth it.
func (p *push) resumeOrDrop() {
	if p.whole || !p.ask && p.feed.reached() == 0 {
		p.u = nil
	}
	p.ask = true
}

// mayGoOn decides how the upload goes on after err, and reports whether it may.
func (p *push) mayGoOn(err error) bool {
	var status *Error
	if !errors.As(err, &status) {
		var certificate *CertificateError
		p.resumeOrDrop()
		return !errors.As(err, &certificate) && !errors.Is(err, ErrPlainHTTP) && !errors.Is(err, oci.ErrCorrupt) &&
			!errors.Is(err, errDowngrade)
	}
	switch status.Code {
	case codeBlobUploadUnknown:
		p.u = nil
		return true
	case codeDigestInvalid: // ferry's bytes were right when they left
		p.u, p.whole = nil, true
		return true
	}
	switch {
	case status.Code == codeNameUnknown: // it takes no repository that is not there
		return false
	case status.Method == http.MethodPut && p.at == 0 && !p.apart && p.d.Size > 0 && takesNoBody(status.Status):
		p.u, p.apart = nil, true
		return true
	case status.Status == http.StatusRequestedRangeNotSatisfiable:
		p.refused = p.at
		p.resumeOrDrop()
		return true
	case status.Code == codeBlobUploadInvalid, status.Status == http.StatusNotFound: // the POST found the repository
		p.u = nil
		return true
	case status.Status == http.StatusRequestTimeout, status.Status == http.StatusTooManyRequests, status.Status/100 == 5:
		p.resumeOrDrop()
		return true
	case p.at > 0 && p.chunk == 0 && !p.whole && !errors.Is(err, oci.ErrDenied): // it takes blobs in one piece only
		p.u, p.whole = nil, true
		return true
	}
	return false
}

// takesNoBody reports whether the answer to a PUT of a whole blob may mean that its bytes are to come before it.
func takesNoBody(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType,
		http.StatusNotImplemented:
		return true
	}
	return false
}
