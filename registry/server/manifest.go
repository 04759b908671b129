package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/ferry-oci/ferry/oci"
)

// serveManifest answers with the manifest that ref, a tag or a digest, stands for. The specification wants it to be given
// whatever the client accepts; its Content-Type says what it is.
func (s *Server) serveManifest(w *response, r *http.Request, v view, ref string) error {
	b, err := v.resolve(ref)
	if err != nil {
		return err
	}
	w.describe(b.Descriptor)
	w.Header().Set("Content-Type", b.MediaType)
	if matchesETag(r.Header.Get("If-None-Match"), b.Descriptor) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	raw, err := s.manifest(r.Context(), w, b)
	if err != nil {
		return err
	}
	return w.send(r, http.StatusOK, raw)
}

// describe sets what the headers say of a manifest or another blob.
func (w *response) describe(d oci.Descriptor) {
	w.digest = d.Digest
	w.Header().Set("Docker-Content-Digest", d.Digest.String())
	w.Header().Set("ETag", eTag(d))
}

// manifest returns the bytes of a manifest, proven. What was wrong on the way to them is told with the request of w. Requests that
// come while it is read wait for that, so that many clients who begin with one image cost no more than one.
func (s *Server) manifest(ctx context.Context, w *response, b blob) ([]byte, error) {
	if raw, ok := s.manifests.get(b.Digest); ok {
		return raw, nil
	}
	read := s.reading.DoChan(b.Digest.String(), func() (any, error) {
		return s.readManifest(context.WithoutCancel(ctx), b) // others wait for it, too, when this client goes away
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-read:
		if result.Err != nil {
			return nil, result.Err
		}
		found := result.Val.(foundManifest)
		w.err = found.passedOver
		return found.raw, nil
	}
}

// foundManifest is a manifest with what was wrong on the shelves that were asked before.
type foundManifest struct {
	raw        []byte
	passedOver error
}

// readManifest reads a manifest from the first shelf that can give it, and keeps it.
func (s *Server) readManifest(ctx context.Context, b blob) (foundManifest, error) {
	if raw, ok := s.manifests.get(b.Digest); ok { // somebody has read it just now
		return foundManifest{raw: raw}, nil
	}
	var errs []error
	for _, shelf := range b.from {
		raw, err := readManifest(ctx, shelf.Source, b.Descriptor)
		if err == nil {
			s.manifests.put(b.Digest, raw)
			return foundManifest{raw, errors.Join(errs...)}, nil
		}
		errs = append(errs, err)
	}
	return foundManifest{}, errors.Join(errs...)
}

// readManifest reads and proves a manifest.
func readManifest(ctx context.Context, src oci.Source, d oci.Descriptor) ([]byte, error) {
	raw, err := oci.ReadSmall(ctx, src, oci.Repository{}, d)
	return raw, damageOf(src, d, err)
}

// damageOf adds to err what the source knows of the place where d lies.
func damageOf(src oci.Source, d oci.Descriptor, err error) error {
	if damager, ok := src.(Damager); ok && errors.Is(err, oci.ErrCorrupt) {
		return damager.DamageOf(d.Digest, err)
	}
	return err
}
