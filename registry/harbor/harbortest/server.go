// Package harbortest is a small Harbor in memory for tests: version 2.0 of its API, and the distribution API with the
// rules that Harbor adds. It answers as a Harbor 2.16 was measured to answer, and knows nothing beyond that.
//
//	h := harbortest.New(t, harbortest.Options{})
//	h.AddProject(harbortest.Project{Name: "k8s", Quota: -1})
//	h.AddBlob("k8s/pause", content)
package harbortest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ferry-oci/ferry/registry/registrytest"
)

// Options are the habits of a Harbor. The zero value is open to everybody and speaks plain http.
type Options struct {
	// Registry are those of its distribution API. With Auth set, the API of Harbor wants the same user, by Basic, and
	// so does the catalog.
	Registry registrytest.Options
	// NoCreate refuses to make projects.
	NoCreate bool
	// NewQuota is that of projects that are made, in bytes; 0 is no limit.
	NewQuota int64
	// NoAPI knows nothing of Harbor's own API, as behind a proxy that lets only the registry through.
	NoAPI bool
	// OIDC takes the user's secret for lists, for making projects and for the registry alone; other questions are those of a
	// stranger, who is not even told which projects are not there.
	OIDC bool
	// NoQuota withholds what a project may hold, as from users that are no members of it.
	NoQuota bool
	// Token, unless empty, is the answer of the token server to those who ask what they may do.
	Token string
}

// Project is one of a Harbor's.
type Project struct {
	Name   string
	Public bool
	Quota  int64 // bytes; 0 and -1 are no limit
	// Proxy makes it a cache of another registry.
	Proxy bool
	// ReadOnly lets the user of the registry pull only; Hidden does not even show the project to the user.
	ReadOnly, Hidden bool
	// Late keeps the project from being found until somebody tries to make it, as one that another makes meanwhile.
	Late bool
	// ImmutableTags are patterns as of path.Match without slashes; a tag that is there and matches is never put again.
	ImmutableTags []string
	// Retention, Immutability and Labels are what the API gives, JSON.
	Retention, Immutability, Labels string

	id int
}

// Request is one that Harbor's own API got.
type Request struct {
	Method, Path  string // as it came, with its escapes
	Query         string
	Authorization string
	Cookie        string
	Status        int
}

// Server is a running Harbor. Everything of its registry can be set and looked at by the embedded server.
type Server struct {
	*registrytest.Server
	o Options

	counting sync.Mutex // held while a project with a quota gets a blob
	mu       sync.Mutex
	projects []*Project
	pushed   map[string]time.Time // by repository:tag
	requests []Request
}

// defaultPushed is when a tag was pushed of which nothing else was said.
var defaultPushed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// New starts a Harbor that ends with the test. It has no project.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()
	h := &Server{o: o, pushed: map[string]time.Time{}}
	ready := make(chan struct{}) // a request may come from another process, and nothing else orders it after this function
	o.Registry.CatalogBasic = o.Registry.Auth != registrytest.NoAuth
	o.Registry.BasicToo = true
	o.Registry.Wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-ready
			if strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == tokenPath {
				h.serveAPI(w, r)
			} else {
				h.serveRegistry(w, r, next)
			}
		})
	}
	h.Server = registrytest.New(tb, o.Registry)
	close(ready)
	return h
}

// AddProject makes a project, or sets one up anew.
func (h *Server) AddProject(p Project) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, old := range h.projects {
		if old.Name == p.Name {
			p.id = old.id
			h.projects[i] = &p
			return
		}
	}
	p.id = len(h.projects) + 1
	h.projects = append(h.projects, &p)
}

// Project returns a project as it is now.
func (h *Server) Project(name string) (Project, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.project(name); p != nil {
		return *p, true
	}
	return Project{}, false
}

// find is Project for those who ask from outside.
func (h *Server) find(name string) (Project, bool) {
	p, ok := h.Project(name)
	return p, ok && !p.Late
}

// project is Project for a caller that holds h.mu.
func (h *Server) project(name string) *Project {
	for _, p := range h.projects {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// SetPushed says when a tag, or an artifact by its digest, was pushed.
func (h *Server) SetPushed(repo, tag string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushed[repo+":"+tag] = at
}

// APIRequests returns the requests to Harbor's own API so far.
func (h *Server) APIRequests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// used returns how many bytes a project holds, each content once, and which contents these are.
func (h *Server) used(project string) (sum int64, seen map[digest.Digest]bool) {
	seen = map[digest.Digest]bool{}
	for _, repo := range h.Repositories() {
		if !strings.HasPrefix(repo, project+"/") {
			continue
		}
		for _, d := range h.Contents(repo) {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				sum += d.Size
			}
		}
	}
	return sum, seen
}

// refuse answers in the form of both APIs.
func refuse(w http.ResponseWriter, status int, code, message string) {
	raw, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	w.Write(raw)
}

func answer(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("harbortest: %v", err))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(raw)
}
