package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ferry-oci/ferry/oci"
)

const (
	// maxListed is the number of names that one list may have: tags of a repository, or repositories of a registry.
	maxListed = 500_000
	// maxListPage is the size of one page of a list, in bytes. There are registries that send all in one.
	maxListPage = 32 << 20
	// maxEmptyPages is how many pages in a row may bring nothing new. Registries that show only what one may see send
	// empty ones, and those that go round in circles send nothing else.
	maxEmptyPages = 100
)

// pageSizes are the sizes that are asked for, the next one when the last is refused. 0 leaves it to the registry.
var pageSizes = []int{1000, 100, 0}

// ErrNoCatalog says that a registry does not tell which repositories it has. The tags of one repository can be listed
// there all the same.
var ErrNoCatalog = errors.New("the registry has no catalog of its repositories")

// Tags returns all tags of repo, sorted. A repository without tags is no error. The registry is asked once: later calls
// get the same answer, which must not be changed.
//
// Errors: [oci.ErrNotFound] when there is no such repository, [oci.ErrDenied]; more than 500,000 tags, or one that is
// no tag, are errors too.
func (c *Client) Tags(ctx context.Context, repo oci.Repository) ([]string, error) {
	h, err := c.host(repo.Host)
	if err != nil {
		return nil, err
	}
	return c.tagsAt(ctx, site{h: h, repo: repo})
}

// tagsAt is Tags of one server.
func (c *Client) tagsAt(ctx context.Context, at site) ([]string, error) {
	check := func(tag string) error { return checkListed(oci.Reference{Repository: at.repo, Tag: tag}) }
	return c.lists.once(ctx, at.repo, func() ([]string, error) {
		if err := at.here(); err != nil {
			return nil, err
		}
		names, err := c.list(ctx, listing{site: at, path: "tags/list", field: "tags", check: check})
		if err != nil {
			return nil, fmt.Errorf("tags of %s: %w", at.repo, err)
		}
		return names, nil
	})
}

// Catalog returns the paths of all repositories of the registry host that the credential may see, sorted. The registry
// is asked once: later calls get the same answer, which must not be changed. Registries ask for the credential of an
// administrator, or for a right of its own.
//
// Errors: [ErrNoCatalog], [oci.ErrDenied]; more than 500,000 repositories, or a name that is no repository, are
// errors too.
func (c *Client) Catalog(ctx context.Context, host string) ([]string, error) {
	if !HasCatalog(host) {
		return nil, fmt.Errorf("%s: %w", host, ErrNoCatalog)
	}
	check := func(path string) error {
		return checkListed(oci.Reference{Repository: oci.Repository{Host: host, Path: path}, Tag: "x"})
	}
	h, err := c.host(host)
	if err != nil {
		return nil, err
	}
	at := site{h: h, repo: oci.Repository{Host: host}} // the registry itself
	return c.lists.once(ctx, at.repo, func() ([]string, error) {
		names, err := c.list(ctx, listing{site: at, path: "_catalog", field: "repositories", check: check})
		var status *Error
		if errors.As(err, &status) && (status.Code == codeUnsupported || slices.Contains(
			[]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, status.Status)) {
			return nil, fmt.Errorf("%s: %w", host, ErrNoCatalog)
		}
		if err != nil {
			return nil, fmt.Errorf("catalog of %s: %w", host, err)
		}
		return names, nil
	})
}

// HasCatalog is false for registries of which it is known that they have no catalog: some of them answer that one has
// to log in, which does not help.
func HasCatalog(host string) bool {
	host = strings.ToLower(host)
	for _, name := range []string{dockerHub, "index.docker.io", "registry-1.docker.io", "ghcr.io", "public.ecr.aws"} {
		if host == name {
			return false
		}
	}
	return !strings.HasSuffix(host, ".pkg.dev") && !IsECR(host)
}

// IsECR reports whether host is a private registry of Amazon ECR.
func IsECR(host string) bool {
	return strings.Contains(host, ".dkr.ecr.") && strings.Contains(host, ".amazonaws.com")
}

// checkListed refuses names that no reference can have. They come from outside and go to terminals and into URLs.
func checkListed(ref oci.Reference) error {
	if got, err := oci.ParseReference(ref.String()); err != nil || got != ref {
		return fmt.Errorf("it holds %q, which is no name for an image", printable(ref.String()))
	}
	return nil
}

// lists are those that have been read.
type lists struct {
	mu    sync.Mutex
	known map[oci.Repository]*list
}

type list struct {
	turn  chan struct{} // holds one token while nobody reads the list
	done  bool
	names []string
	err   error
}

// once returns the list of repo, which read gets. What a registry refused stays so; of anything else that failed the
// next caller tries again.
func (l *lists) once(ctx context.Context, repo oci.Repository, read func() ([]string, error)) ([]string, error) {
	l.mu.Lock()
	if l.known == nil {
		l.known = map[oci.Repository]*list{}
	}
	one := l.known[repo]
	if one == nil {
		one = &list{turn: make(chan struct{}, 1)}
		one.turn <- struct{}{}
		l.known[repo] = one
	}
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-one.turn:
		defer func() { one.turn <- struct{}{} }()
	}
	if !one.done {
		one.names, one.err = read()
		var status *Error
		one.done = one.err == nil || errors.Is(one.err, ErrNoCatalog) || errors.As(one.err, &status) && status.Status/100 == 4
	}
	return one.names, one.err
}

// listing is a question for a list of names.
type listing struct {
	site  // its repository has no path for the registry's own list
	path  string
	field string // of the answer
	check func(name string) error
}

// list reads all pages of a list. The registry says where the next page is, and that is followed to the letter: where
// a list goes on is not ferry's to invent.
func (c *Client) list(ctx context.Context, l listing) ([]string, error) {
	found := names{check: l.check, seen: map[string]bool{}}
	page, next, err := c.firstPage(ctx, l)
	for err == nil {
		if err = found.add(page); err != nil || next == nil {
			break
		}
		page, next, err = c.readPage(ctx, l, next)
	}
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(found.seen)), nil
}

// names gathers those of all pages.
type names struct {
	check func(name string) error
	seen  map[string]bool
	empty int // pages in a row that brought nothing new
}

func (n *names) add(page []string) error {
	before := len(n.seen)
	for _, name := range page {
		if n.seen[name] {
			continue
		}
		if err := n.check(name); err != nil {
			return err
		}
		n.seen[name] = true
	}
	if n.empty++; len(n.seen) > before {
		n.empty = 0
	}
	switch {
	case len(n.seen) > maxListed:
		return fmt.Errorf("more than %d names", maxListed)
	case n.empty > maxEmptyPages:
		return fmt.Errorf("%d pages in a row bring nothing new: the list of the registry goes round in circles", n.empty)
	}
	return nil
}

// firstPage asks for the first page in the largest size that the registry does not refuse.
func (c *Client) firstPage(ctx context.Context, l listing) (page []string, next *url.URL, err error) {
	u, err := l.url(ctx, l.path)
	if err != nil {
		return nil, nil, err
	}
	query := u.Query()
	for i, size := range pageSizes {
		query.Del("n")
		if size > 0 {
			query.Set("n", strconv.Itoa(size))
		}
		u.RawQuery = query.Encode()
		page, next, err = c.readPage(ctx, l, u)
		var status *Error
		refused := errors.As(err, &status) && slices.Contains(
			[]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, status.Status)
		if !refused || i == len(pageSizes)-1 {
			break
		}
	}
	return page, next, err
}

// readPage reads the page at u. The next one's URL is nil after the last page.
func (c *Client) readPage(ctx context.Context, l listing, u *url.URL) (page []string, next *url.URL, err error) {
	raw, resp, err := c.readAnswer(ctx, l.h, maxListPage, func() (*http.Response, error) {
		return l.get(ctx, u, "application/json")
	})
	if err != nil {
		return nil, nil, err
	}
	if page, err = l.parse(raw); err != nil {
		return nil, nil, err
	}
	next, err = nextPage(resp)
	return page, next, err
}

// parse reads the names of one page. Registries write null for none.
func (l listing) parse(raw []byte) ([]string, error) {
	var page map[string]json.RawMessage
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, fmt.Errorf("%w: the answer is no JSON; is this a registry?", oci.ErrUnsupported)
	}
	var names []string
	if field := page[l.field]; field != nil {
		if err := json.Unmarshal(field, &names); err != nil {
			return nil, fmt.Errorf("%w: %q of the answer is no list of names", oci.ErrUnsupported, l.field)
		}
	}
	return names, nil
}

// nextPage returns the URL of the page that follows resp, nil when it is the last. It has the registry's own origin:
// the credential goes with it.
func nextPage(resp *http.Response) (*url.URL, error) {
	target, ok := nextLink(resp.Header.Values("Link"))
	if !ok {
		return nil, nil
	}
	own := resp.Request.URL
	next, err := own.Parse(target)
	if err != nil {
		return nil, errors.New("the link to the next page is not a URL")
	}
	if next = raiseScheme(next, own); !sameOrigin(next, own) {
		return nil, fmt.Errorf("the next page is said to be at %s, which is another host than %s", cleanURL(next), own.Host)
	}
	return next, nil
}

// nextLink returns the target of the first link whose relation is `next`, see RFC 8288. The relations may come in any
// order, and targets may hold commas and semicolons.
func nextLink(headers []string) (string, bool) {
	for _, rest := range headers {
		for {
			_, after, ok := strings.Cut(rest, "<")
			if !ok {
				break
			}
			target, after, ok := strings.Cut(after, ">")
			if !ok {
				break
			}
			params, left := cutParams(after)
			for _, param := range params {
				name, value, _ := strings.Cut(param, "=")
				relations := strings.Fields(strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`)))
				if strings.EqualFold(strings.TrimSpace(name), "rel") && slices.Contains(relations, "next") {
					return target, true
				}
			}
			rest = left
		}
	}
	return "", false
}

// cutParams splits what follows a link's target at the semicolons, up to the comma before the next link.
func cutParams(s string) (params []string, rest string) {
	quoted, start := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case s[i] == ';':
			params, start = append(params, s[start:i]), i+1
		case s[i] == ',':
			return append(params, s[start:i]), s[i+1:]
		}
	}
	return append(params, s[start:]), ""
}
