package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/oci"
)

const (
	// stallTime is how long a client may take nothing before it is given up.
	stallTime = 2 * time.Minute
	// bufferSize is how many bytes of a blob are read at once.
	bufferSize = 64 << 10
)

// buffers holds buffers of bufferSize bytes for reuse.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// serveBlob answers with a blob or a range of it.
func (s *Server) serveBlob(w *response, r *http.Request, v view, ref string) error {
	d := digest.Digest(ref)
	if err := d.Validate(); err != nil {
		return &failure{status: http.StatusBadRequest, code: codeDigestInvalid, message: fmt.Sprintf("digest %.100q: %v", ref, err)}
	}
	b, ok := v.blob(d)
	if !ok {
		return &failure{status: http.StatusNotFound, code: codeBlobUnknown, message: fmt.Sprintf("no blob %s in %s", d, v.name)}
	}
	w.describe(b.Descriptor)
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Cache-Control", "max-age=31536000") // seconds of a year: the content of a digest does not change
	if matchesETag(r.Header.Get("If-None-Match"), b.Descriptor) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	part, partial, err := requestedPart(r, b.Descriptor)
	if err != nil {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", b.Size))
		return err
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.length-1, b.Size))
	}
	if r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(part.length, 10))
		w.WriteHeader(status)
		return nil
	}
	return w.sendPart(r.Context(), b, part, status)
}

// sendPart sends a part of a blob. Nothing is sent before some of it could be read, so that most of what goes wrong has an
// answer of its own; of several sources the first one counts that can give so much.
func (w *response) sendPart(ctx context.Context, b blob, p part, status int) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var errs []error
	for _, shelf := range b.from {
		body, n, err := openPart(ctx, shelf.Source, b.Descriptor, p, *buf)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer body.Close()
		w.err = errors.Join(errs...)
		w.Header().Set("Content-Length", strconv.FormatInt(p.length, 10))
		w.WriteHeader(status)
		return w.copyBody(body, (*buf)[:n], *buf)
	}
	return errors.Join(errs...)
}

// copyBody sends first, and then the rest of body, which is read into buf.
func (w *response) copyBody(body io.Reader, first, buf []byte) error {
	out := http.NewResponseController(w)
	defer out.SetWriteDeadline(time.Time{}) // the connection lives on
	var readErr error
	for p := first; ; {
		if len(p) > 0 {
			_ = out.SetWriteDeadline(time.Now().Add(stallTime)) // not all that can be written to knows of deadlines
			if _, err := w.Write(p); err != nil {
				return errClientGone
			}
		}
		if readErr != nil {
			break
		}
		var n int
		n, readErr = body.Read(buf)
		p = buf[:n]
	}
	if errors.Is(readErr, io.EOF) {
		return nil
	}
	return readErr
}

// partReader is the content of a part, with what becomes of its errors.
type partReader struct {
	io.Reader
	io.Closer
	src oci.Source
	d   oci.Descriptor
}

func (r *partReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	return n, damageOf(r.src, r.d, err)
}

// openPart opens a part of d and reads the first n bytes of it into buf. The whole of d is proven while it is read.
func openPart(ctx context.Context, src oci.Source, d oci.Descriptor, p part, buf []byte) (_ io.ReadCloser, n int, err error) {
	content, err := src.Open(ctx, oci.Repository{}, d, p.offset)
	if err != nil {
		return nil, 0, err
	}
	body := &partReader{Reader: io.LimitReader(content, p.length), Closer: content, src: src, d: d}
	if p.length == d.Size {
		body.Reader = oci.Verify(content, d)
	}
	if n, err = body.Read(buf); err != nil && !errors.Is(err, io.EOF) {
		content.Close()
		return nil, 0, err
	}
	return body, n, nil
}
