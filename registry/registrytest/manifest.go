package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the size of the largest manifest that is taken, in bytes, as in CNCF distribution.
const maxManifest = 4 << 20

func (s *Server) serveManifest(w http.ResponseWriter, r *http.Request, q *Request) {
	switch {
	case r.Method == http.MethodPut:
		s.putManifest(w, r, q)
	case r.Method == http.MethodGet || r.Method == http.MethodHead && !s.o.NoHead:
		s.sendManifest(w, r, q)
	default:
		apiError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
	}
}

func (s *Server) sendManifest(w http.ResponseWriter, r *http.Request, q *Request) {
	d, raw, ok := s.Manifest(q.Repo, q.Ref)
	if !ok {
		apiError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	s.setDigest(w, d.Digest)
	w.Header().Set("Content-Type", d.MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		s.sendBlob(w, d.Digest, raw)
	}
}

// problem is the reason why a request is refused.
type problem struct {
	status        int
	code, message string
}

// references is what a manifest needs.
type references struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"` // may be missing
}

func (s *Server) putManifest(w http.ResponseWriter, r *http.Request, q *Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if err != nil {
		apiError(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "manifest too large")
		return
	}
	var m references
	if err := json.Unmarshal(raw, &m); err != nil {
		apiError(w, http.StatusBadRequest, "MANIFEST_INVALID", "manifest invalid")
		return
	}
	d := digest.FromBytes(raw)
	if p := s.storeManifest(q, d, r.Header.Get("Content-Type"), raw, m); p != nil {
		apiError(w, p.status, p.code, p.message)
		return
	}
	s.setDigest(w, d)
	if m.Subject != nil && !s.o.NoReferrers {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	w.Header().Set("Location", "/v2/"+q.Repo+"/manifests/"+d.String())
	w.WriteHeader(http.StatusCreated)
}

func (s *Server) storeManifest(q *Request, d digest.Digest, mediaType string, raw []byte, m references) *problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(q.Repo)
	byDigest := digest.Digest(q.Ref).Validate() == nil
	if byDigest && digest.Digest(q.Ref) != d {
		return &problem{http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content"}
	}
	if _, taken := repo.tags[q.Ref]; taken && s.o.ImmutableTags {
		return &problem{http.StatusPreconditionFailed, "PRECONDITION", fmt.Sprintf("tag %s is immutable", q.Ref)}
	}
	if s.o.RefuseURLs && slices.ContainsFunc(m.Layers, func(d ocispec.Descriptor) bool { return len(d.URLs) > 0 }) {
		return &problem{http.StatusInternalServerError, "UNKNOWN", "unknown error; invalid URL on layer"}
	}
	if missing := repo.missing(m); missing != "" && !s.o.Sparse {
		return &problem{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: " + missing.String()}
	}
	s.blobs[d] = raw
	repo.manifests[d] = mediaType
	if !byDigest {
		repo.tags[q.Ref] = d
	}
	return nil
}

// missing returns the first blob or manifest that the repository lacks; layers that live elsewhere are not missed.
func (r *repository) missing(m references) digest.Digest {
	if m.Config != nil && !r.blobs[m.Config.Digest] {
		return m.Config.Digest
	}
	for _, d := range m.Layers {
		if !r.blobs[d.Digest] && len(d.URLs) == 0 {
			return d.Digest
		}
	}
	for _, d := range m.Manifests {
		if _, ok := r.manifests[d.Digest]; !ok {
			return d.Digest
		}
	}
	return ""
}
