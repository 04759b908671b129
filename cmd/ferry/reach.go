package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/ferry-oci/ferry/registry"
)

// reach is how the registries of one end, and their mirrors, are reached.
type reach struct {
	f        *registryFlags
	std      *stdio
	cas      []*x509.Certificate // of --ca
	certDirs []string            // where Docker, Podman and containerd keep certificates
	proxy    proxyFunc
	mirrors  map[string][]registry.Mirror // of --mirror, by registry
}

type proxyFunc = func(*http.Request) (*url.URL, error)

// newReach makes sense of the flags. Its errors are mistakes in them, and in the environment.
func newReach(f *registryFlags, std *stdio) (*reach, error) {
	r := &reach{f: f, std: std, certDirs: registry.DefaultCertDirs(std.Getenv, homeDir()), mirrors: map[string][]registry.Mirror{}}
	var err error
	if r.cas, err = f.authorities(); err != nil {
		return nil, err
	}
	if r.proxy, err = f.findProxy(std); err != nil {
		return nil, err
	}
	for flag, dir := range map[string]string{f.name("cert-dir"): f.certDir, "mirror-dir": f.mirrorDir} {
		if dir == "" {
			continue
		}
		if info, err := os.Stat(dir); err != nil {
			return nil, usagef("--%s: %w", flag, err)
		} else if !info.IsDir() {
			return nil, usagef("--%s: %s is not a folder", flag, dir)
		}
	}
	for _, s := range f.mirrors {
		host, mirror, err := registry.ParseMirror(s)
		if err != nil {
			return nil, usagef("--mirror: %w", err) // s may have a password in it
		}
		r.mirrors[host] = append(r.mirrors[host], mirror)
	}
	return r, nil
}

// options returns how host is reached, with its mirrors, and who the user is there.
func (r *reach) options(host string, who *identity) registry.HostOptions {
	o, err := r.own(host)
	o.Credential = who.at(host)
	mirrors := registry.Mirrors{Mirrors: r.mirrors[host]}
	if r.f.mirrorDir != "" && err == nil {
		var more registry.Mirrors
		more, err = registry.ReadMirrors(r.f.mirrorDir, host)
		mirrors.Mirrors = append(mirrors.Mirrors, more.Mirrors...)
		mirrors.Only = more.Only
		more.TLS.AddTo(&o)
	}
	for _, m := range mirrors.Mirrors {
		own, merr := r.own(m.Host)
		err = errors.Join(err, merr)
		own.Credential = who.fromFiles // the flags' is for the registry
		if m.Options.Scheme != registry.SchemeAuto {
			own.Scheme = m.Options.Scheme
		}
		registry.TLSFiles{
			CAs: m.Options.CAs, Certificates: m.Options.Certificates, SkipVerify: m.Options.InsecureSkipVerify,
		}.AddTo(&own)
		m.Options = own
		o.Mirrors = append(o.Mirrors, m)
		r.std.detail("%s: the mirror %s is asked first", host, m.Host)
	}
	o.MirrorsOnly, o.Err = mirrors.Only, err
	return o
}

// own returns how host itself is reached.
func (r *reach) own(host string) (registry.HostOptions, error) {
	o := registry.HostOptions{InsecureSkipVerify: !r.f.tlsVerify, CAs: r.cas, Proxy: r.proxy}
	files, err := r.certificates(host)
	files.AddTo(&o)
	if r.f.verifyAsked() || r.f.tlsVerify && len(files.CAs)+len(files.Certificates) > 0 {
		o.Scheme = registry.SchemeHTTPS // on a loopback host, too
	}
	return o, err
}

// certificates returns the certificates for host: those of --cert-dir, else those of the folders in which other programs
// keep them.
func (r *reach) certificates(host string) (registry.TLSFiles, error) {
	if named := r.f.certDir; named != "" {
		if dir := registry.FindCertDir(host, []string{named}); dir != "" {
			return registry.ReadCertDir(dir, host)
		}
		files, err := registry.ReadCertDir(named, "")
		if err == nil && len(files.CAs)+len(files.Certificates) == 0 {
			r.std.detail("%s: --%s %s has no certificates for it", host, r.f.name("cert-dir"), named)
		}
		return files, err
	}
	dir := registry.FindCertDir(host, r.certDirs)
	if dir == "" {
		return registry.TLSFiles{}, nil
	}
	files, err := registry.ReadCertDir(dir, host)
	if errors.Is(err, fs.ErrPermission) { // it was made for a program that runs as another user
		r.std.warn("%s: its certificates are left out: %v", host, err)
		return registry.TLSFiles{}, nil
	}
	if err == nil && len(files.CAs)+len(files.Certificates) > 0 {
		r.std.detail("%s: certificates from %s", host, dir)
	}
	return files, err
}

// authorities returns the certificates of --ca.
func (f *registryFlags) authorities() ([]*x509.Certificate, error) {
	if f.ca == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, usagef("--%s: %w", f.name("ca"), err)
	}
	cas, err := registry.ParseCAs(raw)
	if err != nil {
		return nil, usagef("--%s: %s: %w", f.name("ca"), f.ca, err)
	}
	return cas, nil
}

// findProxy returns the function that finds the proxy of a request: that of --proxy, which goes before NO_PROXY, else
// that of the environment.
func (f *registryFlags) findProxy(std *stdio) (proxyFunc, error) {
	rules := registry.ProxyRulesFrom(std.Getenv)
	switch f.proxy {
	case "":
	case proxyNone:
		rules = registry.ProxyRules{}
	default:
		u, err := registry.ParseProxy(f.proxy)
		if err != nil {
			return nil, usagef("--%s: %w", f.name("proxy"), err)
		}
		if _, secret := u.User.Password(); secret {
			std.warn("the password in --%s can be seen in the list of processes; in HTTPS_PROXY it cannot", f.name("proxy"))
		}
		rules = registry.ProxyRules{HTTP: f.proxy, HTTPS: f.proxy}
	}
	find, err := rules.Proxy()
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if rules.HTTP == "" && rules.HTTPS == "" {
		return find, nil
	}
	return f.tellProxy(find, std), nil
}

// tellProxy returns find, which tells once for each host by what proxy it is reached. This very machine is reached by
// none, which whoever named one should know.
func (f *registryFlags) tellProxy(find proxyFunc, std *stdio) proxyFunc {
	var told sync.Map
	return func(req *http.Request) (*url.URL, error) {
		proxy, err := find(req)
		if _, known := told.LoadOrStore(req.URL.Host, true); known || err != nil {
			return proxy, err
		}
		switch {
		case proxy != nil:
			std.say("%s: reached by way of the proxy %s", req.URL.Host, proxy.Host)
		case f.proxy != "":
			std.say("%s is on this machine: reached without the proxy of --%s", req.URL.Host, f.name("proxy"))
		default:
			std.detail("%s: reached without a proxy", req.URL.Host)
		}
		return proxy, nil
	}
}
