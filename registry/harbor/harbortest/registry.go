package harbortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// serveRegistry answers the distribution API, where Harbor's core stands before a plain registry.
func (h *Server) serveRegistry(w http.ResponseWriter, r *http.Request, next http.Handler) {
	name, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok || name == "" || name == "_catalog" || !h.mayAsk(r) {
		next.ServeHTTP(w, r)
		return
	}
	project, _, _ := strings.Cut(name, "/")
	p, known := h.find(project)
	if !known {
		w.Header().Set("Www-Authenticate", "")
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Sprintf("project %s not found", project))
		return
	}
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	if action := map[bool]string{true: "pull", false: "push"}[isRead]; !p.allows(action) {
		w.Header().Set("Www-Authenticate", `Basic realm="harbor"`)
		repo, _, _ := strings.Cut(name, "/blobs/")
		repo, _, _ = strings.Cut(repo, "/manifests/")
		text := fmt.Sprintf("unauthorized to access repository: %s, action: %s", repo, action)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", text+": "+text)
		return
	}
	if isRead {
		next.ServeHTTP(w, r)
		return
	}
	if p.Proxy {
		refuse(w, http.StatusForbidden, "DENIED", "can not push artifact to a proxy project: "+project)
		return
	}
	if from, _, _ := strings.Cut(r.URL.Query().Get("from"), "/"); from != "" {
		if _, known := h.find(from); !known {
			w.Header().Set("Www-Authenticate", "")
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Sprintf("project %s not found", from))
			return
		}
	}
	h.servePush(w, r, p, name, next)
}

// mayAsk reports whether the request comes with something that may let it in; else the registry asks for it first.
func (h *Server) mayAsk(r *http.Request) bool {
	return h.o.Registry.Auth == registrytest.NoAuth || r.Header.Get("Authorization") != ""
}

// servePush keeps quotas and immutable tags, and takes no index whose children are not there.
func (h *Server) servePush(w http.ResponseWriter, r *http.Request, p Project, name string, next http.Handler) {
	if r.Method == http.MethodPut && strings.Contains(name, "/blobs/uploads/") && p.Quota > 0 {
		h.counting.Lock() // what comes meanwhile counts
		defer h.counting.Unlock()
		used, held := h.used(p.Name)
		if !held[digest.Digest(r.URL.Query().Get("digest"))] && used+r.ContentLength > p.Quota {
			io.Copy(io.Discard, r.Body)
			refuse(w, http.StatusForbidden, "DENIED", fmt.Sprintf("adding %d B of storage resource, which when updated to "+
				"current usage of %d B will exceed the configured upper limit of %d B.", r.ContentLength, used, p.Quota))
			return
		}
	}
	repo, reference, isManifest := cutLast(name, "/manifests/")
	if r.Method != http.MethodPut || !isManifest {
		next.ServeHTTP(w, r)
		return
	}
	if _, taken := h.Tags(repo)[reference]; taken && p.immutable(reference) {
		refuse(w, http.StatusPreconditionFailed, "PRECONDITION",
			fmt.Sprintf("Failed to process request due to '%s:%s' configured as immutable.", repo, reference))
		return
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var index ocispec.Index
	if json.Unmarshal(raw, &index) == nil {
		for _, child := range index.Manifests {
			if _, _, ok := h.Manifest(repo, child.Digest.String()); !ok {
				refuse(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("artifact %s@%s not found", repo, child.Digest))
				return
			}
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	next.ServeHTTP(w, r)
}

func (p Project) immutable(tag string) bool {
	if digest.Digest(tag).Validate() == nil {
		return false
	}
	for _, pattern := range p.ImmutableTags {
		if ok, _ := path.Match(pattern, tag); ok {
			return true
		}
	}
	return false
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
