package registrytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// serveReferrers answers with the manifests of a repository that name one as their subject, whether that is there or
// not.
func (s *Server) serveReferrers(w http.ResponseWriter, r *http.Request, q *Request) {
	if s.o.NoReferrers {
		http.NotFound(w, r)
		return
	}
	all := s.Referrers(q.Repo, digest.Digest(q.Ref))
	names := make([]string, len(all))
	byName := map[string]ocispec.Descriptor{}
	for i, d := range all {
		names[i] = d.Digest.String()
		byName[names[i]] = d
	}
	page, ok := s.page(w, r, names)
	if !ok {
		return
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
	}
	for _, name := range page {
		index.Manifests = append(index.Manifests, byName[name])
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	json.NewEncoder(w).Encode(index)
}

// Referrers returns the manifests of a repository that name subject as theirs, sorted by digest.
func (s *Server) Referrers(repo string, subject digest.Digest) []ocispec.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[repo]
	if r == nil {
		return nil
	}
	var all []ocispec.Descriptor
	for d, mediaType := range r.manifests {
		var m struct {
			references
			ArtifactType string            `json:"artifactType"`
			Annotations  map[string]string `json:"annotations"`
		}
		raw := s.blobs[d]
		if !bytes.Contains(raw, []byte(subject)) || json.Unmarshal(raw, &m) != nil || m.Subject == nil || m.Subject.Digest != subject {
			continue
		}
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
		all = append(all, ocispec.Descriptor{
			MediaType: mediaType, Digest: d, Size: int64(len(raw)), ArtifactType: m.ArtifactType, Annotations: m.Annotations,
		})
	}
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return all
}
