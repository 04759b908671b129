package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// Mirror is a place that has the images of a registry, or those of a namespace of it, and is asked before it. What it
// gives is proven by its digest, as all content is; what a tag names is believed, unless NoResolve.
type Mirror struct {
	Prefix string // the namespace of the registry that is mirrored, without it in the mirror's own names; empty is all
	Host   string // host[:port]
	Root   string // path of the mirror's API; empty is /v2/
	Path   string // the namespace of the mirror under which the images are; may be empty

	NoResolve bool        // it is not asked what a tag names
	NoPull    bool        // it is not asked for what a digest names
	Header    http.Header // sent along with each request, and never repeated in a message

	// Options tell how the mirror is reached, and who we are there. Its own mirrors are passed over.
	Options HostOptions
}

// Mirrors are the places where the images of one registry are.
type Mirrors struct {
	Mirrors []Mirror
	Only    bool     // the registry itself is not to be asked
	TLS     TLSFiles // for the registry itself
	File    string   // that says so
}

// ReadMirrors returns what a tree of containerd's hosts.toml files says of a registry, in the options of which the
// certificates and the scheme are filled in: dir/HOST[:PORT]/hosts.toml, else dir/_default/hosts.toml, else nothing.
func ReadMirrors(dir, host string) (Mirrors, error) {
	for _, name := range append(hostFolders(host), "_default") {
		f, err := readHostsFile(filepath.Join(dir, name, hostsFileName), host)
		if err != nil {
			return Mirrors{}, err
		}
		if f != nil {
			return f.mirrors(host), nil
		}
	}
	return Mirrors{}, nil
}

func (f *hostsFile) mirrors(host string) Mirrors {
	m := Mirrors{File: f.path, TLS: f.tlsOf(host)}
	for _, e := range f.hosts {
		if !sameRegistry(e.url.Host, host) { // the registry itself is asked in any case, at last
			m.Mirrors = append(m.Mirrors, e.mirror())
		}
	}
	if f.server != nil {
		m.Mirrors, m.Only = append(m.Mirrors, f.server.mirror()), true
	}
	return m
}

func (e *hostEntry) mirror() Mirror {
	m := Mirror{Host: e.url.Host, NoResolve: !e.resolves, NoPull: !e.pulls, Header: e.header}
	m.Options.Scheme = Scheme(e.url.Scheme)
	e.tls.AddTo(&m.Options)
	m.Root, m.Path = splitRoot(e.url.Path)
	return m
}

// splitRoot divides the path /v2/hub into the root of the API, /v2/, and a namespace in it, hub.
func splitRoot(path string) (root, namespace string) {
	before, after, ok := strings.Cut(path+"/", "/v2/")
	if !ok {
		return path + "/", ""
	}
	return before + "/v2/", strings.Trim(after, "/")
}

// ParseMirror reads REGISTRY[/NAMESPACE]=[http://]MIRROR[/NAMESPACE], such as docker.io=mirror.local:5000/hub, and
// returns the registry and its mirror. The mirror's options lack all but the scheme.
func ParseMirror(s string) (string, Mirror, error) {
	from, to, ok := strings.Cut(s, "=")
	if !ok || from == "" || to == "" {
		return "", Mirror{}, errors.New("REGISTRY=MIRROR is needed, such as docker.io=mirror.local:5000/hub")
	}
	host, prefix, _ := strings.Cut(from, "/")
	m := Mirror{Prefix: strings.Trim(prefix, "/")}
	if scheme, rest, ok := strings.Cut(to, "://"); ok {
		if scheme != string(SchemeHTTP) && scheme != string(SchemeHTTPS) {
			return "", Mirror{}, fmt.Errorf("scheme %q is neither http nor https", scheme)
		}
		m.Options.Scheme, to = Scheme(scheme), rest
	}
	m.Host, m.Path, _ = strings.Cut(to, "/")
	m.Path = strings.Trim(strings.TrimPrefix(m.Path+"/", "v2/"), "/")
	u, err := url.Parse("https://" + m.Host)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(m.Path, "?#%@") {
		return "", Mirror{}, errors.New("the mirror is not HOST[:PORT][/NAMESPACE]")
	}
	return normalHost(host), m, nil
}

// mirrorBreaks is how many requests in a row, each with its repetitions, a mirror may leave without an answer.
const mirrorBreaks = 3

// mirror is a mirror as the client knows it.
type mirror struct {
	Mirror
	*host
	answered atomic.Bool  // it has answered at least once
	broken   atomic.Int32 // requests in a row that it did not answer
	off      atomic.Bool  // it is asked no longer
}

// use says what a call wants of mirrors.
type use int

const (
	noMirror  use = iota // the registry itself has to answer
	useTag               // a mirror may say what a tag names
	useDigest            // a mirror may give what has a digest
)

// place returns the repository of m that mirrors repo, and whether there is one and m is to be asked for it.
func (m *mirror) place(repo oci.Repository, u use) (oci.Repository, bool) {
	if m.off.Load() || u == useTag && m.NoResolve || u == useDigest && m.NoPull {
		return oci.Repository{}, false
	}
	rest := repo.Path
	if m.Prefix != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, m.Prefix+"/"); !ok {
			return oci.Repository{}, false
		}
	}
	if m.Mirror.Path != "" {
		rest = m.Mirror.Path + "/" + rest
	}
	return oci.Repository{Host: m.Mirror.Host, Path: rest}, true
}

// site is a server and the repository there that is asked about. For a repository without a path it is the registry
// itself.
type site struct {
	h    *host
	repo oci.Repository
	ns   string // the registry that a mirror is asked about; empty when it is no mirror
}

// mirrorSite returns the first mirror of h that may tell what tags name in repo, and whether there is one.
func (h *host) mirrorSite(repo oci.Repository) (site, bool) {
	for _, m := range h.mirrors {
		if at, ok := m.place(repo, useTag); ok {
			return site{h: m.host, repo: at, ns: repo.Host}, true
		}
	}
	return site{}, false
}

// url returns the URL of what is at path behind the repository.
func (s site) url(ctx context.Context, path string) (*url.URL, error) {
	u, err := s.h.base(ctx)
	if err != nil {
		return nil, err
	}
	u.Path += strings.TrimPrefix(s.repo.Path+"/", "/") + path
	if s.ns != "" {
		u.RawQuery = url.Values{"ns": {s.ns}}.Encode()
	}
	return &u, nil
}

// get asks for what is at u.
func (s site) get(ctx context.Context, u *url.URL, accept string) (*http.Response, error) {
	scope := "registry:catalog:*"
	if s.repo.Path != "" {
		scope = auth.ScopeRepository(s.repo.Path, auth.ActionPull)
	}
	ctx = auth.AppendScopesForHost(ctx, s.h.addr, scope)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("registry host %q: %w", s.h.name, err)
	}
	for name, values := range s.h.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", accept)
	return s.h.do(s.repo, req, http.StatusOK)
}

// newMirrors returns the mirrors of the registry h. The caller holds c.mu.
func (c *Client) newMirrors(h *host) []*mirror {
	var mirrors []*mirror
	for _, m := range h.opts.Mirrors {
		at := c.newHost(m.Host, m.Host, m.Options)
		if m.Root != "" {
			at.root = m.Root
		}
		at.header = m.Header
		mirrors = append(mirrors, &mirror{Mirror: m, host: at})
	}
	return mirrors
}

// sendVia is send by way of the mirrors, and returns the one that has answered, or nil for the registry itself.
func (c *Client) sendVia(ctx context.Context, k call) (*http.Response, *mirror, error) {
	h, err := c.host(k.repo.Host)
	if err != nil {
		return nil, nil, err
	}
	var tried []error
	for _, m := range h.mirrors {
		at, ok := m.place(k.repo, k.mirrors)
		if !ok || k.mirrors == noMirror {
			continue
		}
		brief := ctx
		if !h.opts.MirrorsOnly { // else there may be no other place
			brief = withRetries(ctx, retriesMirror)
		}
		resp, err := c.sendTo(brief, m.host, mirrored(k, at))
		if err == nil {
			m.answered.Store(true)
			m.broken.Store(0)
			return resp, m, nil
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		c.passOver(m, err)
		tried = append(tried, err)
	}
	if h.opts.MirrorsOnly && k.mirrors != noMirror {
		return nil, nil, onlyMirrors(k.repo, tried)
	}
	resp, err := c.sendWaiting(ctx, h, k)
	if err != nil && len(tried) > 0 {
		err = &mirrorsError{err: err, tried: tried}
	}
	return resp, nil, err
}

// mirrored returns k for the repository at of a mirror, which is told the registry's name as containerd tells it: a
// mirror of several registries needs it.
func mirrored(k call, at oci.Repository) call {
	query := url.Values{"ns": {k.repo.Host}}
	for name, values := range k.query {
		query[name] = values
	}
	k.query, k.repo = query, at
	return k
}

// passOver notes that m did not do what it was asked. One that never answered is not asked again, nor is one that broke off
// or stood still so many times in a row.
func (c *Client) passOver(m *mirror, err error) {
	var status *Error
	kind := EventMirrorPassed
	if errors.As(err, &status) {
		m.answered.Store(true)
		m.broken.Store(0)
	} else if (!m.answered.Load() || m.broken.Add(1) >= mirrorBreaks) && m.off.CompareAndSwap(false, true) {
		kind = EventMirrorOff
	}
	c.event(Event{Kind: kind, Host: m.Mirror.Host, Why: err})
}

// distrust takes a mirror that gave something else than it was asked for out of the run.
func (c *Client) distrust(m *mirror, err error) {
	if m.off.CompareAndSwap(false, true) {
		c.event(Event{Kind: EventMirrorOff, Host: m.Mirror.Host, Why: err})
	}
}

// mirrorsError is the error of a registry whose mirrors did not help either.
type mirrorsError struct {
	err   error
	tried []error
}

func (e *mirrorsError) Error() string {
	var b strings.Builder
	b.WriteString(e.err.Error())
	for _, t := range e.tried {
		b.WriteString("; mirror: " + t.Error())
	}
	return b.String()
}

// Unwrap returns the registry's own error: what a mirror lacks is not missing.
func (e *mirrorsError) Unwrap() error { return e.err }

// onlyMirrors returns the error of mirrors behind which there is no registry: that of the last one, in place of the
// registry.
func onlyMirrors(repo oci.Repository, tried []error) error {
	if len(tried) == 0 {
		return fmt.Errorf("repository %s: no mirror is left that could be asked", repo)
	}
	last := len(tried) - 1
	if last == 0 {
		return tried[last]
	}
	return &mirrorsError{err: tried[last], tried: tried[:last]}
}
