package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// maxPage is how many entries a list has at most before the rest is left to the next page.
const maxPage = 1000

// serveTags answers with the tags of a repository that mean one thing.
func (s *Server) serveTags(w *response, r *http.Request, v view) error {
	tags := slices.DeleteFunc(v.allTags(), func(tag string) bool { return len(v.tag(tag)) > 1 })
	tags, err := page(w, r, tags)
	if err != nil {
		return err
	}
	return w.sendJSON(r, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{v.name, tags})
}

// serveCatalog answers with the names of the repositories.
func (s *Server) serveCatalog(w *response, r *http.Request) error {
	list, err := page(w, r, s.names.catalog)
	if err != nil {
		return err
	}
	return w.sendJSON(r, struct {
		Repositories []string `json:"repositories"`
	}{list})
}

// page returns the entries of a sorted list that are asked for with n and last, and links to the next page.
func page(w *response, r *http.Request, list []string) ([]string, error) {
	query := r.URL.Query()
	n := maxPage
	if value := query.Get("n"); value != "" {
		asked, ok := parseNumber(value)
		if !ok {
			return nil, &failure{
				status: http.StatusBadRequest, code: codePaginationNumber,
				message: fmt.Sprintf("n=%.40q: a number that is not negative is needed", value),
			}
		}
		n = int(min(asked, maxPage))
	}
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(list, last)
		if found {
			i++
		}
		list = list[i:]
	}
	if len(list) > n {
		list = list[:n]
		if n > 0 {
			linkNext(w, r, "n", strconv.Itoa(n), "last", list[n-1])
		}
	}
	return append([]string{}, list...), nil // never null in JSON
}

// linkNext tells where the next page is: at the same path with these keys and values in the query.
func linkNext(w *response, r *http.Request, pairs ...string) {
	query := r.URL.Query()
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	next := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next.RequestURI()))
}
