package harbortest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

const apiRoot = "/api/v2.0/"

// serveAPI answers Harbor's own API.
func (h *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	q := Request{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Authorization: r.Header.Get("Authorization"), Cookie: r.Header.Get("Cookie"),
	}
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	// A client with a cookie jar would send this with its next request, and get into the trouble below.
	w.Header().Set("Set-Cookie", "sid=abc; Path=/; HttpOnly")
	h.routeAPI(sw, r)
	q.Status = sw.status
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, q)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (h *Server) routeAPI(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == tokenPath {
		h.serveToken(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), apiRoot)
	if !ok || h.o.NoAPI || strings.Contains(strings.ToUpper(path), "%2F") { // escaped once: the proxy in front makes a slash of it
		refuse(w, http.StatusNotFound, "NOT_FOUND", "the resource is not found")
		return
	}
	if path == "systeminfo" && r.Method == http.MethodGet {
		answer(w, map[string]any{"auth_mode": "db_auth", "harbor_version": "v2.16.0", "self_registration": false})
		return
	}
	if _, err := r.Cookie("sid"); err == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusForbidden, "FORBIDDEN", "CSRF token not found in request")
		return
	}
	parts := strings.Split(path, "/")
	if !h.knows(r) || h.o.OIDC && !takesSecret(r.Method, path, parts) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "unauthorized")
		return
	}
	switch {
	case path == "projects":
		h.serveProjects(w, r)
	case path == "labels":
		h.serveLabels(w, r)
	case parts[0] == "retentions" && len(parts) == 2:
		h.serveRetention(w, parts[1])
	case parts[0] == "projects":
		h.serveProject(w, r, parts[1:])
	default:
		refuse(w, http.StatusNotFound, "NOT_FOUND", "the resource is not found")
	}
}

// takesSecret reports whether Harbor takes the secret of a user of OIDC for a question.
func takesSecret(method, path string, parts []string) bool {
	last := parts[len(parts)-1]
	isList := path == "projects" || path == "labels" || last == "repositories" || last == "artifacts"
	return method == http.MethodGet && isList || method == http.MethodPost && path == "projects"
}

// knows reports whether the request comes from the user of the registry.
func (h *Server) knows(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return h.o.Registry.Auth == registrytest.NoAuth || user == h.o.Registry.Username && password == h.o.Registry.Password
}

func (h *Server) serveProjects(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodHead:
		switch p, ok := h.find(r.URL.Query().Get("project_name")); {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case p.Hidden:
			w.WriteHeader(http.StatusForbidden)
		}
	case http.MethodPost:
		h.createProject(w, r)
	default:
		h.mu.Lock()
		var rows []any
		for _, p := range h.projects {
			if strings.Contains(p.Name, r.URL.Query().Get("name")) && !p.Hidden && !p.Late {
				rows = append(rows, p.row())
			}
		}
		h.mu.Unlock()
		sendPage(w, r, rows)
	}
}

func (h *Server) createProject(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Name     string            `json:"project_name"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Name == "" {
		refuse(w, http.StatusBadRequest, "BAD_REQUEST", "project name is needed")
		return
	}
	_, taken := h.Project(body.Name)
	switch {
	case h.o.NoCreate:
		refuse(w, http.StatusForbidden, "FORBIDDEN", "Only system admin can create project")
	case taken:
		h.mu.Lock()
		h.project(body.Name).Late = false
		h.mu.Unlock()
		refuse(w, http.StatusConflict, "CONFLICT", fmt.Sprintf("The project named %s already exists", body.Name))
	default:
		h.AddProject(Project{Name: body.Name, Public: body.Metadata["public"] == "true", Quota: h.o.NewQuota})
		w.Header().Set("Location", apiRoot+"projects/"+body.Name)
		w.WriteHeader(http.StatusCreated)
	}
}

// row is the project as lists have it.
func (p *Project) row() map[string]any {
	row := map[string]any{
		"project_id": p.id, "name": p.Name, "creation_time": "2026-01-02T03:04:05.000Z",
		"metadata": map[string]string{"public": strconv.FormatBool(p.Public)},
	}
	if p.Proxy {
		row["registry_id"] = 7
	}
	if p.Retention != "" {
		row["metadata"].(map[string]string)["retention_id"] = strconv.Itoa(p.id)
	}
	return row
}

func (h *Server) serveProject(w http.ResponseWriter, r *http.Request, parts []string) {
	p, ok := h.find(parts[0])
	if _, err := strconv.Atoi(parts[0]); err == nil && r.Header.Get("X-Is-Resource-Name") != "true" {
		ok = false // taken for an id
	}
	if !ok {
		refuse(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("project %s not found", parts[0]))
		return
	}
	switch {
	case p.Hidden:
		refuse(w, http.StatusForbidden, "FORBIDDEN", "forbidden")
	case len(parts) == 1:
		answer(w, p.row())
	case len(parts) == 2 && parts[1] == "summary":
		h.serveSummary(w, p)
	case len(parts) == 2 && parts[1] == "immutabletagrules":
		sendJSON(w, p.Immutability, "[]")
	case len(parts) == 2 && parts[1] == "repositories":
		h.serveRepositories(w, r, p)
	case len(parts) == 4 && parts[1] == "repositories" && parts[3] == "artifacts":
		h.serveArtifacts(w, r, p, parts[2])
	case len(parts) == 6 && parts[1] == "repositories" && parts[3] == "artifacts" && parts[5] == "tags":
		h.serveTags(w, r, p, parts[2], parts[4])
	default:
		refuse(w, http.StatusNotFound, "NOT_FOUND", "the resource is not found")
	}
}

func (h *Server) serveSummary(w http.ResponseWriter, p Project) {
	if h.o.NoQuota {
		answer(w, map[string]any{"repo_count": 1})
		return
	}
	hard := p.Quota
	if hard == 0 {
		hard = -1
	}
	used, _ := h.used(p.Name)
	answer(w, map[string]any{"quota": map[string]any{
		"hard": map[string]int64{"storage": hard}, "used": map[string]int64{"storage": used},
	}})
}

func (h *Server) serveLabels(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.projects {
		if r.URL.Query().Get("scope") == "p" && r.URL.Query().Get("project_id") == strconv.Itoa(p.id) {
			sendJSON(w, p.Labels, "[]")
			return
		}
	}
	sendJSON(w, "", "[]")
}

func (h *Server) serveRetention(w http.ResponseWriter, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.projects {
		if strconv.Itoa(p.id) == id && p.Retention != "" {
			sendJSON(w, p.Retention, "")
			return
		}
	}
	refuse(w, http.StatusNotFound, "NOT_FOUND", "no such Retention policy")
}

func sendJSON(w http.ResponseWriter, text, otherwise string) {
	if text == "" {
		text = otherwise
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write([]byte(text))
}

// sendPage sends the rows that the request asks for, with links as Harbor writes them.
func sendPage(w http.ResponseWriter, r *http.Request, rows []any) {
	query := r.URL.Query()
	page, size := number(query, "page", 1), number(query, "page_size", 10)
	if size > 100 || size < 1 || page < 1 {
		refuse(w, http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY",
			fmt.Sprintf("validation failure list: page_size in query should be less than or equal to 100, not %d", size))
		return
	}
	total := len(rows)
	first := min((page-1)*size, total)
	last := min(first+size, total)
	link := func(page int, rel string) string {
		unescaped, _ := url.QueryUnescape(query.Encode())
		return fmt.Sprintf(`<%s?page=%d&page_size=%d&%s>; rel="%s"`, r.URL.Path, page, size, unescaped, rel)
	}
	var links []string
	if page > 1 {
		links = append(links, link(page-1, "prev"))
	}
	if last < total {
		links = append(links, link(page+1, "next"))
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, " , "))
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(total))
	if rows = rows[first:last]; rows == nil {
		rows = []any{}
	}
	answer(w, rows)
}

func number(query url.Values, name string, otherwise int) int {
	if !query.Has(name) {
		return otherwise
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil {
		return -1
	}
	return n
}

func (h *Server) serveRepositories(w http.ResponseWriter, r *http.Request, p Project) {
	var rows []any
	for _, repo := range h.Repositories() {
		if strings.HasPrefix(repo, p.Name+"/") {
			rows = append(rows, map[string]any{"name": repo, "id": len(rows) + 1})
		}
	}
	sendPage(w, r, rows)
}

func (h *Server) serveArtifacts(w http.ResponseWriter, r *http.Request, p Project, escaped string) {
	if repo, ok := h.repository(w, p, escaped); ok {
		sendPage(w, r, h.artifacts(repo))
	}
}

// repository returns the repository of a path, whose name is escaped twice, or answers that there is none.
func (h *Server) repository(w http.ResponseWriter, p Project, escaped string) (repo string, ok bool) {
	once, err := url.PathUnescape(escaped)
	if err == nil {
		once, err = url.PathUnescape(once)
	}
	repo = p.Name + "/" + once
	if err != nil || !slices.Contains(h.Repositories(), repo) {
		refuse(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("repository %s not found", repo))
		return "", false
	}
	return repo, true
}

// serveTags answers with the tags of an artifact.
func (h *Server) serveTags(w http.ResponseWriter, r *http.Request, p Project, escaped, reference string) {
	repo, ok := h.repository(w, p, escaped)
	if !ok {
		return
	}
	d, _, ok := h.Manifest(repo, reference)
	if !ok {
		refuse(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("artifact %s:%s not found", repo, reference))
		return
	}
	var rows []any
	for i, name := range tagsOf(h.Tags(repo), d.Digest) {
		fixed := r.URL.Query().Get("with_immutable_status") == "true" && p.immutable(name)
		rows = append(rows, map[string]any{"id": i + 1, "name": name, "push_time": h.pushedAt(repo, name), "immutable": fixed})
	}
	sendPage(w, r, rows)
}

// cosignTag is a tag by which cosign ties something to the manifest of a digest.
var cosignTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.(sig|att|sbom)$`)

// artifacts returns the rows of a repository: neither the children of an index nor what belongs to another artifact.
func (h *Server) artifacts(repo string) []any {
	inner := map[digest.Digest]bool{}
	accessories := map[digest.Digest][]any{}
	tags := h.Tags(repo)
	for tag, d := range tags {
		if m := cosignTag.FindStringSubmatch(tag); m != nil {
			subject := digest.NewDigestFromEncoded(digest.SHA256, m[1])
			accessories[subject] = append(accessories[subject], map[string]any{"type": "signature.cosign", "digest": d})
			inner[d] = true
			delete(tags, tag)
		}
	}
	var manifests []ocispec.Descriptor
	for _, d := range h.Contents(repo) {
		if d.MediaType == "" {
			continue
		}
		manifests = append(manifests, d)
		_, raw, _ := h.Manifest(repo, d.Digest.String())
		var m struct {
			Manifests []ocispec.Descriptor `json:"manifests"`
			Subject   *ocispec.Descriptor  `json:"subject"`
		}
		_ = json.Unmarshal(raw, &m)
		for _, child := range m.Manifests {
			inner[child.Digest] = true
		}
		if m.Subject != nil {
			inner[d.Digest] = true
			accessories[m.Subject.Digest] = append(accessories[m.Subject.Digest],
				map[string]any{"type": "subject.accessory", "digest": d.Digest})
		}
	}
	var rows []any
	for _, d := range manifests {
		if names := tagsOf(tags, d.Digest); len(names) > 0 || !inner[d.Digest] {
			rows = append(rows, h.artifact(repo, d, names, accessories[d.Digest]))
		}
	}
	return rows
}

func tagsOf(tags map[string]digest.Digest, d digest.Digest) []string {
	var names []string
	for tag, named := range tags {
		if named == d {
			names = append(names, tag)
		}
	}
	slices.Sort(names)
	return names
}

func (h *Server) artifact(repo string, d ocispec.Descriptor, names []string, accessories []any) any {
	var tags []any
	for i, name := range names {
		tags = append(tags, map[string]any{"id": i + 1, "name": name, "push_time": h.pushedAt(repo, name), "immutable": false})
	}
	return map[string]any{
		"id": 1, "type": "IMAGE", "digest": d.Digest, "size": d.Size, "manifest_media_type": d.MediaType,
		"push_time": h.pushedAt(repo, d.Digest.String()), "pull_time": "0001-01-01T00:00:00.000Z",
		"tags": tags, "accessories": accessories,
	}
}

func (h *Server) pushedAt(repo, name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.pushed[repo+":"+name]
	if !ok {
		at = defaultPushed
	}
	return at.UTC().Format(time.RFC3339Nano)
}
