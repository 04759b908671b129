package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ferry-oci/ferry/oci"
)

// host is one registry as the client knows it.
type host struct {
	name  string // as references name it
	addr  string // host[:port] that serves its API
	agent string
	opts  HostOptions
	root  string       // path of the API
	plain *http.Client // retries and watches, and knows no credential
	proxy func(*http.Request) (*url.URL, error)

	header  http.Header // sent with each request to this very host; nil is none
	mirrors []*mirror
	away    atomic.Bool // mirrors are asked in its place, see [Client.Referrers]

	referrers referrersAPI
	habits    habits

	schemeMu sync.Mutex
	scheme   string // empty until it is known

	authsMu sync.Mutex
	auths   map[string]*auth.Client // by repository path
	logins  map[string]Credential   // for requests outside of the distribution API, by repository path
}

var errNoHost = errors.New("repository without a registry host")

// host returns the state of the registry that references name so.
func (c *Client) host(name string) (*host, error) {
	if name == "" {
		return nil, errNoHost
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		var opts HostOptions
		if c.opts.Host != nil {
			opts = c.opts.Host(name)
		}
		h = c.newHost(name, apiAddr(name), opts)
		h.mirrors = c.newMirrors(h)
		c.hosts[name] = h
	}
	if h.opts.Err != nil {
		return nil, fmt.Errorf("%s: %w", name, h.opts.Err)
	}
	return h, nil
}

// newHost returns the state of a server at addr that is called name.
func (c *Client) newHost(name, addr string, o HostOptions) *host {
	h := &host{name: name, addr: addr, root: "/v2/", agent: c.opts.UserAgent, opts: o, auths: map[string]*auth.Client{}}
	h.proxy = o.Proxy
	if h.proxy == nil {
		h.proxy = c.opts.Proxy
	}
	watched := &watcher{stall: c.opts.StallTimeout, clock: c.clock, next: newTransport(o, h.proxy)}
	h.plain = &http.Client{Transport: challenged{&retrier{c: c, next: &doorman{c: c, next: watched}}}}
	h.scheme = knownScheme(addr, o)
	h.referrers.init(addr)
	return h
}

// apiAddr returns the host that serves the API of the registry that references call name.
func apiAddr(name string) string {
	switch name {
	case "docker.io", "index.docker.io":
		return "registry-1.docker.io"
	}
	return name
}

// auth returns the client that has the credential for the repository path. Credentials may differ between the
// namespaces of a registry and the cache of an [auth.Client] knows hosts alone, so each repository has its own; bearer
// tokens are for one repository anyway.
func (h *host) auth(path string) *auth.Client {
	h.authsMu.Lock()
	defer h.authsMu.Unlock()
	a := h.auths[path]
	if a == nil {
		a = &auth.Client{Client: h.plain, Cache: auth.NewCache(), ClientID: "ferry", Credential: h.credential(path)}
		a.BlockedRealmPrefixes = blockedRealms(h.addr)
		a.SetUserAgent(h.agent)
		h.auths[path] = a
	}
	return a
}

// credential gives the credential for the repository path to this registry, and nothing to another host.
func (h *host) credential(path string) auth.CredentialFunc {
	return func(ctx context.Context, hostport string) (Credential, error) {
		if h.opts.Credential == nil || hostport != h.addr {
			return auth.EmptyCredential, nil
		}
		cred, err := h.opts.Credential(ctx, oci.Repository{Host: h.name, Path: path})
		if err != nil {
			return auth.EmptyCredential, &credentialError{err}
		}
		return cred, nil
	}
}

// credentialError tells an error of the caller's credential function from those of the network.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return "credential: " + e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

// knownScheme returns the scheme of addr when no one has to be asked for it, else an empty string.
func knownScheme(addr string, o HostOptions) string {
	switch {
	case o.Scheme != SchemeAuto:
		return string(o.Scheme)
	case o.InsecureSkipVerify:
		return ""
	case IsLoopback(addr):
		return string(SchemeHTTP)
	}
	return string(SchemeHTTPS)
}

// IsLoopback reports whether addr, host[:port], is this machine by its very name.
func IsLoopback(addr string) bool {
	name := (&url.URL{Host: addr}).Hostname()
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// Scheme returns how the registry name is spoken to, and SchemeAuto while that is not known.
func (c *Client) Scheme(name string) Scheme {
	h, err := c.host(name)
	if err != nil {
		return SchemeAuto
	}
	h.schemeMu.Lock()
	defer h.schemeMu.Unlock()
	return Scheme(h.scheme)
}

// base returns the URL of the registry's API root with the scheme that the registry speaks, which it may have to find
// out first. The certificate does not matter to the caller then, so an attacker gains nothing by the answer.
func (h *host) base(ctx context.Context) (url.URL, error) {
	h.schemeMu.Lock()
	defer h.schemeMu.Unlock()
	if h.scheme == "" {
		scheme, err := h.probe(ctx)
		if err != nil {
			return url.URL{}, err
		}
		h.scheme = scheme
	}
	return url.URL{Scheme: h.scheme, Host: h.addr, Path: h.root}, nil
}

// probe finds out whether the registry speaks https or plain http.
func (h *host) probe(ctx context.Context) (string, error) {
	var first error
	for _, scheme := range []Scheme{SchemeHTTPS, SchemeHTTP} {
		u := url.URL{Scheme: string(scheme), Host: h.addr, Path: h.root}
		req, err := http.NewRequestWithContext(sendOnce(ctx), http.MethodGet, u.String(), nil)
		if err != nil {
			return "", fmt.Errorf("registry host %q: %w", h.name, err)
		}
		resp, err := h.plain.Do(req)
		if err == nil {
			resp.Body.Close()
			return string(scheme), nil
		}
		err = h.cleanError(req, err)
		var refused *ProxyError // which tells nothing of the host
		if ctx.Err() != nil || errors.As(err, &refused) {
			return "", err
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}

// sameOrigin reports whether a and b have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(withPort(a), withPort(b))
}

// raiseScheme returns next with the origin of own when it differs from it by http in place of https alone: proxies that
// end TLS often let a registry say http of itself.
func raiseScheme(next, own *url.URL) *url.URL {
	if next.Scheme != "http" || own.Scheme != "https" || !strings.EqualFold(next.Hostname(), own.Hostname()) ||
		!slices.Contains([]string{"", "80", own.Port()}, next.Port()) {
		return next
	}
	raised := *next
	raised.Scheme, raised.Host = own.Scheme, own.Host
	return &raised
}

func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
