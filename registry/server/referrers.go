package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

// maxReferrersPage is how many bytes of descriptors are in an answer of the referrers API before the rest is left to the next
// one. It leaves room in what clients take for an index.
const maxReferrersPage = oci.MaxManifestSize / 2

// serveReferrers answers with an index of what is about the manifest with the digest ref: of nothing is no error.
func (s *Server) serveReferrers(w *response, r *http.Request, v view, ref string) error {
	subject := digest.Digest(ref)
	if err := subject.Validate(); err != nil {
		return &failure{status: http.StatusBadRequest, code: codeDigestInvalid, message: fmt.Sprintf("digest %.100q: %v", ref, err)}
	}
	query := r.URL.Query()
	// A plus sign that is not escaped means a space in a query. Media types have none, and clients forget to escape it.
	artifactType := strings.ReplaceAll(query.Get("artifactType"), " ", "+")
	list, next, err := s.referrers(r.Context(), w, v, subject, artifactType, digest.Digest(query.Get("last")))
	if err != nil {
		return err
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if next != "" {
		linkNext(w, r, "last", next.String())
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	return w.sendJSON(r, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list,
	})
}

// referrers returns a page of what is about subject, sorted by digest: of that artifact type unless it is empty, and behind
// the digest last. next is the last of the page when there are more.
func (s *Server) referrers(ctx context.Context, w *response, v view, subject digest.Digest, artifactType string, last digest.Digest) (
	list []oci.Descriptor, next digest.Digest, err error,
) {
	list = []oci.Descriptor{} // never null in JSON
	size := 0
	for _, d := range v.referrers(subject) {
		if d.Digest <= last {
			continue
		}
		full, ok, err := s.describeReferrer(ctx, w, v, d, subject)
		switch {
		case err != nil:
			return nil, "", err
		case !ok || artifactType != "" && full.ArtifactType != artifactType:
			continue
		}
		if size > maxReferrersPage {
			return list, list[len(list)-1].Digest, nil
		}
		list = append(list, full)
		size += descriptorSize(full)
	}
	return list, "", nil
}

// referrers returns what may be about subject, sorted by digest, each once.
func (v view) referrers(subject digest.Digest) []oci.Descriptor {
	var list []oci.Descriptor
	for _, repo := range v.repos {
		repo.load()
		list = append(list, repo.referrers[subject]...)
	}
	slices.SortFunc(list, func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return slices.CompactFunc(list, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest })
}

// describeReferrer reads from the manifest d what the API tells of it. When that is not about subject, as what cosign ties to
// its subject by the tag alone, ok is false.
func (s *Server) describeReferrer(ctx context.Context, w *response, v view, d oci.Descriptor, subject digest.Digest) (
	_ oci.Descriptor, ok bool, err error,
) {
	b, ok := v.blob(d.Digest)
	if !ok {
		return d, false, nil
	}
	raw, err := s.manifest(ctx, w, b)
	if err != nil {
		return d, false, err
	}
	m, err := oci.ParseManifest(b.MediaType, raw)
	if err != nil {
		return d, false, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if m.Subject == nil || m.Subject.Digest != subject {
		return d, false, nil
	}
	return oci.Descriptor{
		MediaType: b.MediaType, Digest: b.Digest, Size: b.Size, ArtifactType: m.Type(), Annotations: m.Annotations,
	}, true, nil
}

// descriptorSize returns about how many bytes d has in JSON.
func descriptorSize(d oci.Descriptor) int {
	const fixed = 256 // keys, digest and size
	n := fixed + len(d.MediaType) + len(d.ArtifactType)
	for k, v := range d.Annotations {
		n += len(k) + len(v) + len(`"":"",`) + 5*strings.Count(v, "<") // which JSON in Go writes as \u003c
	}
	return n
}
