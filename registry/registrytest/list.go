package registrytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// PageLinks is how a registry says where its lists go on.
type PageLinks int

const (
	LastName   PageLinks = iota // /v2/...?last=<name>&n=<n>, as the specification has it
	PageTokens                  // by a token that it makes; `last` is refused, as by ECR Public
	PlainHTTP                   // LastName with http://, from a registry that speaks https
	Elsewhere                   // LastName on the storage host
	InCircles                   // the first page again and again
)

// serveTags answers with the tags of a repository.
func (s *Server) serveTags(w http.ResponseWriter, r *http.Request, q *Request) {
	s.mu.Lock()
	repo := s.repos[q.Repo]
	var tags []string
	if repo != nil {
		tags = slices.Sorted(maps.Keys(repo.tags))
	}
	s.mu.Unlock()
	if repo == nil {
		apiError(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	if page, ok := s.page(w, r, tags); ok {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"name": q.Repo, "tags": page})
	}
}

// serveCatalog answers with the repositories that have a tag or had one.
func (s *Server) serveCatalog(w http.ResponseWriter, r *http.Request) {
	if s.o.NoCatalog {
		apiError(w, http.StatusNotFound, "UNSUPPORTED", "no such endpoint")
		return
	}
	if page, ok := s.page(w, r, s.Repositories()); ok {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"repositories": page})
	}
}

// page returns the part of names that the request asks for, and links to the next one. False means that the answer is
// given.
func (s *Server) page(w http.ResponseWriter, r *http.Request, names []string) ([]string, bool) {
	query := r.URL.Query()
	n := s.o.MaxPage
	if query.Has("n") {
		asked, err := strconv.Atoi(query.Get("n"))
		if err != nil || asked <= 0 || s.o.MaxPage > 0 && asked > s.o.MaxPage {
			apiError(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
			return nil, false
		}
		n = asked
	}
	key := "last"
	if s.o.PageLinks == PageTokens {
		key = "next_page"
		if query.Has("last") {
			apiError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
			return nil, false
		}
	}
	if last := query.Get(key); last != "" && s.o.PageLinks != InCircles {
		first, found := slices.BinarySearch(names, last)
		if found {
			first++
		}
		names = names[first:]
	}
	if n == 0 || len(names) <= n && s.o.PageLinks != InCircles {
		return names, true
	}
	names = names[:min(n, len(names))]
	w.Header().Add("Link", fmt.Sprintf(`<%s?before=1>; rel="prev"`, r.URL.Path))
	w.Header().Add("Link", s.pageLink(r, key, names[len(names)-1], n))
	return names, true
}

func (s *Server) pageLink(r *http.Request, key, last string, n int) string {
	target := fmt.Sprintf("%s?%s=%s&n=%d", r.URL.Path, key, url.QueryEscape(last), n)
	switch s.o.PageLinks {
	case PlainHTTP:
		target = "http://" + s.Host() + target
	case Elsewhere:
		target = s.storage.URL + target
	}
	return fmt.Sprintf(`<%s>; rel="next"`, target)
}
