package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ferry-oci/ferry/oci"
)

const (
	// maxReferrers is how many referrers one manifest may have.
	maxReferrers = 10_000
	// maxReferrersPage is the size of one page of them, in bytes: that of an index.
	maxReferrersPage = oci.MaxManifestSize
)

// referrersAPI is what is known of a registry's API for referrers. It is found out once.
type referrersAPI struct {
	turn  chan struct{} // holds one token while nobody finds out
	state atomic.Int32  // an apiState
}

type apiState int32

const (
	apiUnknown apiState = iota
	apiThere
	apiMissing
)

// init begins with what is known of the registry whose API is at addr.
func (a *referrersAPI) init(addr string) {
	a.turn = make(chan struct{}, 1)
	a.turn <- struct{}{}
	if addr == apiAddr(dockerHub) || addr == "ghcr.io" {
		a.set(apiMissing)
	}
}

func (a *referrersAPI) get() apiState  { return apiState(a.state.Load()) }
func (a *referrersAPI) set(s apiState) { a.state.Store(int32(s)) }

// Referrers returns what is about the manifest subject of repo: by the referrers API where the registry has it, by the
// fallback tag, and by cosign's tags. The tags are those of one list of all, see [Client.Tags]; whether there is an
// API is found out once for a host.
//
// A registry that denies either, or does not have it, has nothing there: EventNotListed tells of it. Any other failure is
// an error. The registry itself is asked, because many mirrors know only what was pulled through them; mirrors are
// where it must not be asked or cannot be reached.
func (c *Client) Referrers(ctx context.Context, repo oci.Repository, subject digest.Digest) ([]oci.FoundReferrer, error) {
	if err := subject.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", subject, err)
	}
	h, err := c.host(repo.Host)
	if err != nil {
		return nil, err
	}
	at, mirrored := site{h: h, repo: repo}, false
	if h.opts.MirrorsOnly || h.away.Load() {
		if at, mirrored = h.mirrorSite(repo); !mirrored { // as those that give what has a digest, and nothing else
			c.notListed(site{h: h, repo: repo}, errNoList)
			return nil, nil
		}
	}
	list, err := c.referrersAt(ctx, at, repo, subject)
	if mirror, ok := h.mirrorSite(repo); ok && !mirrored && isAway(err) && ctx.Err() == nil {
		if h.away.CompareAndSwap(false, true) {
			c.event(Event{Kind: EventAway, Host: h.name, Why: err})
		}
		list, err = c.referrersAt(ctx, mirror, repo, subject)
	}
	if err != nil {
		return nil, fmt.Errorf("what is about %s of %s: %w", subject, repo, err)
	}
	return list, nil
}

// here returns an error when the server was found to be out of reach while its turn was waited for.
func (s site) here() error {
	if s.ns == "" && s.h.away.Load() {
		return &UnreachableError{Host: s.h.addr, Err: errAway}
	}
	return nil
}

var errAway = errors.New("it could not be reached before")

// isAway reports whether err says that a host cannot be reached.
func isAway(err error) bool {
	var unreachable *UnreachableError
	var proxy *ProxyError
	return errors.As(err, &unreachable) || errors.As(err, &proxy)
}

var errNoList = errors.New("there is no mirror that may be asked for lists")

// referrersAt asks at for lists; what tags name is looked up as always.
func (c *Client) referrersAt(ctx context.Context, at site, repo oci.Repository, subject digest.Digest) (
	[]oci.FoundReferrer, error,
) {
	byAPI, err := c.askAPI(ctx, at, subject)
	if err != nil {
		return nil, err
	}
	tags, err := c.tagsAt(ctx, at)
	if hasNone(err) {
		c.notListed(at, err)
	} else if err != nil {
		return nil, err
	}
	byFallback, err := c.fallbackReferrers(ctx, repo, subject, tags)
	if err != nil {
		return nil, err
	}
	byTag, err := c.cosignReferrers(ctx, repo, subject, tags)
	if err != nil {
		return nil, err
	}
	return mergeFound(byAPI, byFallback, byTag)
}

// hasNone reports whether err is the answer of a registry that denies a list or does not have it.
func hasNone(err error) bool {
	var status *Error
	return errors.As(err, &status) && status.Status/100 == 4 &&
		status.Status != http.StatusTooManyRequests && status.Status != http.StatusRequestTimeout
}

// notListed tells once that a repository does not list something.
func (c *Client) notListed(at site, err error) {
	if _, told := c.unlisted.LoadOrStore(at.repo, true); !told {
		c.event(Event{Kind: EventNotListed, Host: at.repo.String(), Why: err})
	}
}

// mergeFound puts the lists together. What an earlier one has by its subject is left out of the later ones.
func mergeFound(byAPI, byFallback []oci.Descriptor, byTag []oci.FoundReferrer) ([]oci.FoundReferrer, error) {
	var all []oci.FoundReferrer
	seen := map[digest.Digest]bool{}
	for _, list := range []struct {
		by          oci.FoundBy
		descriptors []oci.Descriptor
	}{{oci.FoundByAPI, byAPI}, {oci.FoundByFallback, byFallback}} {
		for _, d := range list.descriptors {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				all = append(all, oci.FoundReferrer{Descriptor: d, Found: list.by})
			}
		}
	}
	all = append(all, byTag...)
	if len(all) > maxReferrers {
		return nil, fmt.Errorf("more than %d of them", maxReferrers)
	}
	slices.SortFunc(all, func(a, b oci.FoundReferrer) int {
		return cmp.Or(cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest), cmp.Compare(a.Tag, b.Tag))
	})
	return all, nil
}

// cosignReferrers returns what cosign's tags about subject name. One that is gone meanwhile is left out.
func (c *Client) cosignReferrers(ctx context.Context, repo oci.Repository, subject digest.Digest, tags []string) (
	[]oci.FoundReferrer, error,
) {
	var list []oci.FoundReferrer
	for _, tag := range oci.CosignTags(subject) {
		if _, ok := slices.BinarySearch(tags, tag); !ok {
			continue
		}
		d, err := c.Resolve(ctx, oci.Reference{Repository: repo, Tag: tag})
		switch {
		case errors.Is(err, oci.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			list = append(list, oci.FoundReferrer{Descriptor: d, Found: oci.FoundByTag, Tag: tag})
		}
	}
	return list, nil
}

// fallbackReferrers returns what the index under the fallback tag of subject lists. Other manifests with such a tag are
// none.
func (c *Client) fallbackReferrers(ctx context.Context, repo oci.Repository, subject digest.Digest, tags []string) (
	[]oci.Descriptor, error,
) {
	tag := oci.FallbackTag(subject)
	if _, ok := slices.BinarySearch(tags, tag); !ok {
		return nil, nil
	}
	d, err := c.Resolve(ctx, oci.Reference{Repository: repo, Tag: tag})
	if errors.Is(err, oci.ErrNotFound) || err == nil && !oci.IsIndex(d.MediaType) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := c.readIndex(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	list, err := parseReferrers(raw)
	if err != nil {
		return nil, fmt.Errorf("tag %s: %w", tag, err)
	}
	return list, nil
}

// readIndex returns the bytes of an index, proven.
func (c *Client) readIndex(ctx context.Context, repo oci.Repository, d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxManifestSize {
		return nil, tooLarge(repo, d.Digest.String(), d.Size)
	}
	return oci.ReadSmall(ctx, c, repo, d)
}

// askAPI asks the referrers API, unless the registry is known not to have it. It finds out when that is not known, one
// at a time.
func (c *Client) askAPI(ctx context.Context, at site, subject digest.Digest) ([]oci.Descriptor, error) {
	api := &at.h.referrers
	if _, denied := c.denied.Load(at.repo); denied {
		return nil, nil
	}
	if api.get() == apiUnknown {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-api.turn:
			defer func() { api.turn <- struct{}{} }()
		}
	}
	if err := at.here(); err != nil {
		return nil, err
	}
	if api.get() == apiMissing {
		return nil, nil
	}
	list, err := c.readReferrers(ctx, at, subject)
	switch {
	case err == nil:
		api.set(apiThere)
	case errors.Is(err, oci.ErrDenied) && hasNone(err):
		c.denied.Store(at.repo, true)
		c.notListed(at, err)
		return nil, nil
	case hasNone(err) || errors.Is(err, errNoIndex):
		if api.get() == apiUnknown {
			api.set(apiMissing)
		}
		return nil, nil
	}
	return list, err
}

// readReferrers reads all pages of the answer of the referrers API.
func (c *Client) readReferrers(ctx context.Context, at site, subject digest.Digest) ([]oci.Descriptor, error) {
	u, err := at.url(ctx, "referrers/"+subject.String())
	if err != nil {
		return nil, err
	}
	var all []oci.Descriptor
	seen := map[string]bool{}
	for u != nil {
		if seen[u.String()] {
			return nil, fmt.Errorf("the list of referrers of %s goes round in circles", subject)
		}
		seen[u.String()] = true
		var page []oci.Descriptor
		if page, u, err = c.readReferrersPage(ctx, at, u); err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) > maxReferrers || len(seen) > maxReferrers {
			return nil, fmt.Errorf("more than %d referrers", maxReferrers)
		}
	}
	return all, nil
}

func (c *Client) readReferrersPage(ctx context.Context, at site, u *url.URL) ([]oci.Descriptor, *url.URL, error) {
	raw, resp, err := c.readAnswer(ctx, at.h, maxReferrersPage, func() (*http.Response, error) {
		return at.get(ctx, u, ocispec.MediaTypeImageIndex)
	})
	if err != nil {
		return nil, nil, err
	}
	page, err := parseReferrers(raw)
	if err != nil {
		return nil, nil, err
	}
	next, err := nextPage(resp)
	return page, next, err
}

// errNoIndex says that an answer is no list of referrers, as the page that some servers send for any path.
var errNoIndex = errors.New("it is no index")

// parseReferrers reads the entries of an index of referrers. Some registries write null for none.
func parseReferrers(raw []byte) ([]oci.Descriptor, error) {
	var index struct {
		SchemaVersion int              `json:"schemaVersion"`
		Manifests     []oci.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &index); err != nil || index.SchemaVersion != 2 {
		return nil, errNoIndex
	}
	for i, d := range index.Manifests {
		if d.Digest.Validate() != nil || d.Size < 0 {
			return nil, fmt.Errorf("entry %d of the referrers: digest %.80q, size %d", i, string(d.Digest), d.Size)
		}
	}
	return index.Manifests, nil
}
