package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// ProxyRules say which proxy serves which host, in the words of the environment.
type ProxyRules struct {
	HTTP  string // proxy for plain http, as in HTTP_PROXY; empty is none
	HTTPS string // proxy for https, as in HTTPS_PROXY; empty is none
	// No lists the hosts that are reached without a proxy, as in NO_PROXY: names (which stand for the names below them,
	// too), `.name` (those below it alone), addresses, networks such as 10.0.0.0/8, each of them but a network with a
	// port if wished; `*` is every host. Hosts on loopback are never reached through a proxy.
	No string
}

// ProxyRulesFrom returns the rules of the environment: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or the same in lower case.
func ProxyRulesFrom(getenv func(string) string) ProxyRules {
	either := func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return getenv(strings.ToLower(name))
	}
	return ProxyRules{HTTP: either("HTTP_PROXY"), HTTPS: either("HTTPS_PROXY"), No: either("NO_PROXY")}
}

// Proxy returns the rules as [HostOptions.Proxy] wants them. A proxy that is not a URL, or one of another scheme than
// http, https, socks5 and socks5h, is an error, which does not repeat it: it may hold a password.
func (r ProxyRules) Proxy() (func(*http.Request) (*url.URL, error), error) {
	plain, err := ParseProxy(r.HTTP)
	if err != nil {
		return nil, fmt.Errorf("proxy for http: %w", err)
	}
	secure, err := ParseProxy(r.HTTPS)
	if err != nil {
		return nil, fmt.Errorf("proxy for https: %w", err)
	}
	direct := parseNoProxy(r.No)
	return func(req *http.Request) (*url.URL, error) {
		proxy := plain
		if req.URL.Scheme == "https" {
			proxy = secure
		}
		if proxy == nil || IsLoopback(req.URL.Host) || direct.covers(req.URL) {
			return nil, nil
		}
		return proxy, nil
	}, nil
}

// ParseProxy returns the URL of a proxy, which may lack its scheme, and nil for an empty text.
func ParseProxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("http://HOST:PORT is needed, with http, https or socks5")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("scheme %q is not http, https or socks5", u.Scheme)
}

// noProxy is a parsed NO_PROXY.
type noProxy struct {
	all      bool
	networks []netip.Prefix
	hosts    []directHost
}

// directHost is a name or an address of NO_PROXY.
type directHost struct {
	name  string // in lower case; a leading dot leaves out the name itself
	port  string // empty is any
	exact bool   // an address, below which there is nothing
}

func parseNoProxy(s string) noProxy {
	var n noProxy
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			continue
		}
		if entry == "*" {
			n.all = true
			continue
		}
		if network, err := netip.ParsePrefix(entry); err == nil {
			n.networks = append(n.networks, network.Masked())
			continue
		}
		name, port, err := net.SplitHostPort(entry)
		if err != nil {
			name, port = strings.Trim(entry, "[]"), ""
		}
		name = strings.TrimPrefix(name, "*")
		_, err = netip.ParseAddr(name)
		n.hosts = append(n.hosts, directHost{name: name, port: port, exact: err == nil})
	}
	return n
}

// covers reports whether u is reached without a proxy.
func (n noProxy) covers(u *url.URL) bool {
	if n.all {
		return true
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		for _, network := range n.networks {
			if network.Contains(addr.Unmap()) {
				return true
			}
		}
	}
	_, port, _ := net.SplitHostPort(withPort(u))
	for _, h := range n.hosts {
		if (h.port == "" || h.port == port) && h.covers(name) {
			return true
		}
	}
	return false
}

func (h directHost) covers(name string) bool {
	if h.exact {
		return name == h.name
	}
	bare := strings.TrimPrefix(h.name, ".")
	return name == h.name || strings.HasSuffix(name, "."+bare)
}

// ProxyError comes back when a proxy does not do its part.
type ProxyError struct {
	Proxy  string // host:port
	Host   string // that was asked for through it
	Status int    // of the proxy's answer; 0 when there was none
	Err    error  // nil when there was an answer
}

func (e *ProxyError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: no connection to the proxy %s: %v", e.Host, e.Proxy, e.Err)
	}
	return fmt.Sprintf("%s: the proxy %s answers %d %s", e.Host, e.Proxy, e.Status, http.StatusText(e.Status))
}

func (e *ProxyError) Unwrap() error { return e.Err }

// checkConnect turns the refusal of a proxy to connect us into an error. net/http keeps nothing but its text.
func checkConnect(_ context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Proxy: proxy.Host, Host: req.URL.Host, Status: resp.StatusCode}
}

// proxyFor returns host:port of the proxy that serves u, and nothing without one.
func (h *host) proxyFor(u *url.URL) string {
	if h.proxy == nil {
		return ""
	}
	proxy, err := h.proxy(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Host
}

// asProxyError returns err as one of the proxy when the connection ended there.
func asProxyError(err error, addr, proxy string) (*ProxyError, bool) {
	var refused *ProxyError
	if errors.As(err, &refused) {
		return &ProxyError{Proxy: refused.Proxy, Host: addr, Status: refused.Status, Err: refused.Err}, true
	}
	var op *net.OpError
	if proxy != "" && isDial(err) && errors.As(err, &op) {
		return &ProxyError{Proxy: proxy, Host: addr, Err: op.Err}, true
	}
	return nil, false
}
