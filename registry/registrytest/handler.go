package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// writeSize is the size of the pieces that a blob is written in, in bytes.
const writeSize = 1 << 20

// serveAPI answers on the registry's own host.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	q := parse(r)
	w = s.record(w, q)
	s.misbehave(q, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q.Kind == Token {
			s.serveToken(w, r)
		} else if s.authorize(w, r, q) {
			s.route(w, r, q)
		}
	})).ServeHTTP(w, r)
}

// serveStorage answers on the storage host, which takes everybody.
func (s *Server) serveStorage(w http.ResponseWriter, r *http.Request) {
	q := parse(r)
	kind := q.Kind
	q.Kind = Storage
	w = s.record(w, q)
	s.misbehave(q, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch kind {
		case Blob:
			s.serveBlob(w, r, q, false)
		case Upload:
			s.serveUpload(w, r, q)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})).ServeHTTP(w, r)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request, q *Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch q.Kind {
	case Ping:
		w.WriteHeader(http.StatusOK)
	case Blob:
		s.serveBlob(w, r, q, s.o.RedirectBlobs)
	case Upload:
		s.serveUpload(w, r, q)
	case Mount:
		s.serveMount(w, r, q)
	case Manifest:
		if !s.useQuota(w, q) {
			apiError(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
			return
		}
		s.serveManifest(w, r, q)
	case Tags:
		s.serveTags(w, r, q)
	case Catalog:
		s.serveCatalog(w, r)
	case Referrers:
		s.serveReferrers(w, r, q)
	default:
		apiError(w, http.StatusNotFound, "UNSUPPORTED", "no such endpoint")
	}
}

// apiError answers in the form of the distribution specification.
func apiError(w http.ResponseWriter, status int, code, message string) {
	raw, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	w.Write(raw)
}

func (s *Server) setDigest(w http.ResponseWriter, d digest.Digest) {
	if !s.o.NoDigestHeader {
		w.Header().Set("Docker-Content-Digest", d.String())
	}
}

// serveBlob answers GET and HEAD for a blob, with its ranges.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, q *Request, redirect bool) {
	d := digest.Digest(q.Ref)
	raw, ok := s.Blob(q.Repo, d)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		apiError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
		return
	case !ok:
		apiError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	case redirect:
		w.Header().Set("Location", s.storage.URL+r.URL.Path+"?signature=of-the-storage")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	s.setDigest(w, d)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Accept-Ranges", "bytes")
	status, first, last := http.StatusOK, 0, len(raw)-1
	if header := r.Header.Get("Range"); header != "" && !s.o.IgnoreRange && r.Method == http.MethodGet {
		var valid bool
		if first, last, valid = parseRange(header, len(raw)); !valid {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(raw)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(raw)))
	}
	part := raw[first : last+1]
	w.Header().Set("Content-Length", strconv.Itoa(len(part)))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		s.sendBlob(w, d, part)
	}
}

// sendBlob writes part of the blob d and counts what has been taken.
func (s *Server) sendBlob(w http.ResponseWriter, d digest.Digest, part []byte) {
	for len(part) > 0 {
		n, err := w.Write(part[:min(len(part), writeSize)])
		s.mu.Lock()
		s.sent[d] += int64(n)
		s.mu.Unlock()
		if err != nil {
			return
		}
		part = part[n:]
	}
}

// parseRange reads `bytes=first-last`, where last may be missing.
func parseRange(header string, size int) (first, last int, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	a, b, ok2 := strings.Cut(spec, "-")
	first, err := strconv.Atoi(a)
	if !ok || !ok2 || err != nil || first < 0 || first >= size {
		return 0, 0, false
	}
	last = size - 1
	if b != "" {
		n, err := strconv.Atoi(b)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last, true
}
